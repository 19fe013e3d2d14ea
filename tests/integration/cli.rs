// SPDX-License-Identifier: MIT
//! The command line from the user's end: Deno's flag grammar, what is refused and how it is said,
//! and what becomes of Deno's other flags.

use std::fmt::Write as _;

use crate::support::Project;
use crate::support_life::{project, scrub, text};

/// The policy entries of a Plan, as the origins its items name.
fn plan(project: &Project, flags: &[&str]) -> serde_json::Value {
    let mut words = vec!["explain", "--json"];
    words.extend(flags);
    words.push("main.ts");
    let outcome = project.stockade(&words).run();
    outcome.expect_success();
    serde_json::from_str(&outcome.stdout).expect("explain --json prints JSON")
}

#[test]
fn denos_grammar_is_accepted() {
    let project = project("").file("a", "").file("b", "").file("c,d", "");
    let name = "a".repeat(63);
    for flags in [
        &["--allow-read"][..],
        &["--allow-read=a"],
        &["--allow-read=a,b"],
        &["--allow-read=a", "--allow-read=b"],
        &["--allow-read=c,,d"],
        &["--allow-read", "--allow-read=a"],
        &["-R"],
        &["-R=a,b"],
        &["-R./a"],
        &["-RW"],
        &["-RW=a"],
        &["-RWN"],
        &["-RWNES"],
        &["-A"],
        &["-A", "-A"],
        &["--allow-all", "--deny-read=a"],
        &["-A", "--deny-net"],
        &["--allow-net"],
        &["-N"],
        &["--allow-net", "--deny-net"],
        &["--deny-net=example.com"],
        &["--deny-net=EXAMPLE.com.:443,*.example.com,*.example.com:80"],
        &["--deny-net=:8080"],
        &["--deny-net=10.0.0.0/8,10.0.0.0/8:80,127.0.0.1"],
        &["--deny-net=[::1],[::1]:80,[2001:db8::]/32,[2001:db8::]/32:443,[fe80::1%eth0]:80"],
        &["--deny-net=unix:/run/a.sock,vsock:-1:5000,vsock:3:1"],
        &["--deny-net=under_score.example"],
        &[&format!("--deny-net={name}.example")],
        &["--allow-env"],
        &[
            "-E=HOME,AWS_*",
            "--deny-env=AWS_SECRET_*",
            "--ignore-env=CI",
        ],
        &["--allow-env=*"],
        &["--allow-env=A*B"],
        &["--allow-sys", "--deny-sys=hostname"],
        &[
            "-S=hostname,osRelease,osUptime,loadavg,networkInterfaces,systemMemoryInfo,uid,gid,cpus,homedir",
        ],
        &["--allow-sys=username,userInfo,statfs,getPriority,setPriority,setuid,umask,inspector"],
        &["--allow-run"],
        &["--allow-run=sh,/bin/sh"],
        &["--allow-run=no-such-program"],
        &["--deny-run=sh"],
        &["--allow-ffi"],
        &["--allow-ffi=./a", "--deny-ffi=b"],
        &[
            "--allow-import=example.com,jsr.io:443",
            "--deny-import=esm.sh",
        ],
        &["-I=example.com"],
        &["--ignore-read=a"],
        &["--no-prompt"],
    ] {
        plan(&project, flags);
    }
}

#[test]
fn short_clusters_mean_their_long_forms() {
    let project = project("").file("a", "");
    for (short, long) in [
        (&["-R"][..], &["--allow-read"][..]),
        (&["-RW=a"], &["--allow-read=a", "--allow-write=a"]),
        (&["-RWN"], &["--allow-read", "--allow-write", "--allow-net"]),
        (
            &["-ES=hostname"],
            &["--allow-env=hostname", "--allow-sys=hostname"],
        ),
        (&["-A"], &["--allow-all"]),
        (&["-R./a"], &["--allow-read=./a"]),
    ] {
        if short == ["-ES=hostname"] {
            // A value goes to every letter of its cluster, as in Deno.
            assert_eq!(
                plan(&project, short)["environment"],
                plan(&project, long)["environment"]
            );
            continue;
        }
        assert_eq!(plan(&project, short), plan(&project, long), "{short:?}");
    }
}

#[test]
fn malformed_values_are_refused_in_words() {
    let project = project("console.log('started')");
    let mut all = String::new();
    for flags in [
        &["--allow-read="][..],
        &["--allow-read=a,"],
        &["--allow-write=,a"],
        &["--allow-net="],
        &["--allow-net=a,,b"],
        &["--allow-net=https://example.com/x"],
        &["--allow-net=example.com/x"],
        &["--allow-net=example.com:"],
        &["--allow-net=example.com:http"],
        &["--allow-net=example.com:80-90"],
        &["--allow-net=example.com:65536"],
        &["--allow-net=*"],
        &["--allow-net=*:443"],
        &["--allow-net=a.*.com"],
        &["--allow-net=2001:db8::/32"],
        &["--allow-net=[example.com]"],
        &["--allow-net=[::1]x"],
        &["--allow-net=10.0.0.0/33"],
        &["--allow-net=[::]/129"],
        &["--allow-net=münchen.example"],
        &["--allow-net=a b"],
        &["--allow-net=a..b"],
        &["--allow-net=unix:relative.sock"],
        &["--allow-net=vsock:1"],
        &["--allow-import=:443"],
        &["--allow-import=unix:/x"],
        &["--allow-env=A=B"],
        &["--allow-env="],
        &["--allow-run="],
        &["--allow-sys=everything"],
        &["--allow-ffi="],
        &["-RW="],
        &["-A=all"],
        &["-A", "--allow-sys"],
        &["--allow-hosts=x"],
        &["--alow-read"],
        &["--allow-raed=."],
        &["--ignore-net"],
        &["--deny-all"],
        &["-Q"],
        &["-RZ"],
        &["--timeout=soon"],
        &["--timeout=0s"],
        &["--timeout"],
        &["--best-effort=yes"],
        &["--why=read:/x"],
        &["--runner"],
    ] {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        let outcome = project.stockade(&words).run();
        outcome.expect_refused();
        let message = scrub(&project, &outcome.stderr);
        let _ = writeln!(all, "$ {}\n{message}", flags.join(" "));
    }
    insta::assert_snapshot!(all, @"");
}

#[test]
fn unknown_commands_are_refused_in_words() {
    let project = project("console.log('started')");
    let mut all = String::new();
    for words in [
        &[][..],
        &["rnu", "main.ts"],
        &["main.ts"],
        &["--allow-read", "run", "main.ts"],
        &["exec", "--", "true"],
        &["test"],
        &["doctor", "main.ts"],
        &["explain"],
        &["explain", "--why=nonsense", "main.ts"],
        &["eval"],
    ] {
        let outcome = project.stockade(words).run();
        outcome.expect_refused();
        let message = scrub(&project, &outcome.stderr);
        let _ = writeln!(all, "$ stockade {}\n{message}", words.join(" "));
    }
    insta::assert_snapshot!(all, @"");
}

#[test]
fn flags_after_the_script_belong_to_the_script() {
    let project = project("console.log(Deno.args.join(' '))");
    let args = "--allow-read -A --no-such-flag --help --version --timeout=0";
    let mut words = vec!["run", "main.ts"];
    words.extend(args.split(' '));
    project
        .stockade(&words)
        .run()
        .expect_output(&format!("{args}\n"));
    // And they grant nothing.
    project.write("main.ts", "Deno.readTextFileSync('/etc/hostname')");
    project
        .stockade(&["run", "main.ts", "--allow-read"])
        .run()
        .expect_code(1)
        .expect_error("NotCapable");
    project
        .stockade(&["run", "--allow-read", "main.ts"])
        .run()
        .expect_success();
}

#[test]
fn help_and_version_go_to_standard_output() {
    let project = project("");
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["run", "--help"],
        &["serve", "--help"],
        &["eval", "--help"],
        &["explain", "--help"],
        &["doctor", "--help"],
    ] {
        let outcome = project.stockade(words).run();
        outcome.expect_success();
        assert!(
            outcome.stdout.contains("stockade"),
            "{words:?}: {}",
            outcome.stdout
        );
        assert_eq!(outcome.stderr, "", "{words:?}");
    }
    for words in [&["--version"][..], &["-V"]] {
        let outcome = project.stockade(words).run();
        outcome.expect_success();
        let first = outcome.stdout.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            concat!("stockade ", env!("CARGO_PKG_VERSION")),
            "{words:?}"
        );
    }
}

#[test]
fn run_help_lists_every_permission() {
    let project = project("");
    let help = project.stockade(&["run", "--help"]).run();
    for kind in ["read", "write", "net", "env", "run", "sys", "ffi", "import"] {
        for list in ["allow", "deny"] {
            assert!(
                help.stdout.contains(&format!("--{list}-{kind}")),
                "--{list}-{kind}"
            );
        }
    }
    for flag in [
        "--ignore-read",
        "--ignore-env",
        "--allow-all",
        "--timeout",
        "--runner",
        "--best-effort",
        "--env-file",
    ] {
        assert!(help.stdout.contains(flag), "{flag}");
    }
}

#[test]
fn denos_other_flags_pass_or_are_handled() {
    let project = project("console.log(JSON.stringify({
        random: Math.random(), place: globalThis.location?.href ?? null, a: Deno.env.get('FROM_FILE') ?? null }))")
    .file("values.env", "FROM_FILE=yes\nOTHER=no\n")
    .file("deno.json", r#"{"imports": {"x": "./x.ts"}}"#)
    .file("other.json", r#"{"imports": {"x": "./y.ts"}}"#)
    .file("x.ts", "console.log('x')")
    .file("y.ts", "console.log('y')")
    .file("map.ts", "import 'x'")
    .file("typed.ts", "const n: number = 'text'; console.log(typeof n);")
    .file("script", "const n: number = 1; console.log(n);");
    let run = |words: &[&str]| {
        let outcome = project.stockade(words).run();
        outcome.expect_success();
        outcome.stdout
    };
    let seeded = run(&["run", "--seed=7", "main.ts"]);
    assert_eq!(seeded, run(&["run", "--seed", "7", "main.ts"]));
    assert_eq!(
        seeded,
        project.bare(&["run", "--seed=7", "main.ts"]).run().stdout
    );
    assert!(run(&["run", "--location=http://a.test/b", "main.ts"]).contains("http://a.test/b"));
    assert!(
        run(&[
            "run",
            "--env-file=values.env",
            "--allow-env=FROM_FILE",
            "main.ts"
        ])
        .contains("\"a\":\"yes\"")
    );
    assert_eq!(run(&["run", "map.ts"]), "x\n");
    assert_eq!(run(&["run", "--config=other.json", "map.ts"]), "y\n");
    assert_eq!(run(&["run", "-c", "other.json", "map.ts"]), "y\n");
    assert_eq!(run(&["run", "--import-map=other.json", "map.ts"]), "y\n");
    assert_eq!(run(&["run", "--ext=ts", "script"]), "1\n");
    assert_eq!(run(&["run", "--no-check", "typed.ts"]), "string\n");
    assert_eq!(
        run(&[
            "run",
            "--v8-flags=--max-old-space-size=200",
            "--quiet",
            "--no-remote",
            "--no-npm",
            "x.ts"
        ]),
        "x\n"
    );
    assert_eq!(run(&["eval", "--print", "1 + 1"]), "2\n");
    assert_eq!(
        run(&["eval", "console.log(Deno.args.length)", "a", "b"]),
        "2\n"
    );
    // No configuration: the bare name leads nowhere, as in Deno.
    project
        .stockade(&["run", "--no-config", "map.ts"])
        .run()
        .expect_code(1);
}

#[test]
fn denos_other_flags_that_are_refused_say_why() {
    let project = project("console.log('started')");
    let mut all = String::new();
    for flags in [
        &["run", "--watch"][..],
        &["run", "--watch=a,b"],
        &["run", "--allow-scripts"],
        &["run", "-P"],
        &["run", "--permission-set=x"],
        &["run", "--preload=a.ts"],
        &["run", "--lock=x.lock"],
        &["run", "--coverage"],
        &["run", "--tunnel"],
        &["run", "--policy=p.yaml"],
        &["run", "--memory=1g"],
        &["run", "--inspect"],
        &["run", "--parallel"],
        &["serve", "--open"],
    ] {
        let mut words = flags.to_vec();
        words.push("main.ts");
        let outcome = project.stockade(&words).run();
        outcome.expect_refused();
        let _ = writeln!(
            all,
            "$ {}\n{}",
            flags.join(" "),
            scrub(&project, &outcome.stderr)
        );
    }
    insta::assert_snapshot!(all, @"");
}

#[test]
fn standard_input_is_a_script_too_or_is_refused() {
    // `deno run -` reads the program from standard input; here it must not hang or run unconfined.
    let project = project("");
    let outcome = project
        .stockade(&["run", "-"])
        .input(b"console.log('from standard input')")
        .run();
    let shown = text(&project, &outcome);
    if outcome.code == Some(0) {
        outcome.expect_output("from standard input\n");
    } else {
        outcome.expect_refused();
        assert!(outcome.stderr.starts_with("error: "), "{shown}");
    }
}

#[test]
fn arguments_that_are_not_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let project = project("console.log('started')");
    let odd = OsStr::from_bytes(b"--allow-read=\xff");
    let outcome = project
        .stockade(&[OsStr::new("run"), odd, OsStr::new("main.ts")])
        .run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @"");
}
