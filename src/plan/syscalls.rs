// SPDX-License-Identifier: MIT
//! The system call table: for every call a verdict and a reason, from the facts of one Plan.
//!
//! Invariant: the table is data; `confine` compiles it, `explain` prints it, and a simulator
//! checks that the compiled filter gives these verdicts. A call that is not in the table is one
//! this table was not written for and gets ENOSYS, so that libraries take their older way.

mod allowed;
mod conditional;
mod files;
mod ioctls;
mod order;
mod refused;

use serde::Serialize;

/// What the table depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether the target may fork and execute: without it `clone` needs CLONE_THREAD and only
    /// the first `execve`, known by secret pointers, passes.
    pub processes: bool,
    /// Internet sockets.
    pub internet: bool,
    /// Which calls the supervisor answers.
    pub supervised: Supervised,
    /// Descriptors of the caller are passed on, listeners among them.
    pub kept: bool,
    /// UNIX sockets made by `socket(2)`; stream and seqpacket pairs always work.
    pub unix: bool,
    /// `AF_NETLINK` route sockets, for `--allow-sys=networkInterfaces`.
    pub netlink: bool,
    /// Whether devices are granted, so that their own ioctl requests pass where Landlock judges
    /// them (ABI 5).
    pub devices: bool,
    /// Landlock ABI: below 3 `truncate` is closed here, below 5 device ioctls, below 6 signals.
    pub landlock_abi: u8,
}

/// Which calls a supervisor answers in the kernel's place (seccomp_unotify(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Supervised {
    /// Connections, listeners, addresses of datagrams.
    pub network: bool,
    /// Modes, owners, times, extended attributes, inode flags.
    pub attributes: bool,
    /// Opening for writing, and making, renaming and removing names.
    pub writes: bool,
    /// Sockets are made by the supervisor: this host does not let it take the target's own
    /// (pidfd_getfd(2)).
    pub injected: bool,
}

impl Supervised {
    /// Whether a supervisor is needed at all.
    pub fn any(self) -> bool {
        self.network || self.attributes || self.writes
    }
}

/// A machine whose call numbers the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// 64-bit x86; its x32 and i386 calls are not part of it.
    X86_64,
    /// 64-bit ARM, little endian; its 32-bit calls are not part of it.
    Aarch64,
}

impl Architecture {
    /// The architecture this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
}

/// The verdict on one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The kernel's name of the call.
    pub name: &'static str,
    /// Its number on the architecture the table was made for.
    pub number: u32,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: &'static str,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same whatever the arguments are.
    Always(Action),
    /// The action of the first case whose conditions all hold, else `otherwise`.
    Cases {
        /// In the order they are tried.
        cases: Vec<Case>,
        /// When no case holds.
        otherwise: Action,
    },
}

/// One case of a [`Verdict`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The action then.
    pub action: Action,
}

/// `argument & mask == operand`. A mask without high bits looks at the low 32 bits only, as the
/// kernel does for arguments declared `int` or `unsigned int`: comparing 64 bits there would let
/// a caller hide the value behind high bits (CVE-2019-10063).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Index of the argument, from 0 to 5.
    pub argument: u8,
    /// The bits that are compared.
    pub mask: u64,
    /// What they must equal.
    pub operand: Operand,
}

/// The right side of a [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operand {
    /// A number.
    Number(u64),
    /// The process identifier of the target, known only after the fork.
    OwnPid,
    /// One of the three secret pointers of the only `execve` that passes: 0 is the path, 1 the
    /// arguments, 2 the environment.
    Secret(u8),
}

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The call is performed.
    Allow,
    /// The supervisor is asked and answers in the kernel's place.
    Ask,
    /// The call fails with this error.
    Refuse(Refusal),
}

/// The errors used to refuse a call; each where programs have learned to expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Refusal {
    /// Operation not permitted.
    Eperm,
    /// Permission denied.
    Eacces,
    /// Function not implemented: libraries take their older way.
    Enosys,
    /// Inappropriate ioctl for device.
    Enotty,
    /// Protocol not supported.
    Eprotonosupport,
    /// Operation not supported.
    Eopnotsupp,
    /// Address family not supported.
    Eafnosupport,
}

impl Refusal {
    /// The error number; the same on both architectures (`asm-generic/errno.h`).
    pub const fn errno(self) -> u16 {
        match self {
            Self::Eperm => 1,
            Self::Eacces => 13,
            Self::Enotty => 25,
            Self::Enosys => 38,
            Self::Eprotonosupport => 93,
            Self::Eopnotsupp => 95,
            Self::Eafnosupport => 97,
        }
    }
}

/// The action for a number that is not in the table.
pub const UNKNOWN: Action = Action::Refuse(Refusal::Enosys);

/// Values of the operands that a Plan cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperandValues {
    /// For [`Operand::OwnPid`].
    pub own_pid: u32,
    /// For [`Operand::Secret`].
    pub secrets: [u64; 3],
}

impl Verdict {
    /// The action for a call with these arguments: what the compiled filter must answer.
    pub fn action(&self, arguments: &[u64; 6], values: &OperandValues) -> Action {
        match self {
            Self::Always(action) => *action,
            Self::Cases { cases, otherwise } => cases
                .iter()
                .find(|case| {
                    case.conditions
                        .iter()
                        .all(|one| one.holds(arguments, values))
                })
                .map_or(*otherwise, |case| case.action),
        }
    }
}

impl Condition {
    fn holds(&self, arguments: &[u64; 6], values: &OperandValues) -> bool {
        let expected = match self.operand {
            Operand::Number(number) => number,
            Operand::OwnPid => u64::from(values.own_pid),
            Operand::Secret(index) => values.secrets[usize::from(index)],
        };
        arguments[usize::from(self.argument)] & self.mask == expected
    }
}

/// Calls with one decision and one reason.
struct Group {
    reason: &'static str,
    decision: Decision,
    calls: &'static [Call],
}

enum Decision {
    Allow,
    Refuse(Refusal),
    Depends(fn(&Facts) -> Verdict),
}

/// A name and its numbers on x86_64 and aarch64.
struct Call(&'static str, Option<u32>, Option<u32>);

/// `calls![read 0 63, open 2 -]`: names with their numbers on x86_64 and aarch64.
macro_rules! calls {
    (@number -) => { None };
    (@number $number:literal) => { Some($number) };
    ($($name:ident $x86_64:tt $aarch64:tt),* $(,)?) => {
        &[$($crate::plan::syscalls::Call(
            stringify!($name),
            $crate::plan::syscalls::calls!(@number $x86_64),
            $crate::plan::syscalls::calls!(@number $aarch64),
        )),*]
    };
}
use calls;

/// The calls that the supervisor is asked about, some of them only with certain arguments, sorted by
/// name.
pub fn asked(facts: &Facts, architecture: Architecture) -> Vec<&'static str> {
    let asks = |verdict: &Verdict| match verdict {
        Verdict::Always(action) => *action == Action::Ask,
        Verdict::Cases { cases, otherwise } => {
            *otherwise == Action::Ask || cases.iter().any(|case| case.action == Action::Ask)
        }
    };
    let mut names: Vec<&'static str> = table(facts, architecture)
        .iter()
        .filter(|rule| asks(&rule.verdict))
        .map(|rule| rule.name)
        .collect();
    names.sort_unstable();
    names
}

/// The table for one Plan, sorted by number. Names and numbers are those of Linux 7.3
/// (`arch/x86/entry/syscalls/syscall_64.tbl`, `scripts/syscall.tbl`).
pub fn table(facts: &Facts, architecture: Architecture) -> Vec<Rule> {
    let groups: Vec<(&Group, Verdict)> = order::groups()
        .map(|group| {
            let verdict = match group.decision {
                Decision::Allow => Verdict::Always(Action::Allow),
                Decision::Refuse(refusal) => Verdict::Always(Action::Refuse(refusal)),
                Decision::Depends(decide) => decide(facts),
            };
            (group, verdict)
        })
        .collect();
    order::of(architecture)
        .iter()
        .map(|place| {
            let (group, verdict) = &groups[place.group];
            Rule {
                name: group.calls[place.call].0,
                number: place.number,
                verdict: verdict.clone(),
                reason: group.reason,
            }
        })
        .collect()
}

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod tests;
