// SPDX-License-Identifier: MIT
//! The supervisor's own walls: what it parses comes from the target and from the network.
//!
//! Invariant: once they stand, nothing is executed, no file is opened for writing, created, linked
//! or renamed, whatever a defect in a parser makes of this process. Removing stays: paths that were
//! created for a write grant go at the end of the run. Landlock cannot do this: a supervisor in a
//! domain that its target is not in may not look at the target (ptrace rules of Landlock).

use std::io;

use crate::confine::filter;
use crate::plan::Plan;
use crate::plan::syscalls::{
    self, Action, Architecture, Case, Condition, Facts, Operand, Refusal, Rule, Supervised, Verdict,
};
use crate::sys::{privileges, seccomp};

/// Calls that a target may not make, or only in part, and the supervisor lives by.
const NEEDED: [&str; 8] = [
    "pidfd_getfd",
    "process_vm_readv",
    "process_vm_writev",
    "kill",
    "tgkill",
    "pidfd_send_signal",
    "prctl",
    "fcntl",
];

/// Changes to files, for a supervisor that performs them.
const ATTRIBUTES: &str = "changes modes";

/// Its flags lie behind a pointer: answered as by a kernel without it.
const UNSEEN: &str = "openat2";

/// Calls that make, change or execute files, or make processes.
const REFUSED: [&str; 18] = [
    "execve",
    "execveat",
    "creat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "truncate",
    "fork",
    "vfork",
    "clone",
];

/// Those of them that a supervisor performs which writes on behalf: by one name in a directory that
/// was judged.
const BROKERED: [&str; 6] = [
    "linkat",
    "symlinkat",
    "renameat",
    "renameat2",
    "mkdirat",
    "mknodat",
];

const O_ACCMODE: u64 = 0o3;
const O_CREAT: u64 = 0o100;
const O_TRUNC: u64 = 0o1000;
/// `__O_TMPFILE` of asm-generic/fcntl.h.
const O_TMPFILE: u64 = 0o20_000_000;

/// The table of the supervisor's own calls.
pub(super) fn table(plan: &Plan) -> Vec<Rule> {
    table_for(&plan.syscalls)
}

fn table_for(target: &Facts) -> Vec<Rule> {
    let facts = Facts {
        processes: false,
        internet: true,
        kept: false,
        unix: true,
        netlink: false,
        devices: false,
        supervised: Supervised::default(),
        landlock_abi: target.landlock_abi,
    };
    let mut rules = syscalls::table(&facts, Architecture::NATIVE);
    for rule in &mut rules {
        if NEEDED.contains(&rule.name)
            || (target.supervised.attributes && rule.reason.starts_with(ATTRIBUTES))
            || (target.supervised.writes && BROKERED.contains(&rule.name))
        {
            rule.verdict = Verdict::Always(Action::Allow);
        } else if REFUSED.contains(&rule.name) {
            rule.verdict = Verdict::Always(Action::Refuse(Refusal::Eperm));
        } else if rule.name == UNSEEN {
            rule.verdict = Verdict::Always(Action::Refuse(Refusal::Enosys));
        } else if let "open" | "openat" = rule.name
            && !target.supervised.writes
        {
            let flags = if rule.name == "open" { 1 } else { 2 };
            rule.verdict = reading_only(flags);
        } else if rule.name == "ioctl" {
            rule.verdict = nothing_typed();
        }
    }
    rules
}

/// Listeners are answered by ioctl(2), and a terminal is set as it was; nothing is typed into one.
fn nothing_typed() -> Verdict {
    /// TIOCSTI, TIOCLINUX and TIOCSETD of asm-generic/ioctls.h.
    const TYPING: [u64; 3] = [0x5412, 0x541c, 0x5423];
    let refused = TYPING.map(|request| Case {
        conditions: vec![Condition {
            argument: 1,
            mask: u64::from(u32::MAX),
            operand: Operand::Number(request),
        }],
        action: Action::Refuse(Refusal::Eperm),
    });
    Verdict::Cases {
        cases: refused.to_vec(),
        otherwise: Action::Allow,
    }
}

fn reading_only(argument: u8) -> Verdict {
    Verdict::Cases {
        cases: vec![Case {
            conditions: vec![Condition {
                argument,
                mask: O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE,
                operand: Operand::Number(0),
            }],
            action: Action::Allow,
        }],
        otherwise: Action::Refuse(Refusal::Eperm),
    }
}

/// Raises the walls around this process, for ever; its other threads have their own.
///
/// # Errors
/// When the kernel refuses the filter.
pub(super) fn raise(table: &[Rule]) -> io::Result<()> {
    privileges::set_no_new_privileges()?;
    privileges::make_undumpable()?;
    enclose(table)
}

/// Puts the calling thread behind the table; it needs no_new_privs.
///
/// # Errors
/// When the kernel refuses the filter.
pub(super) fn enclose(table: &[Rule]) -> io::Result<()> {
    let filter = filter::compile(table, Architecture::NATIVE, [0; 3])
        .map_err(|error| io::Error::other(error.to_string()))?;
    seccomp::install(filter.instructions())?;
    Ok(())
}

#[cfg(test)]
#[path = "walls_tests.rs"]
mod tests;
