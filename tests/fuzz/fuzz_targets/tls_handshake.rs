// SPDX-License-Identifier: MIT
//! A TLS client and a server that say anything in turns, a HelloRetryRequest among it: every
//! ClientHello that is let through in clear is for the granted name, as rustls reads it.
#![no_main]

mod conversation;

use libfuzzer_sys::fuzz_target;
use stockade::egress::sniff::Expect;

const NAME: &str = "api.example.com";

fuzz_target!(|input: &[u8]| {
    let Some((cut, turns)) = conversation::turns(input) else {
        return;
    };
    let expect = Expect::ServerName(vec![NAME.to_owned()]);
    let end = conversation::carry_twice(&turns, &expect, cut);
    let hellos = hellos(&end.accepted);
    assert!(hellos.len() <= 2);
    assert_eq!(hellos.is_empty(), end.accepted.is_empty());
    for records in hellos {
        let mut acceptor = rustls::server::Acceptor::default();
        let mut rest = records.as_slice();
        while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok() {
            let Ok(Some(accepted)) = acceptor.accept() else {
                continue;
            };
            let hello = accepted.client_hello();
            if let Some(name) = hello.server_name() {
                assert!(name.eq_ignore_ascii_case(NAME), "{name}");
            }
            break;
        }
    }
});

/// The handshake messages in clear, each as the records that carry it. A second one is the last
/// thing that is looked at.
fn hellos(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut hellos: Vec<Vec<u8>> = Vec::new();
    let (mut records, mut message) = (Vec::new(), Vec::new());
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        if *kind == 22 {
            records.extend_from_slice(&bytes[..5 + length]);
            message.extend_from_slice(&rest[..length]);
            if let [_, high, middle, low, body @ ..] = message.as_slice()
                && body.len() >= u32::from_be_bytes([0, *high, *middle, *low]) as usize
            {
                assert_eq!(message[0], 1, "no ClientHello");
                hellos.push(std::mem::take(&mut records));
                message.clear();
                if hellos.len() == 2 {
                    break;
                }
            }
        }
        bytes = &rest[length..];
    }
    assert!(message.is_empty(), "a part of a handshake message");
    hellos
}
