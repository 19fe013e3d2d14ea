// SPDX-License-Identifier: MIT
//! Lookups upstream: how long, how many, and for how long their answers hold.

use super::*;

#[test]
fn a_slow_upstream_is_a_failure() {
    run(async {
        let bench = Setting {
            allow: "a.example b.example",
            answers: "a.example=1.1.1.1 b.example=failure",
            delay: Some(Duration::from_secs(60)),
            limits: Limits {
                time: Duration::from_millis(20),
                ..Limits::default()
            },
            ..Setting::default()
        }
        .bench();
        assert_eq!(bench.ask("a.example", RecordType::A).await, "failure");
        assert!(bench.filter.flights.borrow().is_empty());
        assert_eq!(bench.filter.waiting.get(), 0);
        assert_eq!(bench.denials(), [""; 0]);
        let down = Setting {
            allow: "b.example",
            answers: "b.example=failure",
            ..Setting::default()
        }
        .bench();
        assert_eq!(down.ask("b.example", RecordType::A).await, "failure");
    });
}

#[test]
fn equal_lookups_are_one_and_all_are_bounded() {
    run(async {
        let setting = Setting {
            allow: "*.a.example",
            answers: "x.a.example=1.1.1.1",
            delay: Some(Duration::from_millis(50)),
            limits: Limits {
                lookups: 3,
                waiting: 8,
                ..Limits::default()
            },
            ..Setting::default()
        };
        let bench = Rc::new(setting.bench());
        let ask = |name: &str| {
            let (bench, name) = (Rc::clone(&bench), name.to_owned());
            spawn_local(async move { bench.ask(&name, RecordType::A).await })
        };
        let equal: Vec<_> = (0..6).map(|_| ask("x.a.example")).collect();
        let others: Vec<_> = (0..3)
            .map(|number| ask(&format!("y{number}.a.example")))
            .collect();
        for one in equal {
            assert_eq!(one.await.unwrap(), "ok 1.1.1.1");
        }
        let mut texts = Vec::new();
        for one in others {
            texts.push(one.await.unwrap());
        }
        assert_eq!(texts, ["none", "none", "failure"]);
        assert_eq!(bench.asked().len(), 3);
        assert!(bench.filter.flights.borrow().is_empty());
        // Nobody remembers here: the next one is a lookup of its own.
        assert_eq!(bench.ask("x.a.example", RecordType::A).await, "ok 1.1.1.1");
        assert_eq!(bench.asked().len(), 4);
        let many: Vec<_> = (0..9).map(|_| ask("x.a.example")).collect();
        let mut failed = 0;
        for one in many {
            failed += usize::from(one.await.unwrap() == "failure");
        }
        assert_eq!(failed, 1);
    });
}

#[test]
fn a_dropped_caller_leaves_the_lookup_to_the_others() {
    run(async {
        let setting = Setting {
            allow: "a.example",
            answers: "a.example=1.1.1.1",
            delay: Some(Duration::from_millis(30)),
            ..Setting::default()
        };
        let bench = Rc::new(setting.bench());
        let ask = || {
            let bench = Rc::clone(&bench);
            spawn_local(async move { bench.ask("a.example", RecordType::A).await })
        };
        let (first, second) = (ask(), ask());
        tokio::time::sleep(Duration::from_millis(5)).await;
        first.abort();
        assert_eq!(second.await.unwrap(), "ok 1.1.1.1");
        let lonely = ask();
        tokio::time::sleep(Duration::from_millis(5)).await;
        lonely.abort();
        assert!(lonely.await.is_err());
        assert!(bench.filter.flights.borrow().is_empty());
        assert_eq!(bench.filter.waiting.get(), 0);
    });
}

#[test]
fn stale_names_are_looked_up_again() {
    run(async {
        let bench = Setting {
            allow: "a.example",
            answers: "a.example=1.1.1.1 b.example=1.1.1.2",
            ..Setting::default()
        }
        .bench();
        let past = Instant::now();
        let (kept, gone) = ("1.1.1.1".parse().unwrap(), "1.1.1.9".parse().unwrap());
        bench
            .book
            .borrow_mut()
            .pin("a.example", &[kept, gone], past);
        let decide = |address| {
            let asked = Asked {
                operation: Operation::Connect,
                address,
                port: 22,
            };
            let book = bench.book.borrow();
            bench.rules.decide(&asked, &book, Instant::now())
        };
        let names = vec!["a.example".to_owned()];
        let stale = Decision::Stale {
            names: names.clone(),
        };
        assert_eq!(decide(kept), stale);
        assert_eq!(decide(gone), stale);
        bench.filter.refresh(&names).await;
        bench.filter.refresh(&["b.example".to_owned()]).await;
        assert!(matches!(decide(kept), Decision::Direct { .. }));
        assert_eq!(decide(gone), stale);
        assert_eq!(bench.asked(), ["V4 a.example", "V6 a.example"]);
    });
}

#[test]
fn answers_hold_for_a_bounded_time() {
    run(async {
        let bench = Setting {
            allow: "a.example b.example",
            ..Setting::default()
        }
        .bench();
        let address = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
        for (name, seconds, kept) in [("a.example", 0, 1), ("b.example", u32::MAX, 300)] {
            let found = Found::Addresses(vec![address], seconds, Vec::new());
            bench.fake.set(name, Kind::V4, found);
            let asker = Asker::default();
            let query = query(name, RecordType::A);
            let reply = bench.filter.answer(&query, &asker, Transport::Udp).await;
            let reply = Message::from_vec(&reply.unwrap()).unwrap();
            assert_eq!(reply.answers[0].ttl, kept);
        }
    });
}
