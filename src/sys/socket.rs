// SPDX-License-Identifier: MIT
//! Socket calls with addresses as bytes, the way a target passes them.
//!
//! Invariant: an address that was judged is the one the kernel gets, byte for byte; nothing here
//! waits unless its caller left the socket blocking.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::done;

/// The largest address of any family (`struct sockaddr_storage`).
pub const ADDRESS_LIMIT: usize = 128;

/// What kind of socket a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `AF_INET`, `AF_INET6`, `AF_UNIX`, …
    pub domain: i32,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, …
    pub kind: i32,
}

/// Reads an option over `value`, which is an integer or a structure of integers.
fn read_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    mut value: T,
) -> Result<T, Errno> {
    let mut length = u32::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: writes at most the size of a live value; every bit pattern of integers is valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    done(result.into()).map(|()| value)
}

fn option(socket: BorrowedFd<'_>, name: i32) -> Result<i32, Errno> {
    read_option(socket, libc::SOL_SOCKET, name, 0)
}

fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    // SAFETY: reads four bytes of a live number.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            4,
        )
    };
    done(result.into())
}

/// The socket's family and type.
///
/// # Errors
/// ENOTSOCK when it is none.
pub fn kind_of(socket: BorrowedFd<'_>) -> Result<Kind, Errno> {
    Ok(Kind {
        domain: option(socket, libc::SO_DOMAIN)?,
        kind: option(socket, libc::SO_TYPE)?,
    })
}

/// Whether the socket listens.
///
/// # Errors
/// ENOTSOCK when it is none.
pub fn is_listening(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    option(socket, libc::SO_ACCEPTCONN).map(|value| value != 0)
}

/// Whether a TCP socket belongs to no connection and does not listen (`TCP_CLOSE` of
/// net/tcp_states.h, by `TCP_INFO`, tcp(7)).
///
/// # Errors
/// EOPNOTSUPP when it is no TCP socket.
pub fn is_closed(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    const TCP_CLOSE: u8 = 7;
    Ok(tcp_state(socket)? == TCP_CLOSE)
}

/// The state comes first in the structure, as one byte.
fn tcp_state(socket: BorrowedFd<'_>) -> Result<u8, Errno> {
    read_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, 0)
}

/// Whether a connection that was begun has been made or refused, by a look without waiting (poll(2)
/// finds nothing at a socket whose handshake goes on).
pub fn is_decided(socket: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one live structure, no waiting.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
}

/// The error a socket keeps for its owner, which is gone then.
///
/// # Errors
/// That error.
pub fn take_error(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    match option(socket, libc::SO_ERROR)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

/// How long a send or a connection may take (`SO_SNDTIMEO`), or a receive (`SO_RCVTIMEO`); none
/// for ever.
///
/// # Errors
/// ENOTSOCK when it is none.
pub fn time_limit(socket: BorrowedFd<'_>, sending: bool) -> Result<Option<Duration>, Errno> {
    let name = if sending {
        libc::SO_SNDTIMEO
    } else {
        libc::SO_RCVTIMEO
    };
    let none = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let value = read_option(socket, libc::SOL_SOCKET, name, none)?;
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    let micros = u64::try_from(value.tv_usec).unwrap_or(0);
    let limit = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Ok((!limit.is_zero()).then_some(limit))
}

fn length_of(address: &[u8]) -> Result<u32, Errno> {
    u32::try_from(address.len()).map_err(|_| Errno::EINVAL)
}

/// connect(2). One that waits all the same, since somebody who shares the open file made it
/// blocking again, and is interrupted (`sys::interrupt`), answers like one that does not wait.
///
/// # Errors
/// Whatever it answers, EINPROGRESS included.
pub fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = length_of(address)?;
    // SAFETY: the kernel reads `length` bytes of a live slice.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    match done(result.into()) {
        // A UNIX socket waits for room in a queue, before anything has begun.
        Err(Errno::EINTR) if option(socket, libc::SO_DOMAIN)? == libc::AF_UNIX => {
            Err(Errno::EAGAIN)
        }
        Err(Errno::EINTR) => Err(Errno::EINPROGRESS),
        result => result,
    }
}

/// bind(2).
///
/// # Errors
/// Whatever it answers.
pub fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = length_of(address)?;
    // SAFETY: the kernel reads `length` bytes of a live slice.
    let result = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    done(result.into())
}

/// listen(2).
///
/// # Errors
/// Whatever it answers.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    done(unsafe { libc::listen(socket.as_raw_fd(), backlog) }.into())
}

/// The socket's own address (getsockname(2)).
///
/// # Errors
/// ENOTSOCK when it is none.
pub fn local_address(socket: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0_u8; ADDRESS_LIMIT];
    let mut length = length_of(&bytes)?;
    // SAFETY: the kernel writes at most `length` bytes into a live buffer.
    let result = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    done(result.into())?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// A new socket, closed on exec here.
///
/// # Errors
/// Whatever socket(2) answers.
pub fn make(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers and makes a new descriptor.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has just made this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Shuts the sending side for ever. An unconnected datagram socket answers ENOTCONN and has it
/// shut all the same (`inet_shutdown` of net/ipv4/af_inet.c).
///
/// # Errors
/// Whatever else shutdown(2) answers.
pub fn shut_sending(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    match done(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }.into()) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        other => other,
    }
}

/// Receives one message or some bytes, and where they came from.
///
/// # Errors
/// Whatever recvfrom(2) answers.
pub fn receive_from(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: i32,
) -> Result<(usize, Vec<u8>), Errno> {
    let mut address = vec![0_u8; ADDRESS_LIMIT];
    let mut length = length_of(&address)?;
    // SAFETY: the kernel writes at most the given lengths into two live buffers.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
            address.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let received = usize::try_from(received).map_err(|_| Errno::last())?;
    address.truncate(length as usize);
    Ok((received, address))
}

/// Sends to the connected peer, or to `address`.
///
/// # Errors
/// Whatever sendto(2) answers; SIGPIPE is never raised.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    flags: i32,
    address: Option<&[u8]>,
) -> Result<usize, Errno> {
    let (pointer, length) = match address {
        Some(address) => (address.as_ptr(), length_of(address)?),
        None => (std::ptr::null(), 0),
    };
    // SAFETY: the kernel reads the given lengths of live slices.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
            pointer.cast(),
            length,
        )
    };
    usize::try_from(sent).map_err(|_| Errno::last())
}

/// A connected pair that keeps message borders: one end for the target, in the place of a datagram
/// socket, one end here, which does not wait.
///
/// # Errors
/// EMFILE and the like.
pub fn message_pair(target_waits: bool) -> Result<(OwnedFd, OwnedFd), Errno> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (own, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    if target_waits {
        set_status_flags(borrow(&other), 0)?;
    }
    Ok((own, other))
}

fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    use std::os::fd::AsFd;
    fd.as_fd()
}

/// The status flags of the open file: `O_NONBLOCK` and others (fcntl(2)).
///
/// # Errors
/// EBADF.
pub fn status_flags(file: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: takes numbers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        Err(Errno::last())
    } else {
        Ok(flags)
    }
}

/// Sets the status flags of the open file, which everybody who has it shares.
///
/// # Errors
/// EBADF.
pub fn set_status_flags(file: BorrowedFd<'_>, flags: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    done(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) }.into())
}

/// The inode of the open file: it names a socket for as long as anybody has it.
///
/// # Errors
/// EBADF.
pub fn inode(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(nix::sys::stat::fstat(file)?.st_ino)
}

/// Listens at `address` with a queue that is full for ever, so that whoever connects there stays in
/// the middle of its handshake: the kernel drops the attempts (`tcp_conn_request` of
/// net/ipv4/tcp_input.c). Gives also `meeting` sockets that are bound beside it ([`meet`]): they are
/// bound before it listens, so that afterwards nobody can be, not even processes of this user, who
/// would get a share of the attempts with `SO_REUSEPORT` (socket(7)).
///
/// A packet filter that drops everything would do as well, but kernels have begun to refuse one on
/// TCP sockets to the unprivileged (seen on 6.18.44).
///
/// # Errors
/// Whatever the calls answer; ETIMEDOUT when the queue could not be filled.
pub fn hold_attempts(
    domain: i32,
    address: &[u8],
    meeting: usize,
) -> Result<(OwnedFd, Vec<OwnedFd>), Errno> {
    const TCP_ESTABLISHED: u8 = 1;
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
    let socket = make(domain, kind, 0)?;
    let borrowed = borrow(&socket);
    bind(borrowed, address)?;
    let bound = local_address(borrowed)?;
    set_option(borrowed, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let mut beside = Vec::with_capacity(meeting);
    for _ in 0..meeting {
        let one = make(domain, kind, 0)?;
        set_option(borrow(&one), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        bind(borrow(&one), &bound)?;
        beside.push(one);
    }
    // Room for one connection (listen(2)), which nobody will ever take.
    listen(borrowed, 0)?;
    let filling = make(domain, kind, 0)?;
    match connect(borrow(&filling), &bound) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    // Both ends are here: the handshake is over when connect returns.
    if tcp_state(borrow(&filling))? == TCP_ESTABLISHED {
        Ok((socket, beside))
    } else {
        Err(Errno::ETIMEDOUT)
    }
}

/// Ends a held attempt with a connection: a socket at the holder's address connects to the one that
/// is connecting to it, and both find themselves connected (simultaneous open, RFC 9293 3.5).
///
/// # Errors
/// Whatever connect(2) answers; the connection may be EINPROGRESS, which is no error here.
pub fn meet(socket: BorrowedFd<'_>, attempting: &[u8]) -> Result<(), Errno> {
    match connect(socket, attempting) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}
