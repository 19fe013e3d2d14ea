// SPDX-License-Identifier: MIT
//! Keeping a target's connection attempt in the air until its upstream has answered.
//!
//! The target's socket connects to a loopback port whose queue is full, so it stays
//! in its handshake like one whose peer is far away. When the upstream has answered, a socket on
//! the same port connects back to the target's socket: both are connected then, and this end is
//! the relay's. When the upstream refused, the listener goes, and the target's next attempt
//! (within a second) is refused by the kernel.
//!
//! Invariant: the relay's end is connected to the very socket that was judged; no listener accepts
//! anybody, and no other process can listen beside one.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::address::{Address, encode, family_of, loopback_for, parse};
use crate::sys::socket;

/// A port where attempts are held, one at a time.
#[derive(Debug)]
struct Holder {
    _listener: OwnedFd,
    /// Bound beside it; each ends one attempt.
    meeting: Vec<OwnedFd>,
    address: SocketAddr,
}

impl Holder {
    fn make(loopback: IpAddr) -> Result<Self, Errno> {
        let domain = family_of(loopback);
        let any_port = encode(SocketAddr::new(loopback, 0), domain);
        let (listener, meeting) = socket::hold_attempts(domain, &any_port, ATTEMPTS)?;
        Ok(Self {
            address: internet(&socket::local_address(listener.as_fd())?)?,
            meeting,
            _listener: listener,
        })
    }
}

/// Ports that hold nothing at the moment: making one takes longer than using it.
#[derive(Debug, Default)]
pub(super) struct Holders {
    free: RefCell<Vec<Holder>>,
}

/// How many attempts, one after the other, a port is used for.
const ATTEMPTS: usize = 4;

/// More free ports than this are closed.
const FREE_LIMIT: usize = 32;

/// An attempt that is held. Dropped, it is refused.
#[derive(Debug)]
pub(super) struct Held {
    holder: Holder,
    attempting: SocketAddr,
}

impl Holders {
    /// Starts `socket` on its way to a held port. The socket must not be blocking at the moment, and
    /// must belong to no connection.
    ///
    /// # Errors
    /// EMFILE, EADDRNOTAVAIL where the family has no loopback, or what connect(2) answers.
    pub(super) fn hold(
        &self,
        socket: BorrowedFd<'_>,
        socket_domain: i32,
        asked: IpAddr,
    ) -> Result<Held, Errno> {
        let holder = self.take(loopback_for(asked))?;
        match socket::connect(socket, &encode(holder.address, socket_domain)) {
            Err(Errno::EINPROGRESS) => {}
            // Nothing answers there.
            Ok(()) => return Err(Errno::EISCONN),
            Err(errno) => return Err(errno),
        }
        Ok(Held {
            attempting: internet(&socket::local_address(socket)?)?,
            holder,
        })
    }

    fn take(&self, loopback: IpAddr) -> Result<Holder, Errno> {
        let mut free = self.free.borrow_mut();
        match free.iter().position(|one| one.address.ip() == loopback) {
            Some(index) => Ok(free.swap_remove(index)),
            None => Holder::make(loopback),
        }
    }

    /// Connects the target's socket; gives the relay's end.
    ///
    /// # Errors
    /// ECONNREFUSED when the target has given up meanwhile.
    pub(super) fn meet(&self, held: Held) -> Result<OwnedFd, Errno> {
        let Held {
            mut holder,
            attempting,
        } = held;
        let domain = family_of(holder.address.ip());
        let end = holder.meeting.pop().ok_or(Errno::EADDRNOTAVAIL)?;
        socket::meet(end.as_fd(), &encode(attempting, domain))?;
        socket::take_error(end.as_fd())?;
        let mut free = self.free.borrow_mut();
        if free.len() < FREE_LIMIT && !holder.meeting.is_empty() {
            free.push(holder);
        }
        Ok(end)
    }
}

fn internet(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    match parse(bytes) {
        Address::Internet(address) => {
            Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        _ => Err(Errno::EAFNOSUPPORT),
    }
}
