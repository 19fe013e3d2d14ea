// SPDX-License-Identifier: MIT
//! `stockade exec`: any command inside the walls.

mod decoy;
mod presets;
mod start;
mod tools;

use std::path::PathBuf;

use crate::support::{Launch, Project};

/// `stockade exec` in a project.
fn exec(project: &Project, words: &[&str]) -> Launch {
    let mut all = vec!["exec"];
    all.extend(words);
    project.stockade(&all)
}

/// Whether this user has a tool. Some are installed in root's home, where another user does not find them; a
/// test without its tool says so, and fails as root where tests must run.
fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(tool))
        .any(|path: PathBuf| path.is_file());
    if !found {
        let must_run = std::env::var_os("STOCKADE_TEST_MUST_RUN").is_some_and(|value| value == "1");
        assert!(
            !(must_run && crate::machine::superuser()),
            "`{tool}` is not in PATH"
        );
        eprintln!("skipped: `{tool}` is not in this user's PATH");
    }
    found
}
