// SPDX-License-Identifier: MIT
//! What files of a project may make Stockade itself do before the program starts, outside its walls:
//! its lock, its `node_modules`, the tests it includes, and configuration that is somebody else's.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::packages::{program, two_packages};
use super::registry::Registry;
use super::{with_cache, with_registry};
use crate::machine::superuser;
use crate::support::{Project, python};
use crate::support_life::scrub;

/// A program whose configuration makes this file its lock.
fn locked(lock: &str) -> Project {
    let configuration = json!({"imports": {"outer": "npm:outer@2"}, "lock": lock});
    let project = program();
    project.write("deno.json", &configuration.to_string());
    project.write("home/keep", "");
    project
}

#[test]
fn a_configuration_places_its_lock_inside_its_project() {
    let registry = two_packages();
    let outside = Project::new();
    let elsewhere = outside.path(".bash_aliases");
    let run = |lock: &str, flags: &[&str]| {
        let project = locked(lock);
        symlink(outside.directory(), project.path("link")).unwrap();
        project.write(".git/HEAD", "ref: refs/heads/main\n");
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        let outcome = with_registry(&project, &registry, &words).run();
        (project, outcome)
    };
    for lock in [
        elsewhere.as_str(),
        "../deno.lock",
        "link/deno.lock",
        ".git/commondir",
        ".envrc",
        "package.json",
    ] {
        let (project, outcome) = run(lock, &[]);
        outcome
            .expect_refused()
            .expect_error("hint: name it: `--lock=");
        let explained = with_registry(&project, &registry, &["explain", "main.ts"]).run();
        explained.expect_refused();
        assert!(
            std::fs::read_dir(outside.directory())
                .unwrap()
                .next()
                .is_none(),
            "{lock}"
        );
        for name in [".git/commondir", ".envrc", "package.json"] {
            assert!(!project.has(name), "{lock}: {name}");
        }
    }
    let (project, outcome) = run("../deno.lock", &[]);
    let text = scrub(&project, &outcome.stderr);
    let above = project.directory().parent().unwrap().display().to_string();
    insta::assert_snapshot!(text.replace(&above, "[ABOVE]"), @r"
    error: the lock file `[DIR]/../deno.lock` leads to `[ABOVE]/deno.lock`, outside its project
    hint: name it: `--lock=[ABOVE]/deno.lock`
    ");
    let (project, outcome) = run(".git/commondir", &[]);
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: the configuration makes `[DIR]/.git/commondir` its lock file, whose name is none for a lock: `*.lock` and `*lock.json` are, without names in front that start with a dot
    hint: name it: `--lock=[DIR]/.git/commondir`
    ");
    // Inside, and where the user says.
    let (project, outcome) = run("locks/my.lock", &[]);
    outcome.expect_success().expect_error("cannot write `");
    assert!(!project.has("locks"));
    let (project, outcome) = run("my-lock.json", &[]);
    outcome.expect_output("<hello>\n");
    assert!(project.read("my-lock.json").contains("outer@2.0.0"));
    let (_, outcome) = run("my.lock", &[&format!("--lock={elsewhere}")]);
    outcome.expect_output("<hello>\n");
    assert!(outside.read(".bash_aliases").contains("outer@2.0.0"));
}

#[test]
fn explaining_writes_nothing_into_the_project() {
    let (project, registry) = (program(), two_packages());
    project.write(
        "deno.json",
        r#"{"imports": {"outer": "npm:outer@2"}, "nodeModulesDir": "auto"}"#,
    );
    let explained = with_registry(&project, &registry, &["explain", "main.ts"]).run();
    explained
        .expect_success()
        .expect_error("`node_modules` is made by a run");
    assert!(!project.has("deno.lock") && !project.has("node_modules"));
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_output("<hello>\n");
    assert!(project.has("deno.lock") && project.has("node_modules"));
    // What is there is shown as it is.
    let explained = with_registry(&project, &registry, &["explain", "main.ts"]).run();
    explained
        .expect_success()
        .expect_nowhere("is made by a run");
}

#[test]
fn a_linked_node_modules_is_neither_filled_nor_granted() {
    let mut registry = Registry::new();
    registry.package(
        "hooks",
        "1.0.0",
        json!({"main": "index.js"}),
        &[
            ("index.js", "module.exports = 'from hooks';"),
            ("pre-commit", "#!/bin/sh\n"),
        ],
    );
    let make = || {
        Project::new()
            .file(".git/hooks/old", "old")
            .file(".env", "SECRET=1")
            .file("home/keep", "")
            .file(
                "deno.json",
                r#"{"nodeModulesDir": "auto", "imports": {"hooks": "npm:hooks@1"}}"#,
            )
            .file(
                "main.ts",
                "import text from 'hooks'; console.log(text as string);",
            )
    };
    let run = |project: &Project| {
        with_registry(project, &registry, &["run", "--no-check", "main.ts"]).run()
    };
    let linked = make();
    symlink(".git", linked.path("node_modules")).unwrap();
    let refused = run(&linked);
    refused.expect_refused();
    let said = scrub(&linked, &refused.stderr);
    let (_, text) = said.split_once("error: ").unwrap();
    insta::assert_snapshot!(text, @r"
    `[DIR]/node_modules` is a link to `[DIR]/.git`, and packages are read and laid out in directories only
    hint: `--node-modules-dir=none` leaves packages in Stockade's cache
    ");
    assert_eq!(linked.read(".git/hooks/old"), "old");
    assert!(!linked.has(".git/hooks/pre-commit") && !linked.has(".git/.deno"));
    let plain = make();
    run(&plain).expect_output("from hooks\n");
    assert!(plain.has("node_modules/hooks/pre-commit"));

    // With a package.json alone what is there is granted as a whole.
    let installed = |link: bool| {
        let project = Project::new()
            .file(".env", "SECRET=1")
            .file("package.json", "{}")
            .file(
                "main.mjs",
                "const cat = new Deno.Command('/bin/cat', { args: ['.env'], stdout: 'inherit', stderr: 'inherit' });
                 Deno.exit((await cat.output()).code);",
            );
        match link {
            true => symlink(".", project.path("node_modules")).unwrap(),
            false => project.write("node_modules/keep", ""),
        }
        project
    };
    let read = |project: &Project, flags: &[&str]| {
        let mut words = vec!["run", "--allow-run=/bin/cat"];
        words.extend(flags);
        words.push("main.mjs");
        with_cache(project, &words).run()
    };
    read(&installed(true), &[])
        .expect_refused()
        .expect_nowhere("SECRET");
    read(&installed(false), &[])
        .expect_code(1)
        .expect_error("Permission denied")
        .expect_nowhere("SECRET");
    read(&installed(false), &["--allow-read=.env"]).expect_output("SECRET=1");
}

#[test]
fn tests_that_a_configuration_includes_lie_below_it() {
    let outside = Project::new()
        .file("key", "TOP")
        .file("key_test.ts", "console.log('TOP');");
    let key = outside.path("key");
    let run = |include: &str, words: &[&str]| {
        let project = Project::new()
            .file(".env", "TOP")
            .file(
                "a_test.ts",
                "Deno.test('a', () => { console.log('ran a'); });",
            )
            .file("sub/b_test.ts", "console.log('ran b');");
        symlink(outside.directory(), project.path("link")).unwrap();
        let include = json!({"test": {"include": ["a_test.ts", include]}});
        project.write("deno.json", &include.to_string());
        let mut all = vec!["test", "--no-check"];
        all.extend(words);
        with_cache(&project, &all).run()
    };
    let module = outside.path("key_test.ts");
    for include in [
        key.as_str(),
        module.as_str(),
        "link",
        "link/*",
        ".env",
        "../*",
    ] {
        run(include, &[])
            .expect_refused()
            .expect_error("of `test.include` in `")
            .expect_nowhere("TOP");
    }
    let inside = run("sub", &[]);
    inside.expect_success();
    assert!(inside.stdout.contains("ran a") && inside.stdout.contains("ran b"));
    // The user's own word.
    let named = run(&module, &[module.as_str()]);
    named.expect_success();
    assert!(named.stdout.contains("TOP"));
}

/// How many modules below a path have compiled code in the cache of a project's programs.
fn compiled(project: &Project, below: &str) -> usize {
    let script = "
import glob, sqlite3, sys
count = 0
for name in glob.glob(sys.argv[1] + '/programs/*/*/v8_code_cache_v2'):
    if '/prepare/' in name: continue
    connection = sqlite3.connect(name)
    count += connection.execute(
        'select count(*) from codecache where specifier like ?', ['%' + sys.argv[2] + '%']).fetchone()[0]
print(count)";
    let cache = project.path(".stockade-cache");
    let counted = project
        .launch(python(), &["-c", script, &cache, below])
        .run();
    counted.expect_success();
    counted.stdout.trim().parse().unwrap()
}

#[test]
fn code_of_a_node_modules_is_kept_by_its_record() {
    let big = |text: &str| {
        let more = "exports.f = () => 1;\n".repeat(2000);
        format!("module.exports = '{text}';\n{more}")
    };
    let own = r#"{"name":"own","version":"1.0.0","main":"i.js"}"#;
    let make = || {
        Project::new()
            .file("package.json", r#"{"dependencies": {"own": "1"}}"#)
            .file("main.mjs", "import text from 'own'; console.log(text);")
            .file("node_modules/own/package.json", own)
            .file("node_modules/own/i.js", &big("text"))
    };
    let run = |project: &Project| {
        for _ in 0..3 {
            with_cache(project, &["run", "main.mjs"])
                .run()
                .expect_output("text\n");
        }
    };
    let unrecorded = make();
    run(&unrecorded);
    assert_eq!(compiled(&unrecorded, "/own/"), 0);
    let recorded = make();
    let record = "node_modules/.package-lock.json";
    recorded.write(
        record,
        r#"{"packages": {"node_modules/own": {"version": "1.0.0"}}}"#,
    );
    run(&recorded);
    let kept = compiled(&recorded, "/own/");
    assert_ne!(kept, 0);
    // Another one begins anew, beside what was kept for the first.
    recorded.write(
        record,
        r#"{"packages": {"node_modules/own": {"version": "1.0.1"}}}"#,
    );
    run(&recorded);
    assert_eq!(compiled(&recorded, "/own/"), 2 * kept);
}

#[test]
fn configuration_of_other_users_is_not_followed() {
    if !superuser() {
        eprintln!("left to the superuser's run of the tests: gives a file to another user");
        return;
    }
    let run = |owner: u32, mode: u32, words: &[&str]| {
        let project = Project::new()
            .file("shared/deno.json", r#"{"imports": {"x": "./x.ts"}}"#)
            .file("shared/x.ts", "export default 'theirs';")
            .file("shared/mine/main.ts", "import x from 'x'; console.log(x);");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(project.path("shared"), mode).unwrap();
        std::os::unix::fs::chown(project.path("shared/deno.json"), Some(owner), None).unwrap();
        let mut all = vec!["run"];
        all.extend(words);
        let script = project.path("shared/mine/main.ts");
        all.push(&script);
        let outcome = with_cache(&project, &all).run();
        let text = scrub(&project, &outcome.stderr);
        (outcome, text)
    };
    let (refused, text) = run(65534, 0o1777, &[]);
    refused.expect_refused();
    insta::assert_snapshot!(text, @r"
    error: the configuration file `[DIR]/shared/deno.json` belongs to user 65534, in a directory that everybody may write to
    hint: `--no-config` ignores it, `--config=[DIR]/shared/deno.json` takes it
    ");
    run(0, 0o1777, &[]).0.expect_output("theirs\n");
    run(65534, 0o755, &[]).0.expect_output("theirs\n");
    // Without it there is no such import.
    run(65534, 0o1777, &["--no-config"]).0.expect_code(1);
}
