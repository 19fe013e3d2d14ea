// SPDX-License-Identifier: MIT
//! Arguments as typed, dispatch, rendering and exit codes; the only module that prints.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Runs the command line.
pub fn main() -> ExitCode {
    ExitCode::from(125)
}
