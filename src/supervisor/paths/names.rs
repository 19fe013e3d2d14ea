// SPDX-License-Identifier: MIT
//! Paths that name a descriptor or the working directory of the caller: `/proc/self/fd/N`,
//! `/dev/fd/N`, `/proc/self/cwd` and the like, which would mean the supervisor's own if it looked
//! them up. And when two names of a
//! directory entry may be one.
//!
//! Invariant: text is looked at only to find out which of them, or which entry, is meant; what is
//! opened there is judged like everything else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A path through a link of procfs to something of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Named<'a> {
    /// Where the link leads.
    pub(in crate::supervisor) to: Own,
    /// What is looked up from there; none for the thing itself, empty for a trailing slash.
    pub(in crate::supervisor) rest: Option<&'a [u8]>,
}

/// What links of procfs lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Own {
    /// A descriptor.
    Descriptor(i32),
    /// The working directory.
    Directory,
}

/// What a path means when it goes through something of the caller's. `own` tells whether a number
/// is the caller's process or thread.
pub(in crate::supervisor) fn named_own<'a>(
    path: &'a [u8],
    own: &dyn Fn(i32) -> bool,
) -> Option<Named<'a>> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let mut rest = path;
    let named = |to, rest| {
        Some(Named {
            to,
            rest: tail(rest),
        })
    };
    match next(&mut rest)? {
        b"dev" => match next(&mut rest)? {
            b"stdin" => return named(Own::Descriptor(0), rest),
            b"stdout" => return named(Own::Descriptor(1), rest),
            b"stderr" => return named(Own::Descriptor(2), rest),
            b"fd" => {}
            _ => return None,
        },
        b"proc" => {
            let process = next(&mut rest)?;
            if process != b"self" && process != b"thread-self" && !own(number(process)?) {
                return None;
            }
            let mut name = next(&mut rest)?;
            if name == b"task" && process != b"thread-self" {
                if !own(number(next(&mut rest)?)?) {
                    return None;
                }
                name = next(&mut rest)?;
            }
            match name {
                b"fd" => {}
                b"cwd" => return named(Own::Directory, rest),
                _ => return None,
            }
        }
        _ => return None,
    }
    let fd = number(next(&mut rest)?)?;
    named(Own::Descriptor(fd), rest)
}

/// The next name, without slashes and `.` before it.
fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    loop {
        while let [b'/', after @ ..] = rest {
            *rest = after;
        }
        let end = rest
            .iter()
            .position(|byte| *byte == b'/')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        *rest = after;
        match name {
            [] => return None,
            b"." => {}
            name => return Some(name),
        }
    }
}

/// What follows a name, without the slashes between.
fn tail(mut rest: &[u8]) -> Option<&[u8]> {
    if rest.is_empty() {
        return None;
    }
    while let [b'/', after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

/// A number as the kernel writes it below `/proc`: digits without leading zeros.
fn number(name: &[u8]) -> Option<i32> {
    if name.is_empty()
        || !name.iter().all(u8::is_ascii_digit)
        || (name.len() > 1 && name[0] == b'0')
    {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// A name by which two names that some file system takes for one are the same: those that fold case
/// (ext4, f2fs, vfat, by the tables of fs/unicode) do not tell `.GIT` from `.git`, some letters
/// beyond ASCII from the ASCII ones they fold to, nor see code points that are not shown. Names that
/// only look alike are taken for one as well: that protects more, never less.
pub(in crate::supervisor) fn folded(name: &OsStr) -> Vec<u8> {
    let bytes = name.as_bytes();
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    let mut folded = Vec::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '\u{17f}' => folded.push(b's'),
            '\u{212a}' => folded.push(b'k'),
            '\u{df}' | '\u{1e9e}' => folded.extend(b"ss"),
            '\u{fb00}' => folded.extend(b"ff"),
            '\u{fb01}' => folded.extend(b"fi"),
            '\u{fb02}' => folded.extend(b"fl"),
            '\u{fb03}' => folded.extend(b"ffi"),
            '\u{fb04}' => folded.extend(b"ffl"),
            '\u{fb05}' | '\u{fb06}' => folded.extend(b"st"),
            _ if character.is_ascii() => folded.push(character.to_ascii_lowercase() as u8),
            _ => {}
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_file_system_may_take_for_one_are_one() {
        let same = |left: &str, right: &str| folded(left.as_ref()) == folded(right.as_ref());
        for other in [".GIT", ".g\u{200d}it", ".gi\u{feff}t"] {
            assert!(same(".git", other), "{other:?}");
        }
        assert!(same("config", "con\u{fb01}g"));
        assert!(same("hooks", "hoo\u{212a}\u{17f}"));
        for other in ["git", ".gitx", ".git.lock", ""] {
            assert!(!same(".git", other), "{other:?}");
        }
    }
}
