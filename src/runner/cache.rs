// SPDX-License-Identifier: MIT
//! Stockade's own directory: where it is, that nobody else can write to it, and files in it.
//!
//! Invariant: everything below the cache root belongs to this user (or root) and is closed to
//! others; a file appears under its name complete or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{FileKind, Host};

/// Names the cache root directly.
pub const CACHE_VARIABLE: &str = "STOCKADE_CACHE";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// None of the three variables is set.
    #[error("no place for the cache: none of STOCKADE_CACHE, XDG_CACHE_HOME and HOME is set")]
    NoPlace,
    /// A variable holds a relative path.
    #[error("`{variable}` is not an absolute path: `{value}`")]
    NotAbsolute {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// Something that is no directory has the name.
    #[error("the cache `{path}` is not a directory")]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another user owns it, and could exchange what is in it.
    #[error("the cache directory `{path}` belongs to user {owner}")]
    OtherOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others could exchange what is in it.
    #[error("the cache directory `{path}` can be written by other users (mode {mode:04o})")]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its file system is mounted without the right to execute.
    #[error("the cache directory `{path}` is on a file system mounted noexec")]
    NoExecute {
        /// The directory.
        path: PathBuf,
    },
    /// Its file system is mounted read-only.
    #[error("the cache directory `{path}` is on a read-only file system")]
    ReadOnly {
        /// What could not be written.
        path: PathBuf,
    },
    /// No space, or the quota is used up.
    #[error("no space left to write `{path}`")]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This user may not write there.
    #[error("cannot write to the cache: no permission for `{path}`")]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
    },
    /// Any other failure.
    #[error("cannot use the cache file `{path}`")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl CacheError {
    /// Sorts a failure to write `path` by what would cure it.
    pub fn on_write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::PermissionDenied => Self::NotWritable { path },
            io::ErrorKind::NotADirectory => Self::NotDirectory { path },
            _ => Self::Io { path, source },
        }
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let fix = match self {
            Self::NoPlace => "set STOCKADE_CACHE to a directory of your own",
            Self::NotAbsolute { .. } => "give the whole path, from `/`",
            Self::NoExecute { .. } => {
                "set STOCKADE_CACHE to a directory on a file system that allows execution: the \
                 runner is unpacked there"
            }
            Self::Full { .. } => "free some space (the runner takes 100 MB), or set STOCKADE_CACHE",
            Self::OpenToOthers { path, .. } => {
                return Some(format!(
                    "`chmod go-w {}`, or set STOCKADE_CACHE to a directory of your own",
                    path.display()
                ));
            }
            Self::NotDirectory { .. }
            | Self::OtherOwner { .. }
            | Self::ReadOnly { .. }
            | Self::NotWritable { .. }
            | Self::Io { .. } => "set STOCKADE_CACHE to a directory of your own",
        };
        Some(fix.to_owned())
    }
}

/// Where the cache is: `$STOCKADE_CACHE`, else `$XDG_CACHE_HOME/stockade`, else
/// `$HOME/.cache/stockade`. Nothing is created or looked at.
///
/// # Errors
/// None of the variables is set, or the one that counts is no absolute path.
pub fn resolve_root(host: &dyn Host) -> Result<PathBuf, CacheError> {
    for (variable, below) in [
        (CACHE_VARIABLE, ""),
        ("XDG_CACHE_HOME", "stockade"),
        ("HOME", ".cache/stockade"),
    ] {
        let Some(value) = host.variable(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let path = Path::new(value);
        if path.is_absolute() {
            return Ok(if below.is_empty() {
                path.to_owned()
            } else {
                path.join(below)
            });
        }
        // The XDG specification says that a relative path there is to be ignored.
        if variable != "XDG_CACHE_HOME" {
            let value = value.to_string_lossy().into_owned();
            return Err(CacheError::NotAbsolute { variable, value });
        }
    }
    Err(CacheError::NoPlace)
}

/// Makes `path` a directory that only this user (or root) can write to, creating what is missing
/// with mode 0700, and returns it without links.
///
/// # Errors
/// It cannot be created, is no directory, or belongs to or is open to others.
pub fn prepare_directory(host: &dyn Host, path: &Path) -> Result<PathBuf, CacheError> {
    let found = match host.inspect(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| CacheError::on_write(path, error))?;
            host.inspect(path)
        }
        other => other,
    }
    .map_err(|error| CacheError::on_write(path, error))?;
    if found.kind != FileKind::Directory {
        return Err(CacheError::NotDirectory {
            path: found.real_path,
        });
    }
    if found.uid != host.user() && found.uid != 0 {
        return Err(CacheError::OtherOwner {
            path: found.real_path,
            owner: found.uid,
        });
    }
    if found.mode & 0o022 != 0 {
        return Err(CacheError::OpenToOthers {
            path: found.real_path,
            mode: found.mode & 0o7777,
        });
    }
    Ok(found.real_path)
}

/// Checks that programs may be executed from this directory (statvfs(3), ST_NOEXEC).
///
/// # Errors
/// [`CacheError::NoExecute`].
pub fn check_executable(directory: &Path) -> Result<(), CacheError> {
    match statvfs(directory) {
        Ok(facts) if facts.flags().contains(FsFlags::ST_NOEXEC) => Err(CacheError::NoExecute {
            path: directory.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(errno) => Err(CacheError::Io {
            path: directory.to_owned(),
            source: errno_error(errno),
        }),
    }
}

fn errno_error(errno: Errno) -> io::Error {
    io::Error::from(errno)
}

/// A name beside `path` that no other process and no other call uses.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{count}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Creates a file with mode 0600 under a name nobody uses yet.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    create_with_mode(path, 0o600)
}

fn create_with_mode(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// Replaces a file of the user's, or makes it: readers see the old content or the new one.
///
/// # Errors
/// The file cannot be written, and is as it was.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    create_with_mode(&temporary, mode)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Writes a file so that readers see the old content or the new one, nothing between.
///
/// # Errors
/// The file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    replace_file(path, bytes, 0o600).map_err(|error| CacheError::on_write(path, error))
}

/// Writes a value as JSON, atomically.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), CacheError> {
    let bytes = serde_json::to_vec(value).map_err(|error| CacheError::Io {
        path: path.to_owned(),
        source: error.into(),
    })?;
    write_atomically(path, &bytes)
}

/// Reads a value written by [`write_json`]; a missing or damaged file is none, since everything in
/// the cache can be made again.
pub fn read_json<T: DeserializeOwned>(host: &dyn Host, path: &Path) -> Option<T> {
    const LIMIT: usize = 64 << 20;
    serde_json::from_slice(&host.read_file(path, LIMIT).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn the_root_follows_the_three_variables() {
        let root = |variables: &[(&str, &str)]| {
            resolve_root(&FakeHost::new().with_environment(variables))
                .map_err(|error| error.to_string())
        };
        let path = |text: &str| Ok(PathBuf::from(text));
        assert_eq!(
            root(&[("STOCKADE_CACHE", "/c"), ("HOME", "/h")]),
            path("/c")
        );
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]),
            path("/x/stockade")
        );
        assert_eq!(
            root(&[("STOCKADE_CACHE", ""), ("HOME", "/h")]),
            path("/h/.cache/stockade")
        );
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]),
            path("/h/.cache/stockade")
        );
        assert!(
            root(&[("STOCKADE_CACHE", "c"), ("HOME", "/h")])
                .unwrap_err()
                .contains("STOCKADE_CACHE")
        );
        assert!(root(&[]).unwrap_err().contains("XDG_CACHE_HOME"));
    }

    #[test]
    fn a_directory_of_others_is_refused() {
        let host = |uid, mode| {
            FakeHost::new()
                .with_user(7)
                .with_directory("/c")
                .owned("/c", uid, mode)
        };
        assert!(prepare_directory(&host(7, 0o700), Path::new("/c")).is_ok());
        assert!(prepare_directory(&host(0, 0o755), Path::new("/c")).is_ok());
        assert!(matches!(
            prepare_directory(&host(8, 0o700), Path::new("/c")),
            Err(CacheError::OtherOwner { owner: 8, .. })
        ));
        for mode in [0o777, 0o1777, 0o720, 0o702] {
            assert!(matches!(
                prepare_directory(&host(7, mode), Path::new("/c")),
                Err(CacheError::OpenToOthers { .. })
            ));
        }
    }

    #[test]
    fn write_failures_are_sorted_by_their_cure() {
        let sorted = |errno| CacheError::on_write(Path::new("/c"), io::Error::from(errno));
        assert!(matches!(sorted(Errno::ENOSPC), CacheError::Full { .. }));
        assert!(matches!(sorted(Errno::EDQUOT), CacheError::Full { .. }));
        assert!(matches!(sorted(Errno::EROFS), CacheError::ReadOnly { .. }));
        assert!(matches!(
            sorted(Errno::EACCES),
            CacheError::NotWritable { .. }
        ));
        assert!(matches!(sorted(Errno::EIO), CacheError::Io { .. }));
    }
}
