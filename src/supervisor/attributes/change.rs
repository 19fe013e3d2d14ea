// SPDX-License-Identifier: MIT
//! Performing a judged change on the descriptor that was judged.
//!
//! Invariant: no set-user-id or set-group-id bit is added to anything, and no path from outside is
//! looked up: an object without write access is reached through this process's own `/proc/self/fd`.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use super::decode::Change;
use crate::sys::attributes::{Identity, descriptor_name, remove_attribute, set_attribute};

/// Performs it.
///
/// # Errors
/// Whatever the kernel answers to this process, which has the target's user, groups and no
/// capabilities.
pub(super) fn apply(fd: BorrowedFd<'_>, identity: &Identity, change: &Change) -> Result<(), Errno> {
    match change {
        Change::Mode(mode) => fchmodat(
            AT_FDCWD,
            descriptor_name(fd).as_c_str(),
            Mode::from_bits_truncate(masked_mode(*mode, identity)),
            FchmodatFlags::FollowSymlink,
        ),
        Change::Owner { user, group } => fchownat(
            fd,
            c"",
            (*user != u32::MAX).then(|| Uid::from_raw(*user)),
            (*group != u32::MAX).then(|| Gid::from_raw(*group)),
            AtFlags::AT_EMPTY_PATH,
        ),
        Change::Times([accessed, modified]) => utimensat(
            AT_FDCWD,
            descriptor_name(fd).as_c_str(),
            &TimeSpec::new(accessed.0, accessed.1),
            &TimeSpec::new(modified.0, modified.1),
            UtimensatFlags::FollowSymlink,
        ),
        Change::SetAttribute { name, value, flags } => set_attribute(fd, name, value, *flags),
        Change::RemoveAttribute { name } => remove_attribute(fd, name),
    }
}

/// The mode that is set: set-user-id and set-group-id are left out without a word, as the kernel
/// leaves out the latter for strangers to a group. A directory keeps the set-group-id bit it has;
/// a file does not, because between the look and the call its content could be rewritten.
pub(super) fn masked_mode(mode: u32, identity: &Identity) -> u32 {
    let kept = if identity.kind() == libc::S_IFDIR {
        identity.mode & libc::S_ISGID
    } else {
        0
    };
    mode & (0o1777 | kept)
}
