// SPDX-License-Identifier: MIT
//! The git repositories that write grants reach, by looking for `.git`.
//!
//! Invariant: the search is bounded, so a grant of a large tree costs a start no more than it
//! saves; repositories deeper than that are not found, which `explain` shows by not listing them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::host::{FileKind, Host};
use crate::plan::paths::normalize;

/// How far below a granted directory repositories are looked for, and in how many directories.
const DEPTH: usize = 2;
const DIRECTORIES: usize = 256;
/// The longest `.git` file.
const LINK_LIMIT: usize = 4096;

/// What belongs to one repository.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    /// Directories that have a `.git`.
    pub(super) worktrees: BTreeSet<PathBuf>,
    /// Directories of repositories: `.git` itself, those of submodules and of linked worktrees.
    pub(super) stores: BTreeSet<PathBuf>,
    /// `.git` files, which say where the repository is.
    pub(super) links: BTreeSet<PathBuf>,
}

impl Repositories {
    /// Looks at one directory; says whether it has a `.git`.
    pub(super) fn look_at(&mut self, host: &dyn Host, directory: &Path) -> bool {
        let kind = |name: &str| host.inspect(&directory.join(name)).map(|found| found.kind);
        if kind("HEAD").is_ok()
            && kind("objects").is_ok_and(|kind| kind == FileKind::Directory)
            && kind("refs").is_ok_and(|kind| kind == FileKind::Directory)
        {
            self.store(host, directory.to_path_buf());
        }
        let git = directory.join(".git");
        let Ok(found) = host.inspect(&git) else {
            return false;
        };
        if !self.worktrees.insert(directory.to_path_buf()) {
            return true;
        }
        if found.real_path != git {
            self.links.insert(git.clone());
        }
        match found.kind {
            FileKind::Directory => self.store(host, found.real_path),
            FileKind::File => {
                self.links.insert(found.real_path);
                if let Some(store) = follow(host, &git, directory, b"gitdir: ") {
                    self.store(host, store);
                }
            }
            _ => {}
        }
        true
    }

    /// Looks below a granted directory.
    pub(super) fn search(&mut self, host: &dyn Host, directory: &Path) {
        let mut pending = vec![(directory.to_path_buf(), 0)];
        let mut listed = 0;
        while let Some((directory, depth)) = pending.pop() {
            self.look_at(host, &directory);
            if depth == DEPTH || listed == DIRECTORIES {
                continue;
            }
            listed += 1;
            let entries = host.list_directory(&directory).unwrap_or_default();
            pending.extend(
                entries
                    .into_iter()
                    .filter(|entry| entry.kind == FileKind::Directory)
                    .filter(|entry| !is_skipped(&entry.name))
                    .map(|entry| (directory.join(entry.name), depth + 1)),
            );
        }
    }

    fn store(&mut self, host: &dyn Host, store: PathBuf) {
        if !self.stores.insert(store.clone()) {
            return;
        }
        // Of a linked worktree: hooks and configuration are where this file says.
        if let Some(common) = follow(host, &store.join("commondir"), &store, b"") {
            self.store(host, common);
        }
        for linked in names(host, &store.join("worktrees")) {
            self.store(host, linked);
        }
        self.submodules(host, &store.join("modules"), 0);
    }

    /// Submodules are kept by name, which may have slashes in it.
    fn submodules(&mut self, host: &dyn Host, directory: &Path, depth: usize) {
        for entry in names(host, directory) {
            if host.exists(&entry.join("HEAD")) {
                self.store(host, entry);
            } else if depth < DEPTH {
                self.submodules(host, &entry, depth + 1);
            }
        }
    }
}

/// Generated and hidden directories hold no repositories of the user's.
fn is_skipped(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") || name == "node_modules" || name == "target"
}

fn names(host: &dyn Host, directory: &Path) -> Vec<PathBuf> {
    let entries = host.list_directory(directory).unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| entry.kind == FileKind::Directory)
        .take(DIRECTORIES)
        .map(|entry| directory.join(entry.name))
        .collect()
}

/// The directory a file of git's leads to, without links.
fn follow(host: &dyn Host, file: &Path, base: &Path, prefix: &[u8]) -> Option<PathBuf> {
    let content = host.read_file(file, LINK_LIMIT).ok()?;
    let path = content.strip_prefix(prefix)?.trim_ascii_end();
    let path = normalize(base, Path::new(OsStr::from_bytes(path)));
    let found = host.inspect(&path).ok()?;
    (found.kind == FileKind::Directory).then_some(found.real_path)
}
