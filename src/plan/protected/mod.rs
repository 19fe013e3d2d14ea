// SPDX-License-Identifier: MIT
//! Paths that a wider write grant does not open: they decide what runs, or what is permitted, next
//! time.
//!
//! Landlock cannot subtract them from a grant: a directory in which something can be made lets
//! anything be made. So a grant around such a path gets none of its write rights from Landlock; the
//! supervisor performs what is written there on behalf, all but these paths (`supervisor::broker`).
//! Grants that cover none of them stay Landlock's alone, and so does a grant of one of them itself:
//! whoever names it means it.
//!
//! Invariant: what is listed is withheld from every rule of the user that does not name it, whether
//! it exists or not; the rights withheld are in the Plan.

mod places;
mod repositories;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::repositories::Repositories;
use super::build::{Request, RequiredPath};
use super::paths::normalize;
use super::{Access, PathRule, ProtectedPath};
use crate::host::{FileKind, Host};
use crate::policy::{Origin, PathDescriptor};

/// Lists what is protected inside the write grants among `rules`, and moves the rights of those
/// grants from Landlock to the supervisor.
pub(super) fn withhold(
    request: &Request<'_>,
    host: &dyn Host,
    rules: &mut Vec<PathRule>,
) -> Vec<ProtectedPath> {
    let grants = Grants::of(request, rules);
    if grants.directories.is_empty() {
        return Vec::new();
    }
    let mut list = List::default();
    list.find(request, host, &grants);
    let protected: Vec<ProtectedPath> = list
        .paths
        .into_values()
        .filter(|one| grants.cover(one))
        .collect();
    for rule in rules.iter_mut().filter(|rule| is_users(rule)) {
        let around =
            |one: &ProtectedPath| one.path != rule.path && one.path.starts_with(&rule.path);
        let inside = |one: &ProtectedPath| {
            rule.path.starts_with(&one.path)
                && (one.denied || !grants.name_between(&one.path, &rule.path))
        };
        if protected.iter().any(inside) {
            rule.access = rule.access.without(Access::WRITE);
        } else if rule.kind == FileKind::Directory && protected.iter().any(around) {
            rule.brokered = rule.access.and(Access::WRITE);
            rule.access = rule.access.without(Access::WRITE);
        }
    }
    rules.retain(|rule| !rule.access.is_empty() || !rule.brokered.is_empty());
    protected
}

/// Whether a rule is there because the user wrote it down.
fn is_users(rule: &PathRule) -> bool {
    let users = |origin: &Origin| matches!(origin, Origin::Flag { .. } | Origin::File { .. });
    !rule.own_process && rule.origins.iter().any(users)
}

/// The user's write grants.
#[derive(Debug)]
struct Grants {
    /// Every directory in which something can be written.
    directories: BTreeSet<PathBuf>,
    /// What listed grants name.
    named: BTreeSet<PathBuf>,
}

impl Grants {
    fn of(request: &Request<'_>, rules: &[PathRule]) -> Self {
        let entries = &request.policy.write.allow.entries;
        let names_it = |origin: &Origin| {
            entries
                .iter()
                .any(|entry| entry.origin == *origin && entry.descriptor.path != Path::new("/"))
        };
        let written = |rule: &&PathRule| is_users(rule) && rule.access.intersects(Access::WRITE);
        let directories = rules
            .iter()
            .filter(written)
            .filter(|rule| rule.kind == FileKind::Directory)
            .map(|rule| rule.path.clone())
            .collect();
        let named = rules
            .iter()
            .filter(written)
            .filter(|rule| !rule.listed && rule.origins.iter().any(names_it))
            .map(|rule| rule.path.clone())
            .collect();
        Self { directories, named }
    }

    /// Whether a grant that does not name it reaches a path.
    fn cover(&self, one: &ProtectedPath) -> bool {
        let reached = |above: &Path| self.directories.contains(above);
        (one.denied || !self.named.contains(&one.path)) && one.path.ancestors().any(reached)
    }

    /// Whether a grant names something at or below `outer` that `inner` is, or lies in.
    fn name_between(&self, outer: &Path, inner: &Path) -> bool {
        inner
            .ancestors()
            .take_while(|above| above.starts_with(outer))
            .any(|above| self.named.contains(above))
    }
}

/// What is protected, by path.
#[derive(Debug, Default)]
struct List {
    paths: BTreeMap<PathBuf, ProtectedPath>,
}

impl List {
    fn find(&mut self, request: &Request<'_>, host: &dyn Host, grants: &Grants) {
        for entry in &request.policy.protect {
            self.name(host, &entry.descriptor, &entry.origin, false);
        }
        // Those that exist are carved out of the grant.
        for entry in &request.policy.write.deny.entries {
            let path = normalize(host.current_directory(), &entry.descriptor.path);
            if host.inspect(&path).is_err() {
                self.name(host, &entry.descriptor, &entry.origin, true);
            }
        }
        let mut projects = BTreeSet::new();
        let mut found = Repositories::default();
        for directory in directories_of(request, host) {
            for above in directory.ancestors() {
                projects.insert(above.to_path_buf());
                // A repository may yet be made there.
                self.add_all(
                    host,
                    &above.join(".git"),
                    places::REPOSITORY,
                    places::REPOSITORY_WHY,
                );
            }
        }
        for required in request.required.iter().filter(|one| is_configuration(one)) {
            self.add(host, &required.path, places::READ_FIRST_WHY);
        }
        for directory in &grants.named {
            found.search(host, directory);
        }
        for directory in grants.directories.iter().chain(&projects) {
            for above in directory.ancestors() {
                found.look_at(host, above);
            }
        }
        for directory in projects.iter().chain(&found.worktrees) {
            self.add_all(host, directory, places::PROJECT, places::PROJECT_WHY);
        }
        for directory in &projects {
            // Git itself writes that of a repository.
            if !found.stores.contains(directory) {
                self.add_all(host, directory, places::BARE, places::BARE_WHY);
            }
        }
        for store in &found.stores {
            self.add_all(host, store, places::REPOSITORY, places::REPOSITORY_WHY);
        }
        for link in &found.links {
            self.add(host, link, places::REPOSITORY_WHY);
        }
        if let Some(home) = absolute(host, "HOME") {
            self.add_all(host, &home, places::HOME, places::HOME_WHY);
            self.add(host, &home.join(".cache/stockade"), places::CACHE_WHY);
        }
        if let Some(caches) = absolute(host, "XDG_CACHE_HOME") {
            self.add(host, &caches.join("stockade"), places::CACHE_WHY);
        }
        if let Some(cache) = absolute(host, "STOCKADE_CACHE") {
            self.add(host, &cache, places::CACHE_WHY);
        }
    }

    fn name(&mut self, host: &dyn Host, named: &PathDescriptor, origin: &Origin, denied: bool) {
        let path = normalize(host.current_directory(), &named.path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        if let Some(parent) = without_links(host, parent) {
            let why = places::NAMED_WHY;
            self.add_real(host, parent.join(name), why, Some((origin, denied)));
        }
    }

    fn add_all(&mut self, host: &dyn Host, directory: &Path, names: &[&str], why: &'static str) {
        let Some(directory) = without_links(host, directory) else {
            return;
        };
        for name in names {
            match name.contains('/') {
                true => self.add(host, &directory.join(name), why),
                false => self.add_real(host, directory.join(name), why, None),
            }
        }
    }

    fn add(&mut self, host: &dyn Host, path: &Path, why: &'static str) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        if let Some(parent) = without_links(host, parent) {
            self.add_real(host, parent.join(name), why, None);
        }
    }

    /// Adds a path whose directory has no links in it; the path itself may be a link, and then
    /// what it leads to is protected as well.
    fn add_real(
        &mut self,
        host: &dyn Host,
        path: PathBuf,
        why: &'static str,
        rule: Option<(&Origin, bool)>,
    ) {
        if let Ok(found) = host.inspect(&path)
            && found.real_path != path
        {
            self.insert(found.real_path, why, rule);
        }
        self.insert(path, why, rule);
    }

    fn insert(&mut self, path: PathBuf, why: &'static str, rule: Option<(&Origin, bool)>) {
        self.paths
            .entry(path.clone())
            .or_insert_with(|| ProtectedPath {
                path,
                why: why.to_owned(),
                origin: rule.map(|(origin, _)| origin.clone()),
                denied: rule.is_some_and(|(_, denied)| denied),
            });
    }
}

/// Whether the runner only reads a file for itself: configuration, locks, import maps.
fn is_configuration(required: &RequiredPath) -> bool {
    required.kind == FileKind::File
        && required.access == Access::READ_FILE
        && matches!(required.origin, Origin::Runner { .. })
}

/// Where the run starts and where its program lies.
fn directories_of(request: &Request<'_>, host: &dyn Host) -> BTreeSet<PathBuf> {
    let its_own = request.required.iter().filter(|required| {
        is_configuration(required) || matches!(required.origin, Origin::Module { importer: None })
    });
    its_own
        .filter_map(|required| required.path.parent())
        .chain([host.current_directory()])
        .map(Path::to_path_buf)
        .collect()
}

/// A directory named by a variable.
fn absolute(host: &dyn Host, variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(host.variable(variable)?);
    path.is_absolute().then_some(path)
}

/// The path with the links followed in the part of it that exists.
fn without_links(host: &dyn Host, path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    for existing in path.ancestors() {
        if let Ok(found) = host.inspect(existing) {
            let mut real = found.real_path;
            real.extend(missing.iter().rev());
            return Some(real);
        }
        missing.push(existing.file_name()?);
    }
    None
}
