// SPDX-License-Identifier: MIT
//! The network part of the Plan: which peers, which listeners, and what is checked on the way.
//!
//! Invariant: a denial is kept even when no grant covers it, since names it does not mention may
//! lead to the address it does.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::policy::compose::{net_covers, net_overlaps};
use crate::policy::{Entry, Host, NetDescriptor, Origin, Policy};

/// Which sockets the target may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// None: no INET, INET6, UNIX or NETLINK socket can be made.
    None,
    /// Every peer and every listener; nobody looks.
    Any(Origin),
    /// The supervisor judges every connection, listener and lookup by these rules.
    Rules(NetRules),
}

impl Network {
    /// Whether some peer or listener is granted at all.
    pub fn grants_something(&self) -> bool {
        match self {
            Self::None => false,
            Self::Any(_) => true,
            Self::Rules(rules) => rules.all.is_some() || !rules.allow.is_empty(),
        }
    }
}

/// How many of the names that denials write out are looked up, so that their addresses are denied too.
pub const DENIED_NAMES_LOOKED_UP: usize = 64;

/// What the supervisor judges the network by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetRules {
    /// The bare grant, when denials cut something out of it: connections are direct then, and
    /// every name is looked up.
    pub all: Option<Origin>,
    /// Grants: parts that `--verify` names, then the entries in the order they were written. The first
    /// one that covers a peer says what is checked.
    pub allow: Vec<NetRule>,
    /// Denials; they win over every grant, also on the address a granted name leads to.
    pub deny: Vec<NetRule>,
    /// Names that may lead to private addresses (`--allow-private`).
    pub private: Vec<NetRule>,
}

/// One grant or denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetRule {
    /// Which hosts.
    pub host: Host,
    /// Which port; none is every port.
    pub port: Option<u16>,
    /// What is checked on a connection to a name.
    pub verify: Verify,
    /// The entry.
    pub origin: Origin,
}

impl fmt::Display for NetRule {
    /// The form the flags take.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.descriptor().fmt(formatter)
    }
}

impl NetRule {
    /// Which peers it covers.
    pub fn descriptor(&self) -> NetDescriptor {
        NetDescriptor {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

/// What is checked on a connection that a name rule grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// By the port: TLS server name on 443, HTTP Host on 80, nothing elsewhere.
    ByPort,
    /// The server name of the TLS ClientHello, on every port.
    ServerName,
    /// Nothing: direct to the address the name led to.
    Nothing,
}

/// How a granted peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The target's own socket is connected.
    Direct,
    /// A relay lets pass what starts with a TLS ClientHello for the name.
    ServerName,
    /// A relay lets pass HTTP requests whose Host is the name.
    HttpHost,
    /// By the port: [`Way::ServerName`] on 443, [`Way::HttpHost`] on 80, else [`Way::Direct`].
    ByPort,
}

impl NetRule {
    /// How a peer it covers is reached on `port`; none is a port that is not known.
    pub fn way(&self, port: Option<u16>) -> Way {
        let names = matches!(self.host, Host::Name(_) | Host::Wildcard(_));
        match (self.verify, self.port.or(port)) {
            _ if !names => Way::Direct,
            (Verify::ServerName, _) | (Verify::ByPort, Some(443)) => Way::ServerName,
            (Verify::ByPort, Some(80)) => Way::HttpHost,
            (Verify::Nothing, _) | (Verify::ByPort, Some(_)) => Way::Direct,
            (Verify::ByPort, None) => Way::ByPort,
        }
    }
}

/// What the rules say about one peer, by its name or address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetAnswer<'r> {
    /// This denial covers it.
    Denied(&'r NetRule),
    /// This grant covers it, and no denial does.
    Allowed(&'r NetRule),
    /// The bare grant covers it, and no denial does.
    AllowedAll(&'r Origin),
    /// Nothing does; the grant that comes nearest, on another port or for a part of it.
    NotGranted(Option<&'r NetRule>),
}

impl NetRules {
    /// Whether all of `asked` is granted. A name and an address never stand for each other here:
    /// where a name leads is found out at its lookup.
    pub fn answer(&self, asked: &NetDescriptor) -> NetAnswer<'_> {
        let covering = |rules: &[NetRule]| {
            rules
                .iter()
                .position(|rule| net_covers(&rule.descriptor(), asked))
        };
        if let Some(rule) = covering(&self.deny).and_then(|index| self.deny.get(index)) {
            return NetAnswer::Denied(rule);
        }
        if let Some(rule) = covering(&self.allow).and_then(|index| self.allow.get(index)) {
            return NetAnswer::Allowed(rule);
        }
        if let Some(origin) = &self.all {
            return NetAnswer::AllowedAll(origin);
        }
        let host = NetDescriptor {
            host: asked.host.clone(),
            port: None,
        };
        let near = |rule: &&NetRule| net_overlaps(&rule.descriptor(), &host);
        NetAnswer::NotGranted(self.allow.iter().find(near))
    }

    /// Whether some entry is a `unix:` rule.
    pub fn names_unix_sockets(&self) -> bool {
        self.allow
            .iter()
            .any(|rule| matches!(rule.host, Host::Unix(_)))
    }
}

/// What is said about the network beside the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetSettings {
    /// Names that may lead to private addresses (`--allow-private`).
    pub private: Vec<Entry<NetDescriptor>>,
    /// What is checked on connections to granted names (`--verify`).
    pub verify: Vec<NetRule>,
    /// The listener that `serve` opens: granted with the command itself, as in Deno.
    pub listener: Option<NetRule>,
    /// Denials are recorded (`--audit`): the supervisor denies what seccomp alone would.
    pub observed: bool,
    /// Where lookups and connections go.
    pub upstream: Upstream,
}

/// Where the supervisor itself goes for names and connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// Name servers used instead of resolv.conf's, in the order they are asked.
    pub name_servers: Vec<SocketAddr>,
    /// The HTTP proxy every connection goes through.
    pub proxy: Option<UpstreamProxy>,
}

/// An HTTP proxy that speaks CONNECT.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamProxy {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `user:password` as bytes to be encoded for `Proxy-Authorization`; never printed.
    #[serde(skip)]
    pub credentials: Option<Vec<u8>>,
}

impl fmt::Display for UpstreamProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "http://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.credentials.is_some() {
            " with credentials"
        } else {
            ""
        };
        write!(formatter, "UpstreamProxy({self}{login})")
    }
}

/// The network part for a policy.
pub(super) fn network(policy: &Policy, settings: &NetSettings) -> Network {
    let (allow, deny) = (&policy.net.allow, &policy.net.deny);
    let closed = deny.all.is_some();
    let all = allow
        .all
        .as_ref()
        .or(policy.all.as_ref())
        .filter(|_| !closed);
    if let (Some(origin), true) = (all, deny.entries.is_empty()) {
        return Network::Any(origin.clone());
    }
    let mut granted = Vec::new();
    if !closed {
        // In front: the first rule that covers a peer says what is checked.
        for checked in &settings.verify {
            let entries = allow.entries.iter();
            granted.extend(entries.filter_map(|entry| part(checked, entry)));
        }
        granted.extend(allow.entries.iter().map(|entry| {
            let whole = |checked: &&NetRule| net_covers(&checked.descriptor(), &entry.descriptor);
            let checked = settings.verify.iter().find(whole);
            NetRule {
                verify: checked.map_or(Verify::ByPort, |checked| checked.verify),
                ..rule(entry)
            }
        }));
        granted.extend(settings.listener.iter().cloned());
    }
    if all.is_none() && granted.is_empty() && !settings.observed {
        return Network::None;
    }
    Network::Rules(NetRules {
        all: all.cloned(),
        allow: granted,
        deny: deny.entries.iter().map(rule).collect(),
        private: settings.private.iter().map(rule).collect(),
    })
}

/// The part of a grant that is checked as `checked` says, when it is not the whole of it: a check
/// never widens a grant.
fn part(checked: &NetRule, entry: &Entry<NetDescriptor>) -> Option<NetRule> {
    let (wanted, granted) = (checked.descriptor(), &entry.descriptor);
    if !net_overlaps(&wanted, granted) || net_covers(&wanted, granted) {
        return None;
    }
    let any_port = |descriptor: &NetDescriptor| NetDescriptor {
        host: descriptor.host.clone(),
        port: None,
    };
    let host = if net_covers(&any_port(granted), &any_port(&wanted)) {
        wanted.host
    } else {
        granted.host.clone()
    };
    Some(NetRule {
        host,
        port: granted.port.or(checked.port),
        verify: checked.verify,
        origin: entry.origin.clone(),
    })
}

fn rule(entry: &Entry<NetDescriptor>) -> NetRule {
    NetRule {
        host: entry.descriptor.host.clone(),
        port: entry.descriptor.port,
        verify: Verify::ByPort,
        origin: entry.origin.clone(),
    }
}
