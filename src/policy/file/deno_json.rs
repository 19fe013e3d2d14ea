// SPDX-License-Identifier: MIT
//! Permission sets of deno.json: `permissions`, and what `test`, `bench` and `compile` use.
//!
//! Invariant: Deno's meaning (2.9): `all` grants what no other key of the set speaks of, an empty
//! list and `false` grant nothing, relative paths are relative to the file, unknown keys are errors.
//! Beside it stand Stockade's rules: denials win, and a set is added to the flags.

use super::node::{Key, Node, Value};
use super::reader::{Dialect, Reader};
use super::{Granted, Problem, Problems, Source, Variables, json};

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub struct Configuration {
    source: Source,
    root: Vec<(Key, Node)>,
}

/// A command that has permissions of its own in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `test.permissions`.
    Test,
    /// `bench.permissions`.
    Bench,
    /// `compile.permissions`.
    Compile,
}

impl Section {
    /// The key it is written under.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Bench => "bench",
            Self::Compile => "compile",
        }
    }
}

/// What the section of a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionSet {
    /// The name of a set.
    Named(String),
    /// A set written there.
    Inline(Box<Granted>),
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is no JSON, or no object.
    pub fn parse(source: Source) -> Result<Self, Problems> {
        let root = match json::parse(&source) {
            Ok(Some(Node {
                value: Value::Map(map),
                ..
            })) => map,
            // Deno takes an empty file for an empty configuration.
            Ok(None) => Vec::new(),
            Ok(Some(node)) => {
                let problem = Problem {
                    place: node.place,
                    message: format!("the file is {}, not an object", node.kind()),
                    hint: None,
                    secret: false,
                };
                return Err(Problems::new(source, vec![problem]));
            }
            Err(problem) => return Err(Problems::new(source, vec![problem])),
        };
        Ok(Self { source, root })
    }

    /// The file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The names of its sets, in their order.
    pub fn names(&self) -> Vec<&str> {
        match self.get("permissions") {
            Some(Node {
                value: Value::Map(map),
                ..
            }) => map.iter().map(|(key, _)| key.name.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// The set of this name; none when there is no such set.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn set(&self, name: &str) -> Result<Option<Granted>, Problems> {
        let Some(sets) = self.get("permissions") else {
            return Ok(None);
        };
        let Value::Map(sets) = &sets.value else {
            let problem = Problem {
                place: sets.place,
                message: format!("`#/permissions`: sets are {}, not an object", sets.kind()),
                hint: Some(
                    "write `\"permissions\": {\"default\": {\"read\": [\"./data\"]}}`".to_owned(),
                ),
                secret: false,
            };
            return Err(Problems::new(self.source.clone(), vec![problem]));
        };
        let mut found = sets.iter().filter(|(key, _)| key.name == name);
        let Some((_, set)) = found.next() else {
            return Ok(None);
        };
        if let Some((key, _)) = found.next() {
            let problem = Problem {
                place: key.place,
                message: format!("`#/permissions/{name}`: the set is there twice"),
                hint: Some("keep one".to_owned()),
                secret: false,
            };
            return Err(Problems::new(self.source.clone(), vec![problem]));
        }
        self.granted(set, &format!("/permissions/{name}")).map(Some)
    }

    /// What a command's own section says; none when it says nothing.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn section(&self, section: Section) -> Result<Option<SectionSet>, Problems> {
        let Some(Node {
            value: Value::Map(map),
            ..
        }) = self.get(section.key())
        else {
            return Ok(None);
        };
        let Some((_, node)) = map.iter().find(|(key, _)| key.name == "permissions") else {
            return Ok(None);
        };
        if let Value::Text { text, .. } = &node.value {
            return Ok(Some(SectionSet::Named(text.clone())));
        }
        let granted = self.granted(node, &format!("/{}/permissions", section.key()))?;
        Ok(Some(SectionSet::Inline(Box::new(granted))))
    }

    fn get(&self, name: &str) -> Option<&Node> {
        let found = self.root.iter().find(|(key, _)| key.name == name);
        found.map(|(_, node)| node)
    }

    fn granted(&self, set: &Node, pointer: &str) -> Result<Granted, Problems> {
        let mut reader = Reader::new(&self.source, Dialect::DenoJson, Variables::default());
        let granted = reader.permissions(set, pointer);
        if reader.problems.is_empty() {
            Ok(granted)
        } else {
            Err(Problems::new(self.source.clone(), reader.problems))
        }
    }
}
