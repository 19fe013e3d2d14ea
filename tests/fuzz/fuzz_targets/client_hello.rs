// SPDX-License-Identifier: MIT
//! Any bytes of a target as the start of a TLS connection, read a second time by rustls: what is let
//! through must have the same one meaning for both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::sniff::client_hello::{ClientHello, Progress};
use stockade::egress::sniff::{Check, Expect};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let mut hello = ClientHello::default();
    let whole = hello.push(bytes);
    let consumed = hello.consumed();
    let mut hello = ClientHello::default();
    let mut last = Progress::More;
    for part in bytes.chunks(usize::from(cut).max(1)) {
        last = hello.push(part);
    }
    assert_eq!(last, whole);

    if let Progress::Name(name) = &whole {
        assert_eq!(hello.consumed(), consumed);
        assert!(consumed <= bytes.len());
        if let Some(other) = name_for_rustls(&bytes[..consumed]) {
            assert_eq!(name, &other);
        }
        // Not one byte less is a whole message.
        let mut hello = ClientHello::default();
        assert_eq!(hello.push(&bytes[..consumed - 1]), Progress::More);
    }

    let expect = Expect::ServerName(vec!["api.example.com".to_owned()]);
    let mut check = Check::new(&expect);
    match (check.client(bytes, &expect), whole) {
        (Ok(0), Progress::More) => {}
        (Ok(_), Progress::Name(name)) => assert_eq!(name, "api.example.com"),
        (Err(_), _) => {}
        other => panic!("{other:?}"),
    }
    check.upstream(bytes);
    let _ = check.client(bytes, &expect);
});

/// The server name as rustls reads it; none where it finds none or refuses the message.
fn name_for_rustls(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = rustls::server::Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).ok()? == 0 {
            return None;
        }
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            return hello.server_name().map(str::to_ascii_lowercase);
        }
    }
    None
}
