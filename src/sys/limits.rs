// SPDX-License-Identifier: MIT
//! Resource limits of this process.
//!
//! Invariant: only ever called after the fork, so that no target inherits a raised limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the number of open files to what the hard limit allows: each relayed connection takes
/// two. Where that fails the old limit stays, and connections beyond it are refused. Gives the limit.
pub fn raise_open_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        // What every process has at least.
        Err(_) => 1024,
    }
}
