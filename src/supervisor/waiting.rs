// SPDX-License-Identifier: MIT
//! Waiting on behalf of a blocked caller, without blocking the supervisor.
//!
//! Invariant: a wait ends when the socket is ready, its time is over, a signal handler is due, or
//! the caller has gone; it never holds anything longer than that.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::caller::Caller;
use super::errno_of;
use crate::sys::watch;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The descriptor is ready.
    Ready,
    /// The caller's own time limit is over.
    TimedOut,
    /// The caller has a signal handler to run first.
    Interrupted,
    /// Nobody waits for an answer any more.
    Gone,
}

/// How often a waiting caller is looked at: a Ctrl-C during a hanging connection takes this long.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `socket` is readable or writable.
///
/// # Errors
/// When it cannot be watched: too many watches, or a file without readiness.
pub(super) async fn until_ready(
    caller: &Caller,
    socket: &OwnedFd,
    interest: Interest,
    limit: Option<Duration>,
) -> Result<Waited, Errno> {
    let watched = watch::borrowed(socket.as_fd(), interest).map_err(|error| errno_of(&error))?;
    let mut looks = Looks::new(limit);
    std::future::poll_fn(|context| {
        let ready = if interest.is_readable() {
            watched.poll_read_ready(context).map_ok(drop)
        } else {
            watched.poll_write_ready(context).map_ok(drop)
        };
        match ready {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Waited::Ready)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(errno_of(&error))),
            Poll::Pending => looks.poll(context, caller).map(Ok),
        }
    })
    .await
}

/// Waits until `work` is done.
///
/// # Errors
/// How the wait ended before that; the work is dropped then.
pub(super) async fn until_done<T>(
    caller: &Caller,
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T, Waited> {
    let (mut work, mut looks) = (pin!(work), Looks::new(limit));
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => looks.poll(context, caller).map(Err),
    })
    .await
}

/// Looks at a waiting caller now and then.
struct Looks {
    ticks: Interval,
    end: Option<Instant>,
}

impl Looks {
    fn new(limit: Option<Duration>) -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            end: limit.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }

    /// Why to wait no longer.
    fn poll(&mut self, context: &mut Context<'_>, caller: &Caller) -> Poll<Waited> {
        while self.ticks.poll_tick(context).is_ready() {
            if !caller.still_waiting() {
                return Poll::Ready(Waited::Gone);
            }
            if caller.is_interrupted() {
                return Poll::Ready(Waited::Interrupted);
            }
            if self.end.is_some_and(|end| Instant::now() >= end) {
                return Poll::Ready(Waited::TimedOut);
            }
        }
        Poll::Pending
    }
}
