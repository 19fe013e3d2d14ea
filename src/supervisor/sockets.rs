// SPDX-License-Identifier: MIT
//! Two ways to the target's own sockets: taking a copy of its descriptor, or having made the socket.
//!
//! Containers with Docker's default profile forbid taking (pidfd_getfd(2)). There every socket is
//! made by the supervisor when the target asks for one, and kept by its inode until it is
//! connected, listens, or has been closed.
//!
//! Invariant: a descriptor that is given out is the very socket the target's number named when it
//! was looked up.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::errno_of;
use crate::sys::socket;

/// Sockets made for the target, by inode.
#[derive(Debug)]
pub(super) struct Made {
    sockets: RefCell<HashMap<u64, OwnedFd>>,
    floor: usize,
    sweep_at: Cell<usize>,
}

/// Fewer sockets than this are kept without looking which of them were closed: a program of a
/// thousand threads has a million entries to look at.
const SWEEP_FLOOR: usize = 1024;

impl Made {
    /// Nothing was made yet; `open_files` is how many files this process may have open, of which the
    /// sockets nobody needs any more take a quarter at most.
    pub(super) fn new(open_files: u64) -> Self {
        let quarter = usize::try_from(open_files / 4).unwrap_or(SWEEP_FLOOR);
        let floor = quarter.clamp(16, SWEEP_FLOOR);
        Self {
            sockets: RefCell::default(),
            floor,
            sweep_at: Cell::new(floor),
        }
    }

    /// Keeps a copy of a socket that the target is about to get.
    ///
    /// # Errors
    /// EMFILE when there is no room for it.
    pub(super) fn keep(&self, made: &OwnedFd) -> Result<(), Errno> {
        if self.sockets.borrow().len() >= self.sweep_at.get() {
            self.sweep();
        }
        let inode = socket::inode(made.as_fd())?;
        let copy = made.try_clone().or_else(|_| {
            self.sweep();
            made.try_clone()
        });
        let copy = copy.map_err(|error| errno_of(&error))?;
        self.sockets.borrow_mut().insert(inode, copy);
        Ok(())
    }

    /// A copy of the socket that descriptor `number` of a thread names.
    ///
    /// # Errors
    /// EBADF and ENOTSOCK as the kernel says; EACCES for a socket that was not made here or is
    /// connected already.
    pub(super) fn of(&self, thread: i32, number: i32) -> Result<OwnedFd, Errno> {
        let inode = named(thread, number)?.ok_or(Errno::ENOTSOCK)?;
        let sockets = self.sockets.borrow();
        let kept = sockets.get(&inode).ok_or(Errno::EACCES)?;
        kept.try_clone().map_err(|error| errno_of(&error))
    }

    /// Forgets a socket that needs no more judging: it would stay open here when the target closes
    /// it.
    pub(super) fn forget(&self, socket: &OwnedFd) {
        if let Ok(inode) = socket::inode(socket.as_fd()) {
            self.sockets.borrow_mut().remove(&inode);
        }
    }

    /// Drops what no process holds any more: the number of links to it in `/proc/*/fd` is what the
    /// kernel has no better word for.
    pub(super) fn sweep(&self) {
        let Some(open) = open_sockets() else { return };
        let mut sockets = self.sockets.borrow_mut();
        sockets.retain(|inode, _| open.contains(inode));
        self.sweep_at.set(self.floor.max(sockets.len() * 2));
    }
}

/// The inode of the socket behind a thread's descriptor; none when it is something else
/// (`/proc/TID/fd/N`, proc(5)).
///
/// # Errors
/// EBADF when there is no such descriptor.
pub(super) fn named(thread: i32, number: i32) -> Result<Option<u64>, Errno> {
    let link =
        std::fs::read_link(format!("/proc/{thread}/fd/{number}")).map_err(|_| Errno::EBADF)?;
    Ok(link.to_str().and_then(socket_inode))
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Every socket that a process of this user holds, this one not counted; none when that cannot be
/// told.
fn open_sockets() -> Option<HashSet<u64>> {
    let own = std::process::id().to_string();
    let mut open = HashSet::new();
    for process in std::fs::read_dir("/proc").ok()? {
        let process = process.ok()?;
        let name = process.file_name();
        let is_process = name
            .to_str()
            .is_some_and(|name| name != own && name.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_process {
            continue;
        }
        // Threads with a table of their own count as well.
        let Ok(threads) = std::fs::read_dir(process.path().join("task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let Ok(descriptors) = std::fs::read_dir(thread.path().join("fd")) else {
                continue;
            };
            for descriptor in descriptors.flatten() {
                let link = std::fs::read_link(descriptor.path()).ok();
                open.extend(link.as_ref().and_then(|link| socket_inode(link.to_str()?)));
            }
        }
    }
    Some(open)
}

#[cfg(test)]
mod tests {
    use super::socket_inode;

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(socket_inode("socket:[4711]"), Some(4711));
        for link in [
            "pipe:[4711]",
            "socket:[x]",
            "socket:[1",
            "/tmp/socket:[1]",
            "",
        ] {
            assert_eq!(socket_inode(link), None, "{link}");
        }
    }
}
