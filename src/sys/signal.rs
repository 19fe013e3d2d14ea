// SPDX-License-Identifier: MIT
//! Signals of this process: blocked and read from a queue, restored for a child, raised.
//!
//! Invariant: no signal handler is ever installed here; what a waiter must hear is blocked and read
//! by signalfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Faults of this process itself: blocking them would hide a defect.
const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// The mask and dispositions Stockade was started with, as far as it changed them.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    mask: SigSet,
    child: libc::sigaction,
}

impl Inherited {
    /// Gives this process, or a forked child, back what it was started with. Async-signal-safe.
    ///
    /// # Errors
    /// Whatever sigaction(2) or sigprocmask(2) answer.
    pub fn restore(&self) -> io::Result<()> {
        // SAFETY: the structure was filled by sigaction(2) in this very process image.
        if unsafe { libc::sigaction(libc::SIGCHLD, &raw const self.child, std::ptr::null_mut()) }
            != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(self.mask.thread_set_mask()?)
    }
}

/// Sets SIGPIPE back to its default: Rust's runtime ignores it in every program, and an ignored
/// signal stays ignored over execve(2). Async-signal-safe.
///
/// # Errors
/// Whatever sigaction(2) answers.
pub fn restore_pipe_signal() -> io::Result<()> {
    reset(libc::SIGPIPE)
}

fn reset(signal: i32) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is the default disposition with an empty mask.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is valid and installs no handler.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One signal that was sent to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Who sent it: a process, or none when the kernel did (terminals, faults, timers).
    pub sender: Option<i32>,
}

/// The signals of this process, as a descriptor.
#[derive(Debug)]
pub struct SignalQueue {
    queue: SignalFd,
}

impl SignalQueue {
    /// Blocks every signal but faults and opens the queue (closed on exec, never waits). Also
    /// makes sure that SIGCHLD is not ignored, which would reap children unseen (waitid(2)).
    ///
    /// # Errors
    /// Whatever the calls answer.
    pub fn open() -> io::Result<(Self, Inherited)> {
        let mut wanted = SigSet::all();
        for fault in FAULTS {
            wanted.remove(fault);
        }
        let queue = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mask = wanted.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: an all-zero sigaction is the default disposition with an empty mask.
        let (default, mut child) = unsafe {
            (
                std::mem::zeroed::<libc::sigaction>(),
                std::mem::zeroed::<libc::sigaction>(),
            )
        };
        // SAFETY: both structures are valid for the call and no handler is installed.
        if unsafe { libc::sigaction(libc::SIGCHLD, &raw const default, &raw mut child) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((Self { queue }, Inherited { mask, child }))
    }

    /// The next signal, if one is there.
    ///
    /// # Errors
    /// Whatever read(2) answers.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let Some(info) = self.queue.read_signal()? else {
            return Ok(None);
        };
        // SI_USER is 0 and the other codes of senders are negative; SI_KERNEL and the codes of
        // faults and children are positive (sigaction(2)).
        let sender = (info.ssi_code <= 0)
            .then_some(info.ssi_pid)
            .and_then(|pid| pid.try_into().ok());
        let Ok(signal) = info.ssi_signo.try_into() else {
            return Ok(None);
        };
        Ok(Some(Received { signal, sender }))
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// Stops this process by a terminal's stop signal (which is blocked), as its target was; returns
/// when it is continued, or at once where that signal stops nobody (orphaned groups, setpgid(2)).
///
/// # Errors
/// Whatever the calls answer.
pub fn stop_by(signal: i32) -> io::Result<()> {
    let signal = Signal::try_from(signal)?;
    let set: SigSet = std::iter::once(signal).collect();
    nix::sys::signal::raise(signal)?;
    set.thread_unblock()?;
    Ok(set.thread_block()?)
}

/// Ends this process by `signal`, without a core dump, so that callers see how the target ended.
/// Returns the code to exit with instead, 128 + `signal`, when the signal does not end it: for
/// the first process of a PID namespace signals have no default action (pid_namespaces(7)).
pub fn die_by(signal: i32) -> u8 {
    let no_core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: passes a valid structure, then numbers. The dumpable flag is needed as well: a core
    // pattern that is a pipe does not obey the limit (core(5)). Failing either only means a core.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    // SIGKILL has no disposition to reset; EINVAL changes nothing.
    let _ = reset(signal);
    // SAFETY: an all-zero set is valid memory for sigemptyset to fill; the rest are numbers and
    // that set. raise(3) addresses the calling thread, the only one.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
    u8::try_from(signal).map_or(255, |number| number.saturating_add(128))
}
