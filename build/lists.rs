// SPDX-License-Identifier: MIT
//! Turns the shipped path lists into a table of the program: reading YAML at every start would cost
//! half a millisecond of the one that a start may cost.
//!
//! Invariant: a malformed list stops the build and says where.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// The lists, in the order they apply.
pub(crate) const LISTS: [&str; 3] = [
    "policies/base.yaml",
    "policies/deno.yaml",
    "policies/exec.yaml",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    files: Vec<Spanned<Line>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    access: Vec<Word>,
    when: String,
    reason: String,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Word {
    Read,
    List,
    Write,
}

/// Writes the table to `target`, as the expression `src/plan/built_in.rs` includes.
pub(crate) fn generate(target: &Path) -> Result<(), String> {
    let mut table = String::from("&[\n");
    for list in LISTS {
        let text = fs::read_to_string(list).map_err(|error| format!("`{list}`: {error}"))?;
        let document: Document =
            serde_saphyr::from_str(&text).map_err(|error| format!("`{list}`: {error}"))?;
        let file = list.rsplit('/').next().unwrap_or(list);
        for spanned in document.files {
            let number = spanned.defined.line();
            let line = spanned.value;
            let when = condition(&line.when)
                .ok_or_else(|| format!("`{list}:{number}`: unknown condition `{}`", line.when))?;
            if !line.path.starts_with('/') {
                return Err(format!(
                    "`{list}:{number}`: `{}` is not absolute",
                    line.path
                ));
            }
            let words: Vec<String> = line
                .access
                .iter()
                .map(|word| format!("Word::{word:?}"))
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "Line {{ file: {file:?}, line: {number}, path: {:?}, access: &[{}], when: {when}, \
                 reason: {:?} }},",
                line.path,
                words.join(", "),
                line.reason
            );
        }
    }
    table.push(']');
    fs::write(target, table)
        .map_err(|error| format!("cannot write `{}`: {error}", target.display()))
}

fn condition(text: &str) -> Option<String> {
    Some(match text {
        "always" => "Condition::Always".to_owned(),
        "net" => "Condition::Net".to_owned(),
        "run" => "Condition::Run".to_owned(),
        "ffi" => "Condition::Ffi".to_owned(),
        other => format!("Condition::Sys({:?})", other.strip_prefix("sys=")?),
    })
}
