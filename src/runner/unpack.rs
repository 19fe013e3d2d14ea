// SPDX-License-Identifier: MIT
//! Puts the embedded Deno executable into the cache, once, and knows it again without reading it.
//!
//! Invariant: the path returned holds a file whose SHA-256 was the pinned one when its
//! [`FileStamp`] was what it is now.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache::{self, CacheError};
use super::{Embedded, hexadecimal};
use crate::host::{FileKind, FileStamp, Host};

/// Looked at before the cache: where a package of the system may put the same executable.
pub const PACKAGED_PATH: &str = "/usr/lib/stockade/deno";

/// A temporary file nobody has written to for this long was left by a process that died.
const STALE_AFTER: Duration = Duration::from_secs(600);

/// Why there is no executable to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The cache cannot be used.
    #[error("cannot unpack the embedded Deno executable")]
    Cache(#[source] CacheError),
    /// The archive in this binary is not what was built in.
    #[error("the embedded Deno executable is damaged: SHA-256 expected {expected}, found {found}")]
    Damaged {
        /// The digest pinned at build time.
        expected: String,
        /// The digest of what was unpacked.
        found: String,
    },
}

impl UnpackError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(error) => error.hint(),
            Self::Damaged { .. } => {
                Some("install Stockade again, or name another Deno with --runner".to_owned())
            }
        }
    }
}

impl From<CacheError> for UnpackError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

/// How far the first unpacking is; given to a closure, so that only `cli` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It begins; the number of bytes to come.
    Started(u64),
    /// So many bytes are written.
    At(u64),
    /// It is done.
    Finished,
}

/// The executable in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The executable, without links.
    pub path: PathBuf,
    /// The version of the file that was verified.
    pub stamp: FileStamp,
    /// What the user should know: a changed file was replaced.
    pub notices: Vec<String>,
}

/// What `verified.json` beside the executable says: with this stamp it had this digest.
#[derive(Debug, Serialize, Deserialize)]
struct Verified {
    sha256: String,
    stamp: FileStamp,
}

/// The directory of one runner in the cache.
pub fn directory_of(cache: &Path, id: &str) -> PathBuf {
    cache.join("runners").join(id)
}

/// A name for the embedded executable.
pub fn embedded_id(embedded: &Embedded) -> String {
    embedded.sha256.chars().take(16).collect()
}

/// Returns the embedded executable as a file, unpacking it when it is not there or not itself.
///
/// # Errors
/// The cache cannot be used, or the archive is damaged.
pub fn unpack(
    host: &dyn Host,
    cache: &Path,
    embedded: &Embedded,
    progress: &mut dyn FnMut(Progress),
) -> Result<Unpacked, UnpackError> {
    let directory = directory_of(cache, &embedded_id(embedded));
    if let Some(found) = packaged(host, &directory, embedded) {
        return Ok(found);
    }
    let directory = cache::prepare_directory(host, &directory)?;
    cache::check_executable(&directory)?;
    let target = directory.join("deno");
    let record = directory.join("verified.json");
    if let Some(found) = known(host, &target, &record, embedded) {
        return Ok(found);
    }

    // Twenty first runs at once: one unpacks, the others find it done. A file system without
    // locks only costs the work twice, since the rename decides anyway.
    let lock =
        File::create(directory.join("lock")).map_err(|e| CacheError::on_write(&directory, e))?;
    drop(lock.lock());
    if let Some(found) = known(host, &target, &record, embedded) {
        return Ok(found);
    }
    remove_stale(&directory);
    let mut notices = Vec::new();
    if host.exists(&target) {
        if digest_of(&target).is_ok_and(|found| found == embedded.sha256) {
            return finish(host, target, &record, embedded, notices);
        }
        notices.push(format!(
            "`{}` was not the verified Deno {} any more and is unpacked anew",
            target.display(),
            embedded.version
        ));
    }
    write_executable(&target, embedded, progress)?;
    finish(host, target, &record, embedded, notices)
}

/// Records what was verified and describes it.
fn finish(
    host: &dyn Host,
    path: PathBuf,
    record: &Path,
    embedded: &Embedded,
    notices: Vec<String>,
) -> Result<Unpacked, UnpackError> {
    let found = host
        .inspect(&path)
        .map_err(|error| CacheError::on_write(&path, error))?;
    cache::write_json(
        record,
        &Verified {
            sha256: embedded.sha256.to_owned(),
            stamp: found.stamp,
        },
    )?;
    Ok(Unpacked {
        path: found.real_path,
        stamp: found.stamp,
        notices,
    })
}

/// The executable when its stamp says that it is the verified one.
fn known(host: &dyn Host, path: &Path, record: &Path, embedded: &Embedded) -> Option<Unpacked> {
    let found = host.inspect(path).ok()?;
    let verified: Verified = cache::read_json(host, record)?;
    let same = found.kind == FileKind::File
        && found.mode & 0o111 != 0
        && found.stamp == verified.stamp
        && verified.sha256 == embedded.sha256;
    same.then_some(Unpacked {
        path: found.real_path,
        stamp: found.stamp,
        notices: Vec::new(),
    })
}

/// The executable a system package installed, when it is root's alone and the pinned one.
fn packaged(host: &dyn Host, directory: &Path, embedded: &Embedded) -> Option<Unpacked> {
    let path = Path::new(PACKAGED_PATH);
    let found = host.inspect(path).ok()?;
    if found.kind != FileKind::File || found.uid != 0 || found.mode & 0o022 != 0 {
        return None;
    }
    let record = directory.join("packaged.json");
    if let Some(known) = known(host, path, &record, embedded) {
        return Some(known);
    }
    if digest_of(path).ok()? != embedded.sha256 {
        return None;
    }
    // Without a cache to write to it is read again on the next run, which is right and slower.
    if cache::prepare_directory(host, directory).is_ok() {
        let verified = Verified {
            sha256: embedded.sha256.to_owned(),
            stamp: found.stamp,
        };
        drop(cache::write_json(&record, &verified));
    }
    Some(Unpacked {
        path: found.real_path,
        stamp: found.stamp,
        notices: Vec::new(),
    })
}

fn write_executable(
    target: &Path,
    embedded: &Embedded,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), UnpackError> {
    let size = zstd::zstd_safe::get_frame_content_size(embedded.archive)
        .ok()
        .flatten();
    progress(Progress::Started(size.unwrap_or(0)));
    let temporary = cache::temporary_beside(target);
    let written = write_verified(&temporary, embedded, progress);
    let placed = written.and_then(|found| {
        if found != embedded.sha256 {
            return Err(UnpackError::Damaged {
                expected: embedded.sha256.to_owned(),
                found,
            });
        }
        fs::rename(&temporary, target)
            .map_err(|error| UnpackError::Cache(CacheError::on_write(target, error)))
    });
    if placed.is_err() {
        drop(fs::remove_file(&temporary));
    }
    progress(Progress::Finished);
    placed
}

/// Unpacks into `path` and returns the digest of what was written.
fn write_verified(
    path: &Path,
    embedded: &Embedded,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, UnpackError> {
    let failed = |error| UnpackError::Cache(CacheError::on_write(path, error));
    let mut file = cache::create_new(path).map_err(failed)?;
    let mut decoder = zstd::Decoder::with_buffer(embedded.archive).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        let count = match decoder.read(&mut buffer) {
            Ok(count) => count,
            Err(error) => {
                return Err(UnpackError::Damaged {
                    expected: embedded.sha256.to_owned(),
                    found: format!("nothing readable ({error})"),
                });
            }
        };
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(failed)?;
        done += count as u64;
        progress(Progress::At(done));
    }
    file.set_permissions(fs::Permissions::from_mode(0o755))
        .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(hexadecimal(&hasher.finalize()))
}

/// SHA-256 of a file's content.
fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Removes temporary files of processes that died while unpacking.
fn remove_stale(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let age = entry
            .metadata()
            .and_then(|facts| facts.modified())
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        if name.to_string_lossy().ends_with(".tmp") && age.is_some_and(|age| age > STALE_AFTER) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const EMBEDDED: Embedded = Embedded {
        archive: b"not zstd",
        sha256: "aa11",
        version: "2.9.6",
    };

    fn record(host: &FakeHost, path: &str, sha256: &str) -> String {
        let stamp = host.inspect(Path::new(path)).unwrap().stamp;
        serde_json::to_string(&Verified {
            sha256: sha256.to_owned(),
            stamp,
        })
        .unwrap()
    }

    #[test]
    fn a_known_executable_is_not_read_again() {
        let host = FakeHost::new()
            .with_file("/c/deno", "x")
            .owned("/c/deno", 0, 0o755);
        let verified = record(&host, "/c/deno", "aa11");
        let host = host.with_file("/c/v", verified);
        let known =
            |host: &FakeHost| known(host, Path::new("/c/deno"), Path::new("/c/v"), &EMBEDDED);
        assert!(known(&host).is_some());
        assert!(known(&host.clone().touched("/c/deno", 9)).is_none());
        assert!(known(&host.clone().owned("/c/deno", 0, 0o644)).is_none());
        assert!(known(&host.clone().without("/c/deno")).is_none());
        assert!(known(&host.clone().without("/c/v").with_file("/c/v", "{")).is_none());
        let other = record(&host, "/c/deno", "bb22");
        assert!(known(&host.without("/c/v").with_file("/c/v", other)).is_none());
    }

    #[test]
    fn an_archive_that_is_none_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("deno");
        let mut seen = Vec::new();
        let result = write_executable(&target, &EMBEDDED, &mut |progress| seen.push(progress));
        assert!(
            matches!(result, Err(UnpackError::Damaged { .. })),
            "{result:?}"
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(seen.last(), Some(&Progress::Finished));
    }

    #[test]
    fn what_was_built_in_is_written_and_verified() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("deno");
        let archive: &'static [u8] = zstd::bulk::compress(b"program", 1).unwrap().leak();
        let digest: &'static str = hexadecimal(&Sha256::digest(b"program")).leak();
        let embedded = Embedded {
            archive,
            sha256: digest,
            version: "2.9.6",
        };
        write_executable(&target, &embedded, &mut |_| {}).unwrap();
        assert_eq!(digest_of(&target).unwrap(), digest);
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o777,
            0o755
        );
        let wrong = Embedded {
            sha256: "00",
            ..embedded
        };
        let other = directory.path().join("other");
        assert!(write_executable(&other, &wrong, &mut |_| {}).is_err());
        assert!(!other.exists());
    }
}
