// SPDX-License-Identifier: MIT
//! Files: what a grant opens, what stays shut around it, for JavaScript and for native code.

use std::os::unix::fs::symlink;

use libc::{EACCES, ENOSYS, EPERM, EXDEV, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY};

use crate::machine::require_landlock;
use crate::support::{Project, expect_errno, expect_not_errno};

mod links;
mod modules;

/// A directory that is granted in most tests, one that is not, and a file beside them.
pub(crate) fn project() -> Project {
    Project::new()
        .file("data/in.txt", "inside")
        .file("data/sub/deep.txt", "deep")
        .file("data/secret.txt", "secret")
        .file("data/private/key.txt", "key")
        .file("other/out.txt", "outside")
        .file("single.txt", "single")
}

pub(crate) fn open(project: &Project, flags: i32, name: &str) -> String {
    format!("open:{flags}:{}", project.path(name))
}

pub(crate) fn item(project: &Project, probe: &str, name: &str) -> String {
    format!("{probe}:0:{}", project.path(name))
}

pub(crate) fn pair(project: &Project, probe: &str, from: &str, to: &str) -> String {
    format!("{probe}:0:{}>{}", project.path(from), project.path(to))
}

#[test]
fn read_grants_open_files_and_directories() {
    let project = project();
    let granted = [
        open(&project, O_RDONLY, "data/in.txt"),
        open(&project, O_RDONLY, "data/sub/deep.txt"),
        open(&project, O_RDONLY, "single.txt"),
        item(&project, "list", "data"),
        item(&project, "list", "data/sub"),
    ];
    let denied = [
        open(&project, O_RDONLY, "other/out.txt"),
        item(&project, "list", "other"),
        item(&project, "list", "."),
        item(&project, "openat", "other/out.txt"),
        item(&project, "reopen", "other/out.txt"),
        open(&project, O_WRONLY, "data/in.txt"),
        open(&project, O_RDONLY, "data/../other/out.txt"),
        "open:0:/etc/shadow".to_owned(),
    ];
    let all: Vec<&String> = granted.iter().chain(&denied).collect();
    let inside = project.probe(&["--allow-read=data,single.txt"], &all);
    let nothing = project.probe(&[], &all);
    let wide = project.probe(&["--allow-read=other"], &denied[..4]);
    let outside = project.probe_bare(&all);
    for granted in &granted {
        expect_errno(&inside, granted, &[0]);
        expect_errno(&nothing, granted, &[EACCES]);
        expect_errno(&outside, granted, &[0]);
    }
    for denied in &denied {
        expect_errno(&inside, denied, &[EACCES]);
        expect_errno(&nothing, denied, &[EACCES]);
        if !denied.ends_with("/etc/shadow") || crate::machine::superuser() {
            expect_errno(&outside, denied, &[0]);
        }
    }
    expect_errno(&wide, &denied[0], &[0]);
    expect_errno(&wide, &denied[1], &[0]);
    expect_errno(&wide, &denied[2], &[EACCES]);
    expect_errno(&wide, &denied[3], &[0]);
}

#[test]
fn deno_says_what_deno_says() {
    let project = project().file(
        "read.ts",
        r#"console.log(Deno.readTextFileSync("data/in.txt"));
           for await (const entry of Deno.readDir("data/sub")) console.log(entry.name);
           console.log(Deno.readTextFileSync("other/out.txt"));"#,
    );
    let arguments = ["run", "--allow-read=data", "read.ts"];
    let confined = project.stockade(&arguments).run();
    confined.expect_same(&project.bare(&arguments).run());
    confined.expect_code(1).expect_error(
        "NotCapable: Requires read access to \"other/out.txt\", run again with the --allow-read flag",
    );
    assert_eq!(confined.stdout, "inside\ndeep.txt\n");
    project
        .stockade(&["run", "--allow-read=.", "read.ts"])
        .run()
        .expect_output("inside\ndeep.txt\noutside\n");
}

#[test]
fn write_grants_hold_every_way_to_write() {
    let fresh = || {
        Project::new()
            .file("box/old.txt", "old")
            .file("box/moved.txt", "moved")
            .file("out/old.txt", "untouched")
            .file("out/keep/file.txt", "untouched")
    };
    let operations = |project: &Project, directory: &str| {
        let name = |tail: &str| format!("{directory}/{tail}");
        vec![
            open(project, O_WRONLY | O_CREAT, &name("new.txt")),
            open(project, O_WRONLY, &name("old.txt")),
            open(project, O_WRONLY | O_TRUNC, &name("old.txt")),
            open(project, O_RDONLY | O_TRUNC, &name("old.txt")),
            item(project, "truncate", &name("old.txt")),
            item(project, "mkdir", &name("directory")),
            item(project, "symlink", &name("link")),
            item(project, "mkfifo", &name("fifo")),
            pair(project, "link", &name("old.txt"), &name("hard.txt")),
            pair(project, "rename", &name("old.txt"), &name("renamed.txt")),
            item(project, "unlink", &name("renamed.txt")),
            item(project, "rmdir", &name("directory")),
        ]
    };
    let project = fresh();
    let inside = operations(&project, "box");
    let outside = operations(&project, "out");
    let across = [
        pair(&project, "rename", "box/moved.txt", "out/moved.txt"),
        pair(&project, "rename", "out/keep/file.txt", "box/file.txt"),
        pair(&project, "link", "out/keep/file.txt", "box/linked.txt"),
        pair(&project, "exchange", "box/moved.txt", "out/keep/file.txt"),
    ];
    let all: Vec<&String> = inside.iter().chain(&across).chain(&outside).collect();
    // Reading too: the kernel wants it for O_RDONLY|O_TRUNC.
    let answers = project.probe(&["--allow-write=box", "--allow-read=box"], &all);
    for granted in &inside {
        expect_errno(&answers, granted, &[0]);
    }
    for denied in outside.iter().chain(&across) {
        // The kernel looks names up before it asks: what was not made is ENOENT.
        let accepted: &[i32] = if denied.starts_with("unlink") || denied.starts_with("rmdir") {
            &[EACCES, libc::ENOENT]
        } else {
            &[EACCES, EXDEV, EPERM]
        };
        expect_errno(&answers, denied, accepted);
    }
    assert_eq!(project.read("out/old.txt"), "untouched");
    assert_eq!(project.read("out/keep/file.txt"), "untouched");
    for name in [
        "new.txt",
        "directory",
        "link",
        "fifo",
        "hard.txt",
        "moved.txt",
    ] {
        assert!(!project.has(&format!("out/{name}")), "out/{name} was made");
    }
    // Nothing granted: nothing written, also where it was allowed above.
    let project = fresh();
    let answers = project.probe(&["--allow-read=box"], &operations(&project, "box")[..9]);
    for (item, errno) in &answers {
        assert!(
            [EACCES, EPERM].map(i64::from).contains(errno),
            "{item}: {errno}"
        );
    }
    assert_eq!(project.read("box/old.txt"), "old");
    // Outside any sandbox all of it works.
    let project = fresh();
    let control = operations(&project, "out");
    for (item, errno) in project.probe_bare(&control) {
        assert_eq!(errno, 0, "the control of {item}");
    }
    let across = [
        pair(&project, "rename", "box/moved.txt", "out/moved.txt"),
        pair(&project, "link", "out/keep/file.txt", "box/linked.txt"),
        pair(&project, "exchange", "box/linked.txt", "out/moved.txt"),
        pair(&project, "rename", "out/keep/file.txt", "box/file.txt"),
    ];
    for (item, errno) in project.probe_bare(&across) {
        assert_eq!(errno, 0, "the control of {item}");
    }
}

#[test]
fn deno_writes_inside_a_write_grant() {
    let script = r#"
        Deno.mkdirSync("box/made");
        Deno.writeTextFileSync("box/made/a.txt", "one");
        Deno.writeTextFileSync("box/made/a.txt", "two", { append: true });
        Deno.renameSync("box/made/a.txt", "box/b.txt");
        Deno.truncateSync("box/b.txt", 4);
        Deno.linkSync("box/b.txt", "box/c.txt");
        Deno.removeSync("box/made", { recursive: true });
        console.log(Deno.readTextFileSync("box/c.txt"));
        try { Deno.writeTextFileSync("out.txt", "x"); } catch (error) { console.log(String(error)); }
    "#;
    let arguments = ["run", "--allow-read=box", "--allow-write=box", "write.ts"];
    let bare = Project::new()
        .file("write.ts", script)
        .file("box/.keep", "");
    let expected = bare.bare(&arguments).run();
    expected.expect_success();
    let project = Project::new()
        .file("write.ts", script)
        .file("box/.keep", "");
    let confined = project.stockade(&arguments).run();
    confined.expect_output(&expected.stdout);
    assert!(confined.stdout.starts_with("onet\n"), "{}", confined.stdout);
    assert!(!project.has("out.txt"));
}

#[test]
fn links_are_judged_by_what_they_point_to() {
    let project = project();
    symlink("../other/out.txt", project.path("data/link.txt")).unwrap();
    symlink("../other", project.path("data/directory")).unwrap();
    let items = [
        open(&project, O_RDONLY, "data/link.txt"),
        open(&project, O_RDONLY, "data/directory/out.txt"),
        item(&project, "list", "data/directory"),
        item(&project, "openat", "data/directory/out.txt"),
        item(&project, "reopen", "data/link.txt"),
    ];
    let inside = project.probe(&["--allow-read=data"], &items);
    let granted = project.probe(&["--allow-read=data,other"], &items);
    let outside = project.probe_bare(&items);
    for item in &items {
        expect_errno(&inside, item, &[EACCES]);
        expect_errno(&granted, item, &[0]);
        expect_errno(&outside, item, &[0]);
    }
    // A link made during the run is one more link.
    let items = [
        format!("symlink:0:{}", project.path("data/made")),
        open(&project, O_RDONLY, "data/made"),
    ];
    project.write("data/target", "granted");
    let answers = project.probe(&["--allow-read=data", "--allow-write=data"], &items);
    expect_errno(&answers, &items[0], &[0]);
    expect_errno(&answers, &items[1], &[0]);
}

#[test]
fn a_relative_grant_that_leaves_its_directory_is_refused() {
    let project = project();
    symlink("/usr", project.path("leaving")).unwrap();
    symlink("data", project.path("staying")).unwrap();
    project.write("ok.ts", "console.log('ran');");
    for flag in ["--allow-read=leaving", "--allow-write=./leaving"] {
        project
            .stockade(&["run", flag, "ok.ts"])
            .run()
            .expect_refused()
            .expect_error("/usr")
            .expect_error("leaving");
    }
    let absolute = format!("--allow-read={}", project.path("leaving"));
    for flag in ["--allow-read=staying", "--allow-read=../", &absolute] {
        project
            .stockade(&["run", flag, "ok.ts"])
            .run()
            .expect_output("ran\n");
    }
    project
        .bare(&["run", "--allow-read=leaving", "ok.ts"])
        .run()
        .expect_output("ran\n");
}

#[test]
fn hard_links_and_stat_are_documented_gaps() {
    let project = project();
    std::fs::hard_link(project.path("other/out.txt"), project.path("data/hard.txt")).unwrap();
    let items = [
        open(&project, O_RDONLY, "data/hard.txt"),
        item(&project, "stat", "other/out.txt"),
        open(&project, O_RDONLY, "other/out.txt"),
    ];
    let answers = project.probe(&["--allow-read=data"], &items);
    expect_errno(&answers, &items[0], &[0]);
    expect_errno(&answers, &items[1], &[0]);
    expect_errno(&answers, &items[2], &[EACCES]);
    // `explain` says so.
    project.write("ok.ts", "");
    let outcome = project
        .stockade(&["explain", "run", "--allow-read=data", "ok.ts"])
        .run();
    outcome.expect_success();
    assert!(outcome.stdout.contains("`stat`"), "{}", outcome.stdout);
}

#[test]
fn bare_grants_leave_out_the_kernels_directories() {
    let project = project();
    let kernel = [
        "list:0:/proc".to_owned(),
        "open:0:/proc/version".to_owned(),
        "open:0:/proc/self/environ".to_owned(),
        "list:0:/sys".to_owned(),
        "list:0:/dev".to_owned(),
    ];
    let ordinary = [
        open(&project, O_RDONLY, "other/out.txt"),
        "open:0:/etc/passwd".to_owned(),
        "list:0:/usr".to_owned(),
        "open:0:/dev/null".to_owned(),
        "open:0:/dev/urandom".to_owned(),
    ];
    let all: Vec<&String> = kernel.iter().chain(&ordinary).collect();
    let outside = project.probe_bare(&all);
    for flag in ["--allow-read", "-R", "--allow-read=/"] {
        let inside = project.probe(&[flag], &all);
        for item in &kernel {
            expect_errno(&inside, item, &[EACCES]);
            expect_errno(&outside, item, &[0]);
        }
        for item in &ordinary {
            expect_errno(&inside, item, &[0]);
        }
    }
    let named = project.probe(&["--allow-read=/proc,/sys,/dev"], &kernel);
    for item in &kernel {
        expect_errno(&named, item, &[0]);
    }
    // Writing: files anywhere, but no devices.
    let memory = format!("/dev/shm/stockade-test-{}", std::process::id());
    let create = format!("open:{}:{memory}", O_WRONLY | O_CREAT);
    let items = [
        create.clone(),
        open(&project, O_WRONLY | O_CREAT, "other/new.txt"),
    ];
    for flag in ["--allow-write", "-W", "--allow-write=/"] {
        let answers = project.probe(&[flag], &items);
        expect_errno(&answers, &items[0], &[EACCES]);
        expect_errno(&answers, &items[1], &[0]);
    }
    let answers = project.probe(&["--allow-write=/dev/shm"], &[&create]);
    expect_errno(&answers, &create, &[0]);
    std::fs::remove_file(&memory).unwrap();
}

#[test]
fn kernel_settings_and_block_devices_are_never_writable() {
    let project = Project::new().file("ok.ts", "console.log('ran');");
    let mut refused = vec![
        "/proc/sys".to_owned(),
        "/proc/sys/kernel/core_pattern".to_owned(),
        "/proc".to_owned(),
    ];
    refused.extend(block_device());
    for path in refused {
        project
            .stockade(&["run", &format!("--allow-write={path}"), "ok.ts"])
            .run()
            .expect_refused()
            .expect_error(&path)
            .expect_error("never writable");
    }
    project
        .stockade(&["run", "--allow-write=/dev/null", "ok.ts"])
        .run()
        .expect_output("ran\n");
}

fn block_device() -> Option<String> {
    use std::os::unix::fs::FileTypeExt;
    std::fs::read_dir("/dev").ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let device = entry.file_type().ok()?.is_block_device();
        device.then(|| entry.path().to_string_lossy().into_owned())
    })
}

#[test]
fn a_missing_write_path_is_created_and_removed_when_untouched() {
    let look = r#"const kind = (path: string) => { try { const found = Deno.lstatSync(path);
        return found.isDirectory ? "directory" : "file"; } catch { return "absent"; } };
        console.log(kind("new.txt"), kind("new"));"#;
    let flags = ["--allow-write=new.txt,new/", "--allow-read=."];
    let project = Project::new()
        .file("look.ts", look)
        .file("use.ts", r#"Deno.writeTextFileSync("new.txt", "kept"); Deno.writeTextFileSync("new/file", "kept");"#)
        .file("fail.ts", "throw new Error('stopped');");
    project
        .stockade(&["run", flags[0], flags[1], "look.ts"])
        .run()
        .expect_output("file directory\n");
    assert!(!project.has("new.txt") && !project.has("new"));
    project
        .bare(&["run", flags[0], flags[1], "look.ts"])
        .run()
        .expect_output("absent absent\n");
    project
        .stockade(&["run", flags[0], "fail.ts"])
        .run()
        .expect_code(1);
    assert!(!project.has("new.txt") && !project.has("new"));
    project
        .stockade(&["run", flags[0], "use.ts"])
        .run()
        .expect_success();
    assert_eq!(project.read("new.txt"), "kept");
    assert_eq!(project.read("new/file"), "kept");
    // There now: nothing is created or removed.
    project
        .stockade(&["run", flags[0], flags[1], "look.ts"])
        .run()
        .expect_output("file directory\n");
    assert!(project.has("new.txt") && project.has("new"));
}

#[test]
fn a_refused_run_writes_nothing() {
    let project = Project::new().file("ok.ts", "console.log('ran');");
    for arguments in [
        &[
            "run",
            "--allow-write=new.txt",
            "--allow-read=absent.txt",
            "ok.ts",
        ][..],
        &["run", "--allow-write=new.txt", "absent.ts"],
        &["run", "--allow-write=absent/new.txt", "ok.ts"],
        &[
            "run",
            "--allow-write=new.txt",
            "--audit=absent/denials",
            "ok.ts",
        ],
    ] {
        project.stockade(arguments).run().expect_refused();
        assert!(!project.has("new.txt"), "{arguments:?} left a file");
    }
    project
        .stockade(&["run", "--allow-read=absent.txt", "ok.ts"])
        .run()
        .expect_error("absent.txt")
        .expect_error("--allow-read");
    project
        .stockade(&["run", "--allow-write=new.txt", "ok.ts"])
        .run()
        .expect_output("ran\n");
}

#[test]
fn modes_owners_times_and_attributes_cannot_be_changed_without_a_write_grant() {
    let project = project();
    // In a read grant, without a grant; what write grants do is in `attributes`.
    for name in ["data/in.txt", "other/out.txt"] {
        let mut items: Vec<String> = [
            "chmod",
            "fchmodat2",
            "chown",
            "utimes",
            "setxattr",
            "removexattr",
        ]
        .iter()
        .map(|probe| item(&project, probe, name))
        .collect();
        if name == "data/in.txt" {
            items.extend(["fchmod", "setflags"].map(|probe| item(&project, probe, name)));
        }
        let newer = ["setxattrat", "file_setattr"].map(|probe| item(&project, probe, name));
        let all: Vec<&String> = items.iter().chain(&newer).collect();
        let flags = ["--allow-read=data", "--allow-write=single.txt"];
        let inside = project.probe(&flags, &all);
        // Nobody is asked when nothing may be written.
        assert_eq!(inside, project.probe(&["--allow-read=data"], &all));
        let outside = project.probe_bare(&all);
        for item in &items {
            expect_errno(&inside, item, &[EPERM]);
            expect_not_errno(&outside, item, &[EPERM, EACCES]);
        }
        for item in &newer {
            expect_errno(&inside, item, &[EPERM, ENOSYS]);
            expect_not_errno(&outside, item, &[EPERM, EACCES]);
        }
    }
}

#[test]
fn older_landlock_is_completed_by_seccomp() {
    for abi in 2..=6_u8 {
        if !require_landlock(abi) {
            return;
        }
        let project = project();
        let items = [
            open(&project, O_RDONLY, "data/in.txt"),
            open(&project, O_WRONLY, "data/in.txt"),
            open(&project, O_RDONLY, "other/out.txt"),
            open(&project, O_RDONLY | O_TRUNC, "data/in.txt"),
            item(&project, "truncate", "data/in.txt"),
            item(&project, "truncate", "other/out.txt"),
            format!(
                "openat2:{}:{}",
                O_RDONLY | O_TRUNC,
                project.path("data/in.txt")
            ),
        ];
        let answers = project
            .probe_launch(&["--allow-read=data"], &items)
            .env("STOCKADE_LANDLOCK_ABI", abi.to_string())
            .run()
            .expect_answers(&items);
        expect_errno(&answers, &items[0], &[0]);
        for item in &items[1..6] {
            expect_errno(&answers, item, &[EACCES, EPERM]);
        }
        expect_errno(&answers, &items[6], &[EACCES, EPERM, ENOSYS]);
        assert_eq!(project.read("data/in.txt"), "inside", "ABI {abi}");
        assert_eq!(project.read("other/out.txt"), "outside", "ABI {abi}");
        // Writing inside a grant goes on.
        project.write(
            "write.ts",
            "Deno.writeTextFileSync('data/in.txt', 'written'); Deno.renameSync('data/in.txt', 'data/sub/in.txt'); console.log(Deno.readTextFileSync('data/sub/in.txt'));",
        );
        project
            .stockade(&["run", "--allow-read=data", "--allow-write=data", "write.ts"])
            .env("STOCKADE_LANDLOCK_ABI", abi.to_string())
            .run()
            .expect_output("written\n");
        // The control, last: it destroys the files.
        let outside = project.probe_bare(&items[2..]);
        expect_errno(&outside, &items[5], &[0]);
        assert_eq!(project.read("other/out.txt"), "");
    }
}
