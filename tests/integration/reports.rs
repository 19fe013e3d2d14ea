// SPDX-License-Identifier: MIT
//! `--report`, annotations, and the action for CI, whose script is run as it would be there.

use std::path::Path;

use serde_json::Value;

use crate::egress::servers::Server;
use crate::egress::world::{World, address, compiled, free};
use crate::support::{Launch, Outcome, Project};
use crate::support_life::{project, source, stockade_path};

/// Connects to each address of its arguments.
const NATIVE: &str = "import socket, sys
for peer in sys.argv[1:]:
    host, port = peer.rsplit(':', 1)
    try:
        socket.create_connection((host, int(port))).close()
        print('reached')
    except OSError as error:
        print(error.errno)";

fn json(project: &Project, name: &str) -> Value {
    serde_json::from_str(&project.read(name)).unwrap()
}

/// A run that reaches one server and is denied another one, with a report.
fn visit(world: &World, change: impl Fn(Launch) -> Launch) -> (Outcome, String, String) {
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    world.project.write("native.py", NATIVE);
    let (good, evil) = (good.address().to_string(), evil.address().to_string());
    let grant = format!("--allow-net={good}");
    let python = crate::support::python().to_str().unwrap();
    let words = [
        "exec",
        grant.as_str(),
        "--report=report.json",
        "--report=report.md",
        "--quiet-denials",
        "--",
        python,
        "native.py",
        &good,
        &evil,
        &evil,
    ];
    let outcome = change(world.project.stockade(&words)).run();
    let denied = libc::EACCES;
    outcome.expect_output(&format!("reached\n{denied}\n{denied}\n"));
    (outcome, good, evil)
}

fn expect_report(world: &World, good: &str, evil: &str) {
    let report = json(&world.project, "report.json");
    assert_eq!(report["ending"]["code"], 0);
    assert_eq!(report["denials"], 2);
    let denied = &report["denied"][0];
    assert_eq!(
        (&denied["action"], &denied["count"]),
        (&"connect".into(), &2.into())
    );
    assert_eq!(denied["object"], evil);
    let fix = denied["allow_with"].as_str().unwrap();
    assert_eq!(fix, format!("--allow-net={evil}"));
    let peer = &report["contacted"][0];
    assert_eq!(
        format!("{}:{}", peer["name"].as_str().unwrap(), peer["port"]),
        good
    );
    // Its own socket was connected: nobody counts there.
    assert_eq!(
        (&peer["connections"], &peer["sent"]),
        (&1.into(), &Value::Null)
    );
    assert!(report["layers"].as_array().unwrap().len() >= 4);
    let text = world.project.read("report.md");
    for needed in [
        "## Stockade: exit code 0\n".to_owned(),
        format!("| connect `{evil}` | 2 |"),
        format!("`{fix}`"),
        format!("| `{good}` | 1 | unknown | unknown |"),
    ] {
        assert!(text.contains(&needed), "no {needed:?} in\n{text}");
    }
}

#[test]
fn a_report_says_what_was_denied_and_whom_it_talked_to() {
    let world = World::new();
    let (outcome, good, evil) = visit(&world, |launch| launch);
    expect_report(&world, &good, &evil);
    assert!(!outcome.stderr.contains("::warning"), "{outcome:?}");
    // The same policy has the same digest, another one another.
    let digest = |world: &World| json(&world.project, "report.json")["policy_digest"].clone();
    let other = World::new();
    visit(&other, |launch| launch);
    assert_ne!(digest(&world), digest(&other));
    assert_eq!(digest(&world).as_str().unwrap().len(), 64);
}

#[test]
fn a_report_is_written_under_a_containers_default_filter_and_annotated_for_github() {
    let world = World::new();
    let outer = compiled("outer", include_str!("../data/net/outer.c"), &[]);
    let (outcome, good, evil) = visit(&world, |launch| {
        launch
            .without_env("STOCKADE_SOCKET_ROUTE")
            .env("GITHUB_ACTIONS", "true")
            .through_shell(&format!("exec '{outer}' getfd \"$@\" </dev/null"))
    });
    expect_report(&world, &good, &evil);
    let annotation = format!("::warning title=Denied by Stockade::connect {evil}: ");
    assert!(outcome.stderr.contains(&annotation), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("::warning").count(), 1);
}

#[test]
fn every_ending_is_in_the_report() {
    for (script, flags, key, value) in [
        ("Deno.exit(3)", &[][..], "code", Value::from(3)),
        (
            "Deno.kill(Deno.pid, 'SIGKILL')",
            &["--allow-run=true"],
            "signal",
            9.into(),
        ),
        (
            "setInterval(() => {}, 9)",
            &["--timeout=300ms"],
            "timed_out",
            true.into(),
        ),
        (
            "while (true) {}",
            &["--cpu-time=1"],
            "limit",
            "cpu-time".into(),
        ),
        (
            "while (true) console.log('x')",
            &["--output-size=1k"],
            "limit",
            "output-size".into(),
        ),
    ] {
        let project = project(script);
        let mut words = vec!["run", "--report=report.json"];
        words.extend(flags);
        words.push("main.ts");
        project.stockade(&words).run();
        let ending = &json(&project, "report.json")["ending"];
        assert_eq!(ending[key], value, "{script}");
        let limited = matches!(key, "timed_out" | "limit");
        let by = flags.first().filter(|_| limited);
        assert_eq!(ending["by"].as_str(), by.copied(), "{script}");
    }
}

#[test]
fn a_report_that_cannot_be_written_starts_nothing() {
    let project = project("console.log('started')");
    let run = |report: &str| project.stockade(&["run", report, "main.ts"]).run();
    run("--report=missing/report.md")
        .expect_refused()
        .expect_error("named by `--report`")
        .expect_error("hint: create its directory first");
    run("--report=report.txt")
        .expect_refused()
        .expect_error("a file that ends in `.json` or `.md`");
    run("--report=report.md").expect_output("started\n");
}

#[test]
fn the_schema_is_printed() {
    let project = Project::new();
    let outcome = project.stockade(&["help", "report-schema"]).run();
    let file = std::fs::read_to_string(source().join("policies/report.schema.json")).unwrap();
    outcome.expect_output(&file);
}

/// The script of the action, as GitHub starts it.
fn action(project: &Project, run: &str, permissions: &str) -> Outcome {
    let directory = source().join(".github/actions/stockade");
    let definition = std::fs::read_to_string(directory.join("action.yml")).unwrap();
    assert!(definition.contains("run: '\"$GITHUB_ACTION_PATH/run\"'"));
    for name in ["run", "permissions", "stockade"] {
        assert!(
            definition.contains(&format!("${{{{ inputs.{name} }}}}")),
            "{name}"
        );
    }
    project
        .launch(Path::new(&directory.join("run")), &[] as &[&str])
        .env("ACTION_RUN", run)
        .env("ACTION_PERMISSIONS", permissions)
        .env("ACTION_EXECUTABLE", stockade_path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", project.path("summary.md"))
        .env("GITHUB_TOKEN", "secret token")
        .run()
}

#[test]
fn the_action_runs_its_commands_inside_and_sums_up() {
    let project = Project::new()
        .file("given.txt", "given\n")
        .file("summary.md", "before\n");
    let done = action(
        &project,
        "cat given.txt > out.txt && echo \"token: ${GITHUB_TOKEN:-none}\"",
        "\n  --allow-write=.  \n\n# a comment\n--memory=2g\n",
    );
    done.expect_output("token: none\n");
    assert_eq!(project.read("out.txt"), "given\n");
    let summary = project.read("summary.md");
    assert!(
        summary.starts_with("before\n## Stockade: exit code 0\n"),
        "{summary}"
    );
    // Without the grant nothing is written, and the step fails with the command's own code.
    let denied = action(&project, "echo x > other.txt; exit 7", "");
    assert_ne!(denied.code, Some(0));
    assert!(!project.has("other.txt"));
    action(&project, "exit 7", "").expect_code(7);
    action(&project, "echo started", "--allow-write=.\n./not-a-flag")
        .expect_code(125)
        .expect_nowhere("started");
}
