// SPDX-License-Identifier: MIT
//! Starts this very executable again: for a shell, and for a sibling.
//!
//! Invariant: what is started is a Stockade, gets the signals this process was started with, and is
//! told to end when this process does.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use super::request::Granted;
use super::serve::Work;
use crate::sys::process;
use crate::sys::signal::Inherited;

/// This executable, whatever its path leads to now.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// This executable, in a directory.
pub(super) fn own_command(directory: impl AsRef<Path>, inherited: Inherited) -> Command {
    let mut command = Command::new(OWN_EXECUTABLE);
    command.current_dir(directory);
    process::end_with_parent(&mut command, inherited);
    command
}

/// Starts it; whoever calls reaps it.
pub(super) fn spawn(command: &mut Command) -> io::Result<i32> {
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// A sibling, in a directory that was judged.
pub(super) fn sibling_command(
    granted: &Granted<'_>,
    work: &Work,
    directory: &OwnedFd,
    inherited: Inherited,
) -> Command {
    // Of the new process, which has the descriptor until it executes.
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut command = own_command(directory, inherited);
    command
        .args(work.siblings.get(granted.position).into_iter().flatten())
        .args(&granted.arguments)
        .env_clear()
        .envs(&granted.variables);
    command
}
