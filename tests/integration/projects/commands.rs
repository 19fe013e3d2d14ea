// SPDX-License-Identifier: MIT
//! The commands of a project: `test`, `check`, `cache`, and `--watch`.

use serde_json::json;

use super::registry::Registry;
use super::{with_cache, with_registry};
use crate::support::Project;
use crate::support_life::scrub;
use crate::watching::Watching;

fn tests() -> Project {
    Project::new()
        .file(
            "math_test.ts",
            "Deno.test('adds', () => { if (1 + 1 !== 2) throw new Error('no'); });",
        )
        .file(
            "lib/read.test.ts",
            "Deno.test('reads', () => { Deno.readTextFileSync('data.txt'); });",
        )
        .file("node_modules/x/x_test.ts", "throw new Error('not mine');")
        .file("main.ts", "throw new Error('no test');")
        .file("data.txt", "data")
}

#[test]
fn tests_are_found_and_run_confined() {
    let project = tests();
    let denied = project.stockade(&["test", "--no-check"]).run();
    denied
        .expect_code(1)
        .expect_error("")
        .expect_nowhere("not mine");
    assert!(denied.stdout.contains("adds ... ok"), "{denied:?}");
    assert!(denied.stdout.contains("NotCapable"), "{denied:?}");
    let granted = project
        .stockade(&["test", "--no-check", "--allow-read=data.txt"])
        .run();
    granted.expect_success();
    assert!(granted.stdout.contains("2 passed"), "{granted:?}");
    let chosen = project
        .stockade(&[
            "test",
            "--no-check",
            "--filter",
            "adds",
            "--parallel",
            "math_test.ts",
        ])
        .run();
    chosen.expect_success();
    assert!(chosen.stdout.contains("1 passed"), "{chosen:?}");
    let ignored = project
        .stockade(&["test", "--no-check", "--ignore=lib"])
        .run();
    ignored.expect_success();
    // The same as bare Deno finds.
    let bare = project
        .bare(&["test", "--no-check", "--allow-read=data.txt"])
        .run();
    bare.expect_success();
    assert!(bare.stdout.contains("2 passed"), "{bare:?}");
}

#[test]
fn tests_take_their_permissions_from_the_configuration() {
    let project = tests().file(
        "deno.json",
        r#"{"test": {"permissions": {"read": ["data.txt"]}}}"#,
    );
    let outcome = project.stockade(&["test", "--no-check"]).run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: deno.json has `test.permissions`, and no flag says which permissions to use
    hint: `-P` uses them; any permission flag, or `--deny-net`, leaves them aside
    ");
    project
        .stockade(&["test", "--no-check", "-P"])
        .run()
        .expect_success();
}

#[test]
fn no_tests_are_an_error_unless_permitted() {
    let project = Project::new().file("main.ts", "");
    let outcome = project.stockade(&["test"]).run();
    outcome.expect_code(1).expect_error("no test modules found");
    project
        .stockade(&["test", "--permit-no-files"])
        .run()
        .expect_success();
}

#[test]
fn coverage_goes_to_a_granted_directory() {
    let project = tests().file("coverage/.keep", "");
    let run = |flags: &[&str]| {
        let mut words = vec!["test", "--no-check", "--coverage=coverage", "math_test.ts"];
        words.extend(flags);
        project.stockade(&words).run()
    };
    let profiles = || {
        let entries = std::fs::read_dir(project.path("coverage")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".json"))
            .count()
    };
    run(&[]);
    assert_eq!(profiles(), 0);
    run(&["--allow-write=coverage", "--allow-read=."]).expect_success();
    assert!(profiles() > 0);
}

#[test]
fn check_runs_nothing() {
    let project = Project::new()
        .file(
            "good.ts",
            "Deno.writeTextFileSync('mark', 'x'); export const x: number = 1;",
        )
        .file("bad.ts", "export const y: number = 'text';");
    project
        .stockade(&["check", "good.ts"])
        .run()
        .expect_output("");
    assert!(!project.has("mark"));
    for words in [&["check", "good.ts", "bad.ts"][..], &["check"]] {
        let outcome = project.stockade(words).run();
        outcome
            .expect_code(1)
            .expect_error("TS2322")
            .expect_error("bad.ts:1:14")
            .expect_nowhere("--no-check");
    }
}

#[test]
fn cache_downloads_what_runs_use_later() {
    let mut registry = Registry::new();
    registry.package(
        "one",
        "1.0.0",
        json!({}),
        &[("index.js", "module.exports = 'one';")],
    );
    let project = Project::new().file(
        "main.ts",
        "import text from 'npm:one@1'; console.log(text as string);",
    );
    with_registry(&project, &registry, &["cache", "main.ts"])
        .run()
        .expect_output("")
        .expect_error("Download ");
    let asked = registry.said().len();
    with_registry(&project, &registry, &["run", "--cached-only", "main.ts"])
        .run()
        .expect_output("one\n");
    assert_eq!(registry.said().len(), asked);
}

#[test]
fn modules_with_computed_names_are_included_by_name() {
    let mut registry = Registry::new();
    registry.package(
        "late",
        "1.0.0",
        json!({}),
        &[("index.js", "module.exports = 'late';")],
    );
    let project = Project::new()
        .file(
            "extra.ts",
            "import text from 'npm:late@1'; console.log(text as string);",
        )
        .file(
            "main.ts",
            "const name = ['./extra', 'ts'].join('.'); await import(name);",
        );
    let run = |flags: &[&str]| {
        let mut words = vec!["run", "--allow-read=."];
        words.extend(flags);
        words.push("main.ts");
        with_registry(&project, &registry, &words).run()
    };
    let hint = format!(
        "hint: {}:1:49: the module is named when the program runs, and was not prepared; `--include=FILE` (or `npm:…`, `jsr:…`, a URL) does",
        project.path("main.ts")
    );
    for _ in 0..2 {
        let missing = run(&[]);
        missing.expect_code(1).expect_error("npm:late@1");
        missing.expect_error(&hint);
    }
    run(&["--include=extra.ts"])
        .expect_output("late\n")
        .expect_nowhere("hint:");
}

#[test]
fn who_misses_a_module_is_told_how_to_name_it() {
    let mut registry = Registry::new();
    let files = [("index.js", "module.exports = 'late';")];
    registry
        .package("late", "1.0.0", json!({}), &files)
        .package("known", "1.0.0", json!({}), &files)
        .file("/late.js", "console.log('late');");
    let url = registry.url();
    let project = Project::new().file(
        "worker.ts",
        "import text from 'npm:late@1'; console.log(text as string); self.close();",
    );
    let host = format!("--allow-import={}", registry.host());
    let run = |program: &str, flags: &[&str]| {
        project.write("main.ts", program);
        let mut words = vec!["run", "--allow-read=.", &host];
        words.extend(flags);
        words.push("main.ts");
        with_registry(&project, &registry, &words).run()
    };
    let remote = format!("{url}late.js");
    let worker = project.path("worker.ts");
    for known in ["", "import 'npm:known@1';"] {
        let worker_hint = format!(
            "the imports of the worker `{worker}` were not prepared; `--include={worker}` does"
        );
        for (program, hint, include) in [
            (
                "const name = ['npm:late', '1'].join('@'); console.log((await import(name)).default);".to_owned(),
                "the module is named when the program runs",
                "npm:late@1",
            ),
            (
                format!("const name = ['{url}late', 'js'].join('.'); await import(name);"),
                "the module is named when the program runs",
                remote.as_str(),
            ),
            (
                "new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });".to_owned(),
                worker_hint.as_str(),
                "worker.ts",
            ),
        ] {
            let program = format!("{known}\n{program}");
            let missing = run(&program, &[]);
            missing.expect_code(1).expect_error("hint: ");
            missing.expect_error("main.ts:2:");
            missing.expect_error(hint);
            let include = format!("--include={include}");
            run(&program, &[&include])
                .expect_output("late\n")
                .expect_nowhere("hint:");
        }
    }
    // A program that finds what it names hears nothing, and neither does one that names everything.
    project.write("plain.ts", "console.log('plain');");
    run("await import(['./plain', 'ts'].join('.'));", &[])
        .expect_output("plain\n")
        .expect_nowhere("hint:");
    run("await import('./plain.ts'); Deno.exit(1);", &[])
        .expect_code(1)
        .expect_nowhere("hint:");
}

#[test]
fn modules_before_the_program_run_before_it() {
    let project = Project::new()
        .file("first.ts", "console.log('first');")
        .file("main.ts", "console.log('main');");
    with_cache(&project, &["run", "--preload=first.ts", "main.ts"])
        .run()
        .expect_output("first\nmain\n");
}

#[test]
fn a_watched_program_starts_again_and_never_with_more() {
    let project = Project::new()
        .file(
            "main.ts",
            "import { text } from './lib.ts'; console.log('said', text); setInterval(() => {}, 1000);",
        )
        .file("lib.ts", "export const text = 'one';")
        .file("secret", "hidden-value");
    let watching = Watching::start(
        &project,
        with_cache(&project, &["run", "--watch", "main.ts"]),
    );
    let mut at = watching.until(0, "said one");
    // As editors save: another file takes the name.
    project.write("lib.ts.new", "export const text = 'two';");
    std::fs::rename(project.path("lib.ts.new"), project.path("lib.ts")).unwrap();
    at = watching.until(at, "said two");
    project.write("lib.ts", "export const text = ;");
    at = watching.until(at, "Process failed");
    project.write("lib.ts", "export const text = 'three'; try { Deno.readTextFileSync('secret'); console.log('read'); } catch { console.log('denied'); }");
    watching.until(at, "denied");
    at = watching.until(at, "said three");
    project.write("new.ts", "export const text = 'four';");
    project.write("lib.ts", "export { text } from './new.ts';");
    at = watching.until(at, "said four");
    project.write("new.ts", "export const text = 'five';");
    watching.until(at, "said five");
    let printed = watching.printed();
    assert!(!printed.contains("\nread\n"), "{printed}");
    let pid = watching.pid();
    drop(watching);
    crate::support_life::assert_ends(i32::try_from(pid).unwrap(), "the watcher");
}
