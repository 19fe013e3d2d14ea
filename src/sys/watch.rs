// SPDX-License-Identifier: MIT
//! Readiness of descriptors in the event loop.
//!
//! Invariant: what is watched stays open while it is watched, and is taken out of the loop before it
//! is closed: the target may keep the same open file for longer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor that is given away.
///
/// # Errors
/// EPERM for a file without readiness, ENOSPC and ENOMEM when there are too many watches.
pub fn owned(file: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    register(file, interest)
}

/// Watches a descriptor for as long as it is borrowed.
///
/// # Errors
/// As [`owned`].
pub fn borrowed(file: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    register(file, interest)
}

fn register<F: AsRawFd>(file: F, interest: Interest) -> io::Result<AsyncFd<F>> {
    // SAFETY: only called with `OwnedFd` and `BorrowedFd`, which name one open descriptor, always
    // the same, for as long as they live.
    unsafe { AsyncFd::register_with_interest(file, interest) }.map_err(io::Error::from)
}
