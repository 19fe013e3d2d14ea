// SPDX-License-Identifier: MIT
//! Real tools that write in a granted directory with protected paths in it: each does the same, leaves
//! the same and says the same as without walls.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Launch, Outcome, Project, python};

/// Every name below the project with its mode and content, but for files that differ from run to
/// run by the tool's own doing.
fn tree(project: &Project, varies: &[&str]) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![project.directory().to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(project.directory()).unwrap();
            let name = name.to_str().unwrap().to_owned();
            let content = if metadata.is_dir() {
                open.push(path);
                Vec::new()
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                target.into_os_string().into_encoded_bytes()
            } else if !metadata.is_file() || varies.iter().any(|part| name.contains(part)) {
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(name, (metadata.permissions().mode(), content));
        }
    }
    found
}

/// Names that are protected, and what tools work on.
fn project() -> Project {
    Project::new()
        .file("package.json", "{}")
        .file(".envrc", "mine")
        .file("notes.txt", "one\ntwo\nthree\n")
        .file("source/a.txt", "a")
        .file("source/deep/b.txt", "bb")
}

fn git(launch: Launch) -> Launch {
    let names = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"];
    let launch = names
        .iter()
        .fold(launch, |launch, name| launch.env(name, "t"));
    let mails = ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
    let launch = mails
        .iter()
        .fold(launch, |launch, name| launch.env(name, "t@t.test"));
    let dates = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"];
    let date = "2026-01-01T00:00:00Z";
    let launch = dates
        .iter()
        .fold(launch, |launch, name| launch.env(name, date));
    launch
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C")
}

/// Runs a command with `flags` and without walls, and expects the same; gives the project of the first.
#[track_caller]
fn expect_same(
    make: impl Fn() -> Project,
    flags: &[&str],
    varies: &[&str],
    command: &[&str],
) -> (Project, Outcome) {
    let bare = make();
    let (program, rest) = command.split_first().unwrap();
    let mut line = vec!["-c", "umask 027; exec \"$@\"", "sh", program];
    line.extend(rest);
    let outside = git(bare.launch(Path::new("/bin/sh"), &line)).run();
    outside.expect_success();
    let project = make();
    let mut words = vec!["exec", "--allow-env=GIT_*,LC_ALL"];
    words.extend(flags);
    words.push("--");
    words.extend(command);
    let launch = git(project.stockade(&words)).through_shell("umask 027; exec \"$@\"");
    let inside = launch.run();
    inside.expect_nowhere("denied: ");
    assert_eq!(
        (inside.code, &inside.stdout, &inside.stderr),
        (outside.code, &outside.stdout, &outside.stderr)
    );
    let (left, expected) = (tree(&project, varies), tree(&bare, varies));
    let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&expected));
    for (name, entry) in &expected {
        assert!(
            left[name] == *entry,
            "{name}: {:?} and {entry:?}",
            left[name]
        );
    }
    (project, inside)
}

const HERE: &[&str] = &["--allow-write=."];

/// Python and the grant of where it is installed.
fn python_and_its_grant() -> (&'static str, String) {
    let installed = python().ancestors().nth(2).unwrap();
    let grant = format!("--allow-read={}", installed.display());
    (python().to_str().unwrap(), grant)
}

#[test]
fn databases() {
    let script = r#"
import multiprocessing, sqlite3, os
def rows(mode):
    base = sqlite3.connect(f"{mode}.db", timeout=60)
    print(base.execute(f"pragma journal_mode={mode}").fetchone())
    base.execute("create table if not exists t (a, b)")
    for n in range(40):
        with base: base.execute("insert into t values (?, ?)", (n, "x" * 2000))
    try:
        with base:
            base.execute("delete from t")
            raise KeyError
    except KeyError: pass
    base.execute("vacuum")
    print(base.execute("select count(*), sum(a) from t").fetchone(), sorted(os.listdir("."))[:9])
    base.close()
for mode in ["wal", "delete", "truncate", "persist"]: rows(mode)
def add(n):
    base = sqlite3.connect("wal.db", timeout=60)
    for _ in range(20):
        with base: base.execute("insert into t values (?, 'y')", (n,))
    base.close()
workers = [multiprocessing.get_context("fork").Process(target=add, args=(n,)) for n in range(3)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
base = sqlite3.connect("wal.db")
print(base.execute("select count(*) from t").fetchone(), base.execute("pragma integrity_check").fetchone())
"#;
    let (python, read) = python_and_its_grant();
    let flags = [HERE[0], read.as_str()];
    expect_same(project, &flags, &[".db"], &[python, "-c", script]);
}

#[test]
fn archives_and_patches() {
    let script = "set -e; ln -s a.txt source/link; chmod 750 source/deep; mkfifo source/pipe; \
                  tar cf pack.tar source; mkdir out; tar xf pack.tar -C out; tar xpf pack.tar -C out; \
                  tar xf pack.tar --recursive-unlink -C out; tar xf pack.tar --keep-newer-files -C out 2>/dev/null; \
                  cp -a source copy; cp -r --reflink=auto source/a.txt copy/; mv copy moved; rm -r out/source/deep; \
                  sed -i s/two/zwei/ notes.txt; install -m 640 notes.txt installed; touch -d 2020-01-01 installed; \
                  diff -u notes.txt source/a.txt >change.patch || true; patch -s notes.txt change.patch; \
                  cat notes.txt; stat -c '%a %Y' installed; rm pack.tar";
    expect_same(project, HERE, &["change.patch"], &["sh", "-c", script]);
}

#[test]
fn synchronisers() {
    // What rsync does: a temporary name beside the file, written, given mode and times, moved over.
    let script = r#"
import os, shutil, sys
def sync(source, target):
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        here, there = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(here):
            sync(here, there)
            continue
        temporary = os.path.join(target, f".{name}.Xa81hZ")
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with open(here, "rb") as data: os.write(file, data.read())
        os.fchmod(file, os.stat(here).st_mode & 0o777)
        os.close(file)
        os.utime(temporary, (1, 1), follow_symlinks=False)
        os.rename(temporary, there)
    for name in set(os.listdir(target)) - set(os.listdir(source)):
        gone = os.path.join(target, name)
        shutil.rmtree(gone) if os.path.isdir(gone) else os.unlink(gone)
os.mkdir("mirror"); os.mkdir("mirror/old"); open("mirror/stale", "w").close()
for _ in range(2): sync("source", "mirror")
print([(base, sorted(names), sorted(files)) for base, names, files in os.walk("mirror")])
print(os.stat("mirror/a.txt").st_mtime)
"#;
    let (python, read) = python_and_its_grant();
    expect_same(project, &[HERE[0], &read], &[], &[python, "-c", script]);
}

#[test]
fn editors() {
    // Their ways to save: over the file, by moving over it, by a link to the old one, in a backup.
    for backup in ["no", "yes"] {
        let save = format!(
            "vim -u NONE -n -es -c 'set nobackup nowritebackup backupcopy={backup}' -c '%s/two/{backup}/' -c wq notes.txt; \
             vim -u NONE -es -c 'set backup backupext=.bak backupcopy={backup}' -c '%s/three/drei/' -c wq notes.txt; \
             vim -u NONE -es -c 'w! fresh.txt' -c q notes.txt; cat notes.txt fresh.txt"
        );
        expect_same(project, HERE, &[], &["sh", "-c", &save]);
    }
    let script = "set -e; printf new >.notes.tmp; ln notes.txt notes.txt~; mv -f .notes.tmp notes.txt; \
                  printf newer >notes.new; mv --exchange notes.new notes.txt 2>/dev/null || mv notes.new notes.txt; \
                  ln -sf notes.txt current; ln -sfn source there; rm -f notes.txt~; cat current";
    expect_same(project, HERE, &[], &["sh", "-c", script]);
}

#[test]
fn commits() {
    let make = || {
        let project = project();
        let init = "umask 027; git init -q -b main .; printf '#!/bin/sh\\n' >.git/hooks/pre-commit; \
                    chmod +x .git/hooks/pre-commit";
        git(project.launch(Path::new("/bin/sh"), &["-c", init]))
            .run()
            .expect_success();
        project
    };
    let script = "set -e; git add -A; git commit -qm one; echo more >>notes.txt; git commit -qam two; git checkout -qb side; \
                  git rm -q notes.txt; git commit -qm three; git checkout -q main; git merge -q side; git tag v1; \
                  git stash list; echo x >notes.txt; git add -A; git stash -q; git stash pop -q; git reset -q --hard; \
                  git gc -q; git fsck; git log --format='%h %s'; git status --short; git worktree list | wc -l";
    let varies = [
        ".git/index",
        "COMMIT_EDITMSG",
        ".git/objects/pack",
        ".git/objects/info",
    ];
    let (project, _) = expect_same(make, HERE, &varies, &["sh", "-c", script]);
    let hook = "echo evil >.git/hooks/pre-commit";
    let plant = |flags: &[&str]| {
        let mut words = vec!["exec"];
        words.extend(flags);
        words.extend(["--", "sh", "-c", hook]);
        project.stockade(&words).run()
    };
    let planted = plant(HERE);
    assert_ne!(planted.code, Some(0));
    planted.expect_error("denied: write to ");
    plant(&["--allow-write=.,.git/hooks"]).expect_success();
}

#[test]
fn packages() {
    let make = || {
        project()
            .file("package.json", "{\"name\":\"app\",\"version\":\"1.0.0\",\"dependencies\":{\"dep\":\"file:dep\"}}")
            .file("dep/package.json", "{\"name\":\"dep\",\"version\":\"1.0.0\",\"bin\":\"cli.js\",\"scripts\":{\"install\":\"echo built >built\"}}")
            .file("dep/cli.js", "#!/usr/bin/env node\nconsole.log('dep')\n")
            .file("node_modules/.keep", "")
    };
    let script = "npm install --no-audit --no-fund --no-update-notifier --no-package-lock --install-links --foreground-scripts \
                  --offline --loglevel=error >/dev/null && node_modules/.bin/dep && cat node_modules/dep/built";
    let flags = ["--allow-write=.,node_modules/"];
    expect_same(
        make,
        &flags,
        &["node_modules/.package-lock.json"],
        &["sh", "-c", script],
    );
}
