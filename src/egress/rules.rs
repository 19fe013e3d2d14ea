// SPDX-License-Identifier: MIT
//! The network rules, compiled: may this name be looked up, may it lead to this address, may this
//! socket be connected or bound.
//!
//! Invariant: a denial beats every grant, on every form and every known name of an address; where a
//! denied name leads nothing unchecked is granted; what no rule grants is denied.

mod decision;
mod denials;
mod forms;
mod search;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::names::{NameBook, Named, normal};
use super::special::{AddressClass, canonical, classify};
use super::synthetic::is_synthetic;
use crate::plan::{NetRules, Verify};
use crate::policy::{Host, Origin};
pub use decision::{Asked, Check, Decision, Denial, NameVerdict, Operation};
use denials::{NO_RULE, denied_by, flag, known};
use forms::{Forms, forms_of};
pub use search::Search;
use table::{Grant, Table, at_port, said};

/// The rules of a Plan, compiled.
#[derive(Debug, Clone)]
pub struct Rules {
    all: Option<Origin>,
    allow: Table,
    deny: Table,
    private: Table,
    search: Search,
    /// Whether names have synthetic addresses.
    synthetic: bool,
}

/// Who says that a name leads to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Lookup,
    HostsFile,
}

/// Names below these are local by their standards (RFC 6761, 6762, 8375) or reserved for private
/// use by ICANN (`internal`).
const LOCAL_DOMAINS: [&str; 5] = ["test", "internal", "home.arpa", "localhost", "local"];

impl Rules {
    /// Compiles the rules; no search list.
    pub fn new(rules: &NetRules) -> Self {
        Self {
            all: rules.all.clone(),
            allow: Table::new(&rules.allow),
            deny: Table::new(&rules.deny),
            private: Table::new(&rules.private),
            search: Search::default(),
            synthetic: false,
        }
    }

    /// With a search list: `db` and `db.<search>` are one name then, in grants and denials.
    #[must_use]
    pub fn with_search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// With names that get [`synthetic`](super::synthetic) addresses: those mean a name, and no rule
    /// for an address grants them.
    #[must_use]
    pub fn with_synthetic(mut self) -> Self {
        self.synthetic = true;
        self
    }

    /// The search list.
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// Whether everything not denied is granted.
    pub fn grants_all(&self) -> bool {
        self.all.is_some()
    }

    /// Whether `name` may be looked up: some port of it is granted, and not every such port denied.
    pub fn name(&self, name: &str) -> NameVerdict {
        let name = normal(name);
        let forms = self.forms(&name);
        if let Some(grant) = self.denies_everywhere(&forms) {
            return NameVerdict::Denied(denied_by(&grant.origin, vec![name]));
        }
        if self.all.is_some() {
            return NameVerdict::Granted;
        }
        let mut nearest = None;
        for ports in forms.iter().flat_map(|form| self.allow.of_name(form)) {
            if ports.everywhere().is_some() {
                return NameVerdict::Granted;
            }
            for port in ports.ports() {
                match self.denies_name(&forms, port) {
                    None => return NameVerdict::Granted,
                    Some(grant) => nearest = Some(grant.origin.clone()),
                }
            }
        }
        if let Some(origin) = nearest {
            return NameVerdict::Denied(denied_by(&origin, vec![name]));
        }
        NameVerdict::Denied(Denial {
            reason: NO_RULE.to_owned(),
            nearest: self.allow.above(&name).map(|grant| grant.origin.clone()),
            allow_with: is_plain(&name).then(|| format!("--allow-net={name}")),
            names: vec![name],
        })
    }

    /// Whether a lookup of `name` may go by way of `alias`, another name in its answer.
    ///
    /// # Errors
    /// The denial: a rule denies the alias on every port.
    pub fn admits_alias(&self, name: &str, alias: &str) -> Result<(), Denial> {
        let alias = normal(alias);
        match self.denies_everywhere(&self.forms(&alias)) {
            None => Ok(()),
            Some(grant) => Err(Denial {
                reason: format!("it is an alias of `{alias}`, which a rule denies"),
                ..denied_by(&grant.origin, vec![normal(name)])
            }),
        }
    }

    /// Whether some rule denies `name` on some port, so that it matters where it leads.
    pub fn denies_some_port(&self, name: &str) -> bool {
        let forms = self.forms(&normal(name));
        let mut denials = forms.iter().flat_map(|form| self.deny.of_name(form));
        denials.next().is_some()
    }

    /// The names that denials write out.
    pub fn denied_names(&self) -> impl Iterator<Item = &str> {
        self.deny.literal_names()
    }

    /// Whether `address`, where a denied name leads, is to be denied with it. Name servers that block
    /// names answer with this machine's addresses, which would deny the machine itself.
    pub fn denial_holds(&self, name: &str, address: IpAddr) -> bool {
        match classify(canonical(address)) {
            AddressClass::Unspecified | AddressClass::Loopback => is_local(&normal(name)),
            _ => true,
        }
    }

    /// Whether a lookup of `name` may answer `address`.
    ///
    /// # Errors
    /// The denial: an address that is not public and that nothing says the name may lead to, or one
    /// a rule denies on every port.
    pub fn admits(&self, name: &str, address: IpAddr) -> Result<(), Denial> {
        self.admits_from(&normal(name), address, Source::Lookup)
    }

    /// As [`Rules::admits`], for a name that stands in the hosts file with this address: private
    /// addresses are what that file is for. The unspecified one is how names are blocked there,
    /// though Linux would take it for this machine.
    ///
    /// # Errors
    /// As [`Rules::admits`].
    pub fn admits_from_hosts(&self, name: &str, address: IpAddr) -> Result<(), Denial> {
        self.admits_from(&normal(name), address, Source::HostsFile)
    }

    fn admits_from(&self, name: &str, address: IpAddr, source: Source) -> Result<(), Denial> {
        let forms = forms_of(address, Operation::Connect);
        let everywhere = |form: IpAddr| {
            let mut found = self.deny.of_address(form);
            found.find_map(|ports| ports.everywhere())
        };
        if let Some(grant) = forms.denied().find_map(everywhere) {
            return Err(Denial {
                reason: format!("it leads to `{address}`, which a rule denies"),
                ..denied_by(&grant.origin, vec![name.to_owned()])
            });
        }
        if self.is_synthetic(address) && source == Source::Lookup {
            return Ok(());
        }
        let class = classify(address);
        let by_address = || {
            let mut granted = forms.granted();
            granted.any(|form| self.allow.of_address(form).next().is_some())
        };
        let blocked = class == AddressClass::Unspecified && source == Source::HostsFile;
        if self.all.is_some() || self.may_lead(name, class, source) || (!blocked && by_address()) {
            return Ok(());
        }
        let allow_with = if class.needs_address_rule() {
            Some(flag(Host::Address(address.to_canonical()), None))
        } else {
            is_plain(name).then(|| format!("--allow-private={name}"))
        };
        Err(Denial {
            reason: format!("it leads to `{address}`, {}", class.description()),
            nearest: None,
            names: vec![name.to_owned()],
            allow_with,
        })
    }

    /// Whether `name` may lead to addresses of this class, whatever the rules on addresses say.
    fn may_lead(&self, name: &str, class: AddressClass, source: Source) -> bool {
        if class.open_to_names() {
            return true;
        }
        if class.needs_address_rule() {
            return false;
        }
        let forms = self.forms(name);
        let said_private = |form: &String| self.private.of_name(form).next().is_some();
        let of_rule = |form: &String| self.allow.of_name(form).next().is_some();
        match source {
            Source::HostsFile if class != AddressClass::Unspecified => true,
            // The rule itself has to be local: `db` does not make `x.corp` private where `x.corp` is
            // what the search list makes of a public rule.
            Source::Lookup if forms.iter().any(|form| is_local(form) && of_rule(form)) => true,
            _ => forms.iter().any(said_private),
        }
    }

    /// What is to be done with a call. `book` says which names the address is known under.
    pub fn decide(&self, asked: &Asked, book: &NameBook, now: Instant) -> Decision {
        let forms = forms_of(asked.address, asked.operation);
        let port = asked.port;
        let named: Vec<Named<'_>> = book.names_of(forms.target, now).collect();
        if let Some(grant) = forms
            .denied()
            .find_map(|form| at_port(self.deny.of_address(form), port))
        {
            return Decision::Denied(denied_by(&grant.origin, known(&named)));
        }
        // `:PORT` denies the addresses of localhost by this as well: it covers the name.
        if let Some(grant) = named
            .iter()
            .find_map(|named| self.denies_name(&self.forms(named.name), port))
        {
            return Decision::Denied(denied_by(&grant.origin, known(&named)));
        }
        let decision = self.decide_grant(asked, &forms, &named);
        if let Decision::Direct { .. } = decision
            && asked.operation != Operation::Listen
            && let Some(denial) = self.leads_there(asked, &forms, &named, book)
        {
            return Decision::Denied(denial);
        }
        decision
    }

    fn decide_grant(&self, asked: &Asked, forms: &Forms, named: &[Named<'_>]) -> Decision {
        let by_address = || {
            let mut granted = forms.granted();
            granted.find_map(|form| at_port(self.allow.of_address(form), asked.port))
        };
        if !self.is_synthetic(forms.target)
            && let Some(grant) = by_address()
        {
            return Decision::Direct {
                origin: grant.origin.clone(),
            };
        }
        if let Some(origin) = &self.all {
            let origin = origin.clone();
            return Decision::Direct { origin };
        }
        self.decide_by_name(asked, named)
            .unwrap_or_else(|| Decision::Denied(self.not_granted(asked, forms, named)))
    }

    fn decide_by_name(&self, asked: &Asked, named: &[Named<'_>]) -> Option<Decision> {
        let port = asked.port;
        // A name may have been answered with a special address only because a rule grants some port
        // of that address. The name must not open the other ports.
        let class = classify(canonical(asked.address));
        let leads = |named: &&Named<'_>| {
            let source = if named.lasting {
                Source::HostsFile
            } else {
                Source::Lookup
            };
            self.may_lead(named.name, class, source)
        };
        let granted: Vec<(Named<'_>, &Grant)> = named
            .iter()
            .filter(leads)
            .filter_map(|named| Some((*named, self.grants_name(named.name, port)?)))
            .collect();
        let (first, _) = granted.first()?;
        let names = || granted.iter().map(|(named, _)| named.name.to_owned());
        if !granted.iter().any(|(named, _)| named.fresh) {
            let names = names().collect();
            return Some(Decision::Stale { names });
        }
        // Names on one address cannot be told apart before the first byte: the strictest wins, but
        // `:PORT` is a rule on addresses, those of localhost.
        let this_machine = granted
            .iter()
            .any(|(named, _)| named.name == "localhost" && named.fresh)
            .then(|| self.allow.this_machine(port))
            .flatten();
        if let Some(grant) = this_machine {
            let origin = grant.origin.clone();
            return Some(Decision::Direct { origin });
        }
        let strictest = granted
            .iter()
            .filter(|(named, _)| named.fresh)
            .map(|(_, grant)| (check(grant.verify, port), *grant))
            .max_by_key(|(check, _)| *check);
        let (check, grant) = strictest?;
        let origin = grant.origin.clone();
        Some(match (check, asked.operation) {
            (None, _) | (Some(_), Operation::Listen) => Decision::Direct { origin },
            // Expired names may be said as well: the connection goes to where a fresh one led.
            (Some(check), Operation::Connect) => Decision::Verified {
                check,
                names: names().collect(),
                origin,
            },
            (Some(_), Operation::Datagram) => Decision::Denied(Denial {
                reason: format!(
                    "what datagrams to port {port} say cannot be checked for the name `{}`",
                    first.name
                ),
                nearest: Some(origin),
                names: names().collect(),
                allow_with: Some(flag(Host::Address(canonical(asked.address)), Some(port))),
            }),
        })
    }

    /// The names the rules write out, which the hosts file may answer without any lookup: grants
    /// and denials.
    pub fn literal_names(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self
            .allow
            .literal_names()
            .chain(self.deny.literal_names())
            .collect();
        names.into_iter()
    }

    /// Whether names have addresses that stand for them alone.
    pub fn has_synthetic(&self) -> bool {
        self.synthetic
    }

    /// Whether an address stands for a name alone.
    fn is_synthetic(&self, address: IpAddr) -> bool {
        self.synthetic && is_synthetic(address)
    }

    /// Whether a lookup of `name` as it stands is granted, without the search list's help.
    pub fn grants_itself(&self, name: &str) -> bool {
        self.all.is_some() || self.allow.of_name(name).next().is_some()
    }

    /// Whether some rule, grant or denial, speaks of `name`, so that its addresses in the hosts file
    /// have to be known.
    pub fn mentions(&self, name: &str) -> bool {
        self.forms(&normal(name)).iter().any(|form| {
            self.allow.of_name(form).next().is_some() || self.deny.of_name(form).next().is_some()
        })
    }

    fn grants_name(&self, name: &str, port: u16) -> Option<&Grant> {
        let forms = self.forms(name);
        let found = forms
            .iter()
            .filter_map(|form| at_port(self.allow.of_name(form), port));
        found.reduce(|best, grant| {
            if said(grant.verify) > said(best.verify) {
                grant
            } else {
                best
            }
        })
    }

    fn denies_everywhere(&self, forms: &[String]) -> Option<&Grant> {
        let mut denials = forms.iter().flat_map(|form| self.deny.of_name(form));
        denials.find_map(|ports| ports.everywhere())
    }

    fn denies_name(&self, forms: &[String], port: u16) -> Option<&Grant> {
        forms
            .iter()
            .find_map(|form| at_port(self.deny.of_name(form), port))
    }

    /// `name` first, then what the search list makes of it, in both directions.
    fn forms(&self, name: &str) -> Vec<String> {
        let mut forms = vec![name.to_owned()];
        forms.extend(self.search.within_domains(name));
        forms.extend(self.search.without_domains(name).map(str::to_owned));
        forms
    }
}

/// What `verify` means on `port`.
fn check(verify: Verify, port: u16) -> Option<Check> {
    match (verify, port) {
        (Verify::ServerName, _) | (Verify::ByPort, 443) => Some(Check::ServerName),
        (Verify::ByPort, 80) => Some(Check::HttpHost),
        (Verify::ByPort | Verify::Nothing, _) => None,
    }
}

/// Whether a rule could be written with this name, and pasted into a shell as it stands.
pub(in crate::egress) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether `name` is one that everybody's network gives its own meaning.
fn is_local(name: &str) -> bool {
    !name.contains('.')
        || LOCAL_DOMAINS.iter().any(|domain| {
            name.strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.') || rest.is_empty())
        })
}
