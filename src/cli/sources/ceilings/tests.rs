// SPDX-License-Identifier: MIT
//! Ceilings on machines made of values.

use super::super::compose;
use super::*;
use crate::cli::invocation::Sources;
use crate::host::fake::FakeHost;
use crate::policy::flags::{PermissionFlag, parse_flags};

fn flags(line: &str) -> Policy {
    parse_flags(line.split_whitespace().map(|flag| {
        let (flag, value) = flag
            .split_once('=')
            .map_or((flag, None), |(flag, value)| (flag, Some(value)));
        PermissionFlag { flag, value }
    }))
    .unwrap()
}

fn host(system: &str) -> FakeHost {
    FakeHost::new()
        .with_environment(&[("HOME", "/"), ("XDG_CACHE_HOME", "/"), ("PATH", "/evil")])
        .with_current_directory("/w")
        .with_directory("/w")
        .with_file("/home/a/x", "")
        .with_file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\na:x:1000:1000::/home/a:/bin/sh\n",
        )
        .with_file(SYSTEM, system)
        .owned(SYSTEM, 0, 0o644)
}

/// The message, or nothing when the grants are inside.
fn refusal(host: &FakeHost, line: &str, settings: Settings) -> Option<String> {
    compose(flags(line), settings, Path::new("/w"), None, host)
        .err()
        .map(|error| error.to_string())
}

#[test]
fn the_system_wide_ceiling_needs_no_flag() {
    let host = host("version: 1\npermissions: {read: [\"${HOME}\"]}\n");
    let none = Settings::default;
    assert_eq!(refusal(&host, "--allow-read=/home/a/x", none()), None);
    assert_eq!(
        refusal(&host, "--allow-read=/etc", none()).as_deref(),
        Some(
            "`--allow-read=/etc` grants read of `/etc`, which is outside the ceiling: \
             `/etc/stockade/ceiling.yaml:2:15`"
        ),
        "the home directory is the one of the user database, not of the environment"
    );
    assert_eq!(
        refusal(&host.clone().without(SYSTEM), "--allow-read=/etc", none()),
        None
    );
    let best_effort = Settings {
        best_effort: true,
        ..none()
    };
    assert!(refusal(&host, "", best_effort).is_some());
    assert_eq!(refusal(&host, "", none()), None);
}

#[test]
fn a_system_wide_ceiling_that_others_can_write_stops_every_run() {
    let host = host("version: 1\npermissions: {all: true}\n");
    assert_eq!(refusal(&host, "--allow-all", Settings::default()), None);
    for (uid, mode) in [(1000, 0o644), (0, 0o664), (0, 0o646)] {
        let host = host.clone().owned(SYSTEM, uid, mode);
        let message = refusal(&host, "", Settings::default()).unwrap();
        assert!(
            message.contains("only the superuser can write"),
            "{message}"
        );
    }
    let directory = host.clone().without(SYSTEM).with_directory(SYSTEM);
    assert!(refusal(&directory, "", Settings::default()).is_some());
    for text in ["", "version: 1\nruner: x\n", "version: 1\naudit: /x\n"] {
        let wrong = host.clone().with_file(SYSTEM, text).owned(SYSTEM, 0, 0o644);
        assert!(refusal(&wrong, "", Settings::default()).is_some(), "{text}");
    }
    for variable in ["PROJECT", "CACHE"] {
        let text = format!("version: 1\npermissions: {{read: ['${{{variable}}}']}}\n");
        let wrong = host.clone().with_file(SYSTEM, text).owned(SYSTEM, 0, 0o644);
        let message = refusal(&wrong, "", Settings::default()).unwrap();
        assert!(message.contains("whoever starts"), "{message}");
    }
}

#[test]
fn programs_of_a_ceiling_are_the_systems() {
    let host = host("version: 1\npermissions: {run: [git]}\n")
        .with_file("/usr/bin/git", "")
        .executable("/usr/bin/git");
    assert_eq!(
        refusal(&host, "--allow-run=/usr/bin/git", Settings::default()),
        None
    );
    assert_eq!(
        refusal(&host, "--allow-run=git", Settings::default()),
        None,
        "it is not in PATH, and grants nothing"
    );
    let evil = host.with_file("/evil/git", "").executable("/evil/git");
    assert!(refusal(&evil, "--allow-run=git", Settings::default()).is_some());
}

fn timeout(seconds: u64) -> Timeout {
    Timeout {
        after: std::time::Duration::from_secs(seconds),
        origin: Origin::flag("--timeout", None),
    }
}

#[test]
fn every_ceiling_bounds() {
    let host = host("version: 1\npermissions: {read: [/w], net: true}\nlimits: {memory: 1g, timeout: 1m}\n")
        .with_file("/w/c.yaml", "version: 1\npermissions: {read: [., /etc], net: {allow: true, deny: [a.b]}}\nlimits: {timeout: 30}\n")
        .with_directory("/w/data");
    let settings = |timeout| Settings {
        sources: Sources {
            ceilings: vec!["c.yaml".into()],
            ..Sources::default()
        },
        timeout,
        ..Settings::default()
    };
    assert_eq!(
        refusal(&host, "--allow-read=data --allow-net=c.d", settings(None)),
        None
    );
    let both = refusal(&host, "--allow-read=/etc --allow-net=a.b", settings(None)).unwrap();
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(
        both.contains("ceiling.yaml:2:15") && both.contains("c.yaml:2:58"),
        "{both}"
    );
    let longer = settings(Some(timeout(45)));
    assert!(refusal(&host, "", longer).is_some());
    let composed = compose(
        flags("--allow-read=data --allow-net"),
        settings(None),
        Path::new("/w"),
        None,
        &host,
    )
    .unwrap();
    assert_eq!(
        composed
            .settings
            .timeout
            .map(|timeout| timeout.after.as_secs()),
        Some(30)
    );
    assert_eq!(composed.settings.limits.iter().count(), 1);
    assert_eq!(
        composed.policy.net.deny.entries.len(),
        1,
        "its denials are denials"
    );
    assert_eq!(
        composed.policy.read.allow.entries[0].descriptor.judged,
        Some("/w/data".into())
    );
}

#[test]
fn a_grant_is_held_to_the_look_it_was_judged_by() {
    let host = host("version: 1\npermissions: {read: [\"${HOME}\"]}\n")
        .with_directory("/secret")
        .with_turning_link("/w/turns", "/home/a/x", "/secret");
    let grant = flags("--allow-read=turns");
    let composed = compose(grant, Settings::default(), Path::new("/w"), None, &host).unwrap();
    assert_eq!(
        composed.policy.read.allow.entries[0].descriptor.judged,
        Some("/home/a/x".into())
    );
    assert!(refusal(&host, "--allow-read=turns", Settings::default()).is_some());
}
