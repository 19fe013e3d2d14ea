// SPDX-License-Identifier: MIT
//! Installing a seccomp filter.
//!
//! Invariant: async-signal-safe; a filter is installed whole or not at all.

use libc::sock_filter;
use nix::errno::Errno;

use super::done;

const RETURN_ERRNO: u32 = 0x0005_0000;

/// Installs a filter on the calling thread, for ever. Needs no_new_privs.
///
/// # Errors
/// EINVAL when the kernel rejects the program or is built without filters, ENOMEM when the
/// filters on this thread exceed 32768 instructions, EPERM when an outer sandbox refuses.
pub fn install(program: &[sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the header points to `len` live instructions, which the kernel copies and does not
    // write to.
    done(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0_u32,
            &raw const header,
        )
    })
}

/// Whether filters can be installed; changes nothing.
///
/// # Errors
/// ENOSYS without seccomp(2), EOPNOTSUPP without filters, EPERM when an outer sandbox refuses.
pub fn probe() -> Result<(), Errno> {
    let action = RETURN_ERRNO;
    // SAFETY: this operation (Linux 4.14) reads one u32 that lives until it returns.
    done(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0_u32,
            &raw const action,
        )
    })
}
