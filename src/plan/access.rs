// SPDX-License-Identifier: MIT
//! Landlock's file rights as a set, with the kernel's own names and bits.
//!
//! Invariant: the bits equal `LANDLOCK_ACCESS_FS_*` of `include/uapi/linux/landlock.h`.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use serde::{Serialize, Serializer};

/// A set of Landlock file rights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Access(u64);

impl Access {
    /// Execute a file.
    pub const EXECUTE: Self = Self(1);
    /// Open a file for writing.
    pub const WRITE_FILE: Self = Self(1 << 1);
    /// Open a file for reading.
    pub const READ_FILE: Self = Self(1 << 2);
    /// List a directory.
    pub const READ_DIR: Self = Self(1 << 3);
    /// Remove an empty directory or rename one.
    pub const REMOVE_DIR: Self = Self(1 << 4);
    /// Unlink or rename a file.
    pub const REMOVE_FILE: Self = Self(1 << 5);
    /// Create a character device.
    pub const MAKE_CHAR: Self = Self(1 << 6);
    /// Create a directory.
    pub const MAKE_DIR: Self = Self(1 << 7);
    /// Create a regular file.
    pub const MAKE_REG: Self = Self(1 << 8);
    /// Create a UNIX socket.
    pub const MAKE_SOCK: Self = Self(1 << 9);
    /// Create a named pipe.
    pub const MAKE_FIFO: Self = Self(1 << 10);
    /// Create a block device.
    pub const MAKE_BLOCK: Self = Self(1 << 11);
    /// Create a symbolic link.
    pub const MAKE_SYM: Self = Self(1 << 12);
    /// Link or rename between directories (ABI 2, Linux 5.19).
    pub const REFER: Self = Self(1 << 13);
    /// Truncate a file (ABI 3, Linux 6.2).
    pub const TRUNCATE: Self = Self(1 << 14);
    /// Device-specific ioctl on an opened device (ABI 5, Linux 6.10).
    pub const IOCTL_DEV: Self = Self(1 << 15);
    /// Connect to a pathname UNIX socket (ABI 9, Linux 7.1).
    pub const RESOLVE_UNIX: Self = Self(1 << 16);

    /// The empty set.
    pub const NONE: Self = Self(0);
    /// What a read grant on a directory gives.
    pub const READ: Self = Self(Self::READ_FILE.0 | Self::READ_DIR.0);
    /// What a write grant on a directory gives: everything but devices.
    pub const WRITE: Self = Self(
        Self::WRITE_FILE.0
            | Self::REMOVE_DIR.0
            | Self::REMOVE_FILE.0
            | Self::MAKE_DIR.0
            | Self::MAKE_REG.0
            | Self::MAKE_SOCK.0
            | Self::MAKE_FIFO.0
            | Self::MAKE_SYM.0
            | Self::REFER.0
            | Self::TRUNCATE.0,
    );
    /// The rights that mean something on a file that is no directory.
    pub const ON_FILE: Self = Self(
        Self::EXECUTE.0
            | Self::WRITE_FILE.0
            | Self::READ_FILE.0
            | Self::TRUNCATE.0
            | Self::IOCTL_DEV.0
            | Self::RESOLVE_UNIX.0,
    );

    const NAMES: [(Self, &'static str); 17] = [
        (Self::EXECUTE, "execute"),
        (Self::WRITE_FILE, "write_file"),
        (Self::READ_FILE, "read_file"),
        (Self::READ_DIR, "read_dir"),
        (Self::REMOVE_DIR, "remove_dir"),
        (Self::REMOVE_FILE, "remove_file"),
        (Self::MAKE_CHAR, "make_char"),
        (Self::MAKE_DIR, "make_dir"),
        (Self::MAKE_REG, "make_reg"),
        (Self::MAKE_SOCK, "make_sock"),
        (Self::MAKE_FIFO, "make_fifo"),
        (Self::MAKE_BLOCK, "make_block"),
        (Self::MAKE_SYM, "make_sym"),
        (Self::REFER, "refer"),
        (Self::TRUNCATE, "truncate"),
        (Self::IOCTL_DEV, "ioctl_dev"),
        (Self::RESOLVE_UNIX, "resolve_unix"),
    ];

    /// Every right a kernel of this Landlock ABI knows (the table in the kernel's
    /// `Documentation/userspace-api/landlock.rst`).
    pub fn known_to(abi: u8) -> Self {
        let count = match abi {
            0 => 0,
            1 => 13,
            2 => 14,
            3 | 4 => 15,
            5..=8 => 16,
            _ => 17,
        };
        Self((1 << count) - 1)
    }

    /// The kernel's bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether every right of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the two sets share a right.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The rights in either set; as `|`, for constants.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rights in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The rights of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no right is in the set.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// The kernel's names of the rights in the set, lowest bit first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(right, _)| self.contains(*right))
            .map(|(_, name)| name)
    }
}

impl BitOr for Access {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Access {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn known_to_follows_the_kernel_table() {
        assert!(!Access::known_to(1).contains(Access::REFER));
        assert!(Access::known_to(2).contains(Access::REFER));
        assert!(!Access::known_to(2).contains(Access::TRUNCATE));
        assert!(Access::known_to(3).contains(Access::TRUNCATE));
        assert!(!Access::known_to(4).contains(Access::IOCTL_DEV));
        assert!(Access::known_to(5).contains(Access::IOCTL_DEV));
        assert!(!Access::known_to(8).contains(Access::RESOLVE_UNIX));
        assert!(Access::known_to(9).contains(Access::RESOLVE_UNIX));
        assert!(Access::known_to(0).is_empty());
    }
}
