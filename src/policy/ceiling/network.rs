// SPDX-License-Identifier: MIT
//! What a ceiling says of the network: peers, and what loosens the rules for them.
//!
//! Invariant: a granted name means what the machine's own lookups say, unless the ceiling grants the
//! whole network or names who else may say it.

use ipnet::IpNet;

use super::{Asked, Judging};
use crate::policy::compose::{THIS_MACHINE, net_covers};
use crate::policy::{Host, NetDescriptor, Rules};

impl Judging<'_> {
    /// What loosens the network beside its rules.
    pub(super) fn network(&mut self, asked: &Asked<'_>) {
        let granted = &self.ceiling.granted;
        let whole = |rules: &Rules<NetDescriptor>| rules.all.is_some();
        let everything = granted.policy.all.is_some() || whole(&granted.policy.net.allow);
        // Whoever says where names lead says what a denial of a name reaches, too.
        if !(everything && granted.policy.net.deny.is_empty()) {
            self.upstream(asked);
        }
        if everything {
            return;
        }
        let granted = &self.ceiling.granted;
        let bound = granted.bound("net").cloned();
        let (private, verify) = (granted.private.clone(), granted.verify.clone());
        for entry in asked.private {
            let covered = private
                .iter()
                .any(|top| net_covers(&top.descriptor, &entry.descriptor));
            if !covered {
                let what = format!("private addresses behind `{}`", entry.text);
                self.push(&entry.origin, &what, bound.as_ref());
            }
        }
        for checked in asked.verify.iter().filter(|checked| !checked.server_name) {
            let covered = verify
                .iter()
                .any(|top| !top.server_name && net_covers(&top.peer, &checked.peer));
            if !covered {
                let what = format!("unchecked connections to `{}`", checked.peer);
                self.push(&checked.origin, &what, bound.as_ref());
            }
        }
        if let Some((listener, origin)) = &asked.listener
            && !net_inside(&self.ceiling.granted.policy.net.allow, listener)
        {
            let what = format!("a listener on `{listener}`");
            self.push(origin, &what, bound.as_ref());
        }
    }

    /// Who says where granted names lead, and whom Stockade itself connects to for them: with another
    /// name server a name on a port that is not checked is any address, and a proxy is a peer that no
    /// rule grants.
    fn upstream(&mut self, asked: &Asked<'_>) {
        let ceiling = self.ceiling;
        let bound = ceiling.granted.bound("net");
        for server in asked.name_servers {
            let named = |top: &super::Chosen<_>| top.value == server.value;
            if !ceiling.name_servers.iter().any(named) {
                let own = ceiling.name_servers.first().map(|top| &top.origin);
                let what = format!("lookups by `{}`", server.value);
                self.push(&server.origin, &what, own.or(bound));
            }
        }
        if let Some(proxy) = asked.proxy
            && !ceiling.proxies.iter().any(|top| top.value == proxy.value)
        {
            let own = ceiling.proxies.first().map(|top| &top.origin);
            let what = format!("connections through `{}`", proxy.value);
            self.push(&proxy.origin, &what, own.or(bound));
        }
    }
}

/// Whether a list grants all of `asked`.
pub(super) fn net_inside(list: &Rules<NetDescriptor>, asked: &NetDescriptor) -> bool {
    if list.all.is_some() {
        return true;
    }
    let covers = |asked: &NetDescriptor| {
        list.entries
            .iter()
            .any(|entry| net_covers(&entry.descriptor, asked))
    };
    let on = |host: Host| NetDescriptor {
        host,
        port: asked.port,
    };
    match &asked.host {
        _ if covers(asked) => true,
        Host::ThisMachine => {
            let mut addresses = THIS_MACHINE.into_iter();
            addresses.all(|address| covers(&on(Host::Address(address))))
                && covers(&on(Host::Name("localhost".to_owned())))
        }
        // Several blocks of the ceiling may cover one together.
        Host::Subnet(subnet) => {
            let blocks: Vec<IpNet> = list
                .entries
                .iter()
                .filter(|entry| {
                    entry.descriptor.port.is_none() || entry.descriptor.port == asked.port
                })
                .filter_map(|entry| match &entry.descriptor.host {
                    Host::Subnet(block) => Some(*block),
                    Host::Address(address) => Some(IpNet::from(*address)),
                    _ => None,
                })
                .collect();
            IpNet::aggregate(&blocks)
                .iter()
                .any(|block| block.contains(subnet))
        }
        _ => false,
    }
}
