// SPDX-License-Identifier: MIT
//! What no source may grant more than: a ceiling, and what stands outside it.
//!
//! Invariant: a grant is inside when the ceiling grants all of it, whatever the host looks like later;
//! in doubt it is outside. Nothing is cut silently: what is outside is named, with the line that
//! bounds it.

mod network;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use network::net_inside;

use super::compose::{env_covers, net_covers, net_overlaps};
use super::file::{Checked, Granted};
use super::limits::{Limits, Timeout};
use super::loader_variables::loader_variable;
use super::{
    Entry, EnvDescriptor, NetDescriptor, Origin, PathDescriptor, Permission, Policy, Rules,
    RunDescriptor, SysDescriptor,
};

/// One ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// What may be granted, and what is denied whatever is.
    pub granted: Granted,
    /// Name servers that may be asked; none is where nobody asks for it.
    pub name_servers: Vec<Chosen<SocketAddr>>,
    /// The proxies that connections may go through, without what logs in to them.
    pub proxies: Vec<Chosen<String>>,
    /// What limits may not exceed, and are where nobody asks for a lower one.
    pub limits: Limits,
    /// The same for the time on the clock.
    pub timeout: Option<Timeout>,
    /// The file, for kinds of permissions it does not mention.
    pub origin: Origin,
}

/// One value with who chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub origin: Origin,
}

/// What is judged.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Grants of all sources.
    pub policy: &'a Policy,
    /// Names that may lead to private addresses.
    pub private: &'a [Entry<NetDescriptor>],
    /// Names whose connections are checked otherwise than usual.
    pub verify: &'a [Checked],
    /// Name servers that are asked instead of the machine's.
    pub name_servers: &'a [Chosen<SocketAddr>],
    /// The proxy that connections go through.
    pub proxy: Option<&'a Chosen<String>>,
    /// What a command listens on by itself.
    pub listener: Option<(NetDescriptor, &'a Origin)>,
    /// Limits of all sources.
    pub limits: &'a Limits,
    /// The time on the clock.
    pub timeout: Option<&'a Timeout>,
}

/// Where paths and programs lead, asked of the machine.
pub trait Places {
    /// A path without links; the part of it that does not exist is kept as it is.
    fn path(&self, path: &Path) -> PathBuf;
    /// The program a grant names, found as a run finds it.
    fn program(&self, program: &RunDescriptor) -> Option<PathBuf>;
    /// The program a ceiling names: never found by the caller's PATH.
    fn system_program(&self, program: &RunDescriptor) -> Option<PathBuf>;
}

/// A grant outside a ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The grant.
    pub grant: String,
    /// What it grants.
    pub what: String,
    /// The line of the ceiling that bounds it.
    pub bound: Origin,
    /// Whether that line is a denial.
    pub denied: bool,
}

impl fmt::Display for Outside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            grant,
            what,
            bound,
            denied,
        } = self;
        if *denied {
            write!(
                formatter,
                "`{grant}` grants {what}, which the ceiling denies: `{bound}`"
            )
        } else {
            write!(
                formatter,
                "`{grant}` grants {what}, which is outside the ceiling: `{bound}`"
            )
        }
    }
}

/// Everything that is outside, in the order of the permissions.
pub fn outside(ceiling: &Ceiling, asked: &Asked<'_>, places: &dyn Places) -> Vec<Outside> {
    let Policy {
        all,
        protect: _,
        read,
        write,
        ffi,
        net,
        env,
        run,
        sys,
        import,
    } = asked.policy;
    let top = &ceiling.granted.policy;
    let mut judging = Judging {
        ceiling,
        found: Vec::new(),
    };
    if let (Some(origin), None) = (all, &top.all) {
        judging.push(origin, "everything", ceiling.granted.bound("all"));
    }
    for (kind, asked, top) in [
        ("read", read, &top.read),
        ("write", write, &top.write),
        ("ffi", ffi, &top.ffi),
    ] {
        judging.paths(kind, asked, top, places);
    }
    judging.kind(
        "net",
        net,
        &top.net,
        false,
        net_inside,
        net_overlaps,
        net_covers,
    );
    judging.kind(
        "import",
        import,
        &top.import,
        false,
        net_inside,
        net_overlaps,
        net_covers,
    );
    // `*` is every name.
    let every = EnvDescriptor::Prefix(String::new());
    let wide = top
        .env
        .allow
        .entries
        .iter()
        .any(|entry| entry.descriptor == every);
    judging.kind(
        "env",
        env,
        &top.env,
        wide,
        env_inside,
        env_overlaps,
        env_pattern,
    );
    judging.kind(
        "sys",
        sys,
        &top.sys,
        false,
        sys_inside,
        |one, other| one == other,
        |one, other| one == other,
    );
    judging.programs(run, &top.run, places);
    judging.network(asked);
    judging.limits(asked);
    judging.found
}

/// What a ceiling denies, to be added to what the sources deny.
pub fn denials(ceiling: &Ceiling) -> Policy {
    let mut policy = ceiling.granted.policy.clone();
    policy.all = None;
    macro_rules! withdraw {
        ($($kind:ident)*) => {
            $(policy.$kind.allow = Rules::default();)*
        };
    }
    withdraw!(read write ffi net env run sys import);
    policy
}

struct Judging<'c> {
    ceiling: &'c Ceiling,
    found: Vec<Outside>,
}

impl Judging<'_> {
    fn push(&mut self, grant: &Origin, what: &str, bound: Option<&Origin>) {
        self.found.push(Outside {
            grant: grant.to_string(),
            what: what.to_owned(),
            bound: bound.unwrap_or(&self.ceiling.origin).clone(),
            denied: false,
        });
    }

    fn push_denied(&mut self, grant: &Origin, what: &str, bound: &Origin) {
        self.found.push(Outside {
            grant: grant.to_string(),
            what: what.to_owned(),
            bound: bound.clone(),
            denied: true,
        });
    }

    /// The whole of one kind; whether it is granted and settled.
    fn whole<D>(&mut self, kind: &str, asked: &Permission<D>, top: &Permission<D>, wide: bool) {
        let Some(origin) = &asked.allow.all else {
            return;
        };
        let what = format!("all of `{kind}`");
        if let Some(bound) = &top.deny.all {
            self.push_denied(origin, &what, bound);
        } else if !(wide || self.ceiling.granted.policy.all.is_some() || top.allow.all.is_some()) {
            let bound = self.ceiling.granted.bound(kind).cloned();
            self.push(origin, &what, bound.as_ref());
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the four kinds without places differ in what covers what"
    )]
    fn kind<D>(
        &mut self,
        kind: &str,
        asked: &Permission<D>,
        top: &Permission<D>,
        wide: bool,
        inside: impl Fn(&Rules<D>, &D) -> bool,
        overlaps: impl Fn(&D, &D) -> bool,
        covers: impl Fn(&D, &D) -> bool,
    ) {
        let everything = self.ceiling.granted.policy.all.is_some();
        let whole = all_of(&self.ceiling.origin);
        let granted =
            |asked: &D| inside(&top.allow, asked) || (everything && inside(&whole, asked));
        self.whole(kind, asked, top, wide);
        for entry in &asked.allow.entries {
            let what = format!("`{}` of `{kind}`", entry.text);
            let denial = top.deny.all.as_ref().or_else(|| {
                let mut listed = top.deny.entries.iter().chain(&top.ignore.entries);
                let found = listed.find(|deny| covers(&deny.descriptor, &entry.descriptor));
                // The bare ignore leaves of the ceiling what its list names.
                let mut named = top.allow.entries.iter();
                let bare = top.ignore.all.as_ref();
                found.map(|deny| &deny.origin).or_else(|| {
                    bare.filter(|_| {
                        !named.any(|allow| covers(&allow.descriptor, &entry.descriptor))
                    })
                })
            });
            if let Some(bound) = denial {
                self.push_denied(&entry.origin, &what, bound);
            } else if !granted(&entry.descriptor) {
                let near = top
                    .allow
                    .entries
                    .iter()
                    .find(|near| overlaps(&near.descriptor, &entry.descriptor))
                    .map(|near| near.origin.clone());
                let bound = near.or_else(|| self.ceiling.granted.bound(kind).cloned());
                self.push(&entry.origin, &what, bound.as_ref());
            }
        }
    }

    fn paths(
        &mut self,
        kind: &str,
        asked: &Permission<PathDescriptor>,
        top: &Permission<PathDescriptor>,
        places: &dyn Places,
    ) {
        let resolve = |rules: &Rules<PathDescriptor>| -> Vec<(PathBuf, Origin)> {
            let entries = rules.entries.iter();
            entries
                .map(|entry| (places.path(&entry.descriptor.path), entry.origin.clone()))
                .collect()
        };
        let (allowed, mut denied) = (resolve(&top.allow), resolve(&top.deny));
        denied.extend(resolve(&top.ignore));
        let root = |path: &Path| path == Path::new("/");
        let wide = top.allow.all.is_some() || allowed.iter().any(|(path, _)| root(path));
        let everything = self.ceiling.granted.policy.all.is_some();
        self.whole(kind, asked, top, wide);
        for entry in &asked.allow.entries {
            let path = places.path(&entry.descriptor.path);
            let what = format!("{kind} of `{}`", path.display());
            let above = |(bound, _): &&(PathBuf, Origin)| path.starts_with(bound);
            let denial = top
                .deny
                .all
                .as_ref()
                .or_else(|| denied.iter().find(above).map(|(_, origin)| origin));
            // What `/` and the bare grant leave out has to be named by the ceiling, too.
            let kernel = ["/proc", "/sys", "/dev"]
                .iter()
                .any(|directory| path.starts_with(directory));
            let named = allowed
                .iter()
                .any(|(bound, _)| !root(bound) && path.starts_with(bound));
            // The bare ignore leaves of the ceiling what its list names.
            let denial = denial.or_else(|| top.ignore.all.as_ref().filter(|_| !named));
            if let Some(bound) = denial {
                self.push_denied(&entry.origin, &what, &bound.clone());
            } else if !(everything || named || wide && !kernel) {
                let below = allowed.iter().find(|(bound, _)| bound.starts_with(&path));
                let bound = below
                    .map(|(_, origin)| origin.clone())
                    .or_else(|| self.ceiling.granted.bound(kind).cloned());
                self.push(&entry.origin, &what, bound.as_ref());
            }
        }
    }

    /// A program is inside when the ceiling names the very file, or a directory it lies in.
    fn programs(
        &mut self,
        asked: &Permission<RunDescriptor>,
        top: &Permission<RunDescriptor>,
        places: &dyn Places,
    ) {
        let resolve = |rules: &Rules<RunDescriptor>| -> Vec<(PathBuf, Origin)> {
            let entries = rules.entries.iter();
            entries
                .filter_map(|entry| {
                    let path = places.system_program(&entry.descriptor)?;
                    Some((path, entry.origin.clone()))
                })
                .collect()
        };
        let (allowed, denied) = (resolve(&top.allow), resolve(&top.deny));
        let everything = self.ceiling.granted.policy.all.is_some() || top.allow.all.is_some();
        self.whole("run", asked, top, false);
        for entry in &asked.allow.entries {
            // A name that leads nowhere grants nothing.
            let Some(path) = places.program(&entry.descriptor) else {
                continue;
            };
            let what = format!("run of `{}`", path.display());
            let above = |(bound, _): &&(PathBuf, Origin)| path.starts_with(bound);
            let named = top
                .deny
                .entries
                .iter()
                .find(|deny| deny.descriptor == entry.descriptor)
                .map(|deny| &deny.origin);
            let denial = top
                .deny
                .all
                .as_ref()
                .or(named)
                .or_else(|| denied.iter().find(above).map(|(_, origin)| origin));
            if let Some(bound) = denial {
                self.push_denied(&entry.origin, &what, &bound.clone());
            } else if !everything && !allowed.iter().any(|one| above(&one)) {
                let near = top
                    .allow
                    .entries
                    .iter()
                    .find(|near| near.descriptor == entry.descriptor);
                let bound = near
                    .map(|near| near.origin.clone())
                    .or_else(|| self.ceiling.granted.bound("run").cloned());
                self.push(&entry.origin, &what, bound.as_ref());
            }
        }
    }

    fn limits(&mut self, asked: &Asked<'_>) {
        for top in &self.ceiling.limits {
            if let Some(limit) = asked.limits.get(top.kind)
                && limit.value > top.value
            {
                let what = limit.kind.show(limit.value);
                self.push(&limit.origin, &what, Some(&top.origin));
            }
        }
        if let (Some(top), Some(timeout)) = (&self.ceiling.timeout, asked.timeout)
            && timeout.after > top.after
        {
            let what = format!("{:?}", timeout.after);
            self.push(&timeout.origin, &what, Some(&top.origin));
        }
    }
}

/// The list that grants the whole of a kind.
fn all_of<D>(origin: &Origin) -> Rules<D> {
    Rules {
        all: Some(origin.clone()),
        entries: Vec::new(),
    }
}

/// Loader variables have to be named, as for a grant.
fn env_inside(list: &Rules<EnvDescriptor>, asked: &EnvDescriptor) -> bool {
    if let EnvDescriptor::Name(name) = asked
        && loader_variable(name).is_some()
    {
        return list.entries.iter().any(|entry| entry.descriptor == *asked);
    }
    list.all.is_some()
        || list
            .entries
            .iter()
            .any(|entry| env_pattern(&entry.descriptor, asked))
}

/// Whether a pattern covers another one.
fn env_pattern(wide: &EnvDescriptor, narrow: &EnvDescriptor) -> bool {
    match (wide, narrow) {
        (EnvDescriptor::Name(_), EnvDescriptor::Prefix(_)) => false,
        (_, EnvDescriptor::Name(narrow) | EnvDescriptor::Prefix(narrow)) => {
            env_covers(wide, narrow)
        }
    }
}

fn sys_inside(list: &Rules<SysDescriptor>, asked: &SysDescriptor) -> bool {
    let mut entries = list.entries.iter();
    list.all.is_some() || entries.any(|entry| entry.descriptor == *asked)
}

fn env_overlaps(one: &EnvDescriptor, other: &EnvDescriptor) -> bool {
    env_pattern(one, other) || env_pattern(other, one)
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
