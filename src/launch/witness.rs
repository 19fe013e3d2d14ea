// SPDX-License-Identifier: MIT
//! A process that says that Stockade was killed, since Stockade itself cannot.
//!
//! The launcher and the supervisor are one process: SIGKILL leaves nobody to say why a run has ended. The
//! witness holds one end of a pipe and waits; when the other end is closed without a word, Stockade is
//! gone.
//!
//! Then it becomes a Stockade that removes the run's own directory, where there is one.
//!
//! Invariant: it outlives a normal run by no time at all, and holds nothing of it but standard error.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::private;
use crate::sys::process::Program;
use crate::sys::{files, process};

/// What is said.
const LOST: &[u8] = b"error: Stockade was killed, so the run was ended\n";

/// Said at the end of a run that nobody killed.
const WORD: &[u8] = b".";

/// A witness of this process.
#[derive(Debug)]
pub(super) struct Witness {
    pipe: OwnedFd,
    pid: i32,
}

impl Witness {
    /// Starts one, for a run with this directory of its own. End it before the descendants of the
    /// target are ended: it would be one of them.
    ///
    /// # Errors
    /// Whatever pipe2(2) and fork(2) answer.
    pub(super) fn start(directory: Option<&Path>) -> io::Result<Self> {
        let remover = directory.map(remover).transpose()?;
        let (reader, writer) = files::waiting_pipe()?;
        let pid = process::fork(|| {
            // Async-signal-safe: only system calls, nothing allocates.
            if process::keep_only_as_input(reader.as_fd()).is_err() {
                return 1;
            }
            if process::input_ends_empty() {
                process::write_error(LOST);
                if let Some(remover) = &remover {
                    remover.execute();
                }
            }
            0
        })?;
        Ok(Self { pipe: writer, pid })
    }
}

/// This very program, told to remove a directory.
fn remover(directory: &Path) -> io::Result<Program> {
    let words = [
        c"stockade".to_owned(),
        CString::new(private::REMOVE)?,
        CString::new(directory.as_os_str().as_bytes())?,
    ];
    Ok(Program::new(c"/proc/self/exe".to_owned(), words.into()))
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It may have been killed itself.
        let _ = files::write_once(self.pipe.as_fd(), WORD);
        process::reap(self.pid);
    }
}
