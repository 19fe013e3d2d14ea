// SPDX-License-Identifier: MIT
//! The create broker: opening for writing, making, renaming and removing names around protected
//! paths, performed on the target's behalf.
//!
//! ```text
//! registers ──decode──> Request ──find (target memory, once)──> places: a directory, a name in it
//!                                                                  │
//!                          judge: rights as Landlock adds them up, names against what is protected
//!                                                                  │
//!        Landlock's own, or nobody's: the kernel goes on       denied       performed, by the
//!                                                                          directory that was judged
//! ```
//!
//! Which calls these are is seen in the registers; reading opens nothing here and is not asked about.
//! A grant around protected paths has no write right in Landlock, so that whatever is left to the
//! kernel cannot write there, however its memory changes in between; that is why a call may be
//! continued here after its path was read.
//!
//! What the target itself could race with is ordered by this one thread: nothing in a granted
//! directory is made, renamed or removed by it but here.
//!
//! Invariant: a call is performed on the directory that was judged, by one name without links; what
//! is not understood is left to the kernel, which withholds.

mod decode;
mod judge;
mod perform;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use nix::errno::Errno;

use super::Outcome;
use super::caller::Caller;
use crate::audit::{Action, Event};
use crate::plan::Plan;
use crate::plan::syscalls::{self, Architecture};
use crate::sys::notify::Answer;
use decode::{Request, decode, is_family};
use judge::{Denial, Stop};

/// The kernel's names of the calls of the family, by number; none for a Plan without protected
/// paths.
pub(super) fn names(plan: &Plan) -> HashMap<i32, &'static str> {
    if !plan.syscalls.supervised.writes {
        return HashMap::new();
    }
    syscalls::table(&plan.syscalls, Architecture::NATIVE)
        .iter()
        .filter(|rule| is_family(rule.name))
        .filter_map(|rule| Some((i32::try_from(rule.number).ok()?, rule.name)))
        .collect()
}

/// Below this ABI Landlock does not see that a file is shortened.
const TRUNCATE_ABI: u8 = 3;

/// Answers a call of the family.
pub(super) fn answer(caller: &Rc<Caller>, name: &str) -> Result<Outcome, Errno> {
    let request = decode(name, caller.call.arguments);
    let result = match request {
        Some(request) => perform::perform(caller, &request),
        None => Err(Stop::Native),
    };
    match result {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Failed(errno)) => Err(errno),
        Err(Stop::Denied(denial)) => Err(report(caller, *denial)),
        Err(Stop::Native) if shortens(request) && caller.shared.landlock_abi < TRUNCATE_ABI => {
            Err(Errno::EPERM)
        }
        Err(Stop::Native) => Ok(Outcome::Now(Answer::Unjudged)),
    }
}

/// Whether a call may shorten a file: one that was not understood may.
fn shortens(request: Option<Request>) -> bool {
    match request {
        Some(Request::Open { flags, .. }) => flags & libc::O_TRUNC != 0,
        Some(Request::Truncate { .. }) | None => true,
        Some(_) => false,
    }
}

fn report(caller: &Caller, denial: Denial) -> Errno {
    let Denial {
        path,
        protected,
        leads,
    } = denial;
    let place = protected.path.display();
    let reason = match (leads, &protected.origin) {
        (true, _) => format!("the protected `{place}` lies, or would lie, in it"),
        (false, Some(_)) => "a rule denies writing to it".to_owned(),
        (false, None) => format!("it is protected: {}", protected.why),
    };
    let allow_with = match (leads, &protected.origin) {
        (false, None) => Some(format!("--allow-write={place}")),
        _ => None,
    };
    caller.report(Event {
        time: SystemTime::now(),
        pid: Some(caller.thread()),
        program: caller.program(),
        action: Action::Write,
        names: Vec::new(),
        address: None,
        port: None,
        path: Some(path),
        reason,
        nearest: protected.origin,
        allow_with,
    });
    Errno::EACCES
}
