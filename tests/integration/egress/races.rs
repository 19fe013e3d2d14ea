// SPDX-License-Identifier: MIT
//! Callers that are many, change their minds, are interrupted or killed: never a wrong connection,
//! never a lost one.

use std::collections::BTreeMap;

use crate::egress::servers::Server;
use crate::egress::world::{World, address, compiled, free};
use crate::support::Outcome;

const RACE: &str = include_str!("../../data/net/race.c");

/// The program of the races.
pub(crate) fn race_program() -> String {
    compiled("race", RACE, &["-lpthread"])
}

/// A granted server, one that is not, and the numbers a race comes to.
struct Race {
    world: World,
    good: Server,
    evil: Server,
}

type Numbers = BTreeMap<String, usize>;

impl Race {
    fn new() -> Self {
        let good = Server::counter(free());
        let evil = Server::counter((address(), good.port()).into());
        Self {
            world: World::new(),
            good,
            evil,
        }
    }

    fn command(&self, mode: &str, count: usize) -> Vec<String> {
        vec![
            race_program(),
            mode.to_owned(),
            count.to_string(),
            self.good.ip().to_string(),
            self.good.port().to_string(),
            self.evil.ip().to_string(),
            self.evil.port().to_string(),
        ]
    }

    fn outside(&self, mode: &str, count: usize) -> Numbers {
        let command = self.command(mode, count);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        numbers(&self.world.outside(&command))
    }

    /// Races outside until one is lost: how often the other server was hit.
    fn lost_outside(&self, modes: &[&str]) -> usize {
        for _ in 0..50 {
            for mode in modes {
                self.outside(mode, 5000);
            }
            let hits = self.evil.hits();
            if hits > 0 {
                return hits;
            }
        }
        panic!("the control never hit the other server");
    }

    fn inside(&self, mode: &str, count: usize) -> Numbers {
        let command = self.command(mode, count);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let grant = format!("--allow-net={}", self.good.address());
        numbers(&self.world.child(&[&grant], &command))
    }
}

/// A server's count, once it has counted everybody who came before: it does so after its kernel has
/// made the connection.
fn settled(server: &Server) -> usize {
    let mut count = server.hits();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = server.hits();
        if now == count {
            return now;
        }
        count = now;
    }
}

#[track_caller]
fn numbers(outcome: &Outcome) -> Numbers {
    outcome.expect_success();
    outcome
        .stdout
        .lines()
        .map(|line| {
            let (word, number) = line.split_once(' ').unwrap();
            (word.to_owned(), number.parse().unwrap())
        })
        .collect()
}

#[test]
fn an_address_rewritten_during_the_call_changes_nothing() {
    let race = Race::new();
    race.lost_outside(&["rewrite"]);
    let control = settled(&race.evil);
    let seen = race.inside("rewrite", 5000);
    assert_eq!(race.evil.hits(), control, "{seen:?}");
    // Both sides of the race were seen.
    assert!(seen["done"] > 0 && seen["refused"] > 0, "{seen:?}");
    assert_eq!(seen["other"], 0, "{seen:?}");
}

#[test]
fn a_descriptor_swapped_during_the_call_changes_nothing() {
    let race = Race::new();
    let control = race.lost_outside(&["swapped", "reused"]);
    let good = race.good.hits();
    for mode in ["swapped", "reused"] {
        let seen = race.inside(mode, 5000);
        assert_eq!(race.evil.hits(), control, "{mode}: {seen:?}");
        let all = seen["done"] + seen["refused"] + seen["other"];
        assert_eq!(all, 5000, "{mode}: {seen:?}");
    }
    assert!(race.good.hits() > good);
}

#[test]
fn callers_killed_in_the_call_leave_the_others_served() {
    let race = Race::new();
    let control = race.outside("killed", 60);
    assert_eq!(control["done"], 100, "{control:?}");
    let before = race.evil.hits();
    assert!(before > 0);
    let seen = race.inside("killed", 60);
    assert_eq!((seen["done"], seen["other"]), (100, 0), "{seen:?}");
    assert_eq!(race.evil.hits(), before);
    assert!(race.good.hits() > 200);
}

#[test]
fn a_thousand_connections_at_once_are_all_made() {
    let race = Race::new();
    for mode in ["nonblocking", "threads"] {
        let control = race.outside(mode, 1000);
        assert_eq!(control["done"], 1000, "{mode} outside: {control:?}");
        let before = settled(&race.good);
        let seen = race.inside(mode, 1000);
        assert_eq!(seen["done"], 1000, "{mode}: {seen:?}");
        assert_eq!(settled(&race.good), before + 1000, "{mode}");
    }
}

#[test]
fn a_storm_of_signals_loses_no_connection() {
    let race = Race::new();
    let control = race.outside("storm", 500);
    assert_eq!(control["done"], 500, "{control:?}");
    let before = race.good.hits();
    let seen = race.inside("storm", 500);
    assert_eq!(seen["done"], 500, "{seen:?}");
    // A call that was interrupted before it was answered may be made twice, on one socket.
    assert!(race.good.hits() >= before + 500);
}
