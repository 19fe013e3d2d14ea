// SPDX-License-Identifier: MIT
//! What goes wrong while a program is prepared: too much, too little, cut off. What a failed one leaves
//! is not trusted by a later one.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::registry::Registry;
use super::{with_cache, with_registry};
use crate::machine::superuser;
use crate::support::Project;
use crate::support_life::{assert_ends, scrub, skip};

/// Longer than a stamp distrusts a changed file.
const SETTLE: Duration = Duration::from_millis(2200);

/// The stamps of a project's cache, with their times.
fn stamps(project: &Project) -> Vec<(PathBuf, SystemTime)> {
    let mut open = vec![project.directory().join(".stockade-cache/programs")];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name() == "stamp.json" {
                let changed = entry.metadata().unwrap().modified().unwrap();
                found.push((entry.path(), changed));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn five_thousand_modules_are_prepared_once() {
    const COUNT: usize = 5000;
    let project = Project::new();
    // A tree of ten branches at each module.
    for index in 0..COUNT {
        let mut text = String::new();
        for child in (index * 10 + 1..=index * 10 + 10).filter(|child| *child < COUNT) {
            let _ = writeln!(text, "import {{ n as n{child} }} from './m{child}.js';");
        }
        text.push_str("export const n = 1");
        for child in (index * 10 + 1..=index * 10 + 10).filter(|child| *child < COUNT) {
            let _ = write!(text, " + n{child}");
        }
        text.push(';');
        project.write(&format!("lib/m{index}.js"), &text);
    }
    project.write(
        "main.js",
        "import { n } from './lib/m0.js'; console.log(n);",
    );
    std::thread::sleep(SETTLE);
    let run = || with_cache(&project, &["run", "main.js"]).run();
    run().expect_output("5000\n");
    let first = stamps(&project);
    assert_eq!(first.len(), 1);
    run().expect_output("5000\n");
    assert_eq!(stamps(&project), first);
    project.write("lib/m4999.js", "export const n = 2;");
    run().expect_output("5001\n");
    assert_ne!(stamps(&project), first);
}

/// Text that does not compress.
fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = write!(text, "{state:016x}");
    }
    text
}

#[test]
fn a_full_disk_stops_a_download_and_leaves_nothing() {
    let mut registry = Registry::new();
    let large = format!("module.exports = '{}'.length;", noise(6 << 20));
    registry.package("large", "1.0.0", json!({}), &[("index.js", &large)]);
    let project = Project::new()
        .file(
            "main.ts",
            "import size from 'npm:large@1'; console.log(size as number > 6e6);",
        )
        .file("small/keep", "");
    // The first run has no room, the second one has.
    let line = r#"
        mount -t tmpfs -o size=3m,mode=700 tmpfs small || exit 99
        "$@"; echo "first $?"
        mount -o remount,size=64m small || exit 99
        "$@"; echo "second $?""#;
    // Only root may mount wherever the tests run; what is tested is the same for every user.
    if !superuser() {
        return;
    }
    let outcome = with_registry(&project, &registry, &["run", "main.ts"])
        .env("STOCKADE_CACHE", project.path("small"))
        .through_shell(&format!("exec unshare --mount sh -c '{line}' sh \"$@\""))
        .run();
    if outcome.code == Some(99) || outcome.stderr.starts_with("unshare:") {
        return skip("needs the right to mount a tmpfs");
    }
    outcome.expect_success();
    let (first, second) = outcome.stdout.split_once('\n').unwrap();
    assert!(["first 1", "first 125"].contains(&first), "{outcome:?}");
    assert_eq!(second, "true\nsecond 0\n", "{outcome:?}");
    outcome.expect_error("No space left on device");
}

#[test]
fn a_registry_that_says_nothing_is_left_by_a_signal() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let project = Project::new().file("main.ts", "import 'npm:silent@1';");
    let mut child = with_cache(&project, &["run", "main.ts"])
        .env("NPM_CONFIG_REGISTRY", &url)
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is asked, and the user is told of whom.
    let (mut asked, _) = listener.accept().unwrap();
    let mut head = [0; 3];
    asked.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"GET");
    let mut told = String::new();
    let mut output = child.stderr.take().unwrap();
    while !told.ends_with('\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        told.push(char::from(byte[0]));
    }
    assert_eq!(told, format!("Download {url}silent\n"));
    let pid = i32::try_from(child.id()).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<i32> = children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(!children.is_empty());
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    for child in children {
        assert_ends(child, "the download");
    }
}

#[test]
fn a_download_that_was_cut_off_is_not_trusted() {
    let mut registry = Registry::new();
    let files = [("index.js", "module.exports = 'whole';")];
    registry.package("cut", "1.0.0", json!({}), &files);
    let project = Project::new().file(
        "main.ts",
        "import text from 'npm:cut@1'; console.log(text as string);",
    );
    let whole = registry.served("/cut/-/1.0.0.tgz").unwrap();
    let half = &whole[..whole.len() / 2];
    registry.file("/cut/-/1.0.0.tgz", half);
    let run = || with_registry(&project, &registry, &["run", "main.ts"]).run();
    run().expect_code(1).expect_error("checksum");
    registry.file("/cut/-/1.0.0.tgz", whole);
    let run = || with_registry(&project, &registry, &["run", "main.ts"]).run();
    run().expect_output("whole\n");
    // The list of versions, and the package's own description.
    for name in ["registry.json", "package.json"] {
        let found = find(&project.directory().join(".stockade-cache/downloads"), name);
        assert_eq!(found.len(), 1, "{found:?}");
        std::fs::write(&found[0], "{\"na").unwrap();
        std::fs::remove_dir_all(project.path(".stockade-cache/programs")).unwrap();
        let outcome = run();
        assert!([Some(0), Some(1)].contains(&outcome.code), "{outcome:?}");
        with_registry(&project, &registry, &["run", "--reload", "main.ts"])
            .run()
            .expect_output("whole\n");
    }
}

/// Files of this name below a directory.
fn find(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path(), name));
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn packages_that_want_different_versions_each_get_theirs() {
    let mut registry = Registry::new();
    for version in ["1.0.0", "2.0.0"] {
        let text = format!("module.exports = 'inner {version}';");
        registry.package("inner", version, json!({}), &[("index.js", &text)]);
    }
    let inner = [("index.js", "module.exports = require('inner');")];
    registry
        .package(
            "one",
            "1.0.0",
            json!({"dependencies": {"inner": "1"}}),
            &inner,
        )
        .package(
            "two",
            "1.0.0",
            json!({"dependencies": {"inner": "2"}}),
            &inner,
        )
        .package(
            "none",
            "1.0.0",
            json!({"dependencies": {"inner": "3"}}),
            &inner,
        );
    let project = Project::new().file(
        "main.ts",
        "import a from 'npm:one'; import b from 'npm:two'; console.log(a as string, b as string);",
    );
    let run = || with_registry(&project, &registry, &["run", "main.ts"]).run();
    run().expect_output("inner 1.0.0 inner 2.0.0\n");
    project.write("main.ts", "import 'npm:none';");
    run().expect_code(1).expect_error("'inner' matching '3'");
}

#[test]
fn a_workspace_that_contains_itself_is_an_error() {
    let project = Project::new()
        .file("deno.json", r#"{"workspace": ["./a"]}"#)
        .file("a/deno.json", r#"{"workspace": ["../"]}"#)
        .file("a/main.ts", "console.log('ran');");
    let outcome = with_cache(&project, &["run", "a/main.ts"]).run();
    let bare = project.bare(&["run", "a/main.ts"]).run();
    assert_ne!(bare.code, Some(0), "{bare:?}");
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: the configuration file `[DIR]/deno.json` leads to `[DIR]/deno.json`, outside its project
    hint: `--allow-read=[DIR]/deno.json` allows it, `--no-config` ignores it
    ");
}
