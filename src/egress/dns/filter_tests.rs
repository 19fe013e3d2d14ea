// SPDX-License-Identifier: MIT
//! Granted names are looked up once and pinned, any other one is answered without a packet.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::task::{LocalSet, spawn_local};

use super::super::message::full_name;
use super::super::upstream::Lookups;
use super::*;
use crate::egress::rules::{Asked, Decision, Operation, Search};
use crate::plan::{NetRule, NetRules, Verify};
use crate::policy::grammar::parse_net;
use crate::policy::{NetDescriptor, Origin};

#[path = "filter_lookup_tests.rs"]
mod lookups;

#[derive(Default)]
pub(in crate::egress::dns) struct Events(Vec<Event>);

impl Sink for Events {
    fn denied(&mut self, event: Event) {
        self.0.push(event);
    }
}

/// Answers from a table after a delay, and writes down what it was asked.
#[derive(Clone, Default)]
pub(in crate::egress::dns) struct Fake {
    answers: Rc<RefCell<HashMap<Key, Found>>>,
    delay: Option<Duration>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Fake {
    fn set(&self, name: &str, kind: Kind, found: Found) {
        self.answers
            .borrow_mut()
            .insert((name.to_owned(), kind), found);
    }
}

impl Upstream for Fake {
    fn look_up<'u>(&'u self, name: &'u str, kind: Kind) -> Lookups<'u> {
        Box::pin(async move {
            self.asked.borrow_mut().push(format!("{kind:?} {name}"));
            if let Some(delay) = self.delay {
                tokio::time::sleep(delay).await;
            }
            let answers = self.answers.borrow();
            let found = answers.get(&(name.to_owned(), kind)).cloned();
            found.unwrap_or(Found::NoName)
        })
    }
}

fn list(flag: &str, texts: &str) -> Vec<NetRule> {
    let rule = |text: &str| {
        let NetDescriptor { host, port } = parse_net(text).unwrap();
        NetRule {
            host,
            port,
            verify: Verify::ByPort,
            origin: Origin::flag(flag, Some(text)),
        }
    };
    texts.split_whitespace().map(rule).collect()
}

pub(in crate::egress::dns) struct Bench {
    pub(in crate::egress::dns) filter: Rc<Filter>,
    pub(in crate::egress::dns) book: Rc<RefCell<NameBook>>,
    pub(in crate::egress::dns) rules: Rc<Rules>,
    fake: Fake,
    events: Rc<RefCell<Events>>,
}

/// `answers`: `name=address,address`, by way of an alias `name=>alias,address`, or `name=failure`,
/// `name=empty`.
pub(in crate::egress::dns) struct Setting<'s> {
    pub(in crate::egress::dns) allow: &'s str,
    pub(in crate::egress::dns) deny: &'s str,
    pub(in crate::egress::dns) all: bool,
    pub(in crate::egress::dns) search: &'s [&'s str],
    pub(in crate::egress::dns) hosts: &'s str,
    pub(in crate::egress::dns) answers: &'s str,
    pub(in crate::egress::dns) delay: Option<Duration>,
    pub(in crate::egress::dns) limits: Limits,
    pub(in crate::egress::dns) ipv6: bool,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            allow: "",
            deny: "",
            all: false,
            search: &[],
            hosts: "",
            answers: "",
            delay: None,
            limits: Limits::default(),
            ipv6: true,
        }
    }
}

impl Setting<'_> {
    pub(in crate::egress::dns) fn bench(&self) -> Bench {
        let rules = Rules::new(&NetRules {
            all: self.all.then(|| Origin::flag("--allow-net", None)),
            allow: list("--allow-net", self.allow),
            deny: list("--deny-net", self.deny),
            private: Vec::new(),
        })
        .with_search(Search {
            domains: self
                .search
                .iter()
                .map(|&domain| domain.to_owned())
                .collect(),
            dots: 1,
        });
        let fake = Fake {
            delay: self.delay,
            ..Fake::default()
        };
        for answer in self.answers.split_whitespace() {
            let (name, addresses) = answer.split_once('=').unwrap();
            for kind in [Kind::V4, Kind::V6] {
                let of_kind: Vec<IpAddr> = addresses
                    .split(',')
                    .filter_map(|address| address.parse().ok())
                    .filter(|address| kind.fits(*address))
                    .collect();
                let aliases: Vec<String> = addresses
                    .split(',')
                    .filter_map(|part| part.strip_prefix('>'))
                    .map(str::to_owned)
                    .collect();
                let found = match addresses {
                    "failure" => Found::Failure,
                    _ if of_kind.is_empty() => Found::Empty,
                    _ => Found::Addresses(of_kind, 3600, aliases.clone()),
                };
                fake.set(name, kind, found);
            }
        }
        let rules = Rc::new(rules);
        let book = Rc::new(RefCell::new(NameBook::new()));
        let events = Rc::new(RefCell::new(Events::default()));
        let sink: Rc<RefCell<dyn Sink>> = events.clone();
        let filter = Filter::new(
            Rc::clone(&rules),
            Rc::clone(&book),
            Hosts::parse(self.hosts.as_bytes()),
            Box::new(fake.clone()),
            sink,
        )
        .with_limits(self.limits)
        .with_ipv6(self.ipv6);
        Bench {
            filter: Rc::new(filter),
            book,
            rules,
            fake,
            events,
        }
    }
}

pub(in crate::egress::dns) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, future)
}

pub(in crate::egress::dns) fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    let name = full_name(name).unwrap();
    message.add_query(Query::query(name, kind));
    message.to_vec().unwrap()
}

/// A filter with `a.example` at 1.1.1.1, for the tests of streams.
pub(in crate::egress::dns) fn simple(delay: Option<Duration>) -> Rc<Filter> {
    let setting = Setting {
        allow: "a.example",
        answers: "a.example=1.1.1.1",
        delay,
        ..Setting::default()
    };
    setting.bench().filter
}

/// The reply in a line: code, then what was answered.
pub(in crate::egress::dns) fn text(reply: &[u8]) -> String {
    let reply = Message::from_vec(reply).unwrap();
    let mut text = match reply.response_code {
        ResponseCode::NoError => "ok".to_owned(),
        ResponseCode::NXDomain => "none".to_owned(),
        ResponseCode::ServFail => "failure".to_owned(),
        code => format!("{code:?}"),
    };
    for answer in &reply.answers {
        text.push(' ');
        text.push_str(&match &answer.data {
            RData::A(address) => address.to_string(),
            RData::AAAA(address) => address.to_string(),
            RData::PTR(name) => name.to_string(),
            other => format!("{other:?}"),
        });
    }
    text
}

impl Bench {
    pub(in crate::egress::dns) async fn ask(&self, name: &str, kind: RecordType) -> String {
        let asker = Asker {
            pid: Some(7),
            program: Some("probe".to_owned()),
        };
        let query = query(name, kind);
        let reply = self.filter.answer(&query, &asker, Transport::Tcp).await;
        text(&reply.unwrap())
    }

    pub(in crate::egress::dns) fn asked(&self) -> Vec<String> {
        self.fake.asked.borrow().clone()
    }

    pub(in crate::egress::dns) fn names(&self, address: &str) -> Vec<String> {
        let book = self.book.borrow();
        book.names_of(address.parse().unwrap(), Instant::now())
            .map(|named| named.name.to_owned())
            .collect()
    }

    /// What was denied: name, reason, and the flag.
    pub(in crate::egress::dns) fn denials(&self) -> Vec<String> {
        let text = |event: &Event| {
            assert_eq!(event.action, Action::Resolve);
            assert_eq!(event.pid, Some(7));
            assert_eq!(event.program.as_deref(), Some("probe"));
            let flag = event.allow_with.as_deref().unwrap_or("-");
            format!("{}: {} | {flag}", event.names.join(","), event.reason)
        };
        self.events.borrow().0.iter().map(text).collect()
    }
}

#[test]
fn granted_names_are_answered_and_pinned() {
    run(async {
        let bench = Setting {
            allow: "a.example",
            answers: "a.example=1.1.1.1,1.1.1.2,2606:4700::1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(
            bench.ask("A.Example", RecordType::A).await,
            "ok 1.1.1.1 1.1.1.2"
        );
        assert_eq!(bench.names("1.1.1.2"), ["a.example"]);
        assert_eq!(bench.names("2606:4700::1"), [""; 0]);
        assert_eq!(
            bench.ask("a.example", RecordType::AAAA).await,
            "ok 2606:4700::1"
        );
        assert_eq!(bench.asked(), ["V4 a.example", "V6 a.example"]);
        assert_eq!(bench.denials(), [""; 0]);
        let asked = Asked {
            operation: Operation::Connect,
            address: "1.1.1.2".parse().unwrap(),
            port: 5432,
        };
        let decision = bench
            .rules
            .decide(&asked, &bench.book.borrow(), Instant::now());
        assert!(matches!(decision, Decision::Direct { .. }));
    });
}

#[test]
fn other_types_and_names_go_nowhere() {
    run(async {
        let bench = Setting {
            allow: "a.example",
            answers: "a.example=1.1.1.1 b.example=1.1.1.1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("a.example", RecordType::TXT).await, "ok");
        assert_eq!(bench.ask("a.example", RecordType::HTTPS).await, "ok");
        assert_eq!(bench.ask("b.example", RecordType::A).await, "none");
        assert_eq!(bench.ask("x.a.example", RecordType::TXT).await, "none");
        assert_eq!(bench.asked(), [""; 0]);
        assert_eq!(
            bench.denials(),
            [
                "b.example: no rule names it | --allow-net=b.example",
                "x.a.example: no rule names it | --allow-net=x.a.example"
            ]
        );
    });
}

#[test]
fn a_tunnel_stays_dry() {
    run(async {
        let bench = Setting {
            allow: "a.example *.b.example:443",
            ..Setting::default()
        }
        .bench();
        let kinds = [
            RecordType::A,
            RecordType::TXT,
            RecordType::NULL,
            RecordType::CNAME,
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..1000 {
            let mut label = String::new();
            for _ in 0..10 {
                // xorshift64
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                label.push_str(&format!("{:05x}", state & 0xf_ffff));
            }
            let parent = [
                "t.example",
                "a.example",
                "xb.example",
                "b.example.t.example",
            ][number % 4];
            let name = format!("{label}.{parent}");
            assert_eq!(bench.ask(&name, kinds[number % 3]).await, "none");
        }
        assert_eq!(bench.ask("x.b.example", RecordType::TXT).await, "ok");
        assert_eq!(bench.asked(), [""; 0]);
        assert_eq!(bench.denials().len(), 1000);
        // The twin: the seam does count.
        bench.ask("x.b.example", RecordType::A).await;
        assert_eq!(bench.asked(), ["V4 x.b.example"]);
    });
}

#[test]
fn lying_answers_are_left_out() {
    run(async {
        let bench = Setting {
            allow: "a.example db",
            deny: "1.1.1.9",
            answers: "a.example=10.0.0.1,1.1.1.1,169.254.169.254,1.1.1.9 db=10.0.0.1,127.0.0.1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("a.example", RecordType::A).await, "ok 1.1.1.1");
        assert_eq!(bench.names("10.0.0.1"), [""; 0]);
        assert_eq!(
            bench.denials(),
            [
                "a.example: it leads to `10.0.0.1`, a private address | --allow-private=a.example",
                "a.example: it leads to `169.254.169.254`, a cloud metadata address | --allow-net=169.254.169.254",
                "a.example: it leads to `1.1.1.9`, which a rule denies | -"
            ]
        );
        assert_eq!(
            bench.ask("db", RecordType::A).await,
            "ok 10.0.0.1 127.0.0.1"
        );
        assert_eq!(bench.names("10.0.0.1"), ["db"]);
    });
}

#[test]
fn the_hosts_file_answers_first() {
    run(async {
        let bench = Setting {
            allow: "a.example *.localhost localhost blocked.example",
            hosts: "10.0.0.1 a.example\n0.0.0.0 blocked.example",
            answers: "a.example=1.1.1.1,2606:4700::1 localhost=1.1.1.1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.names("10.0.0.1"), ["a.example"]);
        assert_eq!(bench.ask("a.example", RecordType::A).await, "ok 10.0.0.1");
        assert_eq!(bench.ask("a.example", RecordType::AAAA).await, "ok");
        assert_eq!(bench.ask("localhost", RecordType::A).await, "ok 127.0.0.1");
        assert_eq!(bench.ask("x.localhost", RecordType::AAAA).await, "ok ::1");
        assert_eq!(bench.ask("blocked.example", RecordType::A).await, "ok");
        assert_eq!(bench.names("127.0.0.1"), ["localhost"]);
        assert_eq!(bench.asked(), [""; 0]);
    });
}

#[test]
fn the_search_list_is_applied() {
    run(async {
        let bench = Setting {
            allow: "db x.corp.example",
            search: &["corp.example", "lan"],
            answers: "db.lan=10.0.0.1 db.corp.example=empty x.corp.example=1.1.1.1 x.lan=1.1.1.2",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("db", RecordType::A).await, "ok 10.0.0.1");
        assert_eq!(bench.asked(), ["V4 db.corp.example", "V4 db.lan"]);
        assert_eq!(bench.names("10.0.0.1"), ["db", "db.lan"]);
        assert_eq!(bench.ask("db.lan", RecordType::A).await, "ok 10.0.0.1");
        // Only the rule's own domain is looked in.
        bench.fake.asked.borrow_mut().clear();
        assert_eq!(bench.ask("x", RecordType::A).await, "ok 1.1.1.1");
        assert_eq!(bench.asked(), ["V4 x.corp.example"]);
        assert_eq!(bench.names("1.1.1.1"), ["x", "x.corp.example"]);
        assert_eq!(bench.ask("x.lan", RecordType::A).await, "none");
        // libc's own tries of a granted name are not reported, others are.
        assert_eq!(bench.ask("x.corp.example.lan", RecordType::A).await, "none");
        assert_eq!(bench.ask("y.lan", RecordType::A).await, "none");
        assert_eq!(bench.denials().len(), 1, "{:?}", bench.denials());
    });
}

#[test]
fn a_searched_public_rule_is_not_local() {
    run(async {
        let bench = Setting {
            allow: "x.corp.example",
            search: &["corp.example"],
            answers: "x.corp.example=10.0.0.1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("x", RecordType::A).await, "ok");
        assert_eq!(bench.ask("x.corp.example", RecordType::A).await, "ok");
        assert_eq!(bench.names("10.0.0.1"), [""; 0]);
        assert_eq!(bench.denials().len(), 2);
    });
}

#[test]
fn a_bare_grant_looks_up_what_is_not_denied() {
    run(async {
        let bench = Setting {
            all: true,
            deny: "*.evil 169.254.0.0/16",
            answers: "b.example=10.0.0.1,169.254.169.254 x.evil=1.1.1.1",
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("b.example", RecordType::A).await, "ok 10.0.0.1");
        assert_eq!(bench.ask("b.example", RecordType::TXT).await, "ok");
        assert_eq!(bench.ask("x.evil", RecordType::A).await, "none");
        assert_eq!(bench.asked(), ["V4 b.example"]);
    });
}

#[test]
fn reverse_lookups_are_answered_from_the_book() {
    run(async {
        let bench = Setting {
            allow: "a.example",
            answers: "a.example=1.1.1.1",
            ..Setting::default()
        }
        .bench();
        let reverse = "1.1.1.1.in-addr.arpa";
        assert_eq!(bench.ask(reverse, RecordType::PTR).await, "none");
        bench.ask("a.example", RecordType::A).await;
        assert_eq!(bench.ask(reverse, RecordType::PTR).await, "ok a.example.");
        let loopback = "1.0.0.127.in-addr.arpa";
        assert_eq!(bench.ask(loopback, RecordType::PTR).await, "ok localhost.");
        assert_eq!(bench.asked(), ["V4 a.example"]);
        assert_eq!(bench.denials().len(), 1);
    });
}

#[test]
fn hosts_without_ipv6_get_none() {
    run(async {
        let bench = Setting {
            allow: "a.example localhost",
            answers: "a.example=1.1.1.1,2606:4700::1",
            ipv6: false,
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("a.example", RecordType::AAAA).await, "ok");
        assert_eq!(bench.ask("localhost", RecordType::AAAA).await, "ok ::1");
        assert_eq!(bench.asked(), [""; 0]);
        assert_eq!(bench.ask("a.example", RecordType::A).await, "ok 1.1.1.1");
    });
}
