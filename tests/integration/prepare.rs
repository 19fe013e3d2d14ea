// SPDX-License-Identifier: MIT
//! What happens before a local program runs: its modules are found, an unchanged program is not
//! looked at again, and whatever changed is.
//!
//! Whether prepare was skipped is seen by the stamp file: a prepare that is done writes it anew.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Launch, Project, runner};
use crate::support_life::{project, scrub, start};

/// Files changed in the two seconds before a stamp are distrusted; this is longer.
const SETTLE: Duration = Duration::from_millis(2300);

/// A run with a cache of its own and the shared Deno, so that nothing is unpacked.
fn run(project: &Project, words: &[&str]) -> Launch {
    let mut all = vec!["run", "--runner", runner().to_str().unwrap()];
    all.extend(words);
    project
        .stockade(&all)
        .env("STOCKADE_CACHE", project.path(".stockade-cache"))
}

/// Every stamp file with its inode and change time.
fn stamps(project: &Project) -> Vec<(PathBuf, u64, i64, i64)> {
    let mut found = Vec::new();
    let mut open = vec![project.directory().join(".stockade-cache/programs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if metadata.is_dir() {
                open.push(path);
            } else if name.starts_with("stamp") {
                found.push((
                    path,
                    metadata.ino(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                ));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no stamp file below the cache");
    found
}

/// Whether a run with these words looked at the program again.
#[track_caller]
fn prepares(project: &Project, words: &[&str], output: &str) -> bool {
    let before = stamps(project);
    run(project, words).run().expect_output(output);
    before != stamps(project)
}

fn settled_project() -> Project {
    let project = Project::new()
        .file("app/main.ts", "import { text } from './lib/a.ts'; import d from './data.json' with { type: 'json' }; console.log(text, d.n);")
        .file("app/lib/a.ts", "export { text } from './b.ts';")
        .file("app/lib/b.ts", "export const text: string = 'one';")
        .file("app/data.json", "{\"n\": 1}");
    std::thread::sleep(SETTLE);
    run(&project, &["app/main.ts"])
        .run()
        .expect_output("one 1\n");
    assert!(
        !prepares(&project, &["app/main.ts"], "one 1\n"),
        "nothing changed"
    );
    project
}

#[test]
fn an_unchanged_program_is_not_looked_at_again() {
    let project = settled_project();
    for _ in 0..3 {
        assert!(!prepares(&project, &["app/main.ts"], "one 1\n"));
    }
}

#[test]
fn a_changed_module_is_seen() {
    let project = settled_project();
    project.write("app/lib/b.ts", "export const text: string = 'two';");
    assert!(prepares(&project, &["app/main.ts"], "two 1\n"));
    project.write("app/data.json", "{\"n\": 2}");
    assert!(prepares(&project, &["app/main.ts"], "two 2\n"));
    // Same size, same content: only the times tell.
    std::thread::sleep(SETTLE);
    run(&project, &["app/main.ts"]).run().expect_success();
    run(&project, &["app/main.ts"]).run().expect_success();
    assert!(!prepares(&project, &["app/main.ts"], "two 2\n"));
    project.write("app/data.json", "{\"n\": 2}");
    assert!(prepares(&project, &["app/main.ts"], "two 2\n"));
}

#[test]
fn a_new_import_is_loaded() {
    let project = settled_project();
    project.write("app/lib/c.ts", "console.log('new');");
    project.write(
        "app/lib/b.ts",
        "import './c.ts'; export const text: string = 'three';",
    );
    assert!(prepares(&project, &["app/main.ts"], "new\nthree 1\n"));
}

#[test]
fn a_module_swapped_by_rename_is_seen() {
    let project = settled_project();
    // Another inode with the same size and times.
    let old = project.directory().join("app/lib/b.ts");
    let times = std::fs::metadata(&old).unwrap().modified().unwrap();
    project.write("app/lib/new.ts", "export const text: string = 'two';");
    let new = project.directory().join("app/lib/new.ts");
    std::fs::File::options()
        .write(true)
        .open(&new)
        .unwrap()
        .set_modified(times)
        .unwrap();
    std::fs::rename(&new, &old).unwrap();
    assert!(prepares(&project, &["app/main.ts"], "two 1\n"));
    // A link that now leads elsewhere.
    std::fs::rename(&old, project.directory().join("app/lib/real.ts")).unwrap();
    std::os::unix::fs::symlink("real.ts", &old).unwrap();
    assert!(prepares(&project, &["app/main.ts"], "two 1\n"));
    project.write("app/lib/other.ts", "export const text: string = 'six';");
    std::fs::remove_file(&old).unwrap();
    std::os::unix::fs::symlink("other.ts", &old).unwrap();
    assert!(prepares(&project, &["app/main.ts"], "six 1\n"));
}

#[test]
fn a_configuration_that_appears_in_a_parent_is_seen() {
    for place in [
        "deno.json",
        "app/deno.json",
        "app/deno.jsonc",
        "package.json",
    ] {
        let project = settled_project();
        project.write(place, "{}");
        assert!(prepares(&project, &["app/main.ts"], "one 1\n"), "{place}");
        project.write(place, "{ }");
        assert!(
            prepares(&project, &["app/main.ts"], "one 1\n"),
            "{place} changed"
        );
        std::fs::remove_file(project.directory().join(place)).unwrap();
        assert!(
            prepares(&project, &["app/main.ts"], "one 1\n"),
            "{place} removed"
        );
    }
}

#[test]
fn other_permissions_are_another_program() {
    // Code compiled under one policy never runs under another.
    let project = settled_project();
    let before = stamps(&project);
    run(&project, &["--allow-env", "app/main.ts"])
        .run()
        .expect_output("one 1\n");
    let after = stamps(&project);
    assert!(after.len() > before.len(), "{after:?}");
}

#[test]
fn files_that_are_no_code_need_a_grant() {
    let project = Project::new()
        .file(
            "hostname.ts",
            "import x from \"/etc/hostname\" with { type: \"text\" };\nconsole.log(typeof x);",
        )
        .file(
            "env.ts",
            "import x from \"./.env\" with { type: \"text\" };\nconsole.log(x.trim());",
        )
        .file(
            "bytes.ts",
            "import x from \"./blob.bin\" with { type: \"bytes\" };\nconsole.log(x.length);",
        )
        .file(
            "outside.ts",
            "import \"/etc/passwd.json\" with { type: \"json\" };",
        )
        .file("hidden.ts", "import \"./.hidden/mod.ts\";")
        .file(".env", "SECRET=1\n")
        .file("blob.bin", "12345")
        .file(".hidden/mod.ts", "console.log('hidden')");
    let raw = "--unstable-raw-imports";
    let mut all = String::new();
    for script in ["hostname.ts", "env.ts", "bytes.ts", "hidden.ts"] {
        let outcome = run(&project, &[raw, script]).run();
        outcome.expect_refused();
        all.push_str(&format!(
            "$ {script}\n{}\n",
            scrub(&project, &outcome.stderr)
        ));
    }
    insta::assert_snapshot!(all, @r"
    $ hostname.ts
    error: [DIR]/hostname.ts:1:15: the import of `/etc/hostname` needs read access: imports from outside the project directory are not opened by an import alone
    hint: `--allow-read=/etc/hostname` allows it

    $ env.ts
    error: [DIR]/env.ts:1:15: the import of `[DIR]/.env` needs read access: text and bytes imports are not opened by an import alone
    hint: `--allow-read=[DIR]/.env` allows it

    $ bytes.ts
    error: [DIR]/bytes.ts:1:15: the import of `[DIR]/blob.bin` needs read access: text and bytes imports are not opened by an import alone
    hint: `--allow-read=[DIR]/blob.bin` allows it

    $ hidden.ts
    error: [DIR]/hidden.ts:1:8: the import of `[DIR]/.hidden/mod.ts` needs read access: imports of files or directories whose name starts with a dot are not opened by an import alone
    hint: `--allow-read=[DIR]/.hidden/mod.ts` allows it
    ");
    for (script, grant, output) in [
        ("hostname.ts", "--allow-read=/etc/hostname", "string\n"),
        ("env.ts", "--allow-read=.env", "SECRET=1\n"),
        ("bytes.ts", "--allow-read=blob.bin", "5\n"),
        ("hidden.ts", "--allow-read=.hidden", "hidden\n"),
    ] {
        run(&project, &[raw, grant, script])
            .run()
            .expect_output(output);
    }
}

#[test]
fn a_missing_module_is_denos_own_error() {
    let project = project("import './missing.ts';");
    let outcome = run(&project, &["main.ts"]).run();
    outcome.expect_code(1).expect_error("Module not found");
    let bare = project.bare(&["run", "main.ts"]).run();
    bare.expect_code(1);
    assert_eq!(outcome.stderr, bare.stderr);
    // Once it is there, it is loaded.
    project.write("missing.ts", "console.log('found')");
    run(&project, &["main.ts"]).run().expect_output("found\n");
}

/// All files below the private directories.
fn private_files(project: &Project) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![project.directory().join(".stockade-cache/programs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn damaged_private_files_do_not_stop_a_program() {
    let project = settled_project();
    let files = private_files(&project);
    assert!(files.len() > 2, "{files:?}");
    for (what, content) in [
        ("emptied", &b""[..]),
        ("damaged", b"not what it was"),
        ("removed", b""),
    ] {
        for file in &files {
            if !file.exists() {
                continue;
            }
            if what == "removed" {
                std::fs::remove_file(file).unwrap();
            } else {
                std::fs::write(file, content).unwrap();
            }
            let outcome = run(&project, &["app/main.ts"]).run();
            assert_eq!(
                (outcome.code, outcome.stdout.as_str()),
                (Some(0), "one 1\n"),
                "{} {what}: {}",
                file.display(),
                outcome.stderr
            );
        }
    }
    std::fs::remove_dir_all(project.directory().join(".stockade-cache/programs")).unwrap();
    run(&project, &["app/main.ts"])
        .run()
        .expect_output("one 1\n");
}

#[test]
fn many_runs_of_one_program_at_once() {
    let project = Project::new()
        .file("main.ts", "import './lib.ts'; console.log(Deno.args[0]);")
        .file("lib.ts", "");
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for number in 0..8 {
                let project = &project;
                scope.spawn(move || {
                    let number = number.to_string();
                    run(project, &["main.ts", &number])
                        .run()
                        .expect_output(&format!("{number}\n"));
                });
            }
        });
        project.write("lib.ts", "// changed");
    }
}

#[test]
fn two_programs_share_nothing_writable() {
    // What one program stores is not there for the other, and is there for its own next run.
    let text = "console.log(localStorage.getItem('k')); localStorage.setItem('k', 'mine');";
    let project = Project::new()
        .file("one/main.ts", text)
        .file("two/main.ts", text);
    run(&project, &["one/main.ts"])
        .run()
        .expect_output("null\n");
    run(&project, &["two/main.ts"])
        .run()
        .expect_output("null\n");
    run(&project, &["one/main.ts"])
        .run()
        .expect_output("mine\n");
    // And it survives a change of the program.
    project.write("one/main.ts", &format!("{text} // changed"));
    run(&project, &["one/main.ts"])
        .run()
        .expect_output("mine\n");
}

#[test]
fn a_cache_of_compiled_code_is_opened_where_it_has_something_to_keep() {
    const WAITS: &str = "
        console.log('up');
        if (Deno.args[0] === 'wait') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);";
    let project = Project::new()
        .file("small.ts", WAITS)
        .file("large.ts", &format!("import 'node:http'; {WAITS}"));
    let opens = |script: &str, more: &str| {
        let mut waiting = start(run(&project, &[script, "wait", more]));
        assert_eq!(waiting.line(), "up");
        let line = std::fs::read(format!("/proc/{}/cmdline", waiting.pid())).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.contains("--cached-only"), "not the runner: {line}");
        !line.contains("--no-code-cache")
    };
    assert!(opens("small.ts", ""), "nobody has seen it run");
    assert!(!opens("small.ts", "") && !opens("small.ts", ""));
    assert!(opens("small.ts", "x"), "it may do anything then");
    // The same arguments again, and it keeps something.
    assert!(opens("large.ts", ""));
    run(&project, &["large.ts"]).run().expect_output("up\n");
    assert!(opens("large.ts", "") && opens("large.ts", ""));
    project.write("small.ts", &format!("setTimeout(() => {{}}, 1); {WAITS}"));
    run(&project, &["small.ts"]).run().expect_output("up\n");
    assert!(
        opens("small.ts", "") && opens("small.ts", ""),
        "it is larger"
    );
}

#[test]
fn scripts_without_extension_and_shebangs_work() {
    let project = Project::new().file(
        "tool",
        "#!/usr/bin/env -S stockade run --ext=ts\nconst n: number = 1;\nconsole.log(n);\n",
    );
    run(&project, &["--ext=ts", "tool"])
        .run()
        .expect_output("1\n");
    project.write("plain", "#!/usr/bin/env deno\nconsole.log('plain');\n");
    let outcome = run(&project, &["plain"]).run();
    let bare = project.bare(&["run", "plain"]).run();
    assert_eq!(
        (outcome.code, outcome.stdout),
        (bare.code, bare.stdout),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_users_own_deno_cache_is_left_alone() {
    let project = project("console.log('ran')");
    let home = project.path("home");
    std::fs::create_dir(&home).unwrap();
    run(&project, &["main.ts"])
        .env("HOME", &home)
        .env("DENO_DIR", project.path("deno-dir"))
        .run()
        .expect_output("ran\n");
    assert!(!project.has("deno-dir"));
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    assert!(!project.has("deno.lock"));
}
