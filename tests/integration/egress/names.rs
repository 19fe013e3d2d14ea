// SPDX-License-Identifier: MIT
//! Lookups: granted names are answered, others at once with "no such name", and nothing but questions
//! about granted names ever leaves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use crate::egress::dns_server::Manner;
use crate::egress::servers::Server;
use crate::egress::world::{World, address, free};
use crate::support::Outcome;
use crate::support_life::skip;

/// EAI_NONAME and EAI_AGAIN of the C library.
pub(super) const NO_NAME: i32 = -2;
const AGAIN: i32 = -3;

/// Where the resolvers of this host send their questions.
pub(super) fn name_server() -> String {
    std::fs::read_to_string("/etc/resolv.conf")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .find(IpAddr::is_ipv4)
        // What resolvers take when the file names none.
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .to_string()
}

/// The line that answers an item.
#[track_caller]
pub(super) fn answer<'a>(outcome: &'a Outcome, item: &str) -> &'a str {
    outcome.expect_success();
    outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix(item)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no answer to {item}: {outcome:?}"))
}

#[test]
fn the_name_server_of_the_tests_answers_outside() {
    let world = World::new();
    let (good, six) = (address(), Ipv6Addr::LOCALHOST);
    let ips: Vec<IpAddr> = (0..40).map(|_| address().into()).collect();
    world.dns.set("good.test", &[good.into(), six.into()]);
    world
        .dns
        .text("good.test", "text")
        .alias("www.test", "good.test");
    world
        .dns
        .set("long.test", &ips)
        .manner("long.test", Manner::Truncated);
    world
        .name("failing.test", good)
        .dns
        .manner("failing.test", Manner::Failing);
    world
        .name("forged.test", good)
        .dns
        .manner("forged.test", Manner::Forged(address()));
    let server = world.dns.address();
    let script = format!(
        r#"
        const nameServer = {{ ipAddr: "{}", port: {} }};
        for (const [name, type] of [["good.test", "A"], ["good.test", "AAAA"], ["good.test", "TXT"], ["www.test", "A"],
            ["long.test", "A"], ["failing.test", "A"], ["absent.test", "A"], ["forged.test", "A"]]) {{
          const found = await Deno.resolveDns(name, type, {{ nameServer }}).catch((error) => [error.name]);
          console.log(name, type, found.length > 1 ? found.length : found.flat().join());
        }}
        "#,
        server.ip(),
        server.port()
    );
    world.bare(&script).expect_output(&format!(
        "good.test A {good}\ngood.test AAAA ::1\ngood.test TXT text\nwww.test A {good}\n\
         long.test A 40\nfailing.test A NotFound\nabsent.test A NotFound\nforged.test A {good}\n"
    ));
    assert!(world.dns.questions().iter().any(|question| question.tcp));
}

#[test]
fn denied_names_do_not_exist_and_nobody_is_asked() {
    let world = World::new();
    let (good, evil) = (address(), address());
    world.name("good.test", good).name("evil.test", evil);
    world.name("sub.good.test", evil).name("notgood.test", evil);
    let denied = [
        "look,evil.test",
        "look,sub.good.test",
        "look,notgood.test",
        "look,good.test.evil.test",
        "look,evil.test.",
        "look,EVIL.test",
        "look,_evil.test",
    ];
    let allowed = ["look,good.test", "look,GOOD.Test", "look,good.test."];
    let items = [&denied[..], &allowed].concat();
    let outcome = world.python(&["--allow-net=good.test:8080"], &items);
    for item in denied {
        assert_eq!(answer(&outcome, item), format!("error {NO_NAME}"), "{item}");
    }
    for item in allowed {
        assert_eq!(answer(&outcome, item), good.to_string(), "{item}");
    }
    assert_eq!(world.dns.asked(), ["good.test"]);
    // The same names with grants.
    let outcome = world.python(
        &["--allow-net=*.good.test,evil.test:8080,notgood.test"],
        &items,
    );
    for item in [
        "look,evil.test",
        "look,sub.good.test",
        "look,notgood.test",
        "look,EVIL.test",
    ] {
        assert_eq!(answer(&outcome, item), evil.to_string(), "{item}");
    }
    for question in world.dns.questions() {
        assert!(["A", "AAAA"].contains(&&*question.kind), "{question:?}");
    }
}

#[test]
fn a_thousand_labels_send_no_packet() {
    let world = World::new();
    world.name("good.test", address());
    let script = |options: &str| {
        format!(
            "let answered = 0;
             for (let number = 0; number < 1000; number++) {{
               try {{
                 await Deno.resolveDns(`x${{number}}-secret.good.test`, 'A', {options});
                 answered++;
               }} catch {{}}
             }}
             console.log('answered', answered);"
        )
    };
    // The control asks the server directly.
    let server = world.dns.address();
    let options = format!(
        "{{ nameServer: {{ ipAddr: '{}', port: {} }} }}",
        server.ip(),
        server.port()
    );
    world.bare(&script(&options)).expect_output("answered 0\n");
    let control = world.dns.packets();
    assert!(control >= 1000, "{control}");
    let grant = format!("--allow-net=good.test:8080,{}:53", name_server());
    world
        .run(&[&grant], &script("{}"))
        .expect_output("answered 0\n");
    assert_eq!(world.dns.packets(), control);
    // Deno itself asks the server when that is granted to it as a peer; this one is not.
    world
        .run(&[&grant], &script(&options))
        .expect_output("answered 0\n");
    let items = ["tunnel,1000,good.test", "tunnel,1000,evil.test"];
    let outcome = world.python(&["--allow-net=good.test:8080"], &items);
    for item in items {
        assert_eq!(answer(&outcome, item), "0");
    }
    assert_eq!(world.dns.packets(), control, "{:?}", world.dns.asked());
    let outcome = world.python(&["--allow-net=good.test:8080"], &["look,good.test"]);
    assert_ne!(answer(&outcome, "look,good.test"), "error -2");
    assert!(world.dns.packets() > control);
}

#[test]
fn other_questions_are_not_forwarded() {
    let world = World::new();
    let good = address();
    world.name("good.test", good);
    world.dns.text("good.test", "text");
    let direct = world.dns.address();
    let server = name_server();
    // TXT, NULL, SRV, ANY, HTTPS, MX, NS, CNAME, SOA, AXFR, a type nobody has.
    let kinds = [16, 10, 33, 255, 65, 15, 2, 5, 6, 252, 65_280];
    let mut items: Vec<String> = Vec::new();
    for transport in ["udp", "tcp"] {
        for kind in kinds {
            items.push(format!("ask,{transport},{server},53,good.test,{kind}"));
        }
        items.push(format!(
            "ask,{transport},{server},53,evil.testNUL.good.test,1"
        ));
        items.push(format!("ask,{transport},{server},53,goodNUL.test,1"));
    }
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let control = format!("ask,udp,{},{},good.test,16", direct.ip(), direct.port());
    let outside = world.python_outside(&[&control]);
    assert_eq!(answer(&outside, &control), "code 0 answers 1");
    let packets = world.dns.packets();
    let outcome = world.python(&["--allow-net=good.test:8080"], &items);
    for item in &items {
        assert!(
            !answer(&outcome, item).contains("answers 1"),
            "{item}: {outcome:?}"
        );
    }
    assert_eq!(world.dns.packets(), packets, "{:?}", world.dns.questions());
    // Addresses are answered on both ways, the real server is no peer.
    let asked = ["udp", "tcp"].map(|transport| format!("ask,{transport},{server},53,good.test,1"));
    let outcome = world.python(
        &["--allow-net=good.test:8080"],
        &[&asked[0], &asked[1], &control],
    );
    for item in &asked {
        assert_eq!(answer(&outcome, item), "code 0 answers 1");
    }
    assert!(
        !answer(&outcome, &control).contains("answers"),
        "{outcome:?}"
    );
}

#[test]
fn aliases_are_followed_and_lead_only_where_the_name_does() {
    let world = World::new();
    let server = Server::counter(free());
    world
        .name("edge.cdn.test", server.ip())
        .dns
        .alias("www.good.test", "cdn.test")
        .alias("cdn.test", "edge.cdn.test")
        .alias("loop.test", "loop.test")
        .alias("dangling.test", "absent.test");
    let reach = format!("reach,www.good.test,{}", server.port());
    let outcome = world.python(
        &[
            &format!("--allow-net=www.good.test:{}", server.port()),
            "--allow-net=loop.test,dangling.test",
        ],
        &[
            &reach,
            "look,edge.cdn.test",
            "look,cdn.test",
            "look,loop.test",
            "look,dangling.test",
        ],
    );
    assert_eq!(answer(&outcome, &reach), "reached");
    assert_eq!(answer(&outcome, "look,edge.cdn.test"), "error -2");
    assert_eq!(answer(&outcome, "look,cdn.test"), "error -2");
    assert!(answer(&outcome, "look,loop.test").starts_with("error"));
    assert!(answer(&outcome, "look,dangling.test").starts_with("error"));
    assert_eq!(server.hits(), 1);
}

#[test]
fn long_answers_come_by_tcp() {
    let world = World::new();
    let ips: Vec<IpAddr> = (0..40).map(|_| address().into()).collect();
    world
        .dns
        .set("long.test", &ips)
        .manner("long.test", Manner::Truncated);
    let outcome = world.python(&["--allow-net=long.test"], &["look,long.test"]);
    let found = answer(&outcome, "look,long.test").split(' ').count();
    assert_eq!(found, ips.len());
    assert!(world.dns.questions().iter().any(|question| question.tcp));
}

#[test]
fn both_address_families_are_reached() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        skip("no IPv6 on loopback");
        return;
    };
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, listener.local_addr().unwrap().port()));
    drop(listener);
    let six = Server::counter(six);
    let four = Server::counter((address(), six.port()).into());
    let port = six.port();
    let world = World::new();
    world.name("six.test", six.ip());
    world.dns.set("both.test", &[six.ip(), four.ip()]);
    world.name("evil.test", six.ip());
    let items = ["six.test", "both.test", "evil.test"].map(|name| format!("reach,{name},{port}"));
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let direct = format!("reach,::1,{port}");
    let outside = world.python_outside(&[&direct]);
    assert_eq!(answer(&outside, &direct), "reached");
    let (six_before, four_before) = (six.hits(), four.hits());
    let outcome = world.python(
        &["--allow-net=evil.test:1"],
        &[&direct, "look,evil.test", &direct],
    );
    assert_eq!(answer(&outcome, &direct), "errno 13");
    assert_eq!(six.hits(), six_before);
    let grant = format!("--allow-net=six.test:{port},both.test:{port}");
    let outcome = world.python(&[&grant], &items);
    assert_eq!(answer(&outcome, items[0]), "reached");
    assert_eq!(answer(&outcome, items[1]), "reached");
    assert_eq!(answer(&outcome, items[2]), "error -2");
    assert_eq!(six.hits() + four.hits(), six_before + four_before + 2);
}

#[test]
fn a_failing_upstream_is_told_apart_from_a_missing_name() {
    let world = World::new();
    let good = address();
    world.name("good.test", good).name("slow.test", good);
    world.name("failing.test", good).name("silent.test", good);
    world.name("garbage.test", good).name("forged.test", good);
    let evil = address();
    world
        .dns
        .manner("slow.test", Manner::Slow(Duration::from_millis(700)))
        .manner("failing.test", Manner::Failing)
        .manner("silent.test", Manner::Silent)
        .manner("garbage.test", Manner::Garbage)
        .manner("forged.test", Manner::Forged(evil));
    let grant = "--allow-net=good.test,slow.test,failing.test,silent.test,forged.test,absent.test,garbage.test";
    let items = [
        "look,slow.test",
        "look,failing.test",
        "look,absent.test",
        "look,forged.test",
        "beside,silent.test,good.test",
        "beside,garbage.test,good.test",
    ];
    let outcome = world.python(&[grant], &items);
    let good = good.to_string();
    assert_eq!(answer(&outcome, items[0]), good);
    assert_eq!(answer(&outcome, items[1]), format!("error {AGAIN}"));
    assert_eq!(answer(&outcome, items[2]), format!("error {NO_NAME}"));
    assert_eq!(answer(&outcome, items[3]), good);
    assert_eq!(answer(&outcome, items[4]), good);
    assert_eq!(answer(&outcome, items[5]), good);
    // Nobody listens there.
    let closed = SocketAddr::from((address(), 9));
    let dns = format!("--dns={closed}");
    let client = include_str!("../../data/net/client.py");
    let python = crate::support::python().to_str().unwrap();
    let outcome = world
        .project
        .start(
            &[&dns, grant, &format!("--allow-run={python}")],
            &[python, "-c", client, "look,good.test", "look,evil.test"],
        )
        .run();
    assert_eq!(answer(&outcome, "look,good.test"), format!("error {AGAIN}"));
    assert_eq!(
        answer(&outcome, "look,evil.test"),
        format!("error {NO_NAME}")
    );
}

#[test]
fn names_do_not_lead_to_special_addresses() {
    let world = World::new();
    let server = Server::counter(free());
    let IpAddr::V4(loopback) = server.ip() else {
        panic!("an IPv4 address");
    };
    let port = server.port();
    let [a, b, c, d] = loopback.octets().map(u16::from);
    let (high, low) = (a * 256 + b, c * 256 + d);
    let forms: [(&str, IpAddr); 9] = [
        ("loopback.example", loopback.into()),
        ("mapped.example", loopback.to_ipv6_mapped().into()),
        (
            "compatible.example",
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into(),
        ),
        (
            "nat64.example",
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
        ),
        ("zero.example", Ipv4Addr::UNSPECIFIED.into()),
        ("six.example", Ipv6Addr::LOCALHOST.into()),
        ("metadata.example", Ipv4Addr::new(169, 254, 169, 254).into()),
        ("private.example", Ipv4Addr::new(10, 255, 254, 253).into()),
        ("metadata.test", Ipv4Addr::new(169, 254, 169, 254).into()),
    ];
    let mut items = Vec::new();
    let mut grants = Vec::new();
    for (name, ip) in forms {
        world.name(name, ip);
        grants.push(format!("{name}:{port}"));
        items.push(format!("look,{name}"));
        items.push(format!("reach,{name},{port}"));
    }
    let grant = format!("--allow-net={}", grants.join(","));
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let direct = format!("reach,{loopback},{port}");
    let outside = world.python_outside(&[&direct]);
    assert_eq!(answer(&outside, &direct), "reached");
    let before = server.hits();
    let outcome = world.python(&[&grant], &items);
    for pair in items.chunks(2) {
        assert!(
            answer(&outcome, pair[0]).starts_with("error"),
            "{outcome:?}"
        );
        assert_ne!(answer(&outcome, pair[1]), "reached", "{}", pair[1]);
    }
    assert_eq!(server.hits(), before);
    // The message says what would allow it, and that does.
    outcome
        .expect_error("loopback.example")
        .expect_error("--allow-private=loopback.example");
    let reach = format!("reach,loopback.example,{port}");
    let outcome = world.python(&[&grant, "--allow-private=loopback.example"], &[&reach]);
    assert_eq!(answer(&outcome, &reach), "reached");
    let outcome = world.python(
        &[&grant, &format!("--allow-net={loopback}:{port}")],
        &[&reach],
    );
    assert_eq!(answer(&outcome, &reach), "reached");
    // A denial wins over the address a name leads to.
    let outcome = world.python(
        &[
            &grant,
            "--allow-private=loopback.example",
            &format!("--deny-net={loopback}"),
        ],
        &[&reach],
    );
    assert_ne!(answer(&outcome, &reach), "reached");
    assert_eq!(server.hits(), before + 2);
}

/// Runs with another `/etc/resolv.conf` and `/etc/hosts`; none where this user may not mount.
fn with_files(
    world: &World,
    resolv: &str,
    hosts: &str,
    flags: &[&str],
    items: &[&str],
) -> Option<Outcome> {
    world.project.write("resolv.conf", resolv);
    world.project.write("hosts", hosts);
    let mut unshare = vec!["unshare", "--mount"];
    if !crate::machine::superuser() {
        unshare.push("--map-root-user");
    }
    if !Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .status()
        .unwrap()
        .success()
    {
        skip("this user cannot have a mount namespace");
        return None;
    }
    let python = crate::support::python().to_str().unwrap();
    let client = include_str!("../../data/net/client.py");
    let mut command = vec![python, "-c", client];
    command.extend(items);
    let launch = world.child_launch(flags, &command).through_shell(&format!(
        "exec {} sh -c 'mount --bind resolv.conf /etc/resolv.conf && mount --bind hosts /etc/hosts && exec \"$@\"' sh \"$@\"",
        unshare.join(" ")
    ));
    Some(launch.run())
}

#[test]
fn the_search_list_and_the_hosts_file_are_part_of_a_name() {
    let world = World::new();
    let server = Server::counter(free());
    let port = server.port();
    world
        .name("db.corp.test", server.ip())
        .name("web.corp.test", server.ip());
    let hosts = format!(
        "127.0.0.1 localhost\n{0} pinned.example pinned\n{0} other.example\n",
        server.ip()
    );
    let grant = format!("--allow-net=db:{port},pinned.example:{port},localhost:{port}");
    let [db, full, web, pinned, other, localhost] = [
        "db",
        "db.corp.test",
        "web",
        "pinned.example",
        "other.example",
        "localhost",
    ]
    .map(|name| format!("reach,{name},{port}"));
    let Some(outcome) = with_files(
        &world,
        "search corp.test\nnameserver 192.0.2.53\n",
        &hosts,
        &[&grant],
        &[&web, &other, &db, &full, &pinned, &localhost],
    ) else {
        return;
    };
    assert_eq!(answer(&outcome, &db), "reached");
    assert_eq!(answer(&outcome, &full), "reached");
    assert_eq!(answer(&outcome, &pinned), "reached");
    assert_eq!(answer(&outcome, &web), "error -2");
    // Its name is in the file, the address is that of granted names: the C library asks nobody, and
    // a direct port is not checked for names. It is the same address.
    assert_eq!(answer(&outcome, &other), "reached");
    // Granted, and nobody listens there.
    assert_eq!(
        answer(&outcome, &localhost),
        format!("errno {}", libc::ECONNREFUSED)
    );
    assert!(!world.dns.asked().contains(&"web.corp.test".to_owned()));
    let Some(outcome) = with_files(
        &world,
        "search corp.test\nnameserver 192.0.2.53\n",
        &hosts,
        &["--allow-net=unrelated.test"],
        &[&db, &pinned, &localhost],
    ) else {
        return;
    };
    assert_eq!(answer(&outcome, &db), "error -2");
    assert_eq!(answer(&outcome, &pinned), "errno 13");
    assert_eq!(answer(&outcome, &localhost), "errno 13");
}
