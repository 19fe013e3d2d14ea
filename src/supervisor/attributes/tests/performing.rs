// SPDX-License-Identifier: MIT
//! Whole calls in a directory of the tests' own, with this very process as the caller.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;

use super::super::decode::Place;
use super::super::judge::resolve;
use super::super::{Outcome, Stop, perform};
use super::{Pretended, call};
use crate::policy::Origin;
use crate::supervisor::paths::Caller;
use crate::supervisor::paths::grants::{Grants, TO_CHANGE};
use crate::supervisor::paths::lookup::{Upward, take_by_name};
use crate::sys::attributes::{Identity, identity};
use crate::sys::resolve::{Links, Stopped, open_from};

/// A directory with `in/` granted, `out/` not, and links between them.
struct Tree {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    roots: Grants,
}

fn open_identity(path: &Path) -> Identity {
    identity(crate::sys::files::open_path(path).unwrap().as_fd()).unwrap()
}

fn tree() -> Tree {
    let directory = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap();
    for name in ["in/sub", "out", "in/denied"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    for name in ["in/file", "in/sub/deep", "in/denied/file", "out/file"] {
        fs::write(path.join(name), "text").unwrap();
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(path.join(name), mode).unwrap();
    }
    symlink(path.join("out/file"), path.join("in/leaves")).unwrap();
    symlink("../in/file", path.join("out/enters")).unwrap();
    symlink("loop", path.join("in/loop")).unwrap();
    symlink("/proc/self/root", path.join("in/magic")).unwrap();
    let mut roots = Grants::default();
    roots.grant(&open_identity(&path.join("in")), TO_CHANGE, true, true);
    let deny = Origin::flag("--deny-write", Some("in/denied"));
    let denied = open_identity(&path.join("in/denied"));
    roots.deny_inode(&denied, TO_CHANGE, "denied", &deny);
    Tree {
        _directory: directory,
        path,
        roots,
    }
}

impl Tree {
    fn chmod(&self, path: &str) -> Outcome {
        let caller = Pretended::new().text(8, path);
        perform(
            &call("chmod", [8, 0o4600, 0, 0, 0, 0]),
            &caller,
            &self.roots,
        )
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path.join(name)).unwrap().mode() & 0o7777
    }

    fn text(&self, name: &str) -> String {
        self.path.join(name).into_os_string().into_string().unwrap()
    }
}

fn is_denied(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Denied {
            errno: Errno::EPERM,
            ..
        }
    )
}

#[test]
fn paths_are_judged_by_what_they_open() {
    let tree = tree();
    for name in ["in/file", "out/enters", "in/sub/../file", "in/sub/deep"] {
        assert_eq!(tree.chmod(&tree.text(name)), Outcome::Done(0), "{name}");
        assert_eq!(tree.mode(name), 0o600, "{name}");
    }
    for name in [
        "out/file",
        "in/leaves",
        "in/../out/file",
        "in/denied/file",
        "in/denied",
        "in/magic/etc/passwd",
    ] {
        let mode = fs::metadata(tree.path.join(name)).unwrap().mode();
        let outcome = tree.chmod(&tree.text(name));
        assert!(is_denied(&outcome), "{name}: {outcome:?}");
        assert_eq!(
            fs::metadata(tree.path.join(name)).unwrap().mode(),
            mode,
            "{name}"
        );
    }
    for (name, errno) in [
        ("in/loop", Errno::ELOOP),
        ("in/absent", Errno::ENOENT),
        ("in/file/", Errno::ENOTDIR),
    ] {
        assert_eq!(
            tree.chmod(&tree.text(name)),
            Outcome::Failed(errno),
            "{name}"
        );
    }
    assert_eq!(tree.chmod(""), Outcome::Failed(Errno::ENOENT));
    assert_eq!(
        tree.chmod(&"a/".repeat(3000)),
        Outcome::Failed(Errno::ENAMETOOLONG)
    );
}

#[test]
fn a_denial_says_what_would_allow_it() {
    let tree = tree();
    let outside = tree.text("out/file");
    let Outcome::Denied {
        path,
        allow_with,
        nearest,
        ..
    } = tree.chmod(&tree.text("in/leaves"))
    else {
        panic!("not denied");
    };
    assert_eq!(path.as_deref(), Some(Path::new(&outside)));
    assert_eq!(allow_with, Some(format!("--allow-write={outside}")));
    assert_eq!(nearest, None);
    let Outcome::Denied {
        allow_with,
        nearest,
        ..
    } = tree.chmod(&tree.text("in/denied/file"))
    else {
        panic!("not denied");
    };
    assert_eq!(allow_with, None);
    assert_eq!(
        nearest,
        Some(Origin::flag("--deny-write", Some("in/denied")))
    );
}

#[test]
fn a_caller_that_has_gone_changes_nothing() {
    let tree = tree();
    let caller = Pretended::new().text(8, &tree.text("in/file"));
    caller.waiting.set(false);
    let outcome = perform(&call("chmod", [8, 0o600, 0, 0, 0, 0]), &caller, &tree.roots);
    assert_eq!(outcome, Outcome::Failed(Errno::ESRCH));
    assert_eq!(tree.mode("in/file"), 0o644);
}

#[test]
fn looking_up_by_hand_finds_the_same() {
    let tree = tree();
    let base = || crate::sys::files::open_path(&tree.path).unwrap();
    let found = |path: &str, follow| {
        open_from(base(), path.as_bytes(), follow).map(|fd| identity(fd.as_fd()).unwrap())
    };
    for (path, real) in [
        ("in/file", "in/file"),
        ("in/sub/../file", "in/file"),
        ("./in//sub/.", "in/sub"),
        ("out/enters", "in/file"),
        ("in/leaves", "out/file"),
        ("in/sub/", "in/sub"),
    ] {
        let wanted = open_identity(&tree.path.join(real));
        assert!(
            found(path, Links::Followed).unwrap().same_as(&wanted),
            "{path}"
        );
    }
    let absolute = tree.text("in/file");
    assert!(
        found(&absolute, Links::Followed)
            .unwrap()
            .same_as(&open_identity(Path::new(&absolute)))
    );
    assert_eq!(
        found("in/leaves", Links::LastMeant).unwrap().kind(),
        libc::S_IFLNK
    );
    for (path, errno) in [
        ("in/absent", Errno::ENOENT),
        ("in/loop", Errno::ELOOP),
        ("in/file/", Errno::ENOTDIR),
        ("in/file/..", Errno::ENOTDIR),
        ("in/leaves/", Errno::ENOTDIR),
    ] {
        assert_eq!(
            found(path, Links::Followed),
            Err(Stopped::Failed(errno)),
            "{path}"
        );
    }
    for path in ["in/leaves", "out/enters", "in/loop", "in/magic/etc"] {
        assert_eq!(
            found(path, Links::Refused),
            Err(Stopped::Failed(Errno::ELOOP)),
            "{path}"
        );
    }
    assert!(found("in/sub/deep", Links::Refused).is_ok());
    let long = format!("{}in", "./".repeat(2048));
    for (path, errno) in [("", Errno::ENOENT), (&*long, Errno::ENAMETOOLONG)] {
        assert_eq!(found(path, Links::Followed), Err(Stopped::Failed(errno)));
    }
    for path in [
        "in/magic",
        "/proc/self/root/etc",
        "/proc/self/fd/0",
        "/proc/self/cwd",
    ] {
        assert_eq!(
            found(path, Links::Followed),
            Err(Stopped::ProcLink),
            "{path}"
        );
    }
}

#[test]
fn links_of_strangers_in_shared_directories_are_not_followed() {
    let tree = tree();
    let shared = tree.path.join("in/shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    for name in ["own", "strange"] {
        symlink("../file", shared.join(name)).unwrap();
    }
    let strange = std::os::unix::fs::lchown(shared.join("strange"), Some(65_533), None);
    let found = |path: &str| {
        let base = crate::sys::files::open_path(&tree.path).unwrap();
        open_from(base, path.as_bytes(), Links::Followed).map(drop)
    };
    assert_eq!(found("in/shared/own"), Ok(()));
    // Only the superuser can make a stranger's link.
    if strange.is_err() {
        return;
    }
    // The owner of the directory is this process as well, but the link is neither's.
    let refused = Err(Stopped::Failed(Errno::EACCES));
    assert_eq!(found("in/shared/strange"), refused);
    assert_eq!(found("in/shared/strange/"), refused);
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(found("in/shared/strange"), Ok(()));
}

#[test]
fn descriptors_are_judged_by_how_they_were_opened() {
    let tree = tree();
    let writable = fs::OpenOptions::new()
        .append(true)
        .open(tree.path.join("out/file"))
        .unwrap();
    let readable = fs::File::open(tree.path.join("out/file")).unwrap();
    let inside = fs::File::open(tree.path.join("in/file")).unwrap();
    let granted = fs::File::open(tree.path.join("in/sub")).unwrap();
    let only_path = crate::sys::files::open_path(&tree.path.join("in/file")).unwrap();
    // Through `/proc`, as where descriptors cannot be taken.
    let caller = Pretended {
        descriptors: false,
        ..Pretended::new()
    };
    let fchmod = |fd: i32| {
        let fd = u64::from(fd.cast_unsigned());
        perform(
            &call("fchmod", [fd, 0o700, 0, 0, 0, 0]),
            &caller,
            &tree.roots,
        )
    };
    assert!(is_denied(&fchmod(readable.as_raw_fd())));
    assert_eq!(tree.mode("out/file"), 0o644);
    assert_eq!(fchmod(writable.as_raw_fd()), Outcome::Done(0));
    assert_eq!(tree.mode("out/file"), 0o700);
    assert_eq!(fchmod(inside.as_raw_fd()), Outcome::Done(0));
    assert_eq!(tree.mode("in/file"), 0o700);
    assert_eq!(fchmod(granted.as_raw_fd()), Outcome::Done(0));
    assert_eq!(tree.mode("in/sub"), 0o700);
    assert_eq!(fchmod(only_path.as_raw_fd()), Outcome::Failed(Errno::EBADF));
    assert_eq!(fchmod(-1), Outcome::Failed(Errno::EBADF));
    assert_eq!(fchmod(987_654), Outcome::Failed(Errno::EBADF));
    fs::remove_file(tree.path.join("out/file")).unwrap();
    assert_eq!(fchmod(readable.as_raw_fd()), Outcome::Done(0));
    let thread = caller.pid();
    let taken = take_by_name(thread, readable.as_raw_fd()).unwrap();
    assert_eq!(taken.identity.links, 0);
}

#[test]
fn a_path_to_a_descriptor_is_the_descriptor() {
    let tree = tree();
    let readable = fs::File::open(tree.path.join("out/file")).unwrap();
    let directory = fs::File::open(tree.path.join("in")).unwrap();
    for form in ["/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/"] {
        let outcome = tree.chmod(&format!("{form}{}", readable.as_raw_fd()));
        assert!(is_denied(&outcome), "{form}: {outcome:?}");
        let below = format!("{form}{}/file", directory.as_raw_fd());
        assert_eq!(tree.chmod(&below), Outcome::Done(0), "{form}");
    }
    let other = tree.chmod("/proc/1/fd/0");
    assert!(
        matches!(
            &other,
            Outcome::Denied { .. } | Outcome::Failed(Errno::EACCES)
        ),
        "{other:?}"
    );
    // The link itself.
    let caller = Pretended::new().text(8, &format!("/proc/self/fd/{}", readable.as_raw_fd()));
    let link = perform(
        &call("lchown", [8, u64::MAX, u64::MAX, 0, 0, 0]),
        &caller,
        &tree.roots,
    );
    assert!(is_denied(&link), "{link:?}");
    assert_eq!(tree.mode("out/file"), 0o644);
}

#[test]
fn directories_are_walked_up_to_the_root() {
    let tree = tree();
    let deep = crate::sys::files::open_path(&tree.path.join("in/sub")).unwrap();
    let seen: Vec<Identity> = Upward::from(deep).map(Result::unwrap).collect();
    assert!(seen[0].same_as(&open_identity(&tree.path.join("in/sub"))));
    assert!(seen[1].same_as(&open_identity(&tree.path.join("in"))));
    assert!(seen[2].same_as(&open_identity(&tree.path)));
    assert!(seen.last().unwrap().same_as(&open_identity(Path::new("/"))));
    assert_eq!(seen.len(), tree.path.components().count() + 2);
}

#[test]
fn an_empty_path_means_the_descriptor_only_when_asked() {
    let tree = tree();
    let directory = crate::sys::files::open_path(&tree.path.join("in")).unwrap();
    let fd = directory.as_raw_fd();
    let caller = Pretended {
        descriptors: false,
        ..Pretended::new()
    }
    .text(8, "");
    let found = |empty| {
        let place = Place::Path {
            directory: fd,
            pointer: 8,
            follow: true,
            empty,
        };
        resolve(&place, &caller).map(|object| object.identity.inode)
    };
    assert_eq!(found(true), Ok(open_identity(&tree.path.join("in")).inode));
    assert_eq!(found(false), Err(Stop::Failed(Errno::ENOENT)));
}

#[test]
fn times_owners_and_attributes_are_set_as_asked() {
    let tree = tree();
    let here = |name: &'static str, arguments: [u64; 6], inside: &str| {
        let times: Vec<u8> = [1_i64, 2_000_000, 3, 4]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let caller = Pretended::new()
            .text(8, &tree.text(inside))
            .text(16, "user.stockade")
            .with(24, b"value")
            .with(32, &times);
        perform(&call(name, arguments), &caller, &tree.roots)
    };
    let here_at = u64::from(libc::AT_FDCWD.cast_unsigned());
    let set_times = [here_at, 8, 32, 0, 0, 0];
    assert_eq!(here("utimensat", set_times, "in/file"), Outcome::Done(0));
    let found = fs::metadata(tree.path.join("in/file")).unwrap();
    assert_eq!((found.atime(), found.atime_nsec()), (1, 2_000_000));
    assert_eq!((found.mtime(), found.mtime_nsec()), (3, 4));
    assert!(is_denied(&here("utimensat", set_times, "out/file")));
    let outside = fs::metadata(tree.path.join("out/file")).unwrap();
    assert!(outside.mtime() > 3);
    // Of a link, the link's own times.
    let nofollow = [here_at, 8, 32, 0x100, 0, 0];
    assert_eq!(here("utimensat", nofollow, "in/leaves"), Outcome::Done(0));
    let link = fs::symlink_metadata(tree.path.join("in/leaves")).unwrap();
    assert_eq!(link.mtime(), 3);

    let own = [8, found.uid().into(), found.gid().into(), 0, 0, 0];
    assert_eq!(here("chown", own, "in/file"), Outcome::Done(0));
    assert!(is_denied(&here("chown", own, "out/file")));
    assert!(is_denied(&here("lchown", own, "out/enters")));

    let attribute = [8, 16, 24, 5, 0, 0];
    match here("setxattr", attribute, "in/file") {
        Outcome::Failed(Errno::EOPNOTSUPP) => {}
        outcome => {
            assert_eq!(outcome, Outcome::Done(0));
            assert_eq!(here("removexattr", attribute, "in/file"), Outcome::Done(0));
            let again = here("removexattr", attribute, "in/file");
            assert_eq!(again, Outcome::Failed(Errno::ENODATA));
        }
    }
    assert!(is_denied(&here("setxattr", attribute, "out/file")));
    assert!(is_denied(&here("removexattr", attribute, "out/file")));
}
