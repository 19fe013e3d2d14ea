// SPDX-License-Identifier: MIT
//! Files that Stockade itself writes for the user: the log of `--audit` and those of `--report`.
//!
//! Invariant: a file is where the user said. A link that a program of an earlier run could have made in
//! its place would have Stockade write, as the user, to any other file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::failure::Failure;
use crate::host::Host;
use crate::plan::links::{Planted, Way, Written, follow};
use crate::policy::grammar::lexical;
use crate::sys::resolve;

/// Why a file is not opened.
#[derive(Debug)]
pub(super) enum OutputFileError {
    /// The kernel's answer.
    Io(io::Error),
    /// A program could have chosen where it leads.
    Planted {
        /// By what.
        planted: Planted,
        /// Where that is.
        end: PathBuf,
    },
}

impl OutputFileError {
    /// With the flag that named the file.
    pub(super) fn failure(
        self,
        flag: &'static str,
        path: &Path,
        of_kernel: impl FnOnce(PathBuf, io::Error) -> Failure,
    ) -> Failure {
        let path = path.to_path_buf();
        match self {
            Self::Io(source) => of_kernel(path, source),
            Self::Planted { planted, end } => Failure::Planted {
                flag,
                path,
                link: planted.link,
                write: planted.write,
                end,
            },
        }
    }
}

impl<E: Into<io::Error>> From<E> for OutputFileError {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// Opens a file for writing, or makes it; `written` is what programs may write to.
///
/// # Errors
/// [`OutputFileError`].
pub(super) fn open(
    path: &Path,
    flags: OFlag,
    mode: Mode,
    written: &Written,
    host: &dyn Host,
) -> Result<File, OutputFileError> {
    let flags = flags | OFlag::O_CLOEXEC;
    if written.is_empty() {
        return Ok(openat(AT_FDCWD, path, flags, mode)?.into());
    }
    let way = follow(host, &lexical(host.current_directory(), path))?;
    if let Some(planted) = written.planted(&way) {
        return Err(OutputFileError::Planted {
            planted,
            end: way.end,
        });
    }
    if way.is_magic() {
        return Ok(openat(AT_FDCWD, path, flags, mode)?.into());
    }
    Ok(open_end(&way, flags, mode)?.into())
}

/// Opens the file where the way ended when it was judged.
fn open_end(way: &Way, flags: OFlag, mode: Mode) -> Result<std::os::fd::OwnedFd, Errno> {
    let (Some(directory), Some(name)) = (way.end.parent(), way.end.file_name()) else {
        return Err(Errno::EISDIR);
    };
    let directory = resolve::open_without_links(directory)?;
    openat(&directory, name, flags | OFlag::O_NOFOLLOW, mode)
}
