// SPDX-License-Identifier: MIT
//! Limits of what a run may use: each bomb stops inside, goes on with a higher limit and outside,
//! and the end is told with its flag.
//!
//! The bombs have bounds of their own, so that a missing limit harms nothing.

mod groups;
mod output;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::machine::superuser;
use crate::support::{Launch, Outcome, Project, compile, scratch};
use crate::support_life::project;

fn bombs() -> &'static str {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let program = scratch().join("bombs");
        compile(include_str!("../data/bombs.c"), &program, &[]);
        program
    });
    program.to_str().unwrap()
}

/// A confined program that starts a bomb.
fn bomb(project: &Project, flags: &[&str], bomb: &[&str]) -> Launch {
    let grant = format!("--allow-run={}", bombs());
    let mut all = vec![grant.as_str()];
    all.extend(flags);
    let mut started = vec![bombs()];
    started.extend(bomb);
    project.start(&all, &started)
}

/// The same bomb without any sandbox.
fn outside(project: &Project, bomb: &[&str]) -> Outcome {
    project.launch(Path::new(bombs()), bomb).run()
}

#[track_caller]
fn expect_bound(outcome: &Outcome, what: &str, bound: u64) {
    outcome.expect_output(&format!("{what} {bound} bound\n"));
}

/// How far a bomb came until the kernel refused with this error.
#[track_caller]
fn refused_at(outcome: &Outcome, what: &str, error: &str) -> u64 {
    outcome.expect_success();
    let text = outcome.stdout.trim_end();
    let count = text
        .strip_prefix(what)
        .and_then(|rest| rest.strip_suffix(error));
    let count = count.and_then(|count| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{what} was not refused with {error}: {text:?}"))
}

/// Whether a control group holds the memory of these tests' runs: what then holds is `groups`' to test.
fn memory_is_delegated(project: &Project) -> bool {
    let doctor = project.stockade(&["doctor", "--json"]).run();
    let facts: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
    let delegated = facts["cgroup"]["place"]["memory"] == true;
    if delegated {
        eprintln!("left to the tests of control groups: memory is delegated here");
    }
    delegated
}

#[test]
fn memory_is_limited() {
    let project = Project::new();
    if memory_is_delegated(&project) {
        return;
    }
    // Reserved and not used, in MiB: beyond what Deno reserves.
    let wanted = ["memory", "1500"];
    expect_bound(&outside(&project, &wanted), "memory", 1500);
    let low = bomb(&project, &["--memory=300m"], &wanted).run();
    let held = refused_at(&low, "memory", "ENOMEM");
    assert!((600..1100).contains(&held), "{held} MiB");
    let high = bomb(&project, &["--memory=4g"], &wanted).run();
    expect_bound(&high, "memory", 1500);
}

#[test]
fn the_engines_heap_stays_below_the_limit_of_memory() {
    let project = project(
        "const all = [];
         for (let i = 0; i < 2.5e6; i++) all.push({ i, list: [i] });
         console.log(all.length);",
    );
    if memory_is_delegated(&project) {
        return;
    }
    let low = project.stockade(&["run", "--memory=200m", "main.ts"]).run();
    low.expect_error("out of memory");
    assert!(low.code != Some(0) && low.stdout.is_empty(), "{low:?}");
    for flags in [&["run", "--memory=2g", "main.ts"][..], &["run", "main.ts"]] {
        project.stockade(flags).run().expect_output("2500000\n");
    }
    // Who sizes it is the caller, where the caller says so.
    project
        .stockade(&[
            "run",
            "--memory=200m",
            "--v8-flags=--max-old-space-size=1500",
            "main.ts",
        ])
        .run()
        .expect_output("2500000\n");
}

#[test]
fn processor_time_is_limited() {
    let program = |milliseconds: u32| {
        project(&format!(
            "const start = performance.now();
             while (performance.now() - start < {milliseconds}) {{}}
             console.log('spun');"
        ))
    };
    let low = program(4000)
        .stockade(&["run", "--cpu-time=1", "main.ts"])
        .run();
    assert_eq!(low.signal, Some(libc::SIGXCPU), "{low:?}");
    assert_eq!(low.stdout, "");
    low.expect_error(
        "error: the run was ended: it used more processor time than 1 s, by `--cpu-time=1`\n",
    );
    program(100)
        .stockade(&["run", "--cpu-time=30", "main.ts"])
        .run()
        .expect_output("spun\n");
    program(100)
        .bare(&["run", "main.ts"])
        .run()
        .expect_output("spun\n");
}

#[test]
fn a_program_deaf_to_the_signal_is_killed() {
    let project = Project::new();
    let deaf = ["spin", "3500", "deaf"];
    // Each process has its own time: the bomb is killed, and its parent tells.
    let low = bomb(&project, &["--cpu-time=1"], &deaf).run();
    assert_eq!(low.stdout, "", "{low:?}");
    assert_ne!(low.code, Some(0), "{low:?}");
    let high = bomb(&project, &["--cpu-time=30"], &["spin", "50", "deaf"]).run();
    expect_bound(&high, "spin", 50);
    expect_bound(&outside(&project, &["spin", "50", "deaf"]), "spin", 50);
}

#[test]
fn open_files_are_limited() {
    let project = Project::new();
    let wanted = ["descriptors", "300"];
    expect_bound(&outside(&project, &wanted), "descriptors", 300);
    let low = bomb(&project, &["--open-files=64"], &wanted).run();
    let held = refused_at(&low, "descriptors", "EMFILE");
    assert!(held < 64, "{held}");
    let high = bomb(&project, &["--open-files=400"], &wanted).run();
    expect_bound(&high, "descriptors", 300);
}

#[test]
fn files_are_limited_in_length() {
    // In blocks of 64 KiB.
    let project = Project::new().file("out/file", "");
    let path = project.path("out/file");
    let wanted = ["disk", "64", path.as_str()];
    expect_bound(&outside(&project, &wanted), "disk", 64);
    let low = bomb(&project, &["--allow-write=out", "--file-size=1m"], &wanted).run();
    assert_eq!(low.stdout, "", "the bomb dies by SIGXFSZ: {low:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20);
    let high = bomb(&project, &["--allow-write=out", "--file-size=10m"], &wanted).run();
    expect_bound(&high, "disk", 64);
}

#[test]
fn a_program_ended_by_the_length_of_a_file_is_told_why() {
    let project = project("Deno.writeTextFileSync('out/x', 'x'.repeat(300000));").file("out/x", "");
    let run = |limit: &str| {
        project
            .stockade(&["run", "--allow-write=out", limit, "main.ts"])
            .run()
    };
    let low = run("--file-size=100k");
    assert_eq!(low.signal, Some(libc::SIGXFSZ), "{low:?}");
    low.expect_error(
        "error: the run was ended: it wrote a file longer than 100 KiB, by `--file-size=100k`\n",
    );
    run("--file-size=1m").expect_output("");
}

#[test]
fn processes_are_limited_or_the_run_is_refused() {
    let project = Project::new();
    let wanted = ["forks", "300"];
    expect_bound(&outside(&project, &wanted), "forks", 300);
    expect_bound(&bomb(&project, &[], &wanted).run(), "forks", 300);
    let low = bomb(&project, &["--processes=60"], &wanted).run();
    if low.code == Some(125) {
        assert!(superuser(), "{low:?}");
        low.expect_refused()
            .expect_error("the kernel does not count the processes of user 0")
            .expect_error("hint: ");
        let degraded = bomb(&project, &["--processes=60", "--best-effort"], &wanted).run();
        expect_bound(&degraded, "forks", 300);
        degraded.expect_error("warning: the number of processes is not limited");
        return;
    }
    let held = refused_at(&low, "forks", "EAGAIN");
    assert!(held < 60, "{held}");
    let high = bomb(&project, &["--processes=2000"], &wanted).run();
    expect_bound(&high, "forks", 300);
}

#[test]
fn the_end_names_who_asked_for_it() {
    let project = project("while (true) {}")
        .file("time.yaml", "version: 1\nlimits:\n  timeout: 300ms\n")
        .file("cpu.yaml", "version: 1\nlimits: {cpu-time: 1}\n")
        .file("quick.ts", "");
    let run = |flag: &str, script: &str| project.stockade(&["run", flag, script]).run();
    for (flag, code, end) in [
        (
            "--timeout=300ms",
            Some(124),
            "after 300ms, by `--timeout=300ms`",
        ),
        (
            "--policy=time.yaml",
            Some(124),
            "after 300ms, by `time.yaml:3:12`",
        ),
        (
            "--ceiling=time.yaml",
            Some(124),
            "after 300ms, by `time.yaml:3:12`",
        ),
        (
            "--policy=cpu.yaml",
            None,
            "it used more processor time than 1 s, by `cpu.yaml:2:20`",
        ),
    ] {
        let ended = run(flag, "main.ts");
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.ends_with(&format!("{end}\n")), "{ended:?}");
    }
    run("--policy=cpu.yaml", "quick.ts").expect_output("");
}

#[test]
fn values_that_are_none_are_refused() {
    let project = project("");
    for flag in [
        "--memory=5",
        "--memory=1.5g",
        "--cpu-time=500ms",
        "--processes=0",
        "--open-files=many",
        "--file-size=0",
        "--output-size=lots",
    ] {
        project
            .stockade(&["run", flag, "main.ts"])
            .run()
            .expect_refused()
            .expect_error("error: invalid value")
            .expect_error("hint: accepted: ");
    }
}
