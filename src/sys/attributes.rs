// SPDX-License-Identifier: MIT
//! Identity of an opened file with its birth time and mount, and extended attributes of it.
//!
//! Invariant: everything acts on a descriptor that is open already, never on a path from outside;
//! an `O_PATH` descriptor is enough.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::done;

/// What statx(2) says of an opened file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Device number, as `st_dev`.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Time of creation, nanoseconds since the epoch, where the file system keeps it: an inode
    /// number is used again, with another one.
    pub born_ns: Option<i128>,
    /// The mount it was opened through (Linux 5.8), as in `/proc/PID/fdinfo`.
    pub mount: Option<u64>,
    /// Kind and permission bits (`st_mode`).
    pub mode: u32,
    /// Number of names; 0 when it was removed.
    pub links: u32,
    /// Size in bytes.
    pub size: u64,
}

impl Identity {
    /// The kind bits of the mode (inode(7)): one of `S_IFREG`, `S_IFDIR`, …, or 0 for an anonymous
    /// inode.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether both are the same inode.
    pub fn same_as(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The identity of what is open.
///
/// # Errors
/// Whatever statx(2) answers (Linux 4.11; ENOSYS or EPERM behind an old outer sandbox).
pub fn identity(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    let wanted = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    // SAFETY: `statx` is a structure of numbers, for which zeros are valid.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the empty path is NUL-terminated and `status` is valid for writing; the kernel keeps
    // neither.
    let answer = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW,
            wanted,
            &raw mut status,
        )
    };
    done(answer.into())?;
    let has = |bit| status.stx_mask & bit != 0;
    if !has(libc::STATX_INO) || !has(libc::STATX_TYPE) {
        return Err(Errno::ENOTSUP);
    }
    let born =
        i128::from(status.stx_btime.tv_sec) * 1_000_000_000 + i128::from(status.stx_btime.tv_nsec);
    Ok(Identity {
        device: libc::makedev(status.stx_dev_major, status.stx_dev_minor),
        inode: status.stx_ino,
        born_ns: has(libc::STATX_BTIME).then_some(born),
        mount: has(libc::STATX_MNT_ID).then_some(status.stx_mnt_id),
        mode: status.stx_mode.into(),
        links: status.stx_nlink,
        size: status.stx_size,
    })
}

/// The name under which this process reaches an open file again without looking its path up
/// (proc(5)), also one without any path.
pub fn descriptor_name(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// Whether what is open has an extended attribute; one that cannot be asked for is none.
pub fn has_attribute(fd: BorrowedFd<'_>, name: &CStr) -> bool {
    let path = descriptor_name(fd);
    // SAFETY: both strings are NUL-terminated; with no room given the kernel writes nothing.
    let answer = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    answer >= 0
}

/// Sets an extended attribute of what is open. `flags` are those of setxattr(2).
///
/// # Errors
/// Whatever setxattr(2) answers.
pub fn set_attribute(
    fd: BorrowedFd<'_>,
    name: &CStr,
    value: &[u8],
    flags: i32,
) -> Result<(), Errno> {
    let path = descriptor_name(fd);
    // SAFETY: both strings are NUL-terminated, and the kernel reads `value.len()` live bytes of
    // `value`.
    let answer = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    };
    done(answer.into())
}

/// Removes an extended attribute of what is open.
///
/// # Errors
/// Whatever removexattr(2) answers.
pub fn remove_attribute(fd: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let path = descriptor_name(fd);
    // SAFETY: both strings are NUL-terminated.
    done(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }.into())
}
