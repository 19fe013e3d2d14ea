// SPDX-License-Identifier: MIT
//! The walls around a line: what it reads, writes, starts, connects to and sees.
//!
//! Invariant: what is denied works with one flag more, and outside any sandbox.

use std::net::TcpListener;

use super::{project, task};
use crate::support::{Project, python};

/// Writes outside the project, and below it, by builtins, redirects and programs.
#[test]
fn a_line_writes_where_it_may() {
    let outside = Project::new();
    let target = outside.path("x");
    let lines = [
        format!("echo x > {target}"),
        format!("cp main.js {target}"),
        format!("mkdir {target}"),
        format!("cat main.js | tee {target}"),
        format!("sh -c 'echo x > {target}'"),
    ];
    for line in &lines {
        let project = project(&[("t", line), ("in", "echo y > made.txt")]);
        let denied = task(&project, &["t"]).run();
        assert_ne!(denied.code, Some(0), "{line}: {denied:?}");
        assert!(!outside.has("x"), "{line}");
        task(&project, &["in"]).run().expect_code(1);
        assert!(!project.has("made.txt"));
        let grant = format!("--allow-write={}", outside.directory().display());
        task(&project, &[&grant, "t"]).run().expect_success();
        assert!(outside.has("x"), "{line}");
        let removed = outside.directory().join("x");
        let _ = std::fs::remove_file(&removed);
        let _ = std::fs::remove_dir(&removed);
        project
            .launch("/bin/sh".as_ref(), &["-c", line])
            .run()
            .expect_success();
        let _ = std::fs::remove_file(&removed);
        let _ = std::fs::remove_dir(&removed);
        // Relative to where it was typed, though the line runs above.
        let sub = project.directory().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let relative = task(&project, &["--allow-write=..", "in"])
            .directory(&sub)
            .run();
        relative.expect_success();
        assert_eq!(project.read("made.txt"), "y\n");
    }
}

#[test]
fn a_line_reads_the_project_and_no_more() {
    let secrets = Project::new().file(".ssh/id_ed25519", "secret-key");
    let key = secrets.path(".ssh/id_ed25519");
    let home = secrets.directory().display().to_string();
    for line in [
        format!("cat {key}"),
        format!("grep -h secret {key}"),
        format!("cat < {key}"),
        format!("cp {key} /dev/stdout"),
        "cat $HOME/.ssh/id_ed25519".to_owned(),
        "cat ~/.ssh/id_ed25519".to_owned(),
    ] {
        let project = project(&[("t", &line)]);
        let denied = task(&project, &["t"]).env("HOME", &home).run();
        denied.expect_nowhere("secret-key");
        assert_ne!(denied.code, Some(0), "{line}");
        if line.contains("/dev/stdout") {
            continue;
        }
        let grant = format!("--allow-read={home}");
        let allowed = task(&project, &[&grant, "--allow-env=HOME", "t"]);
        let allowed = allowed.env("HOME", &home).run();
        assert!(allowed.stdout.contains("secret-key"), "{line}: {allowed:?}");
    }
}

#[test]
fn a_line_starts_what_it_names() {
    let project = project(&[
        ("named", "sort deno.json"),
        ("inner", "sh -c 'sort deno.json'"),
        ("file", "./tool.sh"),
    ]);
    project.write_program("tool.sh", "#!/bin/sh\necho tool\n");
    task(&project, &["named"]).run().expect_success();
    task(&project, &["file"]).run().expect_output("tool\n");
    let denied = task(&project, &["inner"]).run();
    assert!(
        denied.code != Some(0) && denied.stdout.is_empty(),
        "{denied:?}"
    );
    task(&project, &["--allow-run=sort", "inner"])
        .run()
        .expect_success();
    task(&project, &["--deny-run=sort", "named"])
        .run()
        .expect_code(1);
}

#[test]
fn a_line_has_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let python = python().display();
    let code = format!(
        "import socket; s = socket.create_connection((\\\"127.0.0.1\\\", {})); print(\\\"through\\\")",
        address.port()
    );
    let project = project(&[("t", &format!("{python} -c \"{code}\""))]);
    let denied = task(&project, &["t"]).run();
    assert!(
        denied.code != Some(0) && denied.stdout.is_empty(),
        "{denied:?}"
    );
    let grant = format!("--allow-net={address}");
    task(&project, &[&grant, "t"])
        .run()
        .expect_output("through\n");
}

#[test]
fn a_line_sees_the_variables_it_names() {
    let project = project(&[
        ("named", "echo $NAMED $(printenv UNNAMED)"),
        ("all", "env"),
        ("loader", "echo $LD_PRELOAD $NODE_OPTIONS."),
    ]);
    let run = |words: &[&str]| {
        let launch = task(&project, words);
        let launch = launch.env("NAMED", "named").env("UNNAMED", "unnamed");
        launch.env("NODE_OPTIONS", "--x").run()
    };
    run(&["named"]).expect_output("named\n");
    run(&["--allow-env=UNNAMED", "named"]).expect_output("unnamed\n");
    run(&["all"]).expect_success().expect_nowhere("named");
    run(&["loader"]).expect_output(".\n");
}

#[test]
fn variables_that_stockade_goes_by_are_not_the_lines() {
    let project = project(&[
        (
            "home",
            "HOME=/tmp/evil STOCKADE_CACHE=/tmp/evil deno run --no-check --allow-env=HOME home.js",
        ),
        (
            "own",
            "HOSTNAME=x deno run --no-check --allow-env=HOSTNAME,HOME home.js",
        ),
    ])
    .file(
        "home.js",
        "console.log(Deno.env.get('HOME'), Deno.env.get('HOSTNAME'));",
    );
    let outcome = task(&project, &["home"]).env("HOME", "/callers").run();
    outcome
        .expect_code(1)
        .expect_error("`HOME` set by the task `home` is not passed to `deno`");
    assert!(!std::path::Path::new("/tmp/evil").exists());
    task(&project, &["own"])
        .env("HOME", "/callers")
        .run()
        .expect_output("/callers x\n");
}

/// What a program of the line could send requests through.
#[test]
fn the_shells_socket_is_out_of_reach() {
    let forge = r#"
import os, stat
libc = __import__("ctypes").CDLL(None, use_errno=True)
shell = os.getppid()
handle = libc.syscall(434, shell, 0)
print("pidfd", handle >= 0)
taken = [libc.syscall(438, handle, fd, 0) for fd in range(3, 40)]
print("taken", any(fd >= 0 for fd in taken))
for fd in range(3, 40):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            print("inherited", fd)
    except OSError:
        pass
"#;
    let python = python().display();
    let project = project(&[("t", &format!("{python} forge.py"))]).file("forge.py", forge);
    let outcome = task(&project, &["--allow-read=/proc", "t"]).run();
    outcome.expect_output("pidfd True\ntaken False\n");
}
