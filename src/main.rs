// SPDX-License-Identifier: MIT
//! The `stockade` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use stockade::runner::Embedded;

/// Only this target carries the executable: the library and its tests stay small.
#[cfg(feature = "embedded-runner")]
const EMBEDDED: Option<Embedded> = Some(Embedded {
    archive: include_bytes!(env!("STOCKADE_RUNNER_ARCHIVE")),
    sha256: env!("STOCKADE_RUNNER_SHA256"),
    version: env!("STOCKADE_RUNNER_VERSION"),
});
#[cfg(not(feature = "embedded-runner"))]
const EMBEDDED: Option<Embedded> = None;

fn main() -> ExitCode {
    stockade::cli::main(EMBEDDED)
}
