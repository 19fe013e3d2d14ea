// SPDX-License-Identifier: MIT
//! Opens what the Plan names and makes sure that it is still what the Plan was made from.
//!
//! Invariant: what is granted or executed is the descriptor that was compared, never the name
//! again; links anywhere in a path are refused, because the Plan's paths have none.

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2, readlink};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::ConfineError;
use crate::host::{FileKind, FileStamp};
use crate::plan::Program;

/// Opens a path with O_PATH, following no link.
pub(super) fn open_without_links(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, path, how) {
        // An outer sandbox that does not know or hides openat2 (Linux 5.6).
        Err(Errno::ENOSYS | Errno::EPERM) => open_and_compare_name(path),
        result => result,
    }
}

/// The same without openat2: what was opened must have the name it was opened by.
fn open_and_compare_name(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    let name = readlink(descriptor_path(&file).as_str())?;
    if Path::new(&name) == path {
        Ok(file)
    } else {
        Err(Errno::ELOOP)
    }
}

fn descriptor_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// What a difference between the Plan and the machine is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path goes through a symbolic link now.
    Link,
    /// It is another kind of file.
    Kind {
        /// In the Plan.
        planned: FileKind,
        /// Now; none for a kind that has no name here.
        found: Option<FileKind>,
    },
    /// It is another file, or another version of it.
    Content,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => formatter.write_str("it now goes through a symbolic link"),
            Self::Kind {
                planned,
                found: Some(found),
            } => {
                write!(
                    formatter,
                    "it was a {} and is a {}",
                    name(*planned),
                    name(*found)
                )
            }
            Self::Kind {
                planned,
                found: None,
            } => {
                write!(formatter, "it is no {} any more", name(*planned))
            }
            Self::Content => formatter.write_str("it was replaced or rewritten"),
        }
    }
}

fn name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::CharacterDevice => "character device",
        FileKind::BlockDevice => "block device",
        FileKind::Socket => "socket",
        FileKind::Pipe => "pipe",
    }
}

/// The first difference between an opened file and what the Plan says of it.
pub(super) fn compare(
    status: &FileStat,
    planned: FileKind,
    stamp: Option<&FileStamp>,
) -> Option<Change> {
    let found = kind(status);
    if found != Some(planned) {
        return Some(Change::Kind { planned, found });
    }
    stamp
        .filter(|stamp| **stamp != stamp_of(status))
        .map(|_| Change::Content)
}

pub(super) fn kind(status: &FileStat) -> Option<FileKind> {
    match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Some(FileKind::File),
        SFlag::S_IFDIR => Some(FileKind::Directory),
        SFlag::S_IFLNK => Some(FileKind::Symlink),
        SFlag::S_IFCHR => Some(FileKind::CharacterDevice),
        SFlag::S_IFBLK => Some(FileKind::BlockDevice),
        SFlag::S_IFSOCK => Some(FileKind::Socket),
        SFlag::S_IFIFO => Some(FileKind::Pipe),
        _ => None,
    }
}

fn stamp_of(status: &FileStat) -> FileStamp {
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    FileStamp {
        device: status.st_dev,
        inode: status.st_ino,
        size: u64::try_from(status.st_size).unwrap_or(0),
        modified_ns: nanoseconds(status.st_mtime, status.st_mtime_nsec),
        changed_ns: nanoseconds(status.st_ctime, status.st_ctime_nsec),
    }
}

/// Opens the program and compares it with the one that was planned.
pub(super) fn open_program(program: &Program) -> Result<OwnedFd, ConfineError> {
    let failed = |source| ConfineError::Program {
        path: program.path.clone(),
        source,
    };
    let changed = |change| ConfineError::ProgramChanged {
        path: program.path.clone(),
        change,
    };
    let file = open_without_links(&program.path).map_err(|errno| match errno {
        Errno::ELOOP => changed(Change::Link),
        errno => failed(errno),
    })?;
    let status = fstat(&file).map_err(failed)?;
    match compare(&status, FileKind::File, program.stamp.as_ref()) {
        Some(change) => Err(changed(change)),
        None => Ok(file),
    }
}

/// Opens the directory the target starts in. Links are followed: it grants nothing.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, ConfineError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|source| ConfineError::Directory {
        path: path.to_owned(),
        source,
    })
}

/// Whether the file starts with `#!`. One that cannot be read can still be executed if it is a
/// binary, and counts as such.
pub(super) fn is_script(program: &OwnedFd) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(descriptor_path(program))
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}

/// Executing a descriptor needs `/proc`: `execveat` would not, but a filter cannot tell the
/// descriptor of a file from one of memory.
pub(super) fn check_descriptor_directory(program: &OwnedFd) -> Result<(), ConfineError> {
    match readlink(descriptor_path(program).as_str()) {
        Ok(_) => Ok(()),
        Err(source) => Err(ConfineError::NoProc { source }),
    }
}

/// The kind and identity of an opened file.
pub(super) fn status(file: &impl AsFd) -> Result<FileStat, Errno> {
    fstat(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::errno::Errno;

    use super::{
        Change, compare, kind, open_and_compare_name, open_without_links, stamp_of, status,
    };
    use crate::host::FileKind;

    #[test]
    fn compare_sees_kind_and_every_field_of_the_stamp() {
        let file = tempfile::tempfile().unwrap();
        let status = status(&file).unwrap();
        let stamp = stamp_of(&status);
        assert_eq!(kind(&status), Some(FileKind::File));
        assert_eq!(compare(&status, FileKind::File, Some(&stamp)), None);
        assert_eq!(compare(&status, FileKind::File, None), None);
        let found = Some(FileKind::File);
        let planned = FileKind::Directory;
        assert_eq!(
            compare(&status, planned, None),
            Some(Change::Kind { planned, found })
        );
        for changed in [
            crate::host::FileStamp {
                device: stamp.device + 1,
                ..stamp
            },
            crate::host::FileStamp {
                inode: stamp.inode + 1,
                ..stamp
            },
            crate::host::FileStamp {
                size: stamp.size + 1,
                ..stamp
            },
            crate::host::FileStamp {
                modified_ns: stamp.modified_ns + 1,
                ..stamp
            },
            crate::host::FileStamp {
                changed_ns: stamp.changed_ns + 1,
                ..stamp
            },
        ] {
            let change = compare(&status, FileKind::File, Some(&changed));
            assert_eq!(change, Some(Change::Content), "{changed:?}");
        }
    }

    #[test]
    fn links_are_refused_wherever_they_stand() {
        let directory = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::fs::write(real.join("a/file"), "").unwrap();
        symlink(real.join("a"), real.join("middle")).unwrap();
        symlink(real.join("a/file"), real.join("last")).unwrap();
        for open in [open_without_links, open_and_compare_name] {
            assert!(open(&real.join("a/file")).is_ok());
            assert_eq!(open(&real.join("middle/file")).unwrap_err(), Errno::ELOOP);
            assert_eq!(open(&real.join("last")).unwrap_err(), Errno::ELOOP);
            assert_eq!(open(&real.join("absent")).unwrap_err(), Errno::ENOENT);
        }
    }
}
