// SPDX-License-Identifier: MIT
//! Which objects may be changed.
//!
//! Invariant: what lies on procfs, devices and the kernel's anonymous inodes are never changed; all
//! else is judged by its descriptor, or by the write grants that cover it.

use std::path::PathBuf;

use nix::errno::Errno;

use super::super::paths::grants::{Grants, TO_CHANGE, Verdict};
use super::super::paths::lookup::{self, AT_FDCWD_NUMBER, Object, name_of, open_path, take};
use super::decode::Place;
use super::{Caller, Denial, Stop};
use crate::policy::Origin;
use crate::sys::attributes::Identity;
use crate::sys::resolve::Links;

/// The kernel's own limit of a path with its NUL.
const PATH_MAX: usize = 4096;

/// Opens what a call names.
///
/// # Errors
/// What the kernel answers to such a path or descriptor; a denial for magic links and for a caller
/// with another root.
pub(super) fn resolve(place: &Place, caller: &dyn Caller) -> Result<Object, Stop> {
    let (directory, pointer, follow, empty) = match *place {
        Place::Descriptor(fd) => {
            let object = take(caller, fd)?;
            return match object.flags {
                // As every call on a descriptor answers for those.
                Some(flags) if flags & libc::O_PATH != 0 => Err(Errno::EBADF.into()),
                _ => Ok(object),
            };
        }
        Place::Path {
            directory,
            pointer,
            follow,
            empty,
        } => (directory, pointer, follow, empty),
    };
    let path = caller.read_string(pointer, PATH_MAX)?;
    let path = path.to_bytes();
    if path.is_empty() {
        return match directory {
            _ if !empty => Err(Errno::ENOENT.into()),
            AT_FDCWD_NUMBER => Ok(Object::new(lookup::working_directory(caller)?, None)?),
            fd => Ok(take(caller, fd)?),
        };
    }
    let links = if follow {
        Links::Followed
    } else {
        Links::LastMeant
    };
    Ok(open_path(path, directory, links, caller)?)
}

/// What a descriptor or a kind says before any place is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Opened for writing, or removed: it may be changed.
    Granted,
    /// Never changed, for this reason.
    Never(&'static str),
    /// Its place decides.
    ByPlace,
}

/// Judges what needs no place. `flags` are those of the caller's descriptor, when it named one.
pub(super) fn first_look(identity: &Identity, on_proc: bool, flags: Option<i32>) -> First {
    if on_proc {
        return First::Never("files of /proc are never changed");
    }
    match identity.kind() {
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK | libc::S_IFIFO | libc::S_IFSOCK => {}
        libc::S_IFCHR | libc::S_IFBLK => {
            return First::Never("devices are shared with the whole machine and never changed");
        }
        // One inode of the kernel stands for all of them.
        _ => return First::Never("it is an anonymous inode of the kernel"),
    }
    let Some(flags) = flags.filter(|flags| flags & libc::O_PATH == 0) else {
        return First::ByPlace;
    };
    let mode = flags & libc::O_ACCMODE;
    // Access mode 3 opens for neither reading nor writing (open(2), "NOTES").
    if mode == libc::O_WRONLY || mode == libc::O_RDWR || identity.links == 0 {
        First::Granted
    } else {
        First::ByPlace
    }
}

/// Judges an opened object.
///
/// # Errors
/// A denial, with its reason.
pub(super) fn check(object: &Object, grants: &Grants) -> Result<(), Stop> {
    let denied = |reason: &str, nearest: Option<&Origin>, grantable| {
        let path = name_of(object).ok().map(PathBuf::from);
        Stop::Denied(Denial {
            path: path.filter(|path| path.is_absolute()),
            reason: reason.to_owned(),
            nearest: nearest.cloned(),
            grantable,
        })
    };
    match first_look(&object.identity, object.on_proc, object.flags) {
        First::Never(reason) => return Err(denied(reason, None, false)),
        First::Granted => {
            return match grants.denial_of(&object.identity, TO_CHANGE) {
                Some((reason, origin)) => Err(denied(reason, Some(origin), false)),
                None => Ok(()),
            };
        }
        First::ByPlace => {}
    }
    match grants.judge_object(object, TO_CHANGE) {
        Verdict::Granted => Ok(()),
        Verdict::Denied(reason, origin) => Err(denied(reason, Some(origin), false)),
        Verdict::Protected(protected) => Err(Stop::Denied(Denial {
            path: Some(protected.path.clone()),
            reason: format!("it is protected: {}", protected.why),
            nearest: protected.origin.clone(),
            grantable: protected.origin.is_none(),
        })),
        Verdict::Outside => Err(denied("no write grant covers it", None, true)),
        Verdict::Unknown(errno) => Err(denied(
            &format!("where it lies cannot be found out: {errno}"),
            None,
            false,
        )),
    }
}
