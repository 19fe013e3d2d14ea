// SPDX-License-Identifier: MIT
//! Programs with packages, remote modules, types and configuration: what is downloaded before they
//! start, and what they reach afterwards.

mod commands;
mod damage;
mod example;
mod locks;
mod packages;
mod registries;
pub(crate) mod registry;
mod remote;
mod types;
mod untrusted;

use crate::support::{Launch, Project, runner};
use registry::Registry;

/// A run with a cache and a registry of its own.
fn with_registry(project: &Project, registry: &Registry, words: &[&str]) -> Launch {
    with_cache(project, words)
        .env("NPM_CONFIG_REGISTRY", registry.url())
        .env("HOME", project.path("home"))
}

/// A run with a cache of its own and the shared Deno, so that nothing is unpacked.
fn with_cache(project: &Project, words: &[&str]) -> Launch {
    let mut all = vec![words[0], "--runner", runner().to_str().unwrap()];
    all.extend(&words[1..]);
    project
        .stockade(&all)
        .env("STOCKADE_CACHE", project.path(".stockade-cache"))
}
