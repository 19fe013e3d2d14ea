// SPDX-License-Identifier: MIT
//! Every denial is told: on the terminal once, in the audit file as one JSON object.

use crate::egress::servers::Server;
use crate::egress::world::{World, address, free};

#[test]
fn denials_are_told_with_what_would_allow_them() {
    let world = World::new();
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    world
        .name("good.test", good.ip())
        .name("evil.test", evil.ip());
    let (ip, port) = (evil.ip(), evil.port());
    let audit = world.project.path("audit.jsonl");
    let grant = format!("--allow-net=good.test:{port}");
    let reach = format!("reach,{ip},{port}");
    let other = format!("reach,good.test,{}", port ^ 1);
    let outcome = world.python(
        &[&grant, &format!("--audit={audit}")],
        &[
            "look,evil.test",
            &reach,
            &reach,
            &reach,
            &other,
            "look,good.test",
        ],
    );
    outcome.expect_success();
    let told: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("denied:"))
        .collect();
    let about = |text: &str| told.iter().filter(|line| line.contains(text)).count();
    assert_eq!(about("evil.test"), 1, "{told:?}");
    // The same denial again is not told again.
    assert_eq!(about(&format!("{ip}:{port}")), 1, "{told:?}");
    assert!(about("good.test") >= 1, "{told:?}");
    outcome.expect_error("--allow-net=evil.test");
    let events: Vec<serde_json::Value> = world
        .project
        .read("audit.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object in each line"))
        .collect();
    assert!(events.len() >= 3, "{events:?}");
    for event in &events {
        for field in ["time", "action", "reason"] {
            assert!(!event[field].is_null(), "{field}: {event}");
        }
    }
    let connects: Vec<_> = events
        .iter()
        .filter(|event| event["action"] == "connect" && event["port"] == port)
        .collect();
    assert!(!connects.is_empty(), "{events:?}");
    assert_eq!(connects[0]["address"], ip.to_string());
    assert!(connects[0]["pid"].is_i64(), "{}", connects[0]);
    let program = connects[0]["program"].to_string();
    assert!(program.contains("python"), "{program}");
    let lookups = events.iter().filter(|event| event["action"] == "resolve");
    assert!(lookups.count() >= 1, "{events:?}");
    // Only what is denied is told.
    let quiet = world.python(&[&grant, "--quiet-denials"], &["look,evil.test", &reach]);
    quiet.expect_success();
    assert!(!quiet.stderr.contains("denied:"), "{quiet:?}");
    let allowed = world.python(&[&grant], &["look,good.test"]);
    allowed.expect_success();
    assert!(!allowed.stderr.contains("denied:"), "{allowed:?}");
    assert_eq!(evil.hits(), 0);
}
