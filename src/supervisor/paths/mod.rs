// SPDX-License-Identifier: MIT
//! Paths of the target: what they name, and which grants cover that.
//!
//! What is not held: a file with several names is judged by the one it was opened under, and a
//! bind mount by the place it is mounted at, as Landlock does.
//!
//! Looking a path up can wait for a network or FUSE file system, and everything supervised with
//! it; the target cannot mount one.
//!
//! Invariant: text decides nothing: what a path names is opened once, and that is judged by device
//! and inode, its own and those of the directories above it.

pub mod grants;
pub(super) mod lookup;
pub(super) mod names;
pub(super) mod reach;

use std::os::fd::OwnedFd;

use nix::errno::Errno;

/// What has to be known of a thread to look its paths up.
pub trait Caller {
    /// The thread's identifier, as the notification names it.
    fn pid(&self) -> i32;
    /// A duplicate of its descriptor (pidfd_getfd(2)).
    ///
    /// # Errors
    /// EBADF when it has none of that number; EPERM or ENOSYS when this host does not allow it,
    /// which makes the descriptor be looked at through `/proc`.
    fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno>;
}
