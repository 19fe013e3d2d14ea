// SPDX-License-Identifier: MIT
//! Where a permission entry comes from, so that every message can name the line that caused it.
//!
//! Texts that many entries have are shared: an origin is copied along with every rule it leads to.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// The place a policy entry was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A command line flag, without its value: `--allow-read`.
    Flag {
        /// The long name with its dashes.
        flag: Arc<str>,
        /// The value as typed after `=`, one list item only; none for a bare flag.
        value: Option<Arc<str>>,
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
        file: &'static str,
        /// Line, from 1.
        line: u32,
        /// Why the entry exists.
        reason: &'static str,
    },
    /// A file the program's own module graph loads (see `runner`).
    Module {
        /// The file that imports it; none for the entry module.
        importer: Option<PathBuf>,
    },
    /// What the runner needs for itself, with the reason.
    Runner {
        /// Why the runner needs it.
        reason: Cow<'static, str>,
    },
    /// What `stockade exec` gives every command, with the reason.
    Exec {
        /// Why a command needs it.
        reason: Cow<'static, str>,
    },
}

impl Origin {
    /// An origin for a flag and one of its list items.
    pub fn flag(flag: impl Into<Arc<str>>, value: Option<&str>) -> Self {
        Self::Flag {
            flag: flag.into(),
            value: value.map(Arc::from),
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
