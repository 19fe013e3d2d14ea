// SPDX-License-Identifier: MIT
//! From path grants as typed to paths that were opened: bare grants, links, missing write paths,
//! `/proc`, `/sys` and `/dev`.
//!
//! Invariant: a grant is judged by what opening it finds, never by its spelling; nothing a link
//! leads to outside the directory it was written for is granted silently, and nothing that a link leads to
//! which a program could have made is granted at all.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::PlanError;
use super::links::{Written, follow};
use super::{Access, CreatedPath};
use crate::host::{FileKind, Host, Inspected};
use crate::policy::{Entry, Origin, PathDescriptor};

pub(super) use crate::policy::grammar::lexical as normalize;

/// Top-level directories that a bare grant leaves out: kernel interfaces, where the shipped lists
/// name the few files a program needs.
const KERNEL_DIRECTORIES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A grant after it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolved {
    /// It exists.
    Found(Inspected),
    /// It does not, and a write grant names it.
    Create(CreatedPath),
    /// A path below the confined process's own `/proc/self`, opened only there.
    OwnProcess(PathBuf, FileKind),
}

/// Whether a path is another one or lies below it, by its bytes: `Path::starts_with` goes name by name,
/// for every grant and every configuration file there could be. It misses paths with repeated slashes
/// or dots, so it must not be asked about denials.
pub(super) fn is_within(path: &Path, root: &Path) -> bool {
    let (path, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    let rest = path.strip_prefix(root);
    rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/') || root == b"/")
}

/// Looks at one listed grant; `created` are the missing paths that earlier grants create.
///
/// # Errors
/// When it cannot be opened, when a relative one leads outside the directory it is relative to, or
/// when it may never be granted.
pub(super) fn resolve_grant(
    host: &dyn Host,
    entry: &Entry<PathDescriptor>,
    access: Access,
    created: &[CreatedPath],
    written: &Written,
) -> Result<Resolved, PlanError> {
    let writes = access.intersects(Access::WRITE);
    let path = normalize(host.current_directory(), &entry.descriptor.path);
    if is_own_process(&path) {
        // Stockade's own directory of the same name tells the kind.
        return match host.inspect(&path) {
            Ok(inspected) => Ok(Resolved::OwnProcess(path, inspected.kind)),
            Err(source) => Err(PlanError::OpenGrant {
                origin: entry.origin.clone(),
                path,
                source,
            }),
        };
    }
    let inspected = match host.inspect(&path) {
        Ok(inspected) => inspected,
        Err(error) if writes && error.kind() == io::ErrorKind::NotFound => {
            return resolve_missing(host, entry, &path, written).map(Resolved::Create);
        }
        // A write grant before this one names it, too: it will be there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !created.is_empty() => {
            let missing = resolve_missing(host, entry, &path, written)?;
            return match created.iter().find(|other| other.path == missing.path) {
                Some(known) => Ok(Resolved::Create(known.clone())),
                None => Err(PlanError::OpenGrant {
                    origin: entry.origin.clone(),
                    path,
                    source: error,
                }),
            };
        }
        Err(source) => {
            return Err(PlanError::OpenGrant {
                origin: entry.origin.clone(),
                path,
                source,
            });
        }
    };
    refuse_leaving(host, entry, &inspected.real_path)?;
    refuse_planted(host, entry, &path, &inspected.real_path, written)?;
    refuse_other(entry, &inspected.real_path)?;
    if writes {
        refuse_never_writable(&entry.origin, &inspected)?;
    }
    Ok(Resolved::Found(inspected))
}

/// `/proc/self/…` and `/proc/thread-self/…` name the process that opens them.
fn is_own_process(path: &Path) -> bool {
    // Nearly none does, and taking ten thousand apart costs milliseconds.
    path.as_os_str().as_bytes().starts_with(b"/proc/")
        && (path.starts_with("/proc/self") || path.starts_with("/proc/thread-self"))
}

fn resolve_missing(
    host: &dyn Host,
    entry: &Entry<PathDescriptor>,
    path: &Path,
    written: &Written,
) -> Result<CreatedPath, PlanError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(PlanError::OpenGrant {
            origin: entry.origin.clone(),
            path: path.to_path_buf(),
            source: io::ErrorKind::NotFound.into(),
        });
    };
    let directory = parent;
    let parent = host
        .inspect(directory)
        .map_err(|source| PlanError::CreateParent {
            origin: entry.origin.clone(),
            path: path.to_path_buf(),
            source,
        })?;
    if parent.kind != FileKind::Directory {
        return Err(PlanError::CreateParent {
            origin: entry.origin.clone(),
            path: path.to_path_buf(),
            source: io::ErrorKind::NotADirectory.into(),
        });
    }
    refuse_leaving(host, entry, &parent.real_path)?;
    refuse_planted(host, entry, directory, &parent.real_path, written)?;
    if parent.real_path.starts_with("/proc") || parent.real_path.starts_with("/sys") {
        return Err(PlanError::NeverWritable {
            origin: entry.origin.clone(),
            path: path.to_path_buf(),
            what: "a file the kernel does not have",
        });
    }
    refuse_other(entry, &parent.real_path.join(name))?;
    Ok(CreatedPath {
        path: parent.real_path.join(name),
        directory: entry.descriptor.trailing_slash,
        origin: entry.origin.clone(),
    })
}

/// A relative grant stays in the directory it is relative to: the directory of the run, or the one
/// its leading `..` name.
fn refuse_leaving(
    host: &dyn Host,
    entry: &Entry<PathDescriptor>,
    real_path: &Path,
) -> Result<(), PlanError> {
    let path = &entry.descriptor.path;
    if let Some(within) = &entry.descriptor.within {
        return refuse_leaving_file(host, entry, within, real_path);
    }
    if path.is_absolute() {
        return Ok(());
    }
    // The current directory has no links in it (getcwd(2)), nor has what is above it.
    let directory = host.current_directory();
    if matches!(path.components().next(), Some(Component::Normal(_)))
        && is_within(real_path, directory)
    {
        return Ok(());
    }
    let ascent: PathBuf = path
        .components()
        .skip_while(|component| matches!(component, Component::CurDir))
        .take_while(|component| matches!(component, Component::ParentDir))
        .collect();
    let base = normalize(directory, &ascent);
    if real_path.starts_with(&base) {
        return Ok(());
    }
    Err(PlanError::GrantLeaves {
        origin: entry.origin.clone(),
        base,
        real_path: real_path.to_path_buf(),
    })
}

/// A link that a program could have made leads no grant elsewhere.
fn refuse_planted(
    host: &dyn Host,
    entry: &Entry<PathDescriptor>,
    path: &Path,
    real_path: &Path,
    written: &Written,
) -> Result<(), PlanError> {
    if written.is_empty() || path.as_os_str() == real_path.as_os_str() {
        return Ok(());
    }
    let way = follow(host, path).map_err(|source| PlanError::OpenGrant {
        origin: entry.origin.clone(),
        path: path.to_path_buf(),
        source,
    })?;
    if way.end != real_path && !way.is_magic() {
        return Err(PlanError::GrantMoved {
            origin: entry.origin.clone(),
            judged: way.end,
            real_path: real_path.to_path_buf(),
        });
    }
    match written.planted(&way) {
        None => Ok(()),
        Some(planted) => Err(PlanError::GrantPlanted {
            origin: entry.origin.clone(),
            planted,
        }),
    }
}

/// Between the judgement of a ceiling and now somebody may have turned a link.
fn refuse_other(entry: &Entry<PathDescriptor>, real_path: &Path) -> Result<(), PlanError> {
    match &entry.descriptor.judged {
        Some(judged) if judged != real_path => Err(PlanError::GrantMoved {
            origin: entry.origin.clone(),
            judged: judged.clone(),
            real_path: real_path.to_path_buf(),
        }),
        _ => Ok(()),
    }
}

/// A relative path of a file stays in the directory of the file, or the one its leading `..` name.
fn refuse_leaving_file(
    host: &dyn Host,
    entry: &Entry<PathDescriptor>,
    within: &Path,
    real_path: &Path,
) -> Result<(), PlanError> {
    let base = host
        .inspect(within)
        .map_err(|source| PlanError::OpenGrant {
            origin: entry.origin.clone(),
            path: within.to_path_buf(),
            source,
        })?
        .real_path;
    if real_path.starts_with(&base) {
        return Ok(());
    }
    Err(PlanError::GrantLeaves {
        origin: entry.origin.clone(),
        base,
        real_path: real_path.to_path_buf(),
    })
}

fn refuse_never_writable(origin: &Origin, inspected: &Inspected) -> Result<(), PlanError> {
    let what = if inspected.kind == FileKind::BlockDevice {
        "a block device: writing it bypasses every file permission"
    } else if inspected.real_path == Path::new("/proc")
        || inspected.real_path.starts_with("/proc/sys")
    {
        "the kernel's own settings"
    } else {
        return Ok(());
    };
    Err(PlanError::NeverWritable {
        origin: origin.clone(),
        path: inspected.real_path.clone(),
        what,
    })
}

/// What a bare grant, or one on `/`, means: every top-level entry but the kernel's directories.
///
/// # Errors
/// When `/` cannot be listed. Entries that cannot be opened are left out: that only narrows.
pub(super) fn top_level(host: &dyn Host, origin: &Origin) -> Result<Vec<Inspected>, PlanError> {
    let root = Path::new("/");
    let entries = host
        .list_directory(root)
        .map_err(|source| PlanError::ListDirectory {
            origin: origin.clone(),
            path: root.to_path_buf(),
            source,
        })?;
    let mut found: Vec<Inspected> = Vec::new();
    for entry in entries {
        let Ok(inspected) = host.inspect(&root.join(&entry.name)) else {
            continue;
        };
        let kernel = KERNEL_DIRECTORIES
            .iter()
            .any(|path| inspected.real_path.starts_with(path));
        let device = matches!(
            inspected.kind,
            FileKind::BlockDevice | FileKind::CharacterDevice
        );
        let known = found
            .iter()
            .any(|other| other.real_path == inspected.real_path);
        if !kernel && !device && !known && inspected.real_path != root {
            found.push(inspected);
        }
    }
    Ok(found)
}

/// Everything below `directory` that is no block device: whole subdirectories of `/dev` cannot be
/// granted for writing, since disks may appear in them.
///
/// # Errors
/// When a directory cannot be listed.
pub(super) fn devices(
    host: &dyn Host,
    directory: &Path,
    origin: &Origin,
) -> Result<Vec<Inspected>, PlanError> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries =
            host.list_directory(&directory)
                .map_err(|source| PlanError::ListDirectory {
                    origin: origin.clone(),
                    path: directory.clone(),
                    source,
                })?;
        for entry in entries {
            let path = directory.join(&entry.name);
            match entry.kind {
                // Memory-backed file systems hold ordinary files, and terminals come and go.
                FileKind::Directory
                    if path == Path::new("/dev/shm") || path == Path::new("/dev/pts") =>
                {
                    found.extend(host.inspect(&path).ok());
                }
                FileKind::Directory => pending.push(path),
                FileKind::BlockDevice | FileKind::Symlink => {}
                _ => found.extend(host.inspect(&path).ok()),
            }
        }
    }
    found.sort_by(|left, right| left.real_path.cmp(&right.real_path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PlanError, Written, is_within, resolve_grant};
    use crate::host::fake::FakeHost;
    use crate::plan::Access;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    #[test]
    fn a_link_that_turns_while_it_is_looked_at_grants_nothing() {
        let host = |first: &str, then: &str| {
            FakeHost::new()
                .with_directory("/etc")
                .with_directory("/w/out/sub")
                .with_turning_link("/w/out/link", first, then)
        };
        let flag = |flag, value| PermissionFlag {
            flag,
            value: Some(value),
        };
        let policy = parse_flags([
            flag("--allow-read", "/w/out/link"),
            flag("--allow-write", "/w/out"),
        ])
        .unwrap();
        let resolve = |host: &FakeHost| {
            let written = Written::of(host, &policy);
            let entry = &policy.read.allow.entries[0];
            resolve_grant(host, entry, Access::READ, &[], &written)
        };
        let turned = resolve(&host("/etc", "/w/out/sub")).unwrap_err();
        assert!(matches!(turned, PlanError::GrantMoved { .. }), "{turned}");
        let planted = resolve(&host("/etc", "/etc")).unwrap_err();
        assert!(
            matches!(planted, PlanError::GrantPlanted { .. }),
            "{planted}"
        );
        assert!(resolve(&host("/w/out/sub", "/w/out/sub")).is_ok());
    }

    #[test]
    fn a_path_lies_below_whole_names_only() {
        let within = |path: &str, root: &str| is_within(Path::new(path), Path::new(root));
        assert!(within("/w/a", "/w/a") && within("/w/a/b", "/w/a") && within("/w", "/"));
        assert!(!within("/w/ab", "/w/a") && !within("/w", "/w/a") && !within("/x/a", "/w"));
    }
}
