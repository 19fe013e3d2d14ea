// SPDX-License-Identifier: MIT
//! `stockade explain`: the Plan as text against golden files, as JSON, and `--why`.
//!
//! The golden files are in `tests/data/explain`; `INSTA_UPDATE=always` writes them anew. What
//! differs between machines (libraries, the runner, top-level directories) is left out of them.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::{Launch, Project, runner};
use crate::support_life::{scrub, source};

/// The ABI all golden files are for.
const ABI: &str = "7";

fn golden_project() -> Project {
    let project = Project::new()
        .file("main.ts", "import './lib.ts'; console.log('ran')")
        .file("lib.ts", "")
        .file("data/public/one.txt", "1")
        .file("data/public/two.txt", "2")
        .file("data/secret.txt", "s")
        .file("out/.keep", "");
    project.write_program("bin/tool", "#!/bin/sh\n");
    project
}

/// `explain` with a small, fixed environment.
fn explain(project: &Project, words: &[&str]) -> Launch {
    let mut all = vec!["explain"];
    all.extend(words);
    project
        .stockade(&all)
        .without_env("TMPDIR")
        .without_env("PYENV_ROOT")
        .without_env("PYENV_VERSION")
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/home/nobody-in-particular")
        .env("AWS_REGION", "here")
        .env("AWS_SECRET", "hidden")
        .env("STOCKADE_LANDLOCK_ABI", ABI)
        .env("STOCKADE_SOCKET_ROUTE", "getfd")
}

/// Paths of rules that every Linux machine has.
fn is_everywhere(path: &str) -> bool {
    path.starts_with("[")
        || path.starts_with("/proc/self")
        || [
            "/dev/null",
            "/dev/zero",
            "/dev/random",
            "/dev/urandom",
            "/etc",
            "/tmp",
            "/usr",
        ]
        .contains(&path)
}

/// The text without what other machines have.
fn portable(project: &Project, text: &str) -> String {
    let deno = runner();
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let loader = loader_of(Path::new("/bin/sh"));
    let mut text = text.replace(&*deno.to_string_lossy(), "[RUNNER]");
    text = scrub(project, &text);
    text = text.replace(&*shell.to_string_lossy(), "[SHELL]");
    if let Some(loader) = loader {
        text = text.replace(&loader, "[LOADER]");
    }
    let mut out = String::new();
    // Rules are sorted by their paths, which differ; here they are sorted by what is left of them.
    let mut rules: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let is_rule = line.starts_with("  ") && matches!(kind, "read" | "write" | "rw" | "exec");
        let path = words.next().unwrap_or_default();
        if is_rule && (path.starts_with("[CACHE]") || !is_everywhere(path)) {
            continue;
        }
        // Beside these: directories above the tests' own, and their cache.
        let own = path.starts_with("[DIR]") || path.starts_with("/home/nobody-in-particular/");
        if kind == "closed" && !own {
            continue;
        }
        let line = without_digests(line);
        if line.starts_with("  ") && path.starts_with(['/', '[']) {
            rules.push(line);
            continue;
        }
        rules.sort();
        for rule in rules.drain(..).chain([line]) {
            out.push_str(&rule);
            out.push('\n');
        }
    }
    out
}

/// Digests in the names of private directories change with every version of everything.
fn without_digests(line: &str) -> String {
    let is_digest =
        |word: &str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut out = String::new();
    let mut word = String::new();
    let line = line
        .split(".yaml:")
        .enumerate()
        .map(|(index, part)| match index {
            // Line numbers of the shipped lists change with every comment in them.
            0 => part.to_owned(),
            _ => format!(
                ".yaml:N{}",
                part.trim_start_matches(|digit: char| digit.is_ascii_digit())
            ),
        })
        .collect::<String>();
    for character in line.chars().chain([' ']) {
        if character.is_ascii_alphanumeric() {
            word.push(character);
            continue;
        }
        out.push_str(if is_digest(&word) { "[DIGEST]" } else { &word });
        word.clear();
        out.push(character);
    }
    out.pop();
    out
}

/// The loader `ldd` would name, from the headers.
fn loader_of(program: &Path) -> Option<String> {
    let bytes = std::fs::read(program).ok()?;
    let start = bytes.windows(4).position(|window| window == b"/lib")?;
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| *byte == 0)?;
    let path = std::str::from_utf8(&rest[..end]).ok()?;
    Some(
        std::fs::canonicalize(path)
            .ok()?
            .to_string_lossy()
            .into_owned(),
    )
}

#[track_caller]
fn assert_golden(name: &str, words: &[&str]) {
    let project = golden_project();
    let outcome = explain(&project, words).run();
    outcome.expect_success();
    let mut seen = format!(
        "$ stockade explain {}\n\n{}",
        words.join(" "),
        portable(&project, &outcome.stdout)
    );
    if !outcome.stderr.is_empty() {
        seen = format!("{seen}\non standard error:\n{}", outcome.stderr);
    }
    let file = source().join("tests/data/explain").join(name);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&file, &seen).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; INSTA_UPDATE=always writes it", file.display())
    });
    if golden != seen {
        let mut difference = String::new();
        for line in golden
            .lines()
            .filter(|line| !seen.lines().any(|other| other == *line))
        {
            let _ = writeln!(difference, "- {line}");
        }
        for line in seen
            .lines()
            .filter(|line| !golden.lines().any(|other| other == *line))
        {
            let _ = writeln!(difference, "+ {line}");
        }
        panic!(
            "{name} differs from `{}`:\n{difference}\n{seen}",
            words.join(" ")
        );
    }
}

#[test]
fn nothing_granted() {
    assert_golden("nothing.txt", &["main.ts"]);
}

#[test]
fn files_granted() {
    assert_golden("files.txt", &["-R=data", "-W=out,new/", "main.ts"]);
}

#[test]
fn a_command() {
    assert_golden("exec.txt", &["exec", "-W=out", "--", "sh", "-c", "ls"]);
}

#[test]
fn a_denial_inside_a_grant() {
    assert_golden(
        "denial.txt",
        &[
            "--allow-read=data",
            "--deny-read=data/secret.txt",
            "main.ts",
        ],
    );
}

#[test]
fn programs_granted() {
    assert_golden(
        "run.txt",
        &["--allow-run=sh,./bin/tool,no-such-program", "main.ts"],
    );
}

#[test]
fn everything_granted() {
    assert_golden("all.txt", &["-A", "main.ts"]);
}

#[test]
fn network_granted() {
    assert_golden("net.txt", &["--allow-net", "main.ts"]);
}

#[test]
fn hosts_granted() {
    assert_golden(
        "hosts.txt",
        &[
            "--allow-net=api.example.com:443,*.example.org,db.internal:5432,10.0.0.0/8,[::1]:8080",
            "--allow-net=:3000,unix:/run/app.sock",
            "--deny-net=10.0.0.1,tracker.example.org",
            "--verify=db.internal=sni,api.example.com=none",
            "--allow-private=db.internal",
            "--dns=192.0.2.53,[2001:db8::53]:5353",
            "--upstream-proxy=http://user:hidden@proxy.example.net:3128",
            "main.ts",
        ],
    );
}

#[test]
fn all_hosts_but_one_granted() {
    assert_golden(
        "all-but-one.txt",
        &["--allow-net", "--deny-net=169.254.169.254", "main.ts"],
    );
}

#[test]
fn a_server_granted_its_own_listener() {
    assert_golden(
        "serve.txt",
        &["serve", "--port=8080", "--audit=denials.jsonl", "main.ts"],
    );
}

#[test]
fn environment_granted() {
    assert_golden(
        "env.txt",
        &[
            "--allow-env=AWS_*,HOME,UNSET",
            "--deny-env=AWS_SECRET",
            "--timeout=90s",
            "main.ts",
        ],
    );
}

#[test]
fn the_other_permissions_granted() {
    assert_golden(
        "others.txt",
        &["--allow-sys", "--allow-ffi=./lib.ts", "main.ts"],
    );
}

#[test]
fn json_is_the_same_bytes_every_time() {
    let project = golden_project();
    for words in [
        &["--json", "main.ts"][..],
        &["--json", "-A", "main.ts"],
        &[
            "--json",
            "--allow-read=data",
            "--deny-read=data/secret.txt",
            "--allow-run=sh",
            "main.ts",
        ],
    ] {
        let first = explain(&project, words).run();
        first.expect_success();
        let value: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
        assert!(value.to_string().contains("\"filesystem\""), "{value}");
        assert_eq!(first.stdout, explain(&project, words).run().stdout);
        // A run in between changes nothing about what is planned.
        let mut run = vec!["run"];
        run.extend(&words[1..]);
        project.stockade(&run).run().expect_output("ran\n");
        assert_eq!(
            first.stdout,
            explain(&project, words).run().stdout,
            "after a run"
        );
    }
}

#[test]
fn explain_starts_and_creates_nothing() {
    let project = Project::new().file("main.ts", "Deno.writeTextFileSync('started', '')");
    project
        .stockade(&["explain", "-A", "main.ts"])
        .run()
        .expect_success();
    project
        .stockade(&["explain", "--allow-write=new/", "main.ts"])
        .run()
        .expect_success();
    assert!(!project.has("started") && !project.has("new"));
}

#[test]
fn explain_names_values_of_no_variable() {
    let project = golden_project();
    let outcome = explain(&project, &["--json", "--allow-env", "main.ts"]).run();
    outcome.expect_success().expect_nowhere("hidden");
    assert!(outcome.stdout.contains("AWS_SECRET"));
}

#[test]
fn why_answers_for_every_kind() {
    let project = golden_project();
    let mut all = String::new();
    let denied_file = format!("--why=read:{}", project.path("data/secret.txt"));
    for words in [
        &["--why=read:data/public/one.txt", "-R=data", "main.ts"][..],
        &["--why=read:data/public/one.txt", "main.ts"],
        &["--why=read:lib.ts", "main.ts"],
        &["--why=read:/etc/passwd", "main.ts"],
        &["--why=read:/dev/null", "main.ts"],
        &[
            &denied_file,
            "-R=data",
            "--deny-read=data/secret.txt",
            "main.ts",
        ],
        &["--why=write:out/new.txt", "-W=out", "main.ts"],
        &["--why=write:out/new.txt", "-R=out", "main.ts"],
        &["--why=net:example.com:443", "--allow-net", "main.ts"],
        &["--why=net:example.com:443", "main.ts"],
        &["--why=net:example.com:443", "--allow-net=*.com", "main.ts"],
        &[
            "--why=net:example.com:80",
            "--allow-net=example.com:443",
            "main.ts",
        ],
        &[
            "--why=net:169.254.169.254:80",
            "--allow-net=169.254.0.0/16",
            "--deny-net=169.254.169.254",
            "main.ts",
        ],
        &["--why=env:AWS_REGION", "--allow-env=AWS_*", "main.ts"],
        &["--why=env:AWS_REGION", "main.ts"],
        &[
            "--why=env:AWS_SECRET",
            "--allow-env",
            "--deny-env=AWS_SECRET",
            "main.ts",
        ],
        &["--why=run:sh", "--allow-run=sh", "main.ts"],
        &["--why=run:/bin/sh", "--allow-run=sh", "main.ts"],
        &["--why=run:cat", "--allow-run=sh", "main.ts"],
        &["--why=run:sh", "main.ts"],
        &["--why=run:cat", "-A", "main.ts"],
    ] {
        let outcome = explain(&project, words).run();
        outcome.expect_success();
        let _ = writeln!(
            all,
            "$ {}\n{}",
            scrub(&project, &words.join(" ")),
            portable(&project, &outcome.stdout)
        );
    }
    insta::assert_snapshot!(all, @r"
    $ --why=read:data/public/one.txt -R=data main.ts
    allowed: Landlock grants read_file, read_dir on `[DIR]/data`, from --allow-read=data

    $ --why=read:data/public/one.txt main.ts
    denied: Landlock has no rule for `[DIR]/data/public/one.txt`
    hint: --allow-read=[DIR]/data/public/one.txt

    $ --why=read:lib.ts main.ts
    allowed: Landlock grants read_file on `[DIR]/lib.ts`, from imported by [DIR]/main.ts

    $ --why=read:/etc/passwd main.ts
    denied: Landlock has no rule for `/etc/passwd`
    hint: --allow-read=/etc/passwd

    $ --why=read:/dev/null main.ts
    allowed: Landlock grants read_file on `/dev/null`, from base.yaml:N

    $ --why=read:[DIR]/data/secret.txt -R=data --deny-read=data/secret.txt main.ts
    denied: Landlock has no rule for `[DIR]/data/secret.txt`, because of --deny-read=data/secret.txt
    hint: leave out `--deny-read=data/secret.txt`

    $ --why=write:out/new.txt -W=out main.ts
    allowed: Landlock grants write_file, remove_dir, remove_file, make_dir, make_reg, make_sock, make_fifo, make_sym, refer, truncate on `[DIR]/out`, from --allow-write=out

    $ --why=write:out/new.txt -R=out main.ts
    denied: Landlock has no rule for `[DIR]/out/new.txt`
    hint: --allow-write=[DIR]/out/new.txt

    $ --why=net:example.com:443 --allow-net main.ts
    allowed: every peer is granted by --allow-net

    $ --why=net:example.com:443 main.ts
    denied: seccomp makes no socket, so nothing reaches `example.com:443`
    hint: --allow-net=example.com:443

    $ --why=net:example.com:443 --allow-net=*.com main.ts
    allowed: the supervisor answers its lookup; TLS server name checked by a relay; from --allow-net=*.com

    $ --why=net:example.com:80 --allow-net=example.com:443 main.ts
    denied: only `example.com:443` is granted, from --allow-net=example.com:443
    hint: --allow-net=example.com:80

    $ --why=net:169.254.169.254:80 --allow-net=169.254.0.0/16 --deny-net=169.254.169.254 main.ts
    denied: the supervisor denies `169.254.169.254:80`, because of --deny-net=169.254.169.254
    hint: leave out `--deny-net=169.254.169.254`

    $ --why=env:AWS_REGION --allow-env=AWS_* main.ts
    allowed: it is inherited, from --allow-env=AWS_*

    $ --why=env:AWS_REGION main.ts
    denied: it is not in the program's environment: denied, not granted, or not set
    hint: --allow-env=AWS_REGION, and no `--deny-env` that covers it

    $ --why=env:AWS_SECRET --allow-env --deny-env=AWS_SECRET main.ts
    denied: it is not in the program's environment: denied, not granted, or not set
    hint: --allow-env=AWS_SECRET, and no `--deny-env` that covers it

    $ --why=run:sh --allow-run=sh main.ts
    allowed: Landlock executes `[SHELL]`, from --allow-run=sh

    $ --why=run:/bin/sh --allow-run=sh main.ts
    denied: Landlock has no execute rule for `/bin/sh`; links are not followed here
    hint: --allow-run=/bin/sh

    $ --why=run:cat --allow-run=sh main.ts
    denied: Landlock has no execute rule for `cat`; links are not followed here
    hint: --allow-run=cat

    $ --why=run:sh main.ts
    denied: seccomp allows no new process and no program but the first
    hint: --allow-run=sh

    $ --why=run:cat -A main.ts
    allowed: every readable program is granted by --allow-all
    ");
}

#[test]
fn why_tells_the_truth_about_the_run() {
    // What `--why` answers is what the run does.
    let project = golden_project();
    for (flags, path, allowed) in [
        (&["-R=data"][..], "data/public/one.txt", true),
        (&[], "data/public/one.txt", false),
        (
            &["-R=data", "--deny-read=data/secret.txt"],
            "data/secret.txt",
            false,
        ),
        (
            &["-R=data", "--deny-read=data/secret.txt"],
            "data/public/two.txt",
            true,
        ),
        (&["-R"], "/etc/hostname", true),
        (&["-R"], "/proc/version", false),
    ] {
        let question = format!("--why=read:{path}");
        let mut words = vec!["explain", "--json", &question];
        words.extend(flags);
        words.push("main.ts");
        let answer: serde_json::Value =
            serde_json::from_str(&project.stockade(&words).run().stdout).unwrap();
        assert_eq!(answer["allowed"], allowed, "{path} {flags:?}: {answer}");
        let code = format!(
            "try {{ Deno.readTextFileSync('{path}'); console.log(true); }} catch {{ console.log(false); }}"
        );
        project.write("read.ts", &code);
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("read.ts");
        project
            .stockade(&words)
            .run()
            .expect_output(&format!("{allowed}\n"));
    }
}
