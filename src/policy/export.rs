// SPDX-License-Identifier: MIT
//! A policy as text: for people, with the origin of every entry, and as the files it could be read
//! from.
//!
//! Invariant: a file written here grants what the policy grants and denies what it denies; what a
//! format cannot say is an error, never left out.

use std::fmt::{Display, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::compose::THIS_MACHINE;
use super::file::Checked;
use super::grammar::render_list_item;
use super::limits::{LimitKind, Limits, Timeout};
use super::registry::WantedRegistry;
use super::void_grants::void_grants;
use super::{Entry, Host, NetDescriptor, Origin, PathDescriptor, Permission, Policy, Rules};

/// What is written.
#[derive(Debug)]
pub struct Merged<'a> {
    /// The permissions of all sources.
    pub policy: &'a Policy,
    /// Names that may lead to private addresses.
    pub private: &'a [Entry<NetDescriptor>],
    /// What is checked on connections to names.
    pub verify: &'a [Checked],
    /// Registries that stand for their hosts.
    pub registries: &'a [WantedRegistry],
    /// Limits of all sources.
    pub limits: &'a Limits,
    /// The time on the clock.
    pub timeout: Option<&'a Timeout>,
    /// Settings that are neither permission nor limit.
    pub settings: Settings<'a>,
}

/// What policy files set beside permissions and limits.
#[derive(Debug, Default)]
pub struct Settings<'a> {
    /// Name servers.
    pub dns: Vec<String>,
    /// The proxy granted connections go through, without what logs in to it.
    pub proxy: Option<String>,
    /// Whether something logs in to it, which is never written.
    pub secret: bool,
    /// The file of denials.
    pub audit: Option<&'a Path>,
    /// Another runner.
    pub runner: Option<&'a Path>,
}

impl Merged<'_> {
    /// Protected paths that a file names.
    fn protect(&self) -> impl Iterator<Item = &Entry<PathDescriptor>> {
        let of_file = |entry: &&Entry<_>| matches!(entry.origin, Origin::File { .. });
        self.policy.protect.iter().filter(of_file)
    }

    /// What is set, by its key in a policy file.
    fn set(&self) -> Vec<(&'static str, Value)> {
        let Settings {
            dns,
            proxy,
            secret: _,
            audit,
            runner,
        } = &self.settings;
        let protect: Vec<&str> = self.protect().map(|entry| entry.text.as_str()).collect();
        let mut set = Vec::new();
        if !protect.is_empty() {
            set.push(("protect", json!(protect)));
        }
        if !dns.is_empty() {
            set.push(("dns", json!(dns)));
        }
        set.extend(proxy.as_ref().map(|proxy| ("proxy", json!(proxy))));
        set.extend(audit.map(|path| ("audit", json!(path.to_string_lossy()))));
        set.extend(runner.map(|path| ("runner", json!(path.to_string_lossy()))));
        set
    }

    /// What a deno.json, or the policy as JSON, has no place for, by its key in a policy file.
    pub fn beside_permissions(&self) -> Vec<&'static str> {
        let limits = self.limits.iter().map(|limit| limit.kind.name());
        let timeout = self.timeout.map(|_| "timeout");
        let set = self.set().into_iter().map(|(name, _)| name);
        limits.chain(timeout).chain(set).collect()
    }
}

/// What a format cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` cannot be written as {format}")]
pub struct NotWritable {
    /// The entry.
    pub what: String,
    /// The format.
    pub format: &'static str,
}

const DENO_JSON: &str = "deno.json";
const YAML: &str = "a policy file";

/// The lists of one kind without their types.
struct Listed<'p>([List<'p>; 3]);

/// Its name, the bare form, and what is listed.
type List<'p> = (&'static str, Option<&'p Origin>, Vec<(&'p str, &'p Origin)>);

/// What one entry of a kind and a list is written as.
type Writer<'w> = dyn Fn(&str, &str, &str) -> Result<Vec<Value>, NotWritable> + 'w;

fn listed<D>(permission: &Permission<D>) -> Listed<'_> {
    fn list<D>(rules: &Rules<D>) -> (Option<&Origin>, Vec<(&str, &Origin)>) {
        let entries = rules.entries.iter();
        let entries = entries.map(|entry| (entry.text.as_str(), &entry.origin));
        (rules.all.as_ref(), entries.collect())
    }
    let named = |name, (all, entries)| (name, all, entries);
    Listed([
        named("allow", list(&permission.allow)),
        named("deny", list(&permission.deny)),
        named("ignore", list(&permission.ignore)),
    ])
}

/// Every kind in the order of the documentation.
fn kinds(policy: &Policy) -> [(&'static str, Listed<'_>); 8] {
    [
        ("read", listed(&policy.read)),
        ("write", listed(&policy.write)),
        ("net", listed(&policy.net)),
        ("env", listed(&policy.env)),
        ("run", listed(&policy.run)),
        ("sys", listed(&policy.sys)),
        ("ffi", listed(&policy.ffi)),
        ("import", listed(&policy.import)),
    ]
}

/// For people: every entry with its origin.
pub fn text(merged: &Merged<'_>) -> String {
    let mut out = String::new();
    let mut line = |kind: &str, list: &str, what: &dyn Display, origin: &dyn Display| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{kind:7} {list:7} {what}    from {origin}");
    };
    if let Some(origin) = &merged.policy.all {
        line("all", "allow", &"everything", origin);
    }
    for (kind, Listed(lists)) in kinds(merged.policy) {
        for (name, all, entries) in lists {
            if let Some(origin) = all {
                line(kind, name, &"everything", origin);
            }
            for (text, origin) in entries {
                line(kind, name, &text, origin);
            }
        }
    }
    for wanted in merged.registries {
        line("net", "allow", &wanted.registry, &wanted.origin);
    }
    for entry in merged.private {
        line("net", "private", &entry.text, &entry.origin);
    }
    for checked in merged.verify {
        let what = if checked.server_name { "sni" } else { "none" };
        line(
            "net",
            "verify",
            &format!("{}={what}", checked.peer),
            &checked.origin,
        );
    }
    for limit in merged.limits {
        let value = limit.kind.show(limit.value);
        line("limits", limit.kind.name(), &value, &limit.origin);
    }
    if let Some(timeout) = merged.timeout {
        line(
            "limits",
            "timeout",
            &format!("{:?}", timeout.after),
            &timeout.origin,
        );
    }
    for entry in merged.protect() {
        line("protect", "", &entry.text, &entry.origin);
    }
    for (name, value) in merged.set() {
        if name != "protect" {
            let _ = writeln!(out, "set     {name:7} {value}");
        }
    }
    if out.is_empty() {
        out.push_str("nothing is granted, denied or limited\n");
    }
    out
}

/// The block of permissions both formats share. A bare denial leaves nothing for grants to say, and a
/// grant that a denial makes void is left out, since Deno would let it win.
fn block(policy: &Policy, entry: &Writer<'_>) -> Result<Map<String, Value>, NotWritable> {
    let void: Vec<&Origin> = void_grants(policy).iter().map(|void| void.allow).collect();
    let mut block = Map::new();
    if policy.all.is_some() {
        block.insert("all".to_owned(), json!(true));
    }
    for (kind, Listed(lists)) in kinds(policy) {
        let closed = lists[1].1.is_some();
        let mut forms = Map::new();
        for (name, all, entries) in lists {
            let value = match (all, name) {
                (_, "allow") if closed || policy.all.is_some() => continue,
                (Some(_), _) => json!(true),
                (None, _) if entries.is_empty() => continue,
                (None, _) => {
                    let mut list = Vec::new();
                    for (text, origin) in entries {
                        if name != "allow" || !void.contains(&origin) {
                            list.extend(entry(kind, name, text)?);
                        }
                    }
                    json!(list)
                }
            };
            forms.insert(name.to_owned(), value);
        }
        // The bare ignore stands behind listed grants here; in Deno, too.
        match (forms.len(), forms.remove("allow")) {
            (0, _) => {}
            (1, Some(allow)) => drop(block.insert(kind.to_owned(), allow)),
            (_, allow) => {
                forms.extend(allow.map(|allow| ("allow".to_owned(), allow)));
                block.insert(kind.to_owned(), Value::Object(forms));
            }
        }
    }
    Ok(block)
}

/// A deno.json with the policy as its set `default`; what is [beside
/// permissions](Merged::beside_permissions) is not in it.
///
/// # Errors
/// An entry that deno.json has no way to write.
pub fn deno_json(merged: &Merged<'_>) -> Result<String, NotWritable> {
    let refused = |what: &str| NotWritable {
        what: what.to_owned(),
        format: DENO_JSON,
    };
    let set = block(merged.policy, &|kind, _, text| {
        if matches!(kind, "net" | "import") {
            let peer = super::grammar::parse_net(text).map_err(|_| refused(text))?;
            return match &peer.host {
                Host::ThisMachine => {
                    let port = peer.port.unwrap_or_default();
                    let hosts = THIS_MACHINE.map(|address| json!(format!("{address}:{port}")));
                    let local = json!(format!("localhost:{port}"));
                    Ok(hosts.into_iter().chain([local]).collect())
                }
                Host::Subnet(subnet) if subnet.addr().is_ipv6() => Err(refused(text)),
                _ => Ok(vec![json!(text)]),
            };
        }
        Ok(vec![json!(text)])
    })?;
    if let Some(wanted) = merged.registries.first() {
        return Err(refused(&wanted.origin.to_string()));
    }
    if let Some(entry) = merged.private.first() {
        return Err(refused(&entry.origin.to_string()));
    }
    if let Some(checked) = merged.verify.first() {
        return Err(refused(&checked.origin.to_string()));
    }
    let document = json!({"permissions": {"default": set}});
    Ok(format!("{document:#}\n"))
}

/// The denials and limits as flags: what another run is held to that gets nothing of the grants. What
/// is protected is denied there, since no flag says less.
pub fn denial_flags(policy: &Policy, limits: &Limits) -> Vec<String> {
    let mut flags = Vec::new();
    for entry in &policy.protect {
        let path = entry.descriptor.path.to_string_lossy();
        flags.push(format!("--deny-write={}", render_list_item(&path)));
    }
    for (kind, Listed(lists)) in kinds(policy) {
        for (name, all, entries) in lists.into_iter().filter(|(name, ..)| *name != "allow") {
            if all.is_some() {
                flags.push(format!("--{name}-{kind}"));
            } else if !entries.is_empty() {
                let items: Vec<String> = entries
                    .iter()
                    .map(|(text, _)| render_list_item(text))
                    .collect();
                flags.push(format!("--{name}-{kind}={}", items.join(",")));
            }
        }
    }
    for limit in limits {
        flags.push(format!("--{}={}", limit.kind.name(), limit.value));
    }
    flags
}

/// A policy file.
///
/// # Errors
/// An entry that a policy file has no way to write.
pub fn yaml(merged: &Merged<'_>) -> Result<String, NotWritable> {
    let refused = |origin: &Origin| NotWritable {
        what: origin.to_string(),
        format: YAML,
    };
    // Everything leaves no list for a registry to stand in.
    let all = &merged.policy.net.allow.all;
    if let (Some(wanted), Some(_)) = (
        merged.registries.first(),
        all.as_ref().or(merged.policy.all.as_ref()),
    ) {
        return Err(refused(&wanted.origin));
    }
    let granted = &merged.policy.net.allow.entries;
    for (peer, origin) in merged
        .private
        .iter()
        .map(|entry| (&entry.descriptor, &entry.origin))
        .chain(merged.verify.iter().map(|one| (&one.peer, &one.origin)))
    {
        if !granted.iter().any(|entry| entry.descriptor == *peer) {
            return Err(refused(origin));
        }
    }
    let mut permissions = block(merged.policy, &|kind, list, text| {
        // In front of a name it would begin a variable.
        let text = text.replace("${", "$${");
        let (true, Ok(peer)) = (
            kind == "net" && list == "allow",
            super::grammar::parse_net(&text),
        ) else {
            return Ok(vec![json!(text)]);
        };
        let private = merged.private.iter().any(|entry| entry.descriptor == peer);
        let verify = merged.verify.iter().find(|one| one.peer == peer);
        if !private && verify.is_none() {
            return Ok(vec![json!(text)]);
        }
        let mut entry = json!({"host": text});
        if private {
            entry["private"] = json!(true);
        }
        if let Some(checked) = verify {
            entry["verify"] = json!(if checked.server_name { "sni" } else { "none" });
        }
        Ok(vec![entry])
    })?;
    add_registries(merged.registries, &mut permissions);
    let mut out = String::from("version: 1\n");
    // JSON strings and lists are YAML.
    let _ = writeln!(
        out,
        "permissions:{}",
        if permissions.is_empty() { " {}" } else { "" }
    );
    for (kind, value) in &permissions {
        match value {
            Value::Object(lists) => {
                let _ = writeln!(out, "  {kind}:");
                for (list, value) in lists {
                    let _ = writeln!(out, "    {list}: {value}");
                }
            }
            value => {
                let _ = writeln!(out, "  {kind}: {value}");
            }
        }
    }
    if merged.limits.iter().next().is_some() || merged.timeout.is_some() {
        out.push_str("limits:\n");
    }
    for limit in merged.limits {
        let unit = if limit.kind == LimitKind::CpuTime {
            "s"
        } else {
            ""
        };
        let _ = writeln!(out, "  {}: {}{unit}", limit.kind.name(), limit.value);
    }
    if let Some(timeout) = merged.timeout {
        let _ = writeln!(out, "  timeout: {}ms", timeout.after.as_millis());
    }
    for (name, value) in merged.set() {
        // As above, and a proxy's port or a path may hold it as well.
        let text = value.to_string().replace("${", "$${");
        let _ = writeln!(out, "{name}: {text}");
    }
    Ok(out)
}

/// Puts registries behind what else is granted of the network. A denial of everything leaves nothing
/// for them to say.
fn add_registries(registries: &[WantedRegistry], permissions: &mut Map<String, Value>) {
    for wanted in registries {
        let mut entry = json!({"from": wanted.registry.name()});
        if wanted.private {
            entry["private"] = json!(true);
        }
        let net = permissions.entry("net").or_insert_with(|| json!([]));
        let list = match net {
            Value::Object(lists) if lists.get("deny") == Some(&json!(true)) => continue,
            Value::Object(lists) => lists.entry("allow").or_insert_with(|| json!([])),
            list => list,
        };
        if let Value::Array(list) = list {
            list.push(entry);
        }
    }
}
