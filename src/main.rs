// SPDX-License-Identifier: MIT
//! The `stockade` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stockade::cli::main()
}
