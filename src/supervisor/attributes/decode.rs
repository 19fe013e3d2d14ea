// SPDX-License-Identifier: MIT
//! From registers to what is asked for: which object, and which change with its values.
//!
//! The structures behind the pointers (`struct timespec`, `timeval`, `utimbuf`, `xattr_args`) are
//! the same on x86_64 and aarch64: little endian, 64-bit longs.
//!
//! Invariant: registers declared `int` or `unsigned int` are taken by their low 32 bits, as the
//! kernel does; every structure is copied once.

use std::ffi::CString;

use nix::errno::Errno;

use super::{Call, Caller, Denial, Stop};

/// The calls of the family.
pub(super) const NAMES: [&str; 21] = [
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
];

/// Which object a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// What this descriptor has open.
    Descriptor(i32),
    /// A path.
    Path {
        /// Where a relative path starts: a descriptor or `AT_FDCWD`.
        directory: i32,
        /// Address of the path.
        pointer: u64,
        /// Whether a link as the last name is followed.
        follow: bool,
        /// Whether the empty path means the descriptor itself (`AT_EMPTY_PATH`).
        empty: bool,
    },
}

/// Which structure times come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimesLayout {
    /// Two of seconds and nanoseconds, `UTIME_NOW` and `UTIME_OMIT` among them.
    Timespec,
    /// Two of seconds and microseconds.
    Timeval,
    /// Two of seconds.
    Utimbuf,
}

/// What is to be changed, with pointers still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    Mode(u32),
    Owner {
        user: u32,
        group: u32,
    },
    Times {
        layout: TimesLayout,
        pointer: u64,
    },
    SetAttribute {
        name: u64,
        value: u64,
        size: u64,
        flags: u32,
    },
    /// The values lie in a `struct xattr_args`.
    SetAttributeAt {
        name: u64,
        pointer: u64,
        size: u64,
    },
    RemoveAttribute {
        name: u64,
    },
}

/// A call's registers, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) place: Place,
    pub(super) arguments: Arguments,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Permission bits, set-user-id and set-group-id still among them.
    Mode(u32),
    /// Owner and group; `u32::MAX` leaves one as it is.
    Owner { user: u32, group: u32 },
    /// Access and modification time, seconds and nanoseconds as utimensat(2) takes them.
    Times([(i64, i64); 2]),
    /// An extended attribute with its value.
    SetAttribute {
        name: CString,
        value: Vec<u8>,
        flags: i32,
    },
    /// An extended attribute is removed.
    RemoveAttribute { name: CString },
}

/// The longest attribute name with its NUL, and the largest value (`linux/limits.h`).
const XATTR_NAME_SPACE: usize = 256;
const XATTR_SIZE_MAX: u64 = 65_536;
const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;
const AT_FDCWD: i32 = libc::AT_FDCWD;
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_EMPTY_PATH: u32 = 0x1000;
/// Size of `struct xattr_args` in its first version (Linux 6.13), and the largest the kernel takes.
const XATTR_ARGS_SIZE: u64 = 16;
const PAGE: u64 = 4096;

#[allow(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the low 32 bits of such registers"
)]
fn low(register: u64) -> u32 {
    register as u32
}

#[allow(
    clippy::cast_possible_wrap,
    reason = "a descriptor register is an int: AT_FDCWD is negative"
)]
fn descriptor(register: u64) -> i32 {
    low(register) as i32
}

fn path(directory: i32, pointer: u64) -> Place {
    Place::Path {
        directory,
        pointer,
        follow: true,
        empty: false,
    }
}

fn link(pointer: u64) -> Place {
    Place::Path {
        directory: AT_FDCWD,
        pointer,
        follow: false,
        empty: false,
    }
}

fn path_at(directory: u64, pointer: u64, flags: u64) -> Result<Place, Errno> {
    let flags = low(flags);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Place::Path {
        directory: descriptor(directory),
        pointer,
        follow: flags & AT_SYMLINK_NOFOLLOW == 0,
        empty: flags & AT_EMPTY_PATH != 0,
    })
}

/// Calls that take times mean the descriptor itself by a null path.
fn path_or_descriptor(directory: u64, pointer: u64, flags: u64) -> Result<Place, Errno> {
    if pointer != 0 {
        return path_at(directory, pointer, flags);
    }
    match descriptor(directory) {
        AT_FDCWD => Err(Errno::EFAULT),
        _ if low(flags) != 0 => Err(Errno::EINVAL),
        fd => Ok(Place::Descriptor(fd)),
    }
}

/// Understands the registers of a call.
///
/// # Errors
/// EINVAL for flags the kernel refuses, EPERM for inode flags, ENOSYS for a call that is not of
/// the family.
pub(super) fn decode(call: &Call) -> Result<Shape, Stop> {
    let [a, b, c, d, e, f] = call.arguments;
    // `umode_t`, 16 bits, of which the kernel keeps these.
    let mode = |register| Arguments::Mode(low(register) & 0o7777);
    let owner = |user, group| Arguments::Owner {
        user: low(user),
        group: low(group),
    };
    let times = |layout, pointer| Arguments::Times { layout, pointer };
    let set = Arguments::SetAttribute {
        name: b,
        value: c,
        size: d,
        flags: low(e),
    };
    let remove = Arguments::RemoveAttribute { name: b };
    let (place, arguments) = match call.name {
        "chmod" => (path(AT_FDCWD, a), mode(b)),
        "fchmod" => (Place::Descriptor(descriptor(a)), mode(b)),
        // Without flags: the fourth register is not looked at.
        "fchmodat" => (path(descriptor(a), b), mode(c)),
        "fchmodat2" => (path_at(a, b, d)?, mode(c)),
        "chown" => (path(AT_FDCWD, a), owner(b, c)),
        "lchown" => (link(a), owner(b, c)),
        "fchown" => (Place::Descriptor(descriptor(a)), owner(b, c)),
        "fchownat" => (path_at(a, b, e)?, owner(c, d)),
        "utime" => (path(AT_FDCWD, a), times(TimesLayout::Utimbuf, b)),
        "utimes" => (path(AT_FDCWD, a), times(TimesLayout::Timeval, b)),
        "futimesat" => (path_or_descriptor(a, b, 0)?, times(TimesLayout::Timeval, c)),
        "utimensat" => (
            path_or_descriptor(a, b, d)?,
            times(TimesLayout::Timespec, c),
        ),
        "setxattr" => (path(AT_FDCWD, a), set),
        "lsetxattr" => (link(a), set),
        "fsetxattr" => (Place::Descriptor(descriptor(a)), set),
        "setxattrat" => (
            path_at(a, b, c)?,
            Arguments::SetAttributeAt {
                name: d,
                pointer: e,
                size: f,
            },
        ),
        "removexattr" => (path(AT_FDCWD, a), remove),
        "lremovexattr" => (link(a), remove),
        "fremovexattr" => (Place::Descriptor(descriptor(a)), remove),
        "removexattrat" => (path_at(a, b, c)?, Arguments::RemoveAttribute { name: d }),
        "file_setattr" => {
            return Err(Denial::always("inode flags are never changed").into());
        }
        _ => return Err(Errno::ENOSYS.into()),
    };
    Ok(Shape { place, arguments })
}

/// Copies what the pointers lead to.
///
/// # Errors
/// What the kernel answers for such values, and what copying answers.
pub(super) fn copy(arguments: &Arguments, caller: &dyn Caller) -> Result<Change, Stop> {
    Ok(match *arguments {
        Arguments::Mode(mode) => Change::Mode(mode),
        Arguments::Owner { user, group } => Change::Owner { user, group },
        Arguments::Times { pointer: 0, .. } => Change::Times([(0, libc::UTIME_NOW); 2]),
        Arguments::Times { layout, pointer } => Change::Times(copy_times(layout, pointer, caller)?),
        Arguments::SetAttribute {
            name,
            value,
            size,
            flags,
        } => copy_attribute(name, value, size, flags, caller)?,
        Arguments::SetAttributeAt {
            name,
            pointer,
            size,
        } => {
            if size < XATTR_ARGS_SIZE {
                return Err(Errno::EINVAL.into());
            }
            if size > PAGE {
                return Err(Errno::E2BIG.into());
            }
            let length = usize::try_from(size).map_err(|_| Errno::E2BIG)?;
            let bytes = caller.read(pointer, length)?;
            // Fields of a later version must be zero, as copy_struct_from_user wants.
            if bytes
                .get(16..)
                .is_none_or(|rest| rest.iter().any(|byte| *byte != 0))
            {
                return Err(Errno::E2BIG.into());
            }
            let value = number(&bytes, 0)?;
            let rest = number(&bytes, 8)?;
            copy_attribute(name, value, rest & 0xffff_ffff, low(rest >> 32), caller)?
        }
        Arguments::RemoveAttribute { name } => Change::RemoveAttribute {
            name: copy_name(name, caller)?,
        },
    })
}

/// Eight bytes at an offset, little endian as both machines are.
fn number(bytes: &[u8], offset: usize) -> Result<u64, Errno> {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map(|chunk| u64::from_le_bytes(*chunk))
        .ok_or(Errno::EFAULT)
}

fn signed(bytes: &[u8], offset: usize) -> Result<i64, Errno> {
    number(bytes, offset).map(u64::cast_signed)
}

fn copy_times(
    layout: TimesLayout,
    pointer: u64,
    caller: &dyn Caller,
) -> Result<[(i64, i64); 2], Errno> {
    let length = if layout == TimesLayout::Utimbuf {
        16
    } else {
        32
    };
    let bytes = caller.read(pointer, length)?;
    if layout == TimesLayout::Utimbuf {
        return Ok([(signed(&bytes, 0)?, 0), (signed(&bytes, 8)?, 0)]);
    }
    let mut times = [(0, 0); 2];
    for (time, offset) in times.iter_mut().zip([0, 16]) {
        let (seconds, rest) = (signed(&bytes, offset)?, signed(&bytes, offset + 8)?);
        *time = match layout {
            TimesLayout::Timeval if !(0..1_000_000).contains(&rest) => return Err(Errno::EINVAL),
            TimesLayout::Timeval => (seconds, rest * 1000),
            _ => {
                let special = rest == libc::UTIME_NOW || rest == libc::UTIME_OMIT;
                if !special && !(0..1_000_000_000).contains(&rest) {
                    return Err(Errno::EINVAL);
                }
                (seconds, rest)
            }
        };
    }
    Ok(times)
}

fn copy_attribute(
    name: u64,
    value: u64,
    size: u64,
    flags: u32,
    caller: &dyn Caller,
) -> Result<Change, Stop> {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = copy_name(name, caller)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let length = usize::try_from(size).map_err(|_| Errno::E2BIG)?;
    let value = if length == 0 {
        Vec::new()
    } else {
        caller.read(value, length)?
    };
    if value.len() != length {
        return Err(Errno::EFAULT.into());
    }
    Ok(Change::SetAttribute {
        name,
        value,
        flags: flags.cast_signed(),
    })
}

/// The name of an attribute that may be changed.
///
/// Only those of users are. The kernel's own answer to a process without capabilities, EPERM, is
/// kept for `trusted.` and file capabilities. Everything else (access control lists, labels) gets
/// EOPNOTSUPP, as on a file system without it: `cp -p`, `cp -a`, `mv`, `install`, tar and rsync
/// then set the mode alone and go on quietly, where EPERM would be an error for each file.
fn copy_name(pointer: u64, caller: &dyn Caller) -> Result<CString, Stop> {
    let name = match caller.read_string(pointer, XATTR_NAME_SPACE) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::ERANGE.into()),
        name => name?,
    };
    let bytes = name.to_bytes();
    if bytes.is_empty() {
        return Err(Errno::ERANGE.into());
    }
    if bytes.starts_with(b"trusted.") || bytes == b"security.capability" {
        let reason = "extended attributes outside `user.` are never changed";
        return Err(Denial::always(reason).into());
    }
    match bytes.strip_prefix(b"user.") {
        Some([]) => Err(Errno::EINVAL.into()),
        Some(_) => Ok(name),
        None => Err(Errno::EOPNOTSUPP.into()),
    }
}
