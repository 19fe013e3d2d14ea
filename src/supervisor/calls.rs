// SPDX-License-Identifier: MIT
//! From a notification to the module that answers it.
//!
//! Invariant: a call that nothing here knows is refused: the filter asks only about those it was
//! compiled for, so one would mean that filter and supervisor disagree.

use std::rc::Rc;

use nix::errno::Errno;

use super::caller::Caller;
use super::{Outcome, PENDING_LIMIT, Shared, broker, changes, connect, datagram, listen};
use crate::sys::notify::{Answer, Notification};
use crate::sys::socket;

/// Answers one call, now or later.
pub(super) fn answer(shared: &Rc<Shared>, call: Notification) {
    let caller = Rc::new(Caller {
        shared: Rc::clone(shared),
        call,
    });
    // A thread without a number here cannot be looked at.
    let outcome = if call.thread > 0 {
        perform(&caller)
    } else {
        Err(Errno::EPERM)
    };
    match outcome {
        Ok(Outcome::Now(answer)) => caller.answer(answer),
        Ok(Outcome::Answered) => {}
        Ok(Outcome::Later(future)) => {
            if shared.pending.get() >= PENDING_LIMIT {
                caller.answer(Answer::Error(libc::ENOBUFS));
                return;
            }
            shared.pending.set(shared.pending.get() + 1);
            tokio::task::spawn_local(async move {
                let answer = future.await;
                caller.answer(answer);
                caller.shared.pending.set(caller.shared.pending.get() - 1);
            });
        }
        Err(errno) => caller.answer(Answer::Error(errno as i32)),
    }
}

/// Bits of the type argument that are the type (linux/net.h).
const SOCK_TYPE_MASK: i32 = 0xf;

fn perform(caller: &Rc<Caller>) -> Result<Outcome, Errno> {
    let number = libc::c_long::from(caller.call.number);
    match number {
        libc::SYS_connect => connect::connect(Rc::clone(caller)),
        libc::SYS_bind => listen::bind(caller),
        libc::SYS_listen => listen::listen(caller),
        libc::SYS_socket => make(caller),
        libc::SYS_sendto => datagram::send_to(caller),
        libc::SYS_recvfrom => datagram::receive_from(Rc::clone(caller)),
        _ => match caller.shared.writes.get(&caller.call.number) {
            Some(name) => broker::answer(caller, name),
            None => changes::change(caller),
        },
    }
}

/// Answers socket(2) with a socket of the supervisor's making.
fn make(caller: &Rc<Caller>) -> Result<Outcome, Errno> {
    use std::os::fd::AsFd;
    let kind = caller.integer(1);
    // The filter lets nothing else come here; the kernel's own check is the second.
    let (domain, protocol) = (caller.integer(0), caller.integer(2));
    let flags = kind & libc::SOCK_NONBLOCK;
    let own_type = kind & SOCK_TYPE_MASK;
    let make = || match (domain, own_type, &caller.shared.made) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM, _) => {
            datagram::make(domain, own_type | flags, protocol)
        }
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, Some(_))
        | (libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_SEQPACKET, Some(_)) => {
            socket::make(domain, own_type | flags, protocol)
        }
        _ => Err(Errno::EACCES),
    };
    let socket = match (make(), &caller.shared.made) {
        (Err(Errno::EMFILE), Some(made)) => {
            made.sweep();
            make()?
        }
        (socket, _) => socket?,
    };
    if let Some(made) = &caller.shared.made {
        made.keep(&socket)?;
    }
    let close = kind & libc::SOCK_CLOEXEC != 0;
    match caller
        .shared
        .listener
        .answer_with(caller.call.id, socket.as_fd(), close)
    {
        Ok(_) | Err(Errno::ENOENT) => Ok(Outcome::Answered),
        Err(errno) => Err(errno),
    }
}
