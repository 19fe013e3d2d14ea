// SPDX-License-Identifier: MIT
//! A proxy as it answers: what the tunnel is asked for, what is left in it, and why there is none.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::super::dns::upstream::Lookups;
use super::super::rules::Rules;
use super::*;
use crate::plan::NetRules;

/// Knows one name.
struct One(&'static str, IpAddr);

impl Upstream for One {
    fn look_up<'u>(&'u self, name: &'u str, kind: Kind) -> Lookups<'u> {
        let found = if name == self.0 && kind.fits(self.1) {
            Found::Addresses(vec![self.1], 60, Vec::new())
        } else {
            Found::NoName
        };
        Box::pin(std::future::ready(found))
    }
}

fn proxy(host: &str, port: u16, credentials: Option<&str>) -> Proxy {
    let settings = UpstreamProxy {
        host: host.to_owned(),
        port,
        credentials: credentials.map(|text| text.as_bytes().to_vec()),
    };
    let rules = Rc::new(Rules::new(&NetRules::default()).with_synthetic());
    let search = Search {
        domains: vec!["corp".to_owned()],
        dots: 1,
    };
    Proxy::new(
        &settings,
        Hosts::parse(b"127.0.0.1 written"),
        search,
        Box::new(One("short.corp", Ipv4Addr::LOCALHOST.into())),
        Rc::new(Synthetic::new(rules, Rc::<RefCell<_>>::default())),
    )
}

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let whole = LocalSet::new();
    runtime
        .block_on(whole.run_until(async { timeout(Duration::from_secs(20), test).await }))
        .unwrap();
}

/// What a proxy that sends `parts` one after the other was asked, and what came of it: the bytes
/// behind the head.
async fn exchange(host: &str, parts: &[&[u8]]) -> (String, Result<Vec<u8>, ProxyError>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let server = tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 512];
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0);
            asked.extend(&buffer[..length]);
        }
        for part in parts {
            if stream.write_all(&part).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        String::from_utf8(asked).unwrap()
    });
    let proxy = proxy(host, port, Some("user:pass"));
    let result = match proxy.tunnel("a.example:22").await {
        Ok(mut stream) => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        }
        Err(error) => Err(error),
    };
    (server.await.unwrap(), result)
}

#[test]
fn a_tunnel_is_asked_for_and_what_follows_is_its_own() {
    run(async {
        let parts: [&[u8]; 3] = [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Conn",
            b"ection established\r\nContent-Length: 4\r\n\r",
            b"\nSSH-2.0-x\r\nHTTP/1.1 200 OK\r\n\r\n",
        ];
        for host in ["127.0.0.1", "written", "short", "short.corp"] {
            let (asked, result) = exchange(host, &parts).await;
            assert_eq!(
                asked,
                "CONNECT a.example:22 HTTP/1.1\r\nHost: a.example:22\r\n\
                 Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
            );
            assert_eq!(result.unwrap(), b"SSH-2.0-x\r\nHTTP/1.1 200 OK\r\n\r\n");
        }
    });
}

#[test]
fn what_is_no_acceptance_is_a_reason() {
    run(async {
        let long = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; HEAD_LIMIT]].concat();
        let interim = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(INTERIM_LIMIT);
        let cases: [(&[u8], &str); 9] = [
            (
                b"HTTP/1.1 407 x\r\n\r\n",
                "the upstream proxy answered 407: it wants a user and password",
            ),
            (
                b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>",
                "the upstream proxy answered 502",
            ),
            (
                b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
                "the upstream proxy answered 302",
            ),
            (
                b"HTTP/1.1 101 Switching\r\n\r\n",
                "the upstream proxy answered 101",
            ),
            (
                b"SSH-2.0-x\r\n",
                "the upstream proxy did not answer in HTTP",
            ),
            (
                b"HTTP/1.1 200 OK\r\n",
                "the upstream proxy ended the connection without an answer",
            ),
            (
                b"",
                "the upstream proxy ended the connection without an answer",
            ),
            (&long, "the upstream proxy did not answer in HTTP"),
            (&interim, "the upstream proxy did not answer in HTTP"),
        ];
        for (answer, expected) in cases {
            let (_, result) = exchange("127.0.0.1", &[answer]).await;
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    });
}

#[test]
fn a_proxy_that_is_not_there_is_a_reason() {
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let closed = proxy("127.0.0.1", port, None).tunnel("a.example:1").await;
        let text = closed.unwrap_err().to_string();
        assert!(
            text.starts_with("the upstream proxy cannot be reached: "),
            "{text}"
        );
        let unknown = proxy("unknown", port, None).tunnel("a.example:1").await;
        assert!(matches!(unknown, Err(ProxyError::NoName)));
    });
}

#[test]
fn what_is_near_does_not_go_through_the_proxy() {
    let proxy = proxy("127.0.0.1", 1, None);
    for (address, expected) in [
        ("203.0.113.7:443", Some("203.0.113.7:443")),
        ("8.8.8.8:53", Some("8.8.8.8:53")),
        ("[::ffff:8.8.8.8]:53", Some("8.8.8.8:53")),
        ("[2600::1]:443", Some("[2600::1]:443")),
        ("127.0.0.1:80", None),
        ("0.0.0.0:80", None),
        ("[::1]:80", None),
        ("10.0.0.1:80", None),
        ("192.168.1.1:80", None),
        ("100.64.0.1:80", None),
        ("169.254.169.254:80", None),
        ("168.63.129.16:80", None),
        ("[fd00::1]:80", None),
        ("[fe80::1]:80", None),
        // Of the range, but nobody's.
        ("198.18.0.9:80", None),
    ] {
        let found = proxy.authority(address.parse().unwrap());
        assert_eq!(found.as_deref(), expected, "{address}");
    }
}

#[test]
fn base64_is_that_of_the_standard() {
    // RFC 4648 §10.
    for (text, expected) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(text.as_bytes()), expected);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
}
