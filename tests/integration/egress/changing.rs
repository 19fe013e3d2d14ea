// SPDX-License-Identifier: MIT
//! Names whose answers change while a program runs: pins that expire, and names that turn to this
//! machine or its network (DNS rebinding).

use std::net::Ipv4Addr;

use crate::egress::names::answer;
use crate::egress::servers::Server;
use crate::egress::world::{World, address, free};

#[test]
fn pins_expire_with_the_answer() {
    let world = World::new();
    let first = Server::counter(free());
    let second = Server::counter((address(), first.port()).into());
    let port = first.port();
    world
        .name("moving.test", first.ip())
        .name("staying.test", first.ip());
    world
        .dns
        .ttl("moving.test", 1)
        .then("moving.test", &[second.ip()])
        .ttl("staying.test", 1);
    let reach = |server: &Server| format!("reach,{},{port}", server.ip());
    let items = [
        // An address nobody looked up yet, then the same one looked up.
        &reach(&first),
        "look,moving.test",
        &format!("reach,{},{port}", first.ip()),
        "wait,1.6",
        "look,moving.test",
        &reach(&second),
    ];
    let grant = format!("--allow-net=moving.test:{port}");
    let outcome = world.python(&[&grant], &items);
    assert_eq!(
        outcome.expect_success().stdout,
        format!(
            "{0} errno 13\nlook,moving.test {1}\n{0} reached\nwait,1.6 over\nlook,moving.test {2}\n{3} reached\n",
            reach(&first),
            first.ip(),
            second.ip(),
            reach(&second)
        )
    );
    // What the name no longer leads to is no longer granted, a minute of grace later.
    if std::env::var_os("STOCKADE_TEST_LONG").is_some_and(|value| value == "1") {
        world.name("moving.test", first.ip());
        world.dns.then("moving.test", &[second.ip()]);
        let outcome = world.python(&[&grant], &["look,moving.test", "wait,63", &reach(&first)]);
        assert_eq!(answer(&outcome, &reach(&first)), "errno 13");
    }
    // What it still leads to is, without another lookup by the program.
    let grant = format!("--allow-net=staying.test:{port}");
    let outcome = world.python(
        &[&grant],
        &["look,staying.test", "wait,1.6", &reach(&first)],
    );
    assert_eq!(answer(&outcome, &reach(&first)), "reached");
}

/// Somebody's public address, which nothing here ever connects to.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);

#[test]
fn a_name_that_turns_to_this_machine_is_refused() {
    let world = World::new();
    let server = Server::counter(free());
    let port = server.port();
    let grants = format!("--allow-net=loopback.example:{port},private.example:{port}");
    let turn = || {
        for (name, second) in [
            ("loopback.example", server.ip()),
            ("private.example", Ipv4Addr::new(10, 255, 254, 253).into()),
        ] {
            world.name(name, PUBLIC);
            world.dns.ttl(name, 1).then(name, &[second]);
        }
    };
    let reach = format!("reach,loopback.example,{port}");
    let direct = format!("reach,{},{port}", server.ip());
    // The same name twice, told apart by its case.
    let items = [
        "look,loopback.example",
        "look,private.example",
        "wait,1.6",
        "look,LOOPBACK.example",
        "look,PRIVATE.example",
        &reach,
        &direct,
    ];
    let outside = world.python_outside(&[&direct]);
    assert_eq!(answer(&outside, &direct), "reached");
    let before = server.hits();
    turn();
    let outcome = world.python(&[&grants], &items);
    for name in ["loopback", "private"] {
        assert_eq!(
            answer(&outcome, &format!("look,{name}.example")),
            PUBLIC.to_string()
        );
        let second = format!("look,{}.example", name.to_uppercase());
        assert!(
            answer(&outcome, &second).starts_with("error"),
            "{outcome:?}"
        );
        outcome.expect_error(&format!("--allow-private={name}.example"));
    }
    outcome.expect_error(&format!("it leads to `{}`", server.ip()));
    assert!(answer(&outcome, &reach).starts_with("err"), "{outcome:?}");
    assert_eq!(answer(&outcome, &direct), "errno 13");
    assert_eq!(server.hits(), before);
    // The one grant that the message names.
    turn();
    let outcome = world.python(&[&grants, "--allow-private=loopback.example"], &items);
    assert_eq!(
        answer(&outcome, "look,LOOPBACK.example"),
        server.ip().to_string()
    );
    assert!(answer(&outcome, "look,PRIVATE.example").starts_with("error"));
    assert_eq!(answer(&outcome, &reach), "reached");
    assert_eq!(answer(&outcome, &direct), "reached");
    assert_eq!(server.hits(), before + 2);
}
