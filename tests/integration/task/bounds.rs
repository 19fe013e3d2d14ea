// SPDX-License-Identifier: MIT
//! What a line cannot have Stockade do for it: by variables that Stockade goes by, and within bounds
//! by settings of its siblings.
//!
//! Invariant: every line that is refused works with one flag more, or one variable of the caller's.

use std::fs;

use super::{project, task, with_configuration};
use crate::egress::dns_server::NameServer;
use crate::egress::servers::Server;
use crate::egress::world::{address, free};
use crate::support::{Project, python};

/// Prints what a peer says first: arguments HOST PORT.
const CLIENT: &str = "
import socket, sys
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
print(stream.recv(100).decode().strip())
";

/// Variables that name certificate authorities, and the other ones that make something readable.
#[test]
fn variables_that_make_grants_are_the_callers() {
    let secret = Project::new().file("key", "secret-key\n");
    let directory = secret.directory().display().to_string();
    let key = secret.path("key");
    let tools = Project::new();
    tools.write_program("rustup", "#!/bin/sh\n");
    let path = format!(
        "{}:{}",
        tools.directory().display(),
        std::env::var("PATH").unwrap()
    );
    for name in [
        "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO",
        "GIT_SSL_CAINFO",
        "NIX_SSL_CERT_FILE",
        "PIP_CERT",
        "SSL_CERT_DIR",
        "RUSTUP_HOME",
    ] {
        let command = format!("stockade exec --allow-net=127.0.0.1 -- cat {key}");
        let project = project(&[
            ("sets", &format!("{name}={directory} {command}")),
            ("exports", &format!("export {name}={directory}; {command}")),
            ("plain", &command),
        ]);
        let run = |words: &[&str]| task(&project, words).env("PATH", &path);
        for line in ["sets", "exports"] {
            for words in [&["--allow-net=127.0.0.1", line][..], &[line]] {
                let denied = run(words).without_env(name).run();
                denied.expect_nowhere("secret-key").expect_error(&format!(
                    "`{name}` set by the task `{line}` is not passed to `stockade`"
                ));
                assert_ne!(denied.code, Some(0), "{name}: {denied:?}");
            }
        }
        // The twin: the caller's own.
        let allowed = run(&["--allow-net=127.0.0.1", "plain"]).env(name, &directory);
        allowed.run().expect_output("secret-key\n");
    }
}

#[test]
fn name_servers_of_a_line_lead_nowhere() {
    let server = Server::banner(free(), "hello");
    let names = NameServer::start(address());
    names.set("api.example", &[server.ip()]);
    let (port, dns) = (server.port(), names.address());
    let line = format!(
        "stockade exec --allow-net=api.example:{port} --dns={dns} --allow-private=api.example:{port} \
         -- {} client.py api.example {port}",
        python().display()
    );
    let private = line.replace(&format!("--dns={dns} "), "");
    let project = project(&[("t", &line), ("private", &private)])
        .file("client.py", CLIENT)
        .file(
            "private.yaml",
            &format!(
                "version: 1\npermissions: {{net: [{{host: api.example, port: {port}, private: true}}]}}\n"
            ),
        )
        .file(
            "both.yaml",
            &format!(
                "version: 1\npermissions: {{net: [{{host: api.example, port: {port}, private: true}}]}}\ndns: [\"{dns}\"]\n"
            ),
        );
    let grant = format!("--allow-net=api.example:{port}");
    for (words, setting) in [
        (&[grant.as_str(), "t"][..], format!("`--dns={dns}`")),
        (&["--policy=private.yaml", "t"], format!("`--dns={dns}`")),
        (
            &[&grant, "private"],
            format!("`--allow-private=api.example:{port}`"),
        ),
        (
            &["-N", "--deny-net=b.example", "t"],
            format!("`--dns={dns}`"),
        ),
    ] {
        let denied = task(&project, words).run();
        denied.expect_refused().expect_error(&format!(
            "and {setting} is more than `stockade task` was given"
        ));
    }
    assert_eq!((server.hits(), names.packets()), (0, 0));
    // The twins: a policy that says so, the whole network, and no bounds.
    for words in [&["--policy=both.yaml", "t"][..], &["-N", "t"], &["t"]] {
        task(&project, words)
            .run()
            .expect_output("220 hello ESMTP\n");
    }
    assert_eq!(server.hits(), 3);
}

#[test]
fn a_proxy_of_a_line_is_not_connected_to() {
    let proxy = Server::counter(free());
    let line = format!(
        "stockade exec --allow-net=api.example:81 --upstream-proxy=http://u:s3cret@{} -- {} client.py api.example 81",
        proxy.address(),
        python().display()
    );
    let project = project(&[("t", &line)]).file("client.py", CLIENT);
    let denied = task(&project, &["--allow-net=api.example:81", "t"]).run();
    denied.expect_refused().expect_error(&format!(
        "`--upstream-proxy=http://{}` is more than `stockade task` was given",
        proxy.address()
    ));
    assert_eq!(proxy.hits(), 0);
    // What it says does not matter: it was asked.
    task(&project, &["-N", "t"]).run();
    assert!(proxy.hits() > 0);
}

/// Files that Stockade reads and writes for a line.
#[test]
fn files_of_settings_lie_within_the_bounds() {
    let outside = Project::new()
        .file("secret.env", "KEY=secret-key\n")
        .file("x.lock", "{\"version\": \"5\"}\n");
    let (secret, lock) = (outside.path("secret.env"), outside.path("x.lock"));
    let (audit, report) = (outside.path("audit.jsonl"), outside.path("report.md"));
    let directory = outside.directory().display().to_string();
    let program = "deno run --no-check --allow-env=KEY";
    let project = project(&[
        ("env", &format!("{program} --env-file={secret} env.js")),
        ("lock", &format!("{program} --lock={lock} env.js")),
        ("audit", &format!("{program} --audit={audit} env.js")),
        ("report", &format!("{program} --report={report} env.js")),
        (
            "nested",
            &format!("stockade task --audit={audit} --eval 'true'"),
        ),
    ])
    .file(
        "env.js",
        "console.log(Deno.env.get('KEY')); try { Deno.env.get('B'); } catch {}",
    );
    for (name, setting, more) in [
        (
            "env",
            "--env-file",
            &[format!("--allow-read={directory}")][..],
        ),
        ("env", "--env-file", &[format!("--env-file={secret}")]),
        (
            "lock",
            "--lock",
            &[
                format!("--allow-read={directory}"),
                format!("--allow-write={lock}"),
            ],
        ),
        ("audit", "--audit", &[format!("--allow-write={audit}")]),
        ("nested", "--audit", &[format!("--audit={audit}")]),
        ("report", "--report", &[format!("--report={report}")]),
    ] {
        let denied = task(&project, &["--allow-env=KEY", name]).run();
        denied
            .expect_refused()
            .expect_error(&format!("and `{setting}="))
            .expect_nowhere("secret-key");
        assert!(!outside.has("audit.jsonl") && !outside.has("report.md"));
        let mut words = vec!["--allow-env=KEY"];
        words.extend(more.iter().map(String::as_str));
        words.push(name);
        let allowed = task(&project, &words).run();
        allowed.expect_success();
        assert_eq!(allowed.stdout.contains("secret-key"), name == "env");
        // Nothing was denied, so the audit may be empty, and an empty file of a grant is removed.
        assert_eq!(outside.has("report.md"), name == "report");
        for made in [&audit, &report] {
            let _ = fs::remove_file(made);
        }
    }
}

/// A program shows itself, at least in what is wrong with it.
#[test]
fn programs_of_a_line_lie_within_the_bounds() {
    let outside = Project::new()
        .file("key", "secret-key here\n")
        .file("out.js", "console.log('outside');");
    let (key, script) = (outside.path("key"), outside.path("out.js"));
    let directory = outside.directory().display().to_string();
    let project = project(&[
        ("key", &format!("deno run --no-check --ext=js {key}")),
        ("script", &format!("deno run --no-check {script}")),
        ("tests", &format!("deno test --no-check '{directory}/*.js'")),
        ("own", "deno run --no-check own.js"),
        ("pattern", "deno test --no-check 'own*.js'"),
    ])
    .file("own.js", "console.log('own');");
    let run = |words: &[&str]| task(&project, words).run();
    for name in ["key", "script", "tests"] {
        run(&["--allow-env=A", name])
            .expect_refused()
            .expect_nowhere("secret-key")
            .expect_nowhere("outside\n");
    }
    let read = format!("--allow-read={directory}");
    run(&["--allow-env=A", &read, "script"]).expect_output("outside\n");
    run(&["--allow-env=A", &read, "key"])
        .expect_code(1)
        .expect_error("secret-key");
    assert!(
        run(&["--allow-env=A", &read, "tests"])
            .stdout
            .contains("outside\n")
    );
    run(&["--allow-env=A", "own"]).expect_output("own\n");
    assert!(run(&["--allow-env=A", "pattern"]).stdout.contains("own\n"));
    // Without bounds the line decides.
    run(&["script"]).expect_output("outside\n");
}

/// Another project may be read by the lines that run there, and a policy grants.
/// A path is within the bounds when the line is judged, and leads out of them when it is used.
#[test]
fn links_that_a_line_makes_lead_no_further_than_the_bounds() {
    let line = "ln -s ../private data/x; deno run --allow-read=data/x read.ts; cat data/kept";
    let run = |flags: &[&str]| {
        let project = project(&[("turns", line)])
            .file("private/key", "secret-key\n")
            .file("data/kept", "went on\n")
            .file(
                "read.ts",
                "console.log(Deno.readTextFileSync('data/x/key'));",
            );
        let mut words = flags.to_vec();
        words.extend(["--allow-write=data", "turns"]);
        task(&project, &words).run()
    };
    let denied = run(&["--allow-read=data"]);
    denied
        .expect_nowhere("secret-key")
        .expect_error("the task `turns` asked for a program and does not get it")
        .expect_error("--allow-read=data/x")
        .expect_error("\nhint: flags and policies of `stockade task` bound what its lines may grant: add `--allow-read=data/x`");
    denied.expect_output("went on\n");
    for wider in ["--allow-read=.", "--allow-read=data,private"] {
        run(&[wider]).expect_output("secret-key\n\nwent on\n");
    }
}

/// What was granted to a task stays where it was when the task began: a line that may write around it
/// could turn it into a link to anything.
#[test]
fn what_bounds_a_task_does_not_move() {
    let secret = Project::new().file("key", "secret-key\n");
    let elsewhere = secret.directory().display().to_string();
    let served = |moves: bool| {
        let served = Project::new().file("data/key", "public\n");
        let data = served.path("data");
        let turn = match moves {
            true => format!("mv {data} {data}.old; ln -s {elsewhere} {data}"),
            false => format!("ls {data}"),
        };
        (served, data, turn)
    };
    for moves in [true, false] {
        // A sibling of the same line, the shell of another line, a task that a line starts.
        for name in ["sibling", "later", "nested"] {
            let (served, data, turn) = served(moves);
            let read = format!("--allow-read={data}");
            let project = with_configuration(&format!(
                r#"{{"tasks": {{
                    "turns": "{turn}",
                    "sibling": "{turn}; deno run {read} read.ts",
                    "later": {{"command": "cat {data}/key", "dependencies": ["turns"]}},
                    "nested": "{turn}; deno task {read} reads",
                    "reads": "cat {data}/key"
                }}}}"#
            ))
            .file(
                "read.ts",
                &format!("console.log(Deno.readTextFileSync('{data}/key'));"),
            );
            let write = format!("--allow-write={}", served.directory().display());
            let outcome = task(&project, &[&read, &write, name]).run();
            outcome.expect_nowhere("secret-key");
            if moves {
                outcome.expect_error(&elsewhere);
                assert_ne!(outcome.code, Some(0), "{name}: {outcome:?}");
            } else {
                outcome.expect_success();
                assert!(outcome.stdout.contains("public\n"), "{name}: {outcome:?}");
            }
        }
    }
}

/// A link can turn between the judgement of a sibling and its own look at its grants: what it led to is
/// handed over.
#[test]
fn what_was_judged_is_handed_to_what_a_task_starts() {
    let project = Project::new().file("data/key", "public\n").file("log", "");
    let (data, log) = (project.path("data"), project.path("log"));
    let words = [
        "exec",
        &format!("--allow-read={data}"),
        "--allow-env",
        &format!("--audit={log}"),
        "--",
        "sh",
        "-c",
        "cat data/key; echo ${STOCKADE_JUDGED-unseen}",
    ];
    let run = |judged: &str| {
        let launch = project.stockade(&words);
        launch.env("STOCKADE_JUDGED", judged).run()
    };
    for (judged, error) in [
        (
            format!(r#"{{"{data}": "/elsewhere"}}"#),
            format!(
                "error: `--allow-read={data}` leads to `{data}` now, and led to `/elsewhere` when it was judged\n"
            ),
        ),
        (
            format!(r#"{{"{log}": "/elsewhere"}}"#),
            format!(
                "error: `--audit` leads to `{log}` now, and led to `/elsewhere` when the task began\n"
            ),
        ),
        (
            "{".to_owned(),
            "error: `STOCKADE_JUDGED` does not say where paths led: ".to_owned(),
        ),
    ] {
        run(&judged)
            .expect_code(125)
            .expect_error(&error)
            .expect_nowhere("public");
    }
    let led = format!(r#"{{"{data}": "{data}", "{log}": "{log}", "/other": "/elsewhere"}}"#);
    run(&led).expect_output("public\nunseen\n");

    // A task that a line starts has bounds of its own to look at.
    let tasks = with_configuration(&format!(r#"{{"tasks": {{"reads": "cat {data}/key"}}}}"#));
    let read = format!("--allow-read={data}");
    let nested = |judged: &str| {
        let launch = task(&tasks, &[&read, "reads"]);
        launch.env("STOCKADE_JUDGED", judged).run()
    };
    nested(&format!(r#"{{"{data}": "/elsewhere"}}"#))
        .expect_code(125)
        .expect_nowhere("public")
        .expect_error(&format!(
            "error: `{data}` leads to `{data}` now, and led to `/elsewhere` when the task began\n"
        ));
    nested(&led).expect_output("public\n");
}

#[test]
fn tasks_of_a_line_stay_within_the_bounds() {
    let secret = Project::new().file("key", "secret-key\n");
    let directory = secret.directory().display().to_string();
    let project = with_configuration(&format!(
        r#"{{"tasks": {{
            "elsewhere": "stockade task --cwd={directory} --eval 'cat key'",
            "here": "stockade task --cwd=sub --eval 'cat here.txt'",
            "wider": "deno task --policy=wide.yaml reads",
            "reads": "deno run --no-check --allow-read={directory} read.js"
        }}}}"#
    ))
    .file("sub/here.txt", "here\n")
    .file(
        "read.js",
        &format!("console.log(Deno.readTextFileSync('{directory}/key'));"),
    )
    .file(
        "wide.yaml",
        &format!("version: 1\npermissions: {{read: [\"{directory}\"]}}\n"),
    );
    let run = |words: &[&str]| task(&project, words).run();
    run(&["--allow-env=KEY", "elsewhere"])
        .expect_refused()
        .expect_error(&format!("`--cwd={directory}` is more than"))
        .expect_nowhere("secret-key");
    run(&["--allow-env=KEY", "here"]).expect_output("here\n");
    run(&["elsewhere"]).expect_output("secret-key\n");
    run(&["--allow-env=KEY", "wider"])
        .expect_refused()
        .expect_nowhere("secret-key");
    let grant = format!("--allow-read={directory}");
    run(&[&grant, "reads"]).expect_output("secret-key\n\n");
    run(&["wider"]).expect_output("secret-key\n\n");
}

#[test]
fn the_listener_of_serve_lies_within_the_bounds() {
    let project = project(&[("t", "deno serve --no-check --port=18123 main.js")]);
    let explained = |grant: &str| project.stockade(&["explain", "task", grant, "t"]).run();
    explained("--allow-env=KEY")
        .expect_refused()
        .expect_error("add `--allow-net=0.0.0.0:18123`");
    explained("--allow-net=0.0.0.0:18123").expect_success();
}
