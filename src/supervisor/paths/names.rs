// SPDX-License-Identifier: MIT
//! Paths that name a descriptor of the caller: `/proc/self/fd/N`, `/dev/fd/N` and the like, which
//! would mean the supervisor's own descriptors if it looked them up.
//!
//! Invariant: text is looked at only to find out which descriptor is meant; what that has open is
//! judged like everything else.

/// A path through a descriptor of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Named<'a> {
    /// The descriptor.
    pub(in crate::supervisor) fd: i32,
    /// What is looked up from there; none for the descriptor itself, empty for a trailing slash.
    pub(in crate::supervisor) rest: Option<&'a [u8]>,
}

/// What a path means when it goes through a descriptor of the caller. `own` tells whether a number
/// is the caller's process or thread.
pub(in crate::supervisor) fn named_descriptor<'a>(
    path: &'a [u8],
    own: &dyn Fn(i32) -> bool,
) -> Option<Named<'a>> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let mut rest = path;
    match next(&mut rest)? {
        b"dev" => match next(&mut rest)? {
            b"stdin" => {
                return Some(Named {
                    fd: 0,
                    rest: tail(rest),
                });
            }
            b"stdout" => {
                return Some(Named {
                    fd: 1,
                    rest: tail(rest),
                });
            }
            b"stderr" => {
                return Some(Named {
                    fd: 2,
                    rest: tail(rest),
                });
            }
            b"fd" => {}
            _ => return None,
        },
        b"proc" => {
            let process = next(&mut rest)?;
            if process != b"self" && process != b"thread-self" && !own(number(process)?) {
                return None;
            }
            match next(&mut rest)? {
                b"fd" => {}
                b"task" if process != b"thread-self" => {
                    if !own(number(next(&mut rest)?)?) || next(&mut rest)? != b"fd" {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        _ => return None,
    }
    let fd = number(next(&mut rest)?)?;
    Some(Named {
        fd,
        rest: tail(rest),
    })
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
