// SPDX-License-Identifier: MIT
//! `--policy`.

use std::os::unix::fs::symlink;

use super::{expect, open, write};
use crate::support::{Project, expect_errno};
use crate::support_life::{scrub, text};

fn sample() -> Project {
    Project::new()
        .file("data/in.txt", "in")
        .file("data/secret/key", "key")
        .file("other/out.txt", "out")
        .file(
            "policies/p.yaml",
            "version: 1\npermissions:\n  read: {allow: [../data], deny: [../data/secret]}\n",
        )
        .file(
            "policies/w.yaml",
            "version: 1\npermissions: {write: [../other]}\n",
        )
}

#[test]
fn files_are_held_by_the_kernel_like_flags() {
    let project = sample();
    let (inside, secret, outside) = (
        open(&project, "data/in.txt"),
        open(&project, "data/secret/key"),
        open(&project, "other/out.txt"),
    );
    let changed = write(&project, "other/out.txt");
    let all = [&inside, &secret, &outside, &changed];
    let nothing = project.probe(&[], &all);
    let one = project.probe(&["--policy=policies/p.yaml"], &all);
    let both = project.probe(
        &["--policy", "policies/p.yaml", "--policy=policies/w.yaml"],
        &all,
    );
    let flag = project.probe(
        &[
            "--policy=policies/p.yaml",
            "--allow-read=data/secret/key,other",
        ],
        &all,
    );
    let bare = project.probe_bare(&all);
    expect(
        &nothing,
        &[
            (&inside, false),
            (&secret, false),
            (&outside, false),
            (&changed, false),
        ],
    );
    expect(
        &one,
        &[
            (&inside, true),
            (&secret, false),
            (&outside, false),
            (&changed, false),
        ],
    );
    expect(
        &both,
        &[
            (&inside, true),
            (&secret, false),
            (&outside, false),
            (&changed, true),
        ],
    );
    // Flags add to the file; what the file denies stays denied.
    expect(
        &flag,
        &[
            (&inside, true),
            (&secret, false),
            (&outside, true),
            (&changed, false),
        ],
    );
    expect(
        &bare,
        &[
            (&inside, true),
            (&secret, true),
            (&outside, true),
            (&changed, true),
        ],
    );
}

#[test]
fn denos_own_check_knows_the_file() {
    let project = sample().file(
        "main.ts",
        "for (const name of ['data/in.txt', 'data/secret/key', 'other/out.txt']) {
           try { console.log(Deno.readTextFileSync(name)); } catch (error) { console.log(error.name); }
         }",
    );
    project
        .stockade(&["run", "--policy=policies/p.yaml", "main.ts"])
        .run()
        .expect_output("in\nNotCapable\nNotCapable\n");
    project
        .stockade(&["run", "--allow-read", "main.ts"])
        .run()
        .expect_output("in\nkey\nout\n");
}

#[test]
fn environment_programs_and_limits_come_from_the_file() {
    let project = Project::new()
        .file(
            "main.ts",
            "console.log(Deno.env.get('WORD'), Object.keys(Deno.env.toObject()).includes('OTHER'));",
        )
        .file("env.yaml", "version: 1\npermissions: {env: true}\n")
        .file("deny.yaml", "version: 1\npermissions: {env: {deny: [OTHER]}}\n")
        .file("loop.ts", "setInterval(() => {}, 1000)")
        .file("limit.yaml", "version: 1\nlimits: {timeout: 300ms}\n");
    let run = |flags: &[&str]| {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        let launch = project.stockade(&words).env("WORD", "w").env("OTHER", "o");
        launch.run()
    };
    run(&["--policy=env.yaml"]).expect_output("w true\n");
    run(&["--policy=env.yaml", "--policy=deny.yaml"]).expect_output("w false\n");
    run(&["--policy=deny.yaml", "--policy=env.yaml"]).expect_output("w false\n");
    assert_eq!(run(&["--policy=deny.yaml"]).code, Some(1));
    for flags in [
        &["--policy=limit.yaml"][..],
        &["--policy=limit.yaml", "--timeout=1h"],
    ] {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("loop.ts");
        project.stockade(&words).run().expect_code(124);
    }
}

#[test]
fn links_in_a_relative_grant_stay_with_the_file() {
    let project = sample().file("elsewhere/x", "x");
    symlink("/etc", project.directory().join("policies/away")).unwrap();
    symlink("../elsewhere", project.directory().join("policies/beside")).unwrap();
    project.write("main.ts", "console.log('started')");
    project.write(
        "policies/away.yaml",
        "version: 1\npermissions: {read: [./away]}\n",
    );
    project.write(
        "policies/beside.yaml",
        "version: 1\npermissions: {read: [./beside]}\n",
    );
    for (name, path) in [
        ("away", "/etc".to_owned()),
        ("beside", project.path("elsewhere")),
    ] {
        let policy = format!("--policy=policies/{name}.yaml");
        let outcome = project.stockade(&["run", &policy, "main.ts"]).run();
        outcome.expect_refused();
        outcome.expect_error(&path);
        outcome.expect_error(&format!("policies/{name}.yaml:2:22"));
        // The allow twin names the target itself.
        project.write(
            "policies/direct.yaml",
            &format!("version: 1\npermissions: {{read: [{path}]}}\n"),
        );
        project
            .stockade(&["run", "--policy=policies/direct.yaml", "main.ts"])
            .run()
            .expect_output("started\n");
    }
}

#[test]
fn files_extend_each_other_and_presets() {
    let project = sample()
        .file(
            "base.yaml",
            "version: 1\nextends: untrusted-script\npermissions: {read: [data]}\n",
        )
        .file(
            "deep/top.yaml",
            "version: 1\nextends: [../base.yaml]\npermissions: {write: [../other]}\n",
        );
    let (inside, changed) = (
        open(&project, "data/in.txt"),
        write(&project, "other/out.txt"),
    );
    let top = project.probe(&["--policy=deep/top.yaml"], &[&inside, &changed]);
    expect(&top, &[(&inside, true), (&changed, true)]);
    let base = project.probe(&["--policy=base.yaml"], &[&inside, &changed]);
    expect(&base, &[(&inside, true), (&changed, false)]);
    let preset = project.probe(&["--policy=untrusted-script"], &[&inside, &changed]);
    expect(&preset, &[(&inside, false), (&changed, false)]);
    project.write("main.ts", "console.log('started')");
    let explained = project
        .stockade(&["explain", "--policy=deep/top.yaml", "main.ts"])
        .run();
    explained.expect_success();
    for word in ["base.yaml:3:22", "deep/top.yaml:3:23", "after 60s"] {
        assert!(
            explained.stdout.contains(word),
            "{word}: {}",
            explained.stdout
        );
    }
}

#[test]
fn variables_and_optional_paths() {
    let home = Project::new().file("notes", "n");
    let project = sample().file(
        "v.yaml",
        "version: 1\nvariables: {NOTES: '${HOME}/notes'}\npermissions:\n  read:\n    - ${NOTES}\n    - '${PROJECT}/data'\n    \
         - {path: ./not-there, optional: true}\n",
    );
    project.write("deno.json", "{}");
    let (notes, data, other) = (
        open(&home, "notes"),
        open(&project, "data/in.txt"),
        open(&project, "other/out.txt"),
    );
    let launch = project
        .probe_launch(&["--policy=v.yaml"], &[&notes, &data, &other])
        .env("HOME", home.directory());
    let answers = launch.run().expect_answers(&[&notes, &data, &other]);
    // The project is the directory with deno.json, and the script lies below it.
    expect(&answers, &[(&notes, true), (&data, true), (&other, false)]);
    let elsewhere = project
        .probe_launch(&["--policy=v.yaml"], &[&notes])
        .env("HOME", "/nonexistent")
        .run();
    elsewhere.expect_refused();
    elsewhere.expect_error("v.yaml:5:7");
}

#[test]
fn hosts_of_a_file_open_the_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = Project::new()
        .file("n.yaml", &format!("version: 1\npermissions:\n  net:\n    - {{host: 127.0.0.1, port: {port}, reason: the server}}\n"))
        .file("d.yaml", "version: 1\npermissions: {net: {deny: ['127.0.0.0/8']}}\n");
    let item = format!("connect:{port}:");
    let granted = project.probe(&["--policy=n.yaml"], &[&item]);
    let denied = project.probe(&["--policy=n.yaml", "--policy=d.yaml"], &[&item]);
    let bare = project.probe_bare(&[&item]);
    expect_errno(&granted, &item, &[0]);
    expect_errno(&denied, &item, &[13]);
    expect_errno(&bare, &item, &[0]);
    // A denial names the line of the file.
    project.write(
        "main.ts",
        &format!("await Deno.connect({{hostname: '127.0.0.1', port: {port}}})"),
    );
    let why = project
        .stockade(&[
            "explain",
            "--policy=n.yaml",
            "--policy=d.yaml",
            &format!("--why=net:127.0.0.1:{port}"),
            "main.ts",
        ])
        .run();
    why.expect_success();
    assert!(why.stdout.contains("d.yaml:2:28"), "{}", why.stdout);
}

#[test]
fn wrong_files_start_nothing() {
    let project = Project::new()
        .file("main.ts", "console.log('started')")
        .file("good.yaml", "version: 1\n")
        .file("empty.yaml", "")
        .file("wrong.yaml", "version: 1\npermissions:\n  raed: [x]\n  net: [8080]\nlimits: {timeout: soon}\nextends: [./gone.yaml, ./wrong.yaml]\n")
        .file("settings.yaml", "version: 1\ndns: [example]\nproxy: socks5://u:s3cret@a:1\n")
        .file("private.yaml", "version: 1\npermissions: {net: [a.example]}\n")
        .file("cycle/a.yaml", "version: 1\nextends: ./b.yaml\n")
        .file("cycle/b.yaml", "version: 1\nextends: ./a.yaml\n");
    std::fs::write(
        project.directory().join("bytes.yaml"),
        b"version: 1 # \xff\n",
    )
    .unwrap();
    std::fs::write(
        project.directory().join("large.yaml"),
        vec![b'#'; 1024 * 1024 + 1],
    )
    .unwrap();
    let mut all = String::new();
    for words in [
        &["--policy=wrong.yaml"][..],
        &["--policy=empty.yaml"],
        &["--policy=gone.yaml"],
        &["--policy=./gone"],
        &["--policy=npm"],
        &["--policy=untrusted-scirpt"],
        &["--policy=settings.yaml"],
        &["--policy=cycle/a.yaml"],
        &["--policy=bytes.yaml"],
        &["--policy=large.yaml"],
        &["--policy=good.yaml", "--allow-private=a.example"],
        &["--policy=good.yaml", "--inspect"],
    ] {
        let mut line = vec!["run"];
        line.extend(words);
        line.push("main.ts");
        let outcome = project.stockade(&line).run();
        outcome.expect_refused();
        all.push_str(&format!(
            "$ {}\n{}\n",
            words.join(" "),
            scrub(&project, &outcome.stderr)
        ));
        line[0] = "explain";
        project.stockade(&line).run().expect_refused();
    }
    assert!(!all.contains("s3cret"), "{all}");
    insta::assert_snapshot!(all);
    project
        .stockade(&["run", "--policy=good.yaml", "main.ts"])
        .run()
        .expect_output("started\n");
    let allowed = project
        .stockade(&[
            "run",
            "--policy=private.yaml",
            "--allow-private=a.example",
            "main.ts",
        ])
        .run();
    allowed.expect_output("started\n");
}

#[test]
fn the_same_policy_gives_the_same_plan() {
    let project = sample().file("main.ts", "");
    let plan = |policies: &[&str]| {
        let mut words = vec!["explain"];
        words.extend(policies);
        words.push("main.ts");
        let outcome = project.stockade(&words).run();
        outcome.expect_success();
        text(&project, &outcome)
    };
    let one = plan(&["--policy=policies/p.yaml"]);
    assert_eq!(one, plan(&["--policy=policies/p.yaml"]));
    assert_ne!(one, plan(&["--policy=policies/w.yaml"]));
}
