// SPDX-License-Identifier: MIT
//! The supervisor's own table: against the calls of the kernel, and against the target's.

use std::collections::BTreeSet;

use super::*;
use crate::plan::syscalls::OperandValues;

const VALUES: OperandValues = OperandValues {
    own_pid: 1,
    secrets: [0; 3],
};

const ARCHITECTURES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

/// A target that may do as much as a supervised one can.
fn target(attributes: bool) -> Facts {
    target_that(attributes, false)
}

fn target_that(attributes: bool, writes: bool) -> Facts {
    Facts {
        processes: true,
        internet: true,
        kept: false,
        unix: true,
        netlink: false,
        devices: false,
        supervised: Supervised {
            network: true,
            attributes,
            writes,
            injected: false,
        },
        landlock_abi: 6,
    }
}

fn rule(rules: &[Rule], name: &str) -> Rule {
    rules
        .iter()
        .find(|rule| rule.name == name)
        .unwrap_or_else(|| panic!("{name} is no call"))
        .clone()
}

fn action(rules: &[Rule], name: &str, arguments: [u64; 6]) -> Action {
    rule(rules, name).verdict.action(&arguments, &VALUES)
}

#[test]
fn every_call_that_is_named_here_exists() {
    let known: BTreeSet<&str> = ARCHITECTURES
        .iter()
        .flat_map(|architecture| syscalls::table(&target(true), *architecture))
        .map(|rule| rule.name)
        .collect();
    for name in NEEDED.iter().chain(&REFUSED).chain([&UNSEEN]) {
        assert!(known.contains(name), "{name}");
    }
    let changes = |rule: &Rule| rule.reason.starts_with(ATTRIBUTES);
    let table = syscalls::table(&target(true), Architecture::NATIVE);
    assert!(table.iter().filter(|rule| changes(rule)).count() > 10);
}

#[test]
fn what_the_supervisor_lives_by_is_allowed() {
    let rules = table_for(&target(true));
    for name in NEEDED.iter().chain(&[
        "fchmodat",
        "connect",
        "bind",
        "listen",
        "umask",
        "fchdir",
        "unlinkat",
        "sendmmsg",
        "epoll_ctl",
    ]) {
        assert_eq!(action(&rules, name, [0; 6]), Action::Allow, "{name}");
    }
}

#[test]
fn nothing_is_executed_made_or_opened_for_writing() {
    for attributes in [false, true] {
        let rules = table_for(&target(attributes));
        for name in REFUSED {
            if rules.iter().any(|rule| rule.name == name) {
                let refused = Verdict::Always(Action::Refuse(Refusal::Eperm));
                assert_eq!(rule(&rules, name).verdict, refused, "{name}");
            }
        }
        for name in ["execve", "execveat", "clone", "linkat", "renameat2"] {
            assert_ne!(action(&rules, name, [0; 6]), Action::Allow, "{name}");
        }
        let unseen = Verdict::Always(Action::Refuse(Refusal::Enosys));
        assert_eq!(rule(&rules, "openat2").verdict, unseen);
        assert_eq!(rule(&rules, "clone3").verdict, unseen);
        for flags in [1, 2, 3, 0o100, 0o1000, 0o20_200_002, 0o2001] {
            let arguments = [0, 0, flags, 0, 0, 0];
            assert_ne!(
                action(&rules, "openat", arguments),
                Action::Allow,
                "{flags:o}"
            );
        }
        for flags in [0, 0o2_000_000, 0o12_000_000, 0o200_000, 0o2_400_000] {
            let arguments = [0, 0, flags, 0, 0, 0];
            assert_eq!(
                action(&rules, "openat", arguments),
                Action::Allow,
                "{flags:o}"
            );
        }
    }
}

#[test]
fn what_is_refused_to_the_target_and_not_needed_is_refused_here_too() {
    for attributes in [false, true] {
        let target = target(attributes);
        let rules = table_for(&target);
        for theirs in syscalls::table(&target, Architecture::NATIVE) {
            let Verdict::Always(Action::Refuse(_)) = theirs.verdict else {
                continue;
            };
            if NEEDED.contains(&theirs.name) {
                continue;
            }
            let own = rule(&rules, theirs.name).verdict;
            assert!(
                matches!(own, Verdict::Always(Action::Refuse(_))),
                "{}: {own:?}",
                theirs.name
            );
        }
    }
}

#[test]
fn nothing_is_asked_and_no_call_is_left_out() {
    let rules = table_for(&target(true));
    let target = syscalls::table(&target(true), Architecture::NATIVE);
    assert_eq!(rules.len(), target.len());
    for rule in &rules {
        let actions = match &rule.verdict {
            Verdict::Always(action) => vec![*action],
            Verdict::Cases { cases, otherwise } => cases
                .iter()
                .map(|case| case.action)
                .chain([*otherwise])
                .collect(),
        };
        assert!(!actions.contains(&Action::Ask), "{}", rule.name);
    }
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    let verdict = nothing_typed();
    let action = |request: u64| verdict.action(&[0, request, 0, 0, 0, 0], &VALUES);
    for request in [0x5412, 0x541c, 0x5423, 0xdead_beef_0000_5412] {
        assert_ne!(action(request), Action::Allow, "{request:x}");
    }
    for request in [0xc050_2100, 0x5401, 0x5413, 0x5402] {
        assert_eq!(action(request), Action::Allow, "{request:x}");
    }
}

#[test]
fn writes_on_behalf_are_made_by_one_name_and_nothing_is_executed() {
    let rules = table_for(&target_that(true, true));
    for name in BROKERED {
        assert_eq!(action(&rules, name, [0; 6]), Action::Allow, "{name}");
    }
    for flags in [0o101, 0o1002, 0o20_200_002] {
        let arguments = [0, 0, flags, 0, 0, 0];
        assert_eq!(action(&rules, "openat", arguments), Action::Allow);
    }
    for name in REFUSED.iter().filter(|name| !BROKERED.contains(name)) {
        if rules.iter().any(|rule| rule.name == *name) {
            assert_ne!(action(&rules, name, [0; 6]), Action::Allow, "{name}");
        }
    }
    let unseen = Verdict::Always(Action::Refuse(Refusal::Enosys));
    assert_eq!(rule(&rules, "openat2").verdict, unseen);
}
