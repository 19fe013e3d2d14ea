// SPDX-License-Identifier: MIT
//! What can go wrong between a Plan and a running target, with the way out.
//!
//! Invariant: whatever is reported here, the target was not started.

use std::fmt;
use std::io;
use std::path::PathBuf;

use landlock::RulesetError;
use nix::errno::Errno;

use super::FilterError;
use super::open::Change;
use crate::policy::Origin;

/// An error of [`super::Confinement::prepare`].
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The program cannot be opened.
    #[error("cannot open the program `{}`", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// The program is no longer the one that was checked.
    #[error("the program `{}` changed between the check and the start: {change}", path.display())]
    ProgramChanged {
        /// The program.
        path: PathBuf,
        /// How.
        change: Change,
    },
    /// The directory to start in cannot be opened.
    #[error("cannot open the directory `{}` to start in", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A granted path cannot be opened.
    #[error("cannot open `{}`, granted by {}", path.display(), Origins(origins))]
    Rule {
        /// The path.
        path: PathBuf,
        /// The entries that granted it.
        origins: Vec<Origin>,
        /// Why.
        source: Errno,
    },
    /// A granted path is no longer what was checked.
    #[error(
        "`{}`, granted by {}, changed between the check and the start: {change}",
        path.display(),
        Origins(origins)
    )]
    RuleChanged {
        /// The path.
        path: PathBuf,
        /// The entries that granted it.
        origins: Vec<Origin>,
        /// How.
        change: Change,
    },
    /// The kernel does not accept the ruleset.
    #[error("cannot create the Landlock ruleset")]
    Ruleset(#[source] RulesetError),
    /// The kernel does not accept a rule.
    #[error(
        "cannot add the Landlock rule for `{}`, granted by {}",
        path.display(),
        Origins(origins)
    )]
    AddRule {
        /// The path.
        path: PathBuf,
        /// The entries that granted it.
        origins: Vec<Origin>,
        /// Why.
        source: Errno,
    },
    /// The system call filter cannot be compiled.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A zero byte in an argument, a variable or a path.
    #[error("{what} contains a zero byte")]
    NulByte {
        /// Which one.
        what: String,
    },
    /// The arguments cannot be laid out in memory.
    #[error("cannot lay out the arguments of the program in memory")]
    Layout(#[source] Errno),
    /// No `/proc`.
    #[error("cannot execute the checked program: `/proc/self/fd` is not there")]
    NoProc {
        /// Why.
        source: Errno,
    },
}

impl ConfineError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let errno = match self {
            Self::ProgramChanged { .. } | Self::RuleChanged { .. } => {
                return Some(
                    "run it again; if it repeats, something is rewriting that path".to_owned(),
                );
            }
            Self::Program { source, .. }
            | Self::Directory { source, .. }
            | Self::Rule { source, .. }
            | Self::AddRule { source, .. } => Some(*source),
            Self::Ruleset(source) => root_errno(source),
            Self::NoProc { .. } => return Some("mount `/proc` in this container".to_owned()),
            Self::Layout(errno) => Some(*errno),
            Self::Filter(_) => {
                return Some("this is an error in Stockade, please report it".to_owned());
            }
            Self::NulByte { .. } => return None,
        };
        let hint = match (self, errno) {
            (_, Some(Errno::EMFILE | Errno::ENFILE)) => {
                "not enough file descriptors: raise `ulimit -n`, or close some"
            }
            (_, Some(Errno::ENOMEM)) => "not enough memory: raise the limit it runs under",
            (Self::Ruleset(_), Some(Errno::EPERM | Errno::EACCES)) => {
                "an outer sandbox refuses Landlock; allow the `landlock_*` calls in its seccomp \
                 profile"
            }
            (Self::Ruleset(_), _) => {
                "this kernel lacks a Landlock feature that a rule needs: `stockade doctor` says \
                 which"
            }
            (Self::Rule { .. }, Some(Errno::EACCES)) => {
                "the caller cannot reach this path either: drop the grant, or run as a user who can"
            }
            (Self::Rule { .. }, Some(Errno::ENOENT)) => {
                "it was there when the rules were made; run it again"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The error number at the end of a chain of causes.
fn root_errno(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error().map(Errno::from_raw);
        }
        next = error.source();
    }
    None
}

struct Origins<'a>(&'a [Origin]);

impl fmt::Display for Origins<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, origin) in self.0.iter().enumerate() {
            write!(formatter, "{}{origin}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The steps of [`super::Confinement::apply_and_execute`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ApplyStep {
    /// Enters the directory of the run.
    ChangeDirectory = 1,
    /// Forbids core dumps.
    CoreLimit,
    /// Drops capabilities.
    Capabilities,
    /// Sets no_new_privs.
    NoNewPrivileges,
    /// Adds the rules on `/proc/self`.
    OwnProcessRule,
    /// Enforces the ruleset.
    Landlock,
    /// Installs the system call filter.
    Filter,
    /// Installs the filter with a listener.
    Listener,
    /// Hands the listener to the supervisor and waits for its word.
    Handover,
    /// Marks descriptors to be closed.
    Descriptors,
    /// Lowers resource limits.
    Limits,
    /// Executes the program.
    Execute,
}

impl ApplyStep {
    const ALL: [Self; 12] = [
        Self::ChangeDirectory,
        Self::CoreLimit,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::OwnProcessRule,
        Self::Landlock,
        Self::Filter,
        Self::Listener,
        Self::Handover,
        Self::Descriptors,
        Self::Limits,
        Self::Execute,
    ];

    /// The system call of the step.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChangeDirectory => "fchdir",
            Self::CoreLimit => "setrlimit",
            Self::Capabilities => "capset",
            Self::NoNewPrivileges => "prctl(PR_SET_NO_NEW_PRIVS)",
            Self::OwnProcessRule => "landlock_add_rule",
            Self::Landlock => "landlock_restrict_self",
            Self::Filter => "seccomp",
            Self::Listener => "seccomp(NEW_LISTENER)",
            Self::Handover => "sendmsg",
            Self::Descriptors => "close_range",
            Self::Limits => "prlimit64",
            Self::Execute => "execve",
        }
    }
}

/// Where the start failed. Small enough for one atomic write to a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyFailure {
    /// The step that failed.
    pub step: ApplyStep,
    /// The kernel's error number.
    pub errno: i32,
}

impl ApplyFailure {
    pub(super) fn new(step: ApplyStep, errno: Errno) -> Self {
        Self {
            step,
            errno: errno as i32,
        }
    }

    /// The failure as bytes for a pipe between parent and child. Async-signal-safe.
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        [self.step as u8, 0, 0, 0, a, b, c, d]
    }

    /// The failure that [`Self::to_bytes`] wrote; none when the bytes are no such thing.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [step, 0, 0, 0, a, b, c, d] = bytes else {
            return None;
        };
        let step = ApplyStep::ALL.into_iter().find(|one| *one as u8 == step)?;
        Some(Self {
            step,
            errno: i32::from_ne_bytes([a, b, c, d]),
        })
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        let hint = match (self.step, Errno::from_raw(self.errno)) {
            (ApplyStep::Landlock, Errno::E2BIG) => {
                "16 Landlock layers are in force already, the kernel takes no more: start it \
                 outside of some of the sandboxes around it"
            }
            (
                ApplyStep::Landlock | ApplyStep::OwnProcessRule,
                Errno::ENOSYS | Errno::EOPNOTSUPP,
            ) => "this kernel has no Landlock: `stockade doctor` says why",
            (ApplyStep::Listener, Errno::EBUSY) => {
                "an outer supervisor (a container with system call interception, or a sandbox like \
                 this one) answers for this process already, and the kernel takes one: start it \
                 outside of that, or with rules that need no supervisor: bare `--allow-net` or \
                 none, and no `--allow-write`"
            }
            (ApplyStep::Listener, Errno::EPERM | Errno::EACCES) => {
                "an outer sandbox lets no supervisor be installed, as Stockade itself does: start it \
                 outside of that, or with rules that need no supervisor: bare `--allow-net` or \
                 none, and no `--allow-write`"
            }
            (ApplyStep::Listener, Errno::EINVAL | Errno::ENOSYS) => {
                "this kernel, or the one that gVisor and the like imitate, has no supervised calls \
                 (Linux 5.9): use rules that need no supervisor: bare `--allow-net` or none, and no \
                 `--allow-write`"
            }
            (ApplyStep::Handover, Errno::ECONNABORTED) => {
                "the supervisor could not begin; the other message says why"
            }
            (ApplyStep::Filter | ApplyStep::Listener, Errno::ENOMEM) => {
                "too many seccomp filters are in force already: start it outside of some of the \
                 sandboxes around it"
            }
            (ApplyStep::Filter, Errno::EINVAL | Errno::ENOSYS) => {
                "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)"
            }
            (ApplyStep::Execute, Errno::EACCES) => {
                "the file is not executable, lies on a `noexec` mount, or its loader is not granted"
            }
            (ApplyStep::Execute, Errno::ENOENT) => {
                "its loader or the interpreter in its first line does not exist"
            }
            (ApplyStep::Execute, Errno::ENOEXEC) => {
                "it is no program for this machine: compare `file` on it with `uname -m`"
            }
            (ApplyStep::Execute, Errno::E2BIG) => {
                "arguments and environment are too long: see ARG_MAX, and pass less with \
                 `--allow-env`"
            }
            (ApplyStep::Execute, Errno::ETXTBSY) => "something has it open for writing",
            (_, Errno::EMFILE | Errno::ENFILE) => {
                "not enough file descriptors: raise `ulimit -n`, or close some"
            }
            (_, Errno::EPERM | Errno::ENOSYS | Errno::EACCES) => {
                "an outer sandbox refuses this call: allow it in its seccomp profile"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for ApplyFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = Errno::from_raw(self.errno).desc();
        write!(
            formatter,
            "`{}` failed, the program was not started: {cause}",
            self.step.name()
        )
    }
}

impl std::error::Error for ApplyFailure {}

#[cfg(test)]
mod tests {
    use super::{ApplyFailure, ApplyStep};

    #[test]
    fn failures_survive_the_pipe() {
        for step in ApplyStep::ALL {
            let failure = ApplyFailure {
                step,
                errno: libc::E2BIG,
            };
            assert_eq!(ApplyFailure::from_bytes(failure.to_bytes()), Some(failure));
        }
        assert_eq!(ApplyFailure::from_bytes([0; 8]), None);
        assert_eq!(ApplyFailure::from_bytes([200, 0, 0, 0, 1, 0, 0, 0]), None);
        assert_eq!(ApplyFailure::from_bytes([1, 1, 0, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn the_sixteen_layers_are_named() {
        let failure = ApplyFailure {
            step: ApplyStep::Landlock,
            errno: libc::E2BIG,
        };
        assert!(
            failure
                .hint()
                .is_some_and(|hint| hint.starts_with("16 Landlock layers"))
        );
        assert_eq!(
            failure.to_string(),
            "`landlock_restrict_self` failed, the program was not started: Argument list too long"
        );
    }
}
