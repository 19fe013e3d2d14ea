// SPDX-License-Identifier: MIT
//! A timer that interrupts calls of this process that wait where none may.
//!
//! The target shares the open files of its sockets, and their modes with them: it can make a
//! blocking socket of a non-blocking one between two calls here, put a time to linger on one that is
//! closed here last, or fill the pipe that standard error is. A call that waits is ended by a signal.
//!
//! Invariant: the only signal with a handler, which does nothing, is SIGSTKFLT, which no kernel
//! sends (signal(7)); without SA_RESTART, so that waiting calls end with EINTR.

use std::io;
use std::time::Duration;

use super::done;

/// Longest wait of one call.
const LIMIT: Duration = Duration::from_millis(5);

/// The timer.
#[derive(Debug)]
pub struct Interrupter {
    timer: libc::timer_t,
}

// SAFETY: the timer's identifier is a name the kernel gave, valid in every thread of this process.
unsafe impl Send for Interrupter {}
// SAFETY: as above; timer_settime(2) may be called from any thread.
unsafe impl Sync for Interrupter {}

extern "C" fn nothing(_: libc::c_int) {}

impl Interrupter {
    /// A timer that does not run, and the handler of its signal.
    ///
    /// # Errors
    /// Whatever the calls answer.
    pub fn new() -> io::Result<Self> {
        // SAFETY: all-zero values of these structures are valid.
        let (mut action, mut event): (libc::sigaction, libc::sigevent) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        action.sa_sigaction = nothing as *const () as usize;
        let old = std::ptr::null_mut();
        // SAFETY: the handler does nothing, which is async-signal-safe.
        let handled = unsafe { libc::sigaction(libc::SIGSTKFLT, &raw const action, old) };
        done(handled.into())?;
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGSTKFLT;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        let clock = libc::CLOCK_MONOTONIC;
        // SAFETY: reads one live structure and writes one live identifier.
        let made = unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) };
        done(made.into())?;
        // SAFETY: an all-zero set is valid memory to fill; the rest are numbers and that set.
        let unblocked = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGSTKFLT);
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
        };
        done(unblocked.into())?;
        Ok(Self { timer })
    }

    /// From now on a call that waits is interrupted, again and again: one signal could come before
    /// the call begins to wait.
    pub fn start(&self) {
        self.set(LIMIT);
    }

    /// From now on calls may wait.
    pub fn stop(&self) {
        self.set(Duration::ZERO);
    }

    fn set(&self, interval: Duration) {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: interval.subsec_nanos().into(),
        };
        let value = libc::itimerspec {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: reads one live structure. It cannot fail for a timer that is there and such a
        // time (timer_settime(2)).
        unsafe { libc::timer_settime(self.timer, 0, &raw const value, std::ptr::null_mut()) };
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        // SAFETY: the timer is not used any more.
        unsafe { libc::timer_delete(self.timer) };
    }
}
