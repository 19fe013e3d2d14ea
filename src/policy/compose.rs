// SPDX-License-Identifier: MIT
//! Union of policy layers, and the questions every other module asks of a policy.
//!
//! Invariant: a denial always wins over every grant, however specific either is (Deno since 2.6
//! lets the more specific rule win). In order: `--deny-x` bare or listed, `--ignore-x` listed,
//! `--allow-x` listed, `--ignore-x` bare, `--allow-x` bare, `-A`. The bare ignore stands behind the
//! listed grants because `--ignore-env --allow-env=PORT` means "PORT, and nothing else exists".

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::loader_variables::{LoaderVariable, loader_variable};
use super::{
    EnvDescriptor, Host, NetDescriptor, Origin, Permission, Policy, Rules, RunDescriptor,
    SysDescriptor,
};

/// What a policy says about one access, and by which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// Granted by this entry.
    Allowed(&'p Origin),
    /// Denied by this entry.
    Denied(&'p Origin),
    /// Denied by this entry, and to be reported as absent.
    Ignored(&'p Origin),
    /// Granted by a wildcard or as a whole only, which is not enough for a loader variable.
    NeedsLiteralName {
        /// The entry that would grant any other variable.
        origin: &'p Origin,
        /// Why this one is special.
        variable: &'static LoaderVariable,
    },
    /// Nobody granted it.
    NotGranted,
}

impl<'p> Verdict<'p> {
    /// The granting entry, or none when the access is not granted for whatever reason.
    pub fn allowed(self) -> Option<&'p Origin> {
        match self {
            Self::Allowed(origin) => Some(origin),
            _ => None,
        }
    }
}

/// The union of layers: grants of all, denials of all. Entries keep the order of the layers.
pub fn union(layers: impl IntoIterator<Item = Policy>) -> Policy {
    let mut layers = layers.into_iter();
    let mut sum = layers.next().unwrap_or_default();
    for layer in layers {
        // Destructured, so that a new permission kind cannot be forgotten here.
        let Policy {
            all,
            read,
            write,
            ffi,
            net,
            env,
            run,
            sys,
            import,
            protect,
        } = layer;
        sum.all = sum.all.or(all);
        merge(&mut sum.read, read);
        merge(&mut sum.write, write);
        merge(&mut sum.ffi, ffi);
        merge(&mut sum.net, net);
        merge(&mut sum.env, env);
        merge(&mut sum.run, run);
        merge(&mut sum.sys, sys);
        merge(&mut sum.import, import);
        sum.protect.extend(protect);
    }
    sum
}

fn merge<D>(into: &mut Permission<D>, from: Permission<D>) {
    let Permission {
        allow,
        deny,
        ignore,
    } = from;
    merge_rules(&mut into.allow, allow);
    merge_rules(&mut into.deny, deny);
    merge_rules(&mut into.ignore, ignore);
}

fn merge_rules<D>(into: &mut Rules<D>, from: Rules<D>) {
    let Rules { all, entries } = from;
    into.all = into.all.take().or(all);
    into.entries.extend(entries);
}

fn listed<D>(rules: &Rules<D>, covers: impl Fn(&D) -> bool) -> Option<&Origin> {
    rules
        .entries
        .iter()
        .find(|entry| covers(&entry.descriptor))
        .map(|entry| &entry.origin)
}

/// The verdict of one permission, for any notion of an entry covering the access. `all` is
/// [`Policy::all`].
pub fn verdict<'p, D>(
    all: Option<&'p Origin>,
    permission: &'p Permission<D>,
    covers: impl Fn(&D) -> bool,
) -> Verdict<'p> {
    let Permission {
        allow,
        deny,
        ignore,
    } = permission;
    if let Some(origin) = deny.all.as_ref().or_else(|| listed(deny, &covers)) {
        Verdict::Denied(origin)
    } else if let Some(origin) = listed(ignore, &covers) {
        Verdict::Ignored(origin)
    } else if let Some(origin) = listed(allow, &covers) {
        Verdict::Allowed(origin)
    } else if let Some(origin) = &ignore.all {
        Verdict::Ignored(origin)
    } else if let Some(origin) = allow.all.as_ref().or(all) {
        Verdict::Allowed(origin)
    } else {
        Verdict::NotGranted
    }
}

/// Whether the target may have the environment variable `name`.
pub fn env_verdict<'p>(policy: &'p Policy, name: &str) -> Verdict<'p> {
    let found = verdict(policy.all.as_ref(), &policy.env, |rule| {
        env_covers(rule, name)
    });
    let Verdict::Allowed(origin) = found else {
        return found;
    };
    let Some(variable) = loader_variable(name) else {
        return found;
    };
    let literal = |rule: &EnvDescriptor| matches!(rule, EnvDescriptor::Name(rule) if rule == name);
    match listed(&policy.env.allow, literal) {
        Some(origin) => Verdict::Allowed(origin),
        None => Verdict::NeedsLiteralName { origin, variable },
    }
}

/// Whether `rule` covers the variable `name`; case-sensitive.
pub fn env_covers(rule: &EnvDescriptor, name: &str) -> bool {
    match rule {
        EnvDescriptor::Name(rule) => rule == name,
        EnvDescriptor::Prefix(prefix) => name.starts_with(prefix.as_str()),
    }
}

/// Whether the target may have system information of `kind`, by Deno's name.
pub fn sys_verdict<'p>(policy: &'p Policy, kind: &str) -> Verdict<'p> {
    let kind = if kind == "username" { "userInfo" } else { kind };
    verdict(policy.all.as_ref(), &policy.sys, |SysDescriptor(rule)| {
        rule == kind
    })
}

/// Whether the target may start the program written as `asked`, by text alone: a name equals a
/// name, a path equals a path. Resolved programs are judged by the Plan.
pub fn run_verdict<'p>(policy: &'p Policy, asked: &RunDescriptor) -> Verdict<'p> {
    verdict(policy.all.as_ref(), &policy.run, |rule| rule == asked)
}

/// Whether the target may connect to, or listen on, all of `asked`.
pub fn net_verdict<'p>(policy: &'p Policy, asked: &NetDescriptor) -> Verdict<'p> {
    verdict(policy.all.as_ref(), &policy.net, |rule| {
        net_covers(rule, asked)
    })
}

/// Whether modules may be imported from all of `asked`.
pub fn import_verdict<'p>(policy: &'p Policy, asked: &NetDescriptor) -> Verdict<'p> {
    verdict(policy.all.as_ref(), &policy.import, |rule| {
        net_covers(rule, asked)
    })
}

/// Whether `rule` covers every peer that `asked` stands for. Names and addresses never cover each
/// other: what a name resolves to is found out at the connection.
pub fn net_covers(rule: &NetDescriptor, asked: &NetDescriptor) -> bool {
    (rule.port.is_none() || rule.port == asked.port) && host_covers(&rule.host, &asked.host)
}

/// Whether some peer is covered by both, so that a denial takes something away from a grant.
pub fn net_overlaps(one: &NetDescriptor, other: &NetDescriptor) -> bool {
    let ports = one.port.is_none() || other.port.is_none() || one.port == other.port;
    ports && (host_covers(&one.host, &other.host) || host_covers(&other.host, &one.host))
}

/// The addresses `:PORT` stands for beside the name `localhost`, as in Deno.
pub const THIS_MACHINE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

fn host_covers(rule: &Host, asked: &Host) -> bool {
    match (rule, asked) {
        (Host::Name(rule), Host::Name(asked)) => rule == asked,
        (Host::Wildcard(parent), Host::Name(asked) | Host::Wildcard(asked)) => {
            is_or_is_below(asked, parent)
        }
        (Host::Address(rule), Host::Address(asked)) => canonical(*rule) == canonical(*asked),
        (Host::Subnet(rule), Host::Address(asked)) => rule.contains(&canonical(*asked)),
        (Host::Subnet(rule), Host::Subnet(asked)) => rule.contains(asked),
        (Host::Address(rule), Host::Subnet(asked)) => IpNet::from(canonical(*rule)) == *asked,
        (Host::ThisMachine, Host::ThisMachine) => true,
        (Host::ThisMachine, Host::Name(asked)) => asked == "localhost",
        (Host::ThisMachine, Host::Address(asked)) => THIS_MACHINE.contains(&canonical(*asked)),
        (Host::Unix(rule), Host::Unix(asked)) => rule == asked,
        (
            Host::Vsock { cid, port },
            Host::Vsock {
                cid: asked,
                port: asked_port,
            },
        ) => (*cid == u32::MAX || cid == asked) && port == asked_port,
        _ => false,
    }
}

/// A wildcard covers its own apex, as in Deno.
fn is_or_is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::flags::{PermissionFlag, parse_flags};
    use crate::policy::grammar::{parse_net, parse_run};

    fn policy(line: &str) -> Policy {
        parse_flags(
            line.split_whitespace()
                .map(|flag| match flag.split_once('=') {
                    Some((flag, value)) => PermissionFlag {
                        flag,
                        value: Some(value),
                    },
                    None => PermissionFlag { flag, value: None },
                }),
        )
        .unwrap()
    }

    /// `+ origin`, `- origin`, `0 origin` (ignored), `? origin` (needs its literal name) or `none`.
    fn text(verdict: Verdict<'_>) -> String {
        match verdict {
            Verdict::Allowed(origin) => format!("+ {origin}"),
            Verdict::Denied(origin) => format!("- {origin}"),
            Verdict::Ignored(origin) => format!("0 {origin}"),
            Verdict::NeedsLiteralName { origin, .. } => format!("? {origin}"),
            Verdict::NotGranted => "none".to_owned(),
        }
    }

    #[test]
    fn environment_verdicts() {
        for (flags, name, expected) in [
            ("", "A", "none"),
            ("--allow-env=A", "A", "+ --allow-env=A"),
            ("--allow-env=A", "a", "none"),
            ("--allow-env=A", "AB", "none"),
            ("--allow-env=A*", "AB", "+ --allow-env=A*"),
            ("--allow-env", "A", "+ --allow-env"),
            ("--allow-all", "A", "+ --allow-all"),
            ("--allow-all --deny-env=A", "A", "- --deny-env=A"),
            ("--allow-all --deny-env=A", "B", "+ --allow-all"),
            ("--allow-env=AB --deny-env=A*", "AB", "- --deny-env=A*"),
            ("--allow-env=A --deny-env", "A", "- --deny-env"),
            ("--allow-env --ignore-env=A", "A", "0 --ignore-env=A"),
            ("--allow-env=A --ignore-env=A", "A", "0 --ignore-env=A"),
            ("--allow-env=A --ignore-env", "A", "+ --allow-env=A"),
            ("--allow-env=A --ignore-env", "B", "0 --ignore-env"),
            ("--allow-env --ignore-env", "B", "0 --ignore-env"),
            ("--allow-all --ignore-env", "B", "0 --ignore-env"),
            ("--deny-env=A --ignore-env=A", "A", "- --deny-env=A"),
            ("--allow-env", "LD_PRELOAD", "? --allow-env"),
            ("--allow-all", "NODE_OPTIONS", "? --allow-all"),
            ("--allow-env=LD_*", "LD_PRELOAD", "? --allow-env=LD_*"),
            (
                "--allow-env=LD_*,LD_PRELOAD",
                "LD_PRELOAD",
                "+ --allow-env=LD_PRELOAD",
            ),
            (
                "--allow-env --deny-env=LD_PRELOAD",
                "LD_PRELOAD",
                "- --deny-env=LD_PRELOAD",
            ),
            ("", "LD_PRELOAD", "none"),
        ] {
            assert_eq!(
                text(env_verdict(&policy(flags), name)),
                expected,
                "{flags} {name}"
            );
        }
    }

    #[test]
    fn system_and_program_verdicts() {
        let granted = policy("--allow-sys=userInfo,uid --deny-sys=uid --allow-run=cat,./x");
        assert_eq!(
            text(sys_verdict(&granted, "username")),
            "+ --allow-sys=userInfo"
        );
        assert_eq!(text(sys_verdict(&granted, "uid")), "- --deny-sys=uid");
        assert_eq!(text(sys_verdict(&granted, "gid")), "none");
        let run = |program: &str| text(run_verdict(&granted, &parse_run(program).unwrap()));
        assert_eq!(run("cat"), "+ --allow-run=cat");
        assert_eq!(run("./x"), "+ --allow-run=./x");
        assert_eq!(run("x"), "none");
    }

    #[test]
    fn patterns_cover() {
        for (rule, asked, covers, overlaps) in [
            ("a.com", "a.com", true, true),
            ("a.com", "A.com.:443", true, true),
            ("a.com:443", "a.com", false, true),
            ("a.com:443", "a.com:443", true, true),
            ("a.com:443", "a.com:80", false, false),
            ("a.com", "x.a.com", false, false),
            ("*.a.com", "a.com", true, true),
            ("*.a.com", "x.a.com", true, true),
            ("*.a.com", "y.x.a.com:1", true, true),
            ("*.a.com", "xa.com", false, false),
            ("*.a.com", "*.x.a.com", true, true),
            ("*.x.a.com", "*.a.com", false, true),
            ("x.a.com", "*.a.com", false, true),
            ("10.0.0.0/8", "10.1.2.3:80", true, true),
            ("10.0.0.0/8", "10.1.0.0/16", true, true),
            ("10.1.0.0/16", "10.0.0.0/8", false, true),
            ("10.0.0.0/8", "11.0.0.1", false, false),
            ("10.0.0.0/8", "[::ffff:10.0.0.1]", true, true),
            ("10.0.0.1", "10.0.0.1/32", true, true),
            ("[2001:db8::]/32", "[2001:db8::1]:443", true, true),
            ("[2001:db8::]/32", "[2001:db9::1]", false, false),
            ("0.0.0.0/0", "[::1]", false, false),
            (":8080", "localhost:8080", true, true),
            (":8080", "127.0.0.1:8080", true, true),
            (":8080", "0.0.0.0:8080", true, true),
            (":8080", "127.0.0.2:8080", false, false),
            (":8080", "[::1]:8080", false, false),
            (":8080", "localhost", false, true),
            ("localhost", "127.0.0.1", false, false),
            ("unix:/a", "unix:/a", true, true),
            ("unix:/a", "unix:/a/b", false, false),
            ("vsock:-1:80", "vsock:3:80", true, true),
            ("vsock:3:80", "vsock:-1:80", false, true),
            ("vsock:3:80", "vsock:3:81", false, false),
        ] {
            let (one, other) = (parse_net(rule).unwrap(), parse_net(asked).unwrap());
            assert_eq!(net_covers(&one, &other), covers, "{rule} covers {asked}");
            assert_eq!(
                net_overlaps(&one, &other),
                overlaps,
                "{rule} overlaps {asked}"
            );
            assert_eq!(
                net_overlaps(&other, &one),
                overlaps,
                "{asked} overlaps {rule}"
            );
        }
    }

    #[test]
    fn net_denials_beat_more_specific_grants() {
        let granted = policy("--allow-net=x.evil,b.com --deny-net=*.evil,b.com:443");
        let net = |peer: &str| text(net_verdict(&granted, &parse_net(peer).unwrap()));
        assert_eq!(net("x.evil:1"), "- --deny-net=*.evil");
        assert_eq!(net("b.com:443"), "- --deny-net=b.com:443");
        assert_eq!(net("b.com:80"), "+ --allow-net=b.com");
        let import = policy("--allow-import=esm.sh");
        let asked = parse_net("esm.sh:443").unwrap();
        assert_eq!(
            text(import_verdict(&import, &asked)),
            "+ --allow-import=esm.sh"
        );
    }

    #[test]
    fn layers_add_up() {
        let sum = union([
            policy("--allow-read=a --deny-net --allow-env"),
            policy("--allow-read=b --deny-env=A --allow-env --ignore-read=c"),
        ]);
        assert_eq!(
            sum,
            policy("--allow-read=a,b --deny-net --allow-env --deny-env=A --ignore-read=c")
        );
        assert_eq!(
            union([policy("--allow-all"), policy("--allow-read=a")])
                .read
                .allow
                .entries
                .len(),
            1
        );
        assert_eq!(union([]), Policy::default());
    }
}
