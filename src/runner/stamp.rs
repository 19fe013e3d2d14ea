// SPDX-License-Identifier: MIT
//! The record that lets an unchanged program skip prepare.
//!
//! Invariant: a stamp is followed only when every file it was made from is the same version, every
//! name that was missing is still missing, and none changed so shortly before it was written that
//! its times could not tell. A wrong stamp could only grant a file of an earlier version of the
//! program; the walls stay.

use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use blake2::{Blake2b256, Digest};
use serde::{Deserialize, Serialize};

use super::cache::{self, CacheError};
use super::hexadecimal;
use super::late::Late;
use super::prepare::{Check, Modules};
use crate::host::{FileStamp, Host};

/// Files changed this shortly before are distrusted: a file system's clock may be this coarse.
const SETTLED_NS: i128 = 2_000_000_000;

/// The shape of the file; another one is ignored.
const FORMAT: u32 = 3;

/// Why a file is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A module the program loads.
    Module,
    /// A configuration file.
    Configuration,
    /// A module of another host.
    Download,
    /// A package's directory.
    Package,
    /// The lock of the program's own run.
    Lock,
    /// Nothing is granted: what was prepared depends on it.
    Watched,
}

/// One file the result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As it was asked for.
    pub path: PathBuf,
    /// What it led to.
    pub real_path: PathBuf,
    /// The version.
    pub stamp: FileStamp,
    /// Why it is granted.
    pub role: Role,
    /// The file that imports it.
    pub importer: Option<PathBuf>,
}

/// The result of one prepare, with what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    format: u32,
    written_ns: i128,
    /// Files that exist.
    pub present: Vec<Seen>,
    /// Names that were looked for and are missing.
    pub absent: Vec<PathBuf>,
    /// The project root.
    pub root: PathBuf,
    /// The private DENO_DIR.
    pub deno_dir: PathBuf,
    /// The program's data directory.
    pub data: PathBuf,
    /// What was type-checked.
    pub checked: Check,
    /// Where its modules come from.
    pub modules: Modules,
    /// Places that load modules prepare does not see.
    pub late: Vec<Late>,
}

impl Stamp {
    /// A stamp of now.
    pub fn new(
        present: Vec<Seen>,
        absent: Vec<PathBuf>,
        root: PathBuf,
        deno_dir: PathBuf,
        data: PathBuf,
    ) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let written_ns = i128::try_from(now.as_nanos()).unwrap_or(0);
        Self {
            format: FORMAT,
            written_ns,
            present,
            absent,
            root,
            deno_dir,
            data,
            checked: Check::Nothing,
            modules: Modules::default(),
            late: Vec::new(),
        }
    }

    /// Reads the stamp of a program; none when there is none that can be followed.
    pub fn read(host: &dyn Host, program_directory: &Path) -> Option<Self> {
        let stamp: Self = cache::read_json(host, &path_in(program_directory))?;
        stamp.holds(host).then_some(stamp)
    }

    /// Whether everything is as it was.
    pub fn holds(&self, host: &dyn Host) -> bool {
        self.format == FORMAT
            && self.present.iter().all(|seen| {
                self.written_ns - seen.stamp.changed_ns > SETTLED_NS
                    && host.inspect(&seen.path).is_ok_and(|found| {
                        found.stamp == seen.stamp && found.real_path == seen.real_path
                    })
            })
            && self.absent.iter().all(|path| {
                host.inspect(path).is_err_and(|error| {
                    matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    )
                })
            })
    }

    /// Writes the stamp of a program.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn write(&self, program_directory: &Path) -> Result<(), CacheError> {
        cache::write_json(&path_in(program_directory), self)
    }
}

fn path_in(program_directory: &Path) -> PathBuf {
    program_directory.join("stamp.json")
}

/// A name for everything that is fixed before the files are looked at. Each part is length-prefixed,
/// so that no two lists give the same name.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Blake2b256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hexadecimal(&hasher.finalize()[..16])
}

/// A name for a value: two that differ have two names. The same program built by another compiler may
/// give another one, which costs one more prepare.
pub fn fingerprint(value: &impl Hash) -> String {
    struct Digesting(Blake2b256);
    impl Hasher for Digesting {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            // Asked for by maps only.
            0
        }
    }
    let mut hasher = Digesting(Blake2b256::new());
    value.hash(&mut hasher);
    hexadecimal(&hasher.0.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn seen(host: &FakeHost, path: &str) -> Seen {
        let found = host.inspect(Path::new(path)).unwrap();
        Seen {
            path: path.into(),
            real_path: found.real_path,
            stamp: found.stamp,
            role: Role::Module,
            importer: None,
        }
    }

    #[test]
    fn any_change_breaks_it() {
        let host = FakeHost::new()
            .with_file("/w/m.ts", "x")
            .with_link("/w/l.ts", "/w/m.ts");
        let present = vec![seen(&host, "/w/m.ts"), seen(&host, "/w/l.ts")];
        let absent = vec!["/w/deno.json".into()];
        let stamp = Stamp::new(present, absent, "/w".into(), "/d".into(), "/data".into());
        assert!(stamp.holds(&host));
        assert!(!stamp.holds(&host.clone().touched("/w/m.ts", 5)));
        assert!(!stamp.holds(&host.clone().without("/w/m.ts")));
        assert!(!stamp.holds(&host.clone().with_file("/w/deno.json", "{}")));
        let other = host
            .clone()
            .with_file("/w/n.ts", "x")
            .with_link("/w/l.ts", "/w/n.ts");
        assert!(!stamp.holds(&other));
        assert!(!Stamp { format: 0, ..stamp }.holds(&host));
    }

    #[test]
    fn a_file_changed_just_before_is_distrusted() {
        let host = FakeHost::new().with_file("/w/m.ts", "x");
        let now = Stamp::new(Vec::new(), Vec::new(), "/".into(), "/".into(), "/".into()).written_ns;
        for (age, holds) in [(0, false), (1_900_000_000, false), (2_100_000_000, true)] {
            let host = host.clone().touched("/w/m.ts", now - age);
            let mut stamp = Stamp::new(
                vec![seen(&host, "/w/m.ts")],
                Vec::new(),
                "/".into(),
                "/".into(),
                "/".into(),
            );
            stamp.written_ns = now;
            assert_eq!(stamp.holds(&host), holds, "{age}");
        }
    }

    #[test]
    fn a_damaged_file_is_no_stamp() {
        let host = FakeHost::new().with_file("/w/m.ts", "x");
        let stamp = Stamp::new(
            vec![seen(&host, "/w/m.ts")],
            Vec::new(),
            "/w".into(),
            "/d".into(),
            "/data".into(),
        );
        let text = serde_json::to_string(&stamp).unwrap();
        let read = |text: &str| {
            Stamp::read(
                &host.clone().with_file("/p/stamp.json", text),
                Path::new("/p"),
            )
        };
        assert_eq!(read(&text), Some(stamp));
        assert_eq!(read(&text[..text.len() / 2]), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = |parts: &[&str]| key(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_eq!(key(&["a"]).len(), 32);
    }
}
