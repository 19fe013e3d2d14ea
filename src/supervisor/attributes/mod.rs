// SPDX-License-Identifier: MIT
//! Modes, owners, times and extended attributes, which Landlock does not judge: changed on the
//! target's behalf, inside its write grants only.
//!
//! ```text
//! registers ──decode──> Shape ──copy (target memory, once)──> Request
//!                                                                │
//!                              resolve: the object, opened without any right to its content
//!                                                                │
//!                              judge: is it, or a directory above it, a write grant? by inode
//!                                                                │
//!                              change: done on that very descriptor
//! ```
//!
//! Inode flags (`chattr`, `file_setattr`) stay refused everywhere.
//!
//! Invariant: what is judged and what is changed are one descriptor; a path is looked up once, and
//! memory of the target is copied once.

mod change;
mod decode;
mod judge;

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;

use super::paths;
use super::paths::grants::Grants;
use super::paths::lookup::Unfound;
use crate::plan::syscalls::{Action, Rule, Verdict};
use crate::policy::Origin;

/// What the supervisor can learn about the thread that waits in a call.
pub trait Caller: paths::Caller {
    /// Copies `length` bytes of its memory, once and completely.
    ///
    /// # Errors
    /// EFAULT when not all of them can be read, EPERM when this host does not allow it.
    fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno>;
    /// Copies a NUL-terminated string of at most `limit` bytes, its NUL included, once.
    ///
    /// # Errors
    /// EFAULT; ENAMETOOLONG when there is no NUL within the limit.
    fn read_string(&self, address: u64, limit: usize) -> Result<CString, Errno>;
    /// Whether the thread still waits for the answer: what was read of a thread that does not may
    /// be another one's.
    fn still_waiting(&self) -> bool;
}

/// The kernel's names of the calls of the family that a table asks about, by their number there.
pub fn family(table: &[Rule]) -> HashMap<i32, &'static str> {
    table
        .iter()
        .filter(|rule| rule.verdict == Verdict::Always(Action::Ask))
        .filter(|rule| decode::NAMES.contains(&rule.name))
        .filter_map(|rule| Some((i32::try_from(rule.number).ok()?, rule.name)))
        .collect()
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The kernel's name of it, as in the system call table.
    pub name: &'static str,
    /// Its registers, as they came.
    pub arguments: [u64; 6],
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Performed; the value the call returns.
    Done(i64),
    /// The kernel would not have done it either, or it could not be judged.
    Failed(Errno),
    /// Not granted.
    Denied {
        /// The number the call returns.
        errno: Errno,
        /// What it wanted to change, where that has a path.
        path: Option<PathBuf>,
        /// Why, as a half sentence.
        reason: String,
        /// The rule that denied it.
        nearest: Option<Origin>,
        /// The flag that would allow it; none when nothing can.
        allow_with: Option<String>,
    },
}

/// Why a call is not performed.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Failed(Errno),
    Denied(Denial),
}

/// What [`Outcome::Denied`] is made from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Denial {
    path: Option<PathBuf>,
    reason: String,
    nearest: Option<Origin>,
    /// Whether a write grant of the path would allow it.
    grantable: bool,
}

impl Denial {
    /// A denial that no grant changes.
    fn always(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            ..Self::default()
        }
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<Unfound> for Stop {
    fn from(unfound: Unfound) -> Self {
        match unfound {
            Unfound::Failed(errno) => Self::Failed(errno),
            Unfound::Refused(reason) => Denial::always(reason).into(),
        }
    }
}

/// Judges a call of the family and performs it; returns when that is done. A call of another name
/// is answered ENOSYS, and one whose thread has gone ESRCH.
pub fn perform(call: &Call, caller: &dyn Caller, grants: &Grants) -> Outcome {
    match attempt(call, caller, grants) {
        Ok(()) => Outcome::Done(0),
        Err(Stop::Failed(errno)) => Outcome::Failed(errno),
        Err(Stop::Denied(denial)) => {
            let allow_with = denial
                .path
                .as_ref()
                .filter(|_| denial.grantable)
                .map(|path| format!("--allow-write={}", path.display()));
            Outcome::Denied {
                errno: Errno::EPERM,
                path: denial.path,
                reason: denial.reason,
                nearest: denial.nearest,
                allow_with,
            }
        }
    }
}

fn attempt(call: &Call, caller: &dyn Caller, grants: &Grants) -> Result<(), Stop> {
    let shape = decode::decode(call)?;
    let change = decode::copy(&shape.arguments, caller)?;
    let object = judge::resolve(&shape.place, caller)?;
    judge::check(&object, grants)?;
    if !caller.still_waiting() {
        return Err(Errno::ESRCH.into());
    }
    change::apply(object.descriptor.as_fd(), &object.identity, &change)?;
    Ok(())
}

#[cfg(test)]
mod tests;
