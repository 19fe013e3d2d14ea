// SPDX-License-Identifier: MIT
//! Performing judged writing calls: each on the directory that was judged, by one name, never
//! through a link.
//!
//! The supervisor has the target's user, groups and no capabilities, so the kernel's own permission
//! checks are those of the target; its file mode creation mask is set to the caller's for the call.
//!
//! Invariant: every call is judged here before it is made, and the caller still waits when it is.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, RenameFlags, fcntl, open, openat, renameat2};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, ftruncate, linkat, symlinkat, unlinkat};

use super::decode::{At, Request};
use super::judge::{
    Found, Named, PATH_MAX, Place, Stop, Way, find, find_place, making, place_of, refer, removing,
};
use crate::plan::Access;
use crate::supervisor::Outcome;
use crate::supervisor::caller::Caller;
use crate::sys::attributes::descriptor_name;
use crate::sys::files::Umask;
use crate::sys::notify::{Answer, RESTART};
use crate::sys::resolve::Links;
use crate::sys::target;

/// Permission bits that are set when something is made: never set-user-id or set-group-id.
const PERMISSIONS: u32 = 0o1777;

/// Judges and performs.
///
/// # Errors
/// [`Stop`].
pub(super) fn perform(caller: &Rc<Caller>, request: &Request) -> Result<Outcome, Stop> {
    match *request {
        Request::Open { at, flags, mode } if flags & TMPFILE == TMPFILE => {
            open_unnamed(caller, at, flags, mode)
        }
        Request::Open { at, flags, mode } => open_file(caller, at, flags, mode),
        Request::MakeDirectory { at, mode } => {
            let place = find_place(at, &**caller)?;
            place.vacant(true)?;
            single(caller, &place, Access::MAKE_DIR, true)?;
            make(caller, || {
                mkdirat(&place.directory, place.name.as_os_str(), permissions(mode))
            })
        }
        Request::MakeNode { at, mode } => make_node(caller, at, mode),
        Request::MakeLink { at, target } => {
            let content = caller.read_string(target, PATH_MAX).map_err(native)?;
            let place = find_place(at, &**caller)?;
            place.vacant(false)?;
            single(caller, &place, Access::MAKE_SYM, false)?;
            done(symlinkat(
                content.as_c_str(),
                &place.directory,
                place.name.as_os_str(),
            ))
        }
        Request::Remove { at, directory } => {
            let place = find_place(at, &**caller)?;
            let is_directory = place.existing()?.kind() == libc::S_IFDIR;
            let needed = match directory {
                true => Access::REMOVE_DIR,
                false => Access::REMOVE_FILE,
            };
            // Without anything in it, a directory that leads somewhere leads nowhere.
            single(caller, &place, needed, directory && is_directory)?;
            let flag = match directory {
                true => UnlinkatFlags::RemoveDir,
                false => UnlinkatFlags::NoRemoveDir,
            };
            done(unlinkat(&place.directory, place.name.as_os_str(), flag))
        }
        Request::Name {
            from,
            to,
            follow,
            empty,
        } => name(caller, from, to, follow, empty),
        Request::Rename { from, to, flags } => rename(caller, from, to, flags),
        Request::Truncate { at, length } => truncate(caller, at, length),
    }
}

const TMPFILE: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

fn native<T>(_: T) -> Stop {
    Stop::Native
}

fn done(result: Result<(), Errno>) -> Result<Outcome, Stop> {
    result?;
    Ok(Outcome::value(0))
}

fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & PERMISSIONS)
}

/// Makes sure that everything read so far was the caller's own.
fn waiting(caller: &Caller) -> Result<(), Stop> {
    match caller.still_waiting() {
        true => Ok(()),
        false => Err(Errno::ESRCH.into()),
    }
}

/// Judges a call about one place.
fn single(caller: &Caller, place: &Place, needed: Access, on_the_way: bool) -> Result<(), Stop> {
    match place.judge(needed, on_the_way, &caller.shared.reach)? {
        Way::Native => Err(Stop::Native),
        Way::Brokered => waiting(caller),
    }
}

/// Makes something with the caller's file mode creation mask.
fn masked<T>(caller: &Caller, make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let umask = caller.umask().ok_or(Errno::ESRCH)?;
    let _own = Umask::set(umask);
    make()
}

fn make(caller: &Caller, make: impl FnOnce() -> Result<(), Errno>) -> Result<Outcome, Stop> {
    done(masked(caller, make))
}

fn make_node(caller: &Caller, at: At, mode: u32) -> Result<Outcome, Stop> {
    let kind = match mode & libc::S_IFMT {
        0 | libc::S_IFREG => SFlag::S_IFREG,
        libc::S_IFIFO => SFlag::S_IFIFO,
        libc::S_IFSOCK => SFlag::S_IFSOCK,
        _ => return Err(Stop::Native),
    };
    let place = find_place(at, caller)?;
    place.vacant(false)?;
    single(caller, &place, making(kind.bits()), false)?;
    make(caller, || {
        let name = place.name.as_os_str();
        mknodat(&place.directory, name, kind, permissions(mode), 0)
    })
}

/// The rights that opening with these flags needs on the file.
fn opening(flags: i32) -> Access {
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ_FILE,
        libc::O_WRONLY => Access::WRITE_FILE,
        _ => Access::READ_FILE | Access::WRITE_FILE,
    }
}

/// Flags for an open that ends here: what the caller asked for, without waiting or following.
fn own_flags(flags: i32) -> OFlag {
    let kept = flags & !(libc::O_CREAT | libc::O_EXCL);
    OFlag::from_bits_retain(kept) | OFlag::O_CLOEXEC | OFlag::O_NOCTTY
}

fn open_file(caller: &Rc<Caller>, at: At, flags: i32, mode: u32) -> Result<Outcome, Stop> {
    let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
    let links = match exclusive || flags & libc::O_NOFOLLOW != 0 {
        true => Links::LastMeant,
        false => Links::Followed,
    };
    let place = match find(at, links, &**caller)? {
        Named::Place(place) => place,
        Named::Directory(_) => return Err(Stop::Native),
        Named::Descriptor(object) => return reopen(caller, place_of(object)?, flags),
    };
    if place.found.is_some() {
        if exclusive {
            return Err(Errno::EEXIST.into());
        }
        return open_existing(caller, place, flags);
    }
    if flags & libc::O_CREAT == 0 || flags & libc::O_DIRECTORY != 0 {
        return Err(Stop::Native);
    }
    place.vacant(false)?;
    single(caller, &place, Access::MAKE_REG | opening(flags), false)?;
    let own = own_flags(flags) | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let opened = masked(caller, || {
        openat(
            &place.directory,
            place.name.as_os_str(),
            own,
            permissions(mode),
        )
    });
    match opened {
        // Made by somebody else in between.
        Err(Errno::EEXIST) if !exclusive => open_file(caller, at, flags, mode),
        opened => hand_over(caller, opened?, flags),
    }
}

/// The rights that an open of an existing file needs.
fn changing(flags: i32) -> Access {
    match flags & libc::O_TRUNC {
        0 => opening(flags),
        _ => opening(flags) | Access::TRUNCATE,
    }
}

fn open_existing(caller: &Rc<Caller>, place: Place, flags: i32) -> Result<Outcome, Stop> {
    match place.existing()?.kind() {
        libc::S_IFREG => {}
        libc::S_IFIFO => return open_pipe(caller, place, flags),
        _ => return Err(Stop::Native),
    }
    single(caller, &place, changing(flags), false)?;
    let own = own_flags(flags) | OFlag::O_NOFOLLOW;
    let name = place.name.as_os_str();
    let opened = openat(&place.directory, name, own, Mode::empty())?;
    hand_over(caller, opened, flags)
}

/// Opens once more what the caller has open, whatever its name is by now.
fn reopen(caller: &Rc<Caller>, place: Place, flags: i32) -> Result<Outcome, Stop> {
    let found = place.existing()?;
    if found.kind() != libc::S_IFREG {
        return Err(Stop::Native);
    }
    single(caller, &place, changing(flags), false)?;
    let path = descriptor_name(found.descriptor.as_fd());
    let opened = open(path.as_c_str(), own_flags(flags), Mode::empty())?;
    hand_over(caller, opened, flags)
}

/// How often a pipe is tried that nobody reads yet.
const AGAIN: Duration = Duration::from_millis(5);

/// A pipe opened for writing only waits for a reader, which this thread must not do.
fn open_pipe(caller: &Rc<Caller>, place: Place, flags: i32) -> Result<Outcome, Stop> {
    single(caller, &place, opening(flags), false)?;
    let own = own_flags(flags) | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let try_open = move || {
        let name = place.name.as_os_str();
        let opened = openat(&place.directory, name, own, Mode::empty())?;
        if flags & libc::O_NONBLOCK == 0 {
            let wanted = own.difference(OFlag::O_NONBLOCK);
            fcntl(&opened, FcntlArg::F_SETFL(wanted))?;
        }
        Ok::<OwnedFd, Errno>(opened)
    };
    match try_open() {
        Err(Errno::ENXIO) if flags & libc::O_NONBLOCK == 0 => {}
        opened => return hand_over(caller, opened?, flags),
    }
    let caller = Rc::clone(caller);
    Ok(Outcome::later(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            if !caller.still_waiting() {
                return Answer::Error(libc::EINTR);
            }
            if caller.is_interrupted() {
                return Answer::Error(RESTART);
            }
            match try_open() {
                Err(Errno::ENXIO) => {}
                Err(errno) => return Answer::Error(errno as i32),
                // Whether anybody hears the answer that follows makes no difference.
                Ok(opened) => match hand_over(&caller, opened, flags) {
                    Err(Stop::Failed(errno)) => return Answer::Error(errno as i32),
                    _ => return Answer::Error(libc::EINTR),
                },
            }
        }
    }))
}

/// A file without a name, which a directory is only the place of.
fn open_unnamed(caller: &Caller, at: At, flags: i32, mode: u32) -> Result<Outcome, Stop> {
    let found = match find(at, Links::Followed, caller)? {
        Named::Directory(found) => found,
        Named::Place(place) => place.found.ok_or(Stop::Native)?,
        Named::Descriptor(object) => Found {
            descriptor: object.descriptor,
            identity: object.identity,
        },
    };
    if found.kind() != libc::S_IFDIR {
        return Err(Stop::Native);
    }
    let needed = Access::MAKE_REG | opening(flags);
    let reach = &caller.shared.reach;
    if !reach
        .grants_inside(&found.descriptor, needed)
        .map_err(native)?
    {
        return Err(Stop::Native);
    }
    waiting(caller)?;
    let own = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    let opened = masked(caller, || {
        openat(&found.descriptor, c".", own, permissions(mode))
    })?;
    hand_over(caller, opened, flags)
}

/// Gives the caller what was opened for it.
fn hand_over(caller: &Caller, opened: OwnedFd, flags: i32) -> Result<Outcome, Stop> {
    let close = flags & libc::O_CLOEXEC != 0;
    let listener = &caller.shared.listener;
    match listener.answer_with(caller.call.id, opened.as_fd(), close) {
        Ok(_) | Err(Errno::ENOENT) => Ok(Outcome::Answered),
        Err(errno) => Err(errno.into()),
    }
}

fn name(caller: &Caller, from: At, to: At, follow: bool, empty: bool) -> Result<Outcome, Stop> {
    if empty {
        // The path may be empty and mean the descriptor; libraries use /proc/self/fd.
        return Err(Stop::Native);
    }
    let links = match follow {
        true => Links::Followed,
        false => Links::LastMeant,
    };
    let reach = &caller.shared.reach;
    let to = find_place(to, caller)?;
    let source = match find(from, links, caller)? {
        Named::Place(place) => place,
        Named::Directory(_) => return Err(Stop::Native),
        Named::Descriptor(object) if object.identity.links == 0 => {
            return name_unnamed(caller, &object.descriptor, object.identity.kind(), &to);
        }
        Named::Descriptor(object) => place_of(object)?,
    };
    let found = source.existing()?;
    if found.kind() == libc::S_IFDIR {
        return Err(Errno::EPERM.into());
    }
    to.vacant(false)?;
    let across = match source.beside(&to) {
        true => Access::NONE,
        false => Access::REFER,
    };
    let made = to.judge(making(found.kind()) | across, false, reach)?;
    let kept = source.judge(across, false, reach)?;
    // A second name would be a way around, wherever it is made.
    let rights = source.rights(reach);
    if !rights.native.contains(reach.handled(Access::WRITE_FILE)) {
        source.unprotected(false, reach)?;
    }
    if (made, kept) == (Way::Native, Way::Native) {
        return Err(Stop::Native);
    }
    if !across.is_empty() {
        refer(&source, &to, reach)?;
    }
    waiting(caller)?;
    done(linkat(
        &source.directory,
        source.name.as_os_str(),
        &to.directory,
        to.name.as_os_str(),
        AtFlags::empty(),
    ))
}

/// Names a file that was made without one (`O_TMPFILE`).
fn name_unnamed(caller: &Caller, file: &OwnedFd, kind: u32, to: &Place) -> Result<Outcome, Stop> {
    to.vacant(false)?;
    // Landlock would look for rights where the file has its place, which may be here.
    to.judge(making(kind) | Access::REFER, false, &caller.shared.reach)?;
    waiting(caller)?;
    let path = descriptor_name(file.as_fd());
    done(linkat(
        AT_FDCWD,
        path.as_c_str(),
        &to.directory,
        to.name.as_os_str(),
        AtFlags::AT_SYMLINK_FOLLOW,
    ))
}

fn rename(caller: &Caller, from: At, to: At, flags: u32) -> Result<Outcome, Stop> {
    let flags = RenameFlags::from_bits(flags).ok_or(Stop::Native)?;
    let exchange = flags == RenameFlags::RENAME_EXCHANGE;
    let exclusive = flags == RenameFlags::RENAME_NOREPLACE;
    if !flags.is_empty() && !exchange && !exclusive {
        return Err(Stop::Native);
    }
    let reach = &caller.shared.reach;
    let from = find_place(from, caller)?;
    let to = find_place(to, caller)?;
    let moved = from.existing()?.kind();
    let there = to.found.as_ref().map(Found::kind);
    if (to.has_slash() && moved != libc::S_IFDIR) || (exchange && there.is_none()) {
        return Err(Stop::Native);
    }
    if exclusive && there.is_some() {
        return Err(Errno::EEXIST.into());
    }
    let across = match from.beside(&to) {
        true => Access::NONE,
        false => Access::REFER,
    };
    let mut leaving = removing(moved) | across;
    let mut coming = making(moved) | across;
    if let Some(there) = there {
        coming |= removing(there);
        if exchange {
            leaving |= making(there);
        }
    }
    let ways = (
        from.judge(leaving, false, reach)?,
        to.judge(coming, false, reach)?,
    );
    if ways == (Way::Native, Way::Native) {
        return Err(Stop::Native);
    }
    // Where one side is Landlock's, the other is not judged by it: both are here.
    if !across.is_empty() {
        refer(&from, &to, reach)?;
        if exchange {
            refer(&to, &from, reach)?;
        }
    }
    waiting(caller)?;
    done(renameat2(
        &from.directory,
        from.name.as_os_str(),
        &to.directory,
        to.name.as_os_str(),
        flags,
    ))
}

fn truncate(caller: &Caller, at: At, length: i64) -> Result<Outcome, Stop> {
    let place = match find(at, Links::Followed, caller)? {
        Named::Place(place) => place,
        Named::Directory(_) => return Err(Stop::Native),
        Named::Descriptor(object) => place_of(object)?,
    };
    let found = place.existing()?;
    if found.kind() != libc::S_IFREG {
        return Err(Stop::Native);
    }
    single(caller, &place, Access::TRUNCATE | Access::WRITE_FILE, false)?;
    let length = u64::try_from(length).map_err(native)?;
    // This process has its own limit.
    if length > found.identity.size && length > target::file_size_limit(caller.thread())? {
        return Err(Errno::EFBIG.into());
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let path = descriptor_name(found.descriptor.as_fd());
    let opened = open(path.as_c_str(), flags, Mode::empty())?;
    done(ftruncate(&opened, length.cast_signed()))
}
