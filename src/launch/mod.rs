// SPDX-License-Identifier: MIT
//! From a prepared [`Confinement`] to a running target, and to its end.
//!
//! With nobody to wait for, Stockade becomes the target ([`replace`]). Else, step by step
//! ([`wait_for`], [`capture`]):
//!
//! 1. become a subreaper and remember the children Stockade had before;
//! 2. block all signals and read them from a queue;
//! 3. make the control group of the run, where a limit needs one;
//! 4. fork; the child enters it, asks for SIGKILL at its parent's end, gets its signals back, applies the
//!    confinement and executes; a failure comes back through a pipe that execve closes;
//! 5. pass on what it writes, where that is counted;
//! 6. pass on signals that were sent to Stockade, stop and continue together with the target,
//!    end it at its deadline;
//! 7. when the target has ended, end everything that descends from it.
//!
//! Invariant: an error means that the target never ran, or, for [`LaunchError::Wait`],
//! [`LaunchError::Lost`], [`LaunchError::Output`] and [`LaunchError::OutputTooLong`], that it and its descendants were ended. If Stockade itself is
//! ended by SIGKILL, the kernel ends the target too; processes the target started are then held
//! by their walls alone.
#![forbid(unsafe_code)]

mod carry;
mod descendants;
mod group;
mod output;
mod over;
pub mod private;
mod waiter;
mod witness;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

pub use descendants::Survivors;
pub use group::GroupError;
pub use private::PrivateDirectory;

use crate::confine::{ApplyFailure, ApplyStep, Confinement};
use crate::plan::Lifetime;
use crate::plan::limits::LimitKind;
use crate::sys::{process, signal};

/// How the target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal: Stockade ends by the same one (`sys::signal::die_by`).
    Signalled(i32),
    /// Its time was over: exit code 124.
    TimedOut,
    /// It wrote more to standard output and standard error than it may: exit code 123.
    TooMuchOutput,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How the target ended.
    pub ending: Ending,
    /// What of its descendants could not be ended.
    pub survivors: Survivors,
    /// The limit that ended it, when one did.
    pub limit: Option<LimitKind>,
    /// How often it was refused a process or thread, where a control group counts them.
    pub refused_processes: u64,
}

/// A run whose output was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How the program ended.
    pub ending: Ending,
    /// What of its descendants could not be ended.
    pub survivors: Survivors,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Why a target could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// More than one thread, or no way to tell.
    #[error("cannot start the target: Stockade has more than one thread, or cannot tell")]
    Threads,
    /// A confinement step or the execution failed; the target never ran.
    #[error("cannot start the target")]
    Apply(#[source] ApplyFailure),
    /// The child ended before it could confine itself; the target never ran.
    #[error("cannot start the target: the child process ended before it was confined")]
    Child,
    /// A call before the start failed; the target never ran.
    #[error("cannot start the target: `{call}` failed")]
    Start {
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No control group for the limits; the target never ran.
    #[error("cannot start the target")]
    Group(#[source] GroupError),
    /// Waiting failed; the target was ended.
    #[error("cannot wait for the target, it was ended: `{call}` failed")]
    Wait {
        /// The system call.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The supervisor failed; the target and its descendants were ended.
    #[error("the supervisor of the run failed, so the run was ended")]
    Lost(#[source] io::Error),
    /// The supervisor could not begin; the target never ran.
    #[error("cannot supervise the target, it was not started")]
    Supervise(#[source] SuperviseError),
    /// What the target wrote could not be passed on; it was ended.
    #[error("cannot pass on what the program wrote to {stream}, so the run was ended")]
    Output {
        /// Which of the two.
        stream: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program wrote more than was allowed; it was ended.
    #[error("the program wrote more than {limit} bytes and was ended")]
    OutputTooLong {
        /// Bytes of standard output and standard error together.
        limit: usize,
    },
}

impl LaunchError {
    /// Whether the target may have run: it was ended then.
    pub fn ended_run(&self) -> bool {
        matches!(
            self,
            Self::Wait { .. } | Self::Lost(_) | Self::Output { .. } | Self::OutputTooLong { .. }
        )
    }

    /// Whether everything was ready and the kernel refused to execute the program.
    pub fn refused_execution(&self) -> bool {
        matches!(self, Self::Apply(failure) if failure.step == ApplyStep::Execute)
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Apply(failure) => failure.hint(),
            Self::Threads => Some("mount /proc: Stockade counts its threads there".to_owned()),
            Self::Start { source, .. } => match source.raw_os_error() {
                Some(libc::EAGAIN) => Some(
                    "no more processes may be started: see `ulimit -u` and cgroup limits".into(),
                ),
                Some(libc::EMFILE | libc::ENFILE) => {
                    Some("not enough file descriptors: raise `ulimit -n`, or close some".into())
                }
                _ => None,
            },
            Self::Supervise(failure) => failure.hint(),
            Self::Group(failure) => Some(failure.hint()),
            Self::Child
            | Self::Wait { .. }
            | Self::Lost(_)
            | Self::Output { .. }
            | Self::OutputTooLong { .. } => None,
        }
    }
}

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SuperviseError {
    /// What failed, and on what.
    pub what: String,
    /// What would help.
    pub hint: Option<String>,
    /// The kernel's answer.
    pub source: io::Error,
}

impl SuperviseError {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// What stays beside the target and answers its calls.
pub trait Companion {
    /// Opens what the target's calls will be judged by, while the target is still confining itself:
    /// it executes nothing before [`Self::begin`] has ended.
    ///
    /// # Errors
    /// When something cannot be opened; the target is ended then, never having run.
    fn prepare(&mut self) -> Result<(), SuperviseError>;

    /// Takes the listener of the target, which waits for the word to execute.
    ///
    /// # Errors
    /// When it could not answer; the target is ended then, never having run.
    fn begin(&mut self, target: i32, listener: OwnedFd) -> Result<(), SuperviseError>;

    /// Works until `signals` is readable or the time has come.
    ///
    /// # Errors
    /// When it can answer no longer; the target is ended then.
    fn wait(&mut self, signals: BorrowedFd<'_>, until: Option<Instant>) -> io::Result<()>;
}

/// Becomes the target: confines this process and executes. Returns only on failure, and then
/// this process is partly confined and can only report and exit.
///
/// Only the calling thread would be confined, so more threads than one are refused.
pub fn replace(mut confinement: Confinement) -> LaunchError {
    if process::is_single_threaded() != Some(true) {
        return LaunchError::Threads;
    }
    if let Err(source) = signal::restore_pipe_signal() {
        return LaunchError::Start {
            call: "sigaction",
            source,
        };
    }
    LaunchError::Apply(confinement.apply_and_execute(None))
}

/// Starts the target in a child process, waits for its end and ends its descendants.
/// A supervised target needs a companion. The run's own directory is the caller's to remove; where
/// Stockade is killed, the witness of a supervised run does it.
///
/// At the timeout, and when it writes more than it may, the target gets SIGTERM, and SIGKILL two
/// seconds later.
///
/// # Errors
/// [`LaunchError`]; see there what became of the target.
pub fn wait_for(
    confinement: Confinement,
    lifetime: &Lifetime,
    private: Option<&Path>,
    companion: Option<&mut dyn Companion>,
) -> Result<Finished, LaunchError> {
    let timeout = lifetime.timeout.as_ref().map(|timeout| timeout.after);
    let (finished, _) = waiter::run(confinement, timeout, None, private, companion)?;
    Ok(finished)
}

/// Starts a program without input, collects at most `limit` bytes of what it writes, waits for
/// its end and ends its descendants.
///
/// # Errors
/// [`LaunchError`]; see there what became of the program.
pub fn capture(
    confinement: Confinement,
    limit: usize,
    timeout: Duration,
) -> Result<Captured, LaunchError> {
    let (finished, [stdout, stderr]) =
        waiter::run(confinement, Some(timeout), Some(limit), None, None)?;
    let Finished {
        ending, survivors, ..
    } = finished;
    Ok(Captured {
        ending,
        survivors,
        stdout,
        stderr,
    })
}
