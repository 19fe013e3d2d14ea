// SPDX-License-Identifier: MIT
//! Passing one descriptor from a forked child to its parent, and the parent's word back; and several
//! between processes that have executed.
//!
//! Invariant: the forked child's side is async-signal-safe and allocates nothing.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// A connected pair, closed on exec: the parent's end and the child's.
///
/// # Errors
/// EMFILE and the like.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

/// The control message of one descriptor, laid out by hand: sendmsg wrappers allocate.
#[repr(C, align(8))]
struct OneDescriptor {
    header: libc::cmsghdr,
    fd: RawFd,
    padding: u32,
}

/// In the child: sends a descriptor. Async-signal-safe.
///
/// # Errors
/// EPIPE when the parent has gone.
pub fn send(socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let byte = [0_u8; 1];
    let data = IoSlice::new(&byte);
    // SAFETY: all-zero values of these plain structures are valid.
    let (mut control, mut message): (OneDescriptor, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let fd_size = u32::try_from(size_of::<RawFd>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: computes a length.
    control.header.cmsg_len = unsafe { libc::CMSG_LEN(fd_size) } as _;
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.fd = descriptor.as_raw_fd();
    message.msg_iov = (&raw const data).cast_mut().cast();
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<OneDescriptor>() as _;
    // SAFETY: the message points to one live byte and one live control message.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// In the child: waits for the parent's word to go on. Async-signal-safe.
///
/// # Errors
/// ECONNABORTED when the parent closed its end instead.
pub fn await_word(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut byte = [0_u8; 1];
    loop {
        // SAFETY: writes at most one byte of a live array.
        match unsafe { libc::read(socket.as_raw_fd(), byte.as_mut_ptr().cast(), 1) } {
            1 => return Ok(()),
            0 => return Err(Errno::ECONNABORTED),
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(Errno::last()),
        }
    }
}

/// In the parent: takes the descriptor; none when the child ended without sending one.
///
/// # Errors
/// Whatever recvmsg(2) answers.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut byte = [0_u8; 1];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut data,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for one in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = one
            && let [fd] = descriptors[..]
        {
            // SAFETY: the kernel has just made this descriptor and nothing else owns it.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(None)
}

/// In the parent: lets the child go on.
///
/// # Errors
/// EPIPE when it has gone.
pub fn give_word(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: reads one live byte.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            [1_u8].as_ptr().cast(),
            1,
            libc::MSG_NOSIGNAL,
        )
    };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// Sends descriptors with a message of one byte.
///
/// # Errors
/// EPIPE when nobody receives any more.
pub fn send_several<const N: usize>(
    socket: BorrowedFd<'_>,
    descriptors: [BorrowedFd<'_>; N],
) -> Result<(), Errno> {
    let numbers = descriptors.map(|descriptor| descriptor.as_raw_fd());
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&numbers)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// The most descriptors of one message (SCM_MAX_FD): with room for them none is lost unseen.
const MOST: usize = 253;

/// What came of a message with descriptors.
#[derive(Debug)]
pub enum Several<const N: usize> {
    /// All of them, closed on exec.
    All([OwnedFd; N]),
    /// Another number of them, or none; those that came are closed.
    Other,
    /// The other end has gone.
    End,
}

/// Receives descriptors, waiting for them unless `flags` says otherwise.
///
/// # Errors
/// Whatever recvmsg(2) answers; ENOBUFS when this process has no room for the descriptors.
pub fn receive_several<const N: usize>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
) -> Result<Several<N>, Errno> {
    let mut byte = [0_u8; 1];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; MOST]);
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut data,
        Some(&mut control),
        flags | MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for one in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = one {
            for fd in descriptors {
                // SAFETY: the kernel has just made this descriptor and nothing else owns it.
                received.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if message.bytes == 0 && received.is_empty() {
        return Ok(Several::End);
    }
    Ok(match received.try_into() {
        Ok(descriptors) => Several::All(descriptors),
        Err(_) => Several::Other,
    })
}
