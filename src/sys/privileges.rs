// SPDX-License-Identifier: MIT
//! Giving up what a confined process must not have: capabilities, privileges gained by executing,
//! core dumps, descriptors.
//!
//! Invariant: every function is async-signal-safe and allocates nothing, since all of them run
//! between fork and execve. The `caps` crate is not used for that reason: it keeps sets in
//! `HashSet`s, and reports errors as text without the error number.

use nix::errno::Errno;

use super::done;

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const CAP_SETPCAP: u32 = 8;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<libc::c_int, Errno> {
    let zero: libc::c_ulong = 0;
    // SAFETY: only called with options whose arguments are integers; no memory is passed.
    let answer = unsafe { libc::prctl(option, argument, zero, zero, zero) };
    if answer < 0 {
        Err(Errno::last())
    } else {
        Ok(answer)
    }
}

/// Empties all five capability sets of the calling thread (capabilities(7)).
///
/// The bounding set can be emptied only by a holder of CAP_SETPCAP. Without it the set stays,
/// which gives nothing away: under no_new_privs no program gains capabilities by being executed.
///
/// # Errors
/// EPERM when an outer sandbox refuses.
pub fn drop_capabilities() -> Result<(), Errno> {
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 reads and writes the header and exactly two data structures (capget(2)).
    done(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    // An unprivileged caller, who is most often the one, has nothing to drop but this call's cost.
    if data[0].effective & (1 << CAP_SETPCAP) != 0 {
        drop_bounding_set()?;
    }
    let zero: libc::c_ulong = 0;
    let clear_all = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: takes integers only; unused arguments must be 0 (PR_CAP_AMBIENT(2const)).
    let answer = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear_all, zero, zero, zero) };
    done(answer.into())?;
    let empty = [CapabilityData::default(); 2];
    // SAFETY: version 3 reads the header and exactly two data structures.
    done(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, empty.as_ptr()) })
}

fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            // Past the last capability this kernel knows.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// No execve can give more privileges than the caller has; kept by all descendants.
///
/// # Errors
/// Only when an outer sandbox refuses.
pub fn set_no_new_privileges() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Forbids core dumps: they hold what the program read.
///
/// # Errors
/// Only when an outer sandbox refuses: lowering a limit needs no privilege.
pub fn forbid_core_dumps() -> Result<(), Errno> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads one live structure.
    done(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }.into())
}

/// Marks every descriptor except 0, 1, 2 and those of `kept`, which is sorted, to be closed by
/// execve; until then they stay usable, for executing one of them and for reporting a failure
/// through another.
///
/// # Errors
/// ENOSYS below Linux 5.11 or when an outer sandbox does not know the call.
pub fn close_descriptors_on_execute(kept: &[i32]) -> Result<(), Errno> {
    let mut first = 3_u32;
    let numbers = kept.iter().filter_map(|number| u32::try_from(*number).ok());
    for number in numbers.filter(|number| *number >= 3) {
        if number > first {
            close_range_on_execute(first, number - 1)?;
        }
        first = number.saturating_add(1);
    }
    close_range_on_execute(first, libc::c_uint::MAX)
}

fn close_range_on_execute(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes three integers.
    done(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
}

/// Becomes another user and group for good, without supplementary groups. Nothing that was opened
/// before is given up.
///
/// # Errors
/// EPERM without CAP_SETUID and CAP_SETGID; EINVAL for numbers this user namespace does not have.
pub fn become_user(user: u32, group: u32) -> Result<(), Errno> {
    use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};
    // Only a holder of CAP_SETPCAP can, who is gone afterwards.
    drop_bounding_set()?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    let (users, groups) = (getresuid()?, getresgid()?);
    if [users.real, users.effective, users.saved] != [user; 3]
        || [groups.real, groups.effective, groups.saved] != [group; 3]
    {
        return Err(Errno::EPERM);
    }
    // Changing it made `/proc/self` the superuser's (PR_SET_DUMPABLE(2const)).
    prctl(libc::PR_SET_DUMPABLE, 1).map(drop)
}

/// Keeps other processes of the user from looking into this one (PR_SET_DUMPABLE(2const)).
///
/// # Errors
/// Only when an outer sandbox refuses.
pub fn make_undumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0).map(drop)
}
