// SPDX-License-Identifier: MIT
//! Collects the shipped policy files into a table of the program.
//!
//! Invariant: every file of the directory is in it, by its name without ending; their content is read
//! where it is used, and a test reads each one. The table names no directory of the machine: a checkout
//! that moved still builds with what it built before.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where they are.
pub(crate) const DIRECTORY: &str = "policies/presets";

/// Writes the table to `target`, as the expression `src/policy/presets.rs` includes.
pub(crate) fn generate(target: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("`{DIRECTORY}`: {error}");
    let mut names = Vec::new();
    for entry in fs::read_dir(DIRECTORY).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let name = name
            .strip_suffix(".yaml")
            .ok_or_else(|| format!("`{DIRECTORY}/{name}` is no .yaml file"))?;
        names.push(name.to_owned());
    }
    names.sort();
    let mut table = String::from("&[\n");
    for name in names {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            r#"({name:?}, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/{DIRECTORY}/{name}.yaml"))),"#,
        );
    }
    table.push(']');
    fs::write(target, table)
        .map_err(|error| format!("cannot write `{}`: {error}", target.display()))
}
