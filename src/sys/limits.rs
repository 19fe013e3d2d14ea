// SPDX-License-Identifier: MIT
//! Resource limits: raised for the supervisor, lowered for the target.
//!
//! Invariant: raised for good only after the fork, or until a guard is dropped before it, so that no
//! target inherits a raised limit; and a lowered one is never above what the caller had.

use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
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

/// How many files this process may have open (RLIMIT_NOFILE); what every process has at least when
/// that cannot be read.
pub fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// More open files, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct MoreOpenFiles {
    soft: u64,
    hard: u64,
}

impl MoreOpenFiles {
    /// Raises the limit to the hard one, but not above `wanted`, and gives it.
    pub fn raise(wanted: u64) -> Option<(Self, u64)> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let raised = hard.min(wanted);
        if raised <= soft {
            return None;
        }
        setrlimit(Resource::RLIMIT_NOFILE, raised, hard).ok()?;
        Some((Self { soft, hard }, raised))
    }
}

impl Drop for MoreOpenFiles {
    fn drop(&mut self) {
        // Lowering needs no right, and open files above the limit stay open.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
    }
}

/// A resource limit of a process that is about to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    resource: Resource,
    soft: u64,
    hard: u64,
}

/// After this much more processor time than it may have, a program that is deaf to SIGXCPU is
/// killed, in seconds.
pub const PROCESSOR_GRACE: u64 = 1;

impl ResourceLimit {
    /// Private writable memory, in bytes (RLIMIT_DATA, which since Linux 4.7 counts mappings, too).
    /// RLIMIT_AS would count the address space V8 reserves.
    pub const fn memory(bytes: u64) -> Self {
        Self::both(Resource::RLIMIT_DATA, bytes)
    }

    /// Processor time of all threads, in seconds: SIGXCPU, then SIGKILL.
    pub const fn processor_time(seconds: u64) -> Self {
        Self {
            resource: Resource::RLIMIT_CPU,
            soft: seconds,
            hard: seconds.saturating_add(PROCESSOR_GRACE),
        }
    }

    /// Processes and threads of the user, all those outside included.
    pub const fn processes(count: u64) -> Self {
        Self::both(Resource::RLIMIT_NPROC, count)
    }

    /// One more than the highest descriptor.
    pub const fn open_files(count: u64) -> Self {
        Self::both(Resource::RLIMIT_NOFILE, count)
    }

    /// Where files end, in bytes: SIGXFSZ, or EFBIG where that is ignored.
    pub const fn file_size(bytes: u64) -> Self {
        Self::both(Resource::RLIMIT_FSIZE, bytes)
    }

    const fn both(resource: Resource, value: u64) -> Self {
        Self {
            resource,
            soft: value,
            hard: value,
        }
    }

    /// Lowers the limit of this process; one that is lower already stays. Async-signal-safe.
    ///
    /// # Errors
    /// Only when an outer sandbox refuses: lowering needs no privilege.
    pub fn apply(self) -> Result<(), Errno> {
        let (soft, hard) = getrlimit(self.resource)?;
        // RLIM_INFINITY is the highest number.
        let hard = hard.min(self.hard);
        setrlimit(self.resource, soft.min(self.soft).min(hard), hard)
    }
}

/// How many processes and threads a user has, as far as `/proc` shows them.
pub fn tasks_of(user: u32) -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let is_process = name
                .to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok());
            is_process && entry.metadata().is_ok_and(|found| found.uid() == user)
        })
        .map(|entry| {
            // Three links of a directory with one thread (proc(5)).
            let threads = std::fs::metadata(entry.path().join("task"));
            threads.map_or(1, |found| found.nlink().saturating_sub(2).max(1))
        })
        .sum()
}
