// SPDX-License-Identifier: MIT
//! Processes and programs: none without a grant, the granted ones with one, all inside every wall.

use libc::{EACCES, ENOSYS, EPERM};

use crate::support::{Project, expect_errno, expect_not_errno, probes, python};

/// A program outside the usual directories that needs nothing but the C library.
fn probe_program() -> &'static str {
    probes().program.to_str().unwrap()
}

#[test]
fn nothing_starts_without_a_grant() {
    let project = Project::new();
    let items = [
        "fork:0:",
        "vfork:0:",
        "clone:0:",
        "clone:268435456:", // CLONE_NEWUSER
        "clone:32768:",     // CLONE_PARENT
        "clone:256:",       // CLONE_VM without CLONE_THREAD, as posix_spawn does
        "posix_spawn:0:/bin/true",
        "run:0:/bin/true",
    ];
    let controlled = [0, 1, 2, 3, 6, 7];
    let outside = project.probe_bare(&controlled.map(|index| items[index]));
    for flags in [
        &[][..],
        &["--deny-run"],
        &["--allow-run", "--deny-run"],
        &[
            "--allow-read",
            "--allow-write",
            "--allow-net",
            "--allow-env",
        ],
    ] {
        let inside = project.probe(flags, &items);
        for item in items {
            expect_errno(&inside, item, &[EPERM, EACCES, ENOSYS]);
        }
        let clone3 = project.probe(flags, &["clone3:0:"]);
        expect_errno(&clone3, "clone3:0:", &[ENOSYS]);
    }
    for item in controlled.map(|index| items[index]) {
        expect_errno(&outside, item, &[0]);
    }
    expect_not_errno(
        &project.probe_bare(&["clone3:0:"]),
        "clone3:0:",
        &[ENOSYS, EPERM],
    );
    let granted = project.probe(
        &["--allow-run"],
        &[
            "fork:0:",
            "vfork:0:",
            "clone:0:",
            "posix_spawn:0:/bin/true",
            "run:0:/bin/true",
        ],
    );
    for (item, errno) in granted {
        assert_eq!(errno, 0, "{item}");
    }
}

#[test]
fn the_program_cannot_replace_itself() {
    let project = Project::new();
    let echo = ["/bin/echo", "/usr/bin/echo"]
        .iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap();
    for probe in ["execve", "execveat", "fexecve"] {
        let item = format!("{probe}:0:{echo}");
        let inside = project.probe(&[], &[&item]);
        expect_errno(&inside, &item, &[EACCES, EPERM, ENOSYS]);
        project
            .probe_bare_outcome(&[&item])
            .expect_output("replaced\n");
        // Nor with the runner itself, which Landlock must let it execute.
        let runner = format!("{probe}:0:{}", crate::support::runner().display());
        expect_errno(
            &project.probe(&[], &[&runner]),
            &runner,
            &[EACCES, EPERM, ENOSYS],
        );
    }
    let item = format!("execve:0:{echo}");
    project
        .probe_outcome(&["--allow-run"], &[&item])
        .expect_output("replaced\n");
}

#[test]
fn raw_system_calls_through_the_c_library_are_refused() {
    let script = r#"
        const library = Deno.dlopen("libc.so.6", {
          syscall: { parameters: ["i64", "i64", "i64", "i64", "i64", "i64"], result: "i64" },
          fork: { parameters: [], result: "i32" },
          execve: { parameters: ["buffer", "pointer", "pointer"], result: "i32" },
        });
        const x86 = Deno.build.arch === "x86_64";
        const SIGCHLD = 17n, path = new TextEncoder().encode("/bin/true\0");
        const made = (pid: number | bigint) => {
          if (pid == 0) library.symbols.syscall(x86 ? 231n : 94n, 0n, 0n, 0n, 0n, 0n);
          return pid > 0 ? "made" : "refused";
        };
        console.log("fork", made(library.symbols.fork()));
        console.log("clone", made(library.symbols.syscall(x86 ? 56n : 220n, SIGCHLD, 0n, 0n, 0n, 0n)));
        if (x86) console.log("raw fork", made(library.symbols.syscall(57n, 0n, 0n, 0n, 0n, 0n)));
        if (Deno.args[0] === "replace") {
          const none = Deno.UnsafePointer.create(0n);
          console.log("execve", library.symbols.execve(path, none, none) < 0 ? "refused" : "made");
        }
    "#;
    let project = Project::new().file("libc.ts", script);
    let inside = project
        .stockade(&["run", "--allow-ffi", "libc.ts", "replace"])
        .run();
    inside.expect_success();
    assert!(!inside.stdout.contains("made"), "{}", inside.stdout);
    assert!(
        inside.stdout.contains("execve refused"),
        "{}",
        inside.stdout
    );
    let outside = project.bare(&["run", "--allow-ffi", "libc.ts"]).run();
    outside.expect_success();
    assert!(
        outside.stdout.contains("made") && !outside.stdout.contains("refused"),
        "{}",
        outside.stdout
    );
    let replaced = project
        .bare(&["run", "--allow-ffi", "libc.ts", "replace"])
        .run();
    assert!(!replaced.stdout.contains("execve"), "{}", replaced.stdout);
    let granted = project
        .stockade(&["run", "--allow-ffi", "--allow-run", "libc.ts"])
        .run();
    assert!(
        granted.stdout.contains("made") && !granted.stdout.contains("refused"),
        "{}",
        granted.stdout
    );
}

#[test]
fn deno_says_what_deno_says_about_programs() {
    for script in [
        "new Deno.Command('cat').outputSync();",
        "import { execFileSync } from 'node:child_process'; execFileSync('cat');",
        "Deno.kill(1, 'SIGCONT');",
    ] {
        let project = Project::new().file("run.ts", script);
        let confined = project.stockade(&["run", "run.ts"]).run();
        confined.expect_same(&project.bare(&["run", "run.ts"]).run());
        confined.expect_code(1).expect_error("NotCapable");
    }
}

#[test]
fn granted_programs_run_and_others_do_not() {
    let project = Project::new().file("note.txt", "text\n");
    let probe = probe_program();
    // By name and by path.
    project
        .start(&["--allow-run=sh"], &["sh", "-c", "echo from sh"])
        .run()
        .expect_output("from sh\n");
    project
        .start(&[&format!("--allow-run=sh,{probe}")], &[probe, "stat:0:/"])
        .run()
        .expect_output("stat:0:/=0\n");
    project
        .start(
            &["--allow-run=cat", "--allow-read=note.txt"],
            &["cat", "note.txt"],
        )
        .run()
        .expect_output("text\n");
    // Not granted: Deno refuses it to JavaScript, the kernel to everything else.
    project
        .start(&["--allow-run=sh"], &[probe, "stat:0:/"])
        .run()
        .expect_code(1)
        .expect_error("NotCapable: Requires run access to");
    let items = [
        format!("run:0:{probe}"),
        "run:0:/bin/true".to_owned(),
        "posix_spawn:0:/bin/true".to_owned(),
    ];
    let inside = project.probe_child(&[], &items);
    expect_errno(&inside, &items[0], &[0]);
    expect_errno(&inside, &items[1], &[EACCES]);
    expect_errno(&inside, &items[2], &[EACCES]);
    for (item, errno) in project.probe_child(&["--allow-run=true"], &items) {
        assert_eq!(errno, 0, "{item}");
    }
    for (item, errno) in project.probe_direct(&items) {
        assert_eq!(errno, 0, "{item}");
    }
    // The shell cannot start them for the program either.
    project
        .start(
            &["--allow-run=sh"],
            &["sh", "-c", &format!("{probe} stat:0:/; echo $?")],
        )
        .run()
        .expect_output("126\n");
    // Any program means any readable one.
    let all = format!("{probe} stat:0:/ && /bin/true; echo $?");
    project
        .start(&["--allow-run"], &["sh", "-c", &all])
        .run()
        .expect_output("126\n");
    project
        .start(
            &["--allow-run", &format!("--allow-read={probe}")],
            &["sh", "-c", &all],
        )
        .run()
        .expect_output("stat:0:/=0\n0\n");
}

#[test]
fn scripts_bring_their_interpreters() {
    let project = Project::new();
    project.write_program("plain", "#!/bin/sh\necho plain $1\n");
    project.write_program("through-env", "#!/usr/bin/env sh\necho env $1\n");
    project.write_program(
        "python",
        "#!/usr/bin/env python3\nimport sys\nprint('python', sys.argv[1])\n",
    );
    project.write_program("headless", "echo headless $1\n");
    for (name, output) in [
        ("plain", "plain x\n"),
        ("through-env", "env x\n"),
        ("python", "python x\n"),
        ("headless", "headless x\n"),
    ] {
        let path = project.path(name);
        let allow = format!("--allow-run={path}");
        project
            .start(&[&allow], &[&path, "x"])
            .run()
            .expect_output(output);
        // The interpreter came with it; other programs did not.
        let other = Project::new();
        other.write_program("other", "#!/bin/sh\necho other\n");
        let started = other.path("other");
        project
            .start(
                &[&allow, "--allow-run=sh"],
                &["sh", "-c", &format!("{started} 2>/dev/null; echo $?")],
            )
            .run()
            .expect_output("126\n");
    }
    let broken = project.path("broken");
    project.write_program("broken", "#!/absent/interpreter\n");
    project
        .start(&[&format!("--allow-run={broken}")], &[&broken])
        .run()
        .expect_refused()
        .expect_error("/absent/interpreter");
}

#[test]
fn a_version_managers_shim_is_resolved_to_the_real_program() {
    let project = Project::new();
    project.write_program(
        "pyenv/shims/tool",
        "#!/usr/bin/env bash\nset -e\nexport PYENV_ROOT=\"/unused\"\nexec absent-pyenv exec \"$0\" \"$@\"\n",
    );
    project.write_program("pyenv/versions/1.2.3/bin/tool", "#!/bin/sh\necho real $1\n");
    project.write("pyenv/version", "1.2.3\n");
    let shims = project.path("pyenv/shims");
    let path = format!("{shims}:{}", std::env::var("PATH").unwrap());
    let real = project.path("pyenv/versions/1.2.3/bin/tool");
    let outcome = project
        .start(&["--allow-run=tool"], &["tool", "x"])
        .env("PATH", &path)
        .without_env("PYENV_VERSION")
        .run();
    outcome
        .expect_output("real x\n")
        .expect_error(&real)
        .expect_error("shim");
    // A shim whose program cannot be told is refused.
    project
        .start(&["--allow-run=tool"], &["tool", "x"])
        .env("PATH", &path)
        .env("PYENV_VERSION", "9.9.9")
        .run()
        .expect_refused()
        .expect_error("9.9.9");
}

#[test]
fn a_python_child_is_inside_every_wall() {
    let python = python().to_str().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let project = Project::new()
        .file("secret.txt", "secret-content")
        .file("public.txt", "public");
    let code = format!(
        r#"
import os, socket, subprocess
def attempt(name, what):
    try: print(name, what())
    except OSError as error: print(name, error.errno)
attempt("public", lambda: open({public:?}).read())
attempt("secret", lambda: open({secret:?}).read())
attempt("write", lambda: open({secret:?}, "a").close())
attempt("connect", lambda: bool(socket.create_connection(("127.0.0.1", {port}))))
attempt("unix", lambda: bool(socket.socket(socket.AF_UNIX)))
attempt("environment", lambda: os.environ.get("SECRET_TOKEN"))
attempt("child", lambda: subprocess.run(["/bin/true"]).returncode)
attempt("again", lambda: subprocess.run([{python:?}, "-c", "import sys; print(open(sys.argv[1]).read())", {secret:?}], stderr=subprocess.DEVNULL).returncode)
attempt("chmod", lambda: os.chmod({public:?}, 0o600))
"#,
        public = project.path("public.txt"),
        secret = project.path("secret.txt"),
    );
    let allow = format!("--allow-run={python}");
    let inside = project
        .start(&[&allow, "--allow-read=public.txt"], &[python, "-c", &code])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    inside.expect_output(
        "public public\nsecret 13\nwrite 13\nconnect 13\nunix 13\nenvironment None\nchild 13\nagain 1\nchmod 1\n",
    );
    inside
        .expect_nowhere("secret-content")
        .expect_nowhere("hidden-value");
    let outside = project
        .launch(std::path::Path::new(python), &["-c", &code])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    outside.expect_success();
    for line in [
        "secret secret-content",
        "write None",
        "connect True",
        "unix True",
        "environment hidden-value",
        "child 0",
        "again 0",
        "chmod None",
    ] {
        assert!(outside.stdout.contains(line), "{line}: {}", outside.stdout);
    }
    let granted = project
        .start(
            &[
                &allow,
                "--allow-run=true",
                "--allow-read=public.txt,secret.txt",
                "--allow-net",
                "--allow-env=SECRET_TOKEN",
            ],
            &[python, "-c", &code],
        )
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    for line in [
        "secret secret-content",
        "connect True",
        "environment hidden-value",
        "child 0",
        "again 0",
    ] {
        assert!(granted.stdout.contains(line), "{line}: {}", granted.stdout);
    }
}

#[test]
fn what_is_written_cannot_be_executed() {
    let project = Project::new().file("box/.keep", "");
    let probe = probe_program();
    let items = [
        format!("copy_run:0:{probe}>{}", project.path("box/copy")),
        format!("memfd_run:0:{probe}"),
        "memfd_create:0:".to_owned(),
    ];
    let flags = ["--allow-write=box", "--allow-read=box"];
    let inside = project.probe_child(&flags, &items);
    expect_errno(&inside, &items[0], &[EACCES]);
    assert!(project.has("box/copy"), "the copy itself is granted");
    // memfd_create itself may work; executing what is in it may not.
    expect_not_errno(&inside, &items[1], &[0]);
    let outside = project.probe_direct(&items);
    for item in &items {
        expect_errno(&outside, item, &[0]);
    }
    // Overwriting a granted program does not help: it is never writable.
    project.write_program("tool", "#!/bin/sh\necho original\n");
    let tool = project.path("tool");
    let open = format!("open:{}:{tool}", libc::O_WRONLY);
    let answers = project.probe_child(&["--allow-write", &format!("--allow-run={tool}")], &[&open]);
    expect_errno(&answers, &open, &[EACCES]);
    expect_errno(
        &project.probe_child(&["--allow-write"], &[&open]),
        &open,
        &[0],
    );
}

#[test]
fn descendants_inherit_the_walls() {
    let project = Project::new().file("secret.txt", "secret-content");
    let secret = project.path("secret.txt");
    let nested = format!("sh -c 'sh -c \"cat {secret}; echo done\"'");
    let background = format!("(sh -c 'cat {secret}; echo done' & wait)");
    for command in [nested, background] {
        let flags = ["--allow-run=sh,cat"];
        project
            .start(&flags, &["sh", "-c", &command])
            .run()
            .expect_output("done\n")
            .expect_nowhere("secret-content");
        project
            .start(
                &[flags[0], "--allow-read=secret.txt"],
                &["sh", "-c", &command],
            )
            .run()
            .expect_output("secret-contentdone\n");
        project
            .launch(std::path::Path::new("/bin/sh"), &["-c", &command])
            .run()
            .expect_output("secret-contentdone\n");
    }
}

#[test]
fn the_bare_grant_starts_any_program_and_a_denial_holds() {
    let project = Project::new();
    let script = "/bin/true; echo $?; ls /usr >/dev/null 2>&1; echo $?";
    project
        .start(&["--allow-run"], &["sh", "-c", "/bin/true; echo $?"])
        .run()
        .expect_output("0\n");
    project
        .start(&["--allow-run", "--allow-read=/"], &["sh", "-c", script])
        .run()
        .expect_output("0\n0\n");
    project
        .start(
            &["--allow-run", "--deny-run=ls", "--allow-read=/"],
            &["sh", "-c", script],
        )
        .run()
        .expect_output("0\n126\n");
    project
        .start(
            &["--allow-run=sh,true,ls", "--deny-run=ls", "--allow-read=/"],
            &["sh", "-c", script],
        )
        .run()
        .expect_output("0\n126\n");
    project
        .start(&["--allow-run", "--deny-run=ls"], &["ls"])
        .run()
        .expect_code(1)
        .expect_error("NotCapable");
    project
        .start(&["--allow-run", "--deny-run"], &["sh", "-c", script])
        .run()
        .expect_code(1)
        .expect_error("NotCapable");
}

#[test]
fn the_loader_runs_what_is_readable_inside_every_wall() {
    // The documented gap of a list: it limits names, not code.
    let Some(loader) = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
    else {
        panic!("this machine has no glibc loader");
    };
    let project = Project::new()
        .file("secret.txt", "secret-content")
        .file("public.txt", "public");
    let probe = probe_program();
    let (secret, public) = (
        format!("cat:0:{}", project.path("secret.txt")),
        format!("cat:0:{}", project.path("public.txt")),
    );
    let command = format!("{loader} {probe} {secret} {public}");
    let flags = [
        "--allow-run=sh",
        &format!("--allow-read={probe},public.txt"),
    ];
    let inside = project.start(&flags, &["sh", "-c", &command]).run();
    inside.expect_success().expect_nowhere("secret-content");
    assert!(inside.stdout.contains("public\n"), "{}", inside.stdout);
    let outside = project
        .launch(std::path::Path::new("/bin/sh"), &["-c", &command])
        .run();
    outside.expect_success();
    assert!(outside.stdout.contains("secret-content"));
    // Unreadable, it cannot be run at all.
    let shut = project
        .start(&["--allow-run=sh"], &["sh", "-c", &command])
        .run();
    assert_ne!(shut.code, Some(0));
    shut.expect_nowhere("public=");
    project.write("ok.ts", "");
    let explained = project
        .stockade(&["explain", "run", "--allow-run=sh", "ok.ts"])
        .run();
    assert!(
        explained.stdout.contains("not which code runs"),
        "{}",
        explained.stdout
    );
}
