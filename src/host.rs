// SPDX-License-Identifier: MIT
//! The machine as the planner sees it: paths, the environment, kernel facts.
//!
//! Invariant: everything the Plan depends on comes through [`Host`], so a Plan can be built for
//! any machine by a fake one, and nothing here changes the machine.
#![forbid(unsafe_code)]

pub mod control_groups;
pub mod doctor;
#[cfg(test)]
pub(crate) mod fake;
pub mod leads;
mod real;
mod remembered;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use real::{HostError, JUDGED, LANDLOCK_CAP, RealHost, SOCKET_ROUTE};
pub use remembered::{Opened, Remembered};

/// The identity of one version of one file: it changes when the content is replaced or rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub modified_ns: i128,
    /// Status change time, nanoseconds since the epoch.
    pub changed_ns: i128,
}

/// What kind of file an opened path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (only seen when listing, or when links are not followed).
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
    /// A named pipe.
    Pipe,
}

/// What was found when a path was opened (links followed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The path of what was opened, without links, `.` or `..`.
    pub real_path: PathBuf,
    /// Its kind.
    pub kind: FileKind,
    /// Its identity and version.
    pub stamp: FileStamp,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedEntry {
    /// The name.
    pub name: OsString,
    /// Its own kind; links are not followed.
    pub kind: FileKind,
}

/// What this kernel offers; probed once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// The Landlock ABI that was probed to really work (a kernel that claims an ABI and answers
    /// EINVAL is stepped down); 0 when there is none.
    pub landlock_abi: u8,
    /// What the kernel said itself, before stepping down and before any cap by the user.
    pub landlock_claimed_abi: u8,
    /// Why Landlock is missing, when it is.
    pub landlock_missing: Option<LandlockMissing>,
    /// Whether seccomp filters can be installed.
    pub seccomp_filter: bool,
}

/// Why there is no Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LandlockMissing {
    /// ENOSYS: not built into the kernel, or filtered by an outer sandbox.
    NotBuilt,
    /// EOPNOTSUPP: built, but not in the `lsm=` list.
    Disabled,
    /// The probe failed in another way (an outer seccomp filter answering EPERM).
    Refused,
    /// The probe had no file descriptor left (EMFILE, ENFILE).
    NoDescriptors,
}

/// The machine, as facts. Paths given to it are absolute.
pub trait Host {
    /// The directory of the run.
    fn current_directory(&self) -> &Path;
    /// The environment Stockade was started with, in its order.
    fn environment(&self) -> &[(OsString, OsString)];
    /// Effective user identifier.
    fn user(&self) -> u32;
    /// Stockade's own process.
    fn process(&self) -> u32 {
        std::process::id()
    }
    /// Opens `path` following links, and says what was opened.
    ///
    /// # Errors
    /// Whatever the kernel answers to `open(O_PATH)` or `fstat`.
    fn inspect(&self, path: &Path) -> io::Result<Inspected>;
    /// Whether something is there, through links; all that some callers want to know.
    fn exists(&self, path: &Path) -> bool {
        self.inspect(path).is_ok()
    }
    /// What a symbolic link says.
    ///
    /// # Errors
    /// Whatever readlink(2) answers; [`io::ErrorKind::InvalidInput`] for what is no link.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// As [`Self::inspect`], with what was opened (`O_PATH`) on a machine that is there.
    ///
    /// # Errors
    /// As [`Self::inspect`].
    fn open(&self, path: &Path) -> io::Result<(Inspected, Option<OwnedFd>)> {
        self.inspect(path).map(|found| (found, None))
    }
    /// The names of a directory, sorted by bytes.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    fn list_directory(&self, path: &Path) -> io::Result<Vec<ListedEntry>>;
    /// At most the first `limit` bytes of a file.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// What the kernel offers.
    fn kernel(&self) -> &KernelFacts;
    /// Whether a supervisor may take its target's descriptors (pidfd_getfd(2)); Docker's default
    /// profile forbids it. Not one of the facts above: only runs with a supervisor ask.
    fn takes_descriptors(&self) -> bool;
    /// What [`JUDGED`] says, which nobody else sees in the environment.
    fn judged(&self) -> Option<&OsStr> {
        None
    }
    /// Whether standard output and standard error are terminals, in this order.
    fn terminals(&self) -> (bool, bool);

    /// The value of one environment variable.
    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment()
            .iter()
            .find(|(key, _)| key.as_os_str() == OsStr::new(name))
            .map(|(_, value)| value.as_os_str())
    }
}
