// SPDX-License-Identifier: MIT
//! Binds UNIX sockets to paths inside write grants, under the very path the target gave.
//!
//! A socket's own address is the text it was bound with, which getsockname(2) tells the target and
//! every peer: a path through a descriptor of the supervisor would be useless there. But the kernel
//! looks that text up once more, and a target that may write in a directory on the way can make it
//! lead elsewhere in between. So this is done by a thread of its own that Landlock holds to the
//! directories in which the target may make sockets. The rest of the supervisor cannot be in such
//! a domain, since it looks into the target, which would be outside of it.
//!
//! Invariant: the thread does nothing but bind, behind the supervisor's walls and Landlock; the
//! supervisor waits for each answer, since both share one working directory and one umask.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::unistd::fchdir;

use super::{errno_of, walls};
use crate::plan::syscalls::Rule;
use crate::plan::{Access, Plan};
use crate::sys::files::Umask;
use crate::sys::landlock::{self, RulesetAttributes};
use crate::sys::resolve::{open_directory, open_without_links};
use crate::sys::{privileges, socket};

/// A socket, and where it is bound.
#[derive(Debug)]
pub(super) struct Place {
    /// The socket.
    pub(super) socket: OwnedFd,
    /// Where a relative path starts.
    pub(super) directory: OwnedFd,
    /// The address.
    pub(super) address: Vec<u8>,
    /// The permissions that the socket's file does not get.
    pub(super) umask: u32,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Binder {
    places: Sender<Place>,
    answers: Receiver<Result<(), Errno>>,
}

impl Binder {
    /// Starts it, when the Plan lets sockets be made in some directory and Landlock can hold it
    /// there. Before the walls stand, which let no thread be made.
    ///
    /// # Errors
    /// When it cannot be confined.
    pub(super) fn start(plan: &Plan, table: &[Rule]) -> io::Result<Option<Self>> {
        if !plan.syscalls.supervised.network || plan.filesystem.abi == 0 {
            return Ok(None);
        }
        let Some(ruleset) = ruleset(plan)? else {
            return Ok(None);
        };
        let home = open_directory(Path::new("."))?;
        let (places, work) = channel();
        let (done, answers) = channel();
        let table = table.to_vec();
        let spawned = thread::Builder::new()
            .name("binder".to_owned())
            .spawn(move || {
                let confined = confine(&ruleset, &table);
                let failed = confined.is_err();
                drop(ruleset);
                if done.send(confined).is_err() || failed {
                    return;
                }
                for place in work {
                    if done.send(bind(&place, &home)).is_err() {
                        return;
                    }
                }
            });
        // Where no more threads may be made, sockets are bound through a held directory.
        if spawned.is_err() {
            return Ok(None);
        }
        match answers.recv() {
            Ok(Ok(())) => Ok(Some(Self { places, answers })),
            Ok(Err(errno)) => Err(errno.into()),
            Err(_) => Err(Errno::EIO.into()),
        }
    }

    /// Binds a socket.
    ///
    /// # Errors
    /// Whatever bind(2) answers; EACCES where the path leads out of the grants meanwhile.
    pub(super) fn bind(&self, place: Place) -> Result<(), Errno> {
        self.places.send(place).map_err(|_| Errno::EIO)?;
        self.answers.recv().map_err(|_| Errno::EIO)?
    }
}

/// Binds a socket without the thread, which Landlock keeps from where something is protected. For an
/// address that leads where it was judged to lead, whatever the target does.
///
/// # Errors
/// Whatever bind(2) answers.
pub(super) fn bind_here(place: &Place) -> Result<(), Errno> {
    bind(place, &open_directory(Path::new("."))?)
}

/// What Landlock lets sockets be made in: what it lets the target. Where the supervisor writes on
/// behalf is not among it: a link turned in another grant would lead to what is protected there.
fn ruleset(plan: &Plan) -> Result<Option<OwnedFd>, Errno> {
    let made = Access::MAKE_SOCK.bits();
    let ruleset = landlock::create_ruleset(RulesetAttributes {
        handled_access_fs: made,
        ..RulesetAttributes::default()
    })?;
    let mut some = false;
    for rule in &plan.filesystem.rules {
        if rule.own_process || !rule.access.contains(Access::MAKE_SOCK) {
            continue;
        }
        // What is not there is not granted.
        if let Ok(directory) = open_without_links(&rule.path) {
            match landlock::add_path_rule(ruleset.as_fd(), directory.as_fd(), made) {
                // A file, in which nothing is made.
                Err(Errno::EINVAL) => {}
                result => {
                    result?;
                    some = true;
                }
            }
        }
    }
    Ok(some.then_some(ruleset))
}

fn confine(ruleset: &OwnedFd, table: &[Rule]) -> Result<(), Errno> {
    privileges::set_no_new_privileges()?;
    landlock::restrict_self(ruleset.as_fd(), 0)?;
    walls::enclose(table).map_err(|error| errno_of(&error))
}

fn bind(place: &Place, home: &OwnedFd) -> Result<(), Errno> {
    fchdir(&place.directory)?;
    let mask = Umask::set(place.umask);
    let bound = socket::bind(place.socket.as_fd(), &place.address);
    drop(mask);
    let back = fchdir(home);
    bound.and(back)
}
