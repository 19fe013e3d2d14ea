// SPDX-License-Identifier: MIT
//! Files that Stockade itself writes for the user: the log of `--audit` and those of `--report`.
//!
//! Invariant: a file is where the user said. A link that a program of an earlier run could have made in
//! its place would have Stockade write, as the user, to any other file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::failure::Failure;
use super::invocation::Settings;
use super::sources::SourceError;
use crate::host::Host;
use crate::plan::links::{Way, Written, follow};
use crate::policy::Policy;
use crate::policy::grammar::lexical;
use crate::sys::resolve;

/// The directories that programs may write to, when a file is to be opened here.
pub(super) fn written(settings: &Settings, policy: &Policy, host: &dyn Host) -> Written {
    match settings.written_files().next() {
        Some(_) => Written::of(host, policy),
        None => Written::default(),
    }
}

/// Opens a file that `flag` names for writing, or makes it; `written` is what programs may write to.
///
/// # Errors
/// [`SourceError::Planted`], and `of_kernel` of the kernel's answer.
pub(super) fn open(
    (flag, path): (&str, &Path),
    (flags, mode): (OFlag, Mode),
    written: &Written,
    host: &dyn Host,
    of_kernel: impl Fn(PathBuf, io::Error) -> Failure,
) -> Result<File, Failure> {
    let flags = flags | OFlag::O_CLOEXEC;
    let failed = |error: io::Error| of_kernel(path.to_path_buf(), error);
    let as_named = || openat(AT_FDCWD, path, flags, mode);
    let opened = if written.is_empty() {
        as_named()
    } else {
        let way = follow(host, &lexical(host.current_directory(), path)).map_err(failed)?;
        if let Some(planted) = written.planted(&way) {
            return Err(Failure::Sources(SourceError::Planted {
                flag: flag.to_owned(),
                path: path.to_path_buf(),
                planted,
            }));
        }
        match way.is_magic() {
            true => as_named(),
            false => open_end(&way, flags, mode),
        }
    };
    Ok(opened.map_err(|errno| failed(errno.into()))?.into())
}

/// Opens the file where the way ended when it was judged.
fn open_end(way: &Way, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let (Some(directory), Some(name)) = (way.end.parent(), way.end.file_name()) else {
        return Err(Errno::EISDIR);
    };
    let directory = resolve::open_without_links(directory)?;
    openat(&directory, name, flags | OFlag::O_NOFOLLOW, mode)
}
