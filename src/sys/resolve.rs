// SPDX-License-Identifier: MIT
//! Opening files for looking at them only, on behalf of somebody else, name by name.
//!
//! openat2(2) with `RESOLVE_NO_MAGICLINKS` would do the same in one call, but its flags lie behind a
//! pointer where the supervisor's own system call filter does not see them: with it that filter
//! could not tell opening for looking from opening for writing.
//!
//! What the kernel does while it walks a path is done here as well: the limits on names and links,
//! `nosymfollow` mounts, and links of strangers in shared sticky directories
//! (`fs.protected_symlinks`), which are refused whatever that setting says.
//!
//! Invariant: everything is opened with `O_PATH`: nothing is read, written, created or waited for;
//! and no link of procfs is followed, since there it means this process or another one.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::geteuid;

use super::done;

/// Links on the way (path_resolution(7)).
const LINK_LIMIT: usize = 40;
/// A path with its NUL.
const PATH_LIMIT: usize = 4096;
/// The flag of statvfs(3) for a mount whose links are not followed (Linux 5.10).
const NO_LINKS: libc::c_ulong = 0x2000;

const FOUND: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
/// Not through a link: that is ENOTDIR.
const SUBDIRECTORY: OFlag = DIRECTORY.union(OFlag::O_NOFOLLOW);
const ITSELF: OFlag = FOUND.union(OFlag::O_NOFOLLOW);
/// How a directory is opened for looking only.
pub const DIRECTORY: OFlag = FOUND.union(OFlag::O_DIRECTORY);

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// What the kernel answered, or would have.
    Failed(Errno),
    /// A link of procfs is on the way.
    ProcLink,
}

impl From<Errno> for Stopped {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// What becomes of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// All are followed.
    Followed,
    /// All but one that is the last name, which is meant itself.
    LastMeant,
    /// None is: ELOOP.
    Refused,
}

/// What a path leads to.
#[derive(Debug)]
pub struct Walked {
    /// The directory of the last name, and that name; none when the path ends in `.` or `..`, or
    /// names the root.
    pub entry: Option<(OwnedFd, OsString)>,
    /// What is there; none when nothing is, which only the last name may be.
    pub found: Option<OwnedFd>,
}

/// Opens what a path names, relative ones from `base`, absolute ones from this process's root.
///
/// # Errors
/// Whatever the kernel answers to such a path; [`Stopped::ProcLink`].
pub fn open_from(base: OwnedFd, path: &[u8], links: Links) -> Result<OwnedFd, Stopped> {
    walk(base, path, links)?
        .found
        .ok_or(Stopped::Failed(Errno::ENOENT))
}

/// Walks a path, relative ones from `base`, absolute ones from this process's root, up to its last
/// name, which need not exist.
///
/// # Errors
/// Whatever the kernel answers to such a path; [`Stopped::ProcLink`].
pub fn walk(base: OwnedFd, path: &[u8], links: Links) -> Result<Walked, Stopped> {
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if path.len() >= PATH_LIMIT {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let mut current = base;
    // Names still to be looked up, the next one last. Bounded: each of at most 40 links adds at
    // most one path.
    let mut pending = Vec::new();
    let mut followed = 0;
    if push(&mut pending, path) {
        current = root()?;
    }
    while let Some(name) = pending.pop() {
        if matches!(name.as_bytes(), b"." | b"..") {
            current = openat(&current, name.as_os_str(), DIRECTORY, Mode::empty())?;
            continue;
        }
        let last = pending.is_empty();
        if !last {
            match openat(&current, name.as_os_str(), SUBDIRECTORY, Mode::empty()) {
                // A link, or no directory.
                Err(Errno::ENOTDIR | Errno::ELOOP) => {}
                result => {
                    current = result?;
                    continue;
                }
            }
        }
        let found = match openat(&current, name.as_os_str(), ITSELF, Mode::empty()) {
            Err(Errno::ENOENT) if last => {
                return Ok(Walked {
                    entry: Some((current, name)),
                    found: None,
                });
            }
            result => result?,
        };
        let status = fstat(&found)?;
        let link = status.st_mode & libc::S_IFMT == libc::S_IFLNK;
        if last && (!link || links == Links::LastMeant) {
            return Ok(Walked {
                entry: Some((current, name)),
                found: Some(found),
            });
        }
        if !link {
            current = found;
            continue;
        }
        if links == Links::Refused {
            return Err(Errno::ELOOP.into());
        }
        followed += 1;
        if followed > LINK_LIMIT {
            return Err(Errno::ELOOP.into());
        }
        // A slash at the end was made a dot.
        if pending.iter().all(|name| name == ".") {
            may_follow(current.as_fd(), &status)?;
        }
        let target = content(found.as_fd())?;
        if push(&mut pending, target.as_bytes()) {
            current = root()?;
        }
    }
    Ok(Walked {
        entry: None,
        found: Some(current),
    })
}

/// The root directory.
///
/// # Errors
/// EMFILE.
pub fn root() -> Result<OwnedFd, Errno> {
    open("/", DIRECTORY, Mode::empty())
}

/// Opens a path of Stockade's own making or a Plan's, without links anywhere.
///
/// # Errors
/// Whatever the kernel answers; ELOOP for a link.
pub fn open_without_links(path: &Path) -> Result<OwnedFd, Errno> {
    if !path.is_absolute() {
        return Err(Errno::ENOENT);
    }
    match open_from(root()?, path.as_os_str().as_bytes(), Links::Refused) {
        Ok(found) => Ok(found),
        Err(Stopped::Failed(errno)) => Err(errno),
        Err(Stopped::ProcLink) => Err(Errno::ELOOP),
    }
}

/// Opens a directory by a path of Stockade's own making, links of procfs followed.
///
/// # Errors
/// Whatever the kernel answers.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, path, DIRECTORY, Mode::empty())
}

/// Where a link leads.
fn content(link: BorrowedFd<'_>) -> Result<OsString, Stopped> {
    // Which links of procfs are magic cannot be told; those that are not lead to files of
    // processes.
    if on_proc(link)? {
        return Err(Stopped::ProcLink);
    }
    if mount_flags(link)? & NO_LINKS != 0 {
        return Err(Errno::ELOOP.into());
    }
    let target = readlinkat(link, c"")?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    Ok(target)
}

/// `may_follow_link` of the kernel's fs/namei.c: in a sticky directory that everybody may write to,
/// links at the end of a path are followed only when they are the follower's or the directory
/// owner's.
fn may_follow(directory: BorrowedFd<'_>, link: &FileStat) -> Result<(), Errno> {
    const SHARED: libc::mode_t = libc::S_ISVTX | libc::S_IWOTH;
    let above = fstat(directory)?;
    if above.st_mode & SHARED != SHARED
        || link.st_uid == geteuid().as_raw()
        || link.st_uid == above.st_uid
    {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// Puts the names of a path before the pending ones; says whether it is absolute. A slash at the
/// end asks for a directory, links followed, which `.` does, too.
fn push(pending: &mut Vec<OsString>, path: &[u8]) -> bool {
    if path.ends_with(b"/") {
        pending.push(OsString::from("."));
    }
    let names = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty());
    pending.extend(names.rev().map(|name| OsString::from_vec(name.to_vec())));
    path.starts_with(b"/")
}

/// Whether a file lies on procfs.
///
/// # Errors
/// Whatever fstatfs(2) answers.
pub fn on_proc(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fstatfs(file)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The flags of the mount a file was reached through; nix knows only some of them.
fn mount_flags(file: BorrowedFd<'_>) -> Result<libc::c_ulong, Errno> {
    // SAFETY: `statvfs` is a structure of numbers, for which zeros are valid.
    let mut status: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `status` is valid for writing, and the kernel does not keep it.
    done(unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut status) }.into())?;
    Ok(status.f_flag)
}
