// SPDX-License-Identifier: MIT
//! Ends everything that descends from the target.
//!
//! Invariant: only descendants of this process are signalled, each through a handle that cannot
//! mean another process (never `kill(-1)`), and none that Stockade had before the run. Time is
//! bounded; what is left is reported.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::process::{self, Waited};
use crate::sys::signal::SignalQueue;

/// How long to go on without finding anybody new: only uninterruptible calls need any of it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to go on at all: thousands of busy processes leave this one little time.
const LIMIT: Duration = Duration::from_secs(30);

/// What of the target's descendants could not be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survivors {
    /// None is left.
    None,
    /// These are left after SIGKILL, waiting in the kernel.
    Left(Vec<i32>),
    /// Some are left and cannot be named, since `/proc` is not mounted.
    Unknown,
}

/// The children that Stockade had before it started the target: a shell that executes Stockade
/// in its own place leaves it its background jobs.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    children: HashSet<i32>,
    filters: u32,
}

impl Inherited {
    /// Looks at the children there are.
    ///
    /// # Errors
    /// When there are some that cannot be named: they could not be spared later.
    pub(super) fn remember() -> io::Result<Self> {
        if !process::has_children() {
            return Ok(Self::default());
        }
        let own = process::own_pid();
        Ok(Self {
            children: process::children_of(own)?.into_iter().collect(),
            filters: process::filter_count(own).unwrap_or(0),
        })
    }

    /// Whether a child of Stockade belongs to the run. An orphan of an inherited child becomes
    /// Stockade's child as well; unlike the target's it has not one filter more than Stockade.
    fn spares(&self, child: i32) -> bool {
        if self.children.is_empty() {
            return false;
        }
        self.children.contains(&child)
            || process::filter_count(child).is_some_and(|count| count <= self.filters)
    }
}

/// Ends all descendants but the inherited ones and reaps them.
pub(super) fn end(inherited: &Inherited, signals: &SignalQueue) -> Survivors {
    let limit = Instant::now() + LIMIT;
    let mut deadline = Instant::now() + PATIENCE;
    let mut killed = HashSet::new();
    loop {
        if !reap() {
            return Survivors::None;
        }
        let found = kill_all(inherited, limit);
        let now = Instant::now();
        let late = now >= deadline.min(limit);
        match found {
            Ok(found) if found.is_empty() => return Survivors::None,
            Ok(found) => {
                let known = killed.len();
                killed.extend(found.iter().copied());
                if killed.len() > known && now < limit {
                    // Somebody new may have children that are not known yet: look at once.
                    deadline = now + PATIENCE;
                    continue;
                }
                if late {
                    return Survivors::Left(found);
                }
            }
            Err(_) if late => return Survivors::Unknown,
            Err(_) => {}
        }
        pause(signals);
    }
}

/// Reaps what has ended; false when no child is left.
fn reap() -> bool {
    loop {
        match process::wait_next() {
            Ok(Waited::Changed(..)) => {}
            Ok(Waited::Nothing) | Err(_) => return true,
            Ok(Waited::NoChildren) => return false,
        }
    }
}

/// Sends SIGKILL to every descendant that can be found, parents first: a process that has the
/// signal cannot fork any more, so its list of children, read afterwards, is complete.
fn kill_all(inherited: &Inherited, limit: Instant) -> io::Result<Vec<i32>> {
    let own = process::own_pid();
    let mut found = Vec::new();
    let mut waiting = Vec::new();
    for pid in process::children_of(own)? {
        if !inherited.spares(pid) {
            // Nothing is reaped in here: the number of an own child stays its own.
            let _ = process::signal_child(pid, libc::SIGKILL);
            found.push(pid);
            waiting.push((pid, process::open_pidfd(pid).ok()));
        }
    }
    while let Some((parent, handle)) = waiting.pop() {
        // Without handles (a filter forbids them) everybody becomes an own child in some round.
        let Some(handle) = handle else { continue };
        for pid in process::children_of(parent).unwrap_or_default() {
            let Ok(child) = process::open_pidfd(pid) else {
                continue;
            };
            // Whoever has gone by now has left its children to this process: the next round's.
            if is_child(pid, parent, &handle, own)
                && process::signal_handle(child.as_fd(), libc::SIGKILL).is_ok()
            {
                found.push(pid);
                waiting.push((pid, Some(child)));
            }
        }
        if Instant::now() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Whether `pid`, of which a handle is open, descends from this process. A number only means the
/// process it was read for while that one was not reaped, so the parent is asked for afterwards.
fn is_child(pid: i32, parent: i32, handle: &OwnedFd, own: i32) -> bool {
    match process::parent_of(pid) {
        Ok(actual) if actual == own => true,
        Ok(actual) => actual == parent && process::signal_handle(handle.as_fd(), 0).is_ok(),
        Err(_) => false,
    }
}

/// Waits for a signal (of a child that ended, most likely) or a moment.
fn pause(signals: &SignalQueue) {
    let mut readable = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if poll(&mut readable, PollTimeout::from(1_u8)).is_ok_and(|count| count > 0) {
        // The target is gone: whom a signal was for is no question any more.
        while let Ok(Some(_)) = signals.next() {}
    }
}
