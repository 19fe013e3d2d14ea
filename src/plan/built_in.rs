// SPDX-License-Identifier: MIT
//! The shipped path lists, `policies/base.yaml` and `policies/deno.yaml`: what may be opened
//! without a grant, one reason per line.
//!
//! Invariant: they only ever add reads, and writes to sinks in `/dev`; a test holds them to it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Access;
use crate::policy::Origin;

/// One line of a shipped list.
#[derive(Debug, Clone)]
pub struct BuiltInRule {
    /// Absolute path; below `/proc/self` it is the confined process's own.
    pub path: PathBuf,
    /// The rights it gets.
    pub access: Access,
    /// When it applies.
    pub when: Condition,
    /// File, line and reason.
    pub origin: Origin,
}

/// When a shipped line applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// In every run.
    Always,
    /// When there is any network.
    Net,
    /// When programs may be started.
    Run,
    /// When foreign libraries may be loaded.
    Ffi,
    /// When this kind of system information is granted.
    Sys(String),
}

/// A shipped list that cannot be read; a mistake in this source tree, found by a unit test.
#[derive(Debug, thiserror::Error)]
#[error("the shipped list `{file}` is malformed: {message}")]
pub struct BuiltInError {
    file: &'static str,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    files: Vec<Spanned<Line>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: PathBuf,
    access: Vec<Word>,
    when: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Read,
    List,
    Write,
}

/// The base list and the runner's list, in this order.
///
/// # Errors
/// When a shipped file is malformed.
pub fn rules() -> Result<Vec<BuiltInRule>, BuiltInError> {
    let mut rules = parse("base.yaml", include_str!("../../policies/base.yaml"))?;
    rules.extend(parse(
        "deno.yaml",
        include_str!("../../policies/deno.yaml"),
    )?);
    Ok(rules)
}

fn parse(file: &'static str, text: &str) -> Result<Vec<BuiltInRule>, BuiltInError> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| BuiltInError {
        file,
        message: error.to_string(),
    })?;
    document
        .files
        .into_iter()
        .map(|spanned| {
            let line = u32::try_from(spanned.defined.line()).unwrap_or(0);
            let Line {
                path,
                access,
                when,
                reason,
            } = spanned.value;
            let when = parse_condition(&when).ok_or_else(|| BuiltInError {
                file,
                message: format!("line {line}: unknown condition `{when}`"),
            })?;
            let access = access.iter().fold(Access::NONE, |access, word| {
                access
                    | match word {
                        Word::Read => Access::READ,
                        Word::List => Access::READ_DIR,
                        Word::Write => Access::WRITE_FILE | Access::TRUNCATE,
                    }
            });
            let origin = Origin::BuiltIn {
                file: file.to_owned(),
                line,
                reason,
            };
            Ok(BuiltInRule {
                path,
                access,
                when,
                origin,
            })
        })
        .collect()
}

fn parse_condition(text: &str) -> Option<Condition> {
    Some(match text {
        "always" => Condition::Always,
        "net" => Condition::Net,
        "run" => Condition::Run,
        "ffi" => Condition::Ffi,
        other => Condition::Sys(other.strip_prefix("sys=")?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_lists_parse_and_write_only_to_sinks() {
        let rules = rules().unwrap();
        assert!(rules.len() > 40);
        for rule in rules {
            assert!(rule.path.is_absolute(), "{}", rule.path.display());
            if rule.access.intersects(Access::WRITE) {
                assert!(rule.path.starts_with("/dev"), "{}", rule.path.display());
            }
            let Origin::BuiltIn { line, reason, .. } = &rule.origin else {
                panic!("origin")
            };
            assert!(*line > 0 && reason.len() > 10, "{}", rule.path.display());
        }
    }

    #[test]
    fn unknown_words_are_errors() {
        for text in [
            "files:\n  - {path: /x, access: [exec], when: always, reason: x}\n",
            "files:\n  - {path: /x, access: [read], when: often, reason: x}\n",
            "files:\n  - {path: /x, access: [read], when: always, reason: x, more: 1}\n",
        ] {
            assert!(parse("base.yaml", text).is_err(), "{text}");
        }
    }
}
