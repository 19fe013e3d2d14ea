// SPDX-License-Identifier: MIT
//! The names that decide what runs, or what is permitted, next time, and why each is here.
//!
//! Invariant: names are relative to a directory that is found elsewhere; all are ASCII.

/// In a project's directory and every directory above it, where tools look for them as well.
pub(super) const PROJECT: &[&str] = &[
    ".envrc",
    ".npmrc",
    ".vscode",
    "deno.json",
    "deno.jsonc",
    "deno.lock",
    "node_modules",
    "package.json",
];
pub(super) const PROJECT_WHY: &str = "a project's configuration and code of others";

/// In a directory that git keeps a repository in (gitrepository-layout(5)): programs it runs, the
/// configuration that names more of them, and what makes it look for either elsewhere.
pub(super) const REPOSITORY: &[&str] = &["commondir", "config", "config.worktree", "hooks"];
/// What makes git take a directory for a repository of its own, without a `.git`.
pub(super) const BARE: &[&str] = &["HEAD"];
pub(super) const BARE_WHY: &str = "makes git take the directory for a repository";
pub(super) const REPOSITORY_WHY: &str = "programs that git runs";

/// In the home directory: read by shells, sessions and tools whenever they start.
pub(super) const HOME: &[&str] = &[
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".bashrc.d",
    ".cargo/config",
    ".cargo/config.toml",
    ".cargo/env",
    ".config/autostart",
    ".config/direnv",
    ".config/environment.d",
    ".config/fish",
    ".config/git",
    ".config/systemd",
    ".cshrc",
    ".deno/env",
    ".gitconfig",
    ".inputrc",
    ".kshrc",
    ".local/bin/env",
    ".local/share/direnv",
    ".local/share/systemd",
    ".login",
    ".logout",
    ".npmrc",
    ".pam_environment",
    ".profile",
    ".ssh",
    ".tcshrc",
    ".xinitrc",
    ".xprofile",
    ".xsession",
    ".xsessionrc",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
];
pub(super) const HOME_WHY: &str = "read by shells, sessions and tools when they start";

pub(super) const CACHE_WHY: &str = "the runner and the programs that Stockade keeps";
pub(super) const READ_FIRST_WHY: &str = "configuration of the program that is run";
pub(super) const NAMED_WHY: &str = "named by a rule";
