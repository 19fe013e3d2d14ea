// SPDX-License-Identifier: MIT
//! `-P`: permission sets of deno.json, beside Deno's own reading of them.

use super::{expect, open};
use crate::support::Project;
use crate::support_life::scrub;

const CONFIGURATION: &str = r#"{
  // What the tests use.
  "permissions": {
    "default": { "read": ["./data"] },
    "env": { "env": { "allow": ["WORD"], "ignore": ["OTHER"] } },
    "most": { "all": true, "net": false, "read": { "deny": ["./data"] } },
  },
  "test": { "permissions": "env" }
}"#;

const MAIN: &str = "
for (const name of ['data/in.txt', 'other/out.txt']) {
  try { console.log(Deno.readTextFileSync(name)); } catch (error) { console.log(error.name); }
}
for (const name of ['WORD', 'OTHER']) {
  try { console.log(Deno.env.get(name)); } catch (error) { console.log(error.name); }
}
try { Deno.listen({ port: 0 }).close(); console.log('listens'); } catch (error) { console.log(error.name); }
";

fn sample() -> Project {
    Project::new()
        .file("deno.json", CONFIGURATION)
        .file("main.ts", MAIN)
        .file("deep/main.ts", MAIN)
        .file("data/in.txt", "in")
        .file("other/out.txt", "out")
}

#[test]
fn sets_mean_what_deno_means() {
    let project = sample();
    for (words, expected) in [
        (
            &["-P"][..],
            "in\nNotCapable\nNotCapable\nNotCapable\nNotCapable\n",
        ),
        (
            &["-P=default"],
            "in\nNotCapable\nNotCapable\nNotCapable\nNotCapable\n",
        ),
        (
            &["--permission-set=env"],
            "NotCapable\nNotCapable\nw\nundefined\nNotCapable\n",
        ),
        (&["-P=most"], "NotCapable\nout\nw\no\nNotCapable\n"),
    ] {
        for script in ["main.ts", "deep/main.ts"] {
            let mut line = vec!["run"];
            line.extend(words);
            line.push(script);
            let set =
                |launch: crate::support::Launch| launch.env("WORD", "w").env("OTHER", "o").run();
            set(project.stockade(&line)).expect_output(expected);
            set(project.bare(&line)).expect_output(expected);
        }
    }
}

#[test]
fn the_kernel_holds_sets_and_flags_add_to_them() {
    let project = sample();
    let (data, other) = (
        open(&project, "data/in.txt"),
        open(&project, "other/out.txt"),
    );
    let all = [&data, &other];
    expect(
        &project.probe(&[], &all),
        &[(&data, false), (&other, false)],
    );
    expect(
        &project.probe(&["-P"], &all),
        &[(&data, true), (&other, false)],
    );
    expect(
        &project.probe(&["-P", "--allow-read=other"], &all),
        &[(&data, true), (&other, true)],
    );
    // A denial of the set wins over the flag; Deno lets the flag replace it.
    expect(
        &project.probe(&["-P=most", "--allow-read=data"], &all),
        &[(&data, false), (&other, true)],
    );
    expect(&project.probe_bare(&all), &[(&data, true), (&other, true)]);
}

#[test]
fn the_configuration_is_the_programs() {
    let project = Project::new()
        .file("deno.json", r#"{"workspace": ["./member"], "permissions": {"a": {"env": ["WORD"]}, "b": {"env": ["WORD"]}}}"#)
        .file("member/deno.json", r#"{"permissions": {"a": {"env": ["OTHER"]}}}"#)
        .file("member/main.ts", "console.log(['WORD', 'OTHER'].map((name) => { try { return Deno.env.get(name) } catch { return '-' } }).join())")
        .file("elsewhere/deno.json", r#"{"permissions": {"a": {"env": true}}}"#);
    project.write("main.ts", &project.read("member/main.ts"));
    for (words, expected) in [
        (&["run", "-P=a", "member/main.ts"][..], "-,o\n"),
        (&["run", "-P=b", "member/main.ts"], "w,-\n"),
        (&["run", "-P=a", "main.ts"], "w,-\n"),
        (
            &["run", "-P=a", "--config=elsewhere/deno.json", "main.ts"],
            "w,o\n",
        ),
    ] {
        let launch = project.stockade(words).env("WORD", "w").env("OTHER", "o");
        launch.run().expect_output(expected);
    }
    // Not the directory of the run.
    let launch = project
        .stockade(&["run", "-P=a", "../member/main.ts"])
        .directory(&project.directory().join("elsewhere"));
    launch
        .env("WORD", "w")
        .env("OTHER", "o")
        .run()
        .expect_output("-,o\n");
}

#[test]
fn sets_that_are_none_say_what_there_is() {
    let project = sample()
        .file(
            "bad/deno.json",
            r#"{"permissions": {"x": {"raed": [], "net": [":80"]}}}"#,
        )
        .file("bad/main.ts", "console.log('started')")
        .file("syntax/deno.json", "{\n  \"permissions\": {\n    oops\n}")
        .file("syntax/main.ts", "console.log('started')")
        .file("without/deno.json", "{}")
        .file("without/main.ts", "console.log('started')");
    let mut all = String::new();
    for words in [
        &["run", "-P=defualt", "main.ts"][..],
        &["run", "-P=x", "without/main.ts"],
        &["run", "-P=x", "bad/main.ts"],
        &["run", "-P=x", "syntax/main.ts"],
        &["run", "-P", "--no-config", "main.ts"],
        &["run", "-P", "--config=gone.json", "main.ts"],
    ] {
        let outcome = project.stockade(words).run();
        outcome.expect_refused();
        all.push_str(&format!(
            "$ {}\n{}\n",
            words.join(" "),
            scrub(&project, &outcome.stderr)
        ));
    }
    insta::assert_snapshot!(all);
    let none = Project::new().file("main.ts", "console.log('started')");
    let outcome = none.stockade(&["run", "-P", "main.ts"]).run();
    outcome.expect_refused();
    outcome.expect_error("needs a deno.json");
    // A bare `-P` without a set grants nothing, and says so.
    let outcome = project.stockade(&["run", "-P", "without/main.ts"]).run();
    outcome
        .expect_output("started\n")
        .expect_error("no permission set `default`");
}
