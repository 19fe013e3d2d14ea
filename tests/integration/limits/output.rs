// SPDX-License-Identifier: MIT
//! `--output-size`: what a run writes to standard output and standard error is counted, passed on as it
//! was written, and ends the run where it is too much.

use std::process::Stdio;

use super::{bombs, outside};
use crate::support::{Outcome, Project};
use crate::support_life::{assert_ends, project, start, through_python};

const ENDED: &str =
    "error: the run was ended: it wrote more output than 10 KiB, by `--output-size=10k`\n";

/// Exactly the limit was passed on, and the end is told.
#[track_caller]
fn expect_ended(outcome: &Outcome, message: &str) {
    outcome.expect_code(123).expect_error(message);
    let told = outcome.stderr.len() - message.len();
    assert_eq!(outcome.stdout.len() + told, 10 << 10, "{}", outcome.stderr);
}

/// One line of 1 KiB for each unit of the bomb.
fn exec<'a>(flags: &[&'a str], bomb: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["exec", "--output-size=10k"];
    words.extend(flags);
    words.push("--");
    words.extend(bomb);
    words
}

#[test]
fn a_command_that_writes_too_much_is_ended() {
    let project = Project::new();
    outside(&project, &["output", "1000"]).expect_success();
    let read = format!("--allow-read={}", bombs());
    // Waited for, and supervised: with a directory to write to.
    for flags in [&[read.as_str()][..], &[&read, "--deny-write"]] {
        let bomb = |count| {
            let words = exec(flags, &[bombs(), "output", count]);
            project.stockade(&words).run()
        };
        expect_ended(&bomb("1000000"), ENDED);
        expect_ended(&bomb("11"), ENDED);
        let full = bomb("10");
        full.expect_success();
        assert_eq!(full.stdout.len(), 10 << 10);
    }
}

#[test]
fn programs_and_tests_that_write_too_much_are_ended() {
    let lines =
        |count: &str| format!("for (let i = 0; i < {count}; i++) console.log('x'.repeat(99));");
    let project = project("")
        .file("bomb.ts", &lines("Infinity"))
        .file("fine.ts", &lines("100"))
        .file("error.ts", &lines("Infinity").replace("log", "error"))
        .file(
            "bomb_test.ts",
            &format!("Deno.test('t', () => {{ {} }})", lines("1e9")),
        )
        .file(
            "fine_test.ts",
            &format!("Deno.test('t', () => {{ {} }})", lines("50")),
        );
    let run = |words: &[&str]| {
        let mut all = words.to_vec();
        all.insert(1, "--output-size=10k");
        project.stockade(&all).run()
    };
    expect_ended(&run(&["run", "bomb.ts"]), ENDED);
    expect_ended(&run(&["run", "--allow-net=a.test", "bomb.ts"]), ENDED);
    expect_ended(&run(&["run", "error.ts"]), ENDED);
    expect_ended(&run(&["test", "bomb_test.ts"]), ENDED);
    run(&["run", "fine.ts"]).expect_success();
    run(&["test", "fine_test.ts"]).expect_success();
    let bare = project.bare(&["run", "fine.ts"]).run();
    run(&["run", "fine.ts"]).expect_same(&bare);
}

#[test]
fn the_line_of_a_policy_is_named() {
    let project = project("").file("ci.yaml", "version: 1\nlimits:\n  output-size: 10k\n");
    let run = |count| {
        let words = [
            "exec",
            "--policy",
            "ci.yaml",
            "--",
            "head",
            "-c",
            count,
            "/dev/zero",
        ];
        project.stockade(&words).run()
    };
    let ended = "error: the run was ended: it wrote more output than 10 KiB, by `ci.yaml:3:16`\n";
    expect_ended(&run("10241"), ended);
    run("10240").expect_success();
}

#[test]
fn everything_that_was_started_ends_with_it() {
    let project = Project::new();
    // The first is deaf to the polite signal and goes on writing.
    let script = "sleep 600 & echo $!; trap '' TERM; echo $$; while :; do echo more; done";
    let mut run = start(project.stockade(&exec(&[], &["sh", "-c", script])));
    let (sleep, shell) = (run.number(), run.number());
    let (status, _) = run.finish();
    assert_eq!(status.code(), Some(123));
    assert_ends(sleep, "a process beside the bomb");
    assert_ends(shell, "the bomb");
}

#[test]
fn streams_are_counted_together_and_kept_apart() {
    let project = Project::new();
    let write = |out: u32, error: u32| {
        let script = format!("head -c {out} /dev/zero; head -c {error} /dev/zero >&2; exit 7");
        project.stockade(&exec(&[], &["sh", "-c", &script])).run()
    };
    let fine = write(4000, 6000);
    fine.expect_code(7);
    assert_eq!((fine.stdout.len(), fine.stderr.len()), (4000, 6000));
    expect_ended(&write(5000, 6000), ENDED);
    // One open file for both: one order.
    let script = "for n in 1 2 3 4 5 6 7 8 9; do echo $n; echo e$n >&2; done";
    let joined = project
        .stockade(&exec(&[], &["sh", "-c", script]))
        .through_shell("exec \"$@\" 2>&1")
        .run();
    let expected: String = (1..10).map(|n| format!("{n}\ne{n}\n")).collect();
    joined.expect_output(&expected);
}

#[test]
fn a_reader_that_has_gone_ends_the_writer_as_without() {
    let project = Project::new().file("lines", "first\n");
    let through = "(\"$@\"; echo $? >code) | head -n 1";
    let bare = project
        .launch("/usr/bin/env".as_ref(), &["yes"])
        .through_shell(through)
        .run();
    bare.expect_output("y\n");
    let code = project.read("code");
    let counted = project
        .stockade(&["exec", "--output-size=1g", "--", "yes"])
        .through_shell(through);
    counted.run().expect_same(&bare);
    assert_eq!(project.read("code"), code);
    // One that only watches for it.
    let watching = project.stockade(&exec(&[], &["tail", "-f", "lines"]));
    watching
        .through_shell(through)
        .run()
        .expect_output("first\n");
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer() {
    let project = Project::new();
    let script = "head -c 5000000 /dev/zero; echo done >done";
    let words = [
        "exec",
        "--output-size=1g",
        "--allow-write=.",
        "--timeout=1s",
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut child = project.stockade(&words).into_command();
    let mut child = child
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(!project.has("done"));
    let long = words.map(|word| word.replace("=1s", "=600s"));
    let read = project.stockade(&long).run();
    read.expect_success();
    assert_eq!(read.stdout.len(), 5_000_000);
    assert!(project.has("done"));
}

#[test]
fn a_stream_of_the_caller_that_does_not_wait_loses_nothing() {
    let project = Project::new();
    let script = "
import os, subprocess, sys, time
reader, writer = os.pipe()
os.set_blocking(writer, False)
child = subprocess.Popen(sys.argv[1:], stdout=writer)
os.close(writer)
time.sleep(0.3)
total = 0
while data := os.read(reader, 1 << 16):
    total += len(data)
print(child.wait(), total)
";
    let words = [
        crate::support_life::stockade_path(),
        "exec",
        "--output-size=1g",
        "--",
        "head",
        "-c",
        "3000000",
        "/dev/zero",
    ];
    through_python(&project, script, &words)
        .run()
        .expect_output("0 3000000\n");
}

#[test]
fn output_that_cannot_be_passed_on_is_no_success() {
    let project = Project::new();
    let write = |to: &str| {
        let run = project.stockade(&exec(&[], &["echo", "x"]));
        run.through_shell(&format!("exec \"$@\" >{to}")).run()
    };
    write("/dev/full").expect_code(137).expect_error(
        "error: cannot pass on what the program wrote to standard output, so the run was ended",
    );
    write("file").expect_success();
    assert_eq!(project.read("file"), "x\n");
}

#[test]
fn a_descendant_that_keeps_the_stream_holds_nobody_up() {
    let project = Project::new();
    let left = ["sh", "-c", "sleep 600 & echo started; exit 3"];
    let outcome = project.stockade(&exec(&[], &left)).run();
    outcome.expect_code(3);
    assert_eq!(outcome.stdout, "started\n");
}
