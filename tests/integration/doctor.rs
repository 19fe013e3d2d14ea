// SPDX-License-Identifier: MIT
//! `stockade doctor`: what this kernel can hold, for people and for programs.

use crate::support::Project;

#[test]
fn this_machine_holds_the_floor() {
    let project = Project::new();
    let outcome = project.stockade(&["doctor"]).run();
    outcome.expect_success();
    assert_eq!(outcome.stderr, "");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    for needed in [release.trim(), "Landlock", "seccomp"] {
        assert!(
            outcome.stdout.contains(needed),
            "no {needed:?} in\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn json_names_the_facts() {
    let project = Project::new();
    let outcome = project.stockade(&["doctor", "--json"]).run();
    outcome.expect_success();
    let facts: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let text = facts.to_string();
    for key in ["landlock_abi", "seccomp_filter", "release", "machine"] {
        assert!(text.contains(&format!("\"{key}\"")), "no {key} in {text}");
    }
    assert_eq!(
        outcome.stdout,
        project.stockade(&["doctor", "--json"]).run().stdout,
        "the same machine gives the same bytes"
    );
}

#[test]
fn a_machine_below_the_floor_fails() {
    let project = Project::new();
    for abi in ["0", "1"] {
        for words in [&["doctor"][..], &["doctor", "--json"]] {
            let outcome = project
                .stockade(words)
                .env("STOCKADE_LANDLOCK_ABI", abi)
                .run();
            outcome.expect_code(1);
            assert!(!outcome.stdout.is_empty());
        }
    }
    project
        .stockade(&["doctor"])
        .env("STOCKADE_LANDLOCK_ABI", "2")
        .run()
        .expect_success();
}

#[test]
fn a_lowered_abi_is_shown_with_what_it_lacks() {
    let project = Project::new();
    let full = project.stockade(&["doctor"]).run().stdout;
    let lowered = project
        .stockade(&["doctor"])
        .env("STOCKADE_LANDLOCK_ABI", "3")
        .run();
    lowered.expect_success();
    assert_ne!(full, lowered.stdout);
    assert!(lowered.stdout.contains("--allow-run"), "{}", lowered.stdout);
}

#[test]
fn a_cap_that_is_no_number_is_refused() {
    let project = Project::new();
    for abi in ["", "x", "-1", "300"] {
        let outcome = project
            .stockade(&["doctor"])
            .env("STOCKADE_LANDLOCK_ABI", abi)
            .run();
        assert!(
            outcome.code == Some(125) || outcome.code == Some(0),
            "{abi:?}: {outcome:?}"
        );
        // A cap that cannot be read must never raise what the kernel has.
        if outcome.code == Some(0) {
            assert_eq!(
                outcome.stdout,
                project.stockade(&["doctor"]).run().stdout,
                "{abi:?}"
            );
        }
    }
}
