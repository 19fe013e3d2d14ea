// SPDX-License-Identifier: MIT
//! What rules for single hosts do not hold, said in words.
//!
//! Invariant: a line stands here for every way past the names, and for every use of the network that
//! is lost because it cannot be judged.

use super::{DENIED_NAMES_LOOKED_UP, Execution, Holder, NetRule, NetRules, Network, Plan, Way};
use crate::policy::{Host, Origin};

/// The gaps of a judged network.
pub(super) fn follow(plan: &Plan, gap: &mut impl FnMut(String, Holder, Option<Origin>)) {
    let started = plan.execution != Execution::None;
    if plan.syscalls.supervised.any() && started {
        gap(
            "if Stockade itself is killed, what is left of the run has no network and changes no modes \
             and owners"
                .to_owned(),
            Holder::Refused,
            None,
        );
    }
    let Network::Rules(rules) = &plan.network else {
        return;
    };
    for rule in &rules.allow {
        if matches!(rule.host, Host::Vsock { .. }) {
            gap(
                "vsock sockets cannot be made".to_owned(),
                Holder::Refused,
                Some(rule.origin.clone()),
            );
        }
    }
    let first = rules.allow.first().map(|rule| &rule.origin);
    let Some(origin) = rules.all.as_ref().or(first) else {
        return;
    };
    every_judged_network(origin, gap);
    if plan.syscalls.supervised.injected {
        gap(
            "a stream socket that was connected cannot be connected again: on this host the supervisor \
             cannot take sockets (pidfd_getfd), and keeps those it made until then"
                .to_owned(),
            Holder::Refused,
            Some(origin.clone()),
        );
    }
    names(rules, gap);
    if plan.upstream.proxy.is_some() {
        gap(
            "where a name leads is the proxy's choice: private and denied addresses behind a granted \
             name are not seen"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
    }
    denials(plan, rules, gap);
}

/// What denials of names do not hold, and what they take with them.
fn denials(plan: &Plan, rules: &NetRules, gap: &mut impl FnMut(String, Holder, Option<Origin>)) {
    let denied = || rules.deny.iter().filter(|rule| is_name(rule));
    let literal = || denied().filter(|rule| matches!(rule.host, Host::Name(_)));
    let proxied = plan.upstream.proxy.is_some();
    if let Some(rule) = literal().find(|_| !proxied) {
        gap(
            "an address where a denied name leads is denied where nothing is checked, also to the \
             other names that lead there (shared addresses of content networks)"
                .to_owned(),
            Holder::Refused,
            Some(rule.origin.clone()),
        );
        gap(
            "where a denied name leads is looked up at the first use of the network (2 seconds at \
             most) and every 30 seconds: an address that those answers did not hold, or that came \
             too late, is reached by whoever knows it from elsewhere"
                .to_owned(),
            Holder::Nobody,
            Some(rule.origin.clone()),
        );
    }
    let late = literal().nth(DENIED_NAMES_LOOKED_UP);
    let wildcard = denied().find(|rule| matches!(rule.host, Host::Wildcard(_)));
    let unknown = if proxied {
        denied().next()
    } else {
        wildcard.or(late)
    };
    if let Some(rule) = unknown {
        gap(
            format!(
                "where names below a denied wildcard lead, more than {DENIED_NAMES_LOOKED_UP} denied \
                 names, or any behind a proxy, is not looked up: an address learnt elsewhere is reached \
                 unless it is denied as well"
            ),
            Holder::Nobody,
            Some(rule.origin.clone()),
        );
    }
}

fn every_judged_network(origin: &Origin, gap: &mut impl FnMut(String, Holder, Option<Origin>)) {
    for what in [
        "UDP servers, datagrams sent without connecting first or to where a name led, and with them \
         QUIC, need the bare `--allow-net` without denials; what remains is a socket connected to an \
         address that a rule for addresses grants",
        "a connected UDP socket is a pair of local sockets: its addresses, its options and the \
         network's errors are not seen, and its duplicates stay unconnected",
        "lookups of programs with musl 1.2.4 or newer fail (EAI_AGAIN): their resolver receives by \
         recvmsg, which cannot be told the sender it expects",
        "only addresses are looked up: other records of a granted name (TXT, MX, SRV, HTTPS) are \
         empty answers",
        "datagram UNIX sockets, and UNIX sockets without a path (abstract names), reach nobody",
    ] {
        gap(what.to_owned(), Holder::Refused, Some(origin.clone()));
    }
    for what in [
        "data can be sent to every granted host; what happens to it there is not seen",
        "the peer of a UNIX socket sees Stockade, which connected it, instead of the program \
         (SO_PEERCRED)",
        "descriptors that a granted UNIX socket hands in are used as they are",
    ] {
        gap(what.to_owned(), Holder::Nobody, Some(origin.clone()));
    }
}

fn names(rules: &NetRules, gap: &mut impl FnMut(String, Holder, Option<Origin>)) {
    let granted = || rules.allow.iter().filter(|rule| is_name(rule));
    if let Some(rule) = granted().next() {
        gap(
            "a public name may not lead to private addresses without `--allow-private`, and to \
             link-local and metadata addresses only by a rule for the address"
                .to_owned(),
            Holder::Refused,
            Some(rule.origin.clone()),
        );
        gap(
            "where a name led stays granted for 60 seconds after the answer has expired, and \
             connections for as long as they last"
                .to_owned(),
            Holder::Nobody,
            Some(rule.origin.clone()),
        );
    }
    let wildcard = granted().find(|rule| matches!(rule.host, Host::Wildcard(_)));
    if let Some(origin) = rules
        .all
        .as_ref()
        .or_else(|| wildcard.map(|rule| &rule.origin))
    {
        gap(
            "names below a granted wildcard can carry data in their lookup".to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
    }
    if let Some(rule) = granted().find(|rule| matches!(rule.way(None), Way::Direct | Way::ByPort)) {
        gap(
            "several names on one address are told apart only where they are checked (443, 80, \
             `--verify`): on other ports whoever else is at that address and port is reached"
                .to_owned(),
            Holder::Nobody,
            Some(rule.origin.clone()),
        );
    }
    let Some(rule) = granted().find(|rule| rule.way(None) != Way::Direct) else {
        return;
    };
    gap(
        "inside TLS a server can be asked for another name than the one that was checked (domain \
         fronting)"
            .to_owned(),
        Holder::Nobody,
        Some(rule.origin.clone()),
    );
    gap(
        "a checked connection ends at the relay: its addresses (`getpeername`, `getsockname`) and TCP \
         options are those of a connection inside this machine"
            .to_owned(),
        Holder::Nobody,
        Some(rule.origin.clone()),
    );
    gap(
        "a checked connection that fails after connect(2) has returned is refused, whatever the \
         reason, and up to seconds late"
            .to_owned(),
        Holder::Nobody,
        Some(rule.origin.clone()),
    );
}

fn is_name(rule: &NetRule) -> bool {
    matches!(rule.host, Host::Name(_) | Host::Wildcard(_))
}
