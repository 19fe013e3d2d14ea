// SPDX-License-Identifier: MIT
//! Rules against addresses and names in all their forms; denials win.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::NetRule;
use crate::policy::NetDescriptor;
use crate::policy::compose::net_covers;
use crate::policy::grammar::parse_net;

fn rule(flag: &str, text: &str, verify: Verify) -> NetRule {
    let NetDescriptor { host, port } = parse_net(text).unwrap();
    NetRule {
        host,
        port,
        verify,
        origin: Origin::flag(flag, Some(text)),
    }
}

fn list(flag: &str, texts: &str) -> Vec<NetRule> {
    texts
        .split_whitespace()
        .map(|text| match text.split_once('=') {
            Some(("sni", text)) => rule(flag, text, Verify::ServerName),
            Some((_, text)) => rule(flag, text, Verify::Nothing),
            None => rule(flag, text, Verify::ByPort),
        })
        .collect()
}

/// Rules as lists; `*` alone among the grants is the bare flag.
fn rules(allow: &str, deny: &str, private: &str) -> Rules {
    let allow = allow.trim();
    let all = allow == "*";
    Rules::new(&NetRules {
        all: all.then(|| Origin::flag("--allow-net", None)),
        allow: if all {
            Vec::new()
        } else {
            list("--allow-net", allow)
        },
        deny: list("--deny-net", deny),
        private: list("--allow-private", private),
    })
}

fn search(domain: &str) -> Search {
    Search {
        domains: vec![domain.to_owned()],
        dots: 1,
    }
}

/// `name=address` pairs; `!` before the name: expired.
fn book(pins: &str, now: Instant) -> NameBook {
    let mut book = NameBook::new();
    for pin in pins.split_whitespace() {
        let (name, address) = pin.split_once('=').unwrap();
        let (name, until) = match name.strip_prefix('!') {
            Some(name) => (name, now),
            None => (name, now + Duration::from_secs(60)),
        };
        book.pin(name, &[address.parse().unwrap()], until);
    }
    book
}

/// The decision in one line.
fn text(decision: Decision) -> String {
    match decision {
        Decision::Direct { origin } => format!("direct {origin}"),
        Decision::Verified {
            check,
            names,
            origin,
        } => format!("{check:?} {} {origin}", names.join(",")),
        Decision::Stale { names } => format!("stale {}", names.join(",")),
        Decision::Denied(denial) => format!(
            "denied {} | {}",
            denial
                .nearest
                .map_or_else(|| "-".to_owned(), |origin| origin.to_string()),
            denial.allow_with.unwrap_or_else(|| "-".to_owned())
        ),
    }
}

fn decide(rules: &Rules, pins: &str, asked: &str) -> String {
    let now = Instant::now();
    let (operation, peer) = match asked.split_once(' ') {
        Some(("listen", peer)) => (Operation::Listen, peer),
        Some((_, peer)) => (Operation::Datagram, peer),
        None => (Operation::Connect, asked),
    };
    let peer: std::net::SocketAddr = peer.parse().unwrap();
    let asked = Asked {
        operation,
        address: peer.ip(),
        port: peer.port(),
    };
    text(rules.decide(&asked, &book(pins, now), now))
}

#[test]
#[rustfmt::skip]
fn calls_are_decided() {
    for (allow, deny, pins, asked, expected) in [
        // Addresses.
        ("1.1.1.1:80", "", "", "1.1.1.1:80", "direct --allow-net=1.1.1.1:80"),
        ("1.1.1.1:80", "", "", "[::ffff:1.1.1.1]:80", "direct --allow-net=1.1.1.1:80"),
        ("1.1.1.1:80", "", "", "1.1.1.1:81", "denied --allow-net=1.1.1.1:80 | --allow-net=1.1.1.1:81"),
        ("1.1.1.1:80", "", "", "[::1.1.1.1]:80", "denied - | --allow-net=[::101:101]:80"),
        ("1.1.1.1:80", "", "", "[64:ff9b::1.1.1.1]:80", "denied - | --allow-net=[64:ff9b::101:101]:80"),
        ("10.0.0.0/8", "", "", "10.9.9.9:1", "direct --allow-net=10.0.0.0/8"),
        ("10.0.0.0/8", "", "", "11.9.9.9:1", "denied - | --allow-net=11.9.9.9:1"),
        ("[2001:db8::]/32:1", "", "", "[2001:db8::9]:1", "direct --allow-net=[2001:db8::]/32:1"),
        ("0.0.0.0/0", "", "", "[2001:db8::9]:1", "denied - | --allow-net=[2001:db8::9]:1"),
        // This machine.
        ("127.0.0.1:80", "", "", "0.0.0.0:80", "direct --allow-net=127.0.0.1:80"),
        ("[::1]:80", "", "", "[::]:80", "direct --allow-net=[::1]:80"),
        ("a.com", "", "", "0.0.0.0:80", "denied - | --allow-net=127.0.0.1:80"),
        (":8080", "", "", "127.0.0.1:8080", "direct --allow-net=:8080"),
        (":8080", "", "", "0.0.0.0:8080", "direct --allow-net=:8080"),
        (":8080", "", "", "127.0.0.2:8080", "denied - | --allow-net=127.0.0.2:8080"),
        (":8080", "", "", "[::1]:8080", "denied - | --allow-net=[::1]:8080"),
        (":8080", "", "localhost=::1", "[::1]:8080", "direct --allow-net=:8080"),
        (":80", "", "localhost=::1", "[::1]:80", "direct --allow-net=:80"),
        (":8080", "", "localhost=::1", "[::1]:8081", "denied --allow-net=:8080 | --allow-net=localhost:8081"),
        // Names.
        ("a.com", "", "a.com=1.1.1.1", "1.1.1.1:22", "direct --allow-net=a.com"),
        ("a.com", "", "a.com=1.1.1.1", "1.1.1.1:443", "ServerName a.com --allow-net=a.com"),
        ("a.com", "", "a.com=1.1.1.1", "[::ffff:1.1.1.1]:80", "HttpHost a.com --allow-net=a.com"),
        ("a.com", "", "b.com=1.1.1.1", "1.1.1.1:80", "denied - | --allow-net=b.com:80"),
        ("a.com", "", "", "1.1.1.1:80", "denied - | --allow-net=1.1.1.1:80"),
        ("a.com:22", "", "a.com=1.1.1.1", "1.1.1.1:23", "denied --allow-net=a.com:22 | --allow-net=a.com:23"),
        ("a.com", "", "!a.com=1.1.1.1", "1.1.1.1:23", "stale a.com"),
        ("*.a.com", "", "x.y.a.com=1.1.1.1", "1.1.1.1:443", "ServerName x.y.a.com --allow-net=*.a.com"),
        ("*.a.com", "", "a.com=1.1.1.1", "1.1.1.1:443", "ServerName a.com --allow-net=*.a.com"),
        ("*.a.com", "", "xa.com=1.1.1.1", "1.1.1.1:443", "denied - | --allow-net=xa.com:443"),
        // What is checked.
        ("sni=a.com", "", "a.com=1.1.1.1", "1.1.1.1:8443", "ServerName a.com --allow-net=a.com"),
        ("none=a.com", "", "a.com=1.1.1.1", "1.1.1.1:443", "direct --allow-net=a.com"),
        ("none=a.com b.com c.com:22", "", "a.com=1.1.1.1 b.com=1.1.1.1 c.com=1.1.1.1", "1.1.1.1:443", "ServerName a.com,b.com --allow-net=b.com"),
        ("*.a.com none=x.a.com:443", "", "x.a.com=1.1.1.1", "1.1.1.1:443", "direct --allow-net=x.a.com:443"),
        ("none=*.a.com sni=x.a.com", "", "x.a.com=1.1.1.1", "1.1.1.1:443", "ServerName x.a.com --allow-net=x.a.com"),
        ("a.com b.com", "", "!a.com=1.1.1.1 b.com=1.1.1.1", "1.1.1.1:443", "ServerName a.com,b.com --allow-net=b.com"),
        ("a.com 1.1.1.1:443", "", "a.com=1.1.1.1", "1.1.1.1:443", "direct --allow-net=1.1.1.1:443"),
        // A rule on one port of a special address does not let names open the others.
        ("a.com 10.0.0.1:80", "", "a.com=10.0.0.1", "10.0.0.1:80", "direct --allow-net=10.0.0.1:80"),
        ("a.com 10.0.0.1:80", "", "a.com=10.0.0.1", "10.0.0.1:22", "denied --allow-net=a.com | --allow-private=a.com"),
        ("db 10.0.0.1:80", "", "db=10.0.0.1", "10.0.0.1:22", "direct --allow-net=db"),
        ("db 169.254.1.1:80", "", "db=169.254.1.1", "169.254.1.1:22", "denied --allow-net=db | --allow-net=169.254.1.1:22"),
        // Datagrams.
        ("a.com", "", "a.com=1.1.1.1", "datagram 1.1.1.1:123", "direct --allow-net=a.com"),
        ("a.com", "", "a.com=1.1.1.1", "datagram 1.1.1.1:443", "denied --allow-net=a.com | --allow-net=1.1.1.1:443"),
        ("1.1.1.1", "", "", "datagram 1.1.1.1:443", "direct --allow-net=1.1.1.1"),
        // Denials.
        ("1.1.1.1", "1.1.1.1:80", "", "1.1.1.1:80", "denied --deny-net=1.1.1.1:80 | -"),
        ("1.1.1.1", "1.1.1.1:80", "", "1.1.1.1:81", "direct --allow-net=1.1.1.1"),
        ("*", "", "", "1.1.1.1:80", "direct --allow-net"),
        ("*", "169.254.169.254", "", "169.254.169.254:80", "denied --deny-net=169.254.169.254 | -"),
        ("*", "169.254.169.254", "", "[::ffff:169.254.169.254]:80", "denied --deny-net=169.254.169.254 | -"),
        ("*", "169.254.0.0/16", "", "[64:ff9b::a9fe:a9fe]:80", "denied --deny-net=169.254.0.0/16 | -"),
        ("*", "169.254.0.0/16", "", "[2002:a9fe:a9fe::1]:80", "denied --deny-net=169.254.0.0/16 | -"),
        ("*", "127.0.0.1", "", "0.0.0.0:80", "denied --deny-net=127.0.0.1 | -"),
        ("*", "0.0.0.0", "", "127.0.0.1:80", "direct --allow-net"),
        ("*", ":80", "", "127.0.0.1:80", "denied --deny-net=:80 | -"),
        ("*", ":80", "localhost=::1", "[::1]:80", "denied --deny-net=:80 | -"),
        ("*", "*.evil", "x.evil=1.1.1.1", "1.1.1.1:80", "denied --deny-net=*.evil | -"),
        ("*", "x.evil:80", "!x.evil=1.1.1.1 a.com=1.1.1.1", "1.1.1.1:80", "denied --deny-net=x.evil:80 | -"),
        ("*", "x.evil:80", "x.evil=1.1.1.1", "1.1.1.1:81", "direct --allow-net"),
        ("*", "x.evil", "a.com=1.1.1.1", "1.1.1.1:443", "direct --allow-net"),
        ("a.com 1.1.1.1", "a.com:443", "a.com=1.1.1.1", "1.1.1.1:443", "denied --deny-net=a.com:443 | -"),
        // Listeners.
        ("0.0.0.0:8080", "", "", "listen 0.0.0.0:8080", "direct --allow-net=0.0.0.0:8080"),
        ("127.0.0.1:8080", "", "", "listen 0.0.0.0:8080", "denied - | --allow-net=0.0.0.0:8080"),
        ("0.0.0.0:8080", "", "", "listen 127.0.0.1:8080", "denied - | --allow-net=127.0.0.1:8080"),
        (":8080", "", "", "listen 0.0.0.0:8080", "direct --allow-net=:8080"),
        (":8080", "", "localhost=::1", "listen [::1]:8080", "direct --allow-net=:8080"),
        (":8080", "", "localhost=::1", "listen [::]:8080", "denied - | --allow-net=[::]:8080"),
        ("localhost:80", "", "localhost=127.0.0.1", "listen 127.0.0.1:80", "direct --allow-net=localhost:80"),
        ("localhost:80", "", "localhost=127.0.0.1", "listen 0.0.0.0:80", "denied - | --allow-net=0.0.0.0:80"),
        ("127.0.0.1:0", "", "", "listen 127.0.0.1:0", "direct --allow-net=127.0.0.1:0"),
        ("127.0.0.1:0", "", "", "listen 127.0.0.1:5", "denied --allow-net=127.0.0.1:0 | --allow-net=127.0.0.1:5"),
        ("127.0.0.1", "", "", "listen 127.0.0.1:0", "direct --allow-net=127.0.0.1"),
    ] {
        assert_eq!(
            decide(&rules(allow, deny, ""), pins, asked),
            expected,
            "allow {allow}, deny {deny}, pinned {pins}: {asked}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn names_are_looked_up_by_the_rules() {
    let verdict = |rules: &Rules, name: &str| match rules.name(name) {
        NameVerdict::Granted => "granted".to_owned(),
        NameVerdict::Denied(denial) => format!(
            "{} | {}",
            denial
                .nearest
                .map_or_else(|| "-".to_owned(), |origin| origin.to_string()),
            denial.allow_with.unwrap_or_else(|| "-".to_owned())
        ),
    };
    for (allow, deny, name, expected) in [
        ("a.com", "", "a.com", "granted"),
        ("a.com", "", "A.COM.", "granted"),
        ("a.com:443", "", "a.com", "granted"),
        ("a.com", "", "x.a.com", "--allow-net=a.com | --allow-net=x.a.com"),
        ("a.com", "", "com", "- | --allow-net=com"),
        ("a.com", "", "xa.com", "- | --allow-net=xa.com"),
        ("a.com", "", "a.com..", "- | --allow-net=a.com."),
        ("a.com", "", "a;b", "- | -"),
        ("*.a.com", "", "a.com", "granted"),
        ("*.a.com", "", "y.x.a.com", "granted"),
        ("*.a.com", "", "xa.com", "- | --allow-net=xa.com"),
        (":80", "", "localhost", "granted"),
        ("1.1.1.1", "", "localhost", "- | --allow-net=localhost"),
        ("a.com", "a.com", "a.com", "--deny-net=a.com | -"),
        ("a.com", "a.com:443", "a.com", "granted"),
        ("a.com:443", "a.com:443", "a.com", "--deny-net=a.com:443 | -"),
        ("a.com:443 a.com:80", "a.com:443", "a.com", "granted"),
        ("*.com", "*.a.com", "x.a.com", "--deny-net=*.a.com | -"),
        ("*", "*.a.com", "x.a.com", "--deny-net=*.a.com | -"),
        ("*", "*.a.com", "b.com", "granted"),
    ] {
        assert_eq!(
            verdict(&rules(allow, deny, ""), name),
            expected,
            "allow {allow}, deny {deny}: {name}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn names_lead_where_they_may() {
    for (allow, deny, private, name, address, expected) in [
        ("a.com", "", "", "a.com", "1.1.1.1", "+"),
        ("a.com", "", "", "a.com", "2606:4700::1111", "+"),
        ("a.com", "", "", "a.com", "127.0.0.1", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "10.0.0.1", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "100.64.0.1", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "::ffff:1.1.1.1", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "64:ff9b::101:101", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "0.0.0.0", "--allow-private=a.com"),
        ("a.com", "", "", "a.com", "169.254.169.254", "--allow-net=169.254.169.254"),
        ("a.com", "", "", "a.com", "fe80::1", "--allow-net=[fe80::1]"),
        ("a.com", "", "", "a.com", "::ffff:169.254.169.254", "--allow-net=169.254.169.254"),
        ("a.com", "", "a.com", "a.com", "10.0.0.1", "+"),
        ("a.com", "", "*.com", "a.com", "10.0.0.1", "+"),
        ("a.com", "", "b.com", "a.com", "10.0.0.1", "--allow-private=a.com"),
        ("a.com", "", "a.com", "a.com", "169.254.169.254", "--allow-net=169.254.169.254"),
        ("a.com", "", "a.com", "a.com", "64:ff9b::a9fe:a9fe", "--allow-net=[64:ff9b::a9fe:a9fe]"),
        ("a.com 10.0.0.0/8:5432", "", "", "a.com", "10.0.0.1", "+"),
        ("a.com 169.254.169.254:80", "", "", "a.com", "169.254.169.254", "+"),
        ("a.com :80", "", "", "a.com", "127.0.0.1", "+"),
        ("localhost", "", "", "localhost", "127.0.0.1", "+"),
        ("db", "", "", "db", "10.0.0.1", "+"),
        ("db", "", "", "db", "169.254.169.254", "--allow-net=169.254.169.254"),
        ("db.internal", "", "", "db.internal", "10.0.0.1", "+"),
        ("db.home.arpa", "", "", "db.home.arpa", "10.0.0.1", "+"),
        ("db.notlocal", "", "", "db.notlocal", "10.0.0.1", "--allow-private=db.notlocal"),
        ("a.com", "1.1.1.1", "", "a.com", "1.1.1.1", "-"),
        ("a.com", "1.1.1.1:80", "", "a.com", "1.1.1.1", "+"),
        ("a.com 10.0.0.1", "10.0.0.0/8", "a.com", "a.com", "10.0.0.1", "-"),
        ("*", "10.0.0.0/8", "", "a.com", "::ffff:10.0.0.1", "-"),
        ("*", "10.0.0.0/8", "", "a.com", "192.168.0.1", "+"),
    ] {
        let rules = rules(allow, deny, private);
        let said = match rules.admits(name, address.parse().unwrap()) {
            Ok(()) => "+".to_owned(),
            Err(denial) => denial.allow_with.unwrap_or_else(|| "-".to_owned()),
        };
        assert_eq!(said, expected, "{allow} {deny} {private}: {name} {address}");
    }
}

#[test]
fn the_hosts_file_may_name_private_addresses() {
    let rules = rules("a.com", "10.0.0.9", "b.com");
    let admits = |name, address: &str| {
        rules
            .admits_from_hosts(name, address.parse().unwrap())
            .is_ok()
    };
    assert!(admits("a.com", "10.0.0.1"));
    assert!(!admits("a.com", "10.0.0.9"));
    assert!(!admits("a.com", "169.254.169.254"));
    assert!(!admits("a.com", "0.0.0.0"));
    assert!(admits("b.com", "0.0.0.0"));
}

#[test]
fn a_name_and_its_searched_form_are_one() {
    let rules = rules("db x.corp.example", "", "").with_search(search("corp.example"));
    let granted = |name| rules.name(name) == NameVerdict::Granted;
    assert!(granted("db"));
    assert!(granted("db.corp.example"));
    assert!(granted("x"));
    assert!(!granted("y"));
    assert!(!granted("y.corp.example"));
    assert!(!granted("db.other.example"));
    assert!(!granted("a.db.corp.example"));
    let pins = "db=10.0.0.1 db.corp.example=10.0.0.1";
    assert_eq!(
        decide(&rules, pins, "10.0.0.1:443"),
        "ServerName db,db.corp.example --allow-net=db"
    );
    let admits = |name| rules.admits(name, "10.0.0.1".parse().unwrap()).is_ok();
    assert!(admits("db.corp.example"));
    assert!(!admits("x.corp.example"));
    let denied = self::rules("*", "db", "").with_search(search("corp.example"));
    assert!(denied.name("db.corp.example") != NameVerdict::Granted);
    assert!(denied.name("db.corp") == NameVerdict::Granted);
}

#[test]
fn literal_names_are_listed() {
    let rules = rules("b.com a.com:1 *.c.com 1.1.1.1 :80", "d.com", "");
    let names: Vec<&str> = rules.literal_names().collect();
    assert_eq!(names, ["a.com", "b.com", "d.com", "localhost"]);
    assert!(rules.mentions("x.c.com"));
    assert!(rules.mentions("d.com"));
    assert!(!rules.mentions("x.d.com"));
}

#[test]
fn a_second_stale_is_a_denial() {
    let rules = rules("a.com", "", "");
    let asked = Asked {
        operation: Operation::Connect,
        address: "1.1.1.1".parse().unwrap(),
        port: 22,
    };
    let denial = rules.expired(&asked, vec!["a.com".to_owned()]);
    assert_eq!(denial.reason, "its name no longer leads there");
    assert_eq!(
        denial.nearest,
        Some(Origin::flag("--allow-net", Some("a.com")))
    );
    assert_eq!(denial.allow_with.as_deref(), Some("--allow-net=1.1.1.1:22"));
}

#[test]
fn ten_thousand_rules_are_as_one() {
    let allow: Vec<NetRule> = (0..10_000)
        .map(|number| {
            let text = match number % 4 {
                0 => format!("n{number}.example"),
                1 => format!("*.n{number}.example:443"),
                2 => format!("10.{}.{}.0/24", number / 250 % 250, number % 250),
                _ => format!("11.{}.{}.1:80", number / 250 % 250, number % 250),
            };
            rule("--allow-net", &text, Verify::ByPort)
        })
        .collect();
    let rules = Rules::new(&NetRules {
        allow,
        ..NetRules::default()
    });
    assert_eq!(rules.name("n400.example"), NameVerdict::Granted);
    assert_eq!(rules.name("x.n401.example"), NameVerdict::Granted);
    assert!(rules.name("x.n400.example") != NameVerdict::Granted);
    assert_eq!(
        decide(&rules, "", "10.0.2.7:9"),
        "direct --allow-net=10.0.2.0/24"
    );
}

fn peers() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("a.com"),
        Just("x.a.com"),
        Just("*.a.com"),
        Just("*.com"),
        Just("localhost"),
        Just("127.0.0.1"),
        Just("0.0.0.0"),
        Just("10.0.0.1"),
        Just("10.0.0.0/8"),
        Just("10.0.0.0/31"),
        Just("[::1]"),
        Just("[2001:db8::]/32"),
        Just("[::ffff:10.0.0.0]/104"),
        Just("0.0.0.0/0"),
    ];
    (host, prop_oneof![Just(""), Just(":80"), Just(":0")])
        .prop_map(|(host, port)| format!("{host}{port}"))
        .boxed()
        .prop_union(prop_oneof![Just(":80".to_owned()), Just("unix:/a".to_owned())].boxed())
}

proptest! {
    /// The tables find what the policy's own meaning of a pattern covers.
    #[test]
    fn tables_cover_what_the_policy_covers(
        allow in proptest::collection::vec(peers(), 0..6),
        asked in prop_oneof![
            Just("a.com"), Just("x.a.com"), Just("xa.com"), Just("localhost"), Just("b.com"),
            Just("127.0.0.1"), Just("0.0.0.0"), Just("10.0.0.1"), Just("10.0.0.2"), Just("[::1]"),
            Just("[2001:db8::1]"), Just("[2001:db9::1]"),
        ],
        port in prop_oneof![Just(80_u16), Just(0), Just(443)],
    ) {
        let listed = list("--allow-net", &allow.join(" "));
        let rules = Rules::new(&NetRules { allow: listed.clone(), ..NetRules::default() });
        let asked = NetDescriptor { port: Some(port), ..parse_net(asked).unwrap() };
        let covered = listed.iter().any(|rule| {
            net_covers(&NetDescriptor { host: rule.host.clone(), port: rule.port }, &asked)
        });
        match &asked.host {
            Host::Name(name) => prop_assert_eq!(rules.grants_name(name, port).is_some(), covered),
            Host::Address(address) => {
                // A listener: connecting has more forms of one address.
                let call = Asked { operation: Operation::Listen, address: *address, port };
                let decision = rules.decide(&call, &NameBook::new(), Instant::now());
                let direct = matches!(decision, Decision::Direct { .. });
                prop_assert_eq!(direct, covered);
            }
            _ => {}
        }
    }

    /// What is not denied at all was covered by some grant, and a denial of an address is final.
    #[test]
    fn denials_win(
        allow in proptest::collection::vec(peers(), 0..5),
        deny in proptest::collection::vec(peers(), 0..5),
        address in prop_oneof![
            Just("127.0.0.1"), Just("0.0.0.0"), Just("10.0.0.1"), Just("::1"), Just("::ffff:10.0.0.1"),
            Just("64:ff9b::a00:1"),
        ],
        all in any::<bool>(),
    ) {
        let denied = list("--deny-net", &deny.join(" "));
        let rules = Rules::new(&NetRules {
            all: all.then(|| Origin::flag("--allow-net", None)),
            allow: list("--allow-net", &allow.join(" ")),
            deny: denied.clone(),
            private: Vec::new(),
        });
        let now = Instant::now();
        let address: IpAddr = address.parse().unwrap();
        let call = Asked { operation: Operation::Connect, address, port: 80 };
        let decision = rules.decide(&call, &book("a.com=10.0.0.1 localhost=127.0.0.1", now), now);
        let asked = NetDescriptor { host: Host::Address(address.to_canonical()), port: Some(80) };
        let is_denied = denied.iter().any(|rule| {
            net_covers(&NetDescriptor { host: rule.host.clone(), port: rule.port }, &asked)
        });
        if is_denied {
            prop_assert!(matches!(decision, Decision::Denied(_)));
        }
        if !all && allow.is_empty() {
            prop_assert!(matches!(decision, Decision::Denied(_)));
        }
    }
}
