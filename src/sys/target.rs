// SPDX-License-Identifier: MIT
//! Memory and descriptors of a thread that waits in a call.
//!
//! Invariant: whoever reads here asks the listener afterwards whether the caller still waited
//! (`Listener::is_waiting`), since a thread's number may be given to another one.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

/// `PIDFD_THREAD` of linux/pidfd.h (Linux 6.9).
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL.cast_unsigned();

/// A handle of one thread; of its process on kernels before 6.9, whose descriptors are the same
/// unless the thread unshared them.
///
/// # Errors
/// ESRCH when it has gone.
pub fn open_thread(thread: i32) -> Result<OwnedFd, Errno> {
    match open(thread, PIDFD_THREAD) {
        Err(Errno::EINVAL) => open(leader_of(thread)?, 0),
        result => result,
    }
}

fn open(pid: i32, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers and makes a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    owned(fd)
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::last());
    }
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process a thread belongs to (`Tgid` of `/proc/TID/status`).
///
/// # Errors
/// ESRCH when it has gone.
pub fn leader_of(thread: i32) -> Result<i32, Errno> {
    let status =
        std::fs::read_to_string(format!("/proc/{thread}/status")).map_err(|_| Errno::ESRCH)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or(Errno::ESRCH)
}

/// A copy of descriptor `number` of the process, closed on exec (pidfd_getfd(2), Linux 5.6).
///
/// # Errors
/// EBADF when it has none of that number, EPERM when an outer sandbox or Yama refuses.
pub fn take_descriptor(handle: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers and makes a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, handle.as_raw_fd(), number, 0) };
    owned(fd)
}

/// Whether descriptors may be taken at all here, by taking one of this process's own, which no rule
/// but an outer sandbox's forbids.
///
/// # Errors
/// EPERM or ENOSYS when an outer sandbox refuses.
pub fn probe() -> Result<(), Errno> {
    let own = open(i32::try_from(std::process::id()).unwrap_or(0), 0)?;
    take_descriptor(own.as_fd(), own.as_raw_fd()).map(drop)
}

/// Reads up to `buffer.len()` bytes at `address`, fewer at the end of a mapping: by
/// process_vm_readv(2), or out of `/proc/TID/mem` where an outer sandbox refuses that call.
///
/// # Errors
/// EFAULT when the first byte is not readable, EPERM when the process may not be looked at.
pub fn read_memory(thread: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    if buffer.is_empty() {
        return Ok(0);
    }
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let len = buffer.len();
    let read = process_vm_readv(
        Pid::from_raw(thread),
        &mut [IoSliceMut::new(buffer)],
        &[RemoteIoVec { base, len }],
    );
    match read {
        Err(Errno::EPERM | Errno::ENOSYS) => read_memory_file(thread, address, buffer),
        result => result,
    }
}

/// The same rules decide who may open the file and who may make the call (ptrace(2)).
fn read_memory_file(thread: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let memory = File::open(format!("/proc/{thread}/mem")).map_err(|_| Errno::EPERM)?;
    match memory.read_at(buffer, address) {
        Ok(read @ 1..) => Ok(read),
        Ok(0) | Err(_) => Err(Errno::EFAULT),
    }
}

/// Writes `bytes` at `address`.
///
/// # Errors
/// EFAULT when not all of it is writable.
pub fn write_memory(thread: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let written = process_vm_writev(
        Pid::from_raw(thread),
        &[IoSlice::new(bytes)],
        &[RemoteIoVec {
            base,
            len: bytes.len(),
        }],
    )?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// How large a file the process may make, in bytes (`/proc/PID/limits`, proc_pid_limits(5)).
///
/// # Errors
/// ESRCH when it has gone or says nothing.
pub fn file_size_limit(thread: i32) -> Result<u64, Errno> {
    let limits =
        std::fs::read_to_string(format!("/proc/{thread}/limits")).map_err(|_| Errno::ESRCH)?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max file size"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or(Errno::ESRCH)?;
    match soft {
        "unlimited" => Ok(u64::MAX),
        number => number.parse().map_err(|_| Errno::ESRCH),
    }
}
