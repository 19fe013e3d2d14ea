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

mod attributes;
mod bypass_table;
mod cli;
mod denials;
mod deno_programs;
mod docs;
mod doctor;
mod egress;
mod environment;
mod errors;
mod escapes;
mod exec;
mod execution;
mod explain;
mod filesystem;
mod hardening;
mod life;
mod limits;
mod machine;
mod network;
mod policies;
mod prepare;
mod projects;
mod protected;
mod reports;
mod reviews;
mod runner;
mod seed_cases;
mod service;
mod support;
mod support_life;
mod task;
mod terminal;
mod victim;
mod watching;
