// SPDX-License-Identifier: MIT
//! A thread that rewrites the path while a call is made about it never reaches a protected name; the
//! same threads do reach a name beside it, and the protected one without walls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::support::{Outcome, Project, compile, python, scratch};

/// How often each call is made.
const TRIES: &str = "10000";

fn writes() -> &'static str {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let program = scratch().join("writes");
        compile(
            include_str!("../../data/writes.c"),
            &program,
            &["-lpthread"],
        );
        program
    });
    program.to_str().unwrap()
}

/// What is at a protected name before, and how its name is spelled.
#[derive(Clone, Copy)]
struct Race {
    call: &'static str,
    /// Names of the same length; the second is protected, unless it is the twin.
    good: &'static str,
    evil: &'static str,
    twin: &'static str,
    exists: bool,
}

impl Race {
    fn project(&self) -> Project {
        let project = Project::new()
            .file(".git/hooks/old", "")
            .file("subs/hooks/old", "")
            .file(self.good, "free");
        if matches!(self.call, "mkdir" | "symlink" | "link") {
            std::fs::remove_file(project.path(self.good)).unwrap();
        }
        match self.exists {
            true => project.file(self.evil, "still mine"),
            false => project,
        }
    }

    /// Whether the protected name is as it was.
    fn untouched(&self, project: &Project) -> bool {
        let path = project.path(self.evil);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if self.exists => found.is_file() && project.read(self.evil) == "still mine",
            Ok(_) => false,
            Err(_) => !self.exists,
        }
    }

    fn words<'a>(&self, flags: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["exec", "--quiet-denials"];
        words.extend(flags);
        words.extend(["--", writes(), self.call, TRIES, self.good, self.evil]);
        words
    }
}

fn counts(outcome: &Outcome) -> BTreeMap<String, u32> {
    outcome.expect_success();
    let lines = outcome.stdout.lines();
    let pairs = lines.map(|line| line.split_once(' ').unwrap());
    pairs
        .map(|(word, number)| (word.to_owned(), number.parse().unwrap()))
        .collect()
}

#[test]
fn a_path_rewritten_during_the_call_reaches_nothing_protected() {
    let read = format!("--allow-read={}", writes());
    let race = |call, exists| Race {
        call,
        good: "noto.json",
        evil: "deno.json",
        twin: "next.json",
        exists,
    };
    let mut races: Vec<Race> = ["open", "truncate", "unlink", "rename", "take"]
        .map(|call| race(call, true))
        .into();
    races.extend(["open", "mkdir", "symlink", "link", "rename"].map(|call| race(call, false)));
    races.push(Race {
        call: "open",
        good: "subs/hooks/xx",
        evil: ".git/hooks/xx",
        twin: "subs/hooks/yy",
        exists: false,
    });
    for race in races {
        let name = format!("{} {} {}", race.call, race.evil, race.exists);
        // The threads do meet: after a few rounds at most, on a machine with little time for them.
        let meets = |race: &Race, run: &dyn Fn(&Project) -> Outcome| {
            (0..20).any(|_| {
                let project = race.project();
                counts(&run(&project));
                !race.untouched(&project)
            })
        };
        let bare = |project: &Project| {
            let words = [race.call, TRIES, race.good, race.evil];
            project.launch(writes().as_ref(), &words).run()
        };
        assert!(meets(&race, &bare), "{name}: never met without walls");
        let flags = [read.as_str(), "--allow-write=."];
        let twin = Race {
            evil: race.twin,
            ..race
        };
        let beside = |project: &Project| project.stockade(&twin.words(&flags)).run();
        assert!(meets(&twin, &beside), "{name}: never met inside");

        let project = race.project();
        let closed = project.stockade(&race.words(&flags));
        let counts = counts(&closed.run());
        assert!(race.untouched(&project), "{name}: {counts:?}");
        assert!(
            counts["done"] > 0 && counts["refused"] > 0,
            "{name}: {counts:?}"
        );
    }
}

/// Binds sockets through a link that another thread turns.
const SOCKETS: &str = r#"
import os, socket, sys, threading
turned, good, evil, tries = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
on = True
def turn():
    while on:
        for target in (good, evil):
            os.symlink(target, turned + ".new")
            os.rename(turned + ".new", turned)
os.symlink(good, turned)
thread = threading.Thread(target=turn)
thread.start()
for _ in range(tries):
    with socket.socket(socket.AF_UNIX) as made:
        try: made.bind(turned + "/hooks")
        except OSError: pass
    try: os.unlink(good + "/hooks")
    except OSError: pass
    if os.path.lexists(evil + "/hooks"): break
on = False
thread.join()
print("met" if os.path.lexists(evil + "/hooks") else "never")
"#;

#[test]
fn a_link_turned_while_a_socket_is_bound_makes_nothing_protected() {
    let python = python().to_str().unwrap();
    // Where the link leads at first: into the grant around what is protected, or into one of its own.
    let run = |walls: bool, around: bool| {
        let (project, other) = (Project::new(), Project::new());
        std::fs::create_dir_all(project.path(".git/objects")).unwrap();
        let free = if around { &project } else { &other }.path("free");
        std::fs::create_dir(&free).unwrap();
        let write = format!("--allow-write=.,{}/", other.directory().display());
        let (turned, git) = (other.path("turned"), project.path(".git"));
        let program = [python, "-c", SOCKETS, &turned, &free, &git, "2000"];
        let outcome = if walls {
            let words = [
                "exec",
                "--quiet-denials",
                "--allow-net=192.0.2.1:9",
                &write,
                "--",
            ];
            project.stockade(&[&words[..], &program[..]].concat()).run()
        } else {
            project.launch(python.as_ref(), &program[1..]).run()
        };
        outcome.expect_success();
        (project.has(".git/hooks"), outcome.stdout)
    };
    for around in [true, false] {
        assert_eq!(run(true, around), (false, "never\n".to_owned()));
        let meets = || run(false, around).0;
        assert!((0..20).any(|_| meets()), "never met without walls");
    }
    // Beside what is protected, and under its name where that is granted, sockets are made.
    let project = Project::new()
        .file(".git/objects/keep", "")
        .file("node_modules/keep", "")
        .file("sub/keep", "");
    let script = "
import socket, sys
for path in sys.argv[1:]:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(path)
        print(made.getsockname())
    except OSError as error: print(error.errno)";
    let own = project.path("sub/absolute");
    let words = |flags: &'static str| {
        let all = [
            "exec",
            "--quiet-denials",
            "--allow-net=192.0.2.1:9",
            flags,
            "--",
            python,
            "-c",
        ];
        let paths = [script, "plain", "sub/below", &own, "node_modules/socket"];
        project.stockade(&[&all[..], &paths[..]].concat()).run()
    };
    let closed = words("--allow-write=.");
    closed.expect_output(&format!("plain\nsub/below\n{own}\n13\n"));
    for name in ["plain", "sub/below", "sub/absolute"] {
        std::fs::remove_file(project.path(name)).unwrap();
    }
    let open = words("--allow-write=.,node_modules/");
    open.expect_output(&format!("plain\nsub/below\n{own}\nnode_modules/socket\n"));
}
