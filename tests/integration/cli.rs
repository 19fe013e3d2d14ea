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
    let project = project("").file("a", "").file("b", "");
    let name = "a".repeat(63);
    for flags in [
        &["--allow-read"][..],
        &["--allow-read=a"],
        &["--allow-read=a,b"],
        &["--allow-read=a", "--allow-read=b"],
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
        &["--deny-net=[::1],[::1]:80,[fe80::1%eth0]:80"],
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
        &["--allow-sys=username,userInfo,statfs,getPriority,setPriority"],
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
        // A value belongs to the last letter, as in Deno.
        (&["-RW=a"], &["--allow-read", "--allow-write=a"]),
        (&["-RWN"], &["--allow-read", "--allow-write", "--allow-net"]),
        (&["-ES=hostname"], &["--allow-env", "--allow-sys=hostname"]),
        (&["-A"], &["--allow-all"]),
        (&["-R./a"], &["--allow-read=./a"]),
    ] {
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
        &["--allow-read=c,,d"],
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
        &["--allow-sys=setuid"],
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
    insta::assert_snapshot!(all, @r"
    $ --allow-read=
    error: invalid entry `` of `--allow-read`: an empty path
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-read=a,
    error: invalid entry `` of `--allow-read`: an empty path
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-read=c,,d
    error: `--allow-read=c,d` cannot be passed to Deno 2.9.6: it has no way to write a path with a comma in it
    hint: grant the directory above it, or rename it

    $ --allow-write=,a
    error: invalid entry `` of `--allow-write`: an empty path
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-net=
    error: invalid entry `` of `--allow-net`: an empty host
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-net=a,,b
    error: invalid entry `a,b` of `--allow-net`: `,` cannot be part of the host `a,b`
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=https://example.com/x
    error: invalid entry `https://example.com/x` of `--allow-net`: `https://example.com/x` is a URL, not a host
    hint: name the host only: `example.com`

    $ --allow-net=example.com/x
    error: invalid entry `example.com/x` of `--allow-net`: `example.com/x` has a path or an invalid CIDR mask
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=example.com:
    error: invalid entry `example.com:` of `--allow-net`: an empty port in `example.com:`
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=example.com:http
    error: invalid entry `example.com:http` of `--allow-net`: the port `http` is not a number from 0 to 65535
    hint: one decimal port an entry; ranges, lists and service names are not accepted

    $ --allow-net=example.com:80-90
    error: invalid entry `example.com:80-90` of `--allow-net`: the port `80-90` is not a number from 0 to 65535
    hint: one decimal port an entry; ranges, lists and service names are not accepted

    $ --allow-net=example.com:65536
    error: invalid entry `example.com:65536` of `--allow-net`: the port `65536` is not a number from 0 to 65535
    hint: one decimal port an entry; ranges, lists and service names are not accepted

    $ --allow-net=*
    error: invalid entry `*` of `--allow-net`: `*` can only be the first label, followed by a dot, in `*`
    hint: `*.example.com` covers example.com and every name below it; every host is the flag without a value

    $ --allow-net=*:443
    error: invalid entry `*:443` of `--allow-net`: `*` can only be the first label, followed by a dot, in `*`
    hint: `*.example.com` covers example.com and every name below it; every host is the flag without a value

    $ --allow-net=a.*.com
    error: invalid entry `a.*.com` of `--allow-net`: `*` can only be the first label, followed by a dot, in `a.*.com`
    hint: `*.example.com` covers example.com and every name below it; every host is the flag without a value

    $ --allow-net=2001:db8::/32
    error: `--allow-net=2001:db8::/32` cannot be passed to Deno 2.9.6: it has no way to write an IPv6 subnet
    hint: give the addresses one by one, or the whole flag without a list

    $ --allow-net=[example.com]
    error: invalid entry `[example.com]` of `--allow-net`: `example.com` is not an IPv6 address
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=[::1]x
    error: invalid entry `[::1]x` of `--allow-net`: unexpected `x` behind `]` in `[::1]x`
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=10.0.0.0/33
    error: invalid entry `10.0.0.0/33` of `--allow-net`: the mask `/33` is not a number from 0 to 32
    hint: write `10.0.0.0/8` or `[2001:db8::]/32`, a port behind the mask

    $ --allow-net=[::]/129
    error: invalid entry `[::]/129` of `--allow-net`: the mask `/129` is not a number from 0 to 128
    hint: write `10.0.0.0/8` or `[2001:db8::]/32`, a port behind the mask

    $ --allow-net=münchen.example
    error: invalid entry `münchen.example` of `--allow-net`: `ü` cannot be part of the host `münchen.example`
    hint: write international names in their ASCII form (`xn--…`)

    $ --allow-net=a b
    error: invalid entry `a b` of `--allow-net`: ` ` cannot be part of the host `a b`
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=a..b
    error: invalid entry `a..b` of `--allow-net`: an empty label in the host `a..b`
    hint: accepted: `example.com`, `*.example.com`, `10.0.0.0/8`, `[2001:db8::]/32`, each with an optional `:PORT`, `:PORT` alone, `unix:/absolute/path`, `vsock:CID:PORT`

    $ --allow-net=unix:relative.sock
    error: invalid entry `unix:relative.sock` of `--allow-net`: the socket path in `unix:relative.sock` is not absolute
    hint: write `unix:/absolute/path`

    $ --allow-net=vsock:1
    error: invalid entry `vsock:1` of `--allow-net`: `vsock:1` is not `vsock:CID:PORT`
    hint: both parts are decimal numbers of 32 bits; CID -1 stands for any

    $ --allow-import=:443
    error: invalid entry `:443` of `--allow-import`: `:443` names no host
    hint: put the host in front: `example.com:443`

    $ --allow-import=unix:/x
    error: invalid entry `unix:/x` of `--allow-import`: `unix:/x` is not a host modules can be imported from
    hint: accepted: `example.com`, `*.example.com`, an address or a CIDR block, each with an optional `:PORT`

    $ --allow-env=A=B
    error: invalid entry `A=B` of `--allow-env`: `=` cannot be part of an environment variable name
    hint: a permission names a variable; its value comes from the environment or `--env-file`

    $ --allow-env=
    error: invalid entry `` of `--allow-env`: an empty environment variable name
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-run=
    error: invalid entry `` of `--allow-run`: an empty program name
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ --allow-sys=everything
    error: invalid entry `everything` of `--allow-sys`: unknown kind of system information `everything`
    hint: accepted: hostname, osRelease, osUptime, loadavg, networkInterfaces, systemMemoryInfo, uid, gid, cpus, homedir, getegid, statfs, getPriority, setPriority, userInfo, inspector, setuid, seteuid, setgid, setegid, ca, umask

    $ --allow-sys=setuid
    error: `--allow-sys=setuid` cannot be passed to Deno 2.9.6: its command line does not know this kind
    hint: leave it out, give `--allow-sys` without a list, or another Deno with --runner

    $ --allow-ffi=
    error: invalid entry `` of `--allow-ffi`: an empty path
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ -RW=
    error: invalid entry `` of `--allow-write`: an empty path
    hint: separate entries by single commas; `,,` stands for a comma inside an entry

    $ -A=all
    error: `--allow-all` takes no value, but `all` was given
    hint: write `--allow-all` alone

    $ -A --allow-sys
    error: `--allow-all` conflicts with `--allow-sys`
    hint: leave out `-A` to grant only what is listed, or leave out `--allow-sys`; `--deny-*` flags go with `-A`

    $ --allow-hosts=x
    error: unknown flag `--allow-hosts`
    hint: did you mean `--allow-sys`? a flag for the script goes behind the script: `script.ts --allow-hosts`

    $ --alow-read
    error: unknown flag `--alow-read`
    hint: did you mean `--allow-read`? a flag for the script goes behind the script: `script.ts --alow-read`

    $ --allow-raed=.
    error: unknown flag `--allow-raed`
    hint: did you mean `--allow-read`? a flag for the script goes behind the script: `script.ts --allow-raed`

    $ --ignore-net
    error: unknown flag `--ignore-net`
    hint: did you mean `--ignore-read`? a flag for the script goes behind the script: `script.ts --ignore-net`

    $ --deny-all
    error: unknown flag `--deny-all`
    hint: did you mean `--deny-net`? a flag for the script goes behind the script: `script.ts --deny-all`

    $ -Q
    error: unknown flag `-Q`
    hint: a flag for the script goes behind the script: `script.ts -Q`

    $ -RZ
    error: cannot open `[DIR]/Z`, granted by `--allow-read=Z`: No such file or directory (os error 2)
    hint: create it first, or leave the grant out

    $ --timeout=soon
    error: invalid value `soon` of `--timeout`
    hint: accepted: `30s`, `2m`, `1h`, `500ms`, or seconds as a number; above zero

    $ --timeout=0s
    error: invalid value `0s` of `--timeout`
    hint: accepted: `30s`, `2m`, `1h`, `500ms`, or seconds as a number; above zero

    $ --timeout
    error: invalid value `main.ts` of `--timeout`
    hint: accepted: `30s`, `2m`, `1h`, `500ms`, or seconds as a number; above zero

    $ --best-effort=yes
    error: `--best-effort` takes no value, but `yes` was given
    hint: write `--best-effort` alone

    $ --why=read:/x
    error: `--why` is no flag of `stockade run`
    hint: it is a flag of `explain`

    $ --runner
    error: `stockade run` needs a script
    hint: write `stockade run [flags] script.ts [arguments]`; `-` reads the script from standard input
    ");
}

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
