// SPDX-License-Identifier: MIT
//! What a denial says: the rule that was nearest, the names that are known, the flag that would help.
//!
//! Invariant: a flag is only named where it would grant what was asked.

use std::net::IpAddr;

use super::super::names::{NameBook, Named};
use super::super::special::{canonical, classify};
use super::Rules;
use super::decision::{Asked, Denial};
use super::forms::Forms;
use crate::policy::{Host, NetDescriptor, Origin};

impl Rules {
    /// The denial for a call that is still [`super::Decision::Stale`] after its names were looked up again.
    pub fn expired(&self, asked: &Asked, names: Vec<String>) -> Denial {
        let nearest = names
            .iter()
            .find_map(|name| self.grants_name(name, asked.port))
            .map(|grant| grant.origin.clone());
        Denial {
            reason: "its name no longer leads there".to_owned(),
            nearest,
            names,
            allow_with: Some(flag(
                Host::Address(canonical(asked.address)),
                Some(asked.port),
            )),
        }
    }

    /// The denial of an address where a denied name leads, whatever else leads there. Only for
    /// connections on which nothing is checked: on the others the denied name cannot be said, and a
    /// front that many names share would be lost to all of them.
    pub(super) fn leads_there(
        &self,
        asked: &Asked,
        forms: &Forms,
        named: &[Named<'_>],
        book: &NameBook,
    ) -> Option<Denial> {
        book.denied_names_of(forms.target).find_map(|name| {
            let grant = self.denies_name(&self.forms(name), asked.port)?;
            let mut names = known(named);
            if names.is_empty() {
                names.push(name.to_owned());
            }
            Some(Denial {
                reason: format!("`{name}` leads there, which a rule denies"),
                ..denied_by(&grant.origin, names)
            })
        })
    }

    pub(super) fn not_granted(&self, asked: &Asked, forms: &Forms, named: &[Named<'_>]) -> Denial {
        let of_name = |name: &str| {
            let forms = self.forms(name);
            let mut found = forms.iter().flat_map(|form| self.allow.of_name(form));
            found.find_map(|ports| Some(ports.some()?.origin.clone()))
        };
        let on_other_port = |form: IpAddr| {
            let mut found = self.allow.of_address(form);
            found.find_map(|ports| Some(ports.some()?.origin.clone()))
        };
        let kept_away = named
            .iter()
            .find_map(|named| Some((named.name, self.grants_name(named.name, asked.port)?)));
        if let Some((name, grant)) = kept_away {
            let class = classify(forms.target);
            let address = || flag(Host::Address(forms.target), Some(asked.port));
            return Denial {
                reason: format!("`{name}` may not lead to {}", class.description()),
                nearest: Some(grant.origin.clone()),
                names: known(named),
                allow_with: Some(if class.needs_address_rule() {
                    address()
                } else {
                    format!("--allow-private={name}")
                }),
            };
        }
        // The name the target most likely meant is the one some rule knows.
        let meant = named
            .iter()
            .find_map(|named| Some((named.name, of_name(named.name)?)));
        let (reason, nearest, host) = match meant {
            Some((name, origin)) => (
                format!("no rule grants port {} of `{name}`", asked.port),
                Some(origin),
                Host::Name(name.to_owned()),
            ),
            None => match forms.granted().find_map(on_other_port) {
                Some(origin) => (
                    format!("no rule grants its port {}", asked.port),
                    Some(origin),
                    Host::Address(forms.target),
                ),
                None => (
                    if named.is_empty() {
                        "no rule names it, and no granted name leads to it".to_owned()
                    } else {
                        NO_RULE.to_owned()
                    },
                    None,
                    named.first().map_or(Host::Address(forms.target), |named| {
                        Host::Name(named.name.to_owned())
                    }),
                ),
            },
        };
        Denial {
            reason,
            nearest,
            names: known(named),
            // An address that was made up for a name nobody looked up leads nowhere.
            allow_with: (!named.is_empty() || !self.is_synthetic(forms.target))
                .then(|| flag(host, Some(asked.port))),
        }
    }
}

pub(super) const NO_RULE: &str = "no rule names it";

pub(super) fn known(named: &[Named<'_>]) -> Vec<String> {
    named.iter().map(|named| named.name.to_owned()).collect()
}

pub(super) fn denied_by(origin: &Origin, names: Vec<String>) -> Denial {
    Denial {
        reason: "a rule denies it".to_owned(),
        nearest: Some(origin.clone()),
        names,
        allow_with: None,
    }
}

pub(super) fn flag(host: Host, port: Option<u16>) -> String {
    format!("--allow-net={}", NetDescriptor { host, port })
}
