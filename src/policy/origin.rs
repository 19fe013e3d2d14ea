// SPDX-License-Identifier: MIT
//! Where a permission entry comes from, so that every message can name the line that caused it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// The place a policy entry was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A command line flag, without its value: `--allow-read`.
    Flag {
        /// The long name with its dashes.
        flag: String,
        /// The value as typed after `=`, one list item only; none for a bare flag.
        value: Option<String>,
    },
    /// A line of a file; line and column count from 1.
    File {
        /// The file as the user named it.
        path: PathBuf,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// Why the entry is there, if the file says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An entry of deno.json.
    Configuration {
        /// The file as it is named in messages.
        path: PathBuf,
        /// Where in it (RFC 6901), without the `#`.
        pointer: String,
    },
    /// A shipped policy file (`base.yaml`, `deno.yaml`), with the reason its line gives.
    BuiltIn {
        /// File name inside `policies/`.
        file: String,
        /// Line, from 1.
        line: u32,
        /// Why the entry exists.
        reason: String,
    },
    /// A file the program's own module graph loads (see `runner`).
    Module {
        /// The file that imports it; none for the entry module.
        importer: Option<PathBuf>,
    },
    /// What the runner needs for itself, with the reason.
    Runner {
        /// Why the runner needs it.
        reason: String,
    },
    /// What `stockade exec` gives every command, with the reason.
    Exec {
        /// Why a command needs it.
        reason: String,
    },
}

impl Origin {
    /// An origin for a flag and one of its list items.
    pub fn flag(flag: &str, value: Option<&str>) -> Self {
        Self::Flag {
            flag: flag.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    /// Whether a user wrote it down, in whatever form.
    pub fn is_users(&self) -> bool {
        matches!(
            self,
            Self::Flag { .. } | Self::File { .. } | Self::Configuration { .. }
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag {
                flag,
                value: Some(value),
            } => write!(formatter, "{flag}={value}"),
            Self::Flag { flag, value: None } => formatter.write_str(flag),
            Self::File {
                path, line, column, ..
            } => {
                write!(formatter, "{}:{line}:{column}", path.display())
            }
            Self::Configuration { path, pointer } => {
                write!(formatter, "{}#{pointer}", path.display())
            }
            Self::BuiltIn { file, line, .. } => write!(formatter, "{file}:{line}"),
            Self::Module {
                importer: Some(importer),
            } => {
                write!(formatter, "imported by {}", importer.display())
            }
            Self::Module { importer: None } => formatter.write_str("the program"),
            Self::Runner { .. } => formatter.write_str("the runner"),
            Self::Exec { .. } => formatter.write_str("exec"),
        }
    }
}
