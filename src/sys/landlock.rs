// SPDX-License-Identifier: MIT
//! The Landlock calls that the `landlock` crate does not offer: the version question, a trial of
//! what the kernel really accepts, and adding rules and enforcing in a forked child.
//!
//! Invariant: numbers and bits are those of `include/uapi/linux/landlock.h`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::done;

/// The newest ABI this program makes use of (Linux 7.1).
pub const NEWEST_ABI: u8 = 9;

/// The flag `LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON` (ABI 7, Linux 6.15): without it denials are
/// no longer logged once the launcher has executed the target.
pub const LOG_NEW_EXEC_ON: u32 = 1 << 1;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr` up to ABI 9.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RulesetAttributes {
    /// File rights that are denied unless a rule grants them.
    pub handled_access_fs: u64,
    /// Network rights that are denied unless a rule grants them.
    pub handled_access_net: u64,
    /// Scopes.
    pub scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttributes {
    allowed_access: u64,
    parent_fd: i32,
}

/// What the kernel says about Landlock, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbiProbe {
    /// The ABI the kernel claims; 0 when there is no Landlock.
    pub claimed: u8,
    /// The ABI whose rights it really accepts, at most [`NEWEST_ABI`].
    pub working: u8,
    /// Why there is none: ENOSYS when it is not built in, EOPNOTSUPP when it is not in the `lsm=`
    /// list, another error when an outer sandbox refuses the call.
    pub failure: Option<Errno>,
}

/// Asks for the ABI and tries every level from there down until the kernel accepts all rights of
/// it: RHEL 9.7 kernels claim 6 and answer EINVAL to what 6 added.
pub fn probe_abi() -> AbiProbe {
    match claimed_abi() {
        Ok(claimed) => {
            let (working, failure) =
                step_down(claimed, |abi| create_ruleset(attributes(abi)).map(drop));
            AbiProbe {
                claimed,
                working,
                failure,
            }
        }
        Err(errno) => AbiProbe {
            claimed: 0,
            working: 0,
            failure: Some(errno),
        },
    }
}

/// The highest ABI not above `claimed` whose ruleset can be created; an error other than EINVAL
/// and E2BIG is no question of the ABI and ends the search.
fn step_down(claimed: u8, create: impl Fn(u8) -> Result<(), Errno>) -> (u8, Option<Errno>) {
    let mut failure = None;
    for abi in (1..=claimed.min(NEWEST_ABI)).rev() {
        match create(abi) {
            Ok(()) => return (abi, None),
            Err(errno) => {
                failure = Some(errno);
                if !matches!(errno, Errno::EINVAL | Errno::E2BIG) {
                    break;
                }
            }
        }
    }
    (0, failure)
}

/// Everything that an ABI can deny, by the table of the kernel's
/// `Documentation/userspace-api/landlock.rst`.
fn attributes(abi: u8) -> RulesetAttributes {
    let rights = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        5..=8 => 16,
        _ => 17,
    };
    RulesetAttributes {
        handled_access_fs: (1 << rights) - 1,
        handled_access_net: if abi >= 4 { 3 } else { 0 },
        scoped: if abi >= 6 { 3 } else { 0 },
    }
}

/// The ABI the kernel claims.
///
/// # Errors
/// ENOSYS, EOPNOTSUPP, or whatever an outer sandbox answers.
pub fn claimed_abi() -> Result<u8, Errno> {
    // SAFETY: with this flag the kernel takes a null pointer and size 0, reads no memory and
    // opens no descriptor.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttributes>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    if answer < 0 {
        Err(Errno::last())
    } else {
        Ok(u8::try_from(answer).unwrap_or(u8::MAX))
    }
}

/// Creates a ruleset, close-on-exec.
///
/// # Errors
/// EINVAL for rights this kernel does not know, ENOMSG for none at all, EMFILE.
pub fn create_ruleset(attributes: RulesetAttributes) -> Result<OwnedFd, Errno> {
    // An ABI before 4 (Linux 6.7) knows a shorter structure and takes a longer one as long as
    // the rest is zero (`copy_struct_from_user`).
    // SAFETY: the pointer and the size are those of a live `repr(C)` structure that the kernel
    // only reads.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttributes>(),
            0_u32,
        )
    };
    let fd = i32::try_from(fd).map_err(|_| Errno::EOVERFLOW)?;
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has just opened this descriptor for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Grants `access` on what `parent` (opened with O_PATH) is, and on everything below it.
/// Async-signal-safe.
///
/// # Errors
/// EINVAL when `access` has a right the ruleset does not handle or a directory right on a file,
/// ENOMSG when it is empty, E2BIG beyond the kernel's number of rules.
pub fn add_path_rule(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    let attributes = PathBeneathAttributes {
        allowed_access: access,
        parent_fd: parent.as_raw_fd(),
    };
    // SAFETY: the pointer is to a live structure with the kernel's packed layout, which it only
    // reads.
    done(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const attributes,
            0_u32,
        )
    })
}

/// Confines the calling thread, for ever. Needs no_new_privs. Async-signal-safe.
///
/// # Errors
/// E2BIG under 16 layers already, EPERM without no_new_privs, EINVAL for flags of a newer ABI.
pub fn restrict_self(ruleset: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    // SAFETY: takes two integers and touches no memory of this process.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{attributes, step_down};

    #[test]
    fn a_kernel_that_lies_is_stepped_down() {
        let rhel = |abi| if abi > 4 { Err(Errno::EINVAL) } else { Ok(()) };
        assert_eq!(step_down(6, rhel), (4, None));
        assert_eq!(step_down(4, rhel), (4, None));
        assert_eq!(step_down(7, |_| Ok(())), (7, None));
        assert_eq!(step_down(200, |_| Ok(())), (9, None));
        assert_eq!(
            step_down(6, |_| Err(Errno::EMFILE)),
            (0, Some(Errno::EMFILE))
        );
        assert_eq!(
            step_down(2, |_| Err(Errno::EINVAL)),
            (0, Some(Errno::EINVAL))
        );
    }

    #[test]
    fn attributes_grow_with_the_abi() {
        assert_eq!(attributes(1).handled_access_fs, 0x1fff);
        assert_eq!(attributes(3).handled_access_net, 0);
        assert_eq!(attributes(4).handled_access_net, 3);
        assert_eq!((attributes(5).scoped, attributes(6).scoped), (0, 3));
        assert_eq!(attributes(9).handled_access_fs, 0x1_ffff);
    }
}
