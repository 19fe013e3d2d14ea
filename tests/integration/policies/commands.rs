// SPDX-License-Identifier: MIT
//! `stockade policy check`, `show` and `schema`.

use crate::support::{Outcome, Project};
use crate::support_life::scrub;

fn sample() -> Project {
    Project::new()
        .file("data/in.txt", "in")
        .file(
            "good.yaml",
            "version: 1\npermissions:\n  read: {allow: [./data], deny: [./data/x]}\n  net:\n    - {host: a.example, port: 5432, private: true}\n    \
             - {host: b.example, verify: none}\n  env: [WORD, 'A*']\nlimits: {memory: 512m, timeout: 90}\n",
        )
        .file("bad.yaml", "version: 1\npermissions: {raed: [x], net: [1]}\n")
        .file("deno.json", r#"{"permissions": {"default": {"read": ["./data"], "sys": true}}}"#)
        .file("wrong/deno.json", r#"{"permissions": {"a": {}, "b": {"raed": []}}, "test": {"permissions": {"x": 1}}}"#)
        .file("main.ts", "console.log(Deno.readTextFileSync('data/in.txt'))")
}

#[test]
fn check_tells_everything_and_its_code_says_whether_there_was_something() {
    let project = sample();
    let good = project
        .stockade(&[
            "policy",
            "check",
            "good.yaml",
            "untrusted-script",
            "deno.json",
        ])
        .run();
    good.expect_output("good.yaml: ok\nuntrusted-script: ok\ndeno.json: ok\n");
    let bad = project
        .stockade(&[
            "policy",
            "check",
            "good.yaml",
            "bad.yaml",
            "gone.yaml",
            "wrong/deno.json",
        ])
        .run();
    bad.expect_code(1);
    assert_eq!(bad.stdout, "good.yaml: ok\n");
    insta::assert_snapshot!(scrub(&project, &bad.stderr));
    for words in [
        &["policy"][..],
        &["policy", "check"],
        &["policy", "chekc", "good.yaml"],
        &["policy", "check", "--json", "good.yaml"],
        &["policy", "show", "--format=xml"],
        &["policy", "schema", "x"],
    ] {
        project.stockade(words).run().expect_refused();
    }
}

#[test]
fn show_says_where_every_entry_comes_from() {
    let project = sample();
    let shown = project
        .stockade(&[
            "policy",
            "show",
            "--policy=good.yaml",
            "-P",
            "--allow-env=OTHER",
            "--deny-run",
            "main.ts",
        ])
        .run();
    shown.expect_success();
    insta::assert_snapshot!(scrub(&project, &shown.stdout));
    let nothing = project.stockade(&["policy", "show"]).run();
    nothing.expect_output("nothing is granted, denied or limited\n");
}

/// Everything that is neither permission nor limit.
const SET: &str = "version: 1
permissions: {net: [a.example]}
protect: [data/kept]
limits: {timeout: 90s, output-size: 1m}
dns: [192.0.2.1, '[2001:db8::1]:5353']
proxy: http://user:word@proxy.example:3128
audit: denials.jsonl
runner: bin/deno
";

/// What `policy show` says.
fn shown(project: &Project, words: &[&str]) -> Outcome {
    let mut all = vec!["policy", "show"];
    all.extend(words);
    let outcome = project.stockade(&all).run();
    outcome.expect_success();
    outcome
}

#[test]
fn what_a_format_has_no_place_for_is_said() {
    let project = sample().file("set.yaml", SET);
    let show = |words: &[&str]| {
        let outcome = shown(&project, words);
        outcome.expect_nowhere("word@");
        outcome.stderr
    };
    let left_out = "warning: this format has permissions only, so these are left out: output-size, timeout, \
                    protect, dns, proxy, audit, runner\n";
    for format in ["--format=deno-json", "--format=json"] {
        assert_eq!(show(&[format, "--policy=set.yaml"]), left_out);
        assert_eq!(show(&[format, "--allow-env=A"]), "");
    }
    let secret = "warning: what logs in to the proxy is a secret and is left out\n";
    for format in ["--format=yaml", "--format=text"] {
        assert_eq!(show(&[format, "--policy=set.yaml"]), secret);
        assert_eq!(
            show(&[format, "--upstream-proxy=http://a:1", "--allow-net=b.c"]),
            ""
        );
    }
}

#[test]
fn what_is_written_is_read_back_to_the_same_policy() {
    let project = sample().file("set.yaml", SET);
    let show = |words: &[&str]| shown(&project, words).stdout;
    // Without origins.
    let entries = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split("    from ").next().unwrap().to_owned());
        lines.collect()
    };
    for words in [
        &["--policy=good.yaml"][..],
        &["-P", "main.ts"],
        &[
            "--allow-read=data",
            "--allow-net=:80,[::1]:1,*.a.example",
            "--deny-net=10.0.0.0/8",
            "--allow-run=git",
            "--ignore-env",
        ],
        &["-A", "--deny-write=data"],
        &["--policy=set.yaml"],
        &["--policy=npm-install"],
        &[
            "--policy=pip-install",
            "--allow-net=a.example",
            "--deny-net=b.example",
        ],
        &["--policy=cargo-build", "--deny-net=b.example"],
    ] {
        let mut yaml = words.to_vec();
        yaml.push("--format=yaml");
        // Flags end at the script.
        yaml.rotate_right(1);
        project.write("again.yaml", &show(&yaml));
        assert_eq!(
            entries(&show(&["--policy=again.yaml"])),
            entries(&show(words))
                .iter()
                .map(|line| line.replace(" data", &format!(" {}", project.path("data"))))
                .collect::<Vec<_>>(),
            "{words:?}\n{}",
            project.read("again.yaml")
        );
    }
}

#[test]
fn deno_json_is_written_for_deno_or_not_at_all() {
    let project = sample();
    let write = |words: &[&str]| {
        let mut all = vec!["policy", "show", "--format=deno-json"];
        all.extend(words);
        project.stockade(&all).run()
    };
    let exported = write(&["--allow-read=./data", "--allow-env=WORD"]);
    exported.expect_success();
    let elsewhere = Project::new()
        .file("deno.json", &exported.stdout)
        .file("data/in.txt", "in")
        .file(
            "main.ts",
            "console.log(Deno.readTextFileSync('data/in.txt'))",
        );
    elsewhere
        .stockade(&["run", "-P", "main.ts"])
        .run()
        .expect_output("in\n");
    elsewhere
        .bare(&["run", "-P", "main.ts"])
        .run()
        .expect_output("in\n");
    elsewhere.write("deno.json", r#"{"permissions": {"default": {}}}"#);
    elsewhere
        .stockade(&["run", "-P", "main.ts"])
        .run()
        .expect_code(1);
    // Denials win here; in Deno a more specific grant would, so it is not written.
    let void = write(&["--allow-read=data/x,data/y", "--deny-read=data/x"]);
    assert!(
        void.stdout.contains("data/y") && void.stdout.matches("data/x").count() == 1,
        "{}",
        void.stdout
    );
    for words in [
        &["--policy=good.yaml"][..],
        &["--allow-net", "--deny-net=[2001:db8::]/32"],
        &["--allow-net=a.example", "--verify=a.example=none"],
    ] {
        let outcome = write(words);
        outcome.expect_refused();
        outcome.expect_error("cannot be written as deno.json");
    }
}

#[test]
fn the_schema_is_printed() {
    let outcome = Project::new().stockade(&["policy", "schema"]).run();
    outcome.expect_success();
    assert_eq!(
        outcome.stdout,
        include_str!("../../../policies/policy.schema.json")
    );
}
