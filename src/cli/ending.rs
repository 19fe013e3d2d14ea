// SPDX-License-Identifier: MIT
//! What is said at the end of a run, and the exit status it becomes.
//!
//! Invariant: the status of a program that ended by itself is its own.

use super::render;
use super::run::Status;
use crate::launch::{Ending, Finished, Survivors};
use crate::plan::Plan;
use crate::plan::limits::LimitKind;
use crate::policy::limits::Timeout;

/// The exit code of a run whose time was over, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// The exit code of a run that wrote more than it may.
const TOO_MUCH_OUTPUT: u8 = 123;

/// Says what became of a run where the program cannot, and gives its status.
pub(super) fn status(finished: &Finished, plan: &Plan) -> Status {
    match &finished.survivors {
        Survivors::None => {}
        Survivors::Left(pids) => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            render::warning(&format!(
                "could not end these processes of the run: {}",
                pids.join(", ")
            ));
        }
        Survivors::Unknown => render::warning("could not end every process of the run"),
    }
    if finished.refused_processes > 0
        && let Some(held) = plan.limits.get(LimitKind::Processes)
    {
        render::warning(&format!(
            "a process or thread was refused {} times, by `{}`",
            finished.refused_processes, held.limit.origin
        ));
    }
    if let Some(held) = finished.limit.and_then(|kind| plan.limits.get(kind)) {
        let limit = &held.limit;
        let value = limit.kind.show(limit.value);
        let why = match limit.kind {
            LimitKind::Memory => format!("it needed more memory than {value}"),
            LimitKind::CpuTime => format!("it used more processor time than {value}"),
            LimitKind::FileSize => format!("it wrote a file longer than {value}"),
            LimitKind::OutputSize => format!("it wrote more output than {value}"),
            LimitKind::Processes | LimitKind::OpenFiles => format!("it needed more than {value}"),
        };
        render::line(&format!(
            "error: the run was ended: {why}, by `{}`",
            limit.origin
        ));
    }
    match finished.ending {
        Ending::Exited(code) => Status::Code(code),
        Ending::Signalled(signal) => Status::Signal(signal),
        Ending::TooMuchOutput => Status::Code(TOO_MUCH_OUTPUT),
        Ending::TimedOut => {
            if let Some(Timeout { after, origin }) = &plan.lifetime.timeout {
                render::line(&format!(
                    "error: the run was ended after {after:?}, by `{origin}`"
                ));
            }
            Status::Code(TIMED_OUT)
        }
    }
}
