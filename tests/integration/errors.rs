// SPDX-License-Identifier: MIT
//! What must stop a run before it starts, and say so clearly: exit 125, nothing started, nothing
//! written. The whole message is part of the interface, so whole messages are compared.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use crate::machine::superuser;
use crate::support::{Launch, Outcome, Project};
use crate::support_life::{
    exists, listing, project, scrub, skip, start, stockade_path, text, through_python,
};

mod hosts;

/// Says that it was started.
const STARTED: &str = "console.log('started')";

/// Refused, with nothing started and nothing written; the message.
#[track_caller]
fn refusal(project: &Project, launch: Launch) -> String {
    let before = listing(project);
    let outcome = launch.run();
    outcome.expect_refused();
    assert_eq!(before, listing(project), "something was written");
    scrub(project, &outcome.stderr)
}

/// The messages of several refusals, each under its command line.
fn refusals<'a>(project: &Project, cases: impl IntoIterator<Item = &'a [&'a str]>) -> String {
    let mut all = String::new();
    for case in cases {
        let message = refusal(project, project.stockade(case));
        let _ = writeln!(all, "$ stockade {}\n{message}", case.join(" "));
    }
    all
}

/// The control: the same program, where nothing is wrong.
#[track_caller]
fn starts(launch: Launch) {
    launch.run().expect_output("started\n");
}

#[test]
fn scripts_that_are_none() {
    let project = project(STARTED)
        .file("directory/main.ts", STARTED)
        .file("fifo.ts", STARTED);
    std::fs::remove_file(project.directory().join("fifo.ts")).unwrap();
    nix::unistd::mkfifo(
        &project.directory().join("fifo.ts"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    symlink("gone.ts", project.directory().join("dangling.ts")).unwrap();
    symlink("loop.ts", project.directory().join("loop.ts")).unwrap();
    starts(project.stockade(&["run", "main.ts"]));
    insta::assert_snapshot!(refusals(&project, [
        &["run"][..],
        &["run", "missing.ts"],
        &["run", "missing/main.ts"],
        &["run", "main.ts/more.ts"],
        &["run", "directory"],
        &["run", "dangling.ts"],
        &["run", "loop.ts"],
        &["run", "fifo.ts"],
        &["run", ""],
        &["run", "data:text/javascript,1"],
        &["serve", "missing.ts"],
        &["explain", "missing.ts"],
    ]), @r"
    $ stockade run
    error: `stockade run` needs a script
    hint: write `stockade run [flags] script.ts [arguments]`; `-` reads the script from standard input

    $ stockade run missing.ts
    error: the script `missing.ts` does not exist

    $ stockade run missing/main.ts
    error: the script `missing/main.ts` does not exist

    $ stockade run main.ts/more.ts
    error: cannot read the script `main.ts/more.ts`: Not a directory (os error 20)

    $ stockade run directory
    error: the script `directory` is not a regular file
    hint: name the file the program starts with

    $ stockade run dangling.ts
    error: the script `dangling.ts` does not exist

    $ stockade run loop.ts
    error: cannot read the script `loop.ts`: Too many levels of symbolic links (os error 40)

    $ stockade run fifo.ts
    error: the script `fifo.ts` is not a regular file
    hint: name the file the program starts with

    $ stockade run 
    error: the script `` is not a regular file
    hint: name the file the program starts with

    $ stockade run data:text/javascript,1
    error: the script `data:text/javascript,1` is neither a file nor the URL of a module
    hint: `stockade eval` runs code

    $ stockade serve missing.ts
    error: the script `missing.ts` does not exist

    $ stockade explain missing.ts
    error: the script `missing.ts` does not exist
    ");
}

/// The same command as an ordinary user, with a cache of its own; as itself when it is one.
fn as_ordinary_user(project: &Project, arguments: &[&str]) -> Launch {
    let cache = project.directory().join("cache");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o700)).unwrap();
    if !superuser() {
        return project.stockade(arguments);
    }
    std::fs::set_permissions(project.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(&cache, Some(65534), Some(65534)).unwrap();
    let mut all = vec![
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        stockade_path(),
    ];
    all.extend(arguments);
    project
        .launch("setpriv".as_ref(), &all)
        .env("STOCKADE_CACHE", cache)
        .env("HOME", "/nonexistent")
}

#[test]
fn a_script_this_user_cannot_read() {
    let project = project(STARTED).file("secret.ts", STARTED);
    let secret = project.directory().join("secret.ts");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
    starts(as_ordinary_user(&project, &["run", "main.ts"]));
    let outcome = as_ordinary_user(&project, &["run", "secret.ts"]).run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @"error: cannot read the script `secret.ts`: Permission denied (os error 13)");
}

#[test]
fn a_script_only_capabilities_can_read() {
    if !superuser() {
        return;
    }
    // The program runs without capabilities, so root's pass for other users' files does not hold.
    let project = project(STARTED).file("other.ts", STARTED);
    let other = project.directory().join("other.ts");
    chown(&other, Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
    starts(project.stockade(&["run", "main.ts"]));
    insta::assert_snapshot!(
        refusal(&project, project.stockade(&["run", "other.ts"])),
        @"error: cannot read the script `other.ts`: Permission denied (os error 13)"
    );
}

#[test]
fn grants_that_cannot_be_opened() {
    let project = project(STARTED).file("file", "");
    symlink("/etc", project.directory().join("away")).unwrap();
    symlink("loop", project.directory().join("loop")).unwrap();
    starts(project.stockade(&["run", "--allow-read=file", "--allow-write=file", "main.ts"]));
    insta::assert_snapshot!(refusals(&project, [
        &["run", "--allow-read=missing", "main.ts"][..],
        &["run", "--allow-read=file,missing", "main.ts"],
        &["run", "--allow-read=file/below", "main.ts"],
        &["run", "--allow-read=loop", "main.ts"],
        &["run", "--allow-read=away/hostname", "main.ts"],
        &["run", "--allow-write=missing/deeper/file", "main.ts"],
        &["run", "--allow-write=/proc/sys", "main.ts"],
        &["run", "--allow-run=./missing", "main.ts"],
    ]), @r"
    $ stockade run --allow-read=missing main.ts
    error: cannot open `[DIR]/missing`, granted by `--allow-read=missing`: No such file or directory (os error 2)
    hint: create it first, or leave the grant out

    $ stockade run --allow-read=file,missing main.ts
    error: cannot open `[DIR]/missing`, granted by `--allow-read=missing`: No such file or directory (os error 2)
    hint: create it first, or leave the grant out

    $ stockade run --allow-read=file/below main.ts
    error: cannot open `[DIR]/file/below`, granted by `--allow-read=file/below`: Not a directory (os error 20)
    hint: grant a path that this user may open, or leave the grant out

    $ stockade run --allow-read=loop main.ts
    error: cannot open `[DIR]/loop`, granted by `--allow-read=loop`: Too many levels of symbolic links (os error 40)
    hint: grant a path that this user may open, or leave the grant out

    $ stockade run --allow-read=away/hostname main.ts
    error: `--allow-read=away/hostname` leads to `/etc/hostname`, outside `[DIR]`
    hint: grant `/etc/hostname` itself if that is meant

    $ stockade run --allow-write=missing/deeper/file main.ts
    error: cannot create `[DIR]/missing/deeper/file`, granted by `--allow-write=missing/deeper/file`, because its directory cannot be opened: No such file or directory (os error 2)
    hint: create `[DIR]/missing/deeper` first

    $ stockade run --allow-write=/proc/sys main.ts
    error: `--allow-write=/proc/sys` names `/proc/sys`, the kernel's own settings, which is never writable
    hint: grant the files that are meant

    $ stockade run --allow-run=./missing main.ts
    error: cannot open `[DIR]/missing`, granted by `--allow-run=./missing`: No such file or directory (os error 2)
    hint: create it first, or leave the grant out
    ");
}

#[test]
fn permissions_that_contradict_or_name_nothing() {
    let project = project(STARTED);
    starts(project.stockade(&["run", "-A", "--deny-net", "main.ts"]));
    insta::assert_snapshot!(refusals(&project, [
        &["run", "-A", "--allow-net", "main.ts"][..],
        &["run", "--allow-read=.", "-A", "main.ts"],
        &["run", "--allow-net=db.test", "--verify=dh.test=sni", "main.ts"],
        &["run", "--allow-private=db.test", "main.ts"],
        &["run", "--dns=dns.test", "main.ts"],
        &["run", "--upstream-proxy=https://user:word@proxy.test", "main.ts"],
        &["run", "--audit=missing/denials", "main.ts"],
        &["run", "--audit=.", "main.ts"],
        &["run", "--audit=/dev/null", "main.ts"],
    ]), @r"
    $ stockade run -A --allow-net main.ts
    error: `--allow-all` conflicts with `--allow-net`
    hint: leave out `-A` to grant only what is listed, or leave out `--allow-net`; `--deny-*` flags go with `-A`

    $ stockade run --allow-read=. -A main.ts
    error: `--allow-all` conflicts with `--allow-read`
    hint: leave out `-A` to grant only what is listed, or leave out `--allow-read`; `--deny-*` flags go with `-A`

    $ stockade run --allow-net=db.test --verify=dh.test=sni main.ts
    error: `--verify=dh.test=sni` names no host that `--allow-net` grants
    hint: did you mean `db.test`?

    $ stockade run --allow-private=db.test main.ts
    error: `--allow-private=db.test` names no host that `--allow-net` grants
    hint: grant it with `--allow-net=db.test`, or leave it out

    $ stockade run --dns=dns.test main.ts
    error: invalid value `dns.test` of `--dns`
    hint: accepted: an address, `ADDRESS:PORT` or `[IPV6]:PORT`

    $ stockade run --upstream-proxy=https://user:word@proxy.test main.ts
    error: invalid value `http://***@proxy.test` of `--upstream-proxy`
    hint: accepted: `http://[USER:PASSWORD@]HOST[:PORT]`

    $ stockade run --audit=missing/denials main.ts
    error: cannot open `missing/denials`, named by `--audit`: No such file or directory (os error 2)
    hint: create its directory first

    $ stockade run --audit=. main.ts
    error: cannot open `.`, named by `--audit`: Is a directory (os error 21)

    $ stockade run --audit=/dev/null main.ts
    error: `/dev/null`, named by `--audit`, is no file and no pipe
    hint: name a file that may be appended to
    ");
}

#[test]
fn caches_that_cannot_be_used() {
    let project = project(STARTED).file("file", "");
    let at = |cache: &str| {
        project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_CACHE", cache)
    };
    let mut all = String::new();
    for cache in [
        "/proc/stockade",
        "file",
        &project.path("file"),
        &project.path("file/below"),
    ] {
        let message = refusal(&project, at(cache));
        let cache = scrub(&project, cache);
        let _ = writeln!(
            all,
            "$ STOCKADE_CACHE={cache} stockade run main.ts\n{message}"
        );
    }
    let nowhere = project
        .stockade(&["run", "main.ts"])
        .without_env("STOCKADE_CACHE")
        .without_env("HOME");
    let _ = writeln!(
        all,
        "$ env -u HOME stockade run main.ts\n{}",
        refusal(&project, nowhere)
    );
    // Writable by everybody: somebody else could exchange the runner.
    let open = project.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let _ = writeln!(
        all,
        "$ STOCKADE_CACHE=[DIR]/open stockade run main.ts\n{}",
        refusal(&project, at(&open))
    );
    insta::assert_snapshot!(all, @r"
    $ STOCKADE_CACHE=/proc/stockade stockade run main.ts
    error: cannot use the cache file `/proc/stockade`: No such file or directory (os error 2)
    hint: set STOCKADE_CACHE to a directory of your own

    $ STOCKADE_CACHE=file stockade run main.ts
    error: `STOCKADE_CACHE` is not an absolute path: `file`
    hint: give the whole path, from `/`

    $ STOCKADE_CACHE=[DIR]/file stockade run main.ts
    error: the cache `[DIR]/file` is not a directory
    hint: set STOCKADE_CACHE to a directory of your own

    $ STOCKADE_CACHE=[DIR]/file/below stockade run main.ts
    error: the cache `[DIR]/file/below` is not a directory
    hint: set STOCKADE_CACHE to a directory of your own

    $ env -u HOME stockade run main.ts
    error: no place for the cache: none of STOCKADE_CACHE, XDG_CACHE_HOME and HOME is set
    hint: set STOCKADE_CACHE to a directory of your own

    $ STOCKADE_CACHE=[DIR]/open stockade run main.ts
    error: the cache directory `[DIR]/open` can be written by other users (mode 0777)
    hint: `chmod go-w [DIR]/open`, or set STOCKADE_CACHE to a directory of your own
    ");
}

#[test]
fn a_cache_this_user_cannot_write() {
    let project = project(STARTED);
    let closed = project.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    let outcome = as_ordinary_user(&project, &["run", "main.ts"])
        .env("STOCKADE_CACHE", format!("{closed}/cache"))
        .run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: cannot write to the cache: no permission for `[DIR]/closed/cache`
    hint: set STOCKADE_CACHE to a directory of your own
    ");
}

#[test]
fn a_cache_on_a_full_disk() {
    let project = project(STARTED);
    let cache = project.path("cache");
    // A limit on file sizes ends a write in the middle as a full disk does.
    let line = r#"trap "" XFSZ; ulimit -f 4000; exec "$@""#;
    let words = ["-c", line, "sh", stockade_path(), "run", "main.ts"];
    let outcome = project
        .launch("/bin/sh".as_ref(), &words)
        .env("STOCKADE_CACHE", &cache)
        .run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: cannot unpack the embedded Deno executable: cannot use the cache file `[DIR]/cache/runners/[ID]/[TEMPORARY]`: File too large (os error 27)
    hint: set STOCKADE_CACHE to a directory of your own
    ");
    let left: u64 = listing(&project).values().map(|(size, ..)| size).sum();
    assert!(
        left < 1_000_000,
        "a half-written runner was left: {left} bytes"
    );
    // With room, the same cache works.
    starts(
        project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_CACHE", &cache),
    );
}

/// A launch inside a mount namespace that has a tmpfs with these options at `mounted`.
fn with_mount(project: &Project, options: &str) -> Option<Launch> {
    let mounted = project.path("mounted");
    std::fs::create_dir_all(&mounted).unwrap();
    let line = r#"mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@""#;
    for namespace in ["--mount", "--map-root-user --mount"] {
        let mut words: Vec<&str> = namespace.split(' ').collect();
        words.extend(["sh", "-c", line, "sh", options, &mounted]);
        let mut probe = words.clone();
        probe.push("true");
        if project.launch("unshare".as_ref(), &probe).run().code == Some(0) {
            words.extend([stockade_path(), "run", "main.ts"]);
            return Some(
                project
                    .launch("unshare".as_ref(), &words)
                    .env("STOCKADE_CACHE", mounted),
            );
        }
    }
    None
}

#[test]
fn a_cache_on_a_small_file_system() {
    let project = project(STARTED);
    let Some(launch) = with_mount(&project, "size=8m,mode=700") else {
        return skip("needs the right to mount a tmpfs");
    };
    insta::assert_snapshot!(refusal(&project, launch), @r"
    error: cannot unpack the embedded Deno executable: no space left to write `[DIR]/mounted/runners/[ID]/[TEMPORARY]`: No space left on device (os error 28)
    hint: free some space (the runner takes 100 MB), or set STOCKADE_CACHE
    ");
}

#[test]
fn a_cache_that_may_not_execute() {
    let project = project(STARTED);
    let Some(launch) = with_mount(&project, "noexec,mode=700") else {
        return skip("needs the right to mount a tmpfs");
    };
    insta::assert_snapshot!(refusal(&project, launch), @r"
    error: cannot unpack the embedded Deno executable: the cache directory `[DIR]/mounted/runners/[ID]` is on a file system mounted noexec
    hint: set STOCKADE_CACHE to a directory on a file system that allows execution: the runner is unpacked there
    ");
}

/// The first bytes of an executable for another machine: an ELF header and nothing else.
fn foreign_executable() -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "x86_64") {
        183
    } else {
        62
    };
    let mut header = vec![0_u8; 64];
    header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    header[16..18].copy_from_slice(&3_u16.to_le_bytes());
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header[20] = 1;
    header[52] = 64;
    header[54] = 56;
    header
}

#[test]
fn runners_that_are_no_deno() {
    let project = project(STARTED).file("text", "no program\n");
    project.write_program("script", "#!/bin/sh\necho deno 2.9.6\n");
    project.write_program("foreign", "");
    std::fs::write(project.directory().join("foreign"), foreign_executable()).unwrap();
    std::fs::write(project.directory().join("cut"), b"\x7fELF").unwrap();
    std::os::unix::fs::symlink("/bin/true", project.directory().join("true")).unwrap();
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.directory().join("cut"), mode).unwrap();
    let bare = crate::support::runner().to_str().unwrap();
    starts(project.stockade(&["run", "--runner", bare, "main.ts"]));
    let all = refusals(
        &project,
        [
            &["run", "--runner=true", "main.ts"][..],
            &["run", "--runner=script", "main.ts"],
            &["run", "--runner=text", "main.ts"],
            &["run", "--runner=foreign", "main.ts"],
            &["run", "--runner=cut", "main.ts"],
            &["run", "--runner=missing", "main.ts"],
            &["run", "--runner=.", "main.ts"],
            &["run", "--runner=", "main.ts"],
        ],
    );
    let real_true = std::fs::canonicalize("/bin/true").unwrap();
    insta::assert_snapshot!(all.replace(&*real_true.to_string_lossy(), "[TRUE]"), @r"
    $ stockade run --runner=true main.ts
    error: the runner `[TRUE]` is no Deno: `--version` answered `true (GNU coreutils) 9.1`
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner=script main.ts
    error: the runner `[DIR]/script` is a script, not the Deno executable
    hint: name the real executable with --runner: `deno eval 'console.log(Deno.execPath())'` prints its path

    $ stockade run --runner=text main.ts
    error: the runner `[DIR]/text` is not executable
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner=foreign main.ts
    error: the runner `[DIR]/foreign` is built for aarch64; this machine is x86_64
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner=cut main.ts
    error: the runner `[DIR]/cut` is not an executable: the ELF headers need 16 bytes of the file and only 4 were read
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner=missing main.ts
    error: cannot open the runner `[DIR]/missing`: No such file or directory (os error 2)
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner=. main.ts
    error: the runner `[DIR]/.` is not a regular file
    hint: --runner takes the path of a Deno executable, 2.0 or newer

    $ stockade run --runner= main.ts
    error: `--runner` needs a value
    hint: write `--runner=VALUE`
    ");
}

#[test]
fn refusals_create_nothing_that_was_granted() {
    let project = project(STARTED);
    // A write grant for a missing path creates it, but not when the run is refused.
    refusal(
        &project,
        project.stockade(&[
            "run",
            "--allow-write=new/",
            "--allow-read=missing",
            "main.ts",
        ]),
    );
    assert!(!exists(project.path("new")));
    refusal(
        &project,
        project.stockade(&["run", "--allow-write=new/", "missing.ts"]),
    );
    assert!(!exists(project.path("new")));
    refusal(
        &project,
        project.stockade(&["run", "--allow-write=new/", "--runner=/bin/true", "main.ts"]),
    );
    assert!(!exists(project.path("new")));
    project.write(
        "main.ts",
        "Deno.writeTextFileSync('new/file', 'x'); console.log('started')",
    );
    starts(project.stockade(&["run", "--allow-write=new/", "main.ts"]));
    assert_eq!(project.read("new/file"), "x");
}

#[test]
fn messages_need_no_terminal_and_survive_a_closed_one() {
    let project = project(STARTED);
    for line in [r#""$@" 2>&-"#, r#""$@" >&- 2>&-"#, r#""$@" 2>/dev/full"#] {
        let words = ["-c", line, "sh", stockade_path(), "run", "missing.ts"];
        let outcome = project.launch("/bin/sh".as_ref(), &words).run();
        outcome.expect_code(125);
    }
}

#[test]
fn a_vanished_working_directory_is_named() {
    let project = project(STARTED);
    std::fs::create_dir(project.directory().join("gone")).unwrap();
    let script = project.path("main.ts");
    let line = r#"cd gone && rmdir ../gone && exec "$@""#;
    let words = ["-c", line, "sh", stockade_path(), "run", &script];
    let outcome = project.launch("/bin/sh".as_ref(), &words).run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: cannot read the current directory: No such file or directory (os error 2)
    hint: the directory was removed or cannot be reached: change to one that exists
    ");
}

#[test]
fn files_that_appear_in_refusals_belong_to_the_user() {
    // The shared cache of these tests is closed to others, as Stockade makes it.
    let project = project(STARTED);
    let cache = project.path("cache");
    starts(
        project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_CACHE", &cache),
    );
    let metadata = std::fs::metadata(Path::new(&cache)).unwrap();
    assert_eq!(metadata.mode() & 0o077, 0, "{:o}", metadata.mode());
    let running = start(
        project
            .stockade(&["run", "main.ts"])
            .env("STOCKADE_CACHE", &cache),
    );
    assert_eq!(running.finish().1, "started\n");
}
