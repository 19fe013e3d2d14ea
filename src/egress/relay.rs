// SPDX-License-Identifier: MIT
//! Carries bytes between the target and the real server, behind the check of what is said.
//!
//! An idle connection costs two sockets and a small future: bytes are read into one buffer that all
//! connections share, and only what the other side does not take at once is kept.
//!
//! Invariant: no byte of the target goes upstream before its check accepted it; a refusal resets both
//! sides. What one side does (half-close, reset, not reading) the other side sees.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::sniff::{Check, Expect, Refused};
use crate::audit::Traffic;

/// How long a message that is checked may take from its first byte to its last.
///
/// A connection on which nothing is said may stay so: pools open ahead, and the losers of a race of
/// addresses are closed late.
const MESSAGE_TIME: Duration = Duration::from_secs(8);

/// How many bytes that wait for a verdict are kept before reading stops. Above the limits of the
/// checks themselves, which refuse first.
const UNDECIDED_LIMIT: usize = 128 * 1024;

/// How often one direction reads before other tasks get their turn: the same thread answers the
/// target's system calls.
const TURNS: usize = 4;

/// The buffer that all relays of one thread read into.
#[derive(Debug, Clone)]
pub struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Scratch {
    /// 64 KB: a loopback socket rarely holds more, and it stays in the processor's cache.
    pub const LENGTH: usize = 64 * 1024;

    /// A buffer of [`Self::LENGTH`] bytes, which is also the most that one direction of one connection
    /// keeps of what the other side has not taken.
    #[must_use]
    pub fn new() -> Self {
        Self::with_length(Self::LENGTH)
    }

    /// A buffer of `length` bytes.
    #[must_use]
    pub fn with_length(length: usize) -> Self {
        Self(Rc::new(RefCell::new(vec![0; length].into_boxed_slice())))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// How a relayed connection ended. Both sockets are closed when the future is dropped, which `await`
/// does at once.
#[derive(Debug)]
pub enum End {
    /// Both sides closed, or one was reset by its peer and so was the other.
    Closed,
    /// The check refused what the target said: both sides were reset.
    Refused(Refused),
    /// A socket failed in another way: both sides were reset.
    Failed(io::Error),
}

/// Carries bytes both ways until the connection ends.
///
/// `client` is the target's side, `upstream` the real server; both are connected. The server is not
/// heard before something of the client was accepted (see [`Check::server_first`]). Dropping the
/// future closes both sockets, and `traffic` says what was carried until then. The runtime needs its timer, and a small `event_interval`: a busy
/// relay carries up to 256 KB each way before it lets others run.
pub fn relay<'a>(
    client: TcpStream,
    upstream: TcpStream,
    expect: &'a Expect,
    scratch: &'a Scratch,
    traffic: &'a Traffic,
) -> impl Future<Output = End> + use<'a> {
    // Without it small messages wait for acknowledgements twice; a failure costs only time.
    let _ = client.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    Relaying {
        pump: Pump::new(client, upstream, expect),
        expect,
        scratch,
        traffic,
    }
}

/// By hand, because an `async fn` would hold the sockets twice.
struct Relaying<'a> {
    pump: Pump,
    expect: &'a Expect,
    scratch: &'a Scratch,
    traffic: &'a Traffic,
}

impl Future for Relaying<'_> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        let polled = this.pump.poll(context, this.expect, this.scratch);
        this.traffic.sent.set(this.pump.out.total);
        this.traffic.received.set(this.pump.back.total);
        let Poll::Ready(stop) = polled else {
            return Poll::Pending;
        };
        // The sockets close when the caller drops the finished future, at the end of its `await`.
        if !matches!(stop, Stop::Closed) {
            reset(&this.pump.client);
            reset(&this.pump.upstream);
        }
        Poll::Ready(match stop {
            Stop::Closed => End::Closed,
            Stop::Refused(refused) => End::Refused(refused),
            Stop::Broken(error) => match error.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted => End::Closed,
                _ => End::Failed(error),
            },
        })
    }
}

/// Makes the close that follows a reset, and not an orderly end.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

enum Stop {
    Closed,
    Refused(Refused),
    Broken(io::Error),
}

struct Pump {
    client: TcpStream,
    upstream: TcpStream,
    check: Check,
    out: Flow,
    back: Flow,
    /// Whether the server may be heard.
    listens: bool,
    /// Runs while a message of the client is incomplete.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Pump {
    fn new(client: TcpStream, upstream: TcpStream, expect: &Expect) -> Self {
        Self {
            client,
            upstream,
            check: Check::new(expect),
            out: Flow::default(),
            back: Flow::default(),
            listens: false,
            clock: None,
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        expect: &Expect,
        scratch: &Scratch,
    ) -> Poll<Stop> {
        // Borrowed for one poll, in which nothing else runs.
        let Ok(mut buffer) = scratch.0.try_borrow_mut() else {
            return Poll::Ready(Stop::Broken(io::Error::other(
                "the shared buffer is in use",
            )));
        };
        if let Err(refused) = self.poll_out(context, expect, &mut buffer) {
            return Poll::Ready(Stop::Refused(refused));
        }
        let waited = self.check.waits();
        if let Err(refused) = self.poll_back(context, &mut buffer) {
            return Poll::Ready(Stop::Refused(refused));
        }
        if waited
            && !self.check.waits()
            && let Err(refused) = self.poll_out(context, expect, &mut buffer)
        {
            return Poll::Ready(Stop::Refused(refused));
        }
        if let Some(stop) = self.stop() {
            return Poll::Ready(stop);
        }
        self.poll_clock(context)
    }

    fn poll_out(
        &mut self,
        context: &mut Context<'_>,
        expect: &Expect,
        buffer: &mut [u8],
    ) -> Result<(), Refused> {
        let mut judge = Judge::Client(&mut self.check, expect);
        let ends = (&mut self.client, &mut self.upstream);
        self.out.orderly = !self.back.has_failed();
        self.out.poll(context, ends, buffer, &mut judge)
    }

    fn poll_back(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Result<(), Refused> {
        if self.listens {
            // nothing to decide
        } else if self.check.begun() {
            self.listens = true;
        } else {
            match self.poll_silent(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(verdict) => verdict?,
            }
            self.listens = true;
        }
        let mut judge = Judge::Server(&mut self.check);
        let ends = (&mut self.upstream, &mut self.client);
        self.back.orderly = !self.out.has_failed();
        self.back.poll(context, ends, buffer, &mut judge)?;
        if !matches!(self.back.stage, Stage::Open) {
            self.check.upstream_ended();
        }
        Ok(())
    }

    /// Looks for the end of a server that may not speak yet, and for one that does so nonetheless.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        let mut start = [0; 8];
        let mut start = ReadBuf::new(&mut start);
        match self.upstream.poll_peek(context, &mut start) {
            Poll::Pending => Poll::Pending,
            // A client that ended without a word gets whatever a server says to that.
            Poll::Ready(Ok(length)) if length > 0 && matches!(self.out.stage, Stage::Open) => {
                Poll::Ready(self.check.server_first(start.filled()))
            }
            // the flow reads the end itself
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            // an error is told once only
            Poll::Ready(Err(error)) => {
                self.back.stage = Stage::Over(Cut::Reading(error));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether both directions are through.
    fn stop(&mut self) -> Option<Stop> {
        match (&mut self.out.stage, &mut self.back.stage) {
            (Stage::Over(Cut::Reading(error)), _) | (_, Stage::Over(Cut::Reading(error))) => {
                Some(Stop::Broken(take(error)))
            }
            // A side that takes no more may have said something before: that is still carried.
            (Stage::Over(Cut::Writing(error)), Stage::Over(_))
            | (Stage::Over(_), Stage::Over(Cut::Writing(error))) => Some(Stop::Broken(take(error))),
            (Stage::Over(Cut::End), Stage::Over(Cut::End)) => Some(Stop::Closed),
            _ => None,
        }
    }

    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<Stop> {
        if std::mem::take(&mut self.out.moved) {
            self.clock = None;
        }
        if !self.out.is_undecided() || self.check.waits() {
            self.clock = None;
            return Poll::Pending;
        }
        let clock = self
            .clock
            .get_or_insert_with(|| Box::pin(sleep(MESSAGE_TIME)));
        clock
            .as_mut()
            .poll(context)
            .map(|()| Stop::Refused(Refused::TimedOut))
    }
}

fn take(error: &mut io::Error) -> io::Error {
    std::mem::replace(error, io::ErrorKind::Other.into())
}

/// Who says what may be passed on.
enum Judge<'a> {
    Client(&'a mut Check, &'a Expect),
    Server(&'a mut Check),
}

impl Judge<'_> {
    fn accepted(&mut self, held: &[u8]) -> Result<usize, Refused> {
        match self {
            Self::Client(check, expect) => check.client(held, expect),
            Self::Server(check) => {
                check.upstream(held);
                Ok(held.len())
            }
        }
    }

    fn waits(&self) -> bool {
        matches!(self, Self::Client(check, _) if check.waits())
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Bytes that were read and not sent.
    held: Vec<u8>,
    /// How many of them are sent, and how many may be.
    sent: usize,
    accepted: usize,
    /// How many bytes were sent in all.
    total: u64,
    /// Whether anything was accepted since the clock was last looked at.
    moved: bool,
    /// Whether the other direction is well.
    orderly: bool,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Open,
    /// The source said its last byte, what is held is still to be sent.
    Draining,
    Over(Cut),
}

enum Cut {
    /// The source said its last byte.
    End,
    /// The source failed.
    Reading(io::Error),
    /// The sink failed.
    Writing(io::Error),
}

impl Flow {
    /// Whether bytes wait for a verdict, and not for room on the other side.
    fn is_undecided(&self) -> bool {
        self.accepted == 0 && !self.held.is_empty()
    }

    fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Over(Cut::Reading(_) | Cut::Writing(_)))
    }

    /// Carries what can be carried now, from the first of `ends` to the second.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        ends: (&mut TcpStream, &mut TcpStream),
        buffer: &mut [u8],
        judge: &mut Judge<'_>,
    ) -> Result<(), Refused> {
        let (from, to) = ends;
        for _ in 0..TURNS {
            if !self.poll_send(context, to) {
                return Ok(());
            }
            if self.is_undecided() {
                self.accepted = judge.accepted(&self.held)?;
                if self.accepted > 0 {
                    self.moved = true;
                    continue;
                }
            }
            if matches!(self.stage, Stage::Draining) {
                if self.is_undecided() && judge.waits() {
                    return Ok(());
                }
                if self.is_undecided() {
                    return Err(Refused::Malformed("the connection ends within a message"));
                }
                // After a failed write the end is no orderly one: a reset follows.
                if self.orderly {
                    let _ = SockRef::from(&*to).shutdown(std::net::Shutdown::Write);
                }
                self.stage = Stage::Over(Cut::End);
                return Ok(());
            }
            if self.held.len() >= UNDECIDED_LIMIT {
                return Ok(());
            }
            if !self.poll_receive(context, from, to, buffer, judge)? {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Sends what is held and accepted; whether there is nothing of it left.
    fn poll_send(&mut self, context: &mut Context<'_>, to: &mut TcpStream) -> bool {
        if matches!(self.stage, Stage::Over(_)) {
            return false;
        }
        while let Some(rest) = self
            .held
            .get(self.sent..self.accepted)
            .filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut *to).poll_write(context, rest) {
                Poll::Pending => return false,
                Poll::Ready(Ok(sent)) if sent > 0 => {
                    self.sent += sent;
                    self.total += sent as u64;
                }
                Poll::Ready(result) => {
                    self.fail(result);
                    return false;
                }
            }
        }
        if self.accepted > 0 {
            self.held.drain(..self.accepted);
            self.sent = 0;
            self.accepted = 0;
            if self.held.is_empty() {
                self.held = Vec::new();
            }
        }
        true
    }

    /// Reads once and passes on what is accepted; whether there was anything.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffer: &mut [u8],
        judge: &mut Judge<'_>,
    ) -> Result<bool, Refused> {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(from).poll_read(context, &mut read) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => {
                // What is still held is what a kernel would drop from its send queue, too.
                self.stage = Stage::Over(Cut::Reading(error));
                return Ok(false);
            }
            Poll::Ready(Ok(())) => {}
        }
        let new = read.filled();
        if new.is_empty() {
            self.stage = Stage::Draining;
            return Ok(true);
        }
        if !self.held.is_empty() {
            self.held.extend_from_slice(new);
            return Ok(true);
        }
        let accepted = judge.accepted(new)?;
        self.moved |= accepted > 0;
        let mut sent = 0;
        if let Some(good) = new.get(..accepted).filter(|good| !good.is_empty()) {
            match Pin::new(to).poll_write(context, good) {
                Poll::Pending => {}
                Poll::Ready(Ok(length)) if length > 0 => {
                    sent = length;
                    self.total += sent as u64;
                }
                Poll::Ready(result) => {
                    self.fail(result);
                    return Ok(false);
                }
            }
        }
        if let Some(rest) = new.get(sent..).filter(|rest| !rest.is_empty()) {
            self.held = rest.to_vec();
            self.accepted = accepted.saturating_sub(sent);
        }
        Ok(true)
    }

    fn fail(&mut self, result: io::Result<usize>) {
        let error = result
            .err()
            .unwrap_or_else(|| io::ErrorKind::WriteZero.into());
        self.held = Vec::new();
        self.sent = 0;
        self.accepted = 0;
        self.stage = Stage::Over(Cut::Writing(error));
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
