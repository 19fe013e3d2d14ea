// SPDX-License-Identifier: MIT
//! The set of Landlock rules being built, and denials inside grants, held by granting everything
//! around them.
//!
//! Invariant: no rule ever covers a denied path with a denied right, except the rules the runner
//! cannot start without, which are added by `require`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::PlanError;
use super::{Access, DeniedPath, PathRule};
use crate::host::{FileKind, FileStamp, Host, Inspected};
use crate::policy::Origin;

/// More rules than this around one denial are refused: at 2.5 µs each they would cost every start
/// more than the bar of 60 ms allows, and a directory that large changes while it is listed.
const CARVE_LIMIT: usize = 20_000;

/// Changing a file's content.
const CONTENT: Access = Access::WRITE_FILE.or(Access::TRUNCATE);

/// Making, removing and renaming what lies in a directory. A read denial withholds it around the
/// denied path, too: renamed, it would be under no denial in the next run.
const STRUCTURE: Access = Access::WRITE.without(CONTENT);

/// A path something may not be done to, whatever is granted.
#[derive(Debug, Clone)]
pub(super) struct Denial {
    /// What was opened.
    pub found: Inspected,
    /// The rights withheld.
    pub access: Access,
    /// The deny rule.
    pub origin: Origin,
}

/// A path without links as the map's key, with whether the confined process opens it itself. In
/// this spelling bytes sort as paths do, name by name, and comparing them takes a tenth of the time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Box<[u8]>, bool);

impl Key {
    fn new(path: &Path, own_process: bool) -> Self {
        let mut bytes: Box<[u8]> = path.as_os_str().as_bytes().into();
        for byte in &mut bytes {
            if *byte == b'/' {
                // No name has it, and nothing sorts before it.
                *byte = 0;
            }
        }
        Self(bytes, own_process)
    }
}

/// How a rule's path was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FoundBy {
    /// A grant names it, or what it leads to.
    Name,
    /// It lies beside a denied path.
    Listing,
    /// It is the confined process's own, below `/proc/self`.
    OwnProcess,
}

/// Rules by path, with the denials they must respect.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: BTreeMap<Key, PathRule>,
    denials: Vec<Denial>,
    held: Vec<DeniedPath>,
    notices: Vec<String>,
}

/// The rights a denial takes away around the denied path.
fn withheld(denial: &Denial) -> Access {
    if denial.access.intersects(Access::READ) {
        denial.access | STRUCTURE
    } else {
        denial.access
    }
}

/// What `Rules` was built for.
pub(super) struct Finished {
    /// The rules, sorted by path.
    pub rules: Vec<PathRule>,
    /// Denials that are held by carving or by cutting a grant.
    pub denied: Vec<DeniedPath>,
    /// What was lost by holding them.
    pub notices: Vec<String>,
}

impl Rules {
    /// An empty set that will respect `denials`.
    pub(super) fn new(denials: Vec<Denial>) -> Self {
        let held = denials
            .iter()
            .map(|denial| DeniedPath {
                path: denial.found.real_path.clone(),
                access: denial.access,
                granted_around: false,
                origin: denial.origin.clone(),
            })
            .collect();
        Self {
            denials,
            held,
            ..Self::default()
        }
    }

    /// Grants `access` on what was found and below it, minus the denials.
    ///
    /// # Errors
    /// When a directory around a denial cannot be listed or is too large.
    pub(super) fn grant(
        &mut self,
        host: &dyn Host,
        found: &Inspected,
        access: Access,
        origin: &Origin,
    ) -> Result<(), PlanError> {
        let mut remaining = access;
        let mut inside: Vec<Denial> = Vec::new();
        for (denial, held) in self.denials.iter().zip(&mut self.held) {
            if !withheld(denial).intersects(remaining) {
                continue;
            }
            if found.real_path.starts_with(&denial.found.real_path) {
                held.granted_around |= denial.access.intersects(remaining);
                remaining = remaining.without(denial.access);
            } else if denial.found.real_path.starts_with(&found.real_path) {
                inside.push(denial.clone());
                held.granted_around = true;
            }
        }
        let mut whole = remaining;
        if !inside.is_empty() {
            // Both reach below: a socket or a device inside the denied path would stay usable.
            whole = whole.without(Access::IOCTL_DEV | Access::RESOLVE_UNIX);
        }
        for class in [Access::READ, CONTENT, STRUCTURE, Access::EXECUTE] {
            let part = remaining.and(class);
            let inside: Vec<&Denial> = inside
                .iter()
                .filter(|denial| withheld(denial).intersects(part))
                .collect();
            if inside.is_empty() {
                continue;
            }
            whole = whole.without(class);
            let before = self.rules.len();
            self.carve(host, &found.real_path, part, &inside, origin, before)?;
        }
        self.add(found, whole, origin);
        Ok(())
    }

    /// Grants everything in `directory` except the denied paths below it.
    fn carve(
        &mut self,
        host: &dyn Host,
        directory: &Path,
        access: Access,
        denials: &[&Denial],
        origin: &Origin,
        before: usize,
    ) -> Result<(), PlanError> {
        let denial = denials[0];
        let list = |source| PlanError::ListDirectory {
            origin: denial.origin.clone(),
            path: directory.to_path_buf(),
            source,
        };
        // Listing is inherited by everything below, so it would show the names in a denied
        // directory; around a denied file it shows nothing that `stat` does not.
        let files_only = denials
            .iter()
            .all(|denial| denial.found.kind != FileKind::Directory);
        if access.contains(Access::READ_DIR) {
            if files_only {
                let found = host.inspect(directory).map_err(list)?;
                self.add(&found, Access::READ_DIR, origin);
            } else {
                self.notices.push(format!(
                    "`{}` itself cannot be listed: `{}` inside it is held by granting \
                     everything around it",
                    directory.display(),
                    denial.origin
                ));
            }
        }
        if access.intersects(STRUCTURE) {
            self.notices.push(format!(
                "nothing can be created, renamed or removed directly in `{}`: `{}` inside it is \
                 held by granting everything around it",
                directory.display(),
                denial.origin
            ));
        }
        let leading: Vec<(&OsStr, bool, &Denial)> = denials
            .iter()
            .filter_map(|denial| {
                let mut names = denial.found.real_path.strip_prefix(directory).ok()?.iter();
                Some((names.next()?, names.next().is_none(), *denial))
            })
            .collect();
        for entry in host.list_directory(directory).map_err(list)? {
            let inside = leading.iter().filter(|(name, ..)| *name == entry.name);
            let path = directory.join(&entry.name);
            if inside.clone().any(|(_, itself, _)| *itself) {
                continue;
            }
            let below: Vec<&Denial> = inside.map(|(.., denial)| *denial).collect();
            if !below.is_empty() {
                self.carve(host, &path, access, &below, origin, before)?;
                continue;
            }
            // A link is judged by what it points to: inside, that has its own rule.
            if entry.kind == FileKind::Symlink {
                continue;
            }
            // Not looked at once more, which would double what ten thousand neighbours cost: the
            // rule is added only for what is opened under this name without a link, and is left
            // out when that is of another kind by then. Both only narrow.
            self.merge(&path, entry.kind, FoundBy::Listing, access, origin);
            if self.rules.len() - before > CARVE_LIMIT {
                return Err(PlanError::CarveLimit {
                    origin: denial.origin.clone(),
                    grant: origin.clone(),
                    limit: CARVE_LIMIT,
                });
            }
        }
        Ok(())
    }

    /// Grants one file or directory the target cannot start without; denials do not reach it.
    pub(super) fn require(
        &mut self,
        found: &Inspected,
        access: Access,
        stamp: Option<FileStamp>,
        origin: &Origin,
    ) {
        if let Some(rule) = self.add(found, access, origin) {
            rule.stamp = rule.stamp.or(stamp);
        }
    }

    /// Grants a path below the confined process's own `/proc/self`.
    pub(super) fn own_process(
        &mut self,
        path: &Path,
        kind: FileKind,
        access: Access,
        origin: &Origin,
    ) {
        self.merge(path, kind, FoundBy::OwnProcess, access, origin);
    }

    /// Grants a path that will be created before the start.
    pub(super) fn created(
        &mut self,
        path: &Path,
        directory: bool,
        access: Access,
        origin: &Origin,
    ) {
        let kind = if directory {
            FileKind::Directory
        } else {
            FileKind::File
        };
        self.merge(path, kind, FoundBy::Name, access, origin);
    }

    fn add(&mut self, found: &Inspected, access: Access, origin: &Origin) -> Option<&mut PathRule> {
        self.merge(&found.real_path, found.kind, FoundBy::Name, access, origin)
    }

    /// Adds the rights to the rule of this path; none when nothing of them applies to its kind.
    /// A rule that only a listing asked for is left out when the path changes.
    fn merge(
        &mut self,
        path: &Path,
        kind: FileKind,
        found_by: FoundBy,
        access: Access,
        origin: &Origin,
    ) -> Option<&mut PathRule> {
        let access = if kind == FileKind::Directory {
            access
        } else {
            access.and(Access::ON_FILE)
        };
        let own_process = found_by == FoundBy::OwnProcess;
        let access = if own_process {
            access.and(Access::READ | Access::WRITE_FILE)
        } else {
            access
        };
        if access.is_empty() {
            return None;
        }
        let rule = self
            .rules
            .entry(Key::new(path, own_process))
            .or_insert_with(|| PathRule {
                path: path.to_path_buf(),
                kind,
                access: Access::NONE,
                brokered: Access::NONE,
                stamp: None,
                own_process,
                listed: true,
                origins: Vec::new(),
            });
        rule.access |= access;
        rule.listed &= found_by == FoundBy::Listing;
        if !rule.origins.contains(origin) {
            rule.origins.push(origin.clone());
        }
        Some(rule)
    }

    /// The finished rules, every right limited to what the kernel knows.
    pub(super) fn finish(self, handled: Access) -> Finished {
        let rules = self
            .rules
            .into_values()
            .map(|mut rule| {
                rule.access = rule.access.and(handled);
                rule
            })
            .filter(|rule| !rule.access.is_empty())
            .collect();
        Finished {
            rules,
            denied: self.held,
            notices: self.notices,
        }
    }
}
