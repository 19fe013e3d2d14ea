// SPDX-License-Identifier: MIT
//! Answers the target's calls in the kernel's place: copies what they point to once, decides, and
//! performs them itself on the target's own descriptors.
//!
//! One thread: the loop that waits for notifications and signals is also the one that looks names
//! up and relays connections, so nothing here may block, and nothing needs a lock.
//!
//! Invariant: no call is continued after its memory was looked at; whatever goes wrong is a denial.
#![forbid(unsafe_code)]

mod address;
pub mod attributes;
mod begin;
mod binder;
mod broker;
mod caller;
mod calls;
mod changes;
mod checked;
mod connect;
mod datagram;
mod denials;
mod hold;
mod listen;
mod named_sockets;
pub mod paths;
mod proxied;
mod ready;
mod recent;
mod sockets;
mod unix;
mod waiting;
mod walls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::runtime::LocalRuntime;

#[doc(hidden)]
pub use address::fuzz_address;
pub use begin::Settings;
use binder::Binder;
use caller::Handles;
use denials::Sought;
use named_sockets::NamedSockets;
use paths::grants::Grants;
use paths::reach::Reach;
pub use ready::Ready;
use recent::Recent;
use sockets::Made;

use crate::audit::Sink;
use crate::egress::dns::Filter;
use crate::egress::names::NameBook;
use crate::egress::proxy::Proxy;
use crate::egress::relay::Scratch;
use crate::egress::rules::{Asked, Decision, Denial, Operation, Rules};
use crate::launch::{Companion, SuperviseError};
use crate::sys::interrupt::Interrupter;
use crate::sys::notify::{Answer, Listener};
use crate::sys::{socket, watch};

/// More calls than this that wait for something are refused: each costs a descriptor.
const PENDING_LIMIT: usize = 16_384;

/// How many notifications are answered before everything else gets its turn.
const TURN: usize = 64;

/// The supervisor of one target.
pub struct Supervisor {
    stage: Stage,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

/// Where the supervision of one target is.
enum Stage {
    /// Waiting for a target.
    Idle(Settings),
    /// What calls are judged by is open; the target is not there yet.
    Prepared(begin::Prepared),
    /// The target runs; nothing was answered yet.
    Begun(begin::Begun),
    /// Answering.
    Running(Running),
    /// Over, or never possible.
    Ended,
}

/// The event loop and what it works on.
struct Running {
    runtime: LocalRuntime,
    shared: Rc<Shared>,
    /// Ends calls that wait: only the event loop itself may.
    interrupter: Arc<Interrupter>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closing waits, too, where the target asked for it (`SO_LINGER`).
        self.interrupter.start();
    }
}

/// What all calls share.
struct Shared {
    listener: Listener,
    handles: Handles,
    /// Sockets made for the target, where its own cannot be taken.
    made: Option<Made>,
    rules: Rc<Rules>,
    /// The `unix:` rules.
    named_sockets: NamedSockets,
    filter: Rc<Filter>,
    book: Rc<RefCell<NameBook>>,
    name_servers: Vec<IpAddr>,
    /// Where granted connections go through.
    proxy: Option<Rc<Proxy>>,
    holders: hold::Holders,
    /// Binds UNIX sockets inside write grants.
    binder: Option<Binder>,
    /// What paths are judged by.
    grants: Grants,
    /// The kernel's names of the calls that change files.
    changes: HashMap<i32, &'static str>,
    /// The kernel's names of the calls that write around protected paths.
    writes: HashMap<i32, &'static str>,
    /// What those are judged by.
    reach: Rc<Reach>,
    /// What Landlock can hold of them.
    landlock_abi: u8,
    sink: Rc<RefCell<dyn Sink>>,
    /// Who is told when the target listens.
    ready: Option<Ready>,
    scratch: Scratch,
    pending: Cell<usize>,
    /// Sockets that are bound to a port the kernel chose.
    kernel_chosen: RefCell<Recent<u64, ()>>,
    /// Which name server a datagram socket asked last.
    asked: RefCell<Recent<u64, SocketAddr>>,
    /// The sockets that answers to datagrams come from, by family.
    speakers: RefCell<HashMap<i32, Rc<OwnedFd>>>,
}

/// How a call is to end.
enum Outcome {
    /// With this.
    Now(Answer),
    /// With what comes out of this.
    Later(Pin<Box<dyn Future<Output = Answer>>>),
    /// It has ended, or nobody waits for its end.
    Answered,
}

impl Outcome {
    fn value(value: i64) -> Self {
        Self::Now(Answer::Value(value))
    }

    fn later(future: impl Future<Output = Answer> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

/// The answer of a call that was continued after a wait.
async fn complete(outcome: Result<Outcome, Errno>) -> Answer {
    match outcome {
        Ok(Outcome::Now(answer)) => answer,
        Ok(Outcome::Later(future)) => future.await,
        // Nobody hears it.
        Ok(Outcome::Answered) => Answer::Error(libc::EINTR),
        Err(errno) => Answer::Error(errno as i32),
    }
}

/// The kernel's number of an error that came by way of the standard library; EIO for one that has
/// none.
fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn asked(operation: Operation, address: SocketAddr) -> Asked {
    Asked {
        operation,
        address: address.ip(),
        port: address.port(),
    }
}

impl Shared {
    fn decide(&self, operation: Operation, address: SocketAddr) -> Decision {
        self.rules.decide(
            &asked(operation, address),
            &self.book.borrow(),
            Instant::now(),
        )
    }

    /// The denial of an address whose names, looked up again, no longer lead there.
    fn expired(&self, operation: Operation, address: SocketAddr, names: Vec<String>) -> Denial {
        self.rules.expired(&asked(operation, address), names)
    }

    fn may_listen(&self, address: SocketAddr) -> bool {
        matches!(
            self.decide(Operation::Listen, address),
            Decision::Direct { .. } | Decision::Verified { .. }
        )
    }

    /// Whether the target would ask its questions there.
    fn is_name_server(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() == 53
            && self
                .name_servers
                .iter()
                .any(|server| server.to_canonical() == ip)
    }

    /// Whether an address was handed out under some name.
    fn is_known(&self, address: IpAddr) -> bool {
        self.book
            .borrow()
            .names_of(address.to_canonical(), Instant::now())
            .next()
            .is_some()
    }

    /// The socket that answers to datagram sockets at this loopback address come from.
    fn speaker(&self, heard_at: IpAddr) -> Result<Rc<OwnedFd>, Errno> {
        let domain = address::family_of(heard_at);
        if let Some(speaker) = self.speakers.borrow().get(&domain) {
            return Ok(Rc::clone(speaker));
        }
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        let speaker = Rc::new(socket::make(domain, kind, 0)?);
        let own = SocketAddr::new(address::loopback_for(heard_at), 0);
        socket::bind(speaker.as_fd(), &address::encode(own, domain))?;
        self.speakers
            .borrow_mut()
            .insert(domain, Rc::clone(&speaker));
        Ok(speaker)
    }
}

impl Supervisor {
    /// A supervisor that begins when its target is there.
    pub fn new(settings: Settings) -> Self {
        Self {
            stage: Stage::Idle(settings),
        }
    }
}

impl Companion for Supervisor {
    fn prepare(&mut self) -> Result<(), SuperviseError> {
        if let Stage::Idle(settings) = std::mem::replace(&mut self.stage, Stage::Ended) {
            self.stage = Stage::Prepared(begin::Prepared::new(settings)?);
        }
        Ok(())
    }

    fn begin(&mut self, target: i32, listener: OwnedFd) -> Result<(), SuperviseError> {
        if let Stage::Prepared(prepared) = std::mem::replace(&mut self.stage, Stage::Ended) {
            self.stage = Stage::Begun(prepared.check(target, listener)?);
        }
        Ok(())
    }

    fn wait(&mut self, signals: BorrowedFd<'_>, until: Option<Instant>) -> io::Result<()> {
        if let Stage::Begun(_) = &self.stage
            && let Stage::Begun(begun) = std::mem::replace(&mut self.stage, Stage::Ended)
        {
            self.stage = Stage::Running(begun.run()?);
        }
        let Stage::Running(Running {
            runtime,
            shared,
            interrupter,
        }) = &self.stage
        else {
            // The target ended before it had a listener: its end is a signal, and there.
            return Ok(());
        };
        let until = until.map(tokio::time::Instant::from_std);
        interrupter.start();
        let served = runtime.block_on(serve(shared, signals, until));
        interrupter.stop();
        served
    }
}

/// Answers notifications until a signal is there or the time has come.
async fn serve(
    shared: &Rc<Shared>,
    signals: BorrowedFd<'_>,
    until: Option<tokio::time::Instant>,
) -> io::Result<()> {
    let signals = watch::borrowed(signals, Interest::READABLE)?;
    let notifications = watch::borrowed(shared.listener.as_fd(), Interest::READABLE)?;
    let far = tokio::time::Instant::now() + std::time::Duration::from_secs(86_400);
    let mut sleep = Box::pin(tokio::time::sleep_until(until.unwrap_or(far)));
    std::future::poll_fn(|context| {
        if signals.poll_read_ready(context)?.is_ready() || sleep.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while let Poll::Ready(ready) = notifications.poll_read_ready(context) {
            let mut ready = ready?;
            for turn in 0.. {
                if turn == TURN {
                    // Readable still: come back after everybody else.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match shared.listener.receive() {
                    Ok(Some(notification)) => calls::answer(shared, notification),
                    Ok(None) => break,
                    // No process is left that could call; its end is a signal.
                    Err(Errno::ENODEV) => {
                        ready.clear_ready();
                        return Poll::Pending;
                    }
                    Err(errno) => return Poll::Ready(Err(errno.into())),
                }
            }
            ready.clear_ready();
        }
        Poll::Pending
    })
    .await
}
