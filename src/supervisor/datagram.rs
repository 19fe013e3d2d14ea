// SPDX-License-Identifier: MIT
//! Datagram sockets: they hear, and speak to the name filter alone.
//!
//! The supervisor makes them with the sending side shut, so every way to send, with or without an
//! address, fails in the kernel (EPIPE) without a call being judged. What resolvers need goes
//! through calls that are: a connection to a name server puts one end of a message pair in the
//! socket's place, a datagram to one is answered into the socket.
//!
//! Invariant: no datagram socket of the target can send to the network; a granted peer is reached
//! through a message pair whose other end is the supervisor's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::address::{Address, encode, family_of, parse};
use super::caller::Caller;
use super::waiting::{Waited, until_ready};
use super::{Outcome, Shared, Sought, errno_of, sockets};
use crate::audit::Action;
use crate::egress::dns::{Asker, Transport};
use crate::egress::rules::{Decision, Operation};
use crate::sys::notify::{Answer, RESTART};
use crate::sys::socket::{self, Kind};
use crate::sys::watch;

/// The largest datagram.
const DATAGRAM_LIMIT: usize = 65_536;

/// Makes the socket of socket(2), whose sending side is shut.
pub(super) fn make(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let socket = socket::make(domain, kind, protocol)?;
    socket::shut_sending(socket.as_fd())?;
    Ok(socket)
}

/// Answers connect(2) of a datagram socket.
pub(super) fn connect(
    caller: &Rc<Caller>,
    socket: &OwnedFd,
    bytes: &[u8],
    address: SocketAddr,
) -> Result<Outcome, Errno> {
    let shared = &caller.shared;
    shared.filter.begin_denied();
    if shared.is_name_server(address) {
        let end = replace(caller, socket, address)?;
        tokio::task::spawn_local(serve(end, Rc::clone(shared), caller.asker()));
        return Ok(Outcome::value(0));
    }
    // A resolver connects to every address it was given, to see which source address would be
    // used; what is known under a name is such a question.
    if address.port() != 0
        && !shared.is_known(address.ip())
        && let Decision::Direct { .. } = shared.decide(Operation::Datagram, address)
    {
        if shared.filter.is_denied_unknown() {
            let (caller, socket, bytes) = (Rc::clone(caller), socket.try_clone(), bytes.to_vec());
            let socket = socket.map_err(|error| errno_of(&error))?;
            return Ok(Outcome::later(async move {
                caller.shared.filter.denied_known().await;
                super::complete(connect(&caller, &socket, &bytes, address)).await
            }));
        }
        let target = SocketAddr::new(address.ip().to_canonical(), address.port());
        let domain = family_of(target.ip());
        let upstream = socket::make(domain, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
        socket::connect(upstream.as_fd(), &encode(target, domain))?;
        let end = replace(caller, socket, address)?;
        tokio::task::spawn_local(carry(end, upstream));
        return Ok(Outcome::value(0));
    }
    // Nothing can be sent: what is left is what the kernel says about routes and source addresses.
    socket::connect(socket.as_fd(), bytes)?;
    Ok(Outcome::value(0))
}

/// The peer of a message pair that stands in a datagram socket's place.
pub(super) fn asked_of(caller: &Caller, socket: &OwnedFd) -> Option<SocketAddr> {
    let inode = socket::inode(socket.as_fd()).ok()?;
    caller.shared.asked.borrow().get(&inode).copied()
}

/// Answers connect(2) of a message pair that stands in a datagram socket's place: for another peer, or
/// none, a new datagram socket takes the place.
pub(super) fn connect_again(
    caller: &Rc<Caller>,
    pair: &OwnedFd,
    bytes: &[u8],
    address: &Address<'_>,
) -> Result<Outcome, Errno> {
    let peer = asked_of(caller, pair).ok_or(Errno::EINVAL)?;
    let domain = family_of(peer.ip());
    if let Address::Internet(address) = address
        && family_of(address.ip()) != domain
    {
        return Err(Errno::EAFNOSUPPORT);
    }
    let flags = socket::status_flags(pair.as_fd())? & libc::O_NONBLOCK;
    let socket = make(domain, libc::SOCK_DGRAM | flags, 0)?;
    put_in_place(caller, &socket)?;
    match address {
        Address::Internet(address) => connect(caller, &socket, bytes, *address),
        _ => Ok(Outcome::value(0)),
    }
}

/// Gives the caller `socket` under the number that its call names.
fn put_in_place(caller: &Caller, socket: &OwnedFd) -> Result<(), Errno> {
    let number = caller.integer(0);
    caller.shared.listener.replace_descriptor(
        caller.call.id,
        socket.as_fd(),
        u32::try_from(number).map_err(|_| Errno::EBADF)?,
        caller.closes_on_exec(number),
    )?;
    match &caller.shared.made {
        Some(made) => made.keep(socket),
        None => Ok(()),
    }
}

/// Puts one end of a message pair in the place of the caller's descriptor; gives the other.
fn replace(
    caller: &Rc<Caller>,
    socket: &OwnedFd,
    asked: SocketAddr,
) -> Result<AsyncFd<OwnedFd>, Errno> {
    let flags = socket::status_flags(socket.as_fd())?;
    let (own, other) = socket::message_pair(flags & libc::O_NONBLOCK == 0)?;
    let own = watch::owned(own, Interest::READABLE).map_err(|error| errno_of(&error))?;
    put_in_place(caller, &other)?;
    let inode = socket::inode(other.as_fd())?;
    caller.shared.asked.borrow_mut().insert(inode, asked);
    Ok(own)
}

/// Answers the questions that come out of a message pair, until the target closes its end.
async fn serve(end: AsyncFd<OwnedFd>, shared: Rc<Shared>, asker: Asker) {
    let mut buffer = vec![0; DATAGRAM_LIMIT];
    let end = Rc::new(end);
    while let Ok(length) = receive(&end, &mut buffer).await {
        let query = buffer[..length].to_vec();
        let (end, shared, asker) = (Rc::clone(&end), Rc::clone(&shared), asker.clone());
        // Questions are answered as they can be: resolvers send two at once.
        tokio::task::spawn_local(async move {
            if let Some(answer) = shared.filter.answer(&query, &asker, Transport::Udp).await {
                // A target that does not take its answers loses them, as on the network.
                let _ = socket::send(end.get_ref().as_fd(), &answer, libc::MSG_DONTWAIT, None);
            }
        });
    }
}

/// One message; an error at the end.
async fn receive(end: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        let mut ready = end.readable().await?;
        let received = ready.try_io(|end| {
            socket::receive_from(end.get_ref().as_fd(), buffer, libc::MSG_DONTWAIT)
                .map_err(std::io::Error::from)
        });
        match received {
            Ok(Ok((0, _))) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(result) => return result.map(|(length, _)| length),
            Err(_would_block) => {}
        }
    }
}

/// Carries datagrams between a message pair and a granted peer.
async fn carry(end: AsyncFd<OwnedFd>, upstream: OwnedFd) {
    let Ok(upstream) = watch::owned(upstream, Interest::READABLE) else {
        return;
    };
    let (end, upstream) = (Rc::new(end), Rc::new(upstream));
    let (other_end, other_upstream) = (Rc::clone(&end), Rc::clone(&upstream));
    let back =
        tokio::task::spawn_local(async move { pump(&other_upstream, &other_end, false).await });
    pump(&end, &upstream, true).await;
    back.abort();
}

/// Moves datagrams one way; one that is not taken at once is lost, as on the network.
async fn pump(from: &AsyncFd<OwnedFd>, to: &AsyncFd<OwnedFd>, ends: bool) {
    let mut buffer = vec![0; DATAGRAM_LIMIT];
    loop {
        match receive(from, &mut buffer).await {
            Ok(length) => {
                let bytes = &buffer[..length];
                let _ = socket::send(to.get_ref().as_fd(), bytes, libc::MSG_DONTWAIT, None);
            }
            // The network's errors (ICMP) end nothing.
            Err(error) if !ends && error.kind() != std::io::ErrorKind::UnexpectedEof => {}
            Err(_) => return,
        }
    }
}

/// Answers sendto(2) with an address.
pub(super) fn send_to(caller: &Rc<Caller>) -> Result<Outcome, Errno> {
    let socket = match caller.descriptor(caller.integer(0)) {
        Ok(socket) => socket,
        // Datagram sockets are always known.
        Err(Errno::EACCES) => return Ok(Outcome::Now(Answer::Unjudged)),
        Err(errno) => return Err(errno),
    };
    let kind = socket::kind_of(socket.as_fd())?;
    if kind.kind != libc::SOCK_DGRAM || kind.domain == libc::AF_NETLINK {
        // To a stream an address means nothing (send(2)), the filter has refused to connect by it,
        // and a datagram socket that takes its place by now cannot send at all.
        return Ok(Outcome::Now(Answer::Unjudged));
    }
    let bytes = caller.read_address(caller.register(4), caller.integer(5))?;
    let length = usize::try_from(caller.register(2)).map_err(|_| Errno::EMSGSIZE)?;
    if length > DATAGRAM_LIMIT {
        return Err(Errno::EMSGSIZE);
    }
    let data = caller.read(caller.register(1), length)?;
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    match (kind.domain, parse(&bytes)) {
        (libc::AF_INET | libc::AF_INET6, Address::Internet(address)) => {
            if caller.shared.is_name_server(address) {
                return ask(caller, &socket, kind, address, data);
            }
            let denial = Shared::datagram_denial();
            Err(caller.deny(Action::Send, &Sought::Address(address), denial))
        }
        _ => Err(Errno::EACCES),
    }
}

/// A question to a name server in a datagram: answered into the socket, which hears nobody else
/// from then on.
fn ask(
    caller: &Rc<Caller>,
    socket: &OwnedFd,
    kind: Kind,
    server: SocketAddr,
    query: Vec<u8>,
) -> Result<Outcome, Errno> {
    let length = i64::try_from(query.len()).map_err(|_| Errno::EMSGSIZE)?;
    let shared = Rc::clone(&caller.shared);
    let own = match parse(&socket::local_address(socket.as_fd())?) {
        Address::Internet(own) if own.port() != 0 => own,
        _ => {
            let loopback = match kind.domain {
                libc::AF_INET6 if server.is_ipv6() && server.ip().to_canonical().is_ipv6() => {
                    SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)
                }
                _ => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            };
            socket::bind(socket.as_fd(), &encode(loopback, kind.domain))?;
            match parse(&socket::local_address(socket.as_fd())?) {
                Address::Internet(own) => own,
                _ => return Err(Errno::EADDRNOTAVAIL),
            }
        }
    };
    let own = SocketAddr::new(own.ip().to_canonical(), own.port());
    let speaker = shared.speaker(own.ip())?;
    // From now on it hears nobody but the filter.
    let heard = local_of(&speaker)?;
    socket::connect(socket.as_fd(), &encode(heard, kind.domain))?;
    shared
        .asked
        .borrow_mut()
        .insert(socket::inode(socket.as_fd())?, server);
    let asker = caller.asker();
    shared.filter.begin_denied();
    tokio::task::spawn_local(async move {
        if let Some(answer) = shared.filter.answer(&query, &asker, Transport::Udp).await {
            let own = encode(own, family_of(own.ip()));
            // One that is not taken is lost, as on the network.
            let _ = socket::send(speaker.as_fd(), &answer, libc::MSG_DONTWAIT, Some(&own));
        }
    });
    Ok(Outcome::value(length))
}

fn local_of(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    match parse(&socket::local_address(socket.as_fd())?) {
        Address::Internet(address) => Ok(address),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Answers recvfrom(2) with room for an address.
pub(super) fn receive_from(caller: Rc<Caller>) -> Result<Outcome, Errno> {
    // Receiving reaches out to nobody: only an answer of the name filter needs its sender put right.
    let asked = sockets::named(caller.thread(), caller.integer(0))?
        .is_some_and(|inode| caller.shared.asked.borrow().contains(&inode));
    if !asked {
        return Ok(Outcome::Now(Answer::Unjudged));
    }
    let socket = caller.descriptor(caller.integer(0))?;
    let length = usize::try_from(caller.register(2)).unwrap_or(usize::MAX);
    let flags = caller.integer(3);
    let kind = socket::kind_of(socket.as_fd())?;
    let mut buffer = vec![0; length.min(DATAGRAM_LIMIT)];
    if !caller.still_waiting() {
        return Ok(Outcome::Answered);
    }
    // Nobody waits for errors (`MSG_ERRQUEUE`, recv(2)).
    let waits = flags & (libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE) == 0
        && socket::status_flags(socket.as_fd())? & libc::O_NONBLOCK == 0;
    let attempt = flags | libc::MSG_DONTWAIT;
    match socket::receive_from(socket.as_fd(), &mut buffer, attempt) {
        Err(Errno::EAGAIN) if waits => {}
        Err(errno) => return Err(errno),
        Ok(received) => return give(&caller, &socket, kind, &buffer, received),
    }
    Ok(Outcome::later(async move {
        let limit = socket::time_limit(socket.as_fd(), false).unwrap_or(None);
        loop {
            match until_ready(&caller, &socket, Interest::READABLE, limit).await {
                Ok(Waited::Ready) => {}
                Ok(Waited::TimedOut) => return Answer::Error(libc::EAGAIN),
                Ok(Waited::Interrupted) => return Answer::Error(RESTART),
                Ok(Waited::Gone) => return Answer::Error(libc::EINTR),
                Err(errno) => return Answer::Error(errno as i32),
            }
            match socket::receive_from(socket.as_fd(), &mut buffer, attempt) {
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Answer::Error(errno as i32),
                Ok(received) => {
                    let given = give(&caller, &socket, kind, &buffer, received);
                    return super::complete(given).await;
                }
            }
        }
    }))
}

/// Writes what was received into the caller's memory: the bytes, the sender, its length.
fn give(
    caller: &Caller,
    socket: &OwnedFd,
    kind: Kind,
    buffer: &[u8],
    (length, mut sender): (usize, Vec<u8>),
) -> Result<Outcome, Errno> {
    let bytes = &buffer[..length.min(buffer.len())];
    let inode = socket::inode(socket.as_fd())?;
    if let Some(server) = caller.shared.asked.borrow().get(&inode) {
        // Resolvers take an answer only from the server they asked.
        let domain = match kind.domain {
            libc::AF_UNIX if server.is_ipv4() => libc::AF_INET,
            libc::AF_UNIX => libc::AF_INET6,
            domain => domain,
        };
        sender = encode(*server, domain);
    }
    caller.write(caller.register(1), bytes)?;
    let length_at = caller.register(5);
    if length_at != 0 {
        let room: [u8; 4] = caller
            .read(length_at, 4)?
            .try_into()
            .map_err(|_| Errno::EFAULT)?;
        let room = usize::try_from(i32::from_ne_bytes(room)).map_err(|_| Errno::EINVAL)?;
        caller.write(caller.register(4), &sender[..sender.len().min(room)])?;
        let whole = u32::try_from(sender.len()).map_err(|_| Errno::EINVAL)?;
        caller.write(length_at, &whole.to_ne_bytes())?;
    }
    Ok(Outcome::value(i64::try_from(length).unwrap_or(i64::MAX)))
}
