// SPDX-License-Identifier: MIT
//! A host whose paths are opened once, and stay open until the rules for them are added.
//!
//! Invariant: an answer is kept only when the path could be opened; one that was missing may be
//! created before it is asked for again. A descriptor is the one the answer was read from.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::{FileKind, Host, Inspected, KernelFacts, ListedEntry};
use crate::sys::files;
use crate::sys::limits::{self, MoreOpenFiles};

/// Descriptors left to everything else.
const RESERVE: u64 = 256;

/// More paths than this are opened again when their rules are added.
const LIMIT: u64 = 32_768;

#[derive(Debug)]
struct Found {
    inspected: Inspected,
    opened: Option<OwnedFd>,
}

/// What a [`Remembered`] host has opened.
#[derive(Debug, Default)]
pub struct Opened {
    // By the bytes of the path: a path's own hash takes it apart name by name. In the order they were
    // looked at, which is the one they are asked for again in.
    found: IndexMap<OsString, Found>,
    /// Dropped after the descriptors are closed: the limit is lowered then.
    more: Option<MoreOpenFiles>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let opened = self.found.values_mut();
        files::close_all(opened.filter_map(|found| found.opened.take()).collect());
    }
}

impl Opened {
    /// What is open under a path without links, when it is of this kind.
    pub fn descriptor(&self, path: &Path, kind: FileKind) -> Option<BorrowedFd<'_>> {
        let found = self.found.get(path.as_os_str())?;
        let same = found.inspected.kind == kind
            && found.inspected.real_path.as_os_str() == path.as_os_str();
        found.opened.as_ref().filter(|_| same).map(AsFd::as_fd)
    }
}

/// Judges every path by one look at it: the read rules that a program's imports are judged by, the
/// Plan and the kernel's rules are then about the very same files, and ten thousand grants cost one
/// look each.
#[derive(Debug)]
pub struct Remembered<'a, H> {
    host: &'a H,
    opened: RefCell<Opened>,
    /// How many descriptors may still be kept.
    room: Cell<u64>,
}

impl<'a, H: Host> Remembered<'a, H> {
    /// Nothing is remembered yet; room for `expected` paths is made.
    pub fn new(host: &'a H, expected: usize) -> Self {
        let opened = Opened {
            found: IndexMap::with_capacity(expected + 32),
            more: None,
        };
        Self {
            host,
            opened: RefCell::new(opened),
            room: Cell::new(limits::open_files().saturating_sub(RESERVE).min(LIMIT)),
        }
    }

    /// What was opened, for the rules of the Plan.
    pub fn into_opened(self) -> Opened {
        self.opened.into_inner()
    }

    /// Whether one more descriptor may be kept.
    fn take_room(&self, opened: &mut Opened) -> bool {
        if self.room.get() == 0
            && opened.more.is_none()
            && let Some((more, limit)) = MoreOpenFiles::raise(LIMIT + RESERVE)
        {
            opened.more = Some(more);
            let kept = u64::try_from(opened.found.len()).unwrap_or(u64::MAX);
            self.room
                .set(limit.saturating_sub(RESERVE).saturating_sub(kept));
        }
        let room = self.room.get();
        self.room.set(room.saturating_sub(1));
        room > 0
    }
}

impl<H: Host> Host for Remembered<'_, H> {
    fn current_directory(&self) -> &Path {
        self.host.current_directory()
    }

    fn environment(&self) -> &[(OsString, OsString)] {
        self.host.environment()
    }

    fn user(&self) -> u32 {
        self.host.user()
    }

    fn inspect(&self, path: &Path) -> io::Result<Inspected> {
        if let Some(found) = self.opened.borrow().found.get(path.as_os_str()) {
            return Ok(found.inspected.clone());
        }
        let (inspected, descriptor) = self.host.open(path)?;
        let mut opened = self.opened.borrow_mut();
        let found = Found {
            inspected: inspected.clone(),
            opened: descriptor.filter(|_| self.take_room(&mut opened)),
        };
        opened.found.insert(path.as_os_str().to_owned(), found);
        Ok(inspected)
    }

    fn exists(&self, path: &Path) -> bool {
        let known = self.opened.borrow().found.contains_key(path.as_os_str());
        known || self.host.exists(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.host.read_link(path)
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<ListedEntry>> {
        self.host.list_directory(path)
    }

    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.host.read_file(path, limit)
    }

    fn kernel(&self) -> &KernelFacts {
        self.host.kernel()
    }

    fn takes_descriptors(&self) -> bool {
        self.host.takes_descriptors()
    }

    fn judged(&self) -> Option<&OsStr> {
        self.host.judged()
    }

    fn terminals(&self) -> (bool, bool) {
        self.host.terminals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn what_was_found_stays_and_what_was_missing_is_looked_for_again() {
        let path = Path::new("/w/file");
        let host = FakeHost::new()
            .with_file("/w/file", "x")
            .with_link("/w/link", "/w/file");
        let remembered = Remembered::new(&host, 0);
        let first = remembered.inspect(path).unwrap();
        assert_eq!(remembered.inspect(path).unwrap(), first);
        assert!(remembered.inspect(Path::new("/w/other")).is_err());
        assert_eq!(remembered.opened.borrow().found.len(), 1);
        // Nothing is open on a machine that is not there.
        assert!(
            remembered
                .into_opened()
                .descriptor(path, FileKind::File)
                .is_none()
        );
    }

    #[test]
    fn a_descriptor_is_given_for_the_path_and_kind_it_was_opened_as() {
        let inspected = |path: &str| Found {
            inspected: Inspected {
                real_path: "/w/file".into(),
                ..FakeHost::new()
                    .with_file(path, "x")
                    .inspect(Path::new(path))
                    .unwrap()
            },
            opened: Some(tempfile::tempfile().unwrap().into()),
        };
        let opened = Opened {
            found: ["/w/file", "/w/link"]
                .map(|path| (path.into(), inspected(path)))
                .into(),
            more: None,
        };
        let known = |path: &str, kind| opened.descriptor(Path::new(path), kind).is_some();
        assert!(known("/w/file", FileKind::File));
        assert!(!known("/w/file", FileKind::Directory));
        assert!(!known("/w/link", FileKind::File));
        assert!(!known("/w/other", FileKind::File));
    }
}
