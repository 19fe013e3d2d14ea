// SPDX-License-Identifier: MIT
//! The life of a run: exit codes, signals, timeouts, what becomes of descendants, and that the
//! standard streams pass through untouched.
//!
//! Every case runs in both ways a run can live: Stockade becomes the program, or waits beside it.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{Project, python};
use crate::support_life::{Running, assert_ends, is_running, project, start, stockade_path};

/// Flags that make Stockade become the program, and flags that make it wait beside it.
const BOTH: [&[&str]; 3] = [&[], &["--timeout=600s"], &["--allow-run"]];

fn run_with<'a>(flags: &[&'a str], script: &[&'a str]) -> Vec<&'a str> {
    ["run"].iter().chain(flags).chain(script).copied().collect()
}

#[test]
fn exit_codes_are_the_programs_own() {
    for (program, code) in [
        ("Deno.exit(0)", 0),
        ("Deno.exit(3)", 3),
        ("Deno.exit(255)", 255),
        ("throw new Error('broken')", 1),
        ("await Promise.reject(new Error('broken'))", 1),
        ("import './missing.ts'", 1),
        ("this is no program", 1),
    ] {
        let project = project(program);
        for flags in BOTH {
            project
                .stockade(&run_with(flags, &["main.ts"]))
                .run()
                .expect_code(code);
        }
        project.bare(&["run", "main.ts"]).run().expect_code(code);
    }
}

/// Prints its process and waits; signals in its arguments are answered with exit 7.
const WAITS: &str = "
for (const name of Deno.args as Deno.Signal[]) {
  Deno.addSignalListener(name, () => {
    console.log(`caught ${name}`);
    Deno.exit(7);
  });
}
console.log(Deno.pid);
setInterval(() => {}, 1000);
";

#[test]
fn a_signal_that_ends_the_program_ends_stockade() {
    let project = project(WAITS);
    for flags in BOTH {
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGUSR2,
        ] {
            let mut run = start(project.stockade(&run_with(flags, &["main.ts"])));
            let pid = run.number();
            assert_eq!(pid == run.pid(), flags.is_empty(), "{flags:?}");
            run.signal(signal);
            let (status, _) = run.finish();
            assert_eq!(status.signal(), Some(signal as i32), "{flags:?} {signal}");
            assert_ends(pid, "the program");
        }
    }
}

#[test]
fn a_program_killed_from_outside_ends_stockade_by_the_same_signal() {
    let project = project(WAITS);
    for flags in BOTH {
        for signal in [Signal::SIGKILL, Signal::SIGABRT] {
            let mut run = start(project.stockade(&run_with(flags, &["main.ts"])));
            let pid = run.number();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
            let (status, _) = run.finish();
            assert_eq!(status.signal(), Some(signal as i32), "{flags:?} {signal}");
            assert!(!status.core_dumped());
        }
    }
}

#[test]
fn signals_reach_the_programs_own_listeners() {
    let project = project(WAITS);
    let signals = [
        ("SIGTERM", Signal::SIGTERM),
        ("SIGINT", Signal::SIGINT),
        ("SIGHUP", Signal::SIGHUP),
        ("SIGUSR1", Signal::SIGUSR1),
        ("SIGQUIT", Signal::SIGQUIT),
        ("SIGUSR2", Signal::SIGUSR2),
    ];
    for flags in BOTH {
        for (name, signal) in signals {
            let mut run = start(project.stockade(&run_with(flags, &["main.ts", name])));
            run.number();
            run.signal(signal);
            let (status, rest) = run.finish();
            assert_eq!(rest, format!("caught {name}\n"), "{flags:?}");
            assert_eq!(status.code(), Some(7), "{flags:?} {name}");
        }
    }
}

/// Starts descendants that do everything to stay: a session of their own, two forks, deaf to
/// signals. Prints their processes, then ends or waits.
const FAMILY: &str = r#"
const shell = (text: string) =>
  new Deno.Command("sh", { args: ["-c", text], stdin: "null", stdout: "piped" }).spawn();
const deaf = `trap "" TERM HUP INT QUIT; echo $$; exec >/dev/null 2>&1; while :; do sleep 60; done`;
const children = [
  shell(deaf),
  shell(`setsid sh -c '${deaf}' & wait`),
  shell(`(sh -c '${deaf}' &) & exit 0`),
  shell(`(setsid sh -c 'sh -c "$0" & exit 0' '${deaf}' &) & exit 0`),
];
for (const child of children) {
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  console.log(new TextDecoder().decode(value).trim());
}
if (Deno.args[0] === "wait") setInterval(() => {}, 1000);
else Deno.exit(5);
"#;

fn family(run: &mut Running) -> Vec<i32> {
    (0..4).map(|_| run.number()).collect()
}

#[test]
fn descendants_end_with_the_run() {
    let project = project(FAMILY);
    let mut control = start(project.bare(&["run", "--allow-run", "main.ts"]));
    let left = family(&mut control);
    let (status, _) = control.finish();
    assert_eq!(status.code(), Some(5));
    assert!(
        left.iter().any(|pid| is_running(*pid)),
        "outside, they stay, else this test shows nothing"
    );
    for pid in left {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }

    for grant in ["--allow-run", "--allow-run=sh,setsid,sleep"] {
        let mut run = start(project.stockade(&["run", grant, "main.ts"]));
        let pids = family(&mut run);
        let (status, _) = run.finish();
        assert_eq!(status.code(), Some(5), "{grant}");
        for pid in pids {
            assert!(
                !is_running(pid),
                "{grant}: descendant {pid} outlived the run"
            );
        }
    }
}

#[test]
fn a_signalled_run_takes_its_descendants_along() {
    let project = project(FAMILY);
    let mut run = start(project.stockade(&["run", "--allow-run", "main.ts", "wait"]));
    let pids = family(&mut run);
    run.signal(Signal::SIGTERM);
    let (status, _) = run.finish();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    for pid in pids {
        assert!(!is_running(pid), "descendant {pid} outlived the run");
    }
}

#[test]
fn timeout_ends_the_whole_tree_with_124() {
    let project = project(FAMILY);
    let mut run =
        start(project.stockade(&["run", "--timeout=5s", "--allow-run", "main.ts", "wait"]));
    let pids = family(&mut run);
    let (status, _) = run.finish();
    assert_eq!(status.code(), Some(124));
    for pid in pids {
        assert!(!is_running(pid), "descendant {pid} outlived the timeout");
    }
    // Its twin: a program that is done in time keeps its own code.
    project.write("quick.ts", "Deno.exit(6)");
    project
        .stockade(&["run", "--timeout=600s", "quick.ts"])
        .run()
        .expect_code(6);
}

#[test]
fn timeout_ends_a_program_that_ignores_signals() {
    let project = project(
        "for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) Deno.addSignalListener(name, () => {});
         console.log(Deno.pid);
         while (true) {}",
    );
    let mut run = start(project.stockade(&["run", "--timeout=1s", "main.ts"]));
    let pid = run.number();
    let (status, _) = run.finish();
    assert_eq!(status.code(), Some(124));
    assert_ends(pid, "the program");
}

#[test]
fn killing_the_waiter_kills_the_program() {
    let project = project(WAITS);
    for flags in [&["--timeout=600s"][..], &["--allow-run"]] {
        let mut run = start(project.stockade(&run_with(flags, &["main.ts"])));
        let pid = run.number();
        assert!(is_running(pid));
        run.signal(Signal::SIGKILL);
        let (status, _) = run.finish();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        assert_ends(pid, "the program");
    }
}

#[test]
fn children_the_caller_had_before_stay() {
    let project = project("console.log('ran')");
    for flags in BOTH {
        let mut line = vec!["-c", "sleep 600 >/dev/null & echo $!; exec \"$@\"", "sh"];
        let arguments = run_with(flags, &["main.ts"]);
        line.push(stockade_path());
        line.extend(arguments);
        let mut run = start(project.launch("/bin/sh".as_ref(), &line));
        let bystander = run.number();
        assert_eq!(run.line(), "ran");
        let (status, _) = run.finish();
        assert_eq!(status.code(), Some(0));
        assert!(
            is_running(bystander),
            "{flags:?} ended a child of the caller"
        );
        let pid = nix::unistd::Pid::from_raw(bystander);
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn standard_input_passes_through() {
    let project = project(
        "let bytes = 0;
         for await (const chunk of Deno.stdin.readable) bytes += chunk.length;
         console.log(bytes);",
    );
    let input = vec![b'x'; 3_000_000];
    for flags in BOTH {
        project
            .stockade(&run_with(flags, &["main.ts"]))
            .input(&input)
            .run()
            .expect_output("3000000\n");
    }
}

#[test]
fn fifty_megabytes_of_output_arrive() {
    let project = project(
        "const chunk = new Uint8Array(1_000_000).fill(120);
         const writer = Deno.stdout.writable.getWriter();
         for (let index = 0; index < 50; index++) await writer.write(chunk);",
    );
    for flags in BOTH {
        let mut command = project
            .stockade(&run_with(flags, &["main.ts"]))
            .into_command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let bytes = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        assert_eq!(bytes, 50_000_000, "{flags:?}");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_closed_pipe_ends_a_pipeline_as_in_deno() {
    let project = project(
        "for (let index = 0; index < 1_000_000; index++) Deno.stdout.writeSync(new Uint8Array(1000).fill(10));",
    );
    let pipeline = |words: &[&str]| {
        let line = r#"{ "$@" 2>/dev/null; echo "exit $?" >&2; } | head -c 5 >/dev/null"#;
        let mut all = vec!["-c", line, "sh"];
        all.extend(words);
        project.launch("/bin/sh".as_ref(), &all).run().stderr
    };
    let bare = crate::support::runner().to_str().unwrap();
    let expected = pipeline(&[bare, "run", "main.ts"]);
    for flags in BOTH {
        let mut words = vec![stockade_path()];
        words.extend(run_with(flags, &["main.ts"]));
        assert_eq!(pipeline(&words), expected, "{flags:?}");
    }
}

/// Prints which signals are ignored and blocked in this process and in a child.
const DISPOSITIONS: &str = r#"
const show = (text: string) => text.split("\n").filter((line) => /^Sig(Ign|Blk)/.test(line)).join(" ");
console.log(show(Deno.readTextFileSync("/proc/self/status")));
const child = new Deno.Command("cat", { args: ["/proc/self/status"] }).outputSync();
console.log(show(new TextDecoder().decode(child.stdout)));
"#;

#[test]
fn signal_dispositions_are_the_callers() {
    let project = project(DISPOSITIONS);
    let with_ignored = |words: &[&str]| {
        let mut all = vec!["-c", r#"trap "" HUP USR2; exec "$@""#, "sh"];
        all.extend(words);
        let outcome = project.launch("/bin/sh".as_ref(), &all).run();
        outcome.expect_success();
        outcome.stdout
    };
    let bare = crate::support::runner().to_str().unwrap();
    let expected = with_ignored(&[bare, "run", "-A", "main.ts"]);
    for flags in [&["-A"][..], &["-A", "--timeout=600s"]] {
        let mut words = vec![stockade_path()];
        words.extend(run_with(flags, &["main.ts"]));
        assert_eq!(with_ignored(&words), expected, "{flags:?}");
    }
}

#[test]
fn a_hang_up_ignored_by_nohup_stays_ignored() {
    let project = project(WAITS);
    for flags in BOTH {
        let mut all = vec!["-c", r#"trap "" HUP; exec "$@""#, "sh", stockade_path()];
        all.extend(run_with(flags, &["main.ts"]));
        let mut run = start(project.launch("/bin/sh".as_ref(), &all));
        let pid = run.number();
        run.signal(Signal::SIGHUP);
        run.signal(Signal::SIGTERM);
        let (status, _) = run.finish();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{flags:?}");
        assert_ends(pid, "the program");
    }
}

#[test]
fn a_closed_standard_stream_is_no_door() {
    // With descriptor 0, 1 or 2 closed, the first file Stockade opens must not become one of them.
    let project = project("console.log('ran'); console.error('ran');");
    for (closed, stdout) in [("0<&-", "ran\n"), ("1>&-", ""), ("2>&-", "ran\n")] {
        for flags in BOTH {
            let line = format!(r#""$@" {closed}"#);
            let mut all = vec!["-c", &line, "sh", stockade_path()];
            all.extend(run_with(flags, &["main.ts"]));
            let outcome = project.launch("/bin/sh".as_ref(), &all).run();
            assert_eq!(
                (outcome.code, outcome.stdout.as_str()),
                (Some(0), stdout),
                "{closed} {flags:?}: {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn many_runs_leave_no_process_behind() {
    let project = project("console.log(Deno.pid)");
    let script = "
import os, subprocess, sys
# As the subreaper of everything that is started here, whatever stays behind becomes a child.
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for _ in range(5):
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
try:
    print('left', os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print('none')
";
    for flags in BOTH {
        let mut command = Command::new(python());
        command
            .args(["-c", script, stockade_path()])
            .args(run_with(flags, &["main.ts"]))
            .current_dir(project.directory())
            .env("STOCKADE_CACHE", crate::support::cache());
        let output = command.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "none\n",
            "{flags:?}"
        );
    }
}

#[test]
fn the_programs_environment_is_what_the_caller_says_and_no_more() {
    let project = Project::new().file("main.ts", "console.log(Deno.args.join('|'))");
    // Arguments pass untouched, whatever they look like.
    let odd = [
        "--allow-read",
        "-x",
        "",
        "a b",
        "\u{1f98a}",
        "--",
        "'\"$HOME",
    ];
    let mut words = vec!["run", "main.ts"];
    words.extend(odd);
    project
        .stockade(&words)
        .run()
        .expect_output(&format!("{}\n", odd.join("|")));
}
