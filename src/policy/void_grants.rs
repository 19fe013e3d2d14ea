// SPDX-License-Identifier: MIT
//! Grants that a denial takes away as a whole.
//!
//! Invariant: Deno since 2.6 lets a more specific grant win over a denial, and here the denial
//! always wins; every listed grant this makes void is found, so that the user is told both lines.

use std::path::{Component, Path, PathBuf};

use super::compose::{env_covers, net_covers};
use super::{EnvDescriptor, Origin, PathDescriptor, Permission, Policy, RunDescriptor};

/// A listed grant without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoidGrant<'p> {
    /// The grant.
    pub allow: &'p Origin,
    /// The denial that covers all of it.
    pub deny: &'p Origin,
}

/// All of them, by permission and then in the order they were written. Paths are compared by text:
/// a relative one with relative ones, an absolute one with absolute ones.
pub fn void_grants(policy: &Policy) -> Vec<VoidGrant<'_>> {
    let Policy {
        all: _,
        protect: _,
        read,
        write,
        ffi,
        net,
        env,
        run,
        sys,
        import,
    } = policy;
    let mut found = Vec::new();
    collect(&mut found, read, path_covers);
    collect(&mut found, write, path_covers);
    collect(&mut found, ffi, path_covers);
    collect(&mut found, net, net_covers);
    collect(&mut found, env, env_pattern_covers);
    collect(&mut found, run, run_covers);
    collect(&mut found, sys, |deny, allow| deny == allow);
    collect(&mut found, import, net_covers);
    found
}

fn collect<'p, D>(
    found: &mut Vec<VoidGrant<'p>>,
    permission: &'p Permission<D>,
    covers: impl Fn(&D, &D) -> bool,
) {
    let deny = &permission.deny;
    for grant in &permission.allow.entries {
        let covering = |entry: &&'p super::Entry<D>| covers(&entry.descriptor, &grant.descriptor);
        let listed = || {
            deny.entries
                .iter()
                .find(covering)
                .map(|entry| &entry.origin)
        };
        if let Some(origin) = deny.all.as_ref().or_else(listed) {
            found.push(VoidGrant {
                allow: &grant.origin,
                deny: origin,
            });
        }
    }
}

fn env_pattern_covers(deny: &EnvDescriptor, allow: &EnvDescriptor) -> bool {
    match (deny, allow) {
        (EnvDescriptor::Name(_), EnvDescriptor::Prefix(_)) => false,
        (_, EnvDescriptor::Name(allow) | EnvDescriptor::Prefix(allow)) => env_covers(deny, allow),
    }
}

fn run_covers(deny: &RunDescriptor, allow: &RunDescriptor) -> bool {
    match (deny, allow) {
        (RunDescriptor::Path(deny), RunDescriptor::Path(allow)) => {
            normal(allow).starts_with(normal(deny))
        }
        _ => deny == allow,
    }
}

fn path_covers(deny: &PathDescriptor, allow: &PathDescriptor) -> bool {
    let (deny, allow) = (normal(&deny.path), normal(&allow.path));
    // A relative path that climbs out of its start cannot be compared by text.
    let climbs = |path: &Path| path.starts_with("..");
    deny.is_absolute() == allow.is_absolute() && !climbs(&deny) && allow.starts_with(deny)
}

/// Without `.`, and without the `..` that have something to remove.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            component => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    fn found(line: &str) -> Vec<String> {
        let flags = line.split_whitespace().map(|flag| {
            let (flag, value) = flag
                .split_once('=')
                .map_or((flag, None), |(flag, value)| (flag, Some(value)));
            PermissionFlag { flag, value }
        });
        let policy = parse_flags(flags).unwrap();
        let grants = void_grants(&policy);
        grants
            .iter()
            .map(|void| format!("{} < {}", void.allow, void.deny))
            .collect()
    }

    #[test]
    fn void_grants_name_both_lines() {
        for (line, expected) in [
            (
                "--allow-read=/etc/hosts --deny-read=/etc",
                "--allow-read=/etc/hosts < --deny-read=/etc",
            ),
            (
                "--allow-read=/etc/../x --deny-read=/./x/",
                "--allow-read=/etc/../x < --deny-read=/./x/",
            ),
            (
                "--allow-read=a/b --deny-read=.",
                "--allow-read=a/b < --deny-read=.",
            ),
            (
                "--allow-write=/x --deny-write",
                "--allow-write=/x < --deny-write",
            ),
            (
                "--allow-run=cat --deny-run=cat",
                "--allow-run=cat < --deny-run=cat",
            ),
            (
                "--allow-run=/a/b --deny-run=/a",
                "--allow-run=/a/b < --deny-run=/a",
            ),
            (
                "--allow-net=h:443 --deny-net=h",
                "--allow-net=h:443 < --deny-net=h",
            ),
            (
                "--allow-net=x.evil --deny-net=*.evil",
                "--allow-net=x.evil < --deny-net=*.evil",
            ),
            (
                "--allow-env=AB --deny-env=A*",
                "--allow-env=AB < --deny-env=A*",
            ),
            (
                "--allow-env=AB* --deny-env=A*",
                "--allow-env=AB* < --deny-env=A*",
            ),
            ("--allow-sys=uid --deny-sys", "--allow-sys=uid < --deny-sys"),
            (
                "--allow-import=esm.sh:443 --deny-import=esm.sh",
                "--allow-import=esm.sh:443 < --deny-import=esm.sh",
            ),
        ] {
            assert_eq!(found(line), [expected], "{line}");
        }
    }

    #[test]
    fn partial_denials_are_not_void_grants() {
        for line in [
            "--allow-read=/etc --deny-read=/etc/hosts",
            "--allow-read=/etcetera --deny-read=/etc",
            "--allow-read=a --deny-read=/a",
            "--allow-read=../a --deny-read=..",
            "--allow-all --deny-net",
            "--allow-net --deny-net=h",
            "--allow-net=h --deny-net=h:443",
            "--allow-env=A* --deny-env=A",
            "--allow-env=A --deny-env=B",
            "--allow-run=cat --deny-run=/bin/cat",
        ] {
            assert!(found(line).is_empty(), "{line}");
        }
    }
}
