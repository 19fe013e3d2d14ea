// SPDX-License-Identifier: MIT
//! Permissions written in files: policy files in YAML, and the permission sets of deno.json.
//!
//! ```text
//! text ──yaml, json──> Node (values with places) ──permissions, document, deno_json──> Policy and settings
//! ```
//!
//! Invariant: pure, and total. Every text gives either its values, each with the line it is written
//! on, or every problem in it at once; nothing a reader could misunderstand is accepted: no unknown
//! or repeated key, no value of another type, no word that means a boolean to some readers of YAML.
#![forbid(unsafe_code)]

pub mod deno_json;
pub mod document;
mod entries;
mod json;
mod node;
mod permissions;
pub mod problem;
mod reader;
pub mod schema;
pub mod variables;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::registry::WantedRegistry;
use super::{Entry, NetDescriptor, Origin, Policy};

pub use document::{PolicyFile, Setting};
pub use node::Place;
pub use problem::{Problem, Problems};
pub use variables::Variables;

/// A text with its name.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file as it is named in messages.
    pub shown: PathBuf,
    /// The directory that relative paths in it are relative to; absolute.
    pub directory: PathBuf,
    /// Its content.
    pub text: String,
    lines: Vec<usize>,
}

impl Source {
    /// A text, its name in messages, and the absolute directory its relative paths start from.
    pub fn new(shown: &Path, directory: &Path, text: String) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        Self {
            shown: shown.to_owned(),
            directory: directory.to_owned(),
            text,
            lines,
        }
    }

    /// Line and column of a byte, in characters, both from 1.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied()
            .unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (
            number(line.max(1)),
            number(before.chars().count().saturating_add(1)),
        )
    }

    /// The character at a line and column, both from 1; the first one when there is none.
    pub fn place_of(&self, line: u64, column: u64) -> Place {
        let number = |from_one: u64| usize::try_from(from_one.saturating_sub(1)).unwrap_or(0);
        let start = self.lines.get(number(line)).copied().unwrap_or_default();
        let line = self.text.get(start..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let offset = line.char_indices().nth(number(column));
        let start = start + offset.map_or(line.len(), |(offset, _)| offset);
        Place { start, end: start }
    }

    /// The text of one line, counted from 1, without its end.
    pub fn line(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let start = index
            .checked_sub(1)
            .and_then(|index| self.lines.get(index).copied())
            .unwrap_or(self.text.len());
        let end = self.lines.get(index).copied().unwrap_or(self.text.len());
        self.text
            .get(start..end)
            .unwrap_or_default()
            .trim_end_matches(['\n', '\r'])
    }

    /// The entry at a place, for explain, denials and the audit.
    pub fn origin(&self, place: Place, reason: Option<String>) -> Origin {
        let (line, column) = self.position(place.start);
        Origin::File {
            path: self.shown.clone(),
            line,
            column,
            reason,
        }
    }
}

/// What a block of permissions says, in either format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// The permissions.
    pub policy: Policy,
    /// Names that may lead to private addresses.
    pub private: Vec<Entry<NetDescriptor>>,
    /// What is checked on connections to names.
    pub verify: Vec<Checked>,
    /// Registries whose hosts the tools' own configuration says.
    pub registries: Vec<WantedRegistry>,
    /// Where each kind is spoken of.
    pub bounds: Vec<(&'static str, Origin)>,
    /// Where the block begins.
    pub block: Option<Origin>,
}

impl Granted {
    /// The line that says what there is of a kind: its own, else the beginning of the block.
    pub fn bound(&self, kind: &str) -> Option<&Origin> {
        let own = self.bounds.iter().find(|(known, _)| *known == kind);
        own.map(|(_, origin)| origin).or(self.block.as_ref())
    }
}

/// What is checked on connections to one granted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The name.
    pub peer: NetDescriptor,
    /// Whether the TLS server name is checked on every port, or nothing is.
    pub server_name: bool,
    /// Where it is written.
    pub origin: Origin,
}
