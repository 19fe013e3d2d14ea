// SPDX-License-Identifier: MIT
//! The shipped path lists, `policies/base.yaml`, `policies/deno.yaml` and `policies/exec.yaml`: what
//! may be opened without a grant, one reason per line. The build turns them into this table.
//!
//! Invariant: they only ever add reads, and writes to sinks in `/dev`; a test holds them to it.

use std::path::Path;

use super::Access;
use crate::policy::Origin;

/// One line of a shipped list.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    file: &'static str,
    line: u32,
    path: &'static str,
    access: &'static [Word],
    /// When it applies.
    pub when: Condition,
    reason: &'static str,
}

/// A word of `access:`.
#[derive(Debug, Clone, Copy)]
enum Word {
    Read,
    /// Names of a directory only; in the format, not used by a shipped line today.
    #[allow(dead_code)]
    List,
    Write,
}

/// When a shipped line applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// In every run.
    Always,
    /// When there is any network.
    Net,
    /// When programs may be started.
    Run,
    /// When foreign libraries may be loaded.
    Ffi,
    /// When this kind of system information is granted.
    Sys(&'static str),
}

/// The base list, the runner's list and the one for commands, in this order.
const LINES: &[Line] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The base list, and the one for commands or the runner's.
pub fn lines(command: bool) -> impl Iterator<Item = &'static Line> {
    let other = if command { "deno.yaml" } else { "exec.yaml" };
    LINES.iter().filter(move |line| line.file != other)
}

impl Line {
    /// Absolute path; below `/proc/self` it is the confined process's own.
    pub fn path(&self) -> &'static Path {
        Path::new(self.path)
    }

    /// The rights it gets.
    pub fn access(&self) -> Access {
        self.access.iter().fold(Access::NONE, |access, word| {
            access
                | match word {
                    Word::Read => Access::READ,
                    Word::List => Access::READ_DIR,
                    Word::Write => Access::WRITE_FILE | Access::TRUNCATE,
                }
        })
    }

    /// File, line and reason.
    pub fn origin(&self) -> Origin {
        Origin::BuiltIn {
            file: self.file,
            line: self.line,
            reason: self.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_lists_write_only_to_sinks_and_give_reasons() {
        assert!(LINES.len() > 40);
        for line in LINES {
            if line.access().intersects(Access::WRITE) {
                assert!(line.path().starts_with("/dev"), "{}", line.path);
            }
            assert!(line.line > 0 && line.reason.len() > 10, "{}", line.path);
        }
    }

    #[test]
    fn lines_point_into_the_shipped_files() {
        for line in LINES {
            let text = match line.file {
                "base.yaml" => include_str!("../../policies/base.yaml"),
                "exec.yaml" => include_str!("../../policies/exec.yaml"),
                _ => include_str!("../../policies/deno.yaml"),
            };
            let cited = text.lines().nth(line.line as usize - 1).unwrap();
            assert_eq!(cited.trim(), format!("- path: {}", line.path));
        }
    }
}
