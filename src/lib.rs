// SPDX-License-Identifier: MIT
//! Stockade runs a TypeScript program under Deno's permission flags, enforced by the Linux kernel.
//!
//! ```text
//! argv, deno.json ──> policy::Policy ──┐
//!                                      ├─plan::build──> plan::Plan ──> cli explain
//! host::Host (facts, injected) ────────┘                   │
//!            runner (prepare: the files the program may load)
//!                                                          ▼
//!                                  confine::Confinement::prepare     opens, allocates, compiles
//!                                                          ▼
//!                                  launch: [fork] → Confinement::apply → execve
//! ```
//!
//! 1. Nothing after `prepare` may widen.
//! 2. Any error before `execve` ends with exit 125, and the target never ran.
//! 3. Every item of the Plan keeps the Origin of the entry that caused it.
//! 4. What the Plan does not hold, nobody holds: `Gap` items say so.
//! 5. The same inputs give the same Plan, byte for byte.
//!
//! Who may import whom: `policy` nothing; `host` `sys`; `plan` `policy` and `host`; `confine` `plan`,
//! `sys` and the types of `host` and `policy`; `launch` `confine`, `plan` and `sys`; `runner` `plan`,
//! `policy`, `host`, `confine`, `launch`, and of `sys` what replaces a lock; `audit` the types of `policy`;
//! `egress` `plan`, `audit` and the types of `policy`; `supervisor` `egress`, `audit`, `plan`, `launch`, `sys`,
//! the types of `host` and `policy`, and `confine::filter`, which compiles its own walls;
//! `task` `host`, `sys`, the types of `policy` and `plan`, and the runner's chain of configuration files;
//! `cli` everything.
//! `sys` is the only module with unsafe code, `cli` the only one that prints.

pub mod audit;
pub mod cli;
pub mod confine;
pub mod egress;
pub mod host;
pub mod launch;
pub mod plan;
pub mod policy;
pub mod runner;
pub mod supervisor;
pub mod sys;
pub mod task;
