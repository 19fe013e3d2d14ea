// SPDX-License-Identifier: MIT
//! The permission flags: Deno's grammar, and what is said of values that are not in it.

use std::fmt::Write as _;

use crate::support::Project;
use crate::support_life::{project, scrub};

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
