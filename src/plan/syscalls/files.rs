// SPDX-License-Identifier: MIT
//! System calls that open files and change names: Landlock judges them, and where it withholds
//! rights around protected paths the supervisor is asked about those that write.
//!
//! Invariant: opening for reading alone is never asked about.

use super::conditional::{ASK, ENOSYS, EPERM, allow, masked, refuse};
use super::{Action, Decision, Facts, Group, Refusal, Verdict, calls};

/// The calls, grouped by the reason.
pub(super) const FILES: &[Group] = &[
    Group {
        reason: "opens files; below ABI 3, where Landlock misses it, not to truncate unseen",
        decision: Decision::Depends(|facts| open_flags(facts, 1)),
        calls: calls![open 2 -],
    },
    Group {
        reason: "opens files; below ABI 3, where Landlock misses it, not to truncate unseen",
        decision: Decision::Depends(|facts| open_flags(facts, 2)),
        calls: calls![openat 257 56],
    },
    Group {
        reason: "opens files; below ABI 3 and beside protected paths libraries fall back to openat, whose flags are seen",
        decision: Decision::Depends(|facts| {
            if facts.supervised.writes {
                Verdict::Always(ENOSYS)
            } else {
                below(facts, 3, Refusal::Enosys)
            }
        }),
        calls: calls![openat2 437 437],
    },
    Group {
        reason: "shortens a file by name, which Landlock judges from ABI 3 on",
        decision: Decision::Depends(|facts| {
            if facts.supervised.writes {
                Verdict::Always(ASK)
            } else {
                below(facts, 3, Refusal::Eperm)
            }
        }),
        calls: calls![truncate 76 45],
    },
    Group {
        reason: "opens a file for writing; Landlock judges it",
        decision: Decision::Depends(written),
        calls: calls![creat 85 -],
    },
    Group {
        reason: "changes names; Landlock judges both directories, the supervisor what it withholds there",
        decision: Decision::Depends(written),
        calls: calls![
            link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, unlink 87 -,
            unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -,
            mkdirat 258 34, rmdir 84 -, mknod 133 -, mknodat 259 33
        ],
    },
];

// Numbers of the kernel's uapi headers, the same on x86_64 and aarch64.
const O_ACCMODE: u32 = 0o3;
const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;
/// `__O_TMPFILE` of asm-generic/fcntl.h.
const O_TMPFILE: u32 = 0o20_000_000;

fn below(facts: &Facts, abi: u8, refusal: Refusal) -> Verdict {
    Verdict::Always(if facts.landlock_abi < abi {
        Action::Refuse(refusal)
    } else {
        Action::Allow
    })
}

/// Calls that only write: all of them are asked about where the supervisor performs some.
fn written(facts: &Facts) -> Verdict {
    Verdict::Always(if facts.supervised.writes {
        ASK
    } else {
        Action::Allow
    })
}

fn open_flags(facts: &Facts, argument: u8) -> Verdict {
    if facts.supervised.writes {
        // Access mode 3 gives neither reading nor writing (open(2), "NOTES").
        let changing = O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE;
        let harmless = [0, O_ACCMODE].map(|mode| allow(vec![masked(argument, changing, mode)]));
        return Verdict::Cases {
            cases: harmless.to_vec(),
            otherwise: ASK,
        };
    }
    if facts.landlock_abi >= 3 {
        return Verdict::Always(Action::Allow);
    }
    // Access mode 3 opens for neither reading nor writing (open(2), "NOTES"), asks Landlock for
    // no right, and still truncates.
    let modes = [0, O_ACCMODE];
    let truncating = |mode| refuse(masked(argument, O_ACCMODE | O_TRUNC, mode | O_TRUNC), EPERM);
    Verdict::Cases {
        cases: modes.map(truncating).to_vec(),
        otherwise: Action::Allow,
    }
}
