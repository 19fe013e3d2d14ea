// SPDX-License-Identifier: MIT
//! A Policy as Deno's permission flags.
//!
//! Invariant: denials win whatever the version. Deno 2.6 and newer prefer the more specific rule,
//! so an allow entry that a denial covers is left out; and since Deno keeps only the list when a
//! flag is given both bare and with a list, a flag is rendered in one of the forms.

use std::collections::HashSet;
use std::path::Path;

use super::Version;
use super::arguments::ArgumentError;
use crate::policy::grammar::lexical;
use crate::policy::{
    Entry, EnvDescriptor, Host, NetDescriptor, PathDescriptor, Permission, Policy, RunDescriptor,
    SysDescriptor,
};

/// The kernel takes 128 KiB in one argument (`MAX_ARG_STRLEN`, execve(2)), the flag's name included.
const ARGUMENT: usize = 120 * 1024;

const DENY_IMPORT: Version = Version::new(2, 4, 0);
const IGNORE: Version = Version::new(2, 6, 0);
const SUBNET_AND_WILDCARD: Version = Version::new(2, 4, 0);
const UNIX_SOCKET: Version = Version::new(2, 9, 0);
/// `,,` for a comma inside a path is an error from this version on.
const NO_COMMA: Version = Version::new(2, 9, 6);

/// The kinds whose command line check knows them only in some versions: 2.8.0 to 2.9.5 and from
/// 2.9.7 on.
const LATE_SYS: [&str; 7] = [
    "inspector",
    "setuid",
    "seteuid",
    "setgid",
    "setegid",
    "ca",
    "umask",
];

/// Renders every permission flag of the policy, in a fixed order.
///
/// # Errors
/// A value, or a flag, that this version of Deno does not take.
pub(super) fn render(
    policy: &Policy,
    version: Version,
    directory: &Path,
) -> Result<Vec<String>, ArgumentError> {
    let renderer = Renderer {
        version,
        directory,
        everything: policy.all.is_some(),
    };
    let mut flags = Vec::new();
    if renderer.everything {
        flags.push("--allow-all".to_owned());
    }
    renderer.kind(&PATH_READ, &policy.read, &mut flags)?;
    renderer.kind(&PATH_WRITE, &policy.write, &mut flags)?;
    renderer.kind(&NET, &expanded(&policy.net), &mut flags)?;
    renderer.kind(&ENV, &policy.env, &mut flags)?;
    renderer.kind(&RUN, &policy.run, &mut flags)?;
    renderer.kind(&SYS, &policy.sys, &mut flags)?;
    renderer.kind(&FFI, &policy.ffi, &mut flags)?;
    renderer.kind(&IMPORT, &expanded(&policy.import), &mut flags)?;
    Ok(flags)
}

/// The flag that makes every variable undefined that is not granted.
///
/// # Errors
/// This version of Deno has no such flag.
pub(super) fn missing_env(version: Version) -> Result<String, ArgumentError> {
    let flag = ENV.ignore.to_owned();
    if version < IGNORE {
        return Err(ArgumentError::NeedsNewer {
            flag,
            needed: IGNORE,
            version,
        });
    }
    Ok(flag)
}

/// How one permission kind is named, compared and written.
struct Kind<D> {
    allow: &'static str,
    deny: &'static str,
    ignore: &'static str,
    /// Whether everything the second descriptor matches is matched by the first.
    covers: fn(&D, &D, &Path) -> bool,
    /// The value as Deno reads it, or what is in the way.
    value: fn(&Entry<D>, Version) -> Result<String, Refusal>,
}

enum Refusal {
    Needs(Version),
    Never(&'static str),
}

const PATH_READ: Kind<PathDescriptor> = Kind {
    allow: "--allow-read",
    deny: "--deny-read",
    ignore: "--ignore-read",
    covers: path_covers,
    value: path_value,
};
const PATH_WRITE: Kind<PathDescriptor> = Kind {
    allow: "--allow-write",
    deny: "--deny-write",
    ignore: "",
    ..PATH_READ
};
const FFI: Kind<PathDescriptor> = Kind {
    allow: "--allow-ffi",
    deny: "--deny-ffi",
    ignore: "",
    ..PATH_READ
};
const NET: Kind<NetDescriptor> = Kind {
    allow: "--allow-net",
    deny: "--deny-net",
    ignore: "",
    covers: net_covers,
    value: net_value,
};
const IMPORT: Kind<NetDescriptor> = Kind {
    allow: "--allow-import",
    deny: "--deny-import",
    ..NET
};
const ENV: Kind<EnvDescriptor> = Kind {
    allow: "--allow-env",
    deny: "--deny-env",
    ignore: "--ignore-env",
    covers: env_covers,
    value: |entry, _| {
        Ok(match &entry.descriptor {
            EnvDescriptor::Name(name) => name.clone(),
            EnvDescriptor::Prefix(prefix) => format!("{prefix}*"),
        })
    },
};
const RUN: Kind<RunDescriptor> = Kind {
    allow: "--allow-run",
    deny: "--deny-run",
    ignore: "",
    covers: run_covers,
    value: |entry, version| without_comma(&entry.text, version),
};
const SYS: Kind<SysDescriptor> = Kind {
    allow: "--allow-sys",
    deny: "--deny-sys",
    ignore: "",
    covers: |deny, allow, _| deny == allow,
    value: sys_value,
};

struct Renderer<'a> {
    version: Version,
    directory: &'a Path,
    everything: bool,
}

impl Renderer<'_> {
    fn kind<D>(
        &self,
        kind: &Kind<D>,
        permission: &Permission<D>,
        flags: &mut Vec<String>,
    ) -> Result<(), ArgumentError> {
        let Permission {
            allow,
            deny,
            ignore,
        } = permission;
        // A bare denial leaves nothing for the other lists to say.
        if deny.all.is_some() {
            return self.push(kind.deny, None, flags);
        }
        if ignore.all.is_some() {
            self.push(kind.ignore, None, flags)?;
            return self.list(kind, kind.deny, deny.entries.iter().collect(), flags);
        }
        let denied = |entry: &Entry<D>| {
            deny.entries
                .iter()
                .any(|deny| self.covers(kind, deny, entry))
        };
        let ignored = |entry: &Entry<D>| {
            ignore
                .entries
                .iter()
                .any(|ignore| self.covers(kind, ignore, entry))
        };
        if self.everything {
            // `--allow-all` already says it, and Deno refuses both together.
        } else if allow.all.is_some() {
            self.push(kind.allow, None, flags)?;
        } else {
            let left = allow
                .entries
                .iter()
                .filter(|entry| !denied(entry) && !ignored(entry));
            self.list(kind, kind.allow, left.collect(), flags)?;
        }
        self.list(kind, kind.deny, deny.entries.iter().collect(), flags)?;
        let left = ignore.entries.iter().filter(|entry| !denied(entry));
        self.list(kind, kind.ignore, left.collect(), flags)
    }

    fn covers<D>(&self, kind: &Kind<D>, wide: &Entry<D>, narrow: &Entry<D>) -> bool {
        (kind.covers)(&wide.descriptor, &narrow.descriptor, self.directory)
    }

    fn list<D>(
        &self,
        kind: &Kind<D>,
        flag: &'static str,
        entries: Vec<&Entry<D>>,
        flags: &mut Vec<String>,
    ) -> Result<(), ArgumentError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut values = Vec::with_capacity(entries.len());
        for entry in entries {
            match (kind.value)(entry, self.version) {
                Ok(value) => values.push(value),
                Err(Refusal::Needs(needed)) => {
                    return Err(self.needs(format!("{flag}={}", entry.text), needed));
                }
                Err(Refusal::Never(reason)) => {
                    return Err(ArgumentError::NotExpressible {
                        flag,
                        value: entry.text.clone(),
                        version: self.version,
                        reason,
                    });
                }
            }
        }
        let mut known = HashSet::with_capacity(values.len());
        let first = values.iter().filter(|value| known.insert(value.as_str()));
        for values in arguments(first) {
            self.push(flag, Some(values), flags)?;
        }
        Ok(())
    }

    fn push(
        &self,
        flag: &'static str,
        value: Option<String>,
        flags: &mut Vec<String>,
    ) -> Result<(), ArgumentError> {
        let needed = match flag {
            "--deny-import" => DENY_IMPORT,
            "--ignore-read" | "--ignore-env" => IGNORE,
            _ => Version::OLDEST,
        };
        if self.version < needed {
            return Err(self.needs(flag.to_owned(), needed));
        }
        flags.push(value.map_or_else(|| flag.to_owned(), |value| format!("{flag}={value}")));
        Ok(())
    }

    fn needs(&self, flag: String, needed: Version) -> ArgumentError {
        ArgumentError::NeedsNewer {
            flag,
            needed,
            version: self.version,
        }
    }
}

/// The values as lists that each fit into one argument. Deno adds them up.
fn arguments<'a>(values: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    for value in values {
        match arguments.last_mut() {
            Some(list) if list.len() + value.len() < ARGUMENT => {
                list.push(',');
                list.push_str(value);
            }
            _ => arguments.push(value.clone()),
        }
    }
    arguments
}

fn path_covers(wide: &PathDescriptor, narrow: &PathDescriptor, directory: &Path) -> bool {
    lexical(directory, &narrow.path).starts_with(lexical(directory, &wide.path))
}

fn path_value(entry: &Entry<PathDescriptor>, version: Version) -> Result<String, Refusal> {
    without_comma(&entry.text, version)
}

fn without_comma(text: &str, version: Version) -> Result<String, Refusal> {
    if text.contains(',') && version >= NO_COMMA {
        return Err(Refusal::Never(
            "it has no way to write a path with a comma in it",
        ));
    }
    Ok(text.replace(',', ",,"))
}

/// `:8080` stands for three hosts, each of which a denial may cover by itself.
fn expanded(permission: &Permission<NetDescriptor>) -> Permission<NetDescriptor> {
    let mut expanded = permission.clone();
    for rules in [&mut expanded.allow, &mut expanded.deny] {
        rules.entries = std::mem::take(&mut rules.entries)
            .into_iter()
            .flat_map(one_host_each)
            .collect();
    }
    expanded
}

fn one_host_each(entry: Entry<NetDescriptor>) -> Vec<Entry<NetDescriptor>> {
    if entry.descriptor.host != Host::ThisMachine {
        return vec![entry];
    }
    let hosts = [
        Host::Address([0, 0, 0, 0].into()),
        Host::Address([127, 0, 0, 1].into()),
        Host::Name("localhost".to_owned()),
    ];
    hosts
        .map(|host| {
            let descriptor = NetDescriptor {
                host,
                port: entry.descriptor.port,
            };
            Entry {
                descriptor,
                ..entry.clone()
            }
        })
        .into()
}

fn net_covers(wide: &NetDescriptor, narrow: &NetDescriptor, _: &Path) -> bool {
    let below = |name: &str, apex: &str| {
        name == apex
            || name
                .strip_suffix(apex)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    let port = wide.port.is_none() || wide.port == narrow.port;
    port && match (&wide.host, &narrow.host) {
        (Host::Wildcard(apex), Host::Name(name) | Host::Wildcard(name)) => below(name, apex),
        (Host::Subnet(subnet), Host::Address(address)) => subnet.contains(address),
        (Host::Subnet(subnet), Host::Subnet(other)) => subnet.contains(other),
        (
            Host::Vsock {
                cid: u32::MAX,
                port,
            },
            Host::Vsock { port: other, .. },
        ) => port == other,
        (wide, narrow) => wide == narrow,
    }
}

fn net_value(entry: &Entry<NetDescriptor>, version: Version) -> Result<String, Refusal> {
    let needs = |needed| {
        if version < needed {
            Err(Refusal::Needs(needed))
        } else {
            Ok(())
        }
    };
    let host = match &entry.descriptor.host {
        Host::Name(name) => name.clone(),
        Host::Wildcard(apex) => {
            needs(SUBNET_AND_WILDCARD)?;
            format!("*.{apex}")
        }
        Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
        Host::Address(address) => address.to_string(),
        Host::Subnet(ipnet::IpNet::V4(subnet)) => {
            needs(SUBNET_AND_WILDCARD)?;
            subnet.to_string()
        }
        Host::Subnet(ipnet::IpNet::V6(_)) => {
            return Err(Refusal::Never("it has no way to write an IPv6 subnet"));
        }
        Host::ThisMachine => String::new(),
        Host::Unix(path) => {
            needs(UNIX_SOCKET)?;
            return without_comma(&format!("unix:{}", path.display()), version);
        }
        Host::Vsock {
            cid: u32::MAX,
            port,
        } => return Ok(format!("vsock:-1:{port}")),
        Host::Vsock { cid, port } => return Ok(format!("vsock:{cid}:{port}")),
    };
    Ok(match entry.descriptor.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn env_covers(wide: &EnvDescriptor, narrow: &EnvDescriptor, _: &Path) -> bool {
    match (wide, narrow) {
        (
            EnvDescriptor::Prefix(prefix),
            EnvDescriptor::Name(name) | EnvDescriptor::Prefix(name),
        ) => name.starts_with(prefix),
        (wide, narrow) => wide == narrow,
    }
}

/// A denied name stands for every path with that file stem (Deno's own rule).
fn run_covers(wide: &RunDescriptor, narrow: &RunDescriptor, directory: &Path) -> bool {
    match (wide, narrow) {
        (RunDescriptor::Name(denied), RunDescriptor::Name(name)) => {
            denied.eq_ignore_ascii_case(name)
        }
        (RunDescriptor::Name(denied), RunDescriptor::Path(path)) => path
            .file_stem()
            .is_some_and(|stem| stem.eq_ignore_ascii_case(denied)),
        (RunDescriptor::Path(denied), RunDescriptor::Path(path)) => {
            lexical(directory, path).starts_with(lexical(directory, denied))
        }
        // Which file a name is depends on PATH; the kernel rules are made from what it resolves to.
        (RunDescriptor::Path(_), RunDescriptor::Name(_)) => false,
    }
}

fn sys_value(entry: &Entry<SysDescriptor>, version: Version) -> Result<String, Refusal> {
    let name = &entry.descriptor.0;
    if LATE_SYS.contains(&name.as_str()) {
        if version < Version::new(2, 8, 0) {
            return Err(Refusal::Needs(Version::new(2, 8, 0)));
        }
        if version == Version::new(2, 9, 6) {
            return Err(Refusal::Never("its command line does not know this kind"));
        }
    }
    Ok(name.clone())
}

#[cfg(test)]
mod tests;
