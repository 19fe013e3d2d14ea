// SPDX-License-Identifier: MIT
//! Passes on what the target writes to standard output and standard error, and counts it.
//!
//! One thread for each stream waits for the caller to take what was written, as the target itself
//! would: whoever stays beside the target never waits for it.
//!
//! Invariant: no byte beyond the limit reaches the caller; the bytes of a stream keep their order, and
//! where both streams are the same open file, all bytes do; a reader that has gone is gone for the
//! target, too. The threads can do nothing but read, write and wait.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use super::output::{Room, Streams};
use super::waiter::{GRACE, wait_error};
use super::{Ending, LaunchError};
use crate::confine::filter;
use crate::plan::syscalls::{self, Action, Architecture, Facts, Refusal, Supervised, Verdict};
use crate::sys::signal::{self, SignalQueue};
use crate::sys::{files, privileges, seccomp};

/// As much as a pipe holds (pipe(7)).
const CHUNK: usize = 64 * 1024;

/// What a thread needs that reads, writes, waits and ends.
const CALLS: [&str; 22] = [
    "read",
    "write",
    "poll",
    "ppoll",
    "close",
    "futex",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    "sigaltstack",
    "rt_sigprocmask",
    "rt_sigreturn",
    "restart_syscall",
    "sched_yield",
    "gettid",
    "getpid",
    "getrandom",
    "exit",
    "exit_group",
];

/// Both streams of one run.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Until they are given to threads.
    streams: Vec<Stream>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Readable when there is a signal or something to tell.
    news: Option<Epoll>,
}

/// From the target to the caller.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    from: File,
    to: OwnedFd,
}

/// What the threads and the waiter share.
#[derive(Debug)]
struct Shared {
    budget: Budget,
    /// Threads that have not ended.
    working: AtomicUsize,
    failure: Mutex<Option<(&'static str, io::Error)>>,
    /// Something of the above has changed.
    changed: EventFd,
    /// Nobody is left who writes: what is in the pipes is all there is.
    last: EventFd,
}

/// What may still be passed on, of both streams together.
#[derive(Debug)]
struct Budget {
    /// In bytes.
    left: AtomicU64,
    /// More was written.
    over: AtomicBool,
}

impl Budget {
    fn new(limit: u64) -> Self {
        Self {
            left: AtomicU64::new(limit),
            over: AtomicBool::new(false),
        }
    }

    /// How many of `wanted` bytes may be passed on; fewer than that are too many.
    fn take(&self, wanted: usize) -> usize {
        let wanted_bytes = wanted as u64;
        let less = |left: u64| Some(left.saturating_sub(wanted_bytes));
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .unwrap_or(0);
        if before < wanted_bytes {
            self.over.store(true, Ordering::SeqCst);
        }
        usize::try_from(before).map_or(wanted, |before| before.min(wanted))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Carrier {
    /// Pipes for both streams, or one where both are the same open file, and the child's ends.
    pub(super) fn new(limit: u64) -> io::Result<(Self, Streams)> {
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let (from, writer) = files::pipe()?;
        let mut streams = vec![Stream {
            name: "standard output",
            from,
            to: output.as_fd().try_clone_to_owned()?,
        }];
        let error_writer = if files::is_same_open_file(output.as_fd(), error.as_fd()) {
            writer.try_clone()?
        } else {
            let (from, writer) = files::pipe()?;
            streams.push(Stream {
                name: "standard error",
                from,
                to: error.as_fd().try_clone_to_owned()?,
            });
            writer
        };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let carrier = Self {
            shared: Arc::new(Shared {
                budget: Budget::new(limit),
                working: AtomicUsize::new(streams.len()),
                failure: Mutex::new(None),
                changed: EventFd::from_flags(flags)?,
                last: EventFd::from_flags(flags)?,
            }),
            streams,
            threads: Vec::new(),
            news: None,
        };
        let input = input.as_fd().try_clone_to_owned()?;
        Ok((carrier, [input, writer, error_writer]))
    }

    /// Starts the threads; before the walls of a supervisor stand, which let none be made.
    ///
    /// # Errors
    /// [`LaunchError::Wait`].
    pub(super) fn begin(&mut self, signals: &SignalQueue) -> Result<(), LaunchError> {
        let news = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        let news = news.map_err(|errno| wait_error("epoll_create1")(errno.into()))?;
        for file in [signals.as_fd(), self.shared.changed.as_fd()] {
            news.add(file, EpollEvent::new(EpollFlags::EPOLLIN, 0))
                .map_err(|errno| wait_error("epoll_ctl")(errno.into()))?;
        }
        self.news = Some(news);
        let rules = rules();
        let filter = filter::compile(&rules, Architecture::NATIVE, [0; 3])
            .map_err(|error| wait_error("seccomp")(io::Error::other(error)))?;
        let filter = Arc::new(filter);
        for stream in self.streams.drain(..) {
            let (shared, filter) = (Arc::clone(&self.shared), Arc::clone(&filter));
            let work = move || {
                let name = stream.name;
                let confined = privileges::set_no_new_privileges()
                    .and_then(|()| seccomp::install(filter.instructions()));
                let done = match confined {
                    Ok(()) => carry(stream, &shared),
                    Err(errno) => Err(errno.into()),
                };
                if let Err(error) = done {
                    let failure = &mut *shared
                        .failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert((name, error));
                }
                shared.working.fetch_sub(1, Ordering::SeqCst);
                shared.tell();
            };
            let thread = thread::Builder::new().spawn(work);
            self.threads.push(thread.map_err(wait_error("clone"))?);
        }
        Ok(())
    }

    /// Readable when there is a signal or something to tell; none before the begin.
    pub(super) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.news.as_ref().map(|news| news.0.as_fd())
    }

    /// Whether more may be written.
    ///
    /// # Errors
    /// [`LaunchError::Output`].
    pub(super) fn look(&self) -> Result<Room, LaunchError> {
        // Not there: nothing was told since the last look.
        let _ = self.shared.changed.read();
        let failure = &mut *self
            .shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((stream, source)) = failure.take() {
            return Err(LaunchError::Output { stream, source });
        }
        Ok(match self.shared.budget.is_over() {
            true => Room::Over,
            false => Room::Left,
        })
    }

    /// Waits until the caller has taken what the target left. As long as the target would wait: to its
    /// deadline, or a signal that ends programs; what was ended already waits a moment only. A thread
    /// that still waits then ends with this process.
    ///
    /// # Errors
    /// [`LaunchError::Output`].
    pub(super) fn finish(
        &mut self,
        mut ending: Ending,
        signals: &SignalQueue,
        mut deadline: Option<Instant>,
    ) -> Result<Ending, LaunchError> {
        if matches!(ending, Ending::TimedOut | Ending::TooMuchOutput) {
            deadline = Instant::now().checked_add(GRACE);
        }
        self.shared.end();
        loop {
            if self.look()? == Room::Over && ending != Ending::TimedOut {
                ending = Ending::TooMuchOutput;
            }
            if self.shared.working.load(Ordering::SeqCst) == 0 {
                break;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(match ending {
                    Ending::TooMuchOutput => ending,
                    _ => Ending::TimedOut,
                });
            }
            self.wait(signals, left.map(TimeSpec::from))?;
            while let Some(received) = signals.next().map_err(wait_error("signalfd"))? {
                match received.signal {
                    libc::SIGTSTP => {
                        signal::stop_by(libc::SIGTSTP).map_err(wait_error("raise"))?;
                    }
                    signal @ (libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM) => {
                        return Ok(Ending::Signalled(signal));
                    }
                    _ => {}
                }
            }
        }
        for thread in self.threads.drain(..) {
            // It has ended, or is about to.
            let _ = thread.join();
        }
        Ok(ending)
    }

    fn wait(&self, signals: &SignalQueue, left: Option<TimeSpec>) -> Result<(), LaunchError> {
        let news = self.news().unwrap_or_else(|| signals.as_fd());
        match ppoll(&mut [PollFd::new(news, PollFlags::POLLIN)], left, None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(wait_error("ppoll")(errno.into())),
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    /// Wakes the waiter.
    fn tell(&self) {
        // It fails when it was told 2⁶⁴ times.
        let _ = self.changed.write(1);
    }

    /// Nobody writes any more.
    fn end(&self) {
        let _ = self.last.write(1);
    }
}

/// Passes one stream on to its end: nobody has it open any more, the reader has gone, or nobody
/// writes any more and nothing is left.
fn carry(stream: Stream, shared: &Shared) -> io::Result<()> {
    let Stream { from, to, .. } = stream;
    let mut chunk = vec![0; CHUNK];
    loop {
        let is_last = match wait_for(&from, &to, shared)? {
            Next::Reader => return Ok(()),
            Next::Bytes => false,
            Next::Last => true,
        };
        match (&from).read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let was_over = shared.budget.is_over();
                let passed = shared.budget.take(count);
                if passed < count && !was_over {
                    shared.tell();
                }
                if !write_all(&to, chunk.get(..passed).unwrap_or_default())? {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_last => return Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a wait brought.
enum Next {
    /// There is something to read, or nobody who writes.
    Bytes,
    /// Nobody will write any more.
    Last,
    /// The reader has gone: whoever watches standard output for that must see it.
    Reader,
}

fn wait_for(from: &File, to: &OwnedFd, shared: &Shared) -> io::Result<Next> {
    let mut watched = [
        PollFd::new(from.as_fd(), PollFlags::POLLIN),
        PollFd::new(shared.last.as_fd(), PollFlags::POLLIN),
        PollFd::new(to.as_fd(), PollFlags::empty()),
    ];
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let [from, last, to] = watched.map(|one| one.revents().unwrap_or(PollFlags::empty()));
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    Ok(if to.intersects(gone) {
        Next::Reader
    } else if !last.is_empty() {
        Next::Last
    } else {
        debug_assert!(!from.is_empty());
        Next::Bytes
    })
}

/// Writes everything; false when the reader has gone.
fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> io::Result<bool> {
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // The caller's stream does not wait by itself.
            Err(Errno::EAGAIN) => {
                let mut writable = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut writable, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            // Of a pipe or socket, and of a terminal that was hung up.
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::EIO) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(true)
}

/// The table of system calls of a thread.
fn rules() -> Vec<syscalls::Rule> {
    let facts = Facts {
        processes: false,
        internet: false,
        supervised: Supervised::default(),
        kept: false,
        unix: false,
        netlink: false,
        devices: false,
        landlock_abi: 0,
    };
    let mut rules = syscalls::table(&facts, Architecture::NATIVE);
    for rule in &mut rules {
        rule.verdict = Verdict::Always(if CALLS.contains(&rule.name) {
            Action::Allow
        } else {
            Action::Refuse(Refusal::Eperm)
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_limit_is_not_too_much() {
        let budget = Budget::new(10);
        assert_eq!(budget.take(4), 4);
        assert_eq!(budget.take(6), 6);
        assert!(!budget.is_over());
        assert_eq!(budget.take(0), 0);
        assert!(!budget.is_over());
        assert_eq!(budget.take(1), 0);
        assert!(budget.is_over());
        assert_eq!(budget.take(1 << 20), 0);
    }

    #[test]
    fn what_fits_of_the_last_chunk_is_passed_on() {
        let budget = Budget::new(10);
        assert_eq!(budget.take(64), 10);
        assert!(budget.is_over());
    }

    #[test]
    fn the_threads_calls_are_in_the_table() {
        let rules = rules();
        let allowed = Verdict::Always(Action::Allow);
        for name in CALLS {
            let found = rules.iter().find(|rule| rule.name == name);
            // Only one architecture has `poll`.
            assert!(
                found.is_some_and(|rule| rule.verdict == allowed) || name == "poll",
                "{name}"
            );
        }
        let closed = rules.iter().find(|rule| rule.name == "openat").unwrap();
        assert_eq!(
            closed.verdict,
            Verdict::Always(Action::Refuse(Refusal::Eperm))
        );
    }
}
