// SPDX-License-Identifier: MIT
//! What a line may set within bounds, setting by setting: each that is refused is allowed by what the
//! second column adds.

use std::path::Path;

use super::super::arguments::{Invocation, parse};
use super::*;
use crate::host::fake::FakeHost;

fn host() -> FakeHost {
    FakeHost::new()
        .with_directory("/w/m/sub")
        .with_directory("/secret")
        .with_file("/w/m/.env", "")
        .with_file("/w/m/deno.json", "{}")
        .with_file("/secret/key", "")
        .with_link("/w/m/link", "/secret/key")
        .with_directory("/data")
}

/// The setting that is outside, of `line` under `stockade task` with these flags.
fn outside(bounds: &str, line: &str, from: Option<&str>) -> Option<String> {
    let words = |text: &str| -> Vec<std::ffi::OsString> {
        text.split_whitespace().map(Into::into).collect()
    };
    let Ok(Invocation::Task(task)) = parse(words(&format!("task {bounds} t"))) else {
        panic!("{bounds}");
    };
    let host = host();
    let none = Settings::default();
    let leads = Leads::new(&host);
    let given = Given {
        policy: &task.policy,
        settings: [&task.given, &none],
        directory: Path::new("/w/m"),
        project: Path::new("/w/m"),
        holds_home: false,
        leads: &leads,
    };
    let from = from.map(Path::new);
    let judged = match parse(words(line)) {
        Ok(Invocation::Run(run)) => given.judge_run(&run, from, &leads),
        Ok(Invocation::Task(task)) => given.judge_task(&task, from, &leads),
        other => panic!("{line}: {other:?}"),
    };
    judged.err().map(|excess| excess.setting)
}

#[test]
fn harmless_settings_are_the_lines() {
    for line in [
        "run --watch --no-check --timeout=5s --memory=1g --quiet-denials x.ts",
        "run --check=all --cached-only --reload --no-lock --frozen --no-config x.ts",
        "run --lock --lock=deno.lock --node-modules-dir=auto --env-missing=undefined x.ts",
        "run --env-file -c deno.json --import-map=sub/map.json --cert=ca.pem x.ts",
        "run --include=sub/a.ts --preload=npm:a --include=jsr:@a/b --v8-flags=--x x.ts",
        "run --allow-net=a.b:1 --verify=a.b:1=sni --ceiling=c.yaml --watch=sub x.ts",
        "test --ignore=/elsewhere --permit-no-files",
        "exec --env-file=/w/m/.env -- cat",
        "task --cwd=sub --config=deno.json --eval --no-prefix x",
    ] {
        let bounds = "--allow-net=a.b:1";
        assert_eq!(outside(bounds, line, Some("/w/m")), None, "{line}");
    }
}

#[test]
fn every_other_setting_is_given_or_granted() {
    for (line, setting, more) in [
        ("exec --dns=192.0.2.1 -- x", "--dns=192.0.2.1:53", "-N"),
        (
            "exec --upstream-proxy=http://u:p@a:1 -- x",
            "--upstream-proxy=http://a:1",
            "-A",
        ),
        (
            "exec --allow-net=a.b:1 --allow-private=a.b -- x",
            "--allow-private=a.b",
            "-N",
        ),
        (
            "run --allow-net=a.b --verify=a.b:443=none x",
            "--verify=a.b:443=none",
            "-N",
        ),
        (
            "serve --port=81 x.ts",
            "serve --port=81",
            "--allow-net=0.0.0.0:81",
        ),
        (
            "run --env-file=/secret/key x",
            "--env-file=/secret/key",
            "--env-file=/secret/key",
        ),
        (
            "run --env-file=link x",
            "--env-file=link",
            "--allow-read=/secret",
        ),
        (
            "run --env-file=../../secret/key x",
            "--env-file=../../secret/key",
            "-R",
        ),
        (
            "run --env-file=/proc/self/environ x",
            "--env-file=/proc/self/environ",
            "--allow-read=/proc",
        ),
        (
            "run --cert=/secret/key x",
            "--cert=/secret/key",
            "-R=/secret",
        ),
        (
            "run --import-map=/secret/key x",
            "--import-map=/secret/key",
            "-R=/secret",
        ),
        (
            "run --import-map=https://a.b/m.json x",
            "--import-map=https://a.b/m.json",
            "--allow-import=a.b",
        ),
        (
            "run --import-map=file:///secret/key x",
            "--import-map=file:///secret/key",
            "-A",
        ),
        (
            "run --include=/secret/key x",
            "--include=/secret/key",
            "-R=/secret",
        ),
        (
            "run --preload=https://a.b/x.ts x",
            "--preload=https://a.b/x.ts",
            "--allow-import",
        ),
        ("run --watch=/secret x", "--watch=/secret", "-R=/secret"),
        (
            "run --ceiling=/secret/key x",
            "--ceiling=/secret/key",
            "--ceiling=/secret/key",
        ),
        (
            "run --lock=/data/x.lock x",
            "--lock=/data/x.lock",
            "--allow-read=/data --allow-write=/data/x.lock",
        ),
        (
            "run --lock=package.json x",
            "--lock=package.json",
            "--allow-write=package.json",
        ),
        ("run --audit=log x", "--audit=log", "--audit=log"),
        (
            "run --audit=.envrc x",
            "--audit=.envrc",
            "--allow-write=.envrc",
        ),
        ("run --report=r.md x", "--report=r.md", "--report=r.md"),
        (
            "run --runner=/data/deno x",
            "--runner=/data/deno",
            "--runner=/data/deno",
        ),
        ("run --best-effort x", "--best-effort", "--best-effort"),
        ("task --audit=log x", "--audit=log", "--audit=log"),
        (
            "task --env-file=/secret/key x",
            "--env-file=/secret/key",
            "-R",
        ),
    ] {
        let bounds = "--allow-net=a.b:1 --allow-write=.";
        let found = outside(bounds, line, Some("/w/m"));
        assert_eq!(found.as_deref(), Some(setting), "{line}");
        // Nothing else can be granted beside everything.
        let bounds = match more {
            "-A" => more.to_owned(),
            _ => format!("{bounds} {more}"),
        };
        assert_eq!(outside(&bounds, line, Some("/w/m")), None, "{line} {more}");
    }
}

#[test]
fn nothing_allows_what_is_the_callers_alone() {
    for (line, setting) in [
        ("run --uid=0 x", "--uid=0"),
        ("run --gid=0 x", "--gid=0"),
        ("exec --keep-fd=3 -- x", "--keep-fd=3"),
        ("run --config=/data/deno.json x", "--config=/data/deno.json"),
        ("task --cwd=/data x", "--cwd=/data"),
        (
            "task --config=/data/deno.json x",
            "--config=/data/deno.json",
        ),
        ("task --policy=npm-install x", "--policy=npm-install"),
        ("run --policy=p.yaml x", "--policy=p.yaml"),
        ("run -P x", "--permission-set"),
        ("run --runner=/data/deno x", "--runner=/data/deno"),
    ] {
        for bounds in ["--allow-net=a.b:1", "-A"] {
            let found = outside(bounds, line, Some("/w/m"));
            assert_eq!(found.as_deref(), Some(setting), "{line} in {bounds}");
        }
    }
}

#[test]
fn denials_and_unknown_directories_bound_too() {
    for (bounds, line, from) in [
        (
            "-R --deny-read=/secret",
            "run --env-file=/secret/key x",
            Some("/w/m"),
        ),
        ("-R -R=. --deny-read=.env", "run --env-file x", Some("/w/m")),
        (
            "-N --deny-net=a.b",
            "exec --dns=192.0.2.1 -- x",
            Some("/w/m"),
        ),
        ("-W=log --deny-write=log", "run --audit=log x", Some("/w/m")),
        ("-W=.", "run --audit=log x", Some("/w/m")),
        ("-W=log --audit=all", "run --audit=log x", Some("/w/m")),
        // `cd` decides what they name.
        ("-R=.", "run --env-file x", None),
        ("-R=.", "task --cwd=sub x", None),
    ] {
        assert!(outside(bounds, line, from).is_some(), "{bounds}: {line}");
    }
    let absolute = "run --env-file=/w/m/.env /w/m/x";
    assert_eq!(outside("-R=.", absolute, None), None);
}

#[test]
fn programs_lie_in_the_project_or_a_read_grant() {
    let found = |line: &str| outside("-R=/data", line, Some("/w/m"));
    for line in [
        "run x",
        "run sub/x.ts",
        "run -",
        "run npm:a",
        "test sub/*_test.ts *.ts",
        "check /data/x.ts",
        "eval 1",
        "exec -- /secret/key",
    ] {
        assert_eq!(found(line), None, "{line}");
    }
    for line in [
        "run /secret/key",
        "run link",
        "run ../x.ts",
        "test x.ts /secret/*.ts",
        "check /secr*",
        "run http://a.b/x.ts",
    ] {
        let script = line.split(' ').next_back().map(str::to_owned);
        assert_eq!(found(line), script, "{line}");
    }
}

#[test]
fn hints_name_what_would_allow_it() {
    let hint = |setting: &str, grant: Option<&str>| {
        let (flag, value) = setting.split_once('=').unwrap();
        let excess = Excess::new(flag, Some(value));
        match grant {
            Some(grant) => excess.or(grant.to_owned()).hint(),
            None => excess.hint(),
        }
    };
    assert!(
        hint("--audit=log", Some("--allow-write=/log"))
            .contains("add `--audit=log` or `--allow-write=/log`")
    );
    assert!(hint("--cert=x", Some("--allow-read=/x")).contains("add `--allow-read=/x`,"));
    assert!(hint("--uid=0", None).starts_with("nothing of `stockade task` allows it"));
}
