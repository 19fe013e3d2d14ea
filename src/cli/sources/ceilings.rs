// SPDX-License-Identifier: MIT
//! `--ceiling`, and the system-wide ceiling.
//!
//! Invariant: the system-wide file is always asked for, by one fixed path, and nothing the caller sets
//! changes what it says: it belongs to the superuser and only they can write it, its home directory is
//! the one of the user database, and its programs are looked up in the system's directories.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::policy_files::{self, Layer};
use super::{SourceError, variables};
use crate::cli::invocation::Settings;
use crate::host::leads::Leads;
use crate::host::{FileKind, Host};
use crate::plan::{NetRule, Verify};
use crate::policy::ceiling::{self, Asked, Ceiling, Chosen, Places};
use crate::policy::compose::union;
use crate::policy::file::{Checked, Granted};
use crate::policy::grammar::lexical;
use crate::policy::limits::Timeout;
use crate::policy::{Origin, Policy, RunDescriptor};

/// The system-wide ceiling. Not a setting: nothing may lead to another one.
pub(super) const SYSTEM: &str = "/etc/stockade/ceiling.yaml";

/// Where a program that a ceiling names without a path is looked for.
const SYSTEM_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Reads the ceilings of a run: the system-wide one, then those of the flags.
///
/// # Errors
/// [`SourceError`]: one cannot be read, or somebody else could have written it.
pub(super) fn load(
    files: &[PathBuf],
    start: &Path,
    host: &dyn Host,
) -> Result<Vec<Ceiling>, SourceError> {
    let mut ceilings = Vec::new();
    if let Some(layers) = policy_files::load_system(SYSTEM, || variables::of_system(host), host)? {
        ceilings.push(joined(Path::new(SYSTEM), layers));
    }
    for file in files {
        let layers = policy_files::load_ceiling(file, &variables::of(host, start), host)?;
        ceilings.push(joined(file, layers));
    }
    Ok(ceilings)
}

/// One ceiling of a file and what it extends.
fn joined(path: &Path, layers: Vec<Layer>) -> Ceiling {
    let mut ceiling = Ceiling {
        granted: Granted::default(),
        name_servers: Vec::new(),
        proxies: Vec::new(),
        limits: crate::policy::limits::Limits::none(),
        timeout: None,
        origin: Origin::File {
            path: path.to_owned(),
            line: 1,
            column: 1,
            reason: None,
        },
    };
    // The file itself comes last; its lines are named first.
    for layer in layers.into_iter().rev() {
        let Granted {
            policy,
            private,
            verify,
            // Refused when the file is read.
            registries: _,
            bounds,
            block,
        } = layer.granted;
        let sum = &mut ceiling.granted;
        sum.policy = union([std::mem::take(&mut sum.policy), policy]);
        sum.private.extend(private);
        sum.verify.extend(verify);
        sum.bounds.extend(bounds);
        sum.block = sum.block.take().or(block);
        ceiling.name_servers.extend(layer.settings.name_servers);
        let proxy = layer.settings.proxy.map(|proxy| Chosen {
            value: proxy.value.to_string(),
            origin: proxy.origin,
        });
        ceiling.proxies.extend(proxy);
        ceiling.limits = ceiling.limits.and(layer.settings.limits);
        ceiling.timeout = Timeout::and(ceiling.timeout, layer.settings.timeout);
    }
    ceiling
}

/// Refuses what is outside a ceiling.
///
/// # Errors
/// [`SourceError::Outside`], with everything that is.
pub(in crate::cli) fn judge(
    policy: &Policy,
    settings: &Settings,
    places: &Looked<'_>,
) -> Result<(), SourceError> {
    if settings.ceilings.is_empty() {
        return Ok(());
    }
    if settings.best_effort {
        return Err(SourceError::BestEffort {
            ceiling: settings.ceilings[0].origin.clone(),
        });
    }
    let network = &settings.network;
    let verify: Vec<Checked> = network.verify.iter().map(checked).collect();
    let listener = network.listener.as_ref();
    let name_servers = chosen_servers(settings);
    let proxy = network.upstream.proxy.as_ref().map(|proxy| Chosen {
        // Without what logs in.
        value: proxy.to_string(),
        origin: settings
            .upstream
            .proxy
            .clone()
            .unwrap_or_else(|| Origin::flag("--upstream-proxy", Some(&proxy.to_string()))),
    });
    let asked = Asked {
        policy,
        name_servers: &name_servers,
        proxy: proxy.as_ref(),
        private: &network.private,
        verify: &verify,
        listener: listener.map(|rule| (rule.descriptor(), &rule.origin)),
        limits: &settings.limits,
        timeout: settings.timeout.as_ref(),
    };
    let found: Vec<_> = settings
        .ceilings
        .iter()
        .flat_map(|ceiling| ceiling::outside(ceiling, &asked, places))
        .collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(SourceError::Outside { found })
    }
}

/// The policy of a command with what it gets by itself: directories outside a ceiling are left out,
/// and told; nobody asked for them.
///
/// # Errors
/// [`SourceError::Outside`], when a command as such is.
pub(in crate::cli) fn judge_defaults(
    mut policy: Policy,
    settings: &Settings,
    host: &dyn Host,
    notices: &mut Vec<String>,
) -> Result<Policy, SourceError> {
    if settings.ceilings.is_empty() {
        return Ok(policy);
    }
    let places = Looked::new(host);
    let entries = std::mem::take(&mut policy.read.allow.entries);
    for entry in entries {
        let mut alone = Policy::default();
        alone.read.allow.entries.push(entry.clone());
        match judge(&alone, settings, &places) {
            Err(SourceError::Outside { found }) if matches!(entry.origin, Origin::Exec { .. }) => {
                let left_out = found.iter().map(|one| format!("{one}; it is left out"));
                notices.extend(left_out);
            }
            _ => policy.read.allow.entries.push(entry),
        }
    }
    judge(&policy, settings, &places)?;
    hold(&mut policy, &places);
    Ok(policy)
}

/// Adds what ceilings deny and limit, and holds grants to what was judged.
pub(super) fn apply(policy: Policy, settings: &mut Settings, places: &Looked<'_>) -> Policy {
    if settings.ceilings.is_empty() {
        return policy;
    }
    let denials: Vec<Policy> = settings.ceilings.iter().map(ceiling::denials).collect();
    let mut policy = union(std::iter::once(policy).chain(denials));
    hold(&mut policy, places);
    for ceiling in &settings.ceilings {
        settings.limits = std::mem::take(&mut settings.limits).and(ceiling.limits.clone());
        settings.timeout = Timeout::and(settings.timeout.take(), ceiling.timeout.clone());
    }
    policy
}

/// Holds grants to where they led when they were judged; what was judged before stays.
fn hold(policy: &mut Policy, places: &Looked<'_>) {
    for rules in [
        &mut policy.read.allow,
        &mut policy.write.allow,
        &mut policy.ffi.allow,
    ] {
        for entry in &mut rules.entries {
            let descriptor = &mut entry.descriptor;
            if descriptor.judged.is_none() {
                descriptor.judged = Some(places.path(&descriptor.path));
            }
        }
    }
}

/// The name servers of a run, each with who named it.
fn chosen_servers(settings: &Settings) -> Vec<Chosen<SocketAddr>> {
    let mut origins = settings.upstream.name_servers.iter();
    let servers = settings.network.upstream.name_servers.iter();
    servers
        .map(|server| Chosen {
            value: *server,
            origin: origins
                .next()
                .cloned()
                .unwrap_or_else(|| Origin::flag("--dns", Some(&server.to_string()))),
        })
        .collect()
}

fn checked(rule: &NetRule) -> Checked {
    Checked {
        peer: rule.descriptor(),
        server_name: rule.verify != Verify::Nothing,
        origin: rule.origin.clone(),
    }
}

/// The machine, with one look at each path.
pub(in crate::cli) struct Looked<'a> {
    host: &'a dyn Host,
    leads: Leads<'a>,
}

impl<'a> Looked<'a> {
    pub(super) fn new(host: &'a dyn Host) -> Self {
        Self {
            host,
            leads: Leads::new(host),
        }
    }

    fn executable(&self, path: &Path) -> Option<PathBuf> {
        let found = self.host.inspect(path).ok()?;
        let runs = found.kind == FileKind::File && found.mode & 0o111 != 0;
        runs.then_some(found.real_path)
    }

    fn looked_up<'p>(
        &self,
        directories: impl IntoIterator<Item = &'p Path>,
        name: &str,
    ) -> Option<PathBuf> {
        directories
            .into_iter()
            .filter(|directory| directory.is_absolute())
            .find_map(|directory| self.executable(&directory.join(name)))
    }
}

impl Places for Looked<'_> {
    fn path(&self, path: &Path) -> PathBuf {
        let path = lexical(self.host.current_directory(), path);
        // Another directory in the process that opens it.
        if path.starts_with("/proc/self") || path.starts_with("/proc/thread-self") {
            return path;
        }
        // What cannot be looked at is judged by what is above it, and opened by nobody.
        let lead = path.ancestors().find_map(|above| {
            let lead = self.leads.of(above)?;
            let rest = path.strip_prefix(above).ok()?;
            Some(if rest.as_os_str().is_empty() {
                lead
            } else {
                lead.join(rest)
            })
        });
        lead.unwrap_or(path)
    }

    fn program(&self, program: &RunDescriptor) -> Option<PathBuf> {
        match program {
            RunDescriptor::Path(path) => Some(self.path(path)),
            RunDescriptor::Name(name) => {
                let path = self.host.variable("PATH").unwrap_or_default();
                let directories: Vec<PathBuf> = std::env::split_paths(path).collect();
                self.looked_up(directories.iter().map(PathBuf::as_path), name)
            }
        }
    }

    fn system_program(&self, program: &RunDescriptor) -> Option<PathBuf> {
        match program {
            RunDescriptor::Path(path) => Some(self.path(path)),
            RunDescriptor::Name(name) => self.looked_up(SYSTEM_PATH.map(Path::new), name),
        }
    }
}

#[cfg(test)]
mod tests;
