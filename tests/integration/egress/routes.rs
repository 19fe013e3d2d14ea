// SPDX-License-Identifier: MIT
//! Ways to reach a peer other than `connect` with its address: each reaches it outside, and nobody
//! inside.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use libc::{EACCES, EINVAL, EISCONN, EPERM};

use crate::egress::servers::{Datagrams, Server};
use crate::egress::world::{World, address, compiled, free};
use crate::machine::injected;
use crate::support::{Answers, expect_errno, expect_not_errno};

const ATTACK: &str = include_str!("../../data/net/attack.c");

fn attack() -> String {
    compiled("attack", ATTACK, &[])
}

fn attack_library() -> String {
    compiled("attack.so", ATTACK, &["-shared", "-fPIC"])
}

/// Items of these probes, all for one text.
fn items(names: &[&str], text: &str) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("{name}:0:{text}"))
        .collect()
}

fn inside(world: &World, flags: &[&str], items: &[String]) -> Answers {
    let program = attack();
    let mut command = vec![program.as_str()];
    command.extend(items.iter().map(String::as_str));
    world.child(flags, &command).expect_answers(items)
}

fn outside(world: &World, items: &[String]) -> Answers {
    let program = attack();
    let mut command = vec![program.as_str()];
    command.extend(items.iter().map(String::as_str));
    world.outside(&command).expect_answers(items)
}

/// The probes in Deno itself, whose parent is the supervisor.
fn in_deno(world: &World, flags: &[&str], items: &[String]) -> Answers {
    let library = attack_library();
    world
        .project
        .write("probe.ts", include_str!("../../data/probe.ts"));
    let ffi = format!("--allow-ffi={library}");
    let flags = [flags, &[&ffi]].concat();
    let mut rest = vec!["probe.ts", &library];
    rest.extend(items.iter().map(String::as_str));
    world.stockade(&flags, &rest).run().expect_answers(items)
}

const STREAMS: [&str; 11] = [
    "connect",
    "connect_raw",
    "connect_long",
    "connect_nonblocking",
    "connect_bound",
    "mptcp",
    "fastopen_sendto",
    "fastopen_sendmsg",
    "fastopen_sendmmsg",
    "fastopen_connect",
    "uring",
];
/// Those that mean the same as `connect`.
const PLAIN: [&str; 5] = [
    "connect",
    "connect_raw",
    "connect_long",
    "connect_nonblocking",
    "connect_bound",
];

#[test]
fn no_call_but_a_granted_connect_makes_a_connection() {
    let world = World::new();
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    let all = items(&STREAMS, &format!("{},{}", evil.ip(), evil.port()));
    let control = outside(&world, &all);
    for item in &all {
        expect_errno(&control, item, &[0]);
    }
    let before = evil.hits();
    assert_eq!(before, STREAMS.len());
    let grant = format!("--allow-net={}", good.address());
    for answers in [
        inside(&world, &[&grant], &all),
        in_deno(&world, &[&grant], &all),
    ] {
        for item in &all {
            expect_not_errno(&answers, item, &[0]);
        }
        for name in PLAIN {
            let item = format!("{name}:0:{},{}", evil.ip(), evil.port());
            expect_errno(&answers, &item, &[EACCES]);
        }
    }
    assert_eq!(evil.hits(), before);
    // Calls that hide where they lead stay shut for granted peers, too.
    let granted = items(&STREAMS, &format!("{},{}", good.ip(), good.port()));
    let answers = inside(&world, &[&grant], &granted);
    for name in PLAIN {
        let item = format!("{name}:0:{},{}", good.ip(), good.port());
        expect_errno(&answers, &item, &[0]);
    }
    assert!(good.hits() >= PLAIN.len());
}

#[test]
fn a_disconnected_socket_is_judged_again() {
    let world = World::new();
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    let text = |second: &Server| {
        format!(
            "{},{},{},{}",
            good.ip(),
            good.port(),
            second.ip(),
            second.port()
        )
    };
    let (to_evil, to_good) = (
        items(&["unspecified"], &text(&evil)),
        items(&["unspecified"], &text(&good)),
    );
    expect_errno(&outside(&world, &to_evil), &to_evil[0], &[0]);
    let (before, good_before) = (evil.hits(), good.hits());
    assert_eq!(before, 1);
    let grant = format!("--allow-net={}", good.address());
    // Where sockets are made for the program, a connected one stays connected.
    let refused = if injected() { EISCONN } else { EACCES };
    expect_errno(
        &inside(&world, &[&grant], &to_evil),
        &to_evil[0],
        &[refused],
    );
    assert_eq!(evil.hits(), before);
    let (again, hits) = if injected() { (EISCONN, 2) } else { (0, 3) };
    expect_errno(&inside(&world, &[&grant], &to_good), &to_good[0], &[again]);
    assert_eq!(good.hits(), good_before + hits);
}

#[test]
fn every_form_of_an_address_is_the_same_address() {
    let world = World::new();
    // Everything on loopback that listens on all addresses is behind `0.0.0.0` and `::`.
    let evil = Server::counter(([127, 0, 0, 1], 0).into());
    let good = Server::counter((address(), evil.port()).into());
    let port = evil.port();
    let forms = ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0"];
    let closed = [
        "::1",
        "::",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
    ];
    let items = |forms: &[&str]| -> Vec<String> {
        forms
            .iter()
            .map(|form| format!("connect:0:{form},{port}"))
            .collect()
    };
    let (open, closed) = (items(&forms), items(&closed));
    let control = outside(&world, &open);
    for item in &open {
        expect_errno(&control, item, &[0]);
    }
    let before = evil.hits();
    assert_eq!(before, forms.len());
    let answers = inside(
        &world,
        &[&format!("--allow-net={}", good.address())],
        &[&open[..], &closed].concat(),
    );
    for item in open.iter().chain(&closed) {
        expect_errno(&answers, item, &[EACCES]);
    }
    assert_eq!(evil.hits(), before);
    let mapped = format!("connect:0:::ffff:{},{port}", good.ip());
    let answers = inside(
        &world,
        &[&format!("--allow-net={}", good.address())],
        std::slice::from_ref(&mapped),
    );
    expect_errno(&answers, &mapped, &[0]);
    let grant = format!("--allow-net=127.0.0.1:{port}");
    let answers = inside(&world, &[&grant], &open);
    for item in &open {
        expect_errno(&answers, item, &[0]);
    }
    assert_eq!((evil.hits(), good.hits()), (before * 2, 1));
    // A denial means every form as well.
    let answers = inside(
        &world,
        &["--allow-net", &format!("--deny-net=127.0.0.1:{port}")],
        &[&open[..], std::slice::from_ref(&mapped)].concat(),
    );
    for item in &open {
        expect_errno(&answers, item, &[EACCES]);
    }
    expect_errno(&answers, &mapped, &[0]);
    assert_eq!(evil.hits(), before * 2);
}

const DATAGRAMS: [&str; 8] = [
    "udp_sendto",
    "udp_sendmsg",
    "udp_sendmmsg",
    "udp_send",
    "udp_write",
    "udp_connected_sendmsg",
    "udp_unspecified",
    "udp_splice",
];

#[test]
fn datagrams_go_to_granted_peers_only() {
    let world = World::new();
    let good = Datagrams::start(address(), 0);
    let evil = Datagrams::start(address(), good.port());
    let to = |receiver: &Datagrams| format!("{},{}", receiver.ip(), receiver.port());
    let mut all = items(&DATAGRAMS, &to(&evil));
    all.extend(items(
        &["udp_elsewhere"],
        &format!("{},{}", to(&good), to(&evil)),
    ));
    let control = outside(&world, &all);
    for item in &all {
        expect_errno(&control, item, &[0]);
    }
    assert_eq!(evil.received(), all.len());
    assert_eq!(good.received(), 0);
    let grant = format!("--allow-net={}:{}", good.ip(), good.port());
    let mut tried = all.clone();
    tried.extend(items(&["udplite"], &to(&evil)));
    let answers = inside(&world, &[&grant], &tried);
    assert_eq!(evil.received(), 0, "{answers:?}");
    // Said to be sent or not, it never arrives; most are told.
    expect_not_errno(&answers, &all[0], &[0]);
    let granted = items(
        &["udp_send", "udp_write", "udp_connected_sendmsg"],
        &to(&good),
    );
    let answers = inside(&world, &[&grant], &granted);
    for item in &granted {
        expect_errno(&answers, item, &[0]);
    }
    wait_for(|| good.received() > 0);
    // The port of name servers is the filter's, whatever address it is asked at.
    let name = items(
        &["udp_sendmsg", "udp_elsewhere"],
        &format!("192.0.2.53,53,{}", to(&evil)),
    );
    inside(&world, &[&grant], &name);
    assert_eq!((evil.received(), world.dns.packets()), (0, 0));
}

fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it did not happen");
}

#[test]
fn other_system_call_tables_do_not_connect() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let world = World::new();
    let good = Server::counter(free());
    let grant = format!("--allow-net={}", good.address());
    let text = format!("{},{}", good.ip(), good.port());
    let native = items(&["connect"], &text);
    expect_errno(&inside(&world, &[&grant], &native), &native[0], &[0]);
    for name in ["int80", "x32"] {
        let item = items(&[name], &text);
        let control = outside(&world, &item);
        // Kernels may lack either table; the older one is everywhere this is tested.
        if name == "int80" {
            expect_errno(&control, &item[0], &[0]);
        }
        let before = good.hits();
        let program = attack();
        let outcome = world.child(&[&grant], &[&program, &item[0]]);
        assert!(!outcome.stdout.contains("=0\n"), "{outcome:?}");
        assert_eq!(good.hits(), before);
    }
}

#[test]
fn listeners_need_a_grant_of_their_port() {
    let world = World::new();
    let ip = address();
    let (mine, other) = (
        Server::counter((ip, 0).into()).port(),
        Server::counter((ip, 0).into()),
    );
    // Both ports are taken there; on another address they are free.
    let free_ip = address();
    let text = |port: u16| format!("{free_ip},{port}");
    let listening = ["bind", "bind_shared", "listen"];
    let denied = items(&listening, &text(other.port()));
    let allowed = items(&listening, &text(mine));
    let unbound = items(&["listen_unbound"], &text(other.port()));
    let all = [&denied[..], &allowed, &unbound].concat();
    let control = outside(&world, &all);
    for item in &all {
        expect_errno(&control, item, &[0]);
    }
    let grant = format!("--allow-net={free_ip}:{mine}");
    let answers = inside(&world, &[&grant], &all);
    for item in denied.iter().chain(&unbound) {
        expect_errno(&answers, item, &[EACCES]);
    }
    for item in &allowed {
        expect_errno(&answers, item, &[0]);
    }
    // Every address is more than one address.
    let wide: Vec<String> = ["0.0.0.0", "::", "::ffff:0.0.0.0"]
        .iter()
        .map(|ip| format!("listen:0:{ip},{mine}"))
        .collect();
    let answers = inside(&world, &[&grant], &wide);
    for item in &wide {
        expect_not_errno(&answers, item, &[0]);
    }
    let after = items(
        &["listen_after_connect"],
        &format!("{},{}", other.ip(), other.port()),
    );
    expect_errno(&outside(&world, &after), &after[0], &[0]);
    let answers = inside(
        &world,
        &[&format!("--allow-net={}", other.address())],
        &after,
    );
    let refused = if injected() { EINVAL } else { EACCES };
    expect_errno(&answers, &after[0], &[refused]);
}

#[test]
fn local_sockets_need_a_grant_by_what_they_are() {
    let world = World::new();
    let project = &world.project;
    let granted = project.path("granted.sock");
    let secret = project.path("secret.sock");
    let packets = project.path("packets.sock");
    let _granted = UnixListener::bind(&granted).unwrap();
    let _secret = UnixListener::bind(&secret).unwrap();
    let receiver = UnixDatagram::bind(&packets).unwrap();
    receiver.set_nonblocking(true).unwrap();
    std::os::unix::fs::symlink(&secret, project.path("link.sock")).unwrap();
    let name = format!("stockade-egress-{}", std::process::id());
    let abstract_name = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap()
    };
    let _abstract = UnixListener::bind_addr(&abstract_name).unwrap();
    let directory = PathBuf::from(&secret).parent().unwrap().to_owned();
    let dotted = format!("{}/./secret.sock", directory.display());
    let secrets = [
        format!("unix:1:{secret}"),
        format!("unix:1:{dotted}"),
        format!("unix:1:{}", project.path("link.sock")),
        format!("unix_relative:1:{secret}"),
        format!("unix:1:@{name}"),
    ];
    let datagrams = [
        format!("unix_sendto:0:{packets}"),
        format!("unix_pair:0:{packets}"),
    ];
    let grants = [
        format!("unix:1:{granted}"),
        format!("unix_relative:1:{granted}"),
    ];
    let all = [&secrets[..], &datagrams, &grants].concat();
    let control = outside(&world, &all);
    for item in &all {
        expect_errno(&control, item, &[0]);
    }
    let drain = || std::iter::from_fn(|| receiver.recv(&mut [0; 8]).ok()).count();
    assert_eq!(drain(), 2);
    let good = Server::counter(free());
    let net = format!("--allow-net={}", good.address());
    let unix = format!("--allow-net=unix:{granted}");
    // Entering the directory is not what is denied.
    let read = format!("--allow-read={}", directory.display());
    for (flags, open) in [
        (vec![&*net], false),
        (vec![&*net, &*read], false),
        (vec![&*unix, &*read], true),
    ] {
        let answers = inside(&world, &flags, &all);
        for item in secrets.iter().chain(&datagrams) {
            expect_not_errno(&answers, item, &[0]);
        }
        for item in &grants {
            let accepted: &[i32] = if open { &[0] } else { &[EACCES, EPERM] };
            expect_errno(&answers, item, accepted);
        }
        assert_eq!(drain(), 0);
    }
    // Read and write access to the socket's file is a grant, too.
    let both = [
        net.as_str(),
        &read,
        &format!("--allow-write={}", directory.display()),
    ];
    let answers = inside(&world, &both, &[secrets[0].clone(), secrets[4].clone()]);
    expect_errno(&answers, &secrets[0], &[0]);
    expect_not_errno(&answers, &secrets[4], &[0]);
}

#[test]
fn the_supervisor_cannot_be_reached_by_its_target() {
    let world = World::new();
    let good = Server::counter(free());
    let grant = format!("--allow-net={}", good.address());
    let attacks = items(
        &[
            "parent_signal",
            "parent_limit",
            "parent_memory",
            "parent_socket",
            "parent_priority",
            "listener",
        ],
        "",
    );
    let signals: Vec<String> = [libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM]
        .iter()
        .map(|signal| format!("parent_signal:{signal}:"))
        .collect();
    // The parent of the control is a shell.
    let program = attack();
    let mut command = vec!["/bin/sh", "-c", "\"$@\"; :", "sh", &program];
    command.extend(attacks.iter().map(String::as_str));
    let control = world.outside(&command).expect_answers(&attacks);
    for item in &attacks {
        expect_errno(&control, item, &[0]);
    }
    let connect = items(&["connect"], &format!("{},{}", good.ip(), good.port()));
    let all = [&attacks[..], &signals, &connect].concat();
    let all: Vec<String> = all
        .into_iter()
        // It needs a child to try it in.
        .filter(|item| !item.starts_with("listener"))
        .collect();
    let answers = in_deno(&world, &[&grant], &all);
    for item in &all {
        if *item == connect[0] {
            expect_errno(&answers, item, &[0]);
        } else {
            expect_not_errno(&answers, item, &[0]);
        }
    }
    let listener = items(&["listener"], "");
    let answers = inside(&world, &[&grant], &listener);
    expect_not_errno(&answers, &listener[0], &[0]);
    assert_eq!(good.hits(), 1);
}
