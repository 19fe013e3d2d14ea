// SPDX-License-Identifier: MIT
//! Tests of the command line: each line as typed, and what it becomes.

use std::error::Error;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::deno_flags::{Accepts, Handler, rows};
use crate::policy::Rules;

#[path = "arguments_table_tests.rs"]
mod table;

fn parse_line(line: &str) -> Result<Invocation, ArgumentError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn run(line: &str) -> RunArguments {
    match parse_line(line) {
        Ok(Invocation::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

/// The whole message as the command line prints it: error, causes.
fn error(line: &str) -> String {
    match parse_line(line) {
        Ok(invocation) => panic!("{line} was read as {invocation:?}"),
        Err(error) => {
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            format!("{error}{cause}")
        }
    }
}

fn listed<D>(rules: &Rules<D>) -> String {
    let entries = rules.entries.iter().map(|entry| entry.origin.to_string());
    rules
        .all
        .iter()
        .map(ToString::to_string)
        .chain(entries)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The grants, in the order of the kinds, as their origins.
fn grants(run: &RunArguments) -> String {
    let policy = &run.policy;
    let parts = [
        policy.all.iter().map(ToString::to_string).collect(),
        listed(&policy.read.allow),
        listed(&policy.write.allow),
        listed(&policy.net.allow),
        listed(&policy.env.allow),
        listed(&policy.sys.allow),
        listed(&policy.import.allow),
        listed(&policy.run.allow),
    ];
    parts
        .into_iter()
        .filter(|part: &String| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn permission_flags_have_denos_grammar() {
    for (line, expected) in [
        ("run x.ts", ""),
        ("run --allow-read x.ts", "--allow-read"),
        (
            "run --allow-read=/a,b x.ts",
            "--allow-read=/a --allow-read=b",
        ),
        ("run -R x.ts", "--allow-read"),
        ("run -R=/a x.ts", "--allow-read=/a"),
        ("run -R/a,/b x.ts", "--allow-read=/a --allow-read=/b"),
        ("run -R./a x.ts", "--allow-read=./a"),
        ("run -RW x.ts", "--allow-read --allow-write"),
        (
            "run -RWN=h x.ts",
            "--allow-read --allow-write --allow-net=h",
        ),
        (
            "run -RWNES x.ts",
            "--allow-read --allow-write --allow-net --allow-env --allow-sys",
        ),
        ("run -I=esm.sh x.ts", "--allow-import=esm.sh"),
        ("run -Rq x.ts", "--allow-read"),
        ("run -qR/a x.ts", "--allow-read=/a"),
        ("run -RW/a x.ts", "--allow-read --allow-write=/a"),
        ("run -Rx x.ts", "--allow-read=x"),
        ("run -A x.ts", "--allow-all"),
        ("run -A -A --deny-net x.ts", "--allow-all"),
        (
            "run -R=/a --allow-read -R=/b x.ts",
            "--allow-read --allow-read=/a --allow-read=/b",
        ),
        (
            "run --allow-run=cat,/bin/sh x.ts",
            "--allow-run=cat --allow-run=/bin/sh",
        ),
        ("serve -N x.ts", "--allow-net"),
        ("eval -E=HOME 1", "--allow-env=HOME"),
        ("-A x.ts", "--allow-all"),
        ("x.ts -A", ""),
        ("./x -A", ""),
    ] {
        assert_eq!(grants(&run(line)), expected, "{line}");
    }
}

#[test]
fn flags_end_at_the_script() {
    for (line, script, arguments) in [
        ("run x.ts", "x.ts", &[][..]),
        (
            "run x.ts -A --allow-read --nonsense -- -",
            "x.ts",
            &["-A", "--allow-read", "--nonsense", "--", "-"],
        ),
        ("run -- x.ts -A", "x.ts", &["-A"]),
        ("run -- -A", "-A", &[]),
        ("run -R -", "-", &[]),
        ("run - a", "-", &["a"]),
        ("run --seed 3 x.ts 4", "x.ts", &["4"]),
        ("run --allow-read /x", "/x", &[]),
        ("eval 1+1 a -p", "1+1", &["a", "-p"]),
        ("x.ts run", "x.ts", &["run"]),
    ] {
        let run = run(line);
        assert_eq!(run.script.as_deref(), Some(script), "{line}");
        assert_eq!(run.script_arguments, arguments, "{line}");
        assert!(run.policy.all.is_none(), "{line}");
    }
}

#[test]
fn errors_name_the_argument() {
    for (line, message) in [
        ("", "no command"),
        ("rum x.ts", "unknown command `rum`"),
        ("exec", "`stockade exec` needs a command"),
        (
            "exec --v8-flags=--x ls",
            "`--v8-flags` is no flag of `stockade exec`",
        ),
        ("run", "`stockade run` needs a script"),
        ("run -A", "`stockade run` needs a script"),
        ("run --", "`stockade run` needs a script"),
        ("eval", "`stockade eval` needs code"),
        ("run --allow-reed=/x x.ts", "unknown flag `--allow-reed`"),
        ("run -Z x.ts", "unknown flag `-Z`"),
        ("run --all x.ts", "`--all` is no flag of `stockade run`"),
        ("run --ignore-net x.ts", "unknown flag `--ignore-net`"),
        ("run --port=1 x.ts", "`--port` is no flag of `stockade run`"),
        ("run -p x.ts", "`--print` is no flag of `stockade run`"),
        ("run --json x.ts", "`--json` is no flag of `stockade run`"),
        ("doctor -A", "`--allow-all` is no flag of `stockade doctor`"),
        ("doctor x", "unexpected argument `x`"),
        (
            "run -A=1 x.ts",
            "`--allow-all` takes no value, but `1` was given",
        ),
        (
            "run --no-prompt=1 x.ts",
            "`--no-prompt` takes no value, but `1` was given",
        ),
        ("run --seed", "`--seed` needs a value"),
        ("run --seed -A x.ts", "`--seed` needs a value"),
        ("run --timeout= x.ts", "`--timeout` needs a value"),
        ("run --env-file= x.ts", "`--env-file` needs a value"),
        ("run --seed= x.ts", "`--seed` needs a value"),
        ("run --seed=-1 x.ts", "invalid value `-1` of `--seed`"),
        ("run --ext ps x.ts", "invalid value `ps` of `--ext`"),
        ("run -Lloud x.ts", "invalid value `loud` of `--log-level`"),
        (
            "run --vendor=yes x.ts",
            "`--vendor` is refused: modules of other hosts are kept in Stockade's cache, which no program writes",
        ),
        ("run --timeout=0 x.ts", "invalid value `0` of `--timeout`"),
        ("run --timeout=5x x.ts", "invalid value `5x` of `--timeout`"),
        (
            "run --timeout=1.5s x.ts",
            "invalid value `1.5s` of `--timeout`",
        ),
        (
            "run --timeout=99999999999999999999 x.ts",
            "invalid value `99999999999999999999` of `--timeout`",
        ),
        (
            "run --timeout=18446744073709551615h x.ts",
            "invalid value `18446744073709551615h` of `--timeout`",
        ),
        (
            "run --vendor x.ts",
            "`--vendor` is refused: modules of other hosts are kept in Stockade's cache, which no program writes",
        ),
        (
            "run --no-config -c a.json x.ts",
            "`--no-config` conflicts with `--config`",
        ),
        ("run -c a.json -c b.json x.ts", "`--config` is given twice"),
        ("serve --port=x x.ts", "invalid value `x` of `--port`"),
        (
            "serve --port=65536 x.ts",
            "invalid value `65536` of `--port`",
        ),
        (
            "run -A -N x.ts",
            "`--allow-all` conflicts with `--allow-net`",
        ),
        ("run -NA x.ts", "`--allow-all` conflicts with `--allow-net`"),
        (
            "run --allow-net= x.ts",
            "invalid entry `` of `--allow-net`: an empty host",
        ),
        (
            "run -N=a.com, x.ts",
            "invalid entry `` of `--allow-net`: an empty host",
        ),
        (
            "run --allow-sys=bad x.ts",
            "invalid entry `bad` of `--allow-sys`: unknown kind of system information `bad`",
        ),
        (
            "run -E=A=B x.ts",
            "invalid entry `A=B` of `--allow-env`: `=` cannot be part of an environment variable name",
        ),
        (
            "run --allow-private=: x.ts",
            "invalid entry `:` of `--allow-private`: an empty port in `:`",
        ),
        (
            "run --allow-private=db x.ts",
            "`--allow-private=db` names no host that `--allow-net` grants",
        ),
        (
            "run -N=db.a:1 --verify=db.a:2=sni x.ts",
            "`--verify=db.a:2=sni` names no host that `--allow-net` grants",
        ),
        (
            "run -N --verify=db.a=sni x.ts",
            "`--verify=db.a=sni` names no host that `--allow-net` grants",
        ),
        (
            "run --verify=db.a=tls x.ts",
            "invalid value `db.a=tls` of `--verify`",
        ),
        ("run --dns=a.test x.ts", "invalid value `a.test` of `--dns`"),
        (
            "run --upstream-proxy=https://u:p@a x.ts",
            "invalid value `http://***@a` of `--upstream-proxy`",
        ),
        ("run --policy= x.ts", "`--policy` needs a value"),
        ("run -P= x.ts", "`--permission-set` needs a value"),
        ("run -P -P=ci x.ts", "`--permission-set` is given twice"),
        (
            "run --frozen=maybe x.ts",
            "invalid value `maybe` of `--frozen-lockfile`",
        ),
        (
            "run --allow-scripts x.ts",
            "`--allow-scripts` is refused: npm lifecycle scripts never run",
        ),
        (
            "run --inspect x.ts",
            "`--inspect` listens on `127.0.0.1:9229`, which is not granted",
        ),
        (
            "run --inspect -N=a.com x.ts",
            "`--inspect` listens on `127.0.0.1:9229`, which is not granted",
        ),
        (
            "run --inspect=[::1]:1 -A --deny-net=[::1] x.ts",
            "`--inspect` listens on `[::1]:1`, which is not granted",
        ),
        ("explain --why=x:y", "invalid value `x:y` of `--why`"),
        ("explain --why=read:", "invalid value `read:` of `--why`"),
        ("help nothing", "unknown command `nothing`"),
    ] {
        assert_eq!(error(line), message, "{line}");
    }
}

#[test]
fn hints_lead_on() {
    for (line, hint) in [
        ("rum x.ts", "did you mean `stockade run`?"),
        (
            "learn",
            "this version has `run`, `serve`, `eval`, `exec`, `test`, `check`, `cache`, `task`, `explain` and `doctor`",
        ),
        (
            "build",
            "to run a script of this name: `stockade run build`",
        ),
        (
            "run --allow-reed x.ts",
            "did you mean `--allow-read`? a flag for the script goes behind the script: `script.ts --allow-reed`",
        ),
        ("run --port=1 x.ts", "it is a flag of `serve`"),
        (
            "run --inspect-brk x.ts",
            "run again with `--allow-net=127.0.0.1:9229` or without `--inspect-brk`",
        ),
    ] {
        let hint_given = parse_line(line).unwrap_err().hint();
        assert_eq!(hint_given.as_deref(), Some(hint), "{line}");
    }
}

#[test]
fn settings_are_read() {
    let settings = |line: &str| run(line).settings;
    for (text, milliseconds) in [
        ("30s", 30_000),
        ("2m", 120_000),
        ("500ms", 500),
        ("7", 7_000),
        ("1h", 3_600_000),
    ] {
        let expected = Some(Duration::from_millis(milliseconds));
        assert_eq!(
            settings(&format!("run --timeout={text} x.ts"))
                .timeout
                .map(|timeout| timeout.after),
            expected,
            "{text}"
        );
        assert_eq!(
            settings(&format!("run --timeout {text} x.ts"))
                .timeout
                .map(|timeout| timeout.after),
            expected,
            "{text}"
        );
    }
    assert_eq!(settings("run --runner=/d x.ts").runner, Some("/d".into()));
    assert_eq!(settings("run --runner /d x.ts").runner, Some("/d".into()));
    assert!(settings("run --best-effort x.ts").best_effort);
    assert!(!settings("run x.ts --best-effort").best_effort);
    let files = settings("run --env-file --env-file=a --env=b x.ts").env_files;
    assert_eq!(files, [".env", "a", "b"].map(PathBuf::from));
    assert!(parse_line("run --no-check --no-check=remote x.ts").is_ok());
    assert_eq!(
        settings("run -N=a.corp,db --allow-private=db,*.corp x.ts")
            .network
            .private
            .iter()
            .map(|entry| entry.text.as_str())
            .collect::<Vec<_>>(),
        ["db", "*.corp"]
    );
    let network = settings(
        "run -N=a,b --dns=192.0.2.1,[::1]:54 --dns 192.0.2.2 --verify=a=sni,b:1=none \
         --upstream-proxy=http://u:p@c:3128 x.ts",
    )
    .network;
    let servers: Vec<String> = network
        .upstream
        .name_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.1:53", "[::1]:54", "192.0.2.2:53"]);
    let checked: Vec<String> = network
        .verify
        .iter()
        .map(|rule| rule.origin.to_string())
        .collect();
    assert_eq!(checked, ["--verify=a=sni", "--verify=b:1=none"]);
    assert_eq!(network.upstream.proxy.map(|proxy| proxy.port), Some(3128));
    assert!(!network.observed);
    let recorded = settings("run --audit=log --quiet-denials x.ts");
    assert!(recorded.network.observed && recorded.quiet_denials);
    assert_eq!(recorded.audit, Some("log".into()));
    assert!(parse_line("run -N --allow-private=db x.ts").is_ok());
    assert!(parse_line("run -A --allow-private=db x.ts").is_ok());
    let listen = |line: &str| settings(line).network.listener.map(|rule| rule.to_string());
    for (line, expected) in [
        ("run x.ts", None),
        ("serve x.ts", Some("0.0.0.0:8000")),
        ("serve --host ::1 --port=0 x.ts", Some("[::1]:0")),
        ("serve --host=[::1] x.ts", Some("[::1]:8000")),
        ("serve --host=LOCALHOST x.ts", Some("localhost:8000")),
    ] {
        assert_eq!(listen(line).as_deref(), expected, "{line}");
    }
    for host in ["a:1", "*.a", "10.0.0.0/8", "unix:/a", "a/b"] {
        assert!(parse_line(&format!("serve --host={host} x.ts")).is_err());
    }
}

#[test]
fn runner_flags_are_written_as_typed() {
    let run = run(
        "run -q -L debug --seed 3 --unstable-kv --v8-flags=--a,--b --cert=c.pem -c=d.json \
         --import-map https://a.com/m.json -r --no-npm --strace-ops x.ts",
    );
    assert_eq!(
        run.runner_flags,
        [
            "--quiet",
            "--log-level=debug",
            "--seed=3",
            "--unstable-kv",
            "--v8-flags=--a,--b",
            "--cert=c.pem",
            "--config=d.json",
            "--import-map=https://a.com/m.json",
            "--no-npm",
            "--strace-ops",
        ]
    );
    assert_eq!(
        run.prepare_flags,
        [
            "--quiet",
            "--log-level=debug",
            "--cert=c.pem",
            "--config=d.json",
            "--import-map=https://a.com/m.json",
            "--reload",
            "--no-npm",
        ]
    );
    let named: Vec<_> = run
        .settings
        .named_files
        .iter()
        .map(|named| (named.flag.as_str(), &named.path))
        .collect();
    assert_eq!(
        named,
        [("--cert", &"c.pem".into()), ("--config", &"d.json".into())]
    );
}

#[test]
fn flags_without_effect_are_told() {
    let notices = run("run --allow-hrtime --no-prompt x.ts").notices;
    assert_eq!(
        notices,
        ["`--allow-hrtime` has no effect: Deno 2 has no such permission"]
    );
}

#[test]
fn inspectors_need_a_rule_for_their_listener() {
    for line in [
        "run -N --inspect=1 x.ts",
        "run -A --inspect=1 x.ts",
        "run -N=127.0.0.1:1 --inspect=1 x.ts",
        "run -N=:1 --inspect=1 x.ts",
        "run -N=127.0.0.0/8 --inspect=1 x.ts",
        "run -A --deny-net=a.com --inspect=1 x.ts",
    ] {
        assert_eq!(run(line).runner_flags, ["--inspect=1"], "{line}");
    }
    for line in [
        "run -N=127.0.0.1:9229 --inspect x.ts",
        "run -N=127.0.0.1 --inspect-brk=127.0.0.1 x.ts",
        "run -N=localhost:3 --inspect-wait=localhost:3 x.ts",
    ] {
        assert!(parse_line(line).is_ok(), "{line}");
    }
    for line in [
        "run -N=127.0.0.1:2 --inspect=1 x.ts",
        "run -N=127.0.0.1:1 --inspect=0.0.0.0:1 x.ts",
        "run -N=a.com --inspect=http://a.com x.ts",
        "run --deny-net -N --inspect=1 x.ts",
    ] {
        assert!(parse_line(line).is_err(), "{line}");
    }
}

fn explain(line: &str) -> ExplainArguments {
    match parse_line(line) {
        Ok(Invocation::Explain(explain)) => *explain,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn explain_takes_the_same_arguments() {
    for (line, mode, script, json) in [
        ("explain", Mode::Run, None, false),
        ("explain --json", Mode::Run, None, true),
        ("explain x.ts --json", Mode::Run, Some("x.ts"), false),
        ("explain run x.ts", Mode::Run, Some("x.ts"), false),
        ("explain --json run run", Mode::Run, Some("run"), true),
        (
            "explain run -R=/x --json x.ts",
            Mode::Run,
            Some("x.ts"),
            true,
        ),
        (
            "explain serve --port=1 x.ts",
            Mode::Serve,
            Some("x.ts"),
            false,
        ),
        ("explain eval -p 1", Mode::Eval, Some("1"), false),
    ] {
        let explain = explain(line);
        assert_eq!(explain.run.mode, mode, "{line}");
        assert_eq!(explain.run.script.as_deref(), script, "{line}");
        assert_eq!(explain.json, json, "{line}");
    }
    assert_eq!(
        grants(&explain("explain -R=/x x.ts").run),
        "--allow-read=/x"
    );
    for (text, question) in [
        ("read:/etc/passwd", Question::Read("/etc/passwd".into())),
        ("write:x", Question::Write("x".into())),
        ("net:a.com:443", Question::Net("a.com:443".to_owned())),
        ("env:HOME", Question::Env("HOME".to_owned())),
        ("run:cat", Question::Run("cat".to_owned())),
    ] {
        let why = Some(question);
        assert_eq!(explain(&format!("explain --why={text} x.ts")).why, why);
        assert_eq!(explain(&format!("explain --why {text} x.ts")).why, why);
    }
    assert!(parse_line("explain serve --print x.ts").is_err());
}

#[test]
fn doctor_help_and_version() {
    assert_eq!(parse_line("doctor"), Ok(Invocation::Doctor { json: false }));
    assert_eq!(
        parse_line("doctor --json"),
        Ok(Invocation::Doctor { json: true })
    );
    for (line, contained) in [
        ("--help", "doctor"),
        ("-h", "doctor"),
        ("help", "doctor"),
        ("help run", "--allow-read"),
        ("run --help", "--allow-read"),
        ("run -h --nonsense", "--allow-read"),
        ("run --help=full", "--allow-read"),
        ("eval -R --help", "--print"),
        ("explain -h", "--why"),
        ("doctor --help", "--json"),
    ] {
        match parse_line(line) {
            Ok(Invocation::Help(text)) => assert!(text.contains(contained), "{line}: {text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    for line in ["--version", "-V", "run -V", "run --version"] {
        let version = format!("stockade {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(parse_line(line), Ok(Invocation::Version(version)), "{line}");
    }
    assert!(
        run("run x.ts --help")
            .script_arguments
            .contains(&"--help".to_owned())
    );
}

#[test]
fn arguments_must_be_text() {
    let arguments = ["run", "-R=/\u{1}", "x.ts"].map(OsString::from);
    let mut broken = arguments.to_vec();
    broken[1] = OsString::from_vec(b"-R=/\xff".to_vec());
    let error = parse(broken).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 2 (`-R=/\u{fffd}`) is not UTF-8"
    );
    let mut broken = arguments.to_vec();
    broken.push(OsString::from_vec(b"\xff".to_vec()));
    assert!(matches!(
        parse(broken),
        Err(ArgumentError::NotUtf8 { position: 4, .. })
    ));
}
