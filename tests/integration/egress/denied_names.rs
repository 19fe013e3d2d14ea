// SPDX-License-Identifier: MIT
//! Denied names under wider grants: neither by an alias, nor by an address learnt elsewhere.

use libc::EACCES;

use crate::egress::dns_server::Manner;
use crate::egress::names::{NO_NAME, answer};
use crate::egress::servers::Server;
use crate::egress::world::{World, address, free};
use crate::support::Outcome;

/// A good and an evil server on one port, and what a python child sees of them by their addresses.
struct Two {
    world: World,
    good: Server,
    evil: Server,
}

impl Two {
    fn new() -> Self {
        let good = Server::counter(free());
        let evil = Server::counter((address(), good.port()).into());
        let world = World::new();
        world
            .name("good.test", good.ip())
            .name("evil.test", evil.ip());
        Self { world, good, evil }
    }

    fn reach(&self) -> [String; 2] {
        [&self.good, &self.evil].map(|server| format!("reach,{},{}", server.ip(), server.port()))
    }

    /// What happens to a connection to each of them, behind other items.
    #[track_caller]
    fn expect(&self, flags: &[&str], route: &str, expected: [&str; 2]) -> Outcome {
        let reach = self.reach();
        let command = crate::egress::world::python_command(&[&reach[0], &reach[1]]);
        let launch = self.world.child_launch(flags, &command);
        let outcome = launch.env("STOCKADE_SOCKET_ROUTE", route).run();
        let seen = [&reach[0], &reach[1]].map(|item| answer(&outcome, item).to_owned());
        assert_eq!(seen, expected, "{flags:?} {route} {outcome:?}");
        outcome
    }
}

const ROUTES: [&str; 2] = ["getfd", "inject"];

#[test]
fn the_address_of_a_denied_name_is_denied_under_the_bare_grant() {
    let two = Two::new();
    let denied = format!("errno {EACCES}");
    let reach = two.reach();
    let outside = two.world.python_outside(&[&reach[1]]);
    assert_eq!(answer(&outside, &reach[1]), "reached");
    let before = two.evil.hits();
    for route in ROUTES {
        let flags = ["--allow-net", "--deny-net=evil.test"];
        let outcome = two.expect(&flags, route, ["reached", &denied]);
        outcome.expect_error("`evil.test` leads there, which a rule denies");
        let port = format!("--deny-net=evil.test:{}", two.evil.port());
        two.expect(&["--allow-net", &port], route, ["reached", &denied]);
    }
    assert_eq!(two.evil.hits(), before);
    // Denials of other names and ports are the same grant's twins.
    for route in ROUTES {
        for other in ["--deny-net=other.test", "--deny-net=evil.test:1"] {
            two.expect(&["--allow-net", other], route, ["reached", "reached"]);
        }
    }
}

#[test]
fn the_address_of_a_denied_name_is_denied_under_grants_of_addresses_and_wildcards() {
    let two = Two::new();
    let denied = format!("errno {EACCES}");
    let both = format!("--allow-net={},{}", two.good.address(), two.evil.address());
    two.expect(
        &[&both, "--deny-net=evil.test"],
        "getfd",
        ["reached", &denied],
    );
    two.expect(&[&both], "getfd", ["reached", "reached"]);

    // Two names on one address, of which nothing is checked at this port.
    two.world
        .name("a.front.test", two.evil.ip())
        .name("b.front.test", two.evil.ip());
    let reach = two.reach();
    let items = ["look,a.front.test", &reach[1], "look,b.front.test"];
    let before = two.evil.hits();
    let wildcard = "--allow-net=*.front.test";
    let outcome = two
        .world
        .python(&[wildcard, "--deny-net=b.front.test"], &items);
    assert_eq!(answer(&outcome, items[0]), two.evil.ip().to_string());
    assert_eq!(answer(&outcome, items[1]), denied);
    assert_eq!(answer(&outcome, items[2]), format!("error {NO_NAME}"));
    assert_eq!(two.evil.hits(), before);
    let outcome = two.world.python(&[wildcard], &items);
    assert_eq!(answer(&outcome, items[1]), "reached");
    // Where the name is checked, the denied one cannot be said: the front stays open to the others.
    let verify = format!("--verify=*.front.test:{}=sni", two.evil.port());
    let flags = [wildcard, "--deny-net=b.front.test", &verify];
    let outcome = two.world.python(&flags, &items);
    assert_eq!(answer(&outcome, items[1]), "reached");
}

#[test]
fn an_answer_by_way_of_a_denied_alias_is_refused() {
    let two = Two::new();
    two.world
        .dns
        .alias("way.test", "x.evil.test")
        .alias("x.evil.test", "evil.test");
    let reach = two.reach();
    let items = ["look,way.test", &reach[1], "look,good.test"];
    let denied = format!("errno {EACCES}");
    let outside = two.world.python_outside(&[&reach[1]]);
    assert_eq!(answer(&outside, &reach[1]), "reached");
    let before = two.evil.hits();
    for deny in ["--deny-net=*.evil.test", "--deny-net=evil.test"] {
        for grant in ["--allow-net", "--allow-net=*.test"] {
            let outcome = two.world.python(&[grant, deny], &items);
            assert_eq!(answer(&outcome, items[0]), format!("error {NO_NAME}"));
            assert_eq!(answer(&outcome, items[1]), denied, "{grant} {deny}");
            assert_eq!(answer(&outcome, items[2]), two.good.ip().to_string());
            outcome.expect_error("it is an alias of `");
        }
    }
    assert_eq!(two.evil.hits(), before);
    let outcome = two
        .world
        .python(&["--allow-net=*.test", "--deny-net=good.test"], &items);
    assert_eq!(answer(&outcome, items[0]), two.evil.ip().to_string());
    assert_eq!(answer(&outcome, items[1]), "reached");
}

#[test]
fn a_silent_name_server_holds_nobody_up() {
    let two = Two::new();
    two.world.dns.manner("evil.test", Manner::Silent);
    two.expect(
        &["--allow-net", "--deny-net=evil.test"],
        "getfd",
        ["reached", "reached"],
    );
    // Nor is it asked by a program that uses no network.
    let before = two.world.dns.packets();
    assert!(before > 0);
    let flags = ["--allow-net", "--deny-net=evil.test"];
    two.world.python(&flags, &["wait,0"]).expect_success();
    assert_eq!(two.world.dns.packets(), before);
}
