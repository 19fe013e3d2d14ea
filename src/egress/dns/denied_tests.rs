// SPDX-License-Identifier: MIT
//! Where denied names lead, by lookups of their own and by the aliases of other answers.

use std::net::IpAddr;

use hickory_proto::rr::RecordType;

use super::super::filter::tests::{Setting, run};
use super::*;
use crate::egress::rules::{Asked, Decision, Operation};

fn connect(address: &str, port: u16) -> Asked {
    Asked {
        operation: Operation::Connect,
        address: address.parse().unwrap(),
        port,
    }
}

/// `direct`, `checked`, or why it is denied.
fn decided(bench: &super::super::filter::tests::Bench, address: &str, port: u16) -> String {
    let asked = connect(address, port);
    match bench
        .rules
        .decide(&asked, &bench.book.borrow(), Instant::now())
    {
        Decision::Direct { .. } => "direct".to_owned(),
        Decision::Verified { names, .. } => format!("checked {}", names.join(",")),
        Decision::Stale { .. } => "stale".to_owned(),
        Decision::Denied(denial) => denial.reason,
    }
}

const LEADS: &str = "`evil.example` leads there, which a rule denies";

#[test]
fn addresses_of_denied_names_are_denied_when_they_are_known() {
    run(async {
        let bench = Setting {
            all: true,
            deny: "evil.example port.example:25 localhost",
            answers: "evil.example=1.1.1.1,2606:4700::1 port.example=1.1.1.2",
            delay: Some(Duration::from_millis(5)),
            ..Setting::default()
        }
        .bench();
        let filter = &bench.filter;
        assert!(filter.is_denied_unknown());
        assert_eq!(bench.asked(), [""; 0]);
        assert_eq!(decided(&bench, "1.1.1.1", 443), "direct");
        filter.begin_denied();
        filter.begin_denied();
        filter.denied_known().await;
        filter.begin_denied();
        assert!(!filter.is_denied_unknown());
        assert_eq!(
            bench.asked(),
            [
                "V4 evil.example",
                "V6 evil.example",
                "V4 port.example",
                "V6 port.example"
            ]
        );
        for address in ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700::1"] {
            assert_eq!(decided(&bench, address, 443), LEADS, "{address}");
        }
        assert_eq!(decided(&bench, "1.1.1.3", 443), "direct");
        assert_eq!(decided(&bench, "1.1.1.2", 443), "direct");
        assert_eq!(
            decided(&bench, "1.1.1.2", 25),
            "`port.example` leads there, which a rule denies"
        );
    });
}

#[test]
fn a_front_that_a_denied_name_shares_is_open_where_names_are_checked() {
    run(async {
        let bench = Setting {
            allow: "*.a.example",
            deny: "evil.a.example",
            answers: "evil.a.example=1.1.1.1 good.a.example=1.1.1.1",
            ..Setting::default()
        }
        .bench();
        bench.filter.denied_known().await;
        assert_eq!(
            bench.ask("good.a.example", RecordType::A).await,
            "ok 1.1.1.1"
        );
        assert_eq!(decided(&bench, "1.1.1.1", 443), "checked good.a.example");
        assert_eq!(
            decided(&bench, "1.1.1.1", 5432),
            "`evil.a.example` leads there, which a rule denies"
        );
        assert_eq!(bench.ask("evil.a.example", RecordType::A).await, "none");
    });
}

#[test]
fn denied_aliases_refuse_the_answer() {
    run(async {
        let answers = "a.example=>x.evil.example,1.1.1.1 b.example=>c.example,1.1.1.2 \
                       c.example=>p.port.example,1.1.1.3";
        let bench = Setting {
            all: true,
            deny: "*.evil.example *.port.example:25",
            answers,
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("a.example", RecordType::A).await, "none");
        assert_eq!(
            bench.denials(),
            ["a.example: it is an alias of `x.evil.example`, which a rule denies | -"]
        );
        assert_eq!(bench.names("1.1.1.1"), [""; 0]);
        assert_eq!(
            decided(&bench, "1.1.1.1", 22),
            "`x.evil.example` leads there, which a rule denies"
        );
        assert_eq!(bench.ask("b.example", RecordType::A).await, "ok 1.1.1.2");
        assert_eq!(bench.ask("c.example", RecordType::A).await, "ok 1.1.1.3");
        assert_eq!(decided(&bench, "1.1.1.3", 22), "direct");
        assert_eq!(
            decided(&bench, "1.1.1.3", 25),
            "`p.port.example` leads there, which a rule denies"
        );
    });
}

#[test]
fn name_servers_that_block_names_do_not_deny_this_machine() {
    run(async {
        let bench = Setting {
            all: true,
            deny: "ads.example local.test",
            answers: "ads.example=127.0.0.1,0.0.0.0,::1,10.0.0.1 local.test=127.0.0.2",
            ..Setting::default()
        }
        .bench();
        bench.filter.denied_known().await;
        for address in ["127.0.0.1", "0.0.0.0", "::1"] {
            assert_eq!(decided(&bench, address, 80), "direct", "{address}");
        }
        for address in ["127.0.0.2", "10.0.0.1"] {
            assert_ne!(decided(&bench, address, 80), "direct", "{address}");
        }
    });
}

#[test]
fn nobody_waits_long_for_name_servers_that_are_silent() {
    run(async {
        let bench = Setting {
            all: true,
            deny: "evil.example",
            answers: "evil.example=1.1.1.1",
            delay: Some(Duration::from_secs(100)),
            ..Setting::default()
        }
        .bench();
        // Longer than that the test itself would take.
        bench.filter.denied_known().await;
        assert!(!bench.filter.is_denied_unknown());
        assert_eq!(decided(&bench, "1.1.1.1", 443), "direct");
    });
}

#[test]
fn names_of_the_hosts_file_and_behind_a_proxy_are_not_looked_up() {
    run(async {
        let bench = Setting {
            all: true,
            deny: "evil.example",
            hosts: "1.1.1.1 evil.example",
            answers: "evil.example=1.1.1.2",
            ..Setting::default()
        }
        .bench();
        bench.filter.denied_known().await;
        assert_eq!(bench.asked(), [""; 0]);
        assert_eq!(decided(&bench, "1.1.1.1", 443), "a rule denies it");
        let rules = Rules::clone(&bench.rules).with_synthetic();
        assert!(Denied::new(&rules).names.is_empty());
        let address: IpAddr = "1.1.1.2".parse().unwrap();
        assert!(rules.denial_holds("evil.example", address));
    });
}
