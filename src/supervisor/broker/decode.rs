// SPDX-License-Identifier: MIT
//! From the registers of a writing call to what it asks for.
//!
//! Invariant: registers declared `int` or `unsigned int` are taken by their low 32 bits, as the
//! kernel does; nothing is read here.

/// The calls of the family; on aarch64 only those that take a directory exist.
const NAMES: [&str; 18] = [
    "open",
    "openat",
    "creat",
    "truncate",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mknod",
    "mknodat",
];

/// Whether a call is one of the family.
pub(super) fn is_family(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A path of the caller, not yet read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Where a relative path starts: a descriptor or `AT_FDCWD`.
    pub(super) directory: i32,
    /// Address of the path.
    pub(super) pointer: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// An open file; with `O_CREAT` or `O_TMPFILE` perhaps a new one.
    Open { at: At, flags: i32, mode: u32 },
    /// A directory.
    MakeDirectory { at: At, mode: u32 },
    /// A file, pipe or socket, as the mode says.
    MakeNode { at: At, mode: u32 },
    /// A symbolic link; the address of what it says.
    MakeLink { at: At, target: u64 },
    /// A name is removed.
    Remove { at: At, directory: bool },
    /// Another name for a file.
    Name {
        from: At,
        to: At,
        follow: bool,
        empty: bool,
    },
    /// Another name instead of the one there is.
    Rename { from: At, to: At, flags: u32 },
    /// A file of this length.
    Truncate { at: At, length: i64 },
}

const AT_FDCWD: i32 = libc::AT_FDCWD;
const AT_REMOVEDIR: u32 = 0x200;
const AT_SYMLINK_FOLLOW: u32 = 0x400;
const AT_EMPTY_PATH: u32 = 0x1000;

#[allow(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the low 32 bits of such registers"
)]
fn low(register: u64) -> u32 {
    register as u32
}

fn signed(register: u64) -> i32 {
    low(register).cast_signed()
}

fn here(pointer: u64) -> At {
    At {
        directory: AT_FDCWD,
        pointer,
    }
}

fn at(directory: u64, pointer: u64) -> At {
    At {
        directory: signed(directory),
        pointer,
    }
}

/// Understands a call; none for flags that the kernel refuses or that nothing here knows.
pub(super) fn decode(name: &str, arguments: [u64; 6]) -> Option<Request> {
    const CREATING: i32 = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    let [a, b, c, d, e, _] = arguments;
    let open = |at, flags: i32, mode| {
        (flags & libc::O_PATH == 0).then(|| Request::Open {
            at,
            flags,
            mode: low(mode),
        })
    };
    Some(match name {
        "open" => open(here(a), signed(b), c)?,
        "openat" => open(at(a, b), signed(c), d)?,
        "creat" => open(here(a), CREATING, b)?,
        "truncate" => Request::Truncate {
            at: here(a),
            length: b.cast_signed(),
        },
        "mkdir" => Request::MakeDirectory {
            at: here(a),
            mode: low(b),
        },
        "mkdirat" => Request::MakeDirectory {
            at: at(a, b),
            mode: low(c),
        },
        "mknod" => Request::MakeNode {
            at: here(a),
            mode: low(b),
        },
        "mknodat" => Request::MakeNode {
            at: at(a, b),
            mode: low(c),
        },
        "symlink" => Request::MakeLink {
            at: here(b),
            target: a,
        },
        "symlinkat" => Request::MakeLink {
            at: at(b, c),
            target: a,
        },
        "unlink" => Request::Remove {
            at: here(a),
            directory: false,
        },
        "rmdir" => Request::Remove {
            at: here(a),
            directory: true,
        },
        "unlinkat" if low(c) & !AT_REMOVEDIR == 0 => Request::Remove {
            at: at(a, b),
            directory: low(c) != 0,
        },
        "link" => Request::Name {
            from: here(a),
            to: here(b),
            follow: false,
            empty: false,
        },
        "linkat" if low(e) & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) == 0 => Request::Name {
            from: at(a, b),
            to: at(c, d),
            follow: low(e) & AT_SYMLINK_FOLLOW != 0,
            empty: low(e) & AT_EMPTY_PATH != 0,
        },
        "rename" => Request::Rename {
            from: here(a),
            to: here(b),
            flags: 0,
        },
        "renameat" => Request::Rename {
            from: at(a, b),
            to: at(c, d),
            flags: 0,
        },
        "renameat2" => Request::Rename {
            from: at(a, b),
            to: at(c, d),
            flags: low(e),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::syscalls::{self, Action, Architecture, Facts, Supervised, Verdict};

    fn table(architecture: Architecture) -> Vec<syscalls::Rule> {
        let facts = Facts {
            processes: true,
            internet: false,
            supervised: Supervised {
                writes: true,
                ..Supervised::default()
            },
            unix: false,
            kept: false,
            netlink: false,
            devices: false,
            landlock_abi: 7,
        };
        syscalls::table(&facts, architecture)
    }

    #[test]
    fn every_call_that_is_asked_about_is_understood() {
        let mut seen = 0;
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            for rule in table(architecture) {
                let asks = match &rule.verdict {
                    Verdict::Always(action) => *action == Action::Ask,
                    Verdict::Cases { otherwise, .. } => *otherwise == Action::Ask,
                };
                assert_eq!(asks, is_family(rule.name), "{}", rule.name);
                if asks {
                    seen += 1;
                    assert!(decode(rule.name, [0; 6]).is_some(), "{}", rule.name);
                }
            }
        }
        // aarch64 has the half of them that takes a directory.
        assert_eq!(seen, NAMES.len() + 9);
    }

    #[test]
    fn registers_are_ints() {
        let high = 0xdead_beef_0000_0000;
        assert_eq!(
            decode("openat", [high | 0xffff_ff9c, 7, high | 0o101, 0o644, 0, 0]),
            Some(Request::Open {
                at: here(7),
                flags: 0o101,
                mode: 0o644
            })
        );
        assert_eq!(decode("unlinkat", [3, 7, 0x400, 0, 0, 0]), None);
        assert_eq!(decode("linkat", [3, 7, 3, 8, 0x100, 0]), None);
        let path_only = u64::from(libc::O_PATH.cast_unsigned());
        assert_eq!(decode("open", [7, path_only | 0o100, 0, 0, 0, 0]), None);
    }
}
