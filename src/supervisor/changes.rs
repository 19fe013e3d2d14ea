// SPDX-License-Identifier: MIT
//! Calls that change modes, owners, times and attributes: from a waiting caller to `attributes` and
//! back.
//!
//! Invariant: a call of another family is refused; every denial is an event.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use nix::errno::Errno;

use super::attributes::{self, Call};
use super::caller::Caller;
use super::{Outcome, attributes::family, paths};
use crate::audit::{Action, Event};
use crate::plan::Plan;
use crate::plan::syscalls::{self, Architecture};

/// The kernel's names of the calls that change files, by number; none for a Plan that has them
/// refused.
pub(super) fn names(plan: &Plan) -> HashMap<i32, &'static str> {
    if !plan.syscalls.supervised.attributes {
        return HashMap::new();
    }
    family(&syscalls::table(&plan.syscalls, Architecture::NATIVE))
}

impl paths::Caller for Caller {
    fn pid(&self) -> i32 {
        self.thread()
    }
    fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        if self.shared.made.is_some() {
            // Only sockets made here could be had; a file is looked at through `/proc`.
            return Err(Errno::EPERM);
        }
        Self::descriptor(self, fd)
    }
}

impl attributes::Caller for Caller {
    fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        Self::read(self, address, length)
    }
    fn read_string(&self, address: u64, limit: usize) -> Result<CString, Errno> {
        Self::read_string(self, address, limit)
    }
    fn still_waiting(&self) -> bool {
        Self::still_waiting(self)
    }
}

/// Performs such a call, or refuses it.
pub(super) fn change(caller: &Caller) -> Result<Outcome, Errno> {
    let name = caller
        .shared
        .changes
        .get(&caller.call.number)
        .copied()
        .ok_or(Errno::EPERM)?;
    let call = Call {
        name,
        arguments: caller.call.arguments,
    };
    match attributes::perform(&call, caller, &caller.shared.grants) {
        attributes::Outcome::Done(value) => Ok(Outcome::value(value)),
        attributes::Outcome::Failed(errno) => Err(errno),
        attributes::Outcome::Denied {
            errno,
            path,
            reason,
            nearest,
            allow_with,
        } => {
            caller.report(Event {
                time: SystemTime::now(),
                pid: Some(caller.thread()),
                program: caller.program(),
                action: Action::Change,
                names: Vec::new(),
                address: None,
                port: None,
                path,
                reason,
                nearest,
                allow_with,
            });
            Err(errno)
        }
    }
}
