// SPDX-License-Identifier: MIT
//! The system call table: for every call a verdict and a reason, from the facts of one Plan.
//!
//! Invariant: the table is data; `confine` compiles it, `explain` prints it, and a simulator
//! checks that the compiled filter gives these verdicts.

use serde::Serialize;

/// What the table depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether the target may fork and execute: without it `clone` needs CLONE_THREAD and only
    /// the first `execve`, known by secret pointers, passes.
    pub processes: bool,
    /// Internet and netlink sockets.
    pub internet: bool,
    /// UNIX sockets made by `socket(2)`; stream and seqpacket pairs always work.
    pub unix: bool,
    /// `AF_NETLINK` route sockets, for `--allow-sys=networkInterfaces`.
    pub netlink: bool,
    /// Landlock ABI: below 3 `truncate` is closed here, below 5 device ioctls, below 6 signals.
    pub landlock_abi: u8,
}
