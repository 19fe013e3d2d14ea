// SPDX-License-Identifier: MIT
//! Where paths lead, looked at once.
//!
//! Invariant: a path leads to what it led to when it was first asked for, whatever becomes of its links.
//! What bounds a task is looked at before the first line runs, since a line may turn links where it may
//! write; and what a sibling was judged by is what it may open.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::host::Host;
use crate::policy::grammar::lexical;
use crate::policy::{Policy, RunDescriptor};

/// Paths by how they are spelled, absolute and without `.` and `..`, with where they lead.
pub type Led = BTreeMap<PathBuf, PathBuf>;

/// Looks paths up and remembers what it found.
pub struct Leads<'h> {
    host: &'h dyn Host,
    known: RefCell<BTreeMap<PathBuf, Option<PathBuf>>>,
}

impl fmt::Debug for Leads<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.borrow().fmt(formatter)
    }
}

impl<'h> Leads<'h> {
    /// Nothing was looked at yet.
    pub fn new(host: &'h dyn Host) -> Self {
        Self {
            host,
            known: RefCell::default(),
        }
    }

    /// What a path leads to; of one that does not exist, its nearest directory that does. None when
    /// that cannot be told, as without the directory that a relative one begins at.
    pub fn of(&self, directory: Option<&Path>, path: &Path) -> Option<PathBuf> {
        let path = match directory {
            Some(directory) => lexical(directory, path),
            None if path.is_absolute() => lexical(Path::new("/"), path),
            None => return None,
        };
        let known = self.known.borrow().get(&path).cloned();
        known.unwrap_or_else(|| {
            let found = lead(self.host, &path);
            self.known.borrow_mut().insert(path, found.clone());
            found
        })
    }

    /// Looks at every path that a policy grants.
    pub fn look_at(&self, policy: &Policy, directory: Option<&Path>) {
        for rules in [&policy.read.allow, &policy.write.allow, &policy.ffi.allow] {
            for entry in &rules.entries {
                self.of(directory, &entry.descriptor.path);
            }
        }
        for entry in &policy.run.allow.entries {
            if let RunDescriptor::Path(path) = &entry.descriptor {
                self.of(directory, path);
            }
        }
    }

    /// Everything that was found.
    pub fn found(&self) -> Led {
        let known = self.known.borrow();
        let found = known
            .iter()
            .filter_map(|(path, lead)| Some((path.clone(), lead.clone()?)));
        found.collect()
    }
}

/// What an absolute path leads to now.
pub fn lead(host: &dyn Host, path: &Path) -> Option<PathBuf> {
    for above in path.ancestors() {
        let found = match host.inspect(above) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        let rest = path.strip_prefix(above).ok()?;
        if rest.as_os_str().is_empty() {
            return Some(found.real_path);
        }
        let plain = |component| matches!(component, Component::Normal(_));
        return rest
            .components()
            .all(plain)
            .then(|| found.real_path.join(rest));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn a_path_is_what_it_was_first() {
        let host = FakeHost::new()
            .with_directory("/w/m")
            .with_link("/w/link", "/w/m");
        let leads = Leads::new(&host);
        let of = |directory: Option<&str>, path: &str| {
            leads.of(directory.map(Path::new), Path::new(path))
        };
        assert_eq!(of(Some("/w"), "link/new"), Some("/w/m/new".into()));
        assert_eq!(of(None, "/w/link"), Some("/w/m".into()));
        assert_eq!(of(None, "link"), None);
        // As every other part reads it: by its spelling.
        assert_eq!(of(Some("/w"), "link/../x"), Some("/w/x".into()));
        assert_eq!(
            leads.found().keys().collect::<Vec<_>>(),
            [
                Path::new("/w/link"),
                Path::new("/w/link/new"),
                Path::new("/w/x")
            ]
        );
    }
}
