// SPDX-License-Identifier: MIT
//! The `stockade` binary.
#![forbid(unsafe_code)]
// Other C libraries hand the arguments to nobody but `main`.
#![cfg_attr(target_env = "gnu", no_main)]

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

#[cfg(target_env = "gnu")]
stockade::entry!(run);

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    run().into()
}

fn run() -> u8 {
    stockade::cli::main(EMBEDDED)
}
