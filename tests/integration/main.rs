// SPDX-License-Identifier: MIT
//! The integration tests: the built binary, real Deno programs, this kernel.
//!
//! Invariant: every test that sees something denied also sees it allowed by a grant, and done
//! outside any sandbox, so a missing tool or a refusing kernel never makes it pass.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests fail by panicking and set up the machine they run on"
)]

mod bypass_table;
mod deno_programs;
mod environment;
mod escapes;
mod execution;
mod filesystem;
mod hardening;
mod network;
mod seed_cases;
mod support;
mod cli;
mod docs;
mod doctor;
mod errors;
mod explain;
mod life;
mod prepare;
mod runner;
mod support_life;
mod terminal;
