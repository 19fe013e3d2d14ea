// SPDX-License-Identifier: MIT
//! The machine Stockade runs on.
//!
//! Invariant: what can change while Stockade runs (environment, directory) is read once, when the
//! host is made; kernel facts are asked for at their first use.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;

use super::{FileKind, FileStamp, Host, Inspected, KernelFacts, LandlockMissing, ListedEntry};
use crate::sys::{facts, files, landlock, seccomp, target, terminal};

/// The environment variable that lowers the Landlock ABI Stockade uses, to see what an older
/// kernel would hold. It cannot raise it.
pub const LANDLOCK_CAP: &str = "STOCKADE_LANDLOCK_ABI";

/// The environment variable that chooses how the supervisor comes to its target's sockets: by taking
/// them (`getfd`) or by having made them (`inject`). For tests; else what this host allows.
pub const SOCKET_ROUTE: &str = "STOCKADE_SOCKET_ROUTE";

/// The environment variable by which `stockade task` tells what it starts where paths led when they were
/// judged. It cannot grant anything.
pub const JUDGED: &str = "STOCKADE_JUDGED";

/// Why the machine could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The current directory has no path.
    #[error("cannot read the current directory")]
    CurrentDirectoryCall(#[source] io::Error),
    /// The route is none.
    #[error("`{SOCKET_ROUTE}={value}` is no way to a socket")]
    SocketRoute {
        /// As given.
        value: String,
    },
    /// The cap is no number.
    #[error("`{LANDLOCK_CAP}={value}` is not a Landlock ABI")]
    LandlockCap {
        /// As given.
        value: String,
    },
}

impl HostError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CurrentDirectoryCall(_) => {
                "the directory was removed or cannot be reached: change to one that exists".into()
            }
            Self::SocketRoute { .. } => {
                format!("unset {SOCKET_ROUTE}, or give `getfd` or `inject`")
            }
            Self::LandlockCap { .. } => {
                format!(
                    "unset {LANDLOCK_CAP}, or give a number from 0 to {}",
                    landlock::NEWEST_ABI
                )
            }
        })
    }
}

/// The machine Stockade runs on.
#[derive(Debug)]
pub struct RealHost {
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    landlock_cap: Option<u8>,
    takes_descriptors: Option<bool>,
    judged: Option<OsString>,
    kernel: OnceLock<KernelFacts>,
}

impl RealHost {
    /// Reads the environment and the current directory.
    ///
    /// # Errors
    /// When the current directory has no path, or [`LANDLOCK_CAP`] is no number.
    pub fn new() -> Result<Self, HostError> {
        // The one place that asks the process instead of a Host: this is the Host.
        #[allow(clippy::disallowed_methods)]
        let directory = std::env::current_dir().map_err(HostError::CurrentDirectoryCall)?;
        let mut environment: Vec<_> = std::env::vars_os().collect();
        let judged = environment.iter().position(|(name, _)| name == JUDGED);
        let judged = judged.map(|position| environment.remove(position).1);
        let landlock_cap = match environment.iter().find(|(name, _)| name == LANDLOCK_CAP) {
            None => None,
            Some((_, value)) => Some(parse_cap(&value.to_string_lossy())?),
        };
        let takes_descriptors = match environment.iter().find(|(name, _)| name == SOCKET_ROUTE) {
            None => None,
            Some((_, value)) => Some(parse_route(&value.to_string_lossy())?),
        };
        Ok(Self {
            directory,
            environment,
            landlock_cap,
            takes_descriptors,
            judged,
            kernel: OnceLock::new(),
        })
    }

    /// The value of [`LANDLOCK_CAP`], when it is set.
    pub fn landlock_cap(&self) -> Option<u8> {
        self.landlock_cap
    }
}

fn parse_cap(value: &str) -> Result<u8, HostError> {
    value.parse().map_err(|_| HostError::LandlockCap {
        value: value.to_owned(),
    })
}

fn parse_route(value: &str) -> Result<bool, HostError> {
    match value {
        "getfd" => Ok(true),
        "inject" => Ok(false),
        _ => Err(HostError::SocketRoute {
            value: value.to_owned(),
        }),
    }
}

impl Host for RealHost {
    fn current_directory(&self) -> &Path {
        &self.directory
    }

    fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    fn user(&self) -> u32 {
        facts::effective_user()
    }

    fn inspect(&self, path: &Path) -> io::Result<Inspected> {
        self.open(path).map(|(found, _)| found)
    }

    fn exists(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok()
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn open(&self, path: &Path) -> io::Result<(Inspected, Option<OwnedFd>)> {
        let (opened, status, real_path) = files::look_at(path)?;
        let found = Inspected {
            real_path,
            kind: kind_of(status.mode)?,
            stamp: FileStamp::from(&status),
            mode: status.mode & 0o7777,
            uid: status.uid,
        };
        Ok((found, Some(opened)))
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<ListedEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_type() {
                Ok(kind) => {
                    entries.push(ListedEntry {
                        name: entry.file_name(),
                        kind: kind_of_type(kind),
                    });
                }
                // Removed between the listing and the look at it: it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_unstable_by(|one, other| {
            files::name_bytes(&one.name).cmp(files::name_bytes(&other.name))
        });
        Ok(entries)
    }

    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        files::read_start(path, limit)
    }

    fn kernel(&self) -> &KernelFacts {
        self.kernel.get_or_init(|| probe_kernel(self.landlock_cap))
    }

    fn takes_descriptors(&self) -> bool {
        self.takes_descriptors
            .unwrap_or_else(|| target::probe().is_ok())
    }

    fn judged(&self) -> Option<&OsStr> {
        self.judged.as_deref()
    }

    fn terminals(&self) -> (bool, bool) {
        terminal::standard_terminals()
    }
}

impl From<&files::Status> for FileStamp {
    fn from(status: &files::Status) -> Self {
        Self {
            device: status.device,
            inode: status.inode,
            size: status.size,
            modified_ns: status.modified_ns,
            changed_ns: status.changed_ns,
        }
    }
}

/// The kind in an `st_mode` (inode(7)).
fn kind_of(mode: u32) -> io::Result<FileKind> {
    Ok(match mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Symlink,
        0o020_000 => FileKind::CharacterDevice,
        0o060_000 => FileKind::BlockDevice,
        0o140_000 => FileKind::Socket,
        0o010_000 => FileKind::Pipe,
        // An anonymous inode (an epoll or timer descriptor under /proc/self/fd) has no kind.
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn kind_of_type(kind: std::fs::FileType) -> FileKind {
    match kind {
        _ if kind.is_dir() => FileKind::Directory,
        _ if kind.is_symlink() => FileKind::Symlink,
        _ if kind.is_char_device() => FileKind::CharacterDevice,
        _ if kind.is_block_device() => FileKind::BlockDevice,
        _ if kind.is_socket() => FileKind::Socket,
        _ if kind.is_fifo() => FileKind::Pipe,
        _ => FileKind::File,
    }
}

fn probe_kernel(cap: Option<u8>) -> KernelFacts {
    let (release, machine) = facts::uname().unwrap_or_default();
    let probe = landlock::probe_abi();
    KernelFacts {
        release,
        machine,
        landlock_abi: probe.working.min(cap.unwrap_or(u8::MAX)),
        landlock_claimed_abi: probe.claimed,
        landlock_missing: probe.failure.map(missing_by),
        seccomp_filter: seccomp::probe().is_ok(),
    }
}

fn missing_by(errno: Errno) -> LandlockMissing {
    match errno {
        Errno::ENOSYS => LandlockMissing::NotBuilt,
        Errno::EOPNOTSUPP => LandlockMissing::Disabled,
        Errno::EMFILE | Errno::ENFILE => LandlockMissing::NoDescriptors,
        _ => LandlockMissing::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, LandlockMissing, kind_of, missing_by, parse_cap};
    use crate::host::FileKind;

    #[test]
    fn missing_by_names_the_reason() {
        for (errno, missing) in [
            (Errno::ENOSYS, LandlockMissing::NotBuilt),
            (Errno::EOPNOTSUPP, LandlockMissing::Disabled),
            (Errno::EPERM, LandlockMissing::Refused),
            (Errno::EMFILE, LandlockMissing::NoDescriptors),
        ] {
            assert_eq!(missing_by(errno), missing);
        }
    }

    #[test]
    fn parse_cap_takes_small_numbers_only() {
        assert_eq!(parse_cap("2").unwrap(), 2);
        for value in ["", "-1", "two", "256", "2 "] {
            assert!(parse_cap(value).is_err(), "{value}");
        }
    }

    #[test]
    fn kind_of_reads_the_mode() {
        assert_eq!(kind_of(0o100_644).unwrap(), FileKind::File);
        assert_eq!(kind_of(0o041_777).unwrap(), FileKind::Directory);
        assert_eq!(kind_of(0o140_755).unwrap(), FileKind::Socket);
        assert!(kind_of(0o600).is_err());
    }
}
