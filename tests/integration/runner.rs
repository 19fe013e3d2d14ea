// SPDX-License-Identifier: MIT
//! The Deno executable: unpacked once, by however many runs at once, noticed when it is tampered
//! with, and replaced by `--runner`, old versions too.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Launch, Project, cache, runner};
use crate::support_life::{project, scrub};

/// The executable in `<cache>/runners/*/deno`.
fn unpacked(cache: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(cache.join("runners"))
        .expect("the cache holds runners")
        .map(|entry| entry.unwrap().path().join("deno"))
        .filter(|path| path.is_file())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

fn with_cache(project: &Project, words: &[&str]) -> Launch {
    project
        .stockade(words)
        .env("STOCKADE_CACHE", project.path("cache"))
}

#[test]
fn the_first_run_unpacks_silently_and_the_second_reuses() {
    let project = project("console.log(Deno.version.deno)");
    let first = with_cache(&project, &["run", "main.ts"]).run();
    first.expect_success();
    assert_eq!(first.stderr, "", "progress belongs on a terminal alone");
    let deno = unpacked(&project.directory().join("cache"));
    let before = std::fs::metadata(&deno).unwrap();
    assert_eq!(before.mode() & 0o022, 0, "{:o}", before.mode());
    with_cache(&project, &["run", "main.ts"])
        .run()
        .expect_output(&first.stdout);
    let after = std::fs::metadata(&deno).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec(), before.ctime_nsec()),
        (after.ino(), after.mtime_nsec(), after.ctime_nsec())
    );
    let version = project.launch(&deno, &["--version"]).run();
    assert!(
        version.stdout.contains(first.stdout.trim()),
        "{}",
        version.stdout
    );
}

#[test]
fn twenty_first_runs_at_once_all_succeed() {
    let project = project("console.log(Deno.args[0])");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let project = &project;
            scope.spawn(move || {
                let number = number.to_string();
                let outcome = with_cache(project, &["run", "main.ts", &number]).run();
                outcome.expect_output(&format!("{number}\n"));
                assert_eq!(outcome.stderr, "");
            });
        }
    });
    let deno = unpacked(&project.directory().join("cache"));
    let beside: Vec<_> = std::fs::read_dir(deno.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().len() > 1_000_000)
        .collect();
    assert_eq!(beside.len(), 1, "half-written copies were left: {beside:?}");
}

#[test]
fn a_tampered_runner_is_noticed_and_replaced() {
    let project = project("console.log('ran')");
    with_cache(&project, &["run", "main.ts"])
        .run()
        .expect_output("ran\n");
    let deno = unpacked(&project.directory().join("cache"));
    let size = std::fs::metadata(&deno).unwrap().len();
    for tamper in ["replaced", "rewritten", "cut", "removed"] {
        std::fs::set_permissions(deno.parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
        match tamper {
            "replaced" => {
                let evil = deno.with_extension("evil");
                std::fs::write(&evil, "#!/bin/sh\necho evil\n").unwrap();
                std::fs::set_permissions(&evil, PermissionsExt::from_mode(0o755)).unwrap();
                std::fs::rename(&evil, &deno).unwrap();
            }
            "rewritten" => {
                use std::io::{Seek, Write};
                std::fs::set_permissions(&deno, PermissionsExt::from_mode(0o755)).unwrap();
                let mut file = std::fs::OpenOptions::new().write(true).open(&deno).unwrap();
                file.seek(std::io::SeekFrom::Start(size / 2)).unwrap();
                file.write_all(b"evil").unwrap();
            }
            "cut" => {
                std::fs::set_permissions(&deno, PermissionsExt::from_mode(0o755)).unwrap();
                let file = std::fs::OpenOptions::new().write(true).open(&deno).unwrap();
                file.set_len(size / 2).unwrap();
            }
            _ => std::fs::remove_file(&deno).unwrap(),
        }
        let outcome = with_cache(&project, &["run", "main.ts"]).run();
        outcome.expect_output("ran\n");
        if tamper != "removed" {
            assert!(
                outcome.stderr.contains("unpacked anew"),
                "{tamper}: {}",
                outcome.stderr
            );
        }
        assert_eq!(std::fs::metadata(&deno).unwrap().len(), size, "{tamper}");
        let next = with_cache(&project, &["run", "main.ts"]).run();
        next.expect_output("ran\n");
        assert_eq!(next.stderr, "", "{tamper}: said once");
    }
}

#[test]
fn runner_takes_a_path() {
    let project = project("console.log(Deno.version.deno)");
    let own = project.path("my-deno");
    std::fs::copy(runner(), &own).unwrap();
    let expected = project.stockade(&["run", "main.ts"]).run().stdout;
    for flag in [
        &["--runner", "./my-deno"][..],
        &["--runner=my-deno"],
        &[&format!("--runner={own}")],
    ] {
        let mut words = vec!["run"];
        words.extend(flag);
        words.push("main.ts");
        project.stockade(&words).run().expect_output(&expected);
    }
    let plan = project
        .stockade(&["explain", "--runner=my-deno", "main.ts"])
        .run();
    assert!(
        scrub(&project, &plan.stdout).contains("[DIR]/my-deno"),
        "{}",
        plan.stdout
    );
}

/// An old Deno from the package registry, by the machine's own npm; kept beside the shared cache.
fn old_deno(version: &str) -> PathBuf {
    let package = if cfg!(target_arch = "x86_64") {
        "@deno/linux-x64-glibc"
    } else {
        "@deno/linux-arm64-glibc"
    };
    let directory = cache()
        .parent()
        .unwrap()
        .join(format!("stockade-test-deno-{version}"));
    let deno = directory.join("package/deno");
    if deno.is_file() {
        return deno;
    }
    let work = tempfile::tempdir_in(cache().parent().unwrap()).unwrap();
    let output = Command::new("npm")
        .args([
            "pack",
            "--silent",
            "--prefer-offline",
            &format!("{package}@{version}"),
        ])
        .current_dir(work.path())
        .output()
        .expect("this test needs npm");
    assert!(
        output.status.success(),
        "npm pack {package}@{version}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = String::from_utf8(output.stdout).unwrap();
    let name = name.lines().last().expect("npm pack prints the file name");
    let status = Command::new("tar")
        .args(["-xzf", name])
        .current_dir(work.path())
        .status()
        .expect("this test needs tar");
    assert!(status.success());
    let unpacked = work.path().join("package/deno");
    std::fs::set_permissions(&unpacked, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_file(work.path().join(name)).unwrap();
    // Another test process may have been faster: then its copy is as good.
    let _ = std::fs::rename(work.path(), &directory);
    deno
}

/// One program over the interfaces whose flags or needs changed between versions.
const BROAD: &str = r#"
import { value } from "./lib.ts";
import data from "./data.json" with { type: "json" };
console.log(value, data.answer, Deno.readTextFileSync("in.txt"));
Deno.writeTextFileSync("out.txt", "written");
try { Deno.readTextFileSync("/etc/hostname"); } catch (error) { console.log((error as Error).name); }
try { Deno.env.get("HOME"); } catch (error) { console.log((error as Error).name); }
console.log(Deno.env.get("GIVEN"));
try { await fetch("http://127.0.0.1:9"); } catch (error) { console.log((error as Error).name); }
console.log(new TextDecoder().decode(new Deno.Command("sh", { args: ["-c", "echo child"] }).outputSync().stdout).trim());
"#;

fn runs_old_version(version: &str) {
    let deno = old_deno(version);
    let deno = deno.to_str().unwrap();
    let project = Project::new()
        .file("main.ts", BROAD)
        .file("lib.ts", "export const value: number = 1;")
        .file("data.json", r#"{"answer": 42}"#)
        .file("in.txt", "in")
        .file("out.txt", "");
    let outcome = project
        .stockade(&[
            "run",
            "--runner",
            deno,
            "--allow-read=in.txt",
            "--allow-write=out.txt",
            "--allow-env=GIVEN",
            "--allow-run=sh",
            "main.ts",
        ])
        .env("GIVEN", "given")
        .run();
    outcome.expect_output("1 42 in\nNotCapable\nNotCapable\ngiven\nNotCapable\nchild\n");
    assert_eq!(project.read("out.txt"), "written");
    project
        .stockade(&["eval", "--runner", deno, "console.log(1 + 1)"])
        .run()
        .expect_output("2\n");
    project.write("throws.ts", "throw new Error('broken')");
    project
        .stockade(&["run", "--runner", deno, "throws.ts"])
        .run()
        .expect_code(1)
        .expect_error("broken");
}

#[test]
fn the_oldest_version_works() {
    runs_old_version("2.0.6");
}

#[test]
fn a_middle_version_works() {
    runs_old_version("2.3.1");
}

#[test]
fn the_last_version_where_denials_always_won_works() {
    runs_old_version("2.5.6");
}
