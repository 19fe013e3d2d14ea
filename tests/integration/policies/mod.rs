// SPDX-License-Identifier: MIT
//! Permissions written in files: policy files, presets, sets of deno.json.
//!
//! Invariant: what a file grants and denies is held by the same walls as what flags do, and a file
//! that is not understood in full starts nothing.

mod ceilings;
mod commands;
mod files;
mod sets;

use crate::support::{Answers, Project, expect_errno};

const EACCES: i32 = 13;

/// A probe that opens a file of the project for reading.
fn open(project: &Project, name: &str) -> String {
    format!("open:0:{}", project.path(name))
}

/// A probe that opens a file of the project for writing.
fn write(project: &Project, name: &str) -> String {
    format!("open:1:{}", project.path(name))
}

/// Each item with whether it worked.
#[track_caller]
fn expect(answers: &Answers, expected: &[(&String, bool)]) {
    for (item, works) in expected {
        expect_errno(answers, item, if *works { &[0] } else { &[EACCES] });
    }
}
