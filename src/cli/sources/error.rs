// SPDX-License-Identifier: MIT
//! Why the sources beside the flags make no policy.
//!
//! Invariant: the flag, the file or the line is named, and what would be right.

use std::io;
use std::path::PathBuf;

use crate::cli::argument_error::ArgumentError;
use crate::host::JUDGED;
use crate::plan::links::Planted;
use crate::policy::Origin;
use crate::policy::ceiling::Outside;
use crate::policy::file::Problems;
use crate::policy::file::deno_json::Section;
use crate::runner::config_chain::ConfigError;

/// Why. Nothing has been started.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum SourceError {
    /// A file cannot be read.
    #[error("cannot read `{path}`, named by `{by}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The flag.
        by: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file is too large to be one.
    #[error("`{path}`, named by `{by}`, is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The flag.
        by: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("`{path}`, named by `{by}`, is not UTF-8")]
    NotUtf8 {
        /// The file, or its directory.
        path: PathBuf,
        /// The flag.
        by: &'static str,
    },
    /// No preset of this name.
    #[error("no preset `{name}`, named by `--policy`")]
    UnknownPreset {
        /// The name.
        name: String,
        /// What would be right.
        hint: String,
    },
    /// What `stockade task` hands over is malformed.
    #[error("`{JUDGED}` does not say where paths led")]
    Judged(#[source] serde_json::Error),
    /// Something leads elsewhere than when it was judged.
    #[error("`{what}` leads to `{now}` now, and led to `{judged}` when the task began")]
    Moved {
        /// The flag, or the path.
        what: String,
        /// Where it led.
        judged: PathBuf,
        /// Where it leads.
        now: PathBuf,
    },
    /// A file of a flag leads where a program could have chosen.
    #[error("`{path}`, named by `{flag}`, {planted}")]
    Planted {
        /// The flag.
        flag: String,
        /// As typed.
        path: PathBuf,
        /// The link.
        planted: Planted,
    },
    /// A file says something wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// No configuration file.
    #[error("`-P` needs a deno.json, and there is none at or above `{directory}`")]
    NoConfiguration {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// `--no-config` beside `-P`.
    #[error("`-P` needs a deno.json, and `--no-config` is given")]
    ConfigurationExcluded,
    /// A configuration file cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// No set of this name.
    #[error("no permission set `{name}` in `{path}`")]
    UnknownSet {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The sets there are.
        names: Vec<String>,
    },
    /// The configuration has permissions for this command, and nobody said to use them: as in Deno.
    #[error("deno.json has `{key}.permissions`, and no flag says which permissions to use", key = section.key())]
    UnusedSection {
        /// The command.
        section: Section,
    },
    /// The system-wide ceiling could have been written by somebody else.
    #[error("`{path}` is no file that only the superuser can write")]
    Unguarded {
        /// The file.
        path: PathBuf,
    },
    /// `--best-effort` under a ceiling.
    #[error("`--best-effort` would go on without walls, and the ceiling `{ceiling}` needs them")]
    BestEffort {
        /// The ceiling.
        ceiling: Origin,
    },
    /// Grants outside a ceiling.
    #[error("{}", lines(.found))]
    Outside {
        /// All of them.
        found: Vec<Outside>,
    },
    /// What is judged when all grants are known.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
}

impl SourceError {
    /// What would help.
    pub(in crate::cli) fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPreset { hint, .. } => Some(hint.clone()),
            Self::NoConfiguration { .. } => {
                Some("write one, or name it with `--config FILE`".to_owned())
            }
            Self::UnusedSection { .. } => Some(
                "`-P` uses them; any permission flag, or `--deny-net`, leaves them aside"
                    .to_owned(),
            ),
            Self::ConfigurationExcluded => Some("leave out one of them".to_owned()),
            Self::Configuration(error) => error.hint(),
            Self::UnknownSet { names, .. } if names.is_empty() => {
                Some("it has none; write them under `permissions`".to_owned())
            }
            Self::UnknownSet { names, .. } => Some(format!("it has: {}", names.join(", "))),
            Self::Unguarded { .. } => {
                Some("as root: `chown 0:0` and `chmod go-w` it, or remove it".to_owned())
            }
            Self::BestEffort { .. } => Some("leave it out".to_owned()),
            Self::Outside { found } => Some(
                if found.iter().any(|one| one.grant == "exec") {
                    "name what the command needs: `--allow-run=LIST`, and a directory inside the ceiling"
                } else {
                    "grant less, or have the ceiling widened"
                }
                .to_owned(),
            ),
            Self::Arguments(error) => error.hint(),
            Self::Moved { .. } => Some(
                "what a task may reach stays where it was when the task began: let no line move it"
                    .to_owned(),
            ),
            Self::Planted { planted, .. } => Some(planted.hint("name")),
            Self::Judged(_) => Some(format!("unset {JUDGED}; it is for what a task starts")),
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Problems(_) => None,
        }
    }
}

/// Each on a line of its own, as an error of its own.
fn lines(found: &[Outside]) -> String {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.join("\nerror: ")
}
