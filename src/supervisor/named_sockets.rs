// SPDX-License-Identifier: MIT
//! The `unix:` rules: which socket files they name.
//!
//! A rule's path is followed through its links once, before the target runs. From then on it is
//! looked at without links, so that a link the target may change leads nowhere new, while a server
//! may start late or again. A denial is looked at both ways.
//!
//! Sockets of name services are no business of path grants: names that are looked up there would
//! be hidden from the rules for hosts. A `unix:` rule still opens them.
//!
//! Invariant: files are compared by device and inode; a denial wins.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};

use super::errno_of;
use crate::plan::{NetRule, NetRules};
use crate::policy::{Host, Origin};
use crate::sys::attributes::{Identity, descriptor_name, identity};
use crate::sys::files;
use crate::sys::resolve::open_without_links;

/// Where name services listen: nscd, systemd-resolved, Avahi.
const NAME_SERVICES: [&str; 4] = [
    "/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
    "/run/avahi-daemon/socket",
];

/// The `unix:` rules of one run.
#[derive(Debug, Default)]
pub(super) struct NamedSockets {
    allow: Vec<Named>,
    deny: Vec<Named>,
}

/// One rule.
#[derive(Debug)]
struct Named {
    /// As it was given.
    path: PathBuf,
    /// Without the links there were at the start.
    real: PathBuf,
    origin: Origin,
}

/// What the rules say about a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// This one denies it.
    Denied(&'a Origin),
    /// One grants it.
    Granted,
    /// None is about it.
    Unnamed,
}

/// A file that is there, or a name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// This file.
    File(&'a Identity),
    /// The file to be made in a directory.
    New(&'a Identity, &'a OsStr),
}

impl NamedSockets {
    /// Follows the links of all rules.
    pub(super) fn new(rules: &NetRules) -> Self {
        let named = |rules: &[NetRule]| rules.iter().filter_map(Named::new).collect();
        Self {
            allow: named(&rules.allow),
            deny: named(&rules.deny),
        }
    }

    /// Whether some rule denies a socket.
    pub(super) fn deny_some(&self) -> bool {
        !self.deny.is_empty()
    }

    /// What the rules say.
    pub(super) fn answer(&self, asked: Asked<'_>) -> Answer<'_> {
        let denial = self.deny.iter().find(|rule| {
            is(&rule.real, asked, open_without_links) || is(&rule.path, asked, follow)
        });
        if let Some(rule) = denial {
            return Answer::Denied(&rule.origin);
        }
        if self
            .allow
            .iter()
            .any(|rule| is(&rule.real, asked, open_without_links))
        {
            return Answer::Granted;
        }
        Answer::Unnamed
    }
}

/// Whether a file is one that names are looked up at.
pub(super) fn is_name_service(file: &Identity) -> bool {
    NAME_SERVICES
        .iter()
        .any(|path| is(Path::new(path), Asked::File(file), follow))
}

impl Named {
    fn new(rule: &NetRule) -> Option<Self> {
        let Host::Unix(path) = &rule.host else {
            return None;
        };
        Some(Self {
            path: path.clone(),
            real: without_links(path),
            origin: rule.origin.clone(),
        })
    }
}

/// The path with the links followed in the part of it that exists.
fn without_links(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for existing in path.ancestors() {
        if let Ok(mut real) = follow(existing).and_then(|file| real_path(&file)) {
            real.extend(missing.iter().rev());
            return real;
        }
        missing.extend(existing.file_name());
    }
    path.to_path_buf()
}

/// The kernel's name of what was opened.
fn real_path(file: &OwnedFd) -> Result<PathBuf, Errno> {
    readlinkat(AT_FDCWD, descriptor_name(file.as_fd()).as_c_str()).map(PathBuf::from)
}

type Opener = fn(&Path) -> Result<OwnedFd, Errno>;

fn follow(path: &Path) -> Result<OwnedFd, Errno> {
    files::open_path(path).map_err(|error| errno_of(&error))
}

fn is(rule: &Path, asked: Asked<'_>, open: Opener) -> bool {
    let (path, wanted) = match asked {
        Asked::File(wanted) => (Some(rule), wanted),
        Asked::New(directory, name) if rule.file_name() == Some(name) => (rule.parent(), directory),
        Asked::New(..) => return false,
    };
    path.and_then(|path| open(path).ok())
        .and_then(|file| identity(file.as_fd()).ok())
        .is_some_and(|found| found.same_as(wanted))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::plan::Verify;

    fn rule(path: &Path) -> NetRule {
        NetRule {
            host: Host::Unix(path.to_path_buf()),
            port: None,
            verify: Verify::ByPort,
            origin: Origin::flag("--allow-net", None),
        }
    }

    fn of(path: &Path) -> Identity {
        identity(files::open_path(path).unwrap().as_fd()).unwrap()
    }

    #[test]
    fn a_rule_is_the_file_its_links_led_to_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["good", "evil"] {
            std::fs::write(path(name), "").unwrap();
        }
        symlink("good", path("link")).unwrap();
        let rules = NetRules {
            allow: vec![rule(&path("link"))],
            ..NetRules::default()
        };
        let named = NamedSockets::new(&rules);
        let (good, evil) = (of(&path("good")), of(&path("evil")));
        assert_eq!(named.answer(Asked::File(&good)), Answer::Granted);
        assert_eq!(named.answer(Asked::File(&evil)), Answer::Unnamed);
        std::fs::remove_file(path("link")).unwrap();
        symlink("evil", path("link")).unwrap();
        assert_eq!(named.answer(Asked::File(&evil)), Answer::Unnamed);
        std::fs::rename(path("good"), path("old")).unwrap();
        symlink("evil", path("good")).unwrap();
        assert_eq!(named.answer(Asked::File(&evil)), Answer::Unnamed);
        assert_eq!(named.answer(Asked::File(&good)), Answer::Unnamed);
        std::fs::rename(path("old"), path("good")).unwrap();
        assert_eq!(named.answer(Asked::File(&good)), Answer::Granted);
    }

    #[test]
    fn a_rule_for_what_does_not_exist_yet_names_it_in_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("real")).unwrap();
        symlink("real", path("link")).unwrap();
        let rules = NetRules {
            allow: vec![rule(&path("link/new"))],
            ..NetRules::default()
        };
        let named = NamedSockets::new(&rules);
        let (inside, outside) = (of(&path("real")), of(directory.path()));
        let asked =
            |directory, name: &'static str| named.answer(Asked::New(directory, OsStr::new(name)));
        assert_eq!(asked(&inside, "new"), Answer::Granted);
        assert_eq!(asked(&inside, "other"), Answer::Unnamed);
        assert_eq!(asked(&outside, "new"), Answer::Unnamed);
        std::fs::write(path("real/new"), "").unwrap();
        let made = of(&path("real/new"));
        assert_eq!(named.answer(Asked::File(&made)), Answer::Granted);
    }

    #[test]
    fn a_denial_wins_by_either_look() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), "").unwrap();
        }
        symlink("a", path("link")).unwrap();
        let rules = NetRules {
            allow: vec![rule(&path("a")), rule(&path("b"))],
            deny: vec![rule(&path("link"))],
            ..NetRules::default()
        };
        let named = NamedSockets::new(&rules);
        let denied = |name: &str| {
            matches!(
                named.answer(Asked::File(&of(&path(name)))),
                Answer::Denied(_)
            )
        };
        assert!(denied("a"));
        assert!(!denied("b"));
        std::fs::remove_file(path("link")).unwrap();
        symlink("b", path("link")).unwrap();
        assert!(denied("a"));
        assert!(denied("b"));
    }

    #[test]
    fn no_file_is_a_name_service_by_its_name_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        std::fs::write(&path, "").unwrap();
        assert!(!is_name_service(&of(&path)));
        for service in NAME_SERVICES.map(Path::new) {
            if let Ok(file) = files::open_path(service) {
                assert!(is_name_service(&identity(file.as_fd()).unwrap()));
            }
        }
    }
}
