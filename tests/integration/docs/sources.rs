// SPDX-License-Identifier: MIT
//! What the sources keep of themselves: who imports whom, where unsafe code is, how files begin.

use std::path::Path;

use super::{files, read, shown};
use crate::support_life::source;

/// Who may import whom; `src/lib.rs` says it in words.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("policy", &[]),
    ("host", &["sys"]),
    ("plan", &["policy", "host"]),
    // Of `host` and `policy` only types.
    ("confine", &["plan", "host", "policy", "sys"]),
    ("launch", &["confine", "plan", "sys"]),
    // Of `sys` only what replaces a lock.
    (
        "runner",
        &["plan", "policy", "host", "confine", "launch", "sys"],
    ),
    ("sys", &[]),
    ("audit", &["policy"]),
    // Of `policy` only types.
    ("egress", &["plan", "audit", "policy"]),
    // Of `host` and `policy` only types, of `confine` only the filter's compiler.
    (
        "supervisor",
        &[
            "egress", "audit", "plan", "launch", "confine", "host", "policy", "sys",
        ],
    ),
    // Of `plan` and `policy` only types, of `runner` only the chain of configuration files.
    ("task", &["plan", "policy", "host", "runner", "sys"]),
    (
        "cli",
        &[
            "task",
            "policy",
            "host",
            "plan",
            "confine",
            "launch",
            "runner",
            "audit",
            "egress",
            "supervisor",
            "sys",
        ],
    ),
];

/// The top module a source file belongs to.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(source().join("src")).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// The text before the first `#[cfg(test)]`: tests may use more.
fn without_tests(text: &str) -> &str {
    &text[..text.find("#[cfg(test)]").unwrap_or(text.len())]
}

#[test]
fn modules_import_only_what_they_may() {
    for file in files("src", ".rs") {
        let module = module_of(&file).unwrap();
        if ["lib", "main"].contains(&module.as_str()) || file.ends_with("tests.rs") {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{}: a top module without rules", shown(&file)));
        let text = std::fs::read_to_string(&file).unwrap();
        for (start, _) in without_tests(&text).match_indices("crate::") {
            if text[..start]
                .ends_with(|before: char| before.is_ascii_alphanumeric() || before == '$')
            {
                continue;
            }
            let rest = &text[start + "crate::".len()..];
            let names: Vec<String> = if let Some(group) = rest.strip_prefix('{') {
                let inner = group.split('}').next().unwrap();
                inner
                    .split(',')
                    .map(|part| part.trim().split("::").next().unwrap().to_owned())
                    .collect()
            } else {
                vec![
                    rest.chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                        .collect(),
                ]
            };
            for name in names
                .into_iter()
                .filter(|name| MAY_IMPORT.iter().any(|(known, _)| known == name))
            {
                assert!(
                    name == module || allowed.contains(&name.as_str()),
                    "{}: `{module}` may not import `{name}`",
                    shown(&file)
                );
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    for file in files("src", ".rs") {
        let module = module_of(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        if module == "sys" {
            let blocks = text.matches("unsafe {").count() + text.matches("unsafe impl").count();
            let reasons = text.matches("// SAFETY:").count();
            assert!(
                blocks <= reasons,
                "{}: {blocks} unsafe blocks, {reasons} reasons",
                shown(&file)
            );
            continue;
        }
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"] {
            assert!(!text.contains(word), "{}: {word}", shown(&file));
        }
        let is_top = file.parent() == Some(&source().join("src"))
            || file.ends_with("mod.rs")
                && file.parent().and_then(Path::parent) == Some(&source().join("src"));
        if is_top && module != "lib" {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{}", shown(&file));
        }
    }
}

#[test]
fn source_files_start_with_licence_and_responsibility() {
    let ours = files("src", ".rs")
        .into_iter()
        .chain(files("tests", ".rs"))
        .chain(files("build", ".rs"));
    for file in ours.chain([source().join("build.rs")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("// SPDX-License-Identifier: MIT"),
            "{}",
            shown(&file)
        );
        assert!(
            lines.next().is_some_and(|line| line.starts_with("//! ")),
            "{}: the second line says what the file is for",
            shown(&file)
        );
        let count = text.lines().count();
        // Tables of cases may be longer than code.
        let limit = if shown(&file).contains("tests") {
            800
        } else {
            600
        };
        assert!(count <= limit, "{}: {count} lines", shown(&file));
        for word in ["TODO", "FIXME", "XXX"] {
            let marker = format!("{word}:");
            assert!(
                !text.contains(&marker) || file.ends_with("docs/sources.rs"),
                "{}: {word}",
                shown(&file)
            );
        }
    }
}

#[test]
fn only_the_command_line_prints() {
    for file in files("src", ".rs") {
        if module_of(&file).as_deref() == Some("cli") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["println!(", "print!(", "eprintln!(", "dbg!("] {
            assert!(
                !without_tests(&text).contains(word),
                "{}: {word}",
                shown(&file)
            );
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut inside = false;
    let mut reason = false;
    let mut seen = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
            reason = false;
        } else if inside && line.starts_with('#') {
            reason = true;
        } else if inside && line.trim().is_empty() {
            reason = false;
        } else if inside
            && line.contains('=')
            && line.starts_with(|first: char| first.is_ascii_alphabetic())
        {
            seen += 1;
            // One reason may stand above two crates that go together.
            assert!(
                reason || line.starts_with("sha2"),
                "no reason above `{line}`"
            );
        }
    }
    assert!(seen > 10, "{seen} dependencies found");
}

#[test]
fn nothing_names_a_registry_or_a_machine() {
    let names = [
        "registry.npm",
        "pypi.org",
        "crates.io/",
        "/root/",
        "/home/runner",
    ];
    let all = ["src", "build", "policies", "scripts", "examples", ".ci"]
        .iter()
        .flat_map(|directory| files(directory, ""))
        .chain(
            [
                "README.md",
                "SECURITY.md",
                "CHANGELOG.md",
                "build.rs",
                "Cargo.toml",
            ]
            .map(|name| source().join(name)),
        );
    for file in all {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for name in names {
            // `/proc/PID/root/` is no home directory.
            let named = text
                .match_indices(name)
                .any(|(start, _)| !text[..start].ends_with(char::is_alphanumeric));
            assert!(!named, "{} names {name}", shown(&file));
        }
    }
}

#[test]
fn scripts_say_how_they_are_used_and_stop_at_errors() {
    for file in files("scripts", "")
        .into_iter()
        .chain([source().join(".ci/run")])
    {
        use std::os::unix::fs::PermissionsExt;
        let text = std::fs::read_to_string(&file).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} is not executable", shown(&file));
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("#!/usr/bin/env "),
            "{}: {first}",
            shown(&file)
        );
        if first.ends_with("bash") {
            assert!(text.contains("\nset -euo pipefail\n"), "{}", shown(&file));
        }
        assert!(
            text.contains("Usage: ") || file.ends_with(".ci/run"),
            "{}: no usage line",
            shown(&file)
        );
    }
}
