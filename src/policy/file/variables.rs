// SPDX-License-Identifier: MIT
//! `${NAME}` in the entries of a policy file.
//!
//! Invariant: no shell, no environment: a name stands for a value the caller gave or the file itself
//! defines, and an unknown one is an error. Values are not read again, so that none can name another.

use std::collections::BTreeMap;

/// Names and what they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, Result<String, String>>,
}

/// Why a text with variables has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// `${` without `}`.
    #[error("`${{` without `}}`")]
    Open,
    /// Nobody defined it.
    #[error("unknown variable `${{{name}}}`")]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It has no value here.
    #[error("`${{{name}}}` has no value: {reason}")]
    NoValue {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
}

impl VariableError {
    /// What would be right.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open => Some("write `$${` for the two characters themselves".to_owned()),
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("define it under `variables`".to_owned())
            }
            Self::Unknown { known, .. } => Some(format!(
                "known here: {}; others are defined under `variables`",
                known.join(", ")
            )),
            Self::NoValue { .. } => None,
        }
    }
}

impl Variables {
    /// With one more name, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.to_owned(), Ok(value.into()));
        self
    }

    /// With a name that is known and has no value here, for this reason.
    #[must_use]
    pub fn without(mut self, name: &str, reason: &str) -> Self {
        self.values.insert(name.to_owned(), Err(reason.to_owned()));
        self
    }

    /// Whether the name is taken.
    pub fn knows(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text with every `${NAME}` replaced; `$${` stands for `${`.
    ///
    /// # Errors
    /// A name without a value, or an open `${`.
    pub fn substitute(&self, text: &str) -> Result<String, VariableError> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, behind) = rest.split_at(at);
            let behind = &behind[2..];
            if let Some(before) = before.strip_suffix('$') {
                result.push_str(before);
                result.push_str("${");
                rest = behind;
                continue;
            }
            result.push_str(before);
            let (name, after) = behind.split_once('}').ok_or(VariableError::Open)?;
            match self.values.get(name) {
                Some(Ok(value)) => result.push_str(value),
                Some(Err(reason)) => {
                    return Err(VariableError::NoValue {
                        name: name.to_owned(),
                        reason: reason.clone(),
                    });
                }
                None => {
                    return Err(VariableError::Unknown {
                        name: name.to_owned(),
                        known: self.values.keys().cloned().collect(),
                    });
                }
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }
}

/// Whether a file may define a variable of this name.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|character| {
            character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitution() {
        let variables = Variables::default()
            .with("HOME", "/home/a")
            .with("ODD", "${HOME}")
            .without("CACHE", "no home directory");
        for (text, expected) in [
            ("", Ok("")),
            ("plain $HOME", Ok("plain $HOME")),
            ("${HOME}/x", Ok("/home/a/x")),
            ("a${HOME}${HOME}", Ok("a/home/a/home/a")),
            ("$${HOME}", Ok("${HOME}")),
            ("$$${HOME}", Ok("$${HOME}")),
            ("${ODD}", Ok("${HOME}")),
            ("${HOME", Err("`${` without `}`")),
            ("${home}", Err("unknown variable `${home}`")),
            ("${HOME:-/x}", Err("unknown variable `${HOME:-/x}`")),
            (
                "${CACHE}",
                Err("`${CACHE}` has no value: no home directory"),
            ),
        ] {
            let found = variables
                .substitute(text)
                .map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
