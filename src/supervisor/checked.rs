// SPDX-License-Identifier: MIT
//! connect(2) where a relay checks what is said: the upstream first for a caller that waits, a held
//! attempt for one that does not.
//!
//! Invariant: the target's socket is connected only once the upstream has answered; what the upstream
//! answered is what the target hears.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;

use super::address::{encode, family_of};
use super::caller::Caller;
use super::connect::{NOWHERE, async_stream, hold_socket, settle, unblocked, wait_connected};
use super::hold::Held;
use super::{Outcome, Shared, proxied};
use crate::audit::Traffic;
use crate::egress::rules::Check;
use crate::egress::sniff::Expect;
use crate::sys::socket::{self, Kind};

/// Longest time the kernel's own refusal by a near host is waited for before the caller of a
/// non-blocking connection goes on.
const NEAR: Duration = Duration::from_millis(2);

/// Connects through a relay that checks what is said.
pub(super) fn verified(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    address: SocketAddr,
    check: Check,
    names: Vec<String>,
) -> Result<Outcome, Errno> {
    let expect = match check {
        Check::ServerName => Expect::ServerName(names),
        Check::HttpHost => Expect::HttpHost {
            names,
            port: address.port(),
        },
    };
    if let Some(route) = proxied::route(&caller.shared, address) {
        return proxied::connect(caller, socket, kind, address, expect, route);
    }
    let flags = socket::status_flags(socket.as_fd())?;
    let target = SocketAddr::new(address.ip().to_canonical(), address.port());
    let domain = family_of(target.ip());
    let upstream = socket::make(domain, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
    let began = socket::connect(upstream.as_fd(), &encode(target, domain));
    match began {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    let relay = Relay {
        shared: Rc::clone(&caller.shared),
        caller: Rc::clone(&caller),
        address: target,
        expect,
    };
    let attempt = Attempt {
        socket,
        flags,
        domain: kind.domain,
        upstream,
        relay,
    };
    // The handshake of a server on this machine is over when connect returns.
    let decided = socket::is_decided(attempt.upstream.as_fd());
    if flags & libc::O_NONBLOCK == 0 {
        if decided {
            return attempt.join();
        }
        return Ok(Outcome::later(async move {
            let limit = socket::time_limit(attempt.socket.as_fd(), true).unwrap_or(None);
            let waited = wait_connected(&caller, &attempt.upstream, limit, Errno::EINPROGRESS);
            match waited.await {
                Ok(()) => super::complete(attempt.join()).await,
                Err(answer) => {
                    // It goes on without its caller, who may ask again.
                    let _ = attempt.hold();
                    answer
                }
            }
        }));
    }
    if decided {
        return attempt.meet_now();
    }
    if !crate::egress::special::classify(target.ip()).open_to_names() && began.is_err() {
        // A refusal by this machine or its neighbour is there at once.
        return Ok(Outcome::later(async move {
            let waited = wait_connected(&caller, &attempt.upstream, None, Errno::EINPROGRESS);
            let _ = tokio::time::timeout(NEAR, waited).await;
            super::complete(attempt.hold()).await
        }));
    }
    attempt.hold()
}

/// A checked connection that is being made: the target's socket and the way to its peer.
struct Attempt {
    socket: OwnedFd,
    flags: i32,
    domain: i32,
    upstream: OwnedFd,
    relay: Relay,
}

impl Attempt {
    /// The target's socket, on its way to an end that the relay will have.
    fn held(&self) -> Result<Held, Errno> {
        let holders = &self.relay.shared.holders;
        hold_socket(
            holders,
            &self.socket,
            self.flags,
            self.domain,
            self.relay.address,
        )
    }

    /// Connects a blocking caller, whose upstream has been decided.
    fn join(self) -> Result<Outcome, Errno> {
        socket::take_error(self.upstream.as_fd())?;
        let caller = Rc::clone(&self.relay.caller);
        let joined = unblocked(self.socket.as_fd(), self.flags, || {
            let holders = &caller.shared.holders;
            let asked = self.relay.address.ip();
            let held = holders.hold(self.socket.as_fd(), self.domain, asked)?;
            self.relay.start(holders.meet(held)?, self.upstream)?;
            // Both ends are on this machine: this finds the socket connected.
            let there = encode(NOWHERE, libc::AF_INET);
            Ok(socket::connect(self.socket.as_fd(), &there))
        })?;
        match joined {
            Ok(()) => {
                caller.settled(&self.socket);
                Ok(Outcome::value(0))
            }
            Err(_) => settle(caller, self.socket, self.flags),
        }
    }

    /// Connects a caller that does not wait, whose upstream has been decided. It is told to look
    /// again, like every such caller.
    fn meet_now(self) -> Result<Outcome, Errno> {
        socket::take_error(self.upstream.as_fd())?;
        let held = self.held()?;
        // A failure from here on reaches it as one of the connection.
        if let Ok(end) = self.relay.shared.holders.meet(held) {
            self.relay.caller.under_way(self.socket);
            let _ = self.relay.start(end, self.upstream);
        }
        Err(Errno::EINPROGRESS)
    }

    /// Holds a non-blocking caller's attempt; goes on when the upstream has answered.
    fn hold(self) -> Result<Outcome, Errno> {
        if socket::is_decided(self.upstream.as_fd()) {
            return self.meet_now();
        }
        let held = self.held()?;
        self.relay.caller.under_way(self.socket);
        tokio::task::spawn_local(async move {
            let Ok(stream) = async_stream(self.upstream) else {
                return;
            };
            // The kernel gives up on the upstream by itself, which makes it writable.
            if stream.writable().await.is_err() || !matches!(stream.take_error(), Ok(None)) {
                drop(held);
                return;
            }
            let met = self.relay.shared.holders.meet(held);
            if let Ok(end) = met.and_then(async_stream) {
                self.relay.run(end, stream).await;
            }
        });
        Err(Errno::EINPROGRESS)
    }
}

/// A relay that is about to start.
pub(super) struct Relay {
    pub(super) shared: Rc<Shared>,
    pub(super) caller: Rc<Caller>,
    pub(super) address: SocketAddr,
    pub(super) expect: Expect,
}

impl Relay {
    fn start(self, end: OwnedFd, upstream: OwnedFd) -> Result<(), Errno> {
        let (end, upstream) = (async_stream(end)?, async_stream(upstream)?);
        tokio::task::spawn_local(self.run(end, upstream));
        Ok(())
    }

    pub(super) async fn run(self, end: TcpStream, upstream: TcpStream) {
        use crate::egress::relay::{End, relay};
        let scratch = self.shared.scratch.clone();
        let names = match &self.expect {
            Expect::ServerName(names) | Expect::HttpHost { names, .. } => names.clone(),
            Expect::Nothing => self.shared.known_names(self.address),
        };
        let traffic = Rc::new(Traffic::default());
        self.shared
            .contacted(names.clone(), self.address, Some(Rc::clone(&traffic)));
        let ended = relay(end, upstream, &self.expect, &scratch, &traffic).await;
        if let End::Refused(refused) = ended {
            let port = self.address.port();
            let allow_with = names
                .first()
                .and_then(|name| refused.allow_with(name, port));
            self.caller
                .refused(names, self.address, refused.to_string(), allow_with);
        }
    }
}
