// SPDX-License-Identifier: MIT
//! The Deno executable and what it is told: where it is, which files the program may load, and the
//! arguments and directories of the confined run.
//!
//! Invariant: nothing here runs the runner itself; every run of it goes through [`Confined`], so
//! the caller decides the walls.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod cache;
mod code_cache;
pub mod config_chain;
pub mod deno_dir;
pub mod fetch;
pub mod file_set;
pub mod graph;
pub mod late;
pub mod locate;
pub mod lock;
pub mod module_files;
pub mod npmrc;
pub mod packages;
pub mod prepare;
pub mod sources;
pub mod stamp;
pub mod type_check;
pub mod unpack;
pub mod version;
pub mod walls;

mod permissions;

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::FileStamp;

pub use version::Version;

/// The licence of the embedded Deno executable.
pub const DENO_LICENSE: &str = include_str!("deno-license.txt");

/// The Deno executable this binary carries. Only the binary target embeds it (`src/main.rs`), so
/// that the library stays small.
#[derive(Clone, Copy)]
pub struct Embedded {
    /// The executable, compressed as one zstd frame that states its size.
    pub archive: &'static [u8],
    /// SHA-256 of the executable, lower case hexadecimal.
    pub sha256: &'static str,
    /// Its version, `2.9.6`.
    pub version: &'static str,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Embedded")
            .field("sha256", &self.sha256)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The Deno executable of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The executable, without links.
    pub path: PathBuf,
    /// The version of the file that was judged.
    pub stamp: FileStamp,
    /// The Deno version.
    pub version: Version,
    /// A name for exactly this executable, usable as a file name.
    pub id: String,
}

/// One confined run of the runner whose output is collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinedRequest {
    /// The executable.
    pub runner: Runner,
    /// All arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// Files and directories it may read.
    pub read: Vec<PathBuf>,
    /// Files and directories it may read and write.
    pub write: Vec<PathBuf>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// The directory it starts in.
    pub directory: PathBuf,
}

/// What a confined run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The exit status; none when a signal or the time limit ended it.
    pub exit: Option<u8>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Whoever can run the runner behind walls: no fork, no exec, no standard input, only the files of
/// the request and what the executable needs to start, and no network but for a download.
pub trait Confined {
    /// Runs one request to its end.
    ///
    /// # Errors
    /// The walls could not be built or the runner could not be started or collected.
    fn capture(&self, request: &ConfinedRequest) -> Result<Captured, Box<dyn Error + Send + Sync>>;

    /// The same with the hosts of `sources` in reach; `scratch` is a directory for what Stockade
    /// itself writes down meanwhile, out of the run's reach.
    ///
    /// # Errors
    /// As [`Confined::capture`].
    fn fetch(
        &self,
        request: &ConfinedRequest,
        sources: &sources::Sources,
        scratch: &Path,
    ) -> Result<fetch::Fetched, Box<dyn Error + Send + Sync>>;
}

/// What a helper run said, for a terminal: names in it are chosen by others.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
        .collect()
}

/// Lower case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // NOTE(unwrap): writing to a String cannot fail, so the result carries nothing.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
