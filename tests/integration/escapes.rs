// SPDX-License-Identifier: MIT
//! Reaching processes outside: signals, memory, `/proc`, priorities, terminals.

use std::io::Read;
use std::os::fd::AsFd;

use libc::{EACCES, ENOSYS, EPERM};

use crate::machine::{require_landlock, superuser};
use crate::support::{Project, expect_errno, expect_not_errno, probes, python};
use crate::victim::Victim;

/// Probes of another process: name, answers accepted inside.
const REACHES: &[(&str, &[i32])] = &[
    ("kill", &[EPERM]),
    ("kill_group", &[EPERM]),
    ("tgkill", &[EPERM]),
    ("tkill", &[EPERM]),
    ("sigqueue", &[EPERM]),
    ("pidfd_signal", &[EPERM, ENOSYS]),
    ("pidfd_getfd", &[EPERM, ENOSYS]),
    ("ptrace", &[EPERM, ENOSYS]),
    ("vm_readv", &[EPERM, ENOSYS]),
    ("vm_writev", &[EPERM, ENOSYS]),
    ("kcmp", &[EPERM, ENOSYS]),
    ("setpriority", &[EPERM, EACCES]),
    ("setpriority_group", &[EPERM, EACCES]),
    ("prlimit", &[EPERM]),
    ("setaffinity", &[EPERM]),
    ("setscheduler", &[EPERM]),
    ("setattr", &[EPERM]),
    ("ioprio", &[EPERM, ENOSYS]),
    ("move_pages", &[EPERM, ENOSYS]),
];

#[test]
fn processes_outside_cannot_be_reached() {
    let project = Project::new();
    let mut victim = Victim::start("victim-secret");
    let items: Vec<String> = REACHES
        .iter()
        .map(|(probe, _)| format!("{probe}:{}:", victim.pid()))
        .collect();
    let runs = [
        ("no grant", project.probe(&[], &items)),
        (
            "everything but run",
            project.probe(
                &[
                    "--allow-read",
                    "--allow-write",
                    "--allow-net",
                    "--allow-env",
                    "--allow-sys",
                ],
                &items,
            ),
        ),
        ("a child", project.probe_child(&[], &items)),
        ("a child of -A", project.probe(&["-A"], &items)),
    ];
    assert!(victim.alive());
    let outside = project.probe_direct(&items);
    for ((_, accepted), item) in REACHES.iter().zip(&items) {
        for (name, answers) in &runs {
            let seen = answers[item];
            assert!(
                accepted.iter().any(|errno| i64::from(*errno) == seen),
                "{item} with {name}: {seen}"
            );
        }
        expect_not_errno(&outside, item, accepted);
    }
}

#[test]
fn a_signal_by_way_of_a_pipe_does_not_leave() {
    if !require_landlock(6) {
        return;
    }
    let project = Project::new();
    let mut victim = Victim::start("victim-secret");
    let item = format!("sigio:{}:", victim.pid());
    project.probe_outcome(&[], &[&item]).expect_success();
    project.probe_child_outcome(&[], &[&item]).expect_success();
    assert!(victim.alive(), "SIGKILL arrived");
    project.probe_direct(&[&item]);
    for _ in 0..1000 {
        if !victim.alive() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the control outside did not end the process");
}

#[test]
fn the_proc_entries_of_others_stay_shut() {
    let project = Project::new();
    let victim = Victim::start("victim-secret");
    let pid = victim.pid();
    let items = [
        format!("cat:0:/proc/{pid}/environ"),
        format!("open:0:/proc/{pid}/maps"),
        format!("open:2:/proc/{pid}/mem"),
        format!("open:0:/proc/{pid}/mem"),
        format!("readlink:0:/proc/{pid}/root"),
        format!("readlink:0:/proc/{pid}/cwd"),
        format!("readlink:0:/proc/{pid}/exe"),
        format!("readlink:0:/proc/{pid}/fd/0"),
        format!("cat:0:/proc/{pid}/fd/0"),
        format!("open:0:/proc/{pid}/root/etc/passwd"),
        format!("list:0:/proc/{pid}/cwd"),
    ];
    let wide = ["--allow-read=/proc,/", "--allow-write=/tmp"];
    let confined = [
        project.probe_outcome(&[], &items),
        project.probe_outcome(&wide, &items),
        project.probe_outcome(&["-A"], &items),
        project.probe_child_outcome(&[], &items),
        project.probe_child_outcome(&wide, &items),
    ];
    let outside = project.probe_direct(&items);
    for outcome in confined {
        outcome.expect_nowhere("victim-secret");
        let answers = outcome.expect_answers(&items);
        for item in &items {
            expect_errno(&answers, item, &[EACCES, EPERM]);
        }
    }
    for item in &items {
        expect_errno(&outside, item, &[0]);
    }
    // Its own entries are there when they are granted.
    let own = [
        "open:0:/proc/self/maps",
        "open:0:/proc/self/environ",
        "readlink:0:/proc/self/exe",
    ];
    for (item, errno) in project.probe(&["--allow-read=/proc/self"], &own) {
        assert_eq!(errno, 0, "{item}");
    }
}

#[test]
fn the_launcher_cannot_be_reached_by_what_it_launched() {
    let python = python().to_str().unwrap();
    let code = r#"
import os
def attempt(name, what):
    try: print(name, what())
    except OSError as error: print(name, error.errno)
# Up to the launcher: the parent of the parent of this process.
with open(f"/proc/{os.getppid()}/stat") as stat: launcher = int(stat.read().rsplit(")", 1)[1].split()[1])
with open(f"/proc/{launcher}/comm") as comm: print(comm.read().strip())
attempt("environ", lambda: "hidden-value" in open(f"/proc/{launcher}/environ").read())
attempt("memory", lambda: bool(open(f"/proc/{launcher}/mem", "rb")))
attempt("root", lambda: os.readlink(f"/proc/{launcher}/root"))
attempt("signal", lambda: os.kill(launcher, 0))
attempt("limits", lambda: __import__("resource").prlimit(launcher, 7))
"#;
    let project = Project::new();
    let outcome = project
        .start(&[&format!("--allow-run={python}")], &[python, "-c", code])
        .env("SECRET_TOKEN", "hidden-value")
        .run();
    outcome.expect_output("stockade\nenviron 13\nmemory 13\nroot 13\nsignal 1\nlimits 1\n");
}

#[test]
fn a_terminal_cannot_be_typed_into() {
    let project = Project::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    let items = [
        "terminal_ioctl:21522:",      // TIOCSTI
        "terminal_ioctl:4294988818:", // with a high bit
        "terminal_ioctl:21532:",      // TIOCLINUX
        "terminal_ioctl:21539:",      // TIOCSETD
    ];
    let terminal = |launch: crate::support::Launch| {
        let mut command = launch.into_command();
        command.stdin(pty.slave.as_fd().try_clone_to_owned().unwrap());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let confined = terminal(project.probe_launch(&[], &items));
    for item in items {
        assert!(
            confined.contains(&format!("{item}={EPERM}\n")),
            "{confined}"
        );
    }
    // The terminal still is one: its size can be asked (TIOCGWINSZ), its modes too (TCGETS).
    let open = ["terminal_ioctl:21523:"];
    let confined = terminal(project.probe_launch(&[], &open));
    assert!(confined.contains("terminal_ioctl:21523:=0\n"), "{confined}");
    // The control: the kernel's own answer is another one, or for the superuser it types.
    if superuser() {
        let outside = terminal(project.launch(&probes().program, &items[..1]));
        let typed = outside.contains(&format!("{}=0\n", items[0]));
        let switched_off = outside.contains(&format!("{}=5\n", items[0]));
        assert!(typed || switched_off, "{outside}");
        if typed {
            let mut byte = [0; 1];
            nix::unistd::write(&pty.master, b"\n").unwrap();
            std::fs::File::from(pty.slave.try_clone().unwrap())
                .read_exact(&mut byte)
                .unwrap();
            assert_eq!(byte, *b"x", "what was typed arrives");
        }
    }
}

#[test]
fn older_kernels_keep_signals_inside() {
    for abi in 2..=6_u8 {
        if !require_landlock(abi) {
            return;
        }
        let project = Project::new();
        let mut victim = Victim::start("victim-secret");
        let mut items: Vec<String> = [
            "kill",
            "kill_group",
            "tgkill",
            "tkill",
            "sigqueue",
            "pidfd_signal",
        ]
        .iter()
        .map(|probe| format!("{probe}:{}:", victim.pid()))
        .collect();
        items.push("socket:1:1,0".to_owned());
        items.push(format!("cat:0:/proc/{}/environ", victim.pid()));
        items.push(format!("ptrace:{}:", victim.pid()));
        let answers = project
            .probe_launch(&[], &items)
            .env("STOCKADE_LANDLOCK_ABI", abi.to_string())
            .run()
            .expect_answers(&items);
        for item in &items {
            expect_errno(&answers, item, &[EPERM, EACCES, ENOSYS]);
        }
        assert!(victim.alive());
        // Signals to itself work: that is how runtimes stop their own threads.
        let own = project
            .probe_launch(&[], &["kill_self:0:"])
            .env("STOCKADE_LANDLOCK_ABI", abi.to_string())
            .run();
        expect_errno(&own.expect_answers(&["kill_self:0:"]), "kill_self:0:", &[0]);
        let outside = project.probe_direct(&items);
        for item in &items {
            expect_errno(&outside, item, &[0]);
        }
    }
}

#[test]
fn children_need_the_signal_scope() {
    if !require_landlock(6) {
        return;
    }
    let project = Project::new();
    project
        .start(&["--allow-run=sh"], &["sh", "-c", "echo ran"])
        .env("STOCKADE_LANDLOCK_ABI", "5")
        .run()
        .expect_refused()
        .expect_error("--allow-run=sh")
        .expect_error("ABI 6")
        .expect_error("6.12");
    project
        .start(
            &["--allow-run=sh", "--best-effort"],
            &["sh", "-c", "echo ran"],
        )
        .env("STOCKADE_LANDLOCK_ABI", "5")
        .run()
        .expect_output("ran\n")
        .expect_error("signals");
    project
        .start(&["--allow-run=sh"], &["sh", "-c", "echo ran"])
        .run()
        .expect_output("ran\n");
}

#[test]
fn a_process_may_not_outlive_its_guard() {
    let project = Project::new();
    // With a waiter beside it, the program may not undo PR_SET_PDEATHSIG.
    let item = ["pdeathsig:0:"];
    expect_errno(&project.probe(&["--allow-run"], &item), item[0], &[EPERM]);
    expect_errno(&project.probe_child(&[], &item), item[0], &[EPERM]);
    expect_errno(&project.probe_direct(&item), item[0], &[0]);
}
