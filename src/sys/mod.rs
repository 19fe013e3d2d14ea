// SPDX-License-Identifier: MIT
//! Thin wrappers over system calls: the only module with unsafe code.
//!
//! Invariant: safe functions in, `OwnedFd` and `Errno` out; what a function may be called from (a
//! forked child, a process with one thread) stands in its documentation.

#![allow(
    unsafe_code,
    reason = "this is the module for it; denied in all others"
)]

pub mod attributes;
pub mod entry;
pub mod execute;
pub mod facts;
pub mod files;
pub mod handover;
pub mod interrupt;
pub mod landlock;
pub mod limits;
pub mod notify;
pub mod privileges;
pub mod process;
pub mod resolve;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod target;
pub mod terminal;
pub mod watch;

use nix::errno::Errno;

/// The result of a raw system call that answers 0 or -1.
fn done(result: libc::c_long) -> Result<(), Errno> {
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(())
    }
}
