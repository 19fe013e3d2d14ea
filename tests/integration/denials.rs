// SPDX-License-Identifier: MIT
//! Denials inside file grants: held by granting everything around them, for native code too.

use std::os::unix::fs::symlink;

use libc::{EACCES, EPERM, EXDEV, O_CREAT, O_RDONLY, O_WRONLY};

use crate::filesystem::{item, open, pair, project};
use crate::support::expect_errno;

#[test]
fn a_denial_inside_a_read_grant_holds_for_native_code() {
    let project = project();
    symlink("secret.txt", project.path("data/alias.txt")).unwrap();
    let denied = [
        open(&project, O_RDONLY, "data/secret.txt"),
        open(&project, O_RDONLY, "data/alias.txt"),
        open(&project, O_RDONLY, "data/private/key.txt"),
        item(&project, "list", "data/private"),
        item(&project, "reopen", "data/secret.txt"),
    ];
    let granted = [
        open(&project, O_RDONLY, "data/in.txt"),
        open(&project, O_RDONLY, "data/sub/deep.txt"),
        item(&project, "list", "data/sub"),
    ];
    let all: Vec<&String> = denied.iter().chain(&granted).collect();
    let outside = project.probe_bare(&all);
    for flags in [
        &[
            "--allow-read=data",
            "--deny-read=data/secret.txt,data/private",
        ][..],
        &[
            "--allow-read",
            "--deny-read=data/secret.txt",
            "--deny-read=data/private",
        ],
        &[
            "--allow-read=data",
            "--ignore-read=data/secret.txt,data/private",
        ],
        // Deny always wins, also over a more specific grant.
        &[
            "--allow-read=data,data/secret.txt,data/private/key.txt",
            "--deny-read=data/secret.txt,data/private",
        ],
    ] {
        let inside = project.probe(flags, &all);
        for item in &denied {
            expect_errno(&inside, item, &[EACCES]);
            expect_errno(&outside, item, &[0]);
        }
        for item in &granted {
            expect_errno(&inside, item, &[0]);
        }
    }
    // Only a file is denied: the directory around it can still be listed.
    let items = [item(&project, "list", "data"), denied[0].clone()];
    let answers = project.probe(
        &["--allow-read=data", "--deny-read=data/secret.txt"],
        &items,
    );
    expect_errno(&answers, &items[0], &[0]);
    expect_errno(&answers, &items[1], &[EACCES]);
    // Everything denied.
    let answers = project.probe(&["--allow-read=data", "--deny-read"], &granted);
    for item in &granted {
        expect_errno(&answers, item, &[EACCES]);
    }
}

#[test]
fn a_denial_inside_a_write_grant_holds_for_native_code() {
    let project = project();
    let items = [
        open(&project, O_WRONLY, "data/in.txt"),
        open(&project, O_WRONLY | O_CREAT, "data/sub/new.txt"),
        open(&project, O_WRONLY, "data/secret.txt"),
        item(&project, "truncate", "data/secret.txt"),
        item(&project, "unlink", "data/secret.txt"),
        pair(&project, "rename", "data/sub/deep.txt", "data/secret.txt"),
        pair(&project, "rename", "data/private", "data/sub/moved"),
        open(&project, O_WRONLY | O_CREAT, "data/private/new.txt"),
    ];
    let answers = project.probe(
        &[
            "--allow-write=data",
            "--deny-write=data/secret.txt,data/private",
        ],
        &items,
    );
    expect_errno(&answers, &items[0], &[0]);
    expect_errno(&answers, &items[1], &[0]);
    for item in &items[2..] {
        expect_errno(&answers, item, &[EACCES, EXDEV, EPERM]);
    }
    assert_eq!(project.read("data/secret.txt"), "secret");
    assert!(!project.has("data/private/new.txt"));
    for (item, errno) in project.probe(&["--allow-write=data"], &items[..5]) {
        assert_eq!(errno, 0, "allowed without the denial: {item}");
    }
    let project = crate::filesystem::project();
    for item in [
        item(&project, "truncate", "data/secret.txt"),
        pair(&project, "rename", "data/sub/deep.txt", "data/secret.txt"),
        pair(&project, "rename", "data/private", "data/sub/moved"),
    ] {
        expect_errno(&project.probe_bare(&[&item]), &item, &[0]);
    }
}

#[test]
fn a_denial_holds_while_its_neighbours_come_and_go() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let project = project();
    let stop = AtomicBool::new(false);
    let secret = open(&project, O_RDONLY, "data/secret.txt");
    let items = [secret.clone(), open(&project, O_RDONLY, "data/in.txt")];
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut round = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let name = |round: u64| project.path(&format!("data/temporary-{}", round % 64));
                std::fs::write(name(round), "x").unwrap();
                let _ = std::fs::remove_file(name(round + 32));
                // A file that is a link to the denied one every other moment.
                symlink("secret.txt", project.path("data/new")).unwrap();
                std::fs::rename(project.path("data/new"), project.path("data/swapped")).unwrap();
                std::fs::write(project.path("data/new"), "x").unwrap();
                std::fs::rename(project.path("data/new"), project.path("data/swapped")).unwrap();
                round += 1;
            }
            round
        });
        // Judged after the thread has ended, which a panic before that would wait for forever.
        let flags = ["--allow-read=data", "--deny-read=data/secret.txt"];
        let outcomes: Vec<_> = (0..15)
            .map(|_| project.probe_outcome(&flags, &items))
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert!(busy.join().unwrap() > 15, "the directory was busy");
        for outcome in outcomes {
            let answers = outcome.expect_answers(&items);
            expect_errno(&answers, &items[0], &[EACCES]);
            expect_errno(&answers, &items[1], &[0]);
        }
    });
    expect_errno(&project.probe_bare(&items), &secret, &[0]);
}
