// SPDX-License-Identifier: MIT
//! Why no Plan could be built. Every one of these ends with exit 125 before anything started.

use std::io;
use std::path::PathBuf;

use super::links::Planted;
use crate::policy::Origin;

/// Why a policy cannot become a Plan on this machine.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A granted path cannot be opened.
    #[error("cannot open `{path}`, granted by `{origin}`")]
    OpenGrant {
        /// The grant.
        origin: Origin,
        /// What it names.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A denied path cannot be looked at, so the denial could not be held.
    #[error("cannot open `{path}`, denied by `{origin}`")]
    OpenDenial {
        /// The denial.
        origin: Origin,
        /// What it names.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A write grant names a missing path whose directory is missing, too.
    #[error(
        "cannot create `{path}`, granted by `{origin}`, because its directory cannot be opened"
    )]
    CreateParent {
        /// The grant.
        origin: Origin,
        /// What it names.
        path: PathBuf,
        /// The kernel's answer for the directory.
        source: io::Error,
    },
    /// A relative grant leads elsewhere through a link.
    #[error("`{origin}` leads to `{real_path}`, outside `{base}`")]
    GrantLeaves {
        /// The grant.
        origin: Origin,
        /// The directory it is relative to.
        base: PathBuf,
        /// Where its links lead.
        real_path: PathBuf,
    },
    /// A grant leads elsewhere than when a ceiling was judged.
    #[error("`{origin}` leads to `{real_path}` now, and led to `{judged}` when it was judged")]
    GrantMoved {
        /// The grant.
        origin: Origin,
        /// Where it led.
        judged: PathBuf,
        /// Where it leads.
        real_path: PathBuf,
    },
    /// A grant leads out of a directory that the policy lets programs write to, by a link there.
    #[error("`{origin}` {planted}")]
    GrantPlanted {
        /// The grant.
        origin: Origin,
        /// The link.
        planted: Planted,
    },
    /// A write grant on something no program may write.
    #[error("`{origin}` names `{path}`, {what}, which is never writable")]
    NeverWritable {
        /// The grant.
        origin: Origin,
        /// What it leads to.
        path: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// A directory that must be enumerated cannot be listed.
    #[error("cannot list `{path}`, which `{origin}` needs")]
    ListDirectory {
        /// The entry that needs the listing.
        origin: Origin,
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A denial inside a grant has too many neighbours.
    #[error(
        "`{origin}` inside `{grant}` cannot be held: more than {limit} neighbours would have to be \
         granted one by one"
    )]
    CarveLimit {
        /// The denial.
        origin: Origin,
        /// The grant around it.
        grant: Origin,
        /// The most neighbours that are granted.
        limit: usize,
    },
    /// A limit that nothing on this machine holds.
    #[error("`{origin}` cannot be held: {why}")]
    Limit {
        /// The limit.
        origin: Origin,
        /// What is missing.
        why: &'static str,
        /// What would help.
        hint: &'static str,
    },
    /// The kernel could not be asked what it has.
    #[error("no file descriptors are left to ask the kernel for Landlock")]
    NoDescriptors,
    /// The kernel lacks what a rule needs.
    #[error("`{rule}` needs {feature}, which this kernel does not have")]
    Kernel {
        /// The flag or file entry, or what is always on.
        rule: String,
        /// The feature, by the kernel's name.
        feature: &'static str,
        /// The first kernel that has it, and how to get it.
        since: &'static str,
        /// Whether `--best-effort` may go on without it.
        degradable: bool,
    },
    /// An environment variable cannot be carried.
    #[error("the environment variable `{name}` is not valid UTF-8")]
    VariableText {
        /// Its name, lossy.
        name: String,
    },
    /// A program of `--allow-run` cannot be read to find its interpreter.
    #[error("cannot read `{path}`, granted by `{origin}`, to find its interpreter")]
    ReadProgram {
        /// The grant.
        origin: Origin,
        /// The program.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program of `--allow-run` cannot be started by this kernel.
    #[error("`{path}`, granted by `{origin}`, cannot be executed: {why}")]
    Executable {
        /// The grant.
        origin: Origin,
        /// The program or one of its interpreters.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A program that stands for another one that cannot be told.
    #[error("`{path}`, granted by `{origin}`, is a shim of {tool}, and {why}")]
    Shim {
        /// The grant.
        origin: Origin,
        /// The shim.
        path: PathBuf,
        /// The version manager.
        tool: &'static str,
        /// Why the real program is unknown.
        why: String,
    },
}

impl PlanError {
    /// What would make it work.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OpenGrant { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create it first, or leave the grant out".to_owned()
            }
            Self::OpenGrant { .. } => {
                "grant a path that this user may open, or leave the grant out".to_owned()
            }
            Self::CreateParent { path, .. } => path.parent().map_or_else(
                || "create its directory first".to_owned(),
                |parent| format!("create `{}` first", parent.display()),
            ),
            Self::GrantPlanted { planted, .. } => planted.hint("grant"),
            Self::GrantLeaves { real_path, .. } => {
                format!("grant `{}` itself if that is meant", real_path.display())
            }
            Self::GrantMoved { .. } => {
                "something changes links of the path; run again when it does not".to_owned()
            }
            Self::NeverWritable { .. } => "grant the files that are meant".to_owned(),
            Self::CarveLimit { .. } => {
                "grant the directories that are needed instead of one around the denial".to_owned()
            }
            Self::Limit { hint, .. } => {
                format!("{hint}; `--best-effort` runs without it and says so")
            }
            Self::NoDescriptors => "raise `ulimit -n`".to_owned(),
            Self::Kernel {
                since, degradable, ..
            } => {
                if *degradable {
                    format!("{since}; `--best-effort` runs without it and says so")
                } else {
                    (*since).to_owned()
                }
            }
            Self::Executable { .. } | Self::Shim { .. } => {
                "name the real program's path in `--allow-run`".to_owned()
            }
            Self::ListDirectory { .. }
            | Self::OpenDenial { .. }
            | Self::VariableText { .. }
            | Self::ReadProgram { .. } => {
                return None;
            }
        })
    }
}
