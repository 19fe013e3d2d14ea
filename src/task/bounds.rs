// SPDX-License-Identifier: MIT
//! Whether what a sibling is granted stays within what was granted to the task.
//!
//! Invariant: a grant that cannot be shown to be covered is outside. Denials need no bound: those of
//! the task are given to every sibling.

use std::path::{Path, PathBuf};

use crate::host::leads::Leads;
use crate::policy::compose::{env_covers, net_covers};
use crate::policy::grammar::lexical;
use crate::policy::{
    EnvDescriptor, NetDescriptor, Origin, PathDescriptor, Permission, Policy, Rules, RunDescriptor,
};

/// Where relative paths of a policy begin.
#[derive(Debug, Clone, Copy)]
pub struct Based<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// The directory; none when it is only known at run time.
    pub directory: Option<&'p Path>,
    /// Where its paths lead.
    pub leads: &'p Leads<'p>,
}

impl Based<'_> {
    /// Looks at every path that is granted.
    pub fn look_at_all(&self) {
        let policy = self.policy;
        for rules in [&policy.read.allow, &policy.write.allow, &policy.ffi.allow] {
            for entry in &rules.entries {
                self.lead(&entry.descriptor.path);
            }
        }
        for entry in &policy.run.allow.entries {
            if let RunDescriptor::Path(path) = &entry.descriptor {
                self.lead(path);
            }
        }
    }

    fn lead(&self, path: &Path) -> Option<PathBuf> {
        lead_from(self.leads, self.directory, path)
    }
}

/// Where a path leads that is typed in a directory; none without one, when it is relative. `..` is
/// read by its spelling, as everywhere else.
pub fn lead_from(leads: &Leads<'_>, directory: Option<&Path>, path: &Path) -> Option<PathBuf> {
    match directory {
        Some(directory) => leads.of(&lexical(directory, path)),
        None if path.is_absolute() => leads.of(&lexical(Path::new("/"), path)),
        None => None,
    }
}

/// Whether a policy grants anything, so that it is a bound.
pub fn grants(policy: &Policy) -> bool {
    fn any<D>(permission: &Permission<D>) -> bool {
        !permission.allow.is_empty()
    }
    policy.all.is_some()
        || any(&policy.read)
        || any(&policy.write)
        || any(&policy.ffi)
        || any(&policy.net)
        || any(&policy.env)
        || any(&policy.run)
        || any(&policy.sys)
        || any(&policy.import)
}

/// The first grant of `inner` that `outer` does not cover.
pub fn outside<'p>(inner: Based<'p>, outer: Based<'_>) -> Option<&'p Origin> {
    if outer.policy.all.is_some() {
        return None;
    }
    if let Some(origin) = &inner.policy.all {
        return Some(origin);
    }
    let path = |rule: &PathDescriptor, asked: &PathDescriptor| {
        let rule = outer.lead(&rule.path);
        let asked = inner.lead(&asked.path);
        matches!((rule, asked), (Some(rule), Some(asked)) if asked.starts_with(&rule))
    };
    let program = |rule: &RunDescriptor, asked: &RunDescriptor| match (rule, asked) {
        (RunDescriptor::Name(rule), RunDescriptor::Name(asked)) => rule == asked,
        (RunDescriptor::Path(rule), RunDescriptor::Path(asked)) => {
            let rule = outer.lead(rule);
            rule.is_some() && rule == inner.lead(asked)
        }
        _ => false,
    };
    let (inner, outer) = (inner.policy, outer.policy);
    first(&inner.read.allow, &outer.read.allow, path)
        .or_else(|| first(&inner.write.allow, &outer.write.allow, path))
        .or_else(|| first(&inner.ffi.allow, &outer.ffi.allow, path))
        .or_else(|| first(&inner.net.allow, &outer.net.allow, covers_host))
        .or_else(|| first(&inner.env.allow, &outer.env.allow, covers_names))
        .or_else(|| first(&inner.run.allow, &outer.run.allow, program))
        .or_else(|| first(&inner.sys.allow, &outer.sys.allow, PartialEq::eq))
        .or_else(|| first(&inner.import.allow, &outer.import.allow, covers_host))
}

fn first<'p, D>(
    inner: &'p Rules<D>,
    outer: &Rules<D>,
    covers: impl Fn(&D, &D) -> bool,
) -> Option<&'p Origin> {
    if outer.all.is_some() {
        return None;
    }
    if let Some(origin) = &inner.all {
        return Some(origin);
    }
    let uncovered = inner.entries.iter().find(|asked| {
        let mut rules = outer.entries.iter();
        !rules.any(|rule| covers(&rule.descriptor, &asked.descriptor))
    });
    uncovered.map(|entry| &entry.origin)
}

fn covers_host(rule: &NetDescriptor, asked: &NetDescriptor) -> bool {
    net_covers(rule, asked)
}

fn covers_names(rule: &EnvDescriptor, asked: &EnvDescriptor) -> bool {
    match asked {
        EnvDescriptor::Name(name) => env_covers(rule, name),
        EnvDescriptor::Prefix(asked) => {
            matches!(rule, EnvDescriptor::Prefix(rule) if asked.starts_with(rule.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    fn policy(flags: &str) -> Policy {
        let flags = flags
            .split_whitespace()
            .map(|flag| match flag.split_once('=') {
                Some((flag, value)) => PermissionFlag {
                    flag,
                    value: Some(value),
                },
                None => PermissionFlag { flag, value: None },
            });
        parse_flags(flags).unwrap()
    }

    fn is_outside(inner: &str, outer: &str) -> bool {
        let host = FakeHost::new()
            .with_directory("/w/m/sub")
            .with_directory("/etc")
            .with_link("/w/m/link", "/etc")
            .with_file("/w/m/tool", "");
        let (inner, outer) = (policy(inner), policy(outer));
        let leads = Leads::new(&host);
        let inner = Based {
            policy: &inner,
            directory: Some(Path::new("/w/m")),
            leads: &leads,
        };
        let outer = Based {
            policy: &outer,
            directory: Some(Path::new("/w")),
            leads: &leads,
        };
        outside(inner, outer).is_some()
    }

    #[test]
    fn grants_inside_are_covered() {
        for (inner, outer) in [
            ("", "--allow-read=m"),
            ("--deny-net", "--allow-read=m"),
            ("--allow-all", "--allow-all"),
            ("--allow-net --allow-run", "--allow-all"),
            ("--allow-read=.", "--allow-read=m"),
            ("--allow-read=sub,new/file", "--allow-read=m"),
            ("--allow-read=/w/m/sub", "--allow-read=/w"),
            ("--allow-write=../m/sub", "--allow-write=."),
            ("--allow-read=link", "--allow-read=/etc"),
            ("--allow-net=a.com:443", "--allow-net=a.com"),
            ("--allow-net=x.a.com", "--allow-net=*.a.com"),
            ("--allow-net=10.1.0.0/16", "--allow-net=10.0.0.0/8"),
            ("--allow-env=A_B,A_*", "--allow-env=A_*"),
            ("--allow-env=A_B", "--allow-env"),
            ("--allow-run=git,./tool", "--allow-run=git,/w/m/tool"),
            ("--allow-sys=uid", "--allow-sys=uid,gid"),
            ("--allow-import=a.com", "--allow-import=a.com"),
        ] {
            assert!(!is_outside(inner, outer), "{inner} in {outer}");
        }
    }

    #[test]
    fn everything_else_is_outside() {
        for (inner, outer) in [
            (
                "--allow-all",
                "--allow-read --allow-write --allow-net --allow-env --allow-run",
            ),
            ("--allow-net", "--allow-net=a.com"),
            ("--allow-net=a.com", "--allow-read"),
            ("--allow-net=a.com", "--allow-net=a.com:443"),
            ("--allow-net=a.com", "--allow-net=*.a.org"),
            ("--allow-net=10.0.0.0/8", "--allow-net=10.1.0.0/16"),
            ("--allow-read=..", "--allow-read=m"),
            ("--allow-read=sub/../../x", "--allow-read=m"),
            ("--allow-read=link", "--allow-read=m"),
            ("--allow-read=link/new", "--allow-read=m"),
            ("--allow-read=/w/mm", "--allow-read=m"),
            ("--allow-write=.", "--allow-read=m"),
            ("--allow-env=A*", "--allow-env=A_*"),
            ("--allow-env=A*", "--allow-env=A"),
            ("--allow-run=git", "--allow-run=./tool"),
            ("--allow-run=./tool", "--allow-run=/w/tool"),
            ("--allow-sys", "--allow-sys=uid"),
            ("--allow-ffi=x.so", "--allow-ffi=y.so"),
            ("--allow-import=b.com", "--allow-import=a.com"),
        ] {
            assert!(is_outside(inner, outer), "{inner} in {outer}");
        }
    }

    #[test]
    fn a_directory_that_is_not_known_covers_nothing() {
        let host = FakeHost::new().with_directory("/w/m");
        let (asked, granted) = (policy("--allow-read=."), policy("--allow-read=/"));
        let leads = Leads::new(&host);
        let inner = Based {
            policy: &asked,
            directory: None,
            leads: &leads,
        };
        let outer = Based {
            policy: &granted,
            directory: Some(Path::new("/w")),
            leads: &leads,
        };
        assert!(outside(inner, outer).is_some());
        assert!(grants(&granted) && !grants(&policy("--deny-read=/")));
    }
}
