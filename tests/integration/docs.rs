// SPDX-License-Identifier: MIT
//! Whether the documentation says what the code does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::Project;
use crate::support_life::{project, source};

mod sources;

fn read(name: &str) -> String {
    std::fs::read_to_string(source().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Files below a directory of the source tree whose names end so.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![source().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {directory}");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(source())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Words of a text that start with `--` and a letter.
fn long_flags(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("--") {
        if text[..start].ends_with(|before: char| before == '-' || before.is_ascii_alphanumeric()) {
            continue;
        }
        let name: String = text[start + 2..]
            .chars()
            .take_while(|character| character.is_ascii_lowercase() || *character == '-')
            .collect();
        if name.starts_with(|first: char| first.is_ascii_lowercase()) {
            found.insert(format!("--{}", name.trim_end_matches('-')));
        }
    }
    found
}

fn help(words: &[&str]) -> String {
    let outcome = Project::new().stockade(words).run();
    outcome.expect_success();
    outcome.stdout
}

/// The section of a markdown text under one heading.
fn section(text: &str, heading: &str) -> String {
    let start = text
        .find(&format!("## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading:?}"));
    let body = &text[start + heading.len() + 4..];
    body[..body.find("\n## ").unwrap_or(body.len())].to_owned()
}

#[test]
fn every_flag_in_the_readme_exists() {
    let known: BTreeSet<String> = [
        "run", "serve", "eval", "exec", "test", "check", "cache", "task", "explain", "doctor",
        "policy",
    ]
    .iter()
    .flat_map(|command| long_flags(&help(&[command, "--help"])))
    .collect();
    // Flags of cargo and systemd-run, which the README names too.
    let other = [
        "--release",
        "--path",
        "--no-default-features",
        "--deny",
        "--scope",
        "--user",
    ];
    for flag in long_flags(&read("README.md")) {
        assert!(
            known.contains(&flag) || other.contains(&flag.as_str()),
            "the README names {flag}, which no help text does"
        );
    }
}

#[test]
fn every_permission_is_in_the_readmes_table() {
    let table = section(&read("README.md"), "Flags and walls");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .collect();
    for flag in long_flags(&help(&["run", "--help"])) {
        if flag.starts_with("--allow-")
            && !["--allow-scripts", "--allow-hrtime", "--allow-private"].contains(&flag.as_str())
        {
            assert!(
                rows.iter()
                    .any(|row| row.starts_with(&format!("| `{flag}`"))),
                "{flag} has no row in the README's table"
            );
        }
    }
}

#[test]
fn exit_codes_in_the_readme_are_real() {
    let table = section(&read("README.md"), "Exit codes");
    let project = project("setInterval(() => {}, 1000)");
    let timed = project
        .stockade(&["run", "--timeout=100ms", "main.ts"])
        .run();
    let refused = project.stockade(&["run", "missing.ts"]).run();
    let yes = ["exec", "--output-size=1k", "--", "yes"];
    let too_much = project.stockade(&yes).run();
    for code in [timed.code, refused.code, too_much.code] {
        let code = code.expect("an exit code");
        assert!(
            table.contains(&format!("| {code} ")),
            "{code} is not in the table:\n{table}"
        );
    }
    assert!(
        help(&["--help"]).contains("125"),
        "--help tells the exit codes"
    );
}

#[test]
fn the_man_page_has_every_flag_of_run() {
    let page = help(&["help", "man"]).replace("\\-", "-");
    for flag in long_flags(&help(&["run", "--help"])) {
        assert!(page.contains(&flag), "the man page does not say {flag}");
    }
    assert!(page.contains("125") && page.starts_with(".ie"), "{page}");
}

#[test]
fn every_gap_is_in_the_readme() {
    let readme = section(&read("README.md"), "What is not held");
    let project = Project::new()
        .file("main.ts", "")
        .file("a", "")
        .file("directory/b", "");
    let mut always = 0;
    let mut printed = BTreeSet::new();
    for (flags, abi) in [
        (&[][..], "7"),
        (&["-A"], "7"),
        (&["-A"], "9"),
        (
            &[
                "--allow-write=.",
                "--allow-run=sh",
                "--allow-net",
                "--allow-ffi=./a",
                "--allow-sys",
            ],
            "7",
        ),
        (
            &[
                "--allow-run",
                "--deny-run=sh",
                "--allow-ffi",
                "--allow-read",
            ],
            "7",
        ),
        (&["--allow-net=a.test", "--allow-run"], "7"),
        (&["--allow-net=*.a.test,unix:/x,vsock:3:1"], "9"),
        (&["--allow-net", "--deny-net=a.test"], "7"),
        (&["--allow-net", "--deny-net=*.a.test"], "7"),
        (
            &[
                "--allow-net=a.test",
                "--upstream-proxy=http://192.0.2.1:3128",
            ],
            "7",
        ),
        (&["--allow-net=a.test", "--allow-write=."], "3"),
        (&["exec"], "7"),
        (&["exec", "--deny-run=sh"], "7"),
        (
            &[
                "--memory=1g",
                "--cpu-time=9",
                "--processes=99",
                "--open-files=99",
                "--file-size=1m",
                "--output-size=1m",
                "--allow-run",
                "--best-effort",
            ],
            "7",
        ),
    ] {
        let mut words = vec!["explain", "--json"];
        words.extend(flags);
        words.push("main.ts");
        if flags.first() == Some(&"exec") {
            words.pop();
        }
        let outcome = project
            .stockade(&words)
            .env("STOCKADE_LANDLOCK_ABI", abi)
            .env("STOCKADE_SOCKET_ROUTE", "inject")
            .run();
        outcome.expect_success();
        let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let plan = value.get("plan").unwrap_or(&value);
        for gap in plan["gaps"].as_array().expect("gaps") {
            let what = gap["what"].as_str().expect("what").to_owned();
            always += usize::from(flags.is_empty());
            assert!(
                readme.contains(&format!("* {what}\n")) || readme.ends_with(&format!("* {what}")),
                "the README does not say: {what}"
            );
            printed.insert(what);
        }
    }
    assert!(always > 0, "some gaps are always there");
    for line in readme.lines().filter_map(|line| line.strip_prefix("* ")) {
        // A plan names the denied file.
        let named = line.starts_with("other hard links to and bind mounts of denied files");
        // Whether there is one, and whose, is this machine's.
        let group = line.contains("control group") || line.starts_with("descriptors that are kept");
        assert!(
            named || group || printed.contains(line),
            "no plan says: {line}"
        );
    }
}

#[test]
fn environment_variables_are_documented() {
    let readme = read("README.md");
    let mut used = BTreeSet::new();
    for file in files("src", ".rs").into_iter().chain(files("build", ".rs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (start, _) in text.match_indices("STOCKADE_") {
            let name: String = text[start..]
                .chars()
                .take_while(|character| character.is_ascii_uppercase() || *character == '_')
                .collect();
            used.insert(name);
        }
    }
    // Passed from the build script to the compiler, and to nobody else.
    let internal = [
        "STOCKADE_RUNNER_ARCHIVE",
        "STOCKADE_RUNNER_SHA",
        "STOCKADE_RUNNER_VERSION",
    ];
    for name in used {
        assert!(
            internal.contains(&name.as_str()) || readme.contains(&format!("| `{name}` |")),
            "{name} is not in the README"
        );
    }
}

#[test]
fn the_examples_do_what_the_readme_says() {
    let project = Project::new()
        .file("examples/hello.ts", &read("examples/hello.ts"))
        .file("examples/dangerous.ts", &read("examples/dangerous.ts"));
    project
        .stockade(&["run", "examples/hello.ts"])
        .run()
        .expect_output("Hello, world!\n");
    let outcome = project.stockade(&["run", "examples/dangerous.ts"]).run();
    outcome.expect_code(1);
    assert_eq!(outcome.stdout, "");
    let first = outcome.stderr.lines().next().unwrap_or_default();
    assert!(
        read("README.md").contains(&format!("\n{first}\n")),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_two_commands_are_in_the_readme() {
    let readme = read("README.md");
    for command in ["cargo run --release -- run examples/hello.ts", "cargo test"] {
        assert!(readme.contains(&format!("\n{command}\n")), "{command}");
    }
    assert!(read(".ci/run").contains("\ncargo test"));
}

#[test]
fn files_and_links_named_in_the_documents_exist() {
    for document in ["README.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = read(document);
        for (start, _) in text.match_indices("](") {
            let target = text[start + 2..].split(')').next().unwrap();
            if !target.contains("://") {
                assert!(
                    source().join(target).exists(),
                    "{document} links to {target}"
                );
            }
        }
        for name in text.split('`') {
            let is_file = ["examples/", "scripts/", "src/", ".ci/"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_file && !name.contains(' ') {
                assert!(source().join(name).exists(), "{document} names {name}");
            }
        }
    }
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = read("CHANGELOG.md");
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(changelog.contains("## [Unreleased]") || changelog.contains(&version));
}
