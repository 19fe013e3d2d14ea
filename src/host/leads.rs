// SPDX-License-Identifier: MIT
//! Where paths lead, looked at once.
//!
//! Invariant: a path leads to what it led to when it was first asked for, whatever becomes of its links:
//! what is judged and what is held to the judgement are one look.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Host;

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

    /// What a path leads to, which is absolute and has no `.` and `..` in it; of one that does not exist,
    /// its nearest directory that does. None when that cannot be told.
    pub fn of(&self, path: &Path) -> Option<PathBuf> {
        let known = self.known.borrow().get(path).cloned();
        known.unwrap_or_else(|| {
            let found = lead(self.host, path);
            let mut known = self.known.borrow_mut();
            known.insert(path.to_path_buf(), found.clone());
            found
        })
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

/// As [`Leads::of`], now.
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
            .with_directory("/x")
            .with_turning_link("/w/link", "/w/m", "/x");
        let leads = Leads::new(&host);
        assert_eq!(leads.of(Path::new("/w/link")), Some("/w/m".into()));
        assert_eq!(leads.of(Path::new("/w/link")), Some("/w/m".into()));
        assert_eq!(lead(&host, Path::new("/w/link")), Some("/x".into()));
        assert_eq!(
            leads.of(Path::new("/w/new/file")),
            Some("/w/new/file".into())
        );
        assert_eq!(
            leads.found().keys().collect::<Vec<_>>(),
            ["/w/link", "/w/new/file"].map(Path::new)
        );
    }
}
