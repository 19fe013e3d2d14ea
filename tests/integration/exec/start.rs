// SPDX-License-Identifier: MIT
//! How a command is found, what it starts with, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::exec;
use crate::support::{Project, compile, scratch};
use crate::support_life::start;

#[test]
fn a_command_reads_the_system_and_its_directory_and_nothing_else() {
    let project = Project::new().file("here.txt", "here\n");
    let elsewhere = Project::new().file("secret.txt", "secret\n");
    let secret = elsewhere.path("secret.txt");
    exec(&project, &["--", "cat", "here.txt"])
        .run()
        .expect_output("here\n");
    exec(
        &project,
        &[
            "--",
            "sh",
            "-c",
            "test -r /usr/bin/env && ls /usr >/dev/null",
        ],
    )
    .run()
    .expect_success();
    let outcome = exec(&project, &["--", "cat", &secret]).run();
    outcome.expect_code(1).expect_nowhere("secret\n");
    exec(
        &project,
        &[&format!("--allow-read={secret}"), "--", "cat", &secret],
    )
    .run()
    .expect_output("secret\n");
    project
        .launch(Path::new("/bin/cat"), &[&secret])
        .run()
        .expect_output("secret\n");
    exec(&project, &["--deny-read=here.txt", "cat", "here.txt"])
        .run()
        .expect_code(1);
}

#[test]
fn a_command_writes_to_its_own_directory_alone() {
    let project = Project::new();
    let write = "echo x > out.txt";
    let outcome = exec(&project, &["--", "sh", "-c", write]).run();
    assert_ne!(outcome.code, Some(0));
    assert!(!project.has("out.txt"));
    exec(&project, &["--allow-write=.", "--", "sh", "-c", write])
        .run()
        .expect_success();
    assert_eq!(project.read("out.txt"), "x\n");
    // Modes and times, too, which no kernel rule covers.
    let own = "set -e; cd \"$HOME\"; echo y > file; chmod 600 file; touch -d @5 file; mkdir -p a/b; \
               ln -s file link; mv file a/b/; cat a/b/file; cd \"$TMPDIR\"; cp /bin/sh tool; ./tool -c 'echo z'; \
               chmod 0 \"$HOME/a\"; echo \"$HOME\"";
    let outcome = exec(&project, &["--", "sh", "-c", own]).run();
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(&lines[..2], ["y", "z"]);
    let home = Path::new(lines[2]);
    assert!(
        home.is_absolute() && !home.parent().unwrap().exists(),
        "{}",
        home.display()
    );
    assert_eq!(outcome.stderr, "");
    // Nothing at all.
    let outcome = exec(
        &project,
        &[
            "--deny-write",
            "--",
            "sh",
            "-c",
            "echo $HOME; echo x > /tmp/stockade-none",
        ],
    )
    .run();
    assert!(outcome.stdout.starts_with("/nonexistent\n"), "{outcome:?}");
    assert_ne!(outcome.code, Some(0));
}

#[test]
fn two_runs_do_not_share_a_directory() {
    let project = Project::new();
    let first = exec(
        &project,
        &[
            "--",
            "sh",
            "-c",
            "echo secret > $HOME/f; echo $HOME; sleep 5",
        ],
    );
    let mut command = first.into_command();
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut home = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut home,
    )
    .unwrap();
    let file = format!("{}/f", home.trim());
    let outside = project.launch(Path::new("/bin/cat"), &[&file]).run();
    let other = exec(&project, &["--", "cat", &file]).run();
    child.kill().unwrap();
    child.wait().unwrap();
    outside.expect_output("secret\n");
    other.expect_code(1).expect_nowhere("secret");
}

#[test]
fn there_is_no_network_without_a_grant() {
    let project = Project::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connect = format!("exec 3<>/dev/tcp/{}", address.replace(':', "/"));
    let outcome = exec(&project, &["--", "bash", "-c", &connect]).run();
    assert_ne!(outcome.code, Some(0));
    outcome.expect_error("Permission denied");
    exec(
        &project,
        &[
            &format!("--allow-net={address}"),
            "--",
            "bash",
            "-c",
            &connect,
        ],
    )
    .run()
    .expect_success();
    project
        .launch(Path::new("/bin/bash"), &["-c", &connect])
        .run()
        .expect_success();
}

#[test]
fn the_environment_is_scrubbed() {
    let project = Project::new();
    let printed = |flags: &[&str]| {
        let mut words = flags.to_vec();
        words.extend(["--", "env"]);
        let outcome = exec(&project, &words)
            .env("SECRET_TOKEN", "hidden")
            .env("LD_LIBRARY_PATH", "/evil")
            .env("BASH_ENV", "/evil")
            .env("LANG", "C.UTF-8")
            .run();
        outcome.expect_success();
        outcome.stdout
    };
    let plain = printed(&[]);
    let mut names: Vec<&str> = plain
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    names.sort_unstable();
    names.retain(|name| *name != "RUSTUP_HOME");
    assert_eq!(names, ["HOME", "LANG", "NO_COLOR", "PATH", "TMPDIR"]);
    let granted = printed(&["--allow-env=SECRET_TOKEN,HOME"]);
    assert!(granted.contains("SECRET_TOKEN=hidden"), "{granted}");
    let home = std::env::var("HOME").unwrap();
    assert!(granted.contains(&format!("HOME={home}\n")), "{granted}");
    assert!(!printed(&["--deny-env=PATH"]).contains("PATH="));
}

#[test]
fn a_home_is_not_granted_because_the_command_starts_there() {
    let project = Project::new().file("secret.txt", "secret\n");
    let home = project.directory().to_str().unwrap().to_owned();
    let cat = ["exec", "--", "cat", "secret.txt"];
    let outcome = project.stockade(&cat).env("HOME", &home).run();
    outcome.expect_code(1).expect_nowhere("secret\n");
    outcome.expect_error("--allow-read=.");
    project
        .stockade(&["exec", "--allow-read=.", "--", "cat", "secret.txt"])
        .env("HOME", &home)
        .run()
        .expect_output("secret\n");
    project.stockade(&cat).run().expect_output("secret\n");
    // Nor because PATH names it, or what is above it.
    let path = format!(
        "/usr/bin:/bin:{home}:{}",
        project.directory().parent().unwrap().display()
    );
    let outcome = project
        .stockade(&["exec", "--", "sh", "-c", "echo $PATH; cat secret.txt"])
        .env("HOME", &home)
        .env("PATH", path)
        .run();
    outcome.expect_code(1).expect_nowhere("secret\n");
    assert_eq!(outcome.stdout, "/usr/bin:/bin\n");
}

#[test]
fn commands_are_found_as_by_a_shell() {
    let project = Project::new()
        .file("plain.txt", "echo no")
        .file("bin/plain", "echo no");
    project.write_program("tool", "#!/bin/sh\necho \"$0 $1\"\n");
    project.write_program("bin/named", "#!/bin/sh\necho named\n");
    project.write_program("broken", "#!/no/such/interpreter\n");
    project.write_program("bytes", "\0\u{1}\u{2}");
    let path = format!("{}:/usr/bin:/bin", project.path("bin"));
    let run = |name: &str| {
        exec(&project, &["--", name, "one"])
            .env("PATH", &path)
            .run()
    };
    run("./tool").expect_output("./tool one\n");
    run(&project.path("tool")).expect_output(&format!("{} one\n", project.path("tool")));
    run("named").expect_output("named\n");
    for (name, code) in [
        ("missing-command", 127),
        ("./missing", 127),
        ("tool/missing", 126),
        ("plain", 126),
        ("./plain.txt", 126),
        ("./bin", 126),
        ("./broken", 126),
        ("./bytes", 126),
    ] {
        let outcome = run(name);
        outcome.expect_code(code).expect_error("error: ");
        assert_eq!(outcome.stdout, "", "{name}");
        let shell = project
            .launch(Path::new("/bin/bash"), &["-c", "\"$1\"", "bash", name])
            .env("PATH", &path)
            .run();
        // A broken interpreter is 126 or 127 by the shell's version.
        if name != "./broken" {
            shell.expect_code(code);
        }
    }
    // Bare: the name is no flag of Stockade, and what follows belongs to the command.
    exec(
        &project,
        &["sh", "-c", "echo $#", "sh", "--allow-read", "-x"],
    )
    .run()
    .expect_output("2\n");
    exec(&project, &[])
        .run()
        .expect_refused()
        .expect_error("needs a command");
    exec(&project, &["--allow-import", "true"])
        .run()
        .expect_refused()
        .expect_error("`--allow-import` is no flag of `stockade exec`");
}

#[test]
fn a_command_is_seen_by_its_name() {
    let project = Project::new();
    exec(&project, &["--", "cat", "/proc/self/comm"])
        .run()
        .expect_output("cat\n");
}

#[test]
fn it_ends_as_its_program_ends() {
    let project = Project::new();
    exec(&project, &["sh", "-c", "exit 42"])
        .run()
        .expect_code(42);
    let outcome = exec(&project, &["sh", "-c", "kill -TERM $$"]).run();
    assert_eq!(outcome.signal, Some(15));
    exec(&project, &["--timeout=200ms", "sleep", "60"])
        .run()
        .expect_code(124);
    let outcome = exec(&project, &["cat"]).input(b"through").run();
    outcome.expect_output("through");
}

#[test]
fn run_flags_narrow_what_is_started() {
    let project = Project::new();
    let both = "env true && id -u > /dev/null";
    exec(&project, &["--", "sh", "-c", both])
        .run()
        .expect_success();
    let listed = exec(&project, &["--allow-run=env,true", "--", "sh", "-c", both]).run();
    assert_ne!(listed.code, Some(0));
    listed.expect_error("id");
    exec(
        &project,
        &["--allow-run=env,true,id", "--", "sh", "-c", both],
    )
    .run()
    .expect_success();
    let denied = exec(&project, &["--deny-run=id", "--", "sh", "-c", both]).run();
    assert_ne!(denied.code, Some(0));
    denied.expect_error("id: Permission denied");
    let alone = exec(
        &project,
        &["--deny-run", "--", "sh", "-c", "echo one; /bin/true"],
    )
    .run();
    assert_eq!(alone.stdout, "one\n");
    assert_ne!(alone.code, Some(0));
    exec(&project, &["--deny-run", "--", "ls", "/usr/bin/env"])
        .run()
        .expect_output("/usr/bin/env\n");
}

#[test]
fn set_user_id_programs_get_nothing_and_it_is_said() {
    let project = Project::new();
    let program = project.directory().join("elevated");
    compile(
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d %d\\n\", geteuid() == getuid(), \
         getegid() == getgid()); return 0; }",
        &scratch().join("elevated"),
        &[],
    );
    std::fs::copy(scratch().join("elevated"), &program).unwrap();
    let mode = |mode: u32| {
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o755);
    let plain = exec(&project, &["--", "./elevated"]).run();
    plain.expect_output("1 1\n");
    assert_eq!(plain.stderr, "");
    mode(0o6755);
    let outcome = exec(&project, &["--", "./elevated"]).run();
    outcome
        .expect_output("1 1\n")
        .expect_error("is set-user-id");
    // Named in the words of another command: said when that failed.
    let through = |code: &str| {
        let script = format!("./elevated && exit {code}");
        let outcome = exec(&project, &["--", "sh", "-c", &script]).run();
        assert_eq!(outcome.stdout, "1 1\n");
        outcome.stderr
    };
    let real = program.canonicalize().unwrap();
    assert_eq!(
        through("1"),
        format!(
            "warning: the command names `./elevated`: `{}` is set-user-id, which gives it nothing \
             here: no program of a run gets privileges\n",
            real.display()
        )
    );
    assert_eq!(through("0"), "");
    mode(0o755);
    assert_eq!(through("1"), "");
}

#[test]
fn nothing_is_made_for_explain() {
    let project = Project::new();
    let outcome = project.stockade(&["explain", "exec", "--", "true"]).run();
    outcome.expect_success();
    assert!(
        outcome.stdout.contains("stockade-XXXXXX"),
        "{}",
        outcome.stdout
    );
    let why = project
        .stockade(&["explain", "exec", "--why=write:/etc/passwd", "--", "true"])
        .run();
    assert!(why.stdout.starts_with("denied"), "{}", why.stdout);
}

#[test]
fn two_hundred_at_once_all_end_well() {
    use std::process::{Child, Stdio};
    let project = Project::new().file("own.txt", "own\n");
    for flags in [&[][..], &["--allow-net=localhost:1"]] {
        let script = "cat own.txt; read -r line; echo $line > $HOME/f; chmod 600 $HOME/f; cat $HOME/f; exit 3";
        let mut words = flags.to_vec();
        words.extend(["--", "sh", "-c", script]);
        // Each waits for its input until all of them run.
        let children: Vec<Child> = (0..200)
            .map(|_| {
                let mut command = exec(&project, &words).into_command();
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for (index, mut child) in children.into_iter().enumerate() {
            let mut input = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut input, format!("number {index}\n").as_bytes()).unwrap();
            drop(input);
            let output = child.wait_with_output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(stdout, format!("own\nnumber {index}\n"), "{stderr}");
            assert_eq!((output.status.code(), stderr.as_str()), (Some(3), ""));
        }
    }
}

#[test]
fn what_is_left_behind_leads_nowhere() {
    let project = Project::new().file("kept/file", "kept\n");
    let kept = project.path("kept");
    let leave = format!(
        "cd $HOME; ln -s {kept} link; ln -s /etc/passwd file; mkdir -p a/b/c; mkfifo pipe; ln -s {kept} a/b/c/link; \
         touch -- -rf 'new\nline'; chmod 0 a/b; chmod 555 a; chmod 500 .; dirname $PWD"
    );
    let outcome = exec(&project, &["--", "sh", "-c", &leave]).run();
    outcome.expect_success();
    assert_eq!(outcome.stderr, "");
    let private = Path::new(outcome.stdout.trim());
    assert!(
        private.is_absolute() && !private.exists(),
        "{}",
        private.display()
    );
    assert_eq!(project.read("kept/file"), "kept\n");
}

#[test]
fn the_directory_of_a_killed_run_is_removed() {
    let project = Project::new().file("place/.keep", "");
    let place = project.path("place");
    // Names like those that Stockade makes, and nothing it made.
    for name in ["stockade-mine", "other"] {
        project.write(&format!("place/{name}/home/file"), "mine");
    }
    let found = || {
        let entries = std::fs::read_dir(&place).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = found();
    // A descendant that outlives the rest for a moment, and writes.
    let script = "mkdir -p $HOME/a/b; chmod 0 $HOME/a; \
                  (for n in $(seq 50); do echo x >$TMPDIR/$n; sleep 0.01; done) 2>/dev/null & \
                  echo $HOME; sleep 600";
    let launch = exec(&project, &["--", "sh", "-c", script]).env("TMPDIR", &place);
    let mut run = start(launch);
    let home = run.line();
    assert!(Path::new(&home).starts_with(&place) && found() != before);
    run.signal(nix::sys::signal::Signal::SIGKILL);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while found() != before {
        assert!(std::time::Instant::now() < deadline, "{:?}", found());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for name in ["place/stockade-mine", "place/other", "place"] {
        let outcome = project.stockade(&["__remove", &project.path(name)]).run();
        outcome.expect_refused();
    }
    assert_eq!(found(), before);
    assert_eq!(project.read("place/stockade-mine/home/file"), "mine");
}
