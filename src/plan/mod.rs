// SPDX-License-Identifier: MIT
//! What the kernel will be told: a serialisable, sorted, deterministic description of one
//! confinement. `explain` prints it; `confine` turns it into rulesets and filters.
//!
//! Invariant: if a restriction is not in the Plan it is not enforced, and the same policy and host
//! facts give the same Plan, byte for byte.
#![forbid(unsafe_code)]

pub mod access;
mod build;
pub mod built_in;
pub mod command;
pub mod elf;
mod environment;
mod error;
mod exec;
pub mod explain;
mod filesystem;
mod gaps;
pub mod limits;
pub mod links;
mod network;
mod network_gaps;
#[cfg(test)]
mod network_tests;
mod paths;
mod protected;
mod read_rules;
mod rules;
mod shim;
pub mod syscalls;
#[cfg(test)]
mod tests;
pub mod why;

use std::path::PathBuf;

use serde::Serialize;

use crate::host::{FileKind, FileStamp};
use crate::policy::Origin;
use crate::policy::limits::Timeout;

pub use access::Access;
pub use build::{EnvFile, Request, RequiredPath, Subject, build, check_kernel};
pub use error::PlanError;
pub use network::{
    DENIED_NAMES_LOOKED_UP, NetAnswer, NetRule, NetRules, NetSettings, Network, Upstream,
    UpstreamProxy, Verify, Way,
};
pub use read_rules::{ReadRule, ReadRules};

/// One confinement, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is executed.
    pub program: Program,
    /// Files.
    pub filesystem: Filesystem,
    /// The whole environment of the target, sorted by name.
    pub environment: Vec<Variable>,
    /// The directory made for this run alone and removed after it; writable, and what HOME and TMPDIR
    /// lead into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<PathBuf>,
    /// Which processes and programs the target may start.
    pub execution: Execution,
    /// Which sockets it may have.
    pub network: Network,
    /// Where the supervisor itself goes for names and connections.
    pub upstream: Upstream,
    /// Facts the system call table is built from (`syscalls::table`).
    pub syscalls: syscalls::Facts,
    /// Whether Landlock keeps signals and abstract UNIX sockets inside (ABI 6, Linux 6.12).
    pub scoped: bool,
    /// How long it may live and who waits for it.
    pub lifetime: Lifetime,
    /// What it may use of the machine.
    pub limits: limits::Limits,
    /// Descriptors of the caller that the target gets beside the standard streams, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptDescriptor>,
    /// What was asked for and is not held, or held only by the runner.
    pub gaps: Vec<Gap>,
    /// What the user should know and is not a gap: resolved shims, dropped flags.
    pub notices: Vec<String>,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The executable, without links.
    pub path: PathBuf,
    /// Identity of the executable that was looked at; the one executed must be the same.
    pub stamp: Option<FileStamp>,
    /// All arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// The name it is executed by, links and all, relative to `directory`; without one it is executed
    /// by the descriptor that was compared with `stamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoked_as: Option<PathBuf>,
    /// The directory it starts in.
    pub directory: PathBuf,
}

/// A descriptor of the caller that the target gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KeptDescriptor {
    /// Its number, here and there.
    pub number: i32,
    /// Who asked for it.
    pub origin: Origin,
}

/// The Landlock part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// Landlock ABI the rules are for.
    pub abi: u8,
    /// Rights that are denied unless a rule grants them.
    pub handled: Access,
    /// Grants, sorted by path.
    pub rules: Vec<PathRule>,
    /// Paths created before the start, because a write grant names them and they do not exist.
    pub created: Vec<CreatedPath>,
    /// Paths a deny rule holds, each with what carving it out costs; for `explain --why`.
    pub denied: Vec<DeniedPath>,
    /// Paths inside write grants that these do not open, sorted.
    pub protected: Vec<ProtectedPath>,
}

/// One grant on one path and everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathRule {
    /// The path without links. With `own_process` it starts with `/proc/self` and is opened by
    /// the confined process itself.
    pub path: PathBuf,
    /// Its kind when it was looked at; a different kind when it is opened is an error.
    pub kind: FileKind,
    /// The rights granted.
    pub access: Access,
    /// Rights that Landlock does not give, because a protected path lies inside: the supervisor
    /// uses them on behalf, everywhere but there.
    #[serde(skip_serializing_if = "Access::is_empty")]
    pub brokered: Access,
    /// The version that was judged; opened with another one, the run stops.
    pub stamp: Option<FileStamp>,
    /// Opened after the fork, since `/proc/self` is another directory there.
    pub own_process: bool,
    /// Found by listing a directory around a denial, not named: when it is gone or another one at
    /// the start it is left out, which only narrows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
    /// Why; at least one.
    pub origins: Vec<Origin>,
}

/// A path created at start and removed at exit when nobody used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreatedPath {
    /// The path; its parent exists and has no links in it.
    pub path: PathBuf,
    /// A directory, else a file.
    pub directory: bool,
    /// The grant that named it.
    pub origin: Origin,
}

/// A denial inside a grant, held by granting everything around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeniedPath {
    /// The denied path without links.
    pub path: PathBuf,
    /// The rights withheld.
    pub access: Access,
    /// Whether a grant covers it, so that it is held by cutting that grant.
    pub granted_around: bool,
    /// The deny rule, or the grant of a program that must not be rewritten.
    pub origin: Origin,
}

/// A path that a wider write grant does not open, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProtectedPath {
    /// The path; its directory has no links in it.
    pub path: PathBuf,
    /// What it decides.
    pub why: String,
    /// The rule that names it; none for what is always protected.
    pub origin: Option<Origin>,
    /// Whether that rule is a denial, which no grant opens.
    pub denied: bool,
}

/// One environment variable of the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where the value comes from.
    pub source: VariableSource,
    /// Why it is there.
    pub origin: Origin,
}

/// Where a variable's value comes from. Inherited and file values may be secrets: the Plan names
/// them and does not carry them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableSource {
    /// The caller's environment.
    Inherited,
    /// This very value.
    Set(String),
    /// A `--env-file`.
    EnvFile(PathBuf),
    /// The number of the target's own process, known when it is there.
    TargetProcess,
}

/// Which programs the target may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// No new process and no new program image.
    None,
    /// These programs, with what they need to start.
    List(Vec<GrantedProgram>),
    /// Every readable program.
    Any(Origin),
}

/// One program of `--allow-run=LIST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantedProgram {
    /// As typed.
    pub name: String,
    /// What that resolved to, without links.
    pub path: PathBuf,
    /// Interpreters and loaders it needs, in the order they are executed.
    pub interpreters: Vec<PathBuf>,
    /// The grant.
    pub origin: Origin,
}

/// Who waits for the target and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// True when a process of Stockade stays beside the target; false when Stockade becomes it.
    pub waiter: bool,
    /// The run is ended after this long, with exit 124.
    pub timeout: Option<Timeout>,
}

/// Something asked for, or expected, that the kernel does not hold here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// What is not held, in words.
    pub what: String,
    /// Who holds it instead.
    pub held_by: Holder,
    /// The entry that caused it; none when it is always so.
    pub origin: Option<Origin>,
}

impl Gap {
    /// Whether it stands for an error that `--best-effort` turned into it.
    pub fn degraded(&self) -> bool {
        matches!(&self.origin, Some(Origin::Flag { flag, .. }) if **flag == *"--best-effort")
    }
}

/// Who holds what the kernel does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// Deno's own check: holds for JavaScript, not for native code or children.
    Runner,
    /// Nobody.
    Nobody,
    /// It is refused everywhere, also where a grant would allow it.
    Refused,
}
