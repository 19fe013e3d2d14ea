// SPDX-License-Identifier: MIT
//! connect(2) on the target's own socket.
//!
//! Invariant: the address that was judged is the copy the kernel gets; a blocking caller waits in
//! its own call, never in the supervisor.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::address::{Address, encode, family_of, parse};
use super::caller::Caller;
use super::checked::verified;
use super::hold::{Held, Holders};
use super::waiting::{Waited, until_ready};
use super::{Outcome, Sought, datagram, errno_of, proxied, unix};
use crate::audit::Action;
use crate::egress::rules::{Decision, Operation};
use crate::egress::sniff::Expect;
use crate::sys::notify::{Answer, RESTART};
use crate::sys::socket::{self, Kind};

/// Answers connect(2).
pub(super) fn connect(caller: Rc<Caller>) -> Result<Outcome, Errno> {
    let socket = match caller.descriptor(caller.integer(0)) {
        Ok(socket) => socket,
        // Not made here, or settled: it has a peer.
        Err(Errno::EACCES) => return Err(Errno::EISCONN),
        Err(errno) => return Err(errno),
    };
    let kind = socket::kind_of(socket.as_fd())?;
    let bytes = caller.read_address(caller.register(1), caller.integer(2))?;
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    match (kind.domain, parse(&bytes)) {
        (libc::AF_UNIX, Address::Unix(name)) => unix::connect(caller, socket, kind, &name),
        (libc::AF_UNIX, address @ (Address::Unspecified | Address::Internet(_)))
            if datagram::asked_of(&caller, &socket).is_some() =>
        {
            datagram::connect_again(&caller, &socket, &bytes, &address)
        }
        // As `unix_validate_addr` of net/unix/af_unix.c.
        (libc::AF_UNIX, _) => Err(Errno::EINVAL),
        // A connection that is under way is waited for, whatever the address says.
        (libc::AF_INET | libc::AF_INET6, Address::Other) if kind.kind == libc::SOCK_STREAM => {
            perform(caller, socket, bytes)
        }
        // What is no address of a peer reaches nobody: the kernel says what is wrong with it.
        (libc::AF_INET | libc::AF_INET6, Address::Unspecified | Address::Other)
        | (libc::AF_NETLINK, _) => {
            socket::connect(socket.as_fd(), &bytes)?;
            Ok(Outcome::value(0))
        }
        (libc::AF_INET | libc::AF_INET6, Address::Internet(address)) => match kind.kind {
            libc::SOCK_STREAM => stream(caller, socket, kind, bytes, address),
            libc::SOCK_DGRAM => datagram::connect(&caller, &socket, &bytes, address),
            _ => Err(Errno::EACCES),
        },
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn stream(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    bytes: Vec<u8>,
    address: SocketAddr,
) -> Result<Outcome, Errno> {
    if family_of(address.ip()) != kind.domain {
        // The kernel takes no other family here (tcp_v4_connect, tcp_v6_connect) and says so.
        return perform(caller, socket, bytes);
    }
    if is_busy(socket.as_fd())? {
        // Connected, connecting or listening: the kernel answers by that state alone. An address
        // that leads nowhere makes sure of it.
        return perform(caller, socket, encode(NOWHERE, kind.domain));
    }
    let shared = Rc::clone(&caller.shared);
    if shared.is_name_server(address) {
        return name_server(caller, socket, kind, address);
    }
    shared.filter.begin_denied();
    match shared.decide(Operation::Connect, address) {
        Decision::Direct { .. } if shared.filter.is_denied_unknown() => {
            Ok(Outcome::later(async move {
                shared.filter.denied_known().await;
                // The socket is the caller's, who may have used it meanwhile.
                super::complete(stream(caller, socket, kind, bytes, address)).await
            }))
        }
        Decision::Direct { .. } => direct(caller, socket, kind, bytes, address),
        Decision::Verified { check, names, .. } => {
            verified(caller, socket, kind, address, check, names)
        }
        Decision::Stale { names } => Ok(Outcome::later(async move {
            shared.filter.refresh(&names).await;
            let outcome = match shared.decide(Operation::Connect, address) {
                Decision::Direct { .. } => direct(Rc::clone(&caller), socket, kind, bytes, address),
                Decision::Verified { check, names, .. } => {
                    verified(Rc::clone(&caller), socket, kind, address, check, names)
                }
                Decision::Stale { names } => {
                    let denial = shared.expired(Operation::Connect, address, names);
                    Err(caller.deny(Action::Connect, &Sought::Address(address), denial))
                }
                Decision::Denied(denial) => {
                    Err(caller.deny(Action::Connect, &Sought::Address(address), denial))
                }
            };
            super::complete(outcome).await
        })),
        Decision::Denied(denial) => {
            Err(caller.deny(Action::Connect, &Sought::Address(address), denial))
        }
    }
}

/// Connects to a peer of which nothing is checked.
fn direct(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    bytes: Vec<u8>,
    address: SocketAddr,
) -> Result<Outcome, Errno> {
    match proxied::route(&caller.shared, address) {
        Some(route) => proxied::connect(caller, socket, kind, address, Expect::Nothing, route),
        None => {
            let names = caller.shared.known_names(address);
            caller.shared.contacted(names, address, None);
            perform(caller, socket, bytes)
        }
    }
}

/// Nobody can listen at port 0.
pub(super) const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Whether the socket is on its way, connected or listening, so that an address means nothing to it.
fn is_busy(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(!socket::is_closed(socket)?)
}

/// Performs the call with the copied address.
pub(super) fn perform(
    caller: Rc<Caller>,
    socket: OwnedFd,
    bytes: Vec<u8>,
) -> Result<Outcome, Errno> {
    let flags = socket::status_flags(socket.as_fd())?;
    if flags & libc::O_NONBLOCK != 0 {
        let connected = socket::connect(socket.as_fd(), &bytes);
        match connected {
            Ok(()) | Err(Errno::EISCONN) => caller.settled(&socket),
            Err(Errno::EINPROGRESS) => caller.under_way(socket),
            Err(_) => {}
        }
        return connected.map(|()| Outcome::value(0));
    }
    match at_once(socket.as_fd(), flags, &bytes) {
        Ok(()) => {
            caller.settled(&socket);
            Ok(Outcome::value(0))
        }
        Err(begun @ (Errno::EINPROGRESS | Errno::EALREADY)) => Ok(Outcome::later(async move {
            let limit = socket::time_limit(socket.as_fd(), true).unwrap_or(None);
            loop {
                match wait_connected(&caller, &socket, limit, begun).await {
                    Ok(()) => {}
                    Err(answer) => return answer,
                }
                match at_once(socket.as_fd(), flags, &bytes) {
                    Err(Errno::EINPROGRESS | Errno::EALREADY) => {}
                    result => {
                        if result.is_ok() {
                            caller.settled(&socket);
                        }
                        return Answer::from(result.map(|()| 0));
                    }
                }
            }
        })),
        Err(errno) => Err(errno),
    }
}

/// Works on a socket that does not block meanwhile, whatever its own mode: for that moment the open
/// file, which the target shares, does not.
pub(super) fn unblocked<T>(
    socket: BorrowedFd<'_>,
    flags: i32,
    work: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if flags & libc::O_NONBLOCK != 0 {
        return work();
    }
    socket::set_status_flags(socket, flags | libc::O_NONBLOCK)?;
    let result = work();
    socket::set_status_flags(socket, flags)?;
    result
}

/// Connects a blocking caller's socket without waiting. Where the peer is on this machine the
/// handshake is over before the first attempt returns, and the second one says how it went.
fn at_once(socket: BorrowedFd<'_>, flags: i32, bytes: &[u8]) -> Result<(), Errno> {
    unblocked(socket, flags, || match socket::connect(socket, bytes) {
        Err(Errno::EINPROGRESS) => match socket::connect(socket, bytes) {
            Err(Errno::EALREADY) => Err(Errno::EINPROGRESS),
            result => result,
        },
        result => result,
    })
}

/// Waits for the handshake, or gives the answer that ends the call before: `late` when the caller's
/// own time limit is over.
pub(super) async fn wait_connected(
    caller: &Caller,
    socket: &OwnedFd,
    limit: Option<Duration>,
    late: Errno,
) -> Result<(), Answer> {
    if socket::is_decided(socket.as_fd()) {
        return Ok(());
    }
    match until_ready(caller, socket, Interest::WRITABLE, limit).await {
        Ok(Waited::Ready) => Ok(()),
        Ok(Waited::TimedOut) => Err(Answer::Error(late as i32)),
        Ok(waited) => Err(unanswered(waited)),
        Err(errno) => Err(Answer::Error(errno as i32)),
    }
}

/// The answer of a connection that was waited for in vain.
pub(super) fn unanswered(waited: Waited) -> Answer {
    match waited {
        Waited::Ready | Waited::TimedOut => Answer::Error(libc::EINPROGRESS),
        Waited::Interrupted => Answer::Error(RESTART),
        // Nobody hears it.
        Waited::Gone => Answer::Error(libc::EINTR),
    }
}

/// A name server of this machine: the filter takes the connection.
fn name_server(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    address: SocketAddr,
) -> Result<Outcome, Errno> {
    let flags = socket::status_flags(socket.as_fd())?;
    let holders = &caller.shared.holders;
    let held = hold_socket(holders, &socket, flags, kind.domain, address)?;
    let end = holders.meet(held)?;
    let stream = async_stream(end)?;
    let shared = Rc::clone(&caller.shared);
    let asker = caller.asker();
    shared.filter.begin_denied();
    tokio::task::spawn_local(async move {
        let filter = Rc::clone(&shared.filter);
        crate::egress::dns::serve_stream(filter, stream, asker).await;
    });
    settle(caller, socket, flags)
}

/// The answer to a caller whose socket has just been connected here.
pub(super) fn settle(caller: Rc<Caller>, socket: OwnedFd, flags: i32) -> Result<Outcome, Errno> {
    if flags & libc::O_NONBLOCK != 0 {
        caller.under_way(socket);
        return Err(Errno::EINPROGRESS);
    }
    // Both ends are on this machine; the socket is connected at once or almost.
    perform(caller, socket, encode(NOWHERE, libc::AF_INET))
}

pub(super) fn hold_socket(
    holders: &Holders,
    socket: &OwnedFd,
    flags: i32,
    domain: i32,
    address: SocketAddr,
) -> Result<Held, Errno> {
    unblocked(socket.as_fd(), flags, || {
        holders.hold(socket.as_fd(), domain, address.ip())
    })
}

pub(super) fn async_stream(end: OwnedFd) -> Result<TcpStream, Errno> {
    TcpStream::from_std(end.into()).map_err(|error| errno_of(&error))
}
