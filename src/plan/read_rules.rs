// SPDX-License-Identifier: MIT
//! What the read rules of a policy say about one path, asked before the Plan exists: which imports
//! may be followed depends on it.
//!
//! Invariant: the answer for a path equals what the Plan's rules will say about it, except that a
//! path below a grant that cannot be opened is not granted here.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use super::paths::{is_within, normalize};
use crate::host::Host;
use crate::policy::{Entry, PathDescriptor, Policy};

/// The read rules, looked at once.
#[derive(Debug)]
pub struct ReadRules {
    everything: bool,
    kernel_too: bool,
    nothing: bool,
    granted: Vec<PathBuf>,
    denied: Vec<PathBuf>,
}

/// By the bytes of the paths: the hash of a path lets different ones meet on purpose.
impl Hash for ReadRules {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.everything, self.kernel_too, self.nothing).hash(state);
        for list in [&self.granted, &self.denied] {
            list.len().hash(state);
            for path in list {
                path.as_os_str().hash(state);
            }
        }
    }
}

/// What the rules say about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRule {
    /// Granted, and not denied.
    Granted,
    /// Denied by `--deny-read` or `--ignore-read`.
    Denied,
    /// Not mentioned.
    Unsaid,
}

impl ReadRules {
    /// Opens what the rules name; what cannot be opened is left for the Plan to report.
    pub fn resolve(policy: &Policy, host: &dyn Host) -> Self {
        let open = |entries: &[Entry<PathDescriptor>]| -> Vec<PathBuf> {
            entries
                .iter()
                .filter_map(|entry| {
                    let path = normalize(host.current_directory(), &entry.descriptor.path);
                    host.inspect(&path).ok()
                })
                .map(|found| found.real_path)
                .collect()
        };
        let read = &policy.read;
        let mut denied = open(&read.deny.entries);
        denied.extend(open(&read.ignore.entries));
        let mut granted = open(&read.allow.entries);
        let listed = granted.len();
        granted.retain(|path| path.as_os_str() != "/");
        let whole = granted.len() < listed;
        Self {
            everything: policy.all.is_some() || read.allow.all.is_some() || whole,
            kernel_too: policy.all.is_some(),
            nothing: read.deny.all.is_some() || read.ignore.all.is_some(),
            granted,
            denied,
        }
    }

    /// Judges a path without links.
    pub fn rule(&self, path: &Path) -> ReadRule {
        let granted = || self.granted.iter().any(|root| is_within(path, root));
        let denied = || self.denied.iter().any(|root| path.starts_with(root));
        let kernel = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|directory| path.starts_with(directory));
        if self.nothing || denied() {
            ReadRule::Denied
        } else if granted() || self.everything && (self.kernel_too || !kernel) {
            ReadRule::Granted
        } else {
            ReadRule::Unsaid
        }
    }
}
