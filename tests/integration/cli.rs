// SPDX-License-Identifier: MIT
//! The command line from the user's end: commands, help, and what becomes of Deno's other flags.

use std::fmt::Write as _;

use crate::support_life::{project, scrub, text};

mod permissions;

#[test]
fn unknown_commands_are_refused_in_words() {
    let project = project("console.log('started')");
    let mut all = String::new();
    for words in [
        &[][..],
        &["rnu", "main.ts"],
        &["missing.ts"],
        &["--allow-read", "missing.ts"],
        &["exec", "--"],
        &["selftest"],
        &["doctor", "main.ts"],
        &["explain", "--why=nonsense", "main.ts"],
        &["eval"],
    ] {
        let outcome = project.stockade(words).run();
        outcome.expect_refused();
        let message = scrub(&project, &outcome.stderr);
        let _ = writeln!(all, "$ stockade {}\n{message}", words.join(" "));
    }
    insta::assert_snapshot!(all, @r"
    $ stockade 
    error: no command
    hint: `stockade run script.ts` runs a program, `stockade --help` lists the commands

    $ stockade rnu main.ts
    error: unknown command `rnu`
    hint: to run a script of this name: `stockade run rnu`

    $ stockade missing.ts
    error: the script `missing.ts` does not exist

    $ stockade --allow-read missing.ts
    error: the script `missing.ts` does not exist

    $ stockade exec --
    error: `stockade exec` needs a command
    hint: write `stockade exec [flags] -- COMMAND [arguments]`

    $ stockade selftest
    error: `stockade selftest`: not yet
    hint: this version has `run`, `serve`, `eval`, `exec`, `test`, `check`, `cache`, `task`, `explain` and `doctor`

    $ stockade doctor main.ts
    error: unexpected argument `main.ts`

    $ stockade explain --why=nonsense main.ts
    error: invalid value `nonsense` of `--why`
    hint: accepted: `read:PATH`, `write:PATH`, `net:HOST[:PORT]`, `env:NAME`, `run:PROGRAM`

    $ stockade eval
    error: `stockade eval` needs code
    hint: write `stockade eval 'console.log(1)'`
    ");
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
        random: Math.random(), place: globalThis.location?.href ?? null, a: Deno.args[0] ? Deno.env.get(Deno.args[0]) : null }))")
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
            "main.ts",
            "FROM_FILE"
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
        &["run", "--hmr"][..],
        &["run", "--allow-scripts"],
        &["run", "--vendor"],
        &["run", "--tunnel"],
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
    insta::assert_snapshot!(all, @r"
    $ run --hmr
    error: `--hmr` is refused: it replaces modules without preparing them; `--watch` starts again
    hint: run again without it

    $ run --allow-scripts
    error: `--allow-scripts` is refused: npm lifecycle scripts never run
    hint: run again without it

    $ run --vendor
    error: `--vendor` is refused: modules of other hosts are kept in Stockade's cache, which no program writes
    hint: run again without it

    $ run --tunnel
    error: `--tunnel` is refused: it connects the program to a remote service, past the net rules
    hint: run again without it

    $ run --inspect
    error: `--inspect` listens on `127.0.0.1:9229`, which is not granted
    hint: run again with `--allow-net=127.0.0.1:9229` or without `--inspect`

    $ run --parallel
    error: `--parallel` is no flag of `stockade run`
    hint: it is a flag of `serve`, `test`

    $ serve --open
    error: `--open` is refused: it starts a browser, which is outside the walls
    hint: run again without it
    ");
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
        .stockade_as_typed(&[OsStr::new("run"), odd, OsStr::new("main.ts")])
        .run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: argument 2 (`--allow-read=�`) is not UTF-8
    hint: rename the file, or pass the bytes on standard input
    ");
}

#[test]
fn a_script_without_a_command_is_run() {
    // As in Deno; the walls are the same.
    let project = project("console.log(Deno.args.join(' '))");
    project
        .stockade(&["main.ts", "a", "b"])
        .run()
        .expect_output("a b\n");
    project.write("reads.ts", "Deno.readTextFileSync('/etc/hostname')");
    project
        .stockade(&["reads.ts"])
        .run()
        .expect_code(1)
        .expect_error("NotCapable");
    project
        .stockade(&["--allow-read", "reads.ts"])
        .run()
        .expect_success();
}
