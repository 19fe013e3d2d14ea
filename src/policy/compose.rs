// SPDX-License-Identifier: MIT
use super::*;
pub enum Verdict<'a> {
    Allowed { origin: &'a Origin, literal: bool },
    Denied { origin: &'a Origin },
    Ignored { origin: &'a Origin },
    NotGranted,
}
pub fn env_verdict<'a>(
    p: &'a Permission<EnvDescriptor>,
    all: Option<&'a Origin>,
    name: &str,
) -> Verdict<'a> {
    let m = |e: &&Entry<EnvDescriptor>| match &e.descriptor {
        EnvDescriptor::Name(n) => n == name,
        EnvDescriptor::Prefix(x) => name.starts_with(x.as_str()),
    };
    if let Some(o) = &p.deny.all {
        return Verdict::Denied { origin: o };
    }
    if let Some(e) = p.deny.entries.iter().find(m) {
        return Verdict::Denied { origin: &e.origin };
    }
    if let Some(e) = p.ignore.entries.iter().find(m) {
        return Verdict::Ignored { origin: &e.origin };
    }
    if let Some(e) = p
        .allow
        .entries
        .iter()
        .filter(m)
        .max_by_key(|e| matches!(e.descriptor, EnvDescriptor::Name(_)))
    {
        return Verdict::Allowed {
            origin: &e.origin,
            literal: matches!(e.descriptor, EnvDescriptor::Name(_)),
        };
    }
    if let Some(o) = p.allow.all.as_ref().or(all) {
        return Verdict::Allowed {
            origin: o,
            literal: false,
        };
    }
    Verdict::NotGranted
}
pub fn is_loader_variable(name: &str) -> bool {
    name.starts_with("LD_") || name.starts_with("DENO_") || name.starts_with("NODE_")
}
