// SPDX-License-Identifier: MIT
//! What is wrong with a command line.
//!
//! Invariant: every message names the argument, and every error but the plainest has a hint.

use super::deno_flags::{Commands, all_rows};
use crate::policy::flags::FlagError;
use crate::policy::spelling::nearest;

/// Why arguments make no invocation. Nothing has been started or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No argument at all.
    #[error("no command")]
    MissingCommand,
    /// A first argument that is neither a command nor a script.
    #[error("unknown command `{command}`")]
    UnknownCommand {
        /// As typed.
        command: String,
        /// A command spelled like it.
        suggestion: Option<&'static str>,
    },
    /// A command that does not exist yet.
    #[error("`stockade {command}`: not yet")]
    CommandNotYet {
        /// The command.
        command: String,
    },
    /// A flag nobody knows.
    #[error("unknown flag `{flag}`")]
    UnknownFlag {
        /// As typed, without value.
        flag: String,
        /// A flag spelled like it.
        suggestion: Option<String>,
    },
    /// A flag of another command.
    #[error("`{flag}` is no flag of `stockade {command}`")]
    OtherCommand {
        /// The flag.
        flag: String,
        /// The command given.
        command: &'static str,
        /// The commands that have it.
        commands: Commands,
    },
    /// A flag that is refused for good.
    #[error("`{flag}` is refused: {reason}")]
    Refused {
        /// The flag.
        flag: String,
        /// The reason of its row.
        reason: &'static str,
    },
    /// A flag that is refused for now.
    #[error("`{flag}` ({what}): not yet")]
    NotYet {
        /// The flag.
        flag: String,
        /// What it would do.
        what: &'static str,
    },
    /// A flag that opens a listener which no rule grants.
    #[error("`{flag}` listens on `{listener}`, which is not granted")]
    NeedsNet {
        /// The flag.
        flag: String,
        /// What it listens on.
        listener: String,
    },
    /// A value behind a flag that takes none.
    #[error("`{flag}` takes no value, but `{value}` was given")]
    UnexpectedValue {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
    },
    /// A flag at the end, or before another one, that needs a value.
    #[error("`{flag}` needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// A value that is not of the flag's form.
    #[error("invalid value `{value}` of `{flag}`")]
    InvalidValue {
        /// The flag.
        flag: String,
        /// As typed.
        value: String,
        /// What is accepted.
        accepted: String,
    },
    /// Two flags that exclude each other.
    #[error("`{first}` conflicts with `{second}`")]
    Conflict {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A single-valued flag given twice with a meaning that cannot be both.
    #[error("`{flag}` is given twice")]
    Twice {
        /// The flag.
        flag: String,
    },
    /// A setting for a peer that no rule grants.
    #[error("`{entry}` names no host that `--allow-net` grants")]
    NothingGranted {
        /// The flag with its entry.
        entry: String,
        /// The peer it names.
        peer: String,
        /// A granted peer spelled like it.
        suggestion: Option<String>,
    },
    /// Bytes that are no UTF-8.
    #[error("argument {position} (`{shown}`) is not UTF-8")]
    NotUtf8 {
        /// Counted from 1, the program name not included.
        position: usize,
        /// The argument with replacement characters.
        shown: String,
    },
    /// No script, or no code for `eval`.
    #[error("`stockade {command}` needs {what}")]
    MissingScript {
        /// The command.
        command: &'static str,
        /// `a script` or `code`.
        what: &'static str,
    },
    /// An argument behind the last one that means anything.
    #[error("unexpected argument `{argument}`")]
    Unexpected {
        /// As typed.
        argument: String,
    },
    /// Permission flags.
    #[error(transparent)]
    Permission(#[from] FlagError),
}

impl ArgumentError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::MissingCommand => {
                "`stockade run script.ts` runs a program, `stockade --help` lists the commands"
                    .to_owned()
            }
            Self::UnknownCommand {
                suggestion: Some(command),
                ..
            } => {
                format!("did you mean `stockade {command}`?")
            }
            Self::UnknownCommand {
                command,
                suggestion: None,
            } => {
                format!("to run a script of this name: `stockade run {command}`")
            }
            Self::CommandNotYet { .. } => {
                "this version has `run`, `serve`, `eval`, `exec`, `test`, `check`, `cache`, `task`, `explain` and `doctor`".to_owned()
            }
            Self::UnknownFlag {
                flag,
                suggestion: Some(suggestion),
            } => format!(
                "did you mean `{suggestion}`? a flag for the script goes behind the script: `script.ts {flag}`"
            ),
            Self::UnknownFlag {
                flag,
                suggestion: None,
            } => {
                format!("a flag for the script goes behind the script: `script.ts {flag}`")
            }
            Self::OtherCommand { commands, .. } => {
                let names: Vec<_> = commands.names().map(|name| format!("`{name}`")).collect();
                format!("it is a flag of {}", names.join(", "))
            }
            Self::Refused { .. } | Self::NotYet { .. } => "run again without it".to_owned(),
            Self::NeedsNet { flag, listener } => {
                format!("run again with `--allow-net={listener}` or without `{flag}`")
            }
            Self::UnexpectedValue { flag, .. } => format!("write `{flag}` alone"),
            Self::MissingValue { flag } => format!("write `{flag}=VALUE`"),
            Self::InvalidValue { accepted, .. } => format!("accepted: {accepted}"),
            Self::Conflict { first, .. } => format!("leave out `{first}` or the other"),
            Self::Twice { .. } => "give it once".to_owned(),
            Self::NothingGranted {
                suggestion: Some(suggestion),
                ..
            } => format!("did you mean `{suggestion}`?"),
            Self::NothingGranted { peer, .. } => {
                format!("grant it with `--allow-net={peer}`, or leave it out")
            }
            Self::NotUtf8 { .. } => {
                "rename the file, or pass the bytes on standard input".to_owned()
            }
            Self::MissingScript {
                command: "eval", ..
            } => "write `stockade eval 'console.log(1)'`".to_owned(),
            Self::MissingScript {
                command: "exec", ..
            } => "write `stockade exec [flags] -- COMMAND [arguments]`".to_owned(),
            Self::MissingScript { command, .. } => format!(
                "write `stockade {command} [flags] script.ts [arguments]`; `-` reads the script from standard input"
            ),
            Self::Unexpected { .. } => return None,
            Self::Permission(error) => return error.hint(),
        })
    }
}

/// The flag of `commands` spelled most like `name` (without dashes), or none when nothing is near.
pub(super) fn nearest_flag(name: &str, commands: Commands) -> Option<String> {
    let names = all_rows()
        .filter(|row| row.commands.intersects(commands))
        .flat_map(|row| std::iter::once(row.long).chain(row.aliases.iter().copied()));
    nearest(name, names).map(|found| format!("--{found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        for (name, expected) in [
            ("allow-reed", Some("--allow-read")),
            ("alow-net", Some("--allow-net")),
            ("timout", Some("--timeout")),
            ("enf-file", Some("--env-file")),
            ("xyz", None),
            ("prnt", None),
            ("completely-else", None),
        ] {
            assert_eq!(
                nearest_flag(name, Commands::RUN).as_deref(),
                expected,
                "{name}"
            );
        }
        assert_eq!(
            nearest_flag("prnt", Commands::EVAL).as_deref(),
            Some("--print")
        );
    }
}
