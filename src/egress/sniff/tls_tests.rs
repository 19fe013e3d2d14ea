// SPDX-License-Identifier: MIT
//! The check of a TLS connection from its first byte to the end of checking.

use super::super::client_hello::tests::{hello_for, recorded};
use super::*;

fn names() -> Vec<String> {
    vec!["api.example.com".to_owned(), "b.example".to_owned()]
}

/// After the first `ClientHello`, which the check has accepted.
fn begun() -> TlsCheck {
    let mut check = TlsCheck::default();
    let first = recorded("retry_first");
    assert_eq!(check.client(&first, &names()), Ok(first.len()));
    assert!(check.begun() && !check.is_over());
    check
}

fn show(check: &mut TlsCheck, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        check.upstream(part);
    }
}

/// Gives `bytes` one at a time, keeping what is not accepted.
fn bytewise(check: &mut TlsCheck, bytes: &[u8]) -> Result<usize, Refused> {
    let (mut held, mut accepted) = (Vec::new(), 0);
    for &byte in bytes {
        held.push(byte);
        let count = check.client(&held, &names())?;
        held.drain(..count);
        accepted += count;
    }
    Ok(accepted)
}

#[test]
fn a_name_that_is_not_expected_is_refused() {
    let other = hello_for(b"evil.example");
    let refused = TlsCheck::default().client(&other, &names());
    assert_eq!(
        refused,
        Err(Refused::OtherServerName("evil.example".to_owned()))
    );
    let twin = hello_for(b"B.example");
    assert_eq!(TlsCheck::default().client(&twin, &names()), Ok(twin.len()));
}

#[test]
fn a_usual_answer_ends_the_check() {
    for (server, second) in [
        ("plain_server", "plain_second"),
        ("tls12_server", "tls12_second"),
    ] {
        for piece in [1, 7, 4096] {
            let mut check = begun();
            show(&mut check, &recorded(server), piece);
            assert!(check.is_over(), "{server} in pieces of {piece}");
            let second = recorded(second);
            assert_eq!(check.client(&second, &names()), Ok(second.len()));
        }
    }
}

#[test]
fn a_second_hello_is_held_to_the_same_names() {
    for piece in [1, 7, 4096] {
        let mut check = begun();
        show(&mut check, &recorded("retry_server"), piece);
        assert!(!check.is_over());
        // the empty message for middleboxes, then the ClientHello
        let second = recorded("retry_second");
        assert_eq!(bytewise(&mut check, &second), Ok(second.len()));
        assert!(check.is_over());

        let mut check = begun();
        show(&mut check, &recorded("retry_server"), piece);
        let other = [&second[..6], &hello_for(b"evil.example")].concat();
        let refused = Err(Refused::OtherServerName("evil.example".to_owned()));
        assert_eq!(check.client(&other, &names()), refused);
    }
}

#[test]
fn no_second_hello_before_the_answer() {
    let second = hello_for(b"evil.example");
    let refused = "a second handshake message before the server's answer";
    assert_eq!(
        begun().client(&second, &names()),
        Err(Refused::Malformed(refused))
    );
    let both = [recorded("retry_first"), second.clone()].concat();
    let verdict = TlsCheck::default().client(&both, &names());
    assert_eq!(verdict, Err(Refused::Malformed(refused)));
    // nor behind early data, however the records are cut
    let early = [vec![20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 2, 22, 3], second].concat();
    assert_eq!(
        bytewise(&mut begun(), &early),
        Err(Refused::Malformed(refused))
    );
    let early = &early[..13];
    assert_eq!(bytewise(&mut begun(), early), Ok(early.len()));
}

#[test]
fn a_warning_in_front_of_the_answer_is_stepped_over() {
    let mut check = begun();
    check.upstream(&[21, 3, 3, 0, 2, 1, 112]);
    assert!(!check.is_over());
    check.upstream(&recorded("retry_server"));
    let other = hello_for(b"evil.example");
    assert!(check.client(&other, &names()).is_err());
}

#[test]
fn a_request_to_begin_again_is_no_answer() {
    // HelloRequest, alone in its record and in front of the answer in one
    let retry = recorded("retry_server");
    let alone = [&[22, 3, 3, 0, 4, 0, 0, 0, 0][..], &retry].concat();
    let length = u16::from_be_bytes([retry[3], retry[4]]) + 8;
    let joined = [&retry[..3], &length.to_be_bytes(), &[0; 8], &retry[5..]].concat();
    let other = hello_for(b"evil.example");
    for server in [alone, joined] {
        for piece in [1, 7, 4096] {
            let mut check = begun();
            show(&mut check, &server[..9], piece);
            assert!(!check.is_over());
            let early = "a second handshake message before the server's answer";
            assert_eq!(
                begun().client(&other, &names()),
                Err(Refused::Malformed(early))
            );
            show(&mut check, &server[9..], piece);
            let second = hello_for(b"api.example.com");
            assert!(!check.is_over());
            assert_eq!(check.client(&second, &names()), Ok(second.len()));
            assert!(check.is_over());
        }
    }
    // another message is the answer of a server that is past the name
    let mut check = begun();
    show(&mut check, &[22, 3, 3, 0, 4, 0, 0, 0, 1], 1);
    assert!(check.is_over());
}
