// SPDX-License-Identifier: MIT
//! Another tenant behind the address of a granted name: not reached by saying another name, no name,
//! two names or something else on a connection that was granted.

use crate::egress::servers::{Process, Server};
use crate::egress::world::{World, address, low_port};
use crate::support::{Outcome, python};

const FRONTING: &str = include_str!("../../data/net/fronting.py");

/// What is granted, and answered inside as outside.
const ALLOWED: [&str; 11] = [
    "allowed server name: answered",
    "allowed server name in capitals: answered",
    "allowed server name in small records: answered",
    "allowed server name byte by byte: answered",
    "allowed server name with an unknown extension: answered",
    "switch to HTTP/2, then another Host: answered 1",
    "allowed Host: answered",
    "allowed Host in capitals: answered",
    "second request for another Host: answered 1",
    "second request for the same Host: answered 2",
    "v4-mapped allowed server name: answered",
];
/// What no server answers, whoever asks.
const NEVER_ANSWERED: [&str; 3] = ["raw bytes", "HTTP on the TLS", "proxy request"];

fn command(arguments: &[String]) -> Vec<&str> {
    let mut command = vec![python().to_str().unwrap(), "-c", FRONTING];
    command.extend(arguments.iter().map(String::as_str));
    command
}

fn lines(outcome: &Outcome) -> Vec<&str> {
    outcome.expect_success();
    outcome.stdout.lines().collect()
}

#[test]
fn another_tenant_of_the_same_address_is_out_of_reach() {
    let Some(https) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(https);
    let plain = Server::http((https.ip(), 80).into(), "plain");
    let other = Server::http((https.ip(), 0).into(), "other");
    let world = World::new();
    world
        .name("good.test", https.ip())
        .name("evil.test", https.ip());
    let arguments = [
        https.ip().to_string(),
        "443".to_owned(),
        "80".to_owned(),
        other.port().to_string(),
    ];
    let command = command(&arguments);

    let outside = world.outside(&command);
    for line in lines(&outside) {
        let answered = line.ends_with(": answered") || line.ends_with("answered 2");
        let never = NEVER_ANSWERED.iter().any(|name| line.starts_with(name));
        assert!(answered || never, "the control: {line}");
    }
    let evil = |tenants: &mut Process| {
        let said = tenants.said();
        let told = said
            .iter()
            .filter(|line| *line == "raw" || line.contains("evil") || line.contains("None"));
        told.count()
    };
    let plain_evil = |plain: &Server| {
        let said = plain.said();
        said.iter()
            .filter(|line| !line.starts_with("good.test"))
            .count()
    };
    let before = (evil(&mut tenants), plain_evil(&plain), other.hits());
    assert!(
        before.0 >= 8 && before.1 >= 5 && before.2 >= 8,
        "{before:?}"
    );

    let inside = world.child(&["--allow-net=good.test:443,good.test:80"], &command);
    for line in lines(&inside) {
        if ALLOWED.contains(&line) {
            continue;
        }
        let refused = [
            ": closed",
            ": errno 13",
            ": answered 0",
            "another Host: answered 1",
        ]
        .iter()
        .any(|end| line.ends_with(end));
        assert!(refused, "{line}\n{}", inside.stdout);
    }
    for line in ALLOWED {
        assert!(lines(&inside).contains(&line), "{line}\n{}", inside.stdout);
    }
    let after = (evil(&mut tenants), plain_evil(&plain), other.hits());
    assert_eq!(after, before, "{:?} {:?}", tenants.said(), plain.said());
    inside.expect_error("evil.test");
}

#[test]
fn what_is_said_inside_an_allowed_connection_stays_between_its_ends() {
    // Domain fronting proper: the server name is granted and the Host inside TLS is another one.
    // Nobody outside the two ends can read it; the tenant of the granted name answers.
    let Some(https) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(https);
    let world = World::new();
    world.name("good.test", https.ip());
    let code = FRONTING.split_once("mark = ").unwrap().0.to_owned()
        + "pin()\nprint(tls('good.test', 'evil.test'))\n";
    let address = https.ip().to_string();
    let command = [
        python().to_str().unwrap(),
        "-c",
        &code,
        &address,
        "443",
        "80",
        "0",
    ];
    world.outside(&command).expect_output("answered\n");
    world
        .child(&["--allow-net=good.test"], &command)
        .expect_output("answered\n");
    let said = tenants.said();
    assert!(
        said.iter().all(|line| !line.starts_with("sni evil")),
        "{said:?}"
    );
    assert_eq!(
        said.iter().filter(|line| *line == "sni good.test").count(),
        2,
        "{said:?}"
    );
}

#[test]
fn an_encrypted_client_hello_is_refused_with_the_reason() {
    let Some(https) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(https);
    let world = World::new();
    world.name("good.test", https.ip());
    let try_extension = |kind: &str| {
        FRONTING.split_once("mark = ").unwrap().0.to_owned()
            + "pin()\ntry:\n    print(exchange(address, https, extended(hello('good.test'), "
            + kind
            + ", bytes(40))))\nexcept ConnectionError:\n    print('closed')\n"
    };
    let address = https.ip().to_string();
    let hidden = try_extension("0xfe0d");
    let twin = try_extension("0xfe0c");
    for (code, inside) in [(&hidden, "closed\n"), (&twin, "answered\n")] {
        let command = [
            python().to_str().unwrap(),
            "-c",
            code.as_str(),
            &address,
            "443",
            "80",
            "0",
        ];
        world.outside(&command).expect_output("answered\n");
        let mut hellos = || {
            let said = tenants.said();
            said.iter().filter(|line| line.starts_with("sni")).count()
        };
        let before = hellos();
        let outcome = world.child(&["--allow-net=good.test"], &command);
        outcome.expect_output(inside);
        if inside == "closed\n" {
            assert_eq!(hellos(), before);
            outcome.expect_error("encrypted ClientHello, to be switched off in the program");
        }
    }
}

#[test]
fn urls_with_two_hosts_mean_the_last() {
    let world = World::new();
    let server = Server::http((address(), 0).into(), "server");
    let port = server.port();
    world
        .name("good.test", address())
        .name("evil.test", server.ip());
    let script = |evil: &str| {
        format!(
            r"
            for (const url of ['http://good.test:{port}@{evil}:{port}/', 'http://good.test%00.{evil}:{port}/',
                'http://{evil}\\@good.test:{port}/', 'http://{evil}。:{port}/', 'http://good.test:x@{evil}:{port}/']) {{
              try {{ console.log(await (await fetch(url)).text()); }} catch {{ console.log('failed'); }}
            }}"
        )
    };
    let control = world.bare(&script(&server.ip().to_string()));
    assert!(
        control.expect_success().stdout.contains("server"),
        "{control:?}"
    );
    let before = server.hits();
    world
        .run(
            &[&format!("--allow-net=good.test:{port}")],
            &script("evil.test"),
        )
        .expect_output("failed\nfailed\nfailed\nfailed\nfailed\n");
    assert_eq!(server.hits(), before);
    let wide = world.run(
        &[&format!("--allow-net=evil.test:{port}")],
        &script("evil.test"),
    );
    assert!(wide.expect_success().stdout.contains("server"), "{wide:?}");
    assert_eq!(world.dns.count("good.test"), 0);
}
