// SPDX-License-Identifier: MIT
//! bind(2) and listen(2) on the target's own socket.
//!
//! Invariant: no socket listens at an address that no rule grants; binding to a port the kernel
//! chooses is judged when the socket is made to listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::address::{Address, encode, loopback_for, parse};
use super::caller::Caller;
use super::{Outcome, Sought, unix};
use crate::audit::Action;
use crate::egress::rules::{Decision, Operation};
use crate::sys::socket::{self, Kind};

/// Answers bind(2).
pub(super) fn bind(caller: &Rc<Caller>) -> Result<Outcome, Errno> {
    let socket = unsettled(caller)?;
    let kind = socket::kind_of(socket.as_fd())?;
    let bytes = caller.read_address(caller.register(1), caller.integer(2))?;
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    match (kind.domain, parse(&bytes)) {
        (libc::AF_UNIX, Address::Unix(name)) => return unix::bind(caller, &socket, &name),
        (libc::AF_UNIX, _) => return Err(Errno::EINVAL),
        (libc::AF_NETLINK, Address::Netlink) => {}
        (libc::AF_INET | libc::AF_INET6, Address::Internet(address)) => match kind.kind {
            libc::SOCK_STREAM => return stream(caller, &socket, &bytes, address),
            libc::SOCK_DGRAM => return datagram(&socket, kind, address),
            _ => return Err(Errno::EACCES),
        },
        // Nothing to listen at: the kernel says what is wrong with it. AF_UNSPEC means AF_INET
        // for the any-address only (bind(2) of IPv4 sockets), which is no name for a peer.
        (libc::AF_INET | libc::AF_INET6, Address::Other) => {}
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    socket::bind(socket.as_fd(), &bytes)?;
    Ok(Outcome::value(0))
}

/// The caller's socket. One that was not made here, or is settled, has an address.
fn unsettled(caller: &Caller) -> Result<OwnedFd, Errno> {
    match caller.descriptor(caller.integer(0)) {
        Err(Errno::EACCES) => Err(Errno::EINVAL),
        result => result,
    }
}

fn stream(
    caller: &Rc<Caller>,
    socket: &OwnedFd,
    bytes: &[u8],
    address: SocketAddr,
) -> Result<Outcome, Errno> {
    if address.port() != 0 {
        judge(caller, address)?;
    }
    match (socket::bind(socket.as_fd(), bytes), &caller.shared.made) {
        // A socket that the target has closed may be kept here still, with its address.
        (Err(Errno::EADDRINUSE), Some(made)) => {
            made.sweep();
            socket::bind(socket.as_fd(), bytes)?;
        }
        (bound, _) => bound?,
    }
    if address.port() == 0 {
        caller
            .shared
            .kernel_chosen
            .borrow_mut()
            .insert(socket::inode(socket.as_fd())?, ());
    }
    Ok(Outcome::value(0))
}

/// A datagram socket only hears the name filter: it is bound where that answers, whatever was
/// asked for. Resolvers bind to the any-address and a random port before they ask.
fn datagram(socket: &OwnedFd, kind: Kind, address: SocketAddr) -> Result<Outcome, Errno> {
    let loopback = SocketAddr::new(loopback_for(address.ip()), 0);
    let loopback = if kind.domain == libc::AF_INET6 && address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
    } else {
        loopback
    };
    socket::bind(socket.as_fd(), &encode(loopback, kind.domain))?;
    Ok(Outcome::value(0))
}

/// Answers listen(2), also for sockets that the kernel would bind by itself.
pub(super) fn listen(caller: &Rc<Caller>) -> Result<Outcome, Errno> {
    let socket = unsettled(caller)?;
    let kind = socket::kind_of(socket.as_fd())?;
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    if kind.domain != libc::AF_UNIX {
        let address = match parse(&socket::local_address(socket.as_fd())?) {
            Address::Internet(address) => address,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        if !socket::is_listening(socket.as_fd())? {
            let chosen = caller
                .shared
                .kernel_chosen
                .borrow()
                .contains(&socket::inode(socket.as_fd())?);
            let any = SocketAddr::new(address.ip(), 0);
            // A rule for port 0 is one for whatever port the kernel chooses.
            if !(chosen && caller.shared.may_listen(any)) {
                judge(caller, unbound(address))?;
            }
        }
    }
    socket::listen(socket.as_fd(), caller.integer(1))?;
    if let Some(ready) = &caller.shared.ready {
        ready.tell();
    }
    caller.settled(&socket);
    Ok(Outcome::value(0))
}

/// What an address that was never bound stands for: every address of the machine.
fn unbound(address: SocketAddr) -> SocketAddr {
    if address.port() != 0 {
        return address;
    }
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(any, 0)
}

fn judge(caller: &Rc<Caller>, address: SocketAddr) -> Result<(), Errno> {
    match caller.shared.decide(Operation::Listen, address) {
        Decision::Direct { .. } | Decision::Verified { .. } => Ok(()),
        Decision::Stale { names } => Err(caller.deny(
            Action::Listen,
            &Sought::Address(address),
            caller.shared.expired(Operation::Listen, address, names),
        )),
        Decision::Denied(denial) => {
            Err(caller.deny(Action::Listen, &Sought::Address(address), denial))
        }
    }
}
