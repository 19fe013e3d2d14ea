// SPDX-License-Identifier: MIT
//! From what a caller names to the object itself, opened without any right to its content, and to
//! the directories above it.
//!
//! Invariant: a path is looked up once, from the caller's own root, directory and descriptors;
//! magic links of `/proc` are never followed, because here they mean the supervisor's or another
//! process's files.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::Caller;
use super::names::{Own, named_own};
use crate::sys::attributes::{Identity, identity};
use crate::sys::resolve::{self, DIRECTORY, Links, Stopped, Walked, on_proc};

/// Linux reports it in `/proc/PID/fdinfo` with this number on both machines.
const O_PATH: i32 = libc::O_PATH;

const FOUND: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
const ITSELF: OFlag = FOUND.union(OFlag::O_NOFOLLOW);

/// Why what a caller names is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Unfound {
    /// The kernel would not have opened it for the caller, or it could not be judged.
    Failed(Errno),
    /// It is not looked up, for this reason.
    Refused(&'static str),
}

impl From<Errno> for Unfound {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

impl From<Stopped> for Unfound {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(errno) => Self::Failed(errno),
            Stopped::ProcLink => PROC_LINK,
        }
    }
}

const PROC_LINK: Unfound =
    Unfound::Refused("links of /proc to open files and directories are not followed");

/// What a call is about.
#[derive(Debug)]
pub(in crate::supervisor) struct Object {
    /// It, opened; the caller's own open file when the call names a descriptor.
    pub(in crate::supervisor) descriptor: OwnedFd,
    /// Its identity.
    pub(in crate::supervisor) identity: Identity,
    /// Whether it lies on procfs, whose files are those of processes.
    pub(in crate::supervisor) on_proc: bool,
    /// The status flags of the caller's descriptor, when the call names one.
    pub(in crate::supervisor) flags: Option<i32>,
}

impl Object {
    /// An object that is open already.
    pub(in crate::supervisor) fn new(
        descriptor: OwnedFd,
        flags: Option<i32>,
    ) -> Result<Self, Errno> {
        Ok(Self {
            identity: identity(descriptor.as_fd())?,
            on_proc: on_proc(descriptor.as_fd())?,
            descriptor,
            flags,
        })
    }
}

/// Opens what a path of the caller names; relative ones start at its descriptor `directory`, or at
/// its working directory for `AT_FDCWD`.
///
/// # Errors
/// What the kernel answers to such a path or descriptor; a refusal for links of procfs and for a
/// caller with another root.
pub(in crate::supervisor) fn open_path(
    path: &[u8],
    directory: i32,
    links: Links,
    caller: &dyn Caller,
) -> Result<Object, Unfound> {
    match start(path, directory, links, caller)? {
        Start::Descriptor(object) => Ok(object),
        Start::Walk(base, rest) => {
            same_root(caller)?;
            Ok(Object::new(resolve::open_from(base, rest, links)?, None)?)
        }
    }
}

/// What a path of a caller leads to.
#[derive(Debug)]
pub(in crate::supervisor) enum Located {
    /// A descriptor of the caller, which the path names.
    Descriptor(Object),
    /// A path that was walked up to its last name.
    Walked(Walked),
}

/// Walks a path of the caller up to its last name, which need not exist; slashes at its end are
/// left out.
///
/// # Errors
/// As [`open_path`].
pub(in crate::supervisor) fn locate(
    path: &[u8],
    directory: i32,
    links: Links,
    caller: &dyn Caller,
) -> Result<Located, Unfound> {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    let path = &path[..path.len() - slashes.min(path.len().saturating_sub(1))];
    match start(path, directory, links, caller)? {
        Start::Descriptor(object) => Ok(Located::Descriptor(object)),
        Start::Walk(base, rest) => {
            same_root(caller)?;
            Ok(Located::Walked(resolve::walk(base, rest, links)?))
        }
    }
}

/// Where the walk along a path starts.
enum Start<'a> {
    /// Nothing is walked: a descriptor of the caller is named.
    Descriptor(Object),
    /// From here, along this.
    Walk(OwnedFd, &'a [u8]),
}

fn start<'a>(
    path: &'a [u8],
    directory: i32,
    links: Links,
    caller: &dyn Caller,
) -> Result<Start<'a>, Unfound> {
    let thread = caller.pid();
    let own = |number| number == thread || Some(number) == process_of(thread);
    let base = match named_own(path, &own) {
        Some(named) => {
            let rest = match named.rest {
                // The link below `/proc` itself is meant.
                None if links != Links::Followed => return Err(PROC_LINK),
                None | Some(b"") => b".",
                Some(rest) => rest,
            };
            return Ok(match (named.to, named.rest) {
                (Own::Descriptor(fd), None) => Start::Descriptor(take(caller, fd)?),
                (Own::Descriptor(fd), Some(_)) => Start::Walk(take(caller, fd)?.descriptor, rest),
                (Own::Directory, _) => Start::Walk(working_directory(caller)?, rest),
            });
        }
        None if path.starts_with(b"/") => resolve::root()?,
        None if directory == AT_FDCWD_NUMBER => working_directory(caller)?,
        None => take(caller, directory)?.descriptor,
    };
    Ok(Start::Walk(base, path))
}

/// What `AT_FDCWD` is in a register.
pub(in crate::supervisor) const AT_FDCWD_NUMBER: i32 = libc::AT_FDCWD;

fn same_root(caller: &dyn Caller) -> Result<(), Unfound> {
    // Absolute paths, also those in links, start at this process's root.
    let theirs = open(
        format!("/proc/{}/root", caller.pid()).as_str(),
        DIRECTORY,
        Mode::empty(),
    )?;
    let ours = resolve::root()?;
    if !identity(theirs.as_fd())?.same_as(&identity(ours.as_fd())?) {
        return Err(Unfound::Refused("the caller has another root directory"));
    }
    Ok(())
}

/// The caller's working directory.
///
/// # Errors
/// What the kernel answers.
pub(in crate::supervisor) fn working_directory(caller: &dyn Caller) -> Result<OwnedFd, Errno> {
    open(
        format!("/proc/{}/cwd", caller.pid()).as_str(),
        DIRECTORY,
        Mode::empty(),
    )
}

/// The process of a thread (proc_pid_status(5)).
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// What a descriptor of the caller has open.
///
/// # Errors
/// EBADF.
pub(in crate::supervisor) fn take(caller: &dyn Caller, fd: i32) -> Result<Object, Unfound> {
    if fd < 0 {
        return Err(Errno::EBADF.into());
    }
    match caller.descriptor(fd) {
        Ok(descriptor) => {
            let flags = fcntl(&descriptor, FcntlArg::F_GETFL)?;
            Ok(Object::new(descriptor, Some(flags))?)
        }
        Err(Errno::EPERM | Errno::ENOSYS) => Ok(take_by_name(caller.pid(), fd)?),
        Err(errno) => Err(errno.into()),
    }
}

/// The same where pidfd_getfd is refused. The object is opened first, and its flags count only
/// when the one look at them shows the same inode on the same mount: a descriptor replaced in
/// between lends nothing.
pub(in crate::supervisor) fn take_by_name(thread: i32, fd: i32) -> Result<Object, Errno> {
    let path = format!("/proc/{thread}/fd/{fd}");
    let descriptor = match open(path.as_str(), FOUND, Mode::empty()) {
        Err(Errno::ENOENT) => return Err(Errno::EBADF),
        result => result?,
    };
    let mut object = Object::new(descriptor, None)?;
    let Ok(text) = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}")) else {
        return Err(Errno::EBADF);
    };
    object.flags = Some(described_flags(&text, &object.identity));
    Ok(object)
}

/// The flags of a descriptor by its description in `/proc/PID/fdinfo` (proc_pid_fdinfo(5)), when
/// that is of this very object; else those that allow nothing. The inode is told since Linux 5.14.
pub(in crate::supervisor) fn described_flags(text: &str, identity: &Identity) -> i32 {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let same = field("ino").and_then(|text| text.parse().ok()) == Some(identity.inode)
        && identity.mount.is_some()
        && field("mnt_id").and_then(|text| text.parse().ok()) == identity.mount;
    match field("flags").and_then(|text| i32::from_str_radix(text, 8).ok()) {
        Some(flags) if same => flags,
        Some(flags) if flags & O_PATH == 0 => libc::O_RDONLY,
        _ => O_PATH,
    }
}

/// Where looking at an object's surroundings starts: its parent directory.
///
/// A directory knows its parent. A file does not: the kernel's name for it is a hint where to look,
/// and what lies there must be the very same inode, so that a stale or forged name finds nothing.
///
/// # Errors
/// ESTALE when it was moved again and again meanwhile or has no name; else what the kernel answers.
pub(in crate::supervisor) fn parent_of(object: &Object) -> Result<OwnedFd, Errno> {
    if object.identity.kind() == libc::S_IFDIR {
        match openat(&object.descriptor, c"..", DIRECTORY, Mode::empty()) {
            // A directory that may not be searched; its parent may be.
            Err(Errno::EACCES) => {}
            result => return result,
        }
    }
    for _ in 0..ATTEMPTS {
        let name = name_of(object)?;
        let bytes = name.as_bytes();
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'/') else {
            return Err(Errno::ESTALE);
        };
        let (before, last) = (&bytes[..=end], &bytes[end + 1..]);
        if before.first() != Some(&b'/') || last.is_empty() {
            return Err(Errno::ESTALE);
        }
        let found = open(before, DIRECTORY, Mode::empty()).and_then(|parent| {
            let child = openat(&parent, last, ITSELF, Mode::empty())?;
            Ok((parent, identity(child.as_fd())?))
        });
        if let Ok((parent, child)) = found
            && child.same_as(&object.identity)
        {
            return Ok(parent);
        }
    }
    Err(Errno::ESTALE)
}

/// Whether a directory has an entry of this name.
pub(in crate::supervisor) fn is_there(directory: &Object, name: &std::ffi::OsStr) -> bool {
    openat(&directory.descriptor, name, ITSELF, Mode::empty()).is_ok()
}

/// A name can change between two looks only so often before that is meant.
const ATTEMPTS: usize = 4;

/// The kernel's name of what is open.
///
/// # Errors
/// ENAMETOOLONG for a name longer than a page.
pub(in crate::supervisor) fn name_of(object: &Object) -> Result<OsString, Errno> {
    let name = crate::sys::attributes::descriptor_name(object.descriptor.as_fd());
    readlinkat(AT_FDCWD, name.as_c_str())
}

/// The identities of a directory and of those above it, up to the root.
#[derive(Debug)]
pub(in crate::supervisor) struct Upward {
    next: Option<OwnedFd>,
    left: usize,
}

/// Deeper than any path names; the rest of a deeper tree is outside every grant.
const DEPTH_LIMIT: usize = 4096;

impl Upward {
    /// Begins with this directory itself.
    pub(in crate::supervisor) fn from(directory: OwnedFd) -> Self {
        Self {
            next: Some(directory),
            left: DEPTH_LIMIT,
        }
    }
}

impl Iterator for Upward {
    type Item = Result<Identity, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.next.take()?;
        let here = match identity(current.as_fd()) {
            Ok(here) => here,
            Err(errno) => return Some(Err(errno)),
        };
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            let parent = openat(&current, c"..", DIRECTORY, Mode::empty());
            self.next = match parent {
                // The root is its own parent.
                Ok(parent) => match identity(parent.as_fd()) {
                    Ok(above) if above.same_as(&here) => None,
                    _ => Some(parent),
                },
                // Above a directory that may not be searched nothing is known: judged by what is
                // known so far, which only narrows.
                Err(_) => None,
            };
        }
        Some(Ok(here))
    }
}
