// SPDX-License-Identifier: MIT
//! A Plan as text for people: one line per rule with the layer that holds it and where it comes
//! from, then what nobody holds.
//!
//! Invariant: only the Plan is printed; what is not in it is not enforced.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::syscalls::{self, Architecture};
use super::{
    Access, Execution, Gap, Holder, NetRule, NetRules, Network, PathRule, Plan, Variable,
    VariableSource, Verify, Way, limits,
};
use crate::policy::limits::Timeout;
use crate::policy::{Host, Origin};

/// Width of the first column.
const KIND_WIDTH: usize = 6;

/// Renders the Plan; lines end with a newline, nothing is coloured.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_plan(&mut text, plan);
    text
}

fn write_plan(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(out, "program  {}", plan.program.path.display())?;
    writeln!(out, "  in       {}", plan.program.directory.display())?;
    writeln!(out, "  as       {}", plan.program.arguments.join(" "))?;
    let stays = if plan.syscalls.supervised.any() {
        "Stockade supervises it"
    } else {
        "Stockade waits"
    };
    let lifetime = match (plan.lifetime.waiter, &plan.lifetime.timeout) {
        (false, _) => "Stockade becomes the program".to_owned(),
        (true, None) => format!("{stays} and ends every descendant with it"),
        (true, Some(timeout)) => {
            let Timeout { after, origin } = timeout;
            format!("{stays} and ends every descendant after {after:?}, exit 124    from {origin}")
        }
    };
    writeln!(out, "  life     {lifetime}")?;
    for kept in &plan.kept {
        writeln!(
            out,
            "  keeps    descriptor {}    from {}",
            kept.number, kept.origin
        )?;
    }
    if plan.syscalls.supervised.any() {
        let asked = syscalls::asked(&plan.syscalls, Architecture::NATIVE);
        writeln!(out, "  asks     about {}", asked.join(" "))?;
    }

    writeln!(
        out,
        "\nfiles    kernel: Landlock ABI {}",
        plan.filesystem.abi
    )?;
    let (own, granted): (Vec<&PathRule>, Vec<&PathRule>) = plan
        .filesystem
        .rules
        .iter()
        .partition(|rule| rule.origins.iter().all(is_built_in));
    for rule in granted {
        write_rule(out, rule)?;
    }
    for path in &plan.filesystem.created {
        writeln!(
            out,
            "  {:KIND_WIDTH$} {}: created at start, removed at the end if still empty    from {}",
            "create",
            path.path.display(),
            path.origin
        )?;
    }
    if let Some(private) = &plan.private {
        writeln!(
            out,
            "  {:KIND_WIDTH$} {}: made for this run alone, removed with all it holds at the end",
            "create",
            private.display()
        )?;
    }
    for denied in &plan.filesystem.denied {
        // Granted programs are not written either; that is no denial anybody asked for.
        let program = matches!(&plan.execution, Execution::List(programs)
            if programs.iter().any(|program| program.origin == denied.origin));
        let asked = denied.origin.is_users() && !program;
        if !denied.granted_around && !asked {
            continue;
        }
        let held = if denied.granted_around {
            "kernel: granted is only what lies around it"
        } else {
            "kernel: nothing grants it"
        };
        writeln!(
            out,
            "  {:KIND_WIDTH$} {}    {}    {held}    from {}",
            "deny",
            denied.path.display(),
            verb(denied.access),
            denied.origin
        )?;
    }
    write_protected(out, plan)?;
    let own_needs = if own.iter().any(|rule| rule.origins.iter().any(is_of_runner)) {
        "shipped lists and the runner's own needs"
    } else {
        "shipped lists"
    };
    writeln!(out, "  {own_needs}:")?;
    for rule in own {
        write_rule(out, rule)?;
    }

    writeln!(out, "\nnet      {}", network(plan))?;
    if let Network::Rules(rules) = &plan.network {
        write_net_rules(out, rules, plan)?;
    }
    writeln!(out, "run      {}", execution(plan))?;
    if let Execution::List(programs) = &plan.execution {
        for program in programs {
            let through: Vec<String> = program
                .interpreters
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            writeln!(
                out,
                "  {:KIND_WIDTH$} {} = {} through {}    from {}",
                "run",
                program.name,
                program.path.display(),
                through.join(", "),
                program.origin
            )?;
        }
    }
    writeln!(
        out,
        "env      kernel: these and no others are in the environment"
    )?;
    for variable in &plan.environment {
        write_variable(out, variable)?;
    }
    if !plan.limits.held.is_empty() {
        writeln!(out, "limits")?;
        for line in limits::lines(&plan.limits) {
            writeln!(out, "  {line}")?;
        }
    }
    writeln!(out, "always   {}", always(plan))?;
    if !plan.notices.is_empty() {
        writeln!(out, "\nnotes")?;
        for notice in &plan.notices {
            writeln!(out, "  {notice}")?;
        }
    }
    writeln!(
        out,
        "\ngaps: not held by the kernel, or refused more widely than asked"
    )?;
    for gap in &plan.gaps {
        write_gap(out, gap)?;
    }
    Ok(())
}

/// What holds each kind of permission and each limit, for reports.
pub fn layers(plan: &Plan) -> Vec<(String, String)> {
    let files = match plan.filesystem.abi {
        0 => "nothing: this kernel has no Landlock".to_owned(),
        abi => format!(
            "kernel: Landlock ABI {abi}, {} rules",
            plan.filesystem.rules.len()
        ),
    };
    let mut layers = vec![
        ("files".to_owned(), files),
        ("network".to_owned(), network(plan)),
        ("programs".to_owned(), execution(plan)),
        (
            "environment".to_owned(),
            format!("kernel: {} variables and no others", plan.environment.len()),
        ),
        ("always".to_owned(), always(plan)),
    ];
    for line in limits::lines(&plan.limits) {
        layers.push(("limit".to_owned(), line));
    }
    layers
}

fn is_built_in(origin: &Origin) -> bool {
    matches!(
        origin,
        Origin::BuiltIn { .. } | Origin::Runner { .. } | Origin::Module { .. }
    )
}

fn is_of_runner(origin: &Origin) -> bool {
    matches!(origin, Origin::Runner { .. } | Origin::Module { .. })
}

fn write_rule(out: &mut String, rule: &PathRule) -> std::fmt::Result {
    let origins: Vec<String> = rule.origins.iter().map(describe).collect();
    let mut rights: Vec<&str> = rule.access.names().collect();
    if !rule.brokered.is_empty() {
        rights.push("(supervisor:");
        rights.extend(rule.brokered.names());
    }
    let end = if rule.brokered.is_empty() { "" } else { ")" };
    writeln!(
        out,
        "  {:KIND_WIDTH$} {}    {}{end}    from {}",
        kind(rule.access | rule.brokered),
        rule.path.display(),
        rights.join(" "),
        origins.join(", ")
    )
}

/// What no wider grant opens, one line for the names of one directory.
fn write_protected(out: &mut String, plan: &Plan) -> std::fmt::Result {
    type Group<'a> = (Option<&'a Path>, &'a str, Option<&'a Origin>);
    let mut groups: BTreeMap<Group<'_>, Vec<String>> = BTreeMap::new();
    for one in &plan.filesystem.protected {
        let name = one.path.file_name().unwrap_or_default();
        groups
            .entry((one.path.parent(), one.why.as_str(), one.origin.as_ref()))
            .or_default()
            .push(name.to_string_lossy().into_owned());
    }
    if !groups.is_empty() {
        writeln!(
            out,
            "  {:KIND_WIDTH$} around the closed paths the supervisor writes: opening for writing, making, \
             renaming and removing take about 0.05 ms longer each, reading does not",
            "cost"
        )?;
    }
    for ((directory, why, origin), names) in groups {
        let directory = directory.unwrap_or_else(|| Path::new("/")).join("");
        let held = match origin {
            Some(origin) => format!("    from {origin}"),
            None => format!(" ({why}): only a grant that names one opens it"),
        };
        writeln!(
            out,
            "  {:KIND_WIDTH$} {}: {}    supervisor: no writing{held}",
            "closed",
            directory.display(),
            names.join(" ")
        )?;
    }
    Ok(())
}

/// An origin with the reason it carries.
fn describe(origin: &Origin) -> String {
    let reason = match origin {
        Origin::BuiltIn { reason, .. } => Some(*reason),
        Origin::Runner { reason } | Origin::Exec { reason } => Some(reason.as_ref()),
        Origin::File { reason, .. } => reason.as_deref(),
        _ => None,
    };
    match reason {
        Some(reason) => format!("{origin} ({reason})"),
        None => origin.to_string(),
    }
}

/// What a denial keeps from happening.
fn verb(access: Access) -> &'static str {
    if access.intersects(Access::WRITE) {
        "no writing"
    } else if access.intersects(Access::EXECUTE) {
        "no executing"
    } else {
        "no reading"
    }
}

fn kind(access: Access) -> &'static str {
    let reads = access.intersects(Access::READ);
    let writes = access.intersects(Access::WRITE);
    match (reads, writes) {
        (true, true) => "rw",
        (false, true) => "write",
        (true, false) if access.contains(Access::EXECUTE) => "exec",
        (true, false) => "read",
        (false, false) => "exec",
    }
}

fn network(plan: &Plan) -> String {
    match &plan.network {
        Network::None if plan.filesystem.abi >= 4 => {
            "kernel: seccomp makes no INET, UNIX or NETLINK socket (EACCES); Landlock denies TCP"
                .to_owned()
        }
        Network::None => {
            "kernel: seccomp makes no INET, UNIX or NETLINK socket (EACCES)".to_owned()
        }
        Network::Any(origin) => {
            let unix = if plan.syscalls.unix { "and UNIX " } else { "" };
            format!("every peer and listener, TCP, UDP {unix}sockets    from {origin}")
        }
        Network::Rules(_) if plan.filesystem.abi >= 4 => {
            "supervisor: every connection, listener and lookup by these rules; Landlock denies TCP \
             that is not connected or opened by it"
                .to_owned()
        }
        Network::Rules(_) => {
            "supervisor: every connection, listener and lookup by these rules".to_owned()
        }
    }
}

/// Width of the first column of net rules.
const NET_WIDTH: usize = 7;

fn write_net_rules(out: &mut String, rules: &NetRules, plan: &Plan) -> std::fmt::Result {
    let mut line = |kind: &str, what: &str, becomes: &str, origin: Option<&Origin>| {
        write!(out, "  {kind:NET_WIDTH$} {what}    {becomes}")?;
        match origin {
            Some(origin) => writeln!(out, "    from {}", describe(origin)),
            None => writeln!(out),
        }
    };
    for rule in &rules.deny {
        let becomes = match rule.host {
            Host::Name(_) | Host::Wildcard(_) => {
                "supervisor: no lookup, and nothing unchecked to where it is known to lead"
            }
            _ => "supervisor: no connection and no listener, by whatever name",
        };
        line("deny", &rule.to_string(), becomes, Some(&rule.origin))?;
    }
    for rule in &rules.allow {
        let (kind, becomes) = becomes(rule);
        line(kind, &rule.to_string(), &becomes, Some(&rule.origin))?;
    }
    if let Some(origin) = &rules.all {
        let becomes = "supervisor: every other peer and listener, direct";
        line("any", "*", becomes, Some(origin))?;
    }
    if rules.all.is_none() && rules.allow.is_empty() {
        line(
            "none",
            "*",
            "supervisor: nothing is granted, denials are recorded",
            None,
        )?;
    }
    for rule in &rules.private {
        let becomes = "may lead to private addresses";
        line("private", &rule.to_string(), becomes, Some(&rule.origin))?;
    }
    let servers: Vec<String> = plan
        .upstream
        .name_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    if !servers.is_empty() {
        line(
            "names",
            &servers.join(" "),
            "asked instead of resolv.conf's servers",
            None,
        )?;
    }
    if let Some(proxy) = &plan.upstream.proxy {
        line(
            "through",
            &proxy.to_string(),
            "granted connections that leave this machine and its own network",
            None,
        )?;
    }
    Ok(())
}

/// What a granted rule becomes: the kind of access, and who does what.
fn becomes(rule: &NetRule) -> (&'static str, String) {
    match &rule.host {
        Host::Unix(_) => (
            "unix",
            "supervisor: connect and listen, by the file the path leads to".to_owned(),
        ),
        Host::Vsock { .. } => ("vsock", "seccomp: refused all the same".to_owned()),
        Host::Name(_) | Host::Wildcard(_) => (
            "connect",
            format!(
                "supervisor: name filter, {}{}",
                way(rule.way(None)),
                if rule.verify == Verify::ByPort {
                    ""
                } else {
                    ", by --verify"
                }
            ),
        ),
        _ if matches!(&rule.origin, Origin::Flag { flag, .. } if flag.starts_with("serve")) => (
            "listen",
            "supervisor: what the command itself listens on".to_owned(),
        ),
        _ => (
            "connect",
            "supervisor: direct, and listeners there".to_owned(),
        ),
    }
}

/// How a granted name is reached, in words.
pub(super) fn way(way: Way) -> &'static str {
    match way {
        Way::Direct => "direct to the address it led to",
        Way::ServerName => "TLS server name checked by a relay",
        Way::HttpHost => "HTTP Host checked by a relay",
        Way::ByPort => {
            "TLS server name (443) and HTTP Host (80) checked by a relay, other ports direct"
        }
    }
}

fn execution(plan: &Plan) -> String {
    match &plan.execution {
        Execution::None => {
            "kernel: seccomp allows no new process and no program but the first".to_owned()
        }
        Execution::List(_) => "kernel: Landlock executes these files and no others".to_owned(),
        Execution::Any(origin) => format!("every readable program    from {}", describe(origin)),
    }
}

fn always(plan: &Plan) -> String {
    let scope = if plan.scoped {
        "signals and abstract UNIX sockets stay inside"
    } else if plan.syscalls.processes {
        "signals are not kept inside"
    } else {
        "signals reach only the program itself"
    };
    format!(
        "kernel: no capabilities, no_new_privs, a system call allowlist, no inherited descriptors \
         above 2, {scope}"
    )
}

fn write_variable(out: &mut String, variable: &Variable) -> std::fmt::Result {
    let source = match &variable.source {
        VariableSource::Inherited => "inherited".to_owned(),
        VariableSource::Set(value) => format!("= {value}"),
        VariableSource::EnvFile(path) => format!("from {}", path.display()),
        VariableSource::TargetProcess => "= the number of its process".to_owned(),
    };
    writeln!(
        out,
        "  {:KIND_WIDTH$} {} {source}    from {}",
        "env",
        variable.name,
        describe(&variable.origin)
    )
}

fn write_gap(out: &mut String, gap: &Gap) -> std::fmt::Result {
    let holder = match gap.held_by {
        Holder::Runner => "Deno only",
        Holder::Nobody => "nobody",
        Holder::Refused => "refused",
    };
    write!(out, "  {holder:9} {}", gap.what)?;
    match &gap.origin {
        Some(origin) => writeln!(out, "    from {origin}"),
        None => writeln!(out),
    }
}
