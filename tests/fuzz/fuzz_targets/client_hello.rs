// SPDX-License-Identifier: MIT
//! Any bytes of a target as the start of a TLS connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::sniff::client_hello::{ClientHello, Progress};
use stockade::egress::sniff::{Check, Expect};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = ClientHello::default().push(bytes);
    let mut hello = ClientHello::default();
    let mut last = Progress::More;
    for part in bytes.chunks(usize::from(cut).max(1)) {
        last = hello.push(part);
    }
    assert_eq!(last, whole);

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
