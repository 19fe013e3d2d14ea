// SPDX-License-Identifier: MIT
//! `stockade task`: the tasks of a project, their shells inside walls and their siblings beside them.
//!
//! Invariant: what a task is denied works with one flag more, and outside any sandbox.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Launch, Project};

mod bounds;
mod given;
mod walls;
mod watched;

/// A project with these tasks, in the order given.
fn project(tasks: &[(&str, &str)]) -> Project {
    let tasks: Vec<String> = tasks
        .iter()
        .map(|(name, line)| format!("{}: {}", json(name), json(line)))
        .collect();
    with_configuration(&format!("{{\"tasks\": {{{}}}}}", tasks.join(", ")))
}

fn with_configuration(text: &str) -> Project {
    Project::new()
        .file("deno.json", text)
        .file("main.js", "console.log('main', ...Deno.args);")
        .file("exit.js", "Deno.exit(Number(Deno.args[0]));")
        .file(
            "upper.js",
            "const text = await new Response(Deno.stdin.readable).text(); console.log(text.toUpperCase());",
        )
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn task(project: &Project, words: &[&str]) -> Launch {
    let mut all = vec!["task"];
    all.extend(words);
    project.stockade(&all)
}

#[test]
fn the_missions_tasks_run_unchanged() {
    let project = with_configuration(
        r#"{"tasks": {
            "dev": "deno run --watch --allow-net --allow-env src/main.ts",
            "start": "deno run --allow-net=api.openai.com --allow-env=OPENAI_API_KEY src/main.ts",
            "check": "deno check src/main.ts",
            "test": "deno test --allow-net"
        }}"#,
    )
    .file(
        "src/main.ts",
        "const key: string | undefined = Deno.env.get('OPENAI_API_KEY');
         console.log(key, Deno.args);
         try { Deno.env.get('OTHER'); } catch (error) { console.log((error as Error).name); }
         try { await fetch('http://127.0.0.1:9/'); } catch { console.log('refused'); }",
    )
    .file(
        "src/main_test.ts",
        "Deno.test('adds', () => { if (1 + 1 !== 2) throw new Error(); });",
    )
    .file(".env", "OPENAI_API_KEY=sk-test\n");
    task(&project, &["check"]).run().expect_success();
    let tested = task(&project, &["test"]).run();
    tested.expect_success();
    assert!(tested.stdout.contains("1 passed"), "{tested:?}");
    project
        .stockade(&["explain", "task", "dev"])
        .run()
        .expect_success();
    let outcome = task(&project, &["start", "a b", "$HOME"])
        .env("OPENAI_API_KEY", "sk-1")
        .env("OTHER", "secret")
        .run();
    outcome.expect_output("sk-1 [ \"a b\", \"$HOME\" ]\nNotCapable\nrefused\n");
    outcome.expect_error("Task start deno run --allow-net=api.openai.com");
    // The mission's own line, in a shell.
    task(&project, &["start"])
        .through_shell("export $(cat .env | xargs) && exec \"$@\"")
        .run()
        .expect_output("sk-test []\nNotCapable\nrefused\n");
}

#[test]
fn the_language_is_that_of_the_task_shell() {
    let cases = [
        ("echo a && echo b; false || echo c", "a\nb\nc\n"),
        (
            "! false && (cd sub && pwd | head -n 1 && cat here.txt)",
            "<project>/sub\nhere\n",
        ),
        (
            "A=b && echo $A $(echo sub) *.json \"*.json\" '$A'",
            "b sub deno.json *.json $A\n",
        ),
        ("echo \"$NAMED\" $UNNAMED_ELSEWHERE | cat", "named\n"),
        ("echo 1 2 | xargs echo got", "got 1 2\n"),
        (
            "cat < sub/here.txt; cat missing 2> /dev/null || echo none",
            "here\nnone\n",
        ),
        ("deno run --no-check upper.js < sub/here.txt", "HERE\n\n"),
        ("echo x y | deno run --no-check upper.js | cat", "X Y\n\n"),
        ("echo 7 | xargs deno run --no-check main.js a", "main a 7\n"),
        (
            "FOO=bar deno run --no-check --allow-env=FOO env.js",
            "bar\n",
        ),
        (
            "export FOO=baz; deno run --no-check --allow-env=FOO env.js; unset FOO; deno run --no-check --allow-env=FOO env.js",
            "baz\nundefined\n",
        ),
        (
            "cd sub && deno run --no-check ../main.js $(cat here.txt) *.txt",
            "main here here.txt\n",
        ),
        (
            "deno run --no-check exit.js 3 || echo failed $?",
            "failed 3\n",
        ),
        (
            "deno run --no-check main.js 1 & deno run --no-check main.js 1; echo",
            "main 1\n\nmain 1\n",
        ),
        ("deno main.js --allow-net", "main --allow-net\n"),
        ("stockade run --no-check main.js", "main\n"),
        ("deno eval 'console.log(1 + 1)'", "2\n"),
        ("echo $(deno eval 'console.log(6)')", "6\n"),
        ("sort sub/here.txt | tr h H", "Here\n"),
    ];
    let project = project(&[("all", "true")])
        .file("sub/here.txt", "here\n")
        .file("env.js", "console.log(Deno.env.get('FOO'));");
    for (line, output) in cases {
        project.write(
            "deno.json",
            &format!("{{\"tasks\": {{\"all\": {}}}}}", json(line)),
        );
        let outcome = task(&project, &["all"]).env("NAMED", "named").run();
        let output = output.replace("<project>", &project.path(""));
        let (output, found) = (output.replace("//", "/"), &outcome.stdout);
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        // Two at the same time come in any order.
        assert!(
            outcome.code == Some(0) && sorted(found) == sorted(&output),
            "{line}: {outcome:?}"
        );
    }
}

#[test]
fn exit_codes_and_arguments_are_the_lines() {
    let project = project(&[
        ("code", "deno run --no-check exit.js"),
        ("exit", "exit 4"),
        ("shell", "sh -c 'exit 6'"),
        ("unknown", "no-such-command-anywhere"),
        ("signal", "sh -c 'kill -TERM $$'"),
    ]);
    for (words, code) in [
        (&["code", "5"][..], 5),
        (&["exit"], 4),
        (&["shell"], 6),
        (&["unknown"], 127),
        (&["signal"], 143),
    ] {
        task(&project, words).run().expect_code(code);
    }
}

#[test]
fn tasks_are_listed_and_missing_ones_named() {
    let project = with_configuration(
        r#"{"tasks": {"b": "echo b", "a": {"command": "echo a", "description": "the a", "dependencies": ["b"]}}}"#,
    )
    .file("package.json", r#"{"scripts": {"s": "echo s"}}"#);
    task(&project, &[]).run().expect_output(
        "Available tasks:\n- b\n    echo b\n- a\n    // the a\n    echo a\n    depends on: b\n\
         - s (package.json)\n    echo s\n",
    );
    let missing = task(&project, &["nope"]).run();
    missing
        .expect_refused()
        .expect_error("there is no task `nope`");
    missing.expect_error("the tasks are `b`, `a`, `s`");
    task(&project, &["--if-present", "nope"])
        .run()
        .expect_output("");
    let empty = Project::new();
    task(&empty, &["x"])
        .run()
        .expect_refused()
        .expect_error("neither `deno.json`");
    task(&project, &["s"])
        .directory(empty.directory())
        .run()
        .expect_refused();
    let elsewhere = task(&project, &["--cwd", &project.path(""), "s"]);
    elsewhere
        .directory(empty.directory())
        .run()
        .expect_output("s\n");
}

#[test]
fn dependencies_run_first_and_once() {
    let project = with_configuration(
        r#"{"tasks": {
            "all": {"dependencies": ["left", "right"], "command": "echo all"},
            "left": {"dependencies": ["base"], "command": "echo left"},
            "right": {"dependencies": ["base"], "command": "echo right"},
            "base": "echo base",
            "broken": {"dependencies": ["fails", "base"], "command": "echo never"},
            "fails": "exit 9",
            "x": {"dependencies": ["y"]}, "y": {"dependencies": ["x"], "command": "echo y"},
            "bad": {"dependencies": ["base"], "command": "deno run $X"},
            "t:1": "echo one", "t:2": "echo two"
        }}"#,
    );
    task(&project, &["-j1", "all"])
        .run()
        .expect_output("base\nleft\nright\nall\n");
    let parallel = task(&project, &["-j4", "all"]).run();
    parallel.expect_success();
    let mut lines: Vec<&str> = parallel.stdout.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"base"), Some(&"all")));
    lines.sort_unstable();
    assert_eq!(lines, ["[left] left", "[right] right", "all", "base"]);
    task(&project, &["-j1", "broken"])
        .run()
        .expect_code(9)
        .expect_nowhere("never\n");
    task(&project, &["x"])
        .run()
        .expect_refused()
        .expect_error("tasks depend on each other: x -> y -> x");
    let bad = task(&project, &["bad"]).run();
    bad.expect_refused().expect_nowhere("Task base");
    task(&project, &["-j1", "t:*"])
        .run()
        .expect_output("one\ntwo\n");
}

#[test]
fn scripts_of_packages_and_members_of_workspaces_are_tasks() {
    let project = with_configuration(
        r#"{"workspace": ["./member"], "tasks": {"root": "pwd", "build": "echo deno build"}}"#,
    )
    .file("member/deno.json", r#"{"tasks": {"own": "pwd && echo $INIT_CWD"}}"#)
    .file(
        "package.json",
        r#"{"scripts": {"prebuild": "echo pre", "build": "echo npm build", "postbuild": "echo post", "n": "npm run build"}}"#,
    );
    let member = project.directory().join("member");
    let deep = member.join("deep");
    std::fs::create_dir(&deep).unwrap();
    let at = |directory: &std::path::Path, name: &str| {
        let outcome = task(&project, &[name]).directory(directory).run();
        outcome.expect_success();
        outcome.stdout
    };
    let root = project.directory().display();
    assert_eq!(
        at(&deep, "own"),
        format!("{root}/member\n{root}/member/deep\n")
    );
    assert_eq!(at(&deep, "root"), format!("{root}\n"));
    assert_eq!(at(project.directory(), "build"), "deno build\n");
    assert_eq!(at(project.directory(), "n"), "pre\nnpm build\npost\n");
}

#[test]
fn words_before_a_script_are_literal() {
    let lines = [
        ("deno run $FLAGS main.js", "$FLAGS"),
        ("deno run --allow-net=$HOST main.js", "--allow-net=$HOST"),
        ("deno run $(echo -A) main.js", "$(…)"),
        ("deno run -R *.js", "*.js"),
        (
            "echo a | (cat && echo $(deno run $FLAGS main.js))",
            "$FLAGS",
        ),
        ("$RUN main.js", "$RUN"),
        ("xargs $RUN", "$RUN"),
    ];
    for (line, word) in lines {
        let project = project(&[("t", line)]);
        let outcome = task(&project, &["t"])
            .env("FLAGS", "-A")
            .env("RUN", "deno")
            .run();
        outcome.expect_refused().expect_nowhere("Task t");
        outcome
            .expect_error(&format!("`{word}`"))
            .expect_error("the task `t` cannot run");
        outcome.expect_error("hint: write");
    }
    for line in [
        "find . | xargs deno run -A",
        "deno run -A",
        "deno fmt",
        "deno run --no-such main.js",
    ] {
        task(&project(&[("t", line)]), &["t"])
            .run()
            .expect_refused();
    }
    // What is expanded behind it is the script's, flags and all.
    let project = project(&[("t", "deno run --no-check main.js $FLAGS *.json")]);
    task(&project, &["t"])
        .env("FLAGS", "-A")
        .run()
        .expect_output("main -A deno.json\n");
}

#[test]
fn flags_of_the_task_bound_its_siblings() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let line = format!("deno run --no-check --allow-net={address} --allow-env=A net.js");
    let project = project(&[("t", &line), ("outer", "deno task t")]).file(
        "net.js",
        &format!(
            "await Deno.connect({{hostname: '127.0.0.1', port: {}}}); console.log('through');",
            address.port()
        ),
    );
    let grant = format!("--allow-net={address}");
    task(&project, &["t"]).run().expect_output("through\n");
    let outside = task(&project, &[&grant, "t"]).run();
    outside
        .expect_refused()
        .expect_error("`--allow-env=A` is more than `stockade task` was given");
    task(&project, &[&grant, "--allow-env=A,B", "t"])
        .run()
        .expect_output("through\n");
    task(&project, &["-A", "t"])
        .run()
        .expect_output("through\n");
    task(&project, &["--allow-net=127.0.0.2", "--allow-env", "t"])
        .run()
        .expect_refused();
    // Denials always hold, also for the tasks that tasks start.
    let deny = format!("--deny-net={address}");
    for name in ["t", "outer"] {
        let denied = task(&project, &[&deny, name]).run();
        denied.expect_code(1);
        assert_eq!(denied.stdout, "");
        task(&project, &["--deny-net=127.0.0.9", name])
            .run()
            .expect_output("through\n");
    }
    let nested = task(&project, &[&grant, "outer"]).run();
    nested
        .expect_code(125)
        .expect_error("`--allow-env=A` is more than");
}

#[test]
fn a_signal_ends_the_line_and_its_siblings() {
    let project = project(&[
        ("builtin", "cat | cat"),
        ("program", "sleep 60; echo survived"),
        ("external", "sh -c 'echo ready; sleep 60'"),
        ("sibling", "deno run --no-check wait.js && echo survived"),
        (
            "background",
            "deno run --no-check wait.js & sh -c 'sleep 60'",
        ),
    ])
    .file(
        "wait.js",
        "console.log('ready'); setInterval(() => {}, 1000);",
    );
    for name in ["builtin", "program", "external", "sibling", "background"] {
        // A shell waits for what it started when it alone is interrupted.
        let interrupted = !["external", "background"].contains(&name);
        let signals = [libc::SIGTERM, libc::SIGINT];
        for signal in signals.into_iter().take(1 + usize::from(interrupted)) {
            let mut command = task(&project, &["--allow-run=sleep,sh", name]).into_command();
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let begun = Instant::now();
            while children(child.id()).is_empty() && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(1500));
            let tree = descendants(child.id());
            assert!(!tree.is_empty(), "{name}");
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).unwrap())
                .unwrap();
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if begun.elapsed() > Duration::from_secs(20) {
                    child.kill().unwrap();
                    panic!("{name}: still running after signal {signal}");
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            let by_signal = status.signal() == Some(signal) || status.code() == Some(128 + signal);
            assert!(by_signal, "{name}: {status:?} after {signal}");
            for pid in tree {
                let line =
                    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let gone = line.is_empty() || !line.contains(&project.path(""));
                assert!(gone, "{name}: {pid} {line:?} is left");
            }
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut at = 0;
    while at < found.len() {
        found.extend(children(found[at]));
        at += 1;
    }
    found
}

#[test]
fn explain_tells_what_would_start() {
    let project = project(&[("t", "sort x | deno run --allow-env=A main.js $B")]);
    let outcome = project
        .stockade(&["explain", "task", "--deny-net", "t"])
        .env("B", "b")
        .run();
    outcome.expect_success();
    assert!(
        outcome
            .stdout
            .contains("  beside   stockade run --deny-net --allow-env=A main.js\n"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stdout
            .contains("  inside   stockade exec --deny-net --allow-read="),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains(" --allow-env=B -- "), "{outcome:?}");
}
