// SPDX-License-Identifier: MIT
//! What the kernel says of itself: release, machine, user, notifications.
//!
//! Invariant: asking changes nothing of this process; every descriptor that asking makes is closed again.

use std::io;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{notify, privileges, process};

/// `uname -r` and `uname -m`.
///
/// # Errors
/// Whatever uname(2) answers.
pub fn uname() -> io::Result<(String, String)> {
    let names = nix::sys::utsname::uname()?;
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    Ok((text(names.release()), text(names.machine())))
}

/// Effective user of this process.
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether a filter can notify another process (seccomp_unotify(2)). The action alone is not
/// enough to ask: gVisor knows it and has no notifications.
pub fn seccomp_notify() -> bool {
    let mut sizes = [0_u16; 3];
    // SAFETY: SECCOMP_GET_NOTIF_SIZES (Linux 5.0) writes three u16, and `sizes` has three.
    let answered = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_NOTIF_SIZES,
            0,
            sizes.as_mut_ptr(),
        ) == 0
    };
    let action = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: SECCOMP_GET_ACTION_AVAIL (Linux 4.14) reads one u32, which lives over the call.
    answered
        && unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_GET_ACTION_AVAIL,
                0,
                &raw const action,
            ) == 0
        }
}

/// How a filter with a listener can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// With calls that signal handlers do not interrupt (WAIT_KILLABLE_RECV, Linux 5.19).
    Killable,
    /// Without those.
    Plain,
}

/// Installs one in a child that ends at once: whether it can be done is known by doing it alone.
///
/// # Errors
/// EBUSY under an outer supervisor, EPERM under a sandbox that refuses, EINVAL or ENOSYS without
/// listeners; EAGAIN when no process can be made.
pub fn listener() -> Result<Listening, Errno> {
    // BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
    let allow = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    }];
    let child = process::fork(|| {
        // Async-signal-safe: only system calls.
        let installed = privileges::set_no_new_privileges().and_then(|()| notify::probe(&allow));
        match installed {
            Ok(true) => 0,
            Ok(false) => PLAIN,
            Err(errno) => u8::try_from(errno as i32).unwrap_or(PLAIN - 1),
        }
    })
    .map_err(|_| Errno::EAGAIN)?;
    match waitpid(Pid::from_raw(child), None)? {
        WaitStatus::Exited(_, 0) => Ok(Listening::Killable),
        WaitStatus::Exited(_, code) if code == i32::from(PLAIN) => Ok(Listening::Plain),
        WaitStatus::Exited(_, code) => Err(Errno::from_raw(code)),
        _ => Err(Errno::EPERM),
    }
}

/// No error number.
const PLAIN: u8 = 255;
