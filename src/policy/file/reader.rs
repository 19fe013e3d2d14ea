// SPDX-License-Identifier: MIT
//! Values out of [`Node`]s, and what is wrong with them.
//!
//! Invariant: a value of another type than asked for is a problem, never converted.

use super::node::{Key, Node, Value};
use super::variables::VariableError;
use super::{Place, Problem, Source, Variables};
use crate::policy::Origin;
use crate::policy::spelling::nearest;

/// Which format a block is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A policy file.
    Yaml,
    /// A permission set of deno.json: entries are strings, a port needs a host.
    DenoJson,
}

/// Words that are booleans to readers of YAML 1.1, and strings to those of YAML 1.2.
pub(super) const BOOLEAN_WORDS: &[&str] = &[
    "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off",
    "OFF", "True", "TRUE", "False", "FALSE",
];

/// Reads nodes and collects what is wrong with them.
pub(super) struct Reader<'s> {
    pub source: &'s Source,
    pub dialect: Dialect,
    pub variables: Variables,
    pub problems: Vec<Problem>,
}

/// The fields of a map, each key once.
pub(super) struct Fields<'n>(Vec<(&'n Key, &'n Node)>);

impl<'n> Fields<'n> {
    pub(super) fn key(&self, name: &str) -> Option<&'n Key> {
        let found = self.0.iter().find(|(key, _)| key.name == name);
        found.map(|(key, _)| *key)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let found = self.0.iter().find(|(key, _)| key.name == name);
        found.map(|(_, node)| *node)
    }
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s Source, dialect: Dialect, variables: Variables) -> Self {
        Self {
            source,
            dialect,
            variables,
            problems: Vec::new(),
        }
    }

    /// A problem; in deno.json with the pointer to it.
    pub(super) fn problem(
        &mut self,
        place: Place,
        pointer: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let message = match self.dialect {
            Dialect::Yaml => message.into(),
            Dialect::DenoJson => format!("`#{pointer}`: {}", message.into()),
        };
        self.problems.push(Problem {
            place,
            message,
            hint,
            secret: false,
        });
    }

    pub(super) fn origin(&self, place: Place, pointer: &str, reason: Option<String>) -> Origin {
        match self.dialect {
            Dialect::Yaml => self.source.origin(place, reason),
            Dialect::DenoJson => Origin::Configuration {
                path: self.source.shown.clone(),
                pointer: pointer.to_owned(),
            },
        }
    }

    /// The fields of a map; unknown and repeated keys are problems.
    pub(super) fn fields<'n>(
        &mut self,
        map: &'n [(Key, Node)],
        pointer: &str,
        known: &[&'static str],
    ) -> Fields<'n> {
        let mut fields: Vec<(&Key, &Node)> = Vec::new();
        for (key, node) in map {
            let pointer = format!("{pointer}/{}", key.name);
            if !known.contains(&key.name.as_str()) {
                let near = nearest(&key.name, known.iter().copied());
                let hint = near.map_or_else(
                    || format!("known here: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("unknown key `{}`", key.name);
                self.problem(key.place, &pointer, message, Some(hint));
            } else if let Some((first, _)) = fields.iter().find(|(other, _)| other.name == key.name)
            {
                let (line, _) = self.source.position(first.place.start);
                let message = format!("`{}` is there twice", key.name);
                let hint = format!("the first one is on line {line}; keep one, with both contents");
                self.problem(key.place, &pointer, message, Some(hint));
            } else {
                fields.push((key, node));
            }
        }
        Fields(fields)
    }

    /// A string; `what` names it in messages.
    pub(super) fn text(&mut self, node: &Node, pointer: &str, what: &str) -> Option<String> {
        let hint = match &node.value {
            Value::Text { text, plain: true } if BOOLEAN_WORDS.contains(&text.as_str()) => {
                let message = format!("`{text}` is a boolean to some readers of YAML");
                let hint =
                    format!("write \"{text}\" for the string, `true` or `false` for a boolean");
                self.problem(node.place, pointer, message, Some(hint));
                return None;
            }
            Value::Text { text, .. } => return Some(text.clone()),
            Value::Boolean(value) => format!("write \"{value}\" for the string"),
            Value::Number(number) => format!("write \"{number}\" for the string"),
            Value::Null => "write something, or remove it".to_owned(),
            Value::List(_) | Value::Map(_) => "write a string".to_owned(),
        };
        let message = format!("{what} is {}, not a string", node.kind());
        self.problem(node.place, pointer, message, Some(hint));
        None
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, node: &Node, pointer: &str, what: &str) -> Option<bool> {
        if let Value::Boolean(value) = node.value {
            return Some(value);
        }
        let shown = match &node.value {
            Value::Text { text, .. } => format!("`{text}`"),
            _ => node.kind().to_owned(),
        };
        let message = format!("{what} is {shown}, not a boolean");
        self.problem(
            node.place,
            pointer,
            message,
            Some("write `true` or `false`".to_owned()),
        );
        None
    }

    /// A string with its variables replaced.
    pub(super) fn substituted(
        &mut self,
        text: String,
        place: Place,
        pointer: &str,
    ) -> Option<String> {
        if self.dialect == Dialect::DenoJson || !text.contains("${") {
            return Some(text);
        }
        match self.variables.substitute(&text) {
            Ok(text) => Some(text),
            // Its definition is wrong, and has been told.
            Err(VariableError::NoValue { reason, .. }) if reason.is_empty() => None,
            Err(error) => {
                self.problem(place, pointer, error.to_string(), error.hint());
                None
            }
        }
    }
}
