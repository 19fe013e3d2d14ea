// SPDX-License-Identifier: MIT
//! Addresses for names that only an upstream proxy can look up: each granted name gets one of
//! `198.18.0.0/15`, so that a connection to it says which name is meant.
//!
//! Invariant: an address stands for one name, for the whole run; no name gets one that no rule
//! grants as it is written.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::dns::message::Kind;
use super::dns::upstream::{Found, Lookups, Upstream};
use super::names::{NameBook, normal};
use super::rules::{NameVerdict, Rules, is_plain};

/// Most names that get an address. A wildcard rule lets the target make up names without end;
/// nothing is ever taken back, so further ones fail.
pub const NAMES: usize = 16_384;

/// Seconds an answer may be kept by the target; the filter has the same limit.
const KEPT: u32 = 300;

/// `198.18.0.0/15` (RFC 2544): benchmarking, so no network that a program means.
const FIRST: u32 = 0xc612_0000;
const COUNT: u32 = 1 << 17;

/// Whether an address is of the range that names get theirs from.
pub fn is_synthetic(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => (FIRST..FIRST + COUNT).contains(&u32::from(address)),
        IpAddr::V6(_) => false,
    }
}

/// Which name has which address.
#[derive(Debug)]
pub struct Synthetic {
    rules: Rc<Rules>,
    book: Rc<RefCell<NameBook>>,
    given: RefCell<Given>,
}

#[derive(Debug, Default)]
struct Given {
    addresses: HashMap<Rc<str>, Ipv4Addr>,
    names: HashMap<Ipv4Addr, Rc<str>>,
    /// How many of the range were looked at.
    used: u32,
}

impl Synthetic {
    /// Gives addresses to the names that `rules` grant, and writes them into `book`.
    pub fn new(rules: Rc<Rules>, book: Rc<RefCell<NameBook>>) -> Self {
        Self {
            rules,
            book,
            given: RefCell::default(),
        }
    }

    /// The name that was given `address`.
    pub fn name_of(&self, address: IpAddr) -> Option<Rc<str>> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.given.borrow().names.get(&address).cloned(),
            IpAddr::V6(_) => None,
        }
    }

    /// The address of a name, from now on.
    fn give(&self, name: &str) -> Option<Ipv4Addr> {
        let mut given = self.given.borrow_mut();
        if let Some(address) = given.addresses.get(name) {
            return Some(*address);
        }
        if given.addresses.len() >= NAMES {
            return None;
        }
        let mut book = self.book.borrow_mut();
        loop {
            given.used += 1;
            // The first and the last one look like a network and a broadcast address.
            if given.used >= COUNT - 1 {
                return None;
            }
            let address = Ipv4Addr::from(FIRST + given.used);
            // The hosts file may have it under a name of its own.
            if book
                .names_of(address.into(), std::time::Instant::now())
                .next()
                .is_some()
            {
                continue;
            }
            let name: Rc<str> = name.into();
            book.pin_for_ever(&name, &[address.into()]);
            given.addresses.insert(Rc::clone(&name), address);
            given.names.insert(address, name);
            return Some(address);
        }
    }

    fn find(&self, name: &str, kind: Kind) -> Found {
        let name = normal(name);
        // What the search list made of a granted name may not exist; the proxy completes names by
        // its own list.
        let granted =
            self.rules.grants_itself(&name) && self.rules.name(&name) == NameVerdict::Granted;
        if !granted || !is_plain(&name) {
            return Found::NoName;
        }
        if kind == Kind::V6 {
            return Found::Empty;
        }
        match self.give(&name) {
            Some(address) => Found::Addresses(vec![address.into()], KEPT, Vec::new()),
            None => Found::Failure,
        }
    }
}

impl Upstream for Rc<Synthetic> {
    fn look_up<'u>(&'u self, name: &'u str, kind: Kind) -> Lookups<'u> {
        Box::pin(std::future::ready(self.find(name, kind)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::egress::rules::{Asked, Check, Decision, Operation, Search};
    use crate::plan::{NetRule, NetRules, Verify};
    use crate::policy::Origin;
    use crate::policy::grammar::parse_net;

    fn rule(text: &str) -> NetRule {
        let descriptor = parse_net(text).unwrap();
        NetRule {
            host: descriptor.host,
            port: descriptor.port,
            verify: Verify::ByPort,
            origin: Origin::flag("--allow-net", Some(text)),
        }
    }

    fn world(allow: &[&str], deny: &[&str]) -> (Rc<Rules>, Rc<RefCell<NameBook>>, Synthetic) {
        let rules = NetRules {
            allow: allow.iter().map(|text| rule(text)).collect(),
            deny: deny.iter().map(|text| rule(text)).collect(),
            ..NetRules::default()
        };
        let search = Search {
            domains: vec!["a.corp".to_owned(), "b.corp".to_owned()],
            dots: 1,
        };
        let rules = Rules::new(&rules).with_search(search).with_synthetic();
        let (rules, book) = (Rc::new(rules), Rc::default());
        let synthetic = Synthetic::new(Rc::clone(&rules), Rc::clone(&book));
        (rules, book, synthetic)
    }

    fn one(found: &Found) -> IpAddr {
        match found {
            Found::Addresses(addresses, _, _) if addresses.len() == 1 => addresses[0],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_has_one_address_and_an_address_one_name() {
        let (_, _, synthetic) = world(&["*.x.example", "y.example:22"], &[]);
        let first = one(&synthetic.find("a.x.example", Kind::V4));
        let second = one(&synthetic.find("y.example", Kind::V4));
        assert_eq!(first.to_string(), "198.18.0.1");
        assert_eq!(second.to_string(), "198.18.0.2");
        assert_eq!(one(&synthetic.find("A.X.example.", Kind::V4)), first);
        assert_eq!(synthetic.name_of(first).as_deref(), Some("a.x.example"));
        assert_eq!(
            synthetic
                .name_of("::ffff:198.18.0.2".parse().unwrap())
                .as_deref(),
            Some("y.example")
        );
        assert_eq!(synthetic.name_of("198.18.0.3".parse().unwrap()), None);
        assert_eq!(synthetic.find("a.x.example", Kind::V6), Found::Empty);
        for other in [
            "z.example",
            "x.y.example",
            "a b.x.example",
            "a\r\n.x.example",
        ] {
            for kind in [Kind::V4, Kind::V6] {
                assert_eq!(synthetic.find(other, kind), Found::NoName, "{other:?}");
            }
        }
    }

    #[test]
    fn short_names_are_the_proxys_to_complete() {
        let (rules, _, synthetic) = world(&["db", "cache.b.corp"], &[]);
        assert_eq!(rules.name("db.a.corp"), NameVerdict::Granted);
        assert_eq!(synthetic.find("db.a.corp", Kind::V4), Found::NoName);
        one(&synthetic.find("db", Kind::V4));
        assert_eq!(synthetic.find("cache", Kind::V4), Found::NoName);
        one(&synthetic.find("cache.b.corp", Kind::V4));
    }

    #[test]
    fn names_of_the_hosts_file_keep_their_addresses() {
        let (_, book, synthetic) = world(&["a.example"], &[]);
        let taken = "198.18.0.1".parse().unwrap();
        book.borrow_mut().pin_for_ever("own", &[taken]);
        let address = one(&synthetic.find("a.example", Kind::V4));
        assert_eq!(address.to_string(), "198.18.0.2");
        assert_eq!(synthetic.name_of(taken), None);
    }

    #[test]
    fn made_up_names_end() {
        let (_, _, synthetic) = world(&["*.x.example"], &[]);
        for number in 0..NAMES {
            one(&synthetic.find(&format!("n{number}.x.example"), Kind::V4));
        }
        assert_eq!(synthetic.find("more.x.example", Kind::V4), Found::Failure);
        let old = one(&synthetic.find("n7.x.example", Kind::V4));
        assert_eq!(synthetic.name_of(old).as_deref(), Some("n7.x.example"));
        assert!(is_synthetic(old));
    }

    #[test]
    fn the_range_is_what_the_registry_says() {
        for (text, expected) in [
            ("198.17.255.255", false),
            ("198.18.0.0", true),
            ("198.19.255.255", true),
            ("::ffff:198.18.0.1", true),
            ("198.20.0.0", false),
            ("::198.18.0.1", false),
        ] {
            assert_eq!(is_synthetic(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn names_decide_and_address_rules_do_not() {
        let (rules, book, synthetic) = world(
            &[
                "a.example:443",
                "b.example:22",
                "198.18.0.0/15",
                "198.18.0.2:80",
            ],
            &["c.example"],
        );
        let first = one(&synthetic.find("a.example", Kind::V4));
        let second = one(&synthetic.find("b.example", Kind::V4));
        assert_eq!(rules.admits("a.example", first), Ok(()));
        let later = Instant::now() + Duration::from_secs(86_400);
        let decide = |address, port| {
            let asked = Asked {
                operation: Operation::Connect,
                address,
                port,
            };
            rules.decide(&asked, &book.borrow(), later)
        };
        assert!(matches!(
            decide(first, 443),
            Decision::Verified { check: Check::ServerName, ref names, .. } if names == &["a.example"]
        ));
        assert!(matches!(decide(second, 22), Decision::Direct { .. }));
        let nobody = "198.18.77.7".parse().unwrap();
        for (address, port) in [(first, 22), (second, 443), (second, 80), (nobody, 443)] {
            assert!(
                matches!(decide(address, port), Decision::Denied(_)),
                "{address} {port}"
            );
        }
        // Without a proxy the range is an ordinary private one.
        let plain = NetRules {
            allow: vec![rule("a.example"), rule("198.18.0.2:80")],
            ..NetRules::default()
        };
        let plain = Rules::new(&plain);
        assert!(plain.admits("a.example", first).is_err());
        let asked = Asked {
            operation: Operation::Connect,
            address: second,
            port: 80,
        };
        let decision = plain.decide(&asked, &NameBook::new(), later);
        assert!(matches!(decision, Decision::Direct { .. }));
    }

    #[test]
    fn denials_win_over_addresses_of_names() {
        let (rules, _, synthetic) = world(&["a.example"], &["198.18.0.0/15"]);
        let address = one(&synthetic.find("a.example", Kind::V4));
        assert!(rules.admits("a.example", address).is_err());
        let (_, _, synthetic) = world(&["*.x.example"], &["b.x.example"]);
        assert_eq!(synthetic.find("b.x.example", Kind::V4), Found::NoName);
    }
}
