// SPDX-License-Identifier: MIT
//! Recorded and made-up ClientHellos, cut anywhere.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A recorded flight of `tests/data/tls`.
pub(in super::super) fn recorded(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let text = std::fs::read_to_string(directory.join(format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}

/// A `ClientHello` body with these extensions.
fn body(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    let mut list = Vec::new();
    for (kind, content) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        list.extend(content);
    }
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    body
}

/// A message in records of at most `size` bytes.
fn records(body: &[u8], size: usize) -> Vec<u8> {
    let mut message = vec![1];
    message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    message.extend(body);
    let mut records = Vec::new();
    for part in message.chunks(size) {
        records.extend([22, 3, 1]);
        records.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        records.extend(part);
    }
    records
}

fn entry(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut entry = vec![kind];
    entry.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    entry.extend(name);
    entry
}

fn names(entries: &[Vec<u8>]) -> Vec<u8> {
    let list = entries.concat();
    let mut content = u16::try_from(list.len()).unwrap().to_be_bytes().to_vec();
    content.extend(list);
    content
}

pub(in super::super) fn hello_for(name: &[u8]) -> Vec<u8> {
    records(&body(&[(0, names(&[entry(0, name)]))]), 4096)
}

fn verdict(bytes: &[u8]) -> Progress {
    ClientHello::default().push(bytes)
}

fn name(text: &str) -> Progress {
    Progress::Name(text.to_owned())
}

fn is_malformed(bytes: &[u8]) -> bool {
    matches!(verdict(bytes), Progress::Refused(Refused::Malformed(_)))
}

#[test]
fn names_of_real_clients_are_found() {
    for client in [
        "openssl_tls13",
        "openssl_tls12",
        "curl",
        "node",
        "python",
        "post_quantum_grease",
        "retry_first",
        "tls12_first",
    ] {
        assert_eq!(
            verdict(&recorded(client)),
            name("api.example.com"),
            "{client}"
        );
    }
    assert_eq!(verdict(&recorded("deno")), name("localhost"));
    assert_eq!(verdict(&recorded("git")), name("localhost"));
    assert!(recorded("post_quantum_grease").len() > 1_400);
}

#[test]
fn hidden_and_missing_names_are_refused() {
    let refused = |file| match verdict(&recorded(file)) {
        Progress::Refused(refused) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("openssl_no_name"), Refused::NoServerName);
    assert_eq!(refused("encrypted"), Refused::EncryptedClientHello);
    assert_eq!(refused("encrypted_old"), Refused::EncryptedClientHello);
}

#[test]
fn what_is_not_tls_is_refused_at_its_first_bytes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0x80, 0x2e, 1, 0, 2],
        &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f],
        &[22, 2],
        &[21, 3, 1, 0, 2, 1, 0],
    ] {
        assert_eq!(
            verdict(bytes),
            Progress::Refused(Refused::NoTls),
            "{bytes:?}"
        );
    }
    assert_eq!(verdict(&[22, 3]), Progress::More);
}

#[test]
fn case_does_not_matter_and_nothing_else_is_forgiven() {
    let good = b"Api.Example_1.com";
    assert_eq!(verdict(&hello_for(good)), name("api.example_1.com"));
    let long = [b'a'; 254];
    for bad in [
        &b""[..],
        b"api.example.com.",
        b"evil\0.example.com",
        b"api.example.com\0",
        b"api example",
        b"b\xc3\xbccher.example",
        b"*.example.com",
        b"[::1]",
        b"1.2.3.4",
        b"user@example.com",
        b"example.com:443",
        &long,
    ] {
        assert!(is_malformed(&hello_for(bad)), "{bad:?}");
    }
    assert_eq!(verdict(&hello_for(&long[1..])), name(&"a".repeat(253)));
}

#[test]
fn one_extension_with_one_name() {
    let one = names(&[entry(0, b"a.example")]);
    let other = names(&[entry(0, b"b.example")]);
    let accepted = |extensions: &[(u16, Vec<u8>)]| verdict(&records(&body(extensions), 4096));
    assert_eq!(
        accepted(&[(0, one.clone()), (10, vec![])]),
        name("a.example")
    );
    for bad in [
        vec![(0, one.clone()), (0, other.clone())],
        vec![(0, one.clone()), (0, one.clone())],
        vec![(0, one.clone()), (10, vec![]), (10, vec![])],
        vec![(0, names(&[entry(0, b"a.example"), entry(0, b"b.example")]))],
        vec![(0, names(&[entry(0, b"a.example"), entry(1, b"b.example")]))],
        vec![(0, names(&[entry(1, b"a.example")]))],
        vec![(0, [one.clone(), vec![0]].concat())],
        vec![(0, names(&[entry(0, b"a.example"), vec![0]]))],
        vec![(0, vec![])],
        vec![(0, vec![0, 0])],
    ] {
        assert!(is_malformed(&records(&body(&bad), 4096)), "{bad:?}");
    }
}

#[test]
fn bytes_behind_the_message_do_not_pass_unseen() {
    let whole = body(&[(0, names(&[entry(0, b"a.example")]))]);
    let longer = [&whole[..], &[0]].concat();
    assert!(
        is_malformed(&records(&longer, 4096)),
        "a byte after the extensions"
    );
    let mut record = records(&whole, 4096);
    record[4] += 1;
    record.push(1);
    assert!(
        is_malformed(&record),
        "a byte after the message in its record"
    );
    // early data in the next record is none of the message
    let mut hello = ClientHello::default();
    let bytes = [records(&whole, 4096), vec![23, 3, 3, 0, 1, 0]].concat();
    assert_eq!(hello.push(&bytes), name("a.example"));
    assert_eq!(hello.consumed(), bytes.len() - 6);
}

#[test]
fn lengths_and_record_types_are_held_to_limits() {
    let large = body(&[(0, names(&[entry(0, b"a.example")])), (21, vec![0; 60_000])]);
    assert_eq!(verdict(&records(&large, 16_384)), name("a.example"));
    let mut long = large.clone();
    long.resize(65_537, 0);
    assert_eq!(
        verdict(&records(&long, 16_384)),
        Progress::Refused(Refused::TooLong)
    );
    // one byte per record multiplies what must be looked at
    assert_eq!(
        verdict(&records(&large, 1)),
        Progress::Refused(Refused::TooLong)
    );
    assert!(is_malformed(&[22, 3, 1, 0, 0]), "an empty record");
    assert!(is_malformed(&[22, 3, 1, 0x40, 1]), "a long record");
    assert!(is_malformed(&[22, 3, 1, 0, 1, 2]), "another message");
    assert!(
        is_malformed(&[22, 3, 1, 0, 1, 1, 21]),
        "another record inside"
    );
}

/// Gives `bytes` in pieces that end at `cuts`.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Progress {
    let mut hello = ClientHello::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut progress = Progress::More;
    for pair in cuts.windows(2) {
        progress = hello.push(&bytes[pair[0]..pair[1]]);
    }
    progress
}

fn flights() -> impl Strategy<Value = Vec<u8>> {
    let recorded =
        prop::sample::select(vec!["curl", "deno", "python", "encrypted", "retry_second"])
            .prop_map(recorded);
    let built = ("[a-zA-Z0-9.-]{0,20}", 1_usize..200)
        .prop_map(|(name, size)| records(&body(&[(0, names(&[entry(0, name.as_bytes())]))]), size));
    let changed = (hello_bytes(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, at, value)| {
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes
        },
    );
    prop_oneof![
        recorded,
        built,
        changed,
        prop::collection::vec(any::<u8>(), 0..200)
    ]
}

fn hello_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(recorded("curl")),
        Just(recorded("deno")),
        Just(hello_for(b"api.example.com")),
    ]
}

proptest! {
    #[test]
    fn cuts_do_not_matter(bytes in flights(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        prop_assert_eq!(in_pieces(&bytes, &cuts), verdict(&bytes));
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(in_pieces(&bytes, &every), verdict(&bytes));
    }

    #[test]
    fn a_name_is_always_a_host_name_that_stands_in_the_bytes(bytes in flights()) {
        if let Progress::Name(name) = verdict(&bytes) {
            prop_assert!(!name.is_empty() && !name.ends_with('.'));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()
                || byte.is_ascii_digit() || b"-._".contains(&byte)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = verdict(&bytes);
        let framed = records(&bytes, 100);
        let _ = verdict(&framed);
    }
}
