// SPDX-License-Identifier: MIT
//! Tasks of `deno.json` and scripts of `package.json`.
//!
//! ```text
//! config ──> order ──> line: what a command line names, and the siblings it starts   outside, pure
//!                        │
//!                        ├─> shell: executes the line with its builtins, redirects, globs    inside the walls
//!                        │     │  request: index of a sibling, words behind its script, directory, variables, streams
//!                        └─> serve: starts the lines in order, and the siblings they ask for    outside
//! ```
//!
//! A *line* is executed by one confined process, the shell; the programs it names run inside the
//! same walls. A *sibling* is a `deno …` of the line: a Stockade run of its own, with the flags of
//! the line, beside the shell and not below it.
//!
//! Invariant: what a sibling is permitted comes from the line as it was parsed outside and from the
//! caller; the shell only chooses which of the line's siblings start, and the words behind their
//! scripts.
#![forbid(unsafe_code)]

mod arriving;
pub mod audience;
pub mod bounds;
pub mod config;
pub mod line;
pub mod order;
mod prefixed;
pub mod request;
pub mod serve;
pub mod shell;
mod start;
