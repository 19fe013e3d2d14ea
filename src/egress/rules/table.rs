// SPDX-License-Identifier: MIT
//! One list of network rules, found by host in time that does not grow with the list.
//!
//! Invariant: finds exactly the rules that `policy::compose::net_covers` says cover the host.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::{NetRule, Verify};
use crate::policy::compose::THIS_MACHINE;
use crate::policy::{Host, Origin};

/// What is left of a rule once its host is found.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) verify: Verify,
    pub(super) origin: Origin,
}

/// The rules of one host, by port.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports {
    any: Option<Grant>,
    one: HashMap<u16, Grant>,
}

impl Ports {
    fn add(&mut self, rule: &NetRule) {
        let grant = || Grant {
            verify: rule.verify,
            origin: rule.origin.clone(),
        };
        let place = match rule.port {
            None => self.any.get_or_insert_with(grant),
            Some(port) => self.one.entry(port).or_insert_with(grant),
        };
        if said(rule.verify) > said(place.verify) {
            *place = grant();
        }
    }

    /// The rule for `port`.
    pub(super) fn at(&self, port: u16) -> Option<&Grant> {
        match (self.one.get(&port), &self.any) {
            (Some(one), Some(any)) if said(any.verify) > said(one.verify) => Some(any),
            (Some(one), _) => Some(one),
            (None, any) => any.as_ref(),
        }
    }

    /// The rule that stands for every port.
    pub(super) fn everywhere(&self) -> Option<&Grant> {
        self.any.as_ref()
    }

    /// Some rule, whatever its port; the one with the lowest port.
    pub(super) fn some(&self) -> Option<&Grant> {
        let lowest = || self.one.iter().min_by_key(|(port, _)| **port);
        self.any
            .as_ref()
            .or_else(|| lowest().map(|(_, grant)| grant))
    }

    /// The ports with rules of their own.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.one.keys().copied()
    }
}

/// When several rules cover one name, what one of them says about checking counts more than what
/// another leaves open; and of two that say something, the one that checks.
pub(super) fn said(verify: Verify) -> u8 {
    match verify {
        Verify::ByPort => 0,
        Verify::Nothing => 1,
        Verify::ServerName => 2,
    }
}

/// One list of rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    names: HashMap<String, Ports>,
    /// By the parent, which is covered itself.
    wildcards: HashMap<String, Ports>,
    addresses: HashMap<IpAddr, Ports>,
    subnets: HashMap<IpNet, Ports>,
    /// The prefix lengths that occur among `subnets`, longest first.
    v4_lengths: Vec<u8>,
    v6_lengths: Vec<u8>,
    this_machine: Option<Ports>,
}

impl Table {
    pub(super) fn new(rules: &[NetRule]) -> Self {
        let mut table = Self::default();
        for rule in rules {
            let ports = match &rule.host {
                Host::Name(name) => table.names.entry(name.clone()).or_default(),
                Host::Wildcard(parent) => table.wildcards.entry(parent.clone()).or_default(),
                Host::Address(address) => {
                    table.addresses.entry(address.to_canonical()).or_default()
                }
                Host::Subnet(subnet) => table.subnets.entry(subnet.trunc()).or_default(),
                Host::ThisMachine => table.this_machine.get_or_insert_default(),
                // Paths and contexts are no business of names and addresses.
                Host::Unix(_) | Host::Vsock { .. } => continue,
            };
            ports.add(rule);
        }
        let lengths = |of: fn(&IpNet) -> bool| {
            let mut lengths: Vec<u8> = table
                .subnets
                .keys()
                .filter(|subnet| of(subnet))
                .map(IpNet::prefix_len)
                .collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
            lengths
        };
        let (v4, v6) = (
            lengths(|subnet| matches!(subnet, IpNet::V4(_))),
            lengths(|subnet| matches!(subnet, IpNet::V6(_))),
        );
        table.v4_lengths = v4;
        table.v6_lengths = v6;
        table
    }

    /// The rules that cover `name` (lower case, no trailing dot), the nearest first.
    pub(super) fn of_name(&self, name: &str) -> impl Iterator<Item = &Ports> {
        let this_machine = self.this_machine.as_ref().filter(|_| name == "localhost");
        self.names
            .get(name)
            .into_iter()
            .chain(suffixes(name).filter_map(|suffix| self.wildcards.get(suffix)))
            .chain(this_machine)
    }

    /// The rules that cover `address`, the nearest first. Only an unspecified or v4-mapped address
    /// has other forms, and those are the caller's business.
    pub(super) fn of_address(&self, address: IpAddr) -> impl Iterator<Item = &Ports> {
        let lengths = match address {
            IpAddr::V4(_) => &self.v4_lengths,
            IpAddr::V6(_) => &self.v6_lengths,
        };
        let subnet = move |length: &u8| {
            let subnet = IpNet::new(address, *length).ok()?.trunc();
            self.subnets.get(&subnet)
        };
        let this_machine = self
            .this_machine
            .as_ref()
            .filter(|_| THIS_MACHINE.contains(&address));
        self.addresses
            .get(&address)
            .into_iter()
            .chain(lengths.iter().filter_map(subnet))
            .chain(this_machine)
    }

    /// What `:PORT` rules say of `port`.
    pub(super) fn this_machine(&self, port: u16) -> Option<&Grant> {
        self.this_machine.as_ref()?.at(port)
    }

    /// The names written out, and `localhost` where `:PORT` means it.
    pub(super) fn literal_names(&self) -> impl Iterator<Item = &str> {
        let localhost = self.this_machine.as_ref().map(|_| "localhost");
        let missing = move |name: &&str| !self.names.contains_key(*name);
        self.names
            .keys()
            .map(String::as_str)
            .chain(localhost.filter(missing))
    }

    /// The rule of the nearest name above `name`, for messages.
    pub(super) fn above(&self, name: &str) -> Option<&Grant> {
        suffixes(name)
            .skip(1)
            .filter(|suffix| suffix.contains('.'))
            .find_map(|suffix| self.names.get(suffix)?.some())
    }
}

/// `a.b.c`, `b.c`, `c`.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| {
        name.split_once('.').map(|(_, rest)| rest)
    })
}

/// The strictest-said rule for `port` among `found`.
pub(super) fn at_port<'t>(found: impl Iterator<Item = &'t Ports>, port: u16) -> Option<&'t Grant> {
    let mut best: Option<&Grant> = None;
    for grant in found.filter_map(|ports| ports.at(port)) {
        if best.is_none_or(|best| said(grant.verify) > said(best.verify)) {
            best = Some(grant);
        }
    }
    best
}
