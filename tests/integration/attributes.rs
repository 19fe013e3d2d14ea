// SPDX-License-Identifier: MIT
//! Modes, owners, times and extended attributes: changed inside write grants as if nobody stood
//! between, and nowhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use libc::{EPERM, O_RDONLY};

use crate::filesystem::{item, open};
use crate::support::{Outcome, Project, expect_errno, expect_not_errno, python};

mod programs;

/// `box/` is granted in most tests, `out/` is not; links and hard names lead from one to the other.
fn project() -> Project {
    let project = Project::new()
        .file("box/file.txt", "inside")
        .file("box/sub/deep.txt", "deep")
        .file("box/private/key.txt", "key")
        .file("out/file.txt", "outside")
        .file("single.txt", "single");
    for name in ["box/file.txt", "box/private/key.txt", "out/file.txt"] {
        set_mode(&project, name, 0o600);
    }
    symlink(project.path("out/file.txt"), project.path("box/leaves")).unwrap();
    symlink(project.path("out"), project.path("box/directory")).unwrap();
    symlink("../box/file.txt", project.path("out/enters")).unwrap();
    project
}

fn set_mode(project: &Project, name: &str, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(project.path(name), permissions).unwrap();
}

fn mode(project: &Project, name: &str) -> u32 {
    fs::metadata(project.path(name)).unwrap().mode() & 0o7777
}

/// The shell with every program of the system, writing below `box/` only.
fn shell(project: &Project, script: &str) -> Outcome {
    let flags = ["--allow-run", "--allow-read", "--allow-write=box"];
    project
        .start(&flags, &["/bin/sh", "-ec", script])
        .env("HOME", project.directory())
        .run()
}

/// The same without walls.
fn bare_shell(project: &Project, script: &str) -> Outcome {
    project
        .launch(Path::new("/bin/sh"), &["-ec", script])
        .env("HOME", project.directory())
        .run()
}

/// A Python program as a child, writing below `box/` only.
fn python_child(project: &Project, code: &str) -> Outcome {
    let python = python().to_str().unwrap();
    let flags = ["--allow-run", "--allow-read", "--allow-write=box"];
    project.start(&flags, &[python, "-c", code]).run()
}

fn bare_python(project: &Project, code: &str) -> Outcome {
    project.launch(python(), &["-c", code]).run()
}

#[test]
fn deno_changes_files_in_write_grants_as_bare_deno_does() {
    let script = r#"
        import { appendFileSync, chownSync, cpSync, lchownSync, lutimesSync, mkdirSync, utimesSync,
                 writeFileSync } from "node:fs";
        import { copyFile, chmod } from "node:fs/promises";
        const show = (path) => {
          const { mode, mtime, uid, gid, size } = Deno.lstatSync(path);
          console.log(path, (mode & 0o7777).toString(8), mtime.getTime(), uid === Deno.uid(),
                      gid === Deno.gid(), size);
        };
        Deno.mkdirSync("box/made");
        Deno.writeTextFileSync("box/made/a", "text", { mode: 0o640 });
        Deno.chmodSync("box/made/a", 0o604);
        Deno.utimeSync("box/made/a", 1, 1_000_000_000);
        show("box/made/a");
        Deno.chownSync("box/made/a", Deno.uid(), Deno.gid());
        chownSync("box/made/a", Deno.uid(), Deno.gid());
        const file = Deno.openSync("box/made/a", { read: true, write: true });
        file.utimeSync(2, 1_100_000_000);
        file.close();
        show("box/made/a");
        appendFileSync("box/made/a", " more");
        appendFileSync("box/made/new", "text", { mode: 0o600 });
        utimesSync("box/made/a", 3, 1_200_000_000);
        utimesSync("box/made/new", 3, 1_200_000_000);
        Deno.copyFileSync("box/made/a", "box/made/b");
        await copyFile("box/made/a", "box/made/c");
        await chmod("box/made/c", 0o755);
        mkdirSync("box/tree/sub", { recursive: true });
        writeFileSync("box/tree/sub/file", "x", { mode: 0o751 });
        cpSync("box/tree", "box/copied", { recursive: true, preserveTimestamps: true });
        lutimesSync("box/leaves", 4, 1_300_000_000);
        lchownSync("box/leaves", Deno.uid(), Deno.gid());
        Deno.chmodSync("box/made", 0o711);
        Deno.utimeSync("box/made", 5, 1_400_000_000);
        for (const path of ["box/made", "box/made/a", "box/made/new", "box/leaves"]) show(path);
        for (const path of ["box/made/b", "box/made/c", "box/copied/sub/file"]) {
          console.log(path, (Deno.statSync(path).mode & 0o7777).toString(8));
        }
    "#;
    let flags = [
        "run",
        "--allow-read=box",
        "--allow-write=box",
        "--allow-sys=uid,gid",
        "--no-check",
        "change.ts",
    ];
    let confined = project().file("change.ts", script);
    let bare = project().file("change.ts", script);
    let expected = bare.bare(&flags).run();
    expected.expect_success();
    confined.stockade(&flags).run().expect_same(&expected);
}

#[test]
fn deno_still_says_what_deno_says_outside() {
    let project = project().file("chmod.ts", "Deno.chmodSync('out/file.txt', 0o777);");
    let flags = ["run", "--allow-read", "--allow-write=box", "chmod.ts"];
    project
        .stockade(&flags)
        .run()
        .expect_code(1)
        .expect_error("NotCapable: Requires write access to \"out/file.txt\"");
    assert_eq!(mode(&project, "out/file.txt"), 0o600);
    project
        .stockade(&["run", "--allow-read", "--allow-write=out", "chmod.ts"])
        .run()
        .expect_success();
    assert_eq!(mode(&project, "out/file.txt"), 0o777);
}

/// Every call by path that the probes have.
const BY_PATH: [&str; 6] = [
    "chmod",
    "fchmodat2",
    "chown",
    "utimes",
    "setxattr",
    "removexattr",
];

/// Not the modes of directories: the probes set 0644, which would close them.
fn by_path(project: &Project, name: &str) -> Vec<String> {
    let directory = Path::new(&project.path(name)).is_dir();
    BY_PATH
        .iter()
        .filter(|probe| !directory || !probe.contains("chmod"))
        .map(|probe| item(project, probe, name))
        .collect()
}

#[test]
fn native_calls_work_inside_and_are_refused_outside() {
    let project = project();
    let inside: Vec<String> = [
        "box/file.txt",
        "box/sub/deep.txt",
        "box/sub",
        "box",
        "out/enters",
    ]
    .iter()
    .flat_map(|name| by_path(&project, name))
    .chain([
        item(&project, "fchmod", "box/file.txt"),
        item(&project, "setxattrat", "box/file.txt"),
    ])
    .collect();
    let root = format!("/proc/self/root{}", project.path("box/file.txt"));
    let magic: Vec<String> = BY_PATH.map(|probe| format!("{probe}:0:{root}")).to_vec();
    let mut outside: Vec<String> = [
        "out/file.txt",
        "out",
        "box/leaves",
        "box/directory/file.txt",
        "box/../out/file.txt",
        "box/sub/../../out/file.txt",
        "single.txt",
        ".",
    ]
    .iter()
    .flat_map(|name| by_path(&project, name))
    .collect();
    outside.push(item(&project, "fchmod", "out/file.txt"));
    // Granted by every run, but not as a file to be changed. To the owner it has: with the wall gone a
    // mode would shut the device of the machine that runs the tests.
    outside.push("chown:0:/dev/null".to_owned());
    let all: Vec<&String> = inside.iter().chain(&magic).chain(&outside).collect();
    let flags = ["--allow-read", "--allow-write=box"];
    let confined = project.probe(&flags, &all);
    assert_eq!(mode(&project, "box/file.txt"), 0o644);
    assert_eq!(mode(&project, "out/file.txt"), 0o600);
    let control: Vec<&String> = all
        .iter()
        .copied()
        .filter(|item| !item.ends_with("/dev/null"))
        .collect();
    let bare = project.probe_bare(&control);
    for granted in &inside {
        let expected = i32::try_from(bare[granted.as_str()]).unwrap();
        // A call that this kernel does not have yet is performed all the same.
        let newer = expected == libc::ENOSYS;
        let accepted: &[i32] = if newer { &[expected, 0] } else { &[expected] };
        expect_errno(&confined, granted, accepted);
        if !granted.contains("xattr") && !newer {
            assert_eq!(expected, 0, "{granted}");
        }
    }
    for denied in magic.iter().chain(&outside) {
        expect_errno(&confined, denied, &[EPERM]);
        if !denied.ends_with("/dev/null") {
            expect_not_errno(&bare, denied, &[EPERM]);
        }
    }
    // The twin: with the grant the same calls pass.
    let files: Vec<String> = by_path(&project, "out/file.txt");
    let granted = project.probe(&["--allow-read", "--allow-write=out"], &files);
    for item in &files {
        expect_errno(
            &granted,
            item,
            &[i32::try_from(bare[item.as_str()]).unwrap()],
        );
    }
}

#[test]
fn a_granted_file_is_granted_alone() {
    let project = project();
    let granted = item(&project, "chmod", "single.txt");
    let denied = item(&project, "chmod", "box/file.txt");
    let items = [&granted, &denied];
    let answers = project.probe(&["--allow-read", "--allow-write=single.txt"], &items);
    expect_errno(&answers, &granted, &[0]);
    expect_errno(&answers, &denied, &[EPERM]);
}

#[test]
fn a_denial_inside_a_grant_holds() {
    let project = project();
    fs::hard_link(
        project.path("box/private/key.txt"),
        project.path("out/other-name.txt"),
    )
    .unwrap();
    let granted = [
        item(&project, "chmod", "box/file.txt"),
        item(&project, "chmod", "box/sub/deep.txt"),
    ];
    let denied: Vec<String> = ["box/private/key.txt", "box/private", "box"]
        .iter()
        .flat_map(|name| by_path(&project, name))
        .collect();
    let all: Vec<&String> = granted.iter().chain(&denied).collect();
    let carved = [
        "--allow-read",
        "--allow-write=box",
        "--deny-write=box/private",
    ];
    let answers = project.probe(&carved, &all);
    let bare = project.probe_bare(&all);
    for item in &granted {
        expect_errno(&answers, item, &[0]);
    }
    for item in &denied {
        expect_errno(&answers, item, &[EPERM]);
        expect_not_errno(&bare, item, &[EPERM]);
    }
    // A denied file is refused by its other names, too.
    let elsewhere = [item(&project, "chmod", "out/other-name.txt")];
    let file = [
        "--allow-read",
        "--allow-write=box,out",
        "--deny-write=box/private/key.txt",
    ];
    expect_errno(&project.probe(&file, &elsewhere), &elsewhere[0], &[EPERM]);
    let without = project.probe(&["--allow-read", "--allow-write=box,out"], &elsewhere);
    expect_errno(&without, &elsewhere[0], &[0]);
}

#[test]
fn inode_flags_stay_refused() {
    let project = project();
    let items = ["setflags", "file_setattr"].map(|probe| item(&project, probe, "box/file.txt"));
    let answers = project.probe(&["--allow-read", "--allow-write=box"], &items);
    let bare = project.probe_bare(&items);
    expect_errno(&answers, &items[0], &[EPERM]);
    expect_errno(&answers, &items[1], &[EPERM, libc::ENOSYS]);
    for item in &items {
        expect_not_errno(&bare, item, &[EPERM]);
    }
    let opened = [open(&project, O_RDONLY, "box/file.txt")];
    expect_errno(&project.probe(&["--allow-read"], &opened), &opened[0], &[0]);
}

#[test]
fn set_id_bits_are_left_out() {
    let script = "chmod 6755 box/file.txt; chmod 7777 box/sub; chmod +t box/private
                  stat -c %a box/file.txt box/sub box/private";
    let confined = project();
    set_mode(&confined, "box/private", 0o755);
    shell(&confined, script).expect_output("755\n1777\n1755\n");
    let bare = project();
    set_mode(&bare, "box/private", 0o755);
    bare_shell(&bare, script).expect_output("6755\n7777\n1755\n");
    // A directory keeps the bit it has.
    let shared = project();
    set_mode(&shared, "box/sub", 0o2755);
    shell(&shared, "chmod 2775 box/sub; stat -c %a box/sub").expect_output("2775\n");
}

#[test]
fn descriptors_are_judged_by_how_they_were_opened() {
    let code = r#"
import os, stat
def attempt(name, what):
    try: what(); print(name, "done")
    except OSError as error: print(name, error.errno)
inside = os.open("box/file.txt", os.O_RDONLY)
written = os.open("box/sub/deep.txt", os.O_RDWR)
outside = os.open("out/file.txt", os.O_RDONLY)
directory = os.open("box/sub", os.O_RDONLY)
elsewhere = os.open("out", os.O_RDONLY)
only_path = os.open("box/file.txt", os.O_PATH)
only_path_outside = os.open("out/file.txt", os.O_PATH)
open("box/gone", "w").close()
gone = os.open("box/gone", os.O_RDONLY)
os.unlink("box/gone")
attempt("fchmod inside", lambda: os.fchmod(inside, 0o640))
attempt("fchmod written", lambda: os.fchmod(written, 0o640))
attempt("fchmod directory", lambda: os.fchmod(directory, 0o750))
attempt("fchmod gone", lambda: os.fchmod(gone, 0o640))
attempt("fchown written", lambda: os.fchown(written, -1, -1))
attempt("futimens written", lambda: os.utime(written, (1, 2)))
attempt("futimens directory", lambda: os.utime(directory, (1, 2)))
attempt("at directory", lambda: os.chmod("deep.txt", 0o600, dir_fd=directory))
attempt("at up", lambda: os.utime("../file.txt", (1, 2), dir_fd=directory))
attempt("name inside", lambda: os.chmod(f"/proc/self/fd/{inside}", 0o600))
attempt("name pid", lambda: os.chmod(f"/proc/{os.getpid()}/fd/{inside}", 0o600))
attempt("name dev", lambda: os.chmod(f"/dev/fd/{inside}", 0o600))
attempt("name path", lambda: os.chmod(f"/proc/self/fd/{only_path}", 0o600))
attempt("name below", lambda: os.chmod(f"/proc/self/fd/{directory}/deep.txt", 0o600))
attempt("fchmod path", lambda: os.fchmod(only_path, 0o600))
attempt("fchmod closed", lambda: os.fchmod(999, 0o600))
print("--")
attempt("fchmod outside", lambda: os.fchmod(outside, 0o777))
attempt("fchmod elsewhere", lambda: os.fchmod(elsewhere, 0o777))
attempt("futimens outside", lambda: os.utime(outside, (1, 2)))
attempt("fchown outside", lambda: os.fchown(outside, -1, -1))
attempt("at elsewhere", lambda: os.chmod("file.txt", 0o777, dir_fd=elsewhere))
attempt("at over", lambda: os.chmod("../../out/file.txt", 0o777, dir_fd=directory))
attempt("name outside", lambda: os.chmod(f"/proc/self/fd/{outside}", 0o777))
attempt("name thread", lambda: os.chmod(f"/proc/thread-self/fd/{outside}", 0o777))
attempt("name dev outside", lambda: os.chmod(f"/dev/fd/{outside}", 0o777))
attempt("name path outside", lambda: os.chmod(f"/proc/self/fd/{only_path_outside}", 0o777))
attempt("name below outside", lambda: os.chmod(f"/proc/self/fd/{elsewhere}/file.txt", 0o777))
attempt("working directory", lambda: os.chmod("/proc/self/cwd/out/file.txt", 0o777))
os.chdir("out")
attempt("from there", lambda: os.chmod("file.txt", 0o777))
"#;
    let confined = project();
    let bare = project();
    let inside = python_child(&confined, code);
    let expected = bare_python(&bare, code);
    let (inside, expected) = (
        inside.expect_success().stdout.clone(),
        expected.expect_success().stdout.clone(),
    );
    let (allowed, denied) = inside.split_once("--\n").unwrap();
    let (native, changed) = expected.split_once("--\n").unwrap();
    assert_eq!(allowed, native);
    assert!(allowed.contains("fchmod inside done\n"), "{allowed}");
    for line in denied.lines() {
        assert!(line.ends_with(&format!(" {EPERM}")), "{line}");
    }
    for line in changed.lines() {
        assert!(line.ends_with(" done"), "{line}");
    }
    assert_eq!(mode(&confined, "out/file.txt"), 0o600);
    assert_eq!(mode(&bare, "out/file.txt"), 0o777);
}

#[test]
fn attributes_of_users_are_set_and_no_others() {
    let code = r#"
import os
def attempt(name, what):
    try: print(name, what())
    except OSError as error: print(name, error.errno)
attempt("set", lambda: os.setxattr("box/file.txt", "user.one", b"1"))
attempt("again", lambda: os.setxattr("box/file.txt", "user.one", b"2", os.XATTR_CREATE))
attempt("get", lambda: os.getxattr("box/file.txt", "user.one"))
attempt("remove", lambda: os.removexattr("box/file.txt", "user.one"))
attempt("absent", lambda: os.removexattr("box/file.txt", "user.one"))
attempt("empty", lambda: os.setxattr("box/file.txt", "user.two", b""))
attempt("large", lambda: os.setxattr("box/file.txt", "user.three", b"x" * 70000))
attempt("link", lambda: os.setxattr("box/leaves", "user.one", b"1", follow_symlinks=False))
"#;
    let confined = project();
    let bare = project();
    python_child(&confined, code).expect_same(&bare_python(&bare, code));
    let others = r#"
import os
for name in ["trusted.a", "security.capability", "system.posix_acl_access", "security.selinux"]:
    try: os.setxattr("box/file.txt", name, b"x"); print(name, "done")
    except OSError as error: print(name, error.errno)
try: os.setxattr("out/file.txt", "user.one", b"x"); print("done")
except OSError as error: print(error.errno)
"#;
    let quiet = libc::EOPNOTSUPP;
    python_child(&confined, others).expect_output(&format!(
        "trusted.a {EPERM}\nsecurity.capability {EPERM}\nsystem.posix_acl_access {quiet}\n\
         security.selinux {quiet}\n{EPERM}\n"
    ));
}

/// Rounds of a race; bare, a handful suffices to lose it.
const ROUNDS: u32 = 3000;

#[test]
fn a_link_that_changes_in_between_leads_nowhere() {
    let code = format!(
        r#"
import os, signal
inside, outside = os.path.abspath("box/file.txt"), os.path.abspath("out/file.txt")
os.symlink(inside, "box/one")
os.symlink(outside, "box/two")
os.mkdir("box/turning")
os.symlink(inside, "box/turning/link")
child = os.fork()
if child == 0:
    while True:
        for target in (outside, inside):
            os.symlink(target, "box/turning/next")
            os.rename("box/turning/next", "box/turning/link")
done = refused = 0
try:
    rounds = 0
    while rounds < {ROUNDS} or (rounds < 20 * {ROUNDS} and not (done and refused)):
        rounds += 1
        for call in (lambda: os.chmod("box/turning/link", 0o622),
                     lambda: os.utime("box/turning/link", (1, 1))):
            try: call(); done += 1
            except PermissionError: refused += 1
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(done > 0, refused > 0)
"#
    );
    let confined = project();
    let bare = project();
    python_child(&confined, &code).expect_output("True True\n");
    assert_eq!(mode(&confined, "out/file.txt"), 0o600);
    let found = fs::metadata(confined.path("out/file.txt")).unwrap();
    assert!(found.mtime() > 1);
    assert_eq!(mode(&confined, "box/file.txt"), 0o622);
    bare_python(&bare, &code).expect_output("True False\n");
    assert_eq!(mode(&bare, "out/file.txt"), 0o622);
}

#[test]
fn a_descriptor_that_changes_in_between_lends_nothing() {
    let code = format!(
        r#"
import os, threading
written = os.open("box/file.txt", os.O_RDWR)
outside = os.open("out/file.txt", os.O_RDONLY)
turning = os.dup(written)
over = False
def turn():
    while not over:
        os.dup2(outside, turning)
        os.dup2(written, turning)
thread = threading.Thread(target=turn)
thread.start()
done = refused = 0
for round in range({ROUNDS}):
    for call in (lambda: os.fchmod(turning, 0o622),
                 lambda: os.chmod(f"/proc/self/fd/{{turning}}", 0o622)):
        try: call(); done += 1
        except PermissionError: refused += 1
over = True
thread.join()
print(done > 0)
"#
    );
    let confined = project();
    let bare = project();
    python_child(&confined, &code).expect_output("True\n");
    assert_eq!(mode(&confined, "out/file.txt"), 0o600);
    assert_eq!(mode(&confined, "box/file.txt"), 0o622);
    // Outside the race is lost sooner or later.
    let lost = (0..30).any(|_| {
        bare_python(&bare, &code).expect_output("True\n");
        mode(&bare, "out/file.txt") == 0o622
    });
    assert!(lost);
}

#[test]
fn denials_say_what_would_allow_them() {
    let project = project();
    let items = [item(&project, "chmod", "out/file.txt")];
    let outcome = project.probe_outcome(&["--allow-read", "--allow-write=box"], &items);
    outcome
        .expect_success()
        .expect_error("denied:")
        .expect_error(&format!("--allow-write={}", project.path("out/file.txt")));
}

#[test]
fn explain_says_what_stays_refused() {
    let project = project().file("main.ts", "");
    let explain = |flag: &str| {
        let outcome = project.stockade(&["explain", "run", flag, "main.ts"]).run();
        outcome.expect_success();
        outcome.stdout
    };
    let written = explain("--allow-write=box");
    assert!(!written.contains("changing modes"), "{written}");
    assert!(written.contains("inode flags (`chattr`)"), "{written}");
    assert!(written.contains("set-user-id"), "{written}");
    let read = explain("--allow-read=box");
    assert!(!read.contains("inode flags"), "{read}");
}
