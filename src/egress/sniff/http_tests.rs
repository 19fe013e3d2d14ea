// SPDX-License-Identifier: MIT
//! Requests that two readers could understand differently, and those that nobody does.

use proptest::prelude::*;

use super::*;

fn names() -> Vec<String> {
    vec!["example.com".to_owned(), "b.example".to_owned()]
}

fn once(bytes: &[u8]) -> Result<usize, Refused> {
    HttpCheck::default().client(bytes, &names(), 80)
}

/// Gives `bytes` in pieces and keeps what is not accepted, as a relay does.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<usize, Refused> {
    let mut check = HttpCheck::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let (mut held, mut accepted) = (Vec::new(), 0);
    for pair in cuts.windows(2) {
        held.extend_from_slice(&bytes[pair[0]..pair[1]]);
        let count = check.client(&held, &names(), 80)?;
        held.drain(..count);
        accepted += count;
    }
    Ok(accepted)
}

fn malformed(result: &Result<usize, Refused>) -> bool {
    matches!(result, Err(Refused::Malformed(_)))
}

const GOOD: &str = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

#[test]
fn usual_requests_pass_whole() {
    for text in [
        GOOD,
        "GET / HTTP/1.1\r\nhOST:EXAMPLE.com  \r\nAccept: */*\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com.\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com.:80\r\n\r\n",
        "GET http://example.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET HTTP://Example.com:80?q HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n00\r\nX-Sum: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\nX: b\u{fc}cher\r\n\r\n",
        "PROPFIND /a//b HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        assert_eq!(once(text.as_bytes()), Ok(text.len()), "{text:?}");
        let twice = [text, text].concat();
        assert_eq!(once(twice.as_bytes()), Ok(twice.len()), "{twice:?}");
    }
}

/// Each row is [`GOOD`] or another accepted request with one thing changed.
#[test]
fn what_two_servers_may_read_differently_is_refused() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n");
    let post = |fields: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n{body}")
    };
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let good = chunked("3;x\r\nabc\r\n0\r\nA: b\r\n\r\n");
    for (bad, twin) in [
        (get("Host: example.com\r\n"), get("Hast: example.com\r\n")),
        (get("X: a\r\n b\r\n"), get("X: a\r\n")),
        (get("X : a\r\n"), get("X: a\r\n")),
        (get("X: a\n"), get("X: a\r\n")),
        (get("X: a\rb\r\n"), get("X: ab\r\n")),
        (get("X: a\0b\r\n"), get("X: ab\r\n")),
        (get(" X: a\r\n"), get("X: a\r\n")),
        (get(": a\r\n"), get("X: a\r\n")),
        (get("X\r\n"), get("X:\r\n")),
        (get("content_length: 5\r\n"), get("content_lengthy: 5\r\n")),
        (
            get("Transfer_Encoding: chunked\r\n"),
            get("X_Encoding: chunked\r\n"),
        ),
        (
            post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"),
            post("Content-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
            post("Content-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length: 3, 3\r\n", "abc"),
            post("Content-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length: +3\r\n", "abc"),
            post("Content-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length: 010\r\n", "abcdefgh"),
            post("Content-Length: 8\r\n", "abcdefgh"),
        ),
        (get("Content-Length: 3\r\n"), get("Content-Length: 0\r\n")),
        (get("Transfer-Encoding: chunked\r\n"), chunked("0\r\n\r\n")),
        (
            "HEAD / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc".into(),
            "DELETE / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc".into(),
        ),
        (
            get("Connection: close, Content-Length\r\n"),
            get("Connection: close, X-Length\r\n"),
        ),
        (
            get("Connection:\ttransfer_encoding\r\n"),
            get("Connection:\tTE\r\n"),
        ),
        (get("Connection: HOST\r\n"), get("Connection: HOSTS\r\n")),
        (
            post("Expect: x, 100-continue\r\nContent-Length: 3\r\n", "abc"),
            post("Expect: 100-Continue\r\nContent-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length: -1\r\n", ""),
            post("Content-Length: 0\r\n", ""),
        ),
        (
            post("Content-Length: 0x3\r\n", "abc"),
            post("Content-Length: 3\r\n", "abc"),
        ),
        (
            post("Content-Length:\r\n", ""),
            post("Content-Length: 0\r\n", ""),
        ),
        (
            post("Content-Length: 99999999999999999999\r\n", ""),
            post("Content-Length: 999999999999999999\r\n", ""),
        ),
        (
            post(
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            chunked("0\r\n\r\n"),
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            chunked("0\r\n\r\n"),
        ),
        (
            post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
            chunked("0\r\n\r\n"),
        ),
        (
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            chunked("0\r\n\r\n"),
        ),
        (
            post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
            chunked("0\r\n\r\n"),
        ),
        (
            post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
            chunked("0\r\n\r\n"),
        ),
        (
            "POST / HTTP/1.0\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .into(),
            chunked("0\r\n\r\n"),
        ),
        (chunked("3 \r\nabc\r\n0\r\n\r\n"), good.clone()),
        (chunked("0x3\r\nabc\r\n0\r\n\r\n"), good.clone()),
        (chunked("\r\nabc\r\n0\r\n\r\n"), good.clone()),
        (chunked("3\nabc\r\n0\r\n\r\n"), good.clone()),
        (chunked("3;x\nabc\r\n0\r\n\r\n"), good.clone()),
        (chunked("3\r\nabcd\r\n0\r\n\r\n"), good.clone()),
        (chunked("3\r\nabc\n0\r\n\r\n"), good.clone()),
        (chunked("fffffffffffffffff\r\n"), chunked("ffffffffff\r\n")),
        (chunked("0\r\nA: b\n\r\n"), good.clone()),
        (chunked("0\r\n A: b\r\n\r\n"), good.clone()),
        (chunked("0\r\nGET / HTTP/1.1\r\n\r\n"), good.clone()),
        (chunked("0\r\nA: \0\r\n\r\n"), good.clone()),
        (chunked("0\r\nHOST: b.example\r\n\r\n"), good.clone()),
        (chunked("0\r\nA: b\r\nContent_Length: 3\r\n\r\n"), good),
        (
            chunked("0\r\ntransfer-encoding: x\r\n\r\n"),
            chunked("0\r\ntransfer-encodings: x\r\n\r\n"),
        ),
        (
            "GET http://b.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n".into(),
        ),
        (
            "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
        ),
        (
            "GET http://a@example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "GET http://example.com/a@ HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a@example.com\r\n\r\n".into(),
            GOOD.into(),
        ),
        (
            "GET * HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
        ),
        (
            "GET example.com HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            GOOD.into(),
        ),
        (
            "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            GOOD.into(),
        ),
        (
            "GET / HTTP/1.1\r\nHost: exa mple.com\r\n\r\n".into(),
            GOOD.into(),
        ),
    ] {
        assert!(
            malformed(&once(bad.as_bytes())),
            "{bad:?}: {:?}",
            once(bad.as_bytes())
        );
        assert_eq!(once(twin.as_bytes()), Ok(twin.len()), "{twin:?}");
    }
}

#[test]
fn other_hosts_are_named() {
    for host in [
        "evil.example",
        "example.com.evil.example",
        "notexample.com",
        "example.com..",
        "example.com:81",
        "example.com:",
        "example.com:080000",
        "example.com:+80",
        "1.2.3.4",
        "[::1]:80",
        "example.com,evil.example",
        "example.com/",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            once(request.as_bytes()),
            Err(Refused::OtherHost(host.into())),
            "{host}"
        );
        let second = [GOOD, &request].concat();
        assert_eq!(
            once(second.as_bytes()),
            Err(Refused::OtherHost(host.into())),
            "second {host}"
        );
    }
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(
        once(absolute.as_bytes()),
        Err(Refused::OtherHost("evil.example".into()))
    );
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    ] {
        assert_eq!(
            once(request.as_bytes()),
            Err(Refused::NoHost),
            "{request:?}"
        );
    }
}

#[test]
fn what_is_not_http_1_is_refused_early() {
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: example.com\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"\r\nGET",
        b" GET",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"(x",
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(once(bytes), Err(Refused::NotHttp), "{bytes:?}");
    }
    assert_eq!(once(b"GET / HT"), Ok(0));
}

#[test]
fn limits_hold() {
    let fields = |count| {
        format!(
            "GET / HTTP/1.1\r\nHost: example.com\r\n{}\r\n",
            "A: b\r\n".repeat(count)
        )
    };
    assert!(once(fields(127).as_bytes()).is_ok());
    assert!(malformed(&once(fields(128).as_bytes())));
    let long = |length| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: example.com\r\n\r\n",
            "a".repeat(length)
        )
    };
    assert!(once(long(65_000).as_bytes()).is_ok());
    assert_eq!(once(long(66_000).as_bytes()), Err(Refused::TooLong));
    let chunked = |line: &str| {
        format!("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n{line}")
    };
    let extension = |length| chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(length)));
    assert!(once(extension(4_000).as_bytes()).is_ok());
    assert!(malformed(&once(extension(5_000).as_bytes())));
    let trailers = |count| chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(count)));
    assert!(once(trailers(2_000).as_bytes()).is_ok());
    assert!(malformed(&once(trailers(4_000).as_bytes())));
}

#[test]
fn no_part_of_a_head_and_every_part_of_a_body_is_accepted() {
    let mut check = HttpCheck::default();
    let head = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n";
    let cut = head.len() - 1;
    assert_eq!(check.client(&head.as_bytes()[..cut], &names(), 80), Ok(0));
    assert!(!check.begun());
    let held = format!("{head}abc");
    assert_eq!(check.client(held.as_bytes(), &names(), 80), Ok(held.len()));
    let held = format!("defghij{}", &GOOD[..9]);
    assert_eq!(check.client(held.as_bytes(), &names(), 80), Ok(7));
    let held = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert!(check.client(held.as_bytes(), &names(), 80).is_err());
}

const SWITCH: &str =
    "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const FRAMES: &[u8] = b"\x81\x85abcdefghi";

/// What becomes of frames after these requests and answers.
fn after(requests: &[&str], answers: &[&[u8]]) -> Result<usize, Refused> {
    let mut check = HttpCheck::default();
    let text = requests.concat();
    let accepted = check.client(text.as_bytes(), &names(), 80)?;
    assert_eq!(accepted, text.len());
    for answer in answers {
        for part in answer.chunks(5) {
            check.upstream(part);
        }
    }
    check.client(FRAMES, &names(), 80)
}

#[test]
fn only_the_server_makes_a_websocket() {
    assert_eq!(
        after(&[SWITCH], &[]),
        Ok(0),
        "nothing passes before the answer"
    );
    assert_eq!(after(&[SWITCH], &[SWITCHED]), Ok(FRAMES.len()));
    assert_eq!(
        after(
            &[SWITCH],
            &[b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", SWITCHED]
        ),
        Ok(FRAMES.len())
    );
    let refused = Err(Refused::NotHttp);
    assert_eq!(after(&[GOOD], &[SWITCHED]), refused, "nobody asked");
    let no = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(after(&[SWITCH], &[no]), refused);
    assert_eq!(
        after(&[SWITCH], &[b"HTTP/1.1 101 OK\r\nUpgrade: h2c\r\n\r\n"]),
        refused,
        "another protocol"
    );
    assert_eq!(after(&[SWITCH], &[b"HTTP/1.1 101 OK\r\n\r\n"]), refused);
    assert_eq!(after(&[SWITCH], &[b"garbage\r\n\r\n"]), refused);
    let mut ended = HttpCheck::default();
    ended.client(SWITCH.as_bytes(), &names(), 80).unwrap();
    ended.upstream_ended();
    assert_eq!(ended.client(FRAMES, &names(), 80), refused);
}

#[test]
fn a_websocket_may_follow_other_requests() {
    let head = "HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let answers: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        SWITCHED,
    ];
    let requests = [GOOD, GOOD, head, GOOD, SWITCH];
    assert_eq!(after(&requests, &answers), Ok(FRAMES.len()));
    assert_eq!(after(&requests, &answers[..4]), Ok(0));
}

#[test]
fn an_echo_of_the_switch_is_none() {
    // the first answer's body holds what the target would like to be the answer to the second
    let echo = [b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", SWITCHED].concat();
    assert_eq!(after(&[GOOD, SWITCH], &[&echo]), Ok(0));
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n", SWITCHED].concat();
    assert_eq!(after(&[GOOD, SWITCH], &[&endless]), Err(Refused::NotHttp));
    let early = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\nX: y\r\n\r\n",
        SWITCHED,
    ]
    .concat();
    assert_eq!(
        after(&[GOOD, SWITCH], &[&early]),
        Err(Refused::NotHttp),
        "httparse's line ends"
    );
    let two = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 300\r\n\r\n"[..],
        SWITCHED,
    ]
    .concat();
    assert_eq!(after(&[GOOD, SWITCH], &[&two]), Err(Refused::NotHttp));
    // an answer that nobody asked for, before the switch
    assert_eq!(
        after(
            &[SWITCH],
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", SWITCHED]
        ),
        Err(Refused::NotHttp)
    );
}

#[test]
fn a_switch_with_a_body_or_after_confusion_is_refused() {
    let body = SWITCH.replace("Upgrade\r\nU", "Upgrade\r\nContent-Length: 3\r\nU");
    assert!(malformed(&once(body.as_bytes())));
    let mut check = HttpCheck::default();
    check.upstream(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(check.client(GOOD.as_bytes(), &names(), 80), Ok(GOOD.len()));
    assert!(malformed(&check.client(SWITCH.as_bytes(), &names(), 80)));
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        GOOD,
        SWITCH,
        "POST / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 12\r\n\r\nGET / HTTP/1",
        "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5;q=1\r\nabcde\r\n",
        "0\r\nT: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "Host: example.com\r\n",
        "\r\n",
        "\n",
        "x",
    ]);
    let text = prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat().into_bytes());
    let changed = (text.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut bytes, at, value)| {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes
        },
    );
    prop_oneof![text, changed, prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn cuts_do_not_matter(bytes in requests(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let whole = once(&bytes);
        prop_assert_eq!(&in_pieces(&bytes, &cuts), &whole);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&in_pieces(&bytes, &every), &whole);
    }

    #[test]
    fn what_is_accepted_names_an_expected_host(bytes in requests()) {
        if let Ok(accepted) = once(&bytes) && accepted > 0 {
            let text = String::from_utf8_lossy(&bytes[..accepted]).to_ascii_lowercase();
            let head = text.split("\r\n\r\n").next().unwrap_or_default();
            let hosts: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("host:")).collect();
            prop_assert_eq!(hosts.len(), 1);
            prop_assert!(names().contains(&hosts[0].trim().to_owned()), "{}", hosts[0]);
        }
    }

    #[test]
    fn arbitrary_answers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1_usize..50) {
        let mut check = HttpCheck::default();
        let _ = check.client([GOOD, SWITCH].concat().as_bytes(), &names(), 80);
        let answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
        for part in answer.chunks(cut) {
            check.upstream(part);
        }
    }
}
