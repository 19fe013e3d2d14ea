// SPDX-License-Identifier: MIT
//! The lock file: found beside the configuration, copied for prepare, and written back.
//!
//! Invariant: the runner writes only to a copy that no program reaches; a project's lock is replaced
//! by Stockade itself, whole or not at all, and only by what is a lock. Where it lies is the word of
//! an untrusted file unless a flag names it: then it is a file that is named like a lock, below the
//! configuration that speaks of it, whether it exists or not.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config_chain::parse_configuration;
use super::file_set::is_hidden;
use crate::host::Host;
use crate::sys::files;

/// More than the lock of any real project.
pub(super) const LIMIT: usize = 64 << 20;

/// The name of a lock file that nobody named.
const NAME: &str = "deno.lock";

/// Another client's lock, which would pass for one by its name and by its members.
const OF_NPM: &str = "package-lock.json";

/// What the flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFlags {
    /// `--no-lock`.
    pub none: bool,
    /// `--lock=FILE`; bare it is the default name in the current directory.
    pub path: Option<PathBuf>,
    /// `--frozen`; the configuration decides when nobody says.
    pub frozen: Option<bool>,
}

/// The lock of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The project's own file; none when it has no lock.
    pub project: Option<PathBuf>,
    /// The directory it must lie in; none when the user named it.
    pub within: Option<PathBuf>,
    /// Whether a change of it is an error.
    pub frozen: bool,
}

/// What stops a run because of its lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The project's file cannot be read.
    #[error("cannot read the lock file `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is no lock, or a larger one than any.
    #[error("the lock file `{path}` is no lock file")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It would lie outside the project that speaks of it.
    #[error("the lock file `{path}` leads to `{real_path}`, outside its project")]
    Outside {
        /// The file.
        path: PathBuf,
        /// What it leads to.
        real_path: PathBuf,
    },
    /// It would be a file that is something else to other programs.
    #[error(
        "the configuration makes `{path}` its lock file, whose name is none for a lock: `*.lock` and `*lock.json` are, without names in front that start with a dot"
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// What it leads to.
        real_path: PathBuf,
    },
}

impl LockError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "`--no-lock` runs without it".to_owned(),
            Self::Malformed { .. } => {
                "remove it to have it made anew, or run with `--no-lock`".to_owned()
            }
            Self::Outside { real_path, .. } | Self::Name { real_path, .. } => {
                format!("name it: `--lock={}`", real_path.display())
            }
        })
    }
}

/// Finds the lock of a project: by flag, by the `lock` entry of its configuration, else beside it.
/// `configurations` are the configuration files, the program's nearest first.
pub fn find(host: &dyn Host, configurations: &[&Path], root: &Path, flags: &LockFlags) -> Lock {
    let mut lock = Lock {
        project: None,
        within: None,
        frozen: flags.frozen.unwrap_or(false),
    };
    if flags.none {
        return lock;
    }
    if let Some(path) = &flags.path {
        lock.project = Some(host.current_directory().join(path));
        return lock;
    }
    let at_root = |path: &&Path| path.parent() == Some(root);
    let is_deno = |path: &&Path| {
        path.file_name()
            .is_some_and(|name| name == "deno.json" || name == "deno.jsonc")
    };
    let is_package = |path: &&Path| path.file_name().is_some_and(|name| name == "package.json");
    // A workspace has one lock, at its root.
    let configuration = configurations
        .iter()
        .copied()
        .filter(is_deno)
        .find(at_root)
        .or_else(|| configurations.iter().copied().find(is_deno));
    let Some(configuration) = configuration else {
        let package = configurations.iter().copied().find(is_package);
        lock.within = package.and_then(Path::parent).map(Path::to_owned);
        lock.project = lock.within.as_ref().map(|directory| directory.join(NAME));
        return lock;
    };
    let directory = configuration.parent().unwrap_or(root);
    lock.within = Some(directory.to_owned());
    let value = parse_configuration(host, configuration);
    let beside = Some(directory.join(NAME));
    lock.project = match value.get("lock") {
        Some(Value::Bool(false)) => None,
        Some(Value::String(path)) => Some(directory.join(path)),
        Some(Value::Object(members)) => {
            if flags.frozen.is_none() {
                lock.frozen = members.get("frozen").and_then(Value::as_bool) == Some(true);
            }
            match members.get("path").and_then(Value::as_str) {
                Some(path) => Some(directory.join(path)),
                None => beside,
            }
        }
        _ => beside,
    };
    lock
}

/// A lock as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its bytes; none when there is none yet.
    pub bytes: Option<Vec<u8>>,
    /// Where it is written.
    place: Place,
}

/// Where a lock is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Place {
    /// The project has none.
    #[default]
    Nowhere,
    /// Its directory is not there.
    Missing,
    /// A path without links, which was judged.
    At(PathBuf),
}

impl Lock {
    /// The project's lock, and where it is written back to.
    ///
    /// # Errors
    /// It exists and cannot be used, or it is not where a lock may be.
    pub fn read(&self, host: &dyn Host) -> Result<Found, LockError> {
        let Some(path) = &self.project else {
            return Ok(Found::default());
        };
        let failed = |source| LockError::Read {
            path: path.clone(),
            source,
        };
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let (place, exists) = match host.inspect(path) {
            Ok(found) => (found.real_path, true),
            Err(error) if absent(&error) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(failed(error));
                };
                match host.inspect(parent) {
                    Ok(directory) => (directory.real_path.join(name), false),
                    Err(error) if absent(&error) => {
                        return Ok(Found {
                            bytes: None,
                            place: Place::Missing,
                        });
                    }
                    Err(source) => return Err(failed(source)),
                }
            }
            Err(source) => return Err(failed(source)),
        };
        if let Some(within) = &self.within {
            let within = host.inspect(within).map_err(failed)?.real_path;
            judge(path, &place, &within)?;
        }
        if !exists {
            return Ok(Found {
                bytes: None,
                place: Place::At(place),
            });
        }
        let bytes = host.read_file(&place, LIMIT).map_err(failed)?;
        if !is_lock(&bytes) {
            return Err(LockError::Malformed { path: path.clone() });
        }
        Ok(Found {
            bytes: Some(bytes),
            place: Place::At(place),
        })
    }
}

/// Judges where a lock that the user did not name would lie.
fn judge(path: &Path, place: &Path, within: &Path) -> Result<(), LockError> {
    let (path, real_path) = (path.to_owned(), place.to_owned());
    let Ok(below) = place.strip_prefix(within) else {
        return Err(LockError::Outside { path, real_path });
    };
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    // A `package.json` has a version, too, and so has the lock of npm.
    let locks_name = name.ends_with(".lock") || name.ends_with("lock.json");
    if is_hidden(below) || !locks_name || name == OF_NPM {
        return Err(LockError::Name { path, real_path });
    }
    Ok(())
}

impl Found {
    /// Whether these bytes are not what is there.
    pub fn differs(&self, after: &[u8]) -> bool {
        self.place != Place::Nowhere && self.bytes.as_deref() != Some(after)
    }

    /// Replaces the project's lock by what prepare made of it, when that differs.
    ///
    /// # Errors
    /// It cannot be written, and is as it was; ELOOP when a link is on the way by now.
    pub fn write_back(&self, after: &[u8]) -> io::Result<()> {
        if !self.differs(after) {
            return Ok(());
        }
        if !is_lock(after) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match &self.place {
            Place::Nowhere => Ok(()),
            Place::Missing => Err(io::ErrorKind::NotFound.into()),
            Place::At(place) => files::replace_without_links(place, after, 0o644),
        }
    }
}

/// Whether the bytes are a lock of any version: an object that says which.
pub fn is_lock(bytes: &[u8]) -> bool {
    bytes.len() < LIMIT
        && serde_json::from_slice::<Value>(bytes)
            .is_ok_and(|value| value.get("version").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn found(config: &str, flags: &LockFlags) -> Lock {
        let host = FakeHost::new().with_file("/w/deno.json", config);
        find(
            &host,
            &[Path::new("/w/deno.json"), Path::new("/package.json")],
            Path::new("/w"),
            flags,
        )
    }

    #[test]
    fn a_lock_stands_where_deno_looks_for_it() {
        let flags = LockFlags::default();
        let path = |config| found(config, &flags).project;
        assert_eq!(path("{}"), Some("/w/deno.lock".into()));
        assert_eq!(path(r#"{"lock": false}"#), None);
        assert_eq!(path(r#"{"lock": "x/l.json"}"#), Some("/w/x/l.json".into()));
        let frozen = found(r#"{"lock": {"frozen": true}}"#, &flags);
        assert_eq!(
            frozen,
            Lock {
                project: Some("/w/deno.lock".into()),
                within: Some("/w".into()),
                frozen: true
            }
        );
        let package = find(
            &FakeHost::new(),
            &[Path::new("/w/package.json")],
            Path::new("/w"),
            &flags,
        );
        assert_eq!(package.project, Some("/w/deno.lock".into()));
        let nothing = find(&FakeHost::new(), &[], Path::new("/w"), &flags);
        assert_eq!(nothing.project, None);
    }

    #[test]
    fn flags_come_first() {
        let none = LockFlags {
            none: true,
            ..LockFlags::default()
        };
        assert_eq!(found("{}", &none).project, None);
        let other = LockFlags {
            path: Some("l".into()),
            frozen: Some(false),
            ..LockFlags::default()
        };
        let lock = found(r#"{"lock": {"frozen": true}}"#, &other);
        assert!(!lock.frozen && lock.project.is_some_and(|path| path.ends_with("l")));
    }

    #[test]
    fn a_configuration_names_locks_of_its_own_project_only() {
        let host = FakeHost::new()
            .with_directory("/w/sub")
            .with_directory("/w/.git")
            .with_directory("/o")
            .with_link("/w/out", "/o")
            .with_link("/w/hidden", "/w/.git")
            .with_file("/w/package.json", r#"{"version": "1.0.0"}"#)
            .with_file("/w/real.lock", r#"{"version": "5"}"#)
            .with_link("/w/link.lock", "/w/real.lock");
        let read = |path: &str, within: Option<&str>| {
            let lock = Lock {
                project: Some(path.into()),
                within: within.map(PathBuf::from),
                frozen: false,
            };
            match lock.read(&host) {
                Ok(found) => format!("{:?}", found.place),
                Err(LockError::Outside { real_path, .. }) => {
                    format!("outside {}", real_path.display())
                }
                Err(LockError::Name { real_path, .. }) => format!("name {}", real_path.display()),
                Err(error) => error.to_string(),
            }
        };
        let project = |path| read(path, Some("/w"));
        assert_eq!(project("/w/deno.lock"), r#"At("/w/deno.lock")"#);
        assert_eq!(
            project("/w/sub/my-lock.json"),
            r#"At("/w/sub/my-lock.json")"#
        );
        assert_eq!(project("/w/link.lock"), r#"At("/w/real.lock")"#);
        assert_eq!(project("/w/none/deno.lock"), "Missing");
        assert_eq!(project("/o/deno.lock"), "outside /o/deno.lock");
        assert_eq!(project("/w/out/deno.lock"), "outside /o/deno.lock");
        assert_eq!(project("/w/hidden/deno.lock"), "name /w/.git/deno.lock");
        assert_eq!(project("/w/.git/commondir"), "name /w/.git/commondir");
        assert_eq!(project("/w/.x.lock"), "name /w/.x.lock");
        assert_eq!(project("/w/package.json"), "name /w/package.json");
        assert_eq!(project("/w/deno.json"), "name /w/deno.json");
        let of_npm = project("/w/sub/package-lock.json");
        assert_eq!(of_npm, "name /w/sub/package-lock.json");
        // The user's own word.
        assert_eq!(read("/o/x", None), r#"At("/o/x")"#);
    }

    #[test]
    fn only_locks_are_locks() {
        assert!(is_lock(br#"{"version":"5"}"#));
        for text in [&b""[..], b"{}", b"[]", br#"{"version":5}"#, b"{\"version\""] {
            assert!(!is_lock(text));
        }
    }
}
