// SPDX-License-Identifier: MIT
//! The lock file: found beside the configuration, copied for prepare, and written back.
//!
//! Invariant: the runner writes only to a copy that no program reaches; a project's lock is replaced
//! by Stockade itself, whole or not at all, and only by what is a lock.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cache;
use super::config_chain::parse_configuration;
use crate::host::Host;

/// More than the lock of any real project.
pub(super) const LIMIT: usize = 64 << 20;

/// The name of a lock file that nobody named.
const NAME: &str = "deno.lock";

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
    /// It is a link.
    #[error("the lock file `{path}` leads to `{real_path}`, outside its project")]
    Outside {
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
            Self::Outside { real_path, .. } => {
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
        lock.project = package
            .and_then(Path::parent)
            .map(|directory| directory.join(NAME));
        return lock;
    };
    let directory = configuration.parent().unwrap_or(root);
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

impl Lock {
    /// The bytes of the project's lock; none when it has none yet. A link that leads out of `root`
    /// is followed only when the user named it.
    ///
    /// # Errors
    /// It exists and cannot be used.
    pub fn read(
        &self,
        host: &dyn Host,
        root: &Path,
        named: bool,
    ) -> Result<Option<Vec<u8>>, LockError> {
        let Some(path) = &self.project else {
            return Ok(None);
        };
        let found = match host.inspect(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.clone();
                return Err(LockError::Read { path, source });
            }
        };
        if !named && !found.real_path.starts_with(root) {
            return Err(LockError::Outside {
                path: path.clone(),
                real_path: found.real_path,
            });
        }
        let bytes = host
            .read_file(path, LIMIT)
            .map_err(|source| LockError::Read {
                path: path.clone(),
                source,
            })?;
        if is_lock(&bytes) {
            Ok(Some(bytes))
        } else {
            Err(LockError::Malformed { path: path.clone() })
        }
    }

    /// Replaces the project's lock by what prepare made of it, when that differs.
    ///
    /// # Errors
    /// It cannot be written, and is as it was.
    pub fn write_back(&self, before: Option<&[u8]>, after: &[u8]) -> io::Result<()> {
        let Some(path) = &self.project else {
            return Ok(());
        };
        if before == Some(after) {
            return Ok(());
        }
        if !is_lock(after) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Through a link, as Deno does.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        cache::replace_file(&target, after, 0o644)
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
    fn only_locks_are_locks() {
        assert!(is_lock(br#"{"version":"5"}"#));
        for text in [&b""[..], b"{}", b"[]", br#"{"version":5}"#, b"{\"version\""] {
            assert!(!is_lock(text));
        }
    }
}
