// SPDX-License-Identifier: MIT
//! Where granted names are looked up: a seam, and hickory behind it.
//!
//! Invariant: only addresses of the asked kind come back; nothing is read from the machine's own
//! files here, and no name is completed with a search list.

use std::cell::OnceCell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_proto::rr::{Name, RData, Record};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::message::{Kind, full_name, plain_text};
use crate::egress::hosts::ResolverFile;

/// What a lookup ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Addresses of the kind asked for, at least one, for how many seconds they hold, and the other
    /// names in the answer (lower case, no trailing dot): aliases that led there.
    Addresses(Vec<IpAddr>, u32, Vec<String>),
    /// The name exists, without addresses of this kind.
    Empty,
    /// The name does not exist.
    NoName,
    /// No answer, or one that is none.
    Failure,
}

/// A lookup under way.
pub type Lookups<'u> = Pin<Box<dyn Future<Output = Found> + 'u>>;

/// Something that looks names up.
pub trait Upstream {
    /// Looks up the full name `name` (lower case, no trailing dot).
    fn look_up<'u>(&'u self, name: &'u str, kind: Kind) -> Lookups<'u>;
}

/// Name servers, asked through hickory. Built at the first lookup: most of the cost of a supervised
/// start would be here otherwise.
pub struct Hickory {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    attempts: u8,
    /// One per server: hickory itself lets a silent first server use up the time of the others,
    /// unless it asks them at once, which networks with split names do not survive.
    resolvers: OnceCell<Vec<TokioResolver>>,
}

impl std::fmt::Debug for Hickory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hickory")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Entries of each resolver's cache; a few hundred bytes each.
const CACHE: u64 = 1024;
/// Longest that anything is remembered, found or not.
const REMEMBERED: Duration = Duration::from_secs(300);
/// More than the filter lets through at once.
const ACTIVE_REQUESTS: usize = 512;

impl Hickory {
    /// `servers` are asked in their order, the next one when one fails, `attempts` times around.
    /// Each gets its share of four seconds and two at most, whatever resolv.conf says: the filter
    /// answers within five.
    pub fn new(servers: Vec<SocketAddr>, timeout: Duration, attempts: u8) -> Self {
        let share = Duration::from_secs(4) / u32::try_from(servers.len()).unwrap_or(1).max(1);
        let longest = share.min(Duration::from_secs(2));
        Self {
            servers,
            timeout: timeout.min(longest),
            attempts: attempts.clamp(1, 3),
            resolvers: OnceCell::new(),
        }
    }

    /// The servers of resolv.conf, on port 53. A link-local one with its zone is left out: hickory
    /// cannot name the interface.
    pub fn of_file(file: &ResolverFile) -> Self {
        let servers = file
            .name_servers
            .iter()
            .filter(|server| server.zone.is_none())
            .map(|server| SocketAddr::new(server.address, 53))
            .collect();
        Self::new(servers, file.timeout, file.attempts)
    }

    fn resolvers(&self) -> &[TokioResolver] {
        self.resolvers.get_or_init(|| {
            self.servers
                .iter()
                .filter_map(|one| self.build(*one))
                .collect()
        })
    }

    fn build(&self, address: SocketAddr) -> Option<TokioResolver> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut one| {
            one.port = address.port();
            one
        });
        let servers = vec![NameServerConfig::new(
            address.ip(),
            true,
            connections.to_vec(),
        )];
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = self.timeout;
        options.attempts = 0;
        options.try_tcp_on_error = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = CACHE;
        options.positive_max_ttl = Some(REMEMBERED);
        options.negative_max_ttl = Some(REMEMBERED);
        options.max_active_requests = ACTIVE_REQUESTS;
        builder.build().ok()
    }
}

impl Upstream for Hickory {
    fn look_up<'u>(&'u self, name: &'u str, kind: Kind) -> Lookups<'u> {
        Box::pin(async move {
            // A full name: no search list.
            let Some(name) = full_name(name) else {
                return Found::NoName;
            };
            for resolver in (0..self.attempts).flat_map(|_| self.resolvers()) {
                let answer = resolver.lookup(name.clone(), kind.record_type()).await;
                match found(answer, &name, kind) {
                    Found::Failure => {}
                    answer => return answer,
                }
            }
            Found::Failure
        })
    }
}

fn found(answer: Result<Lookup, NetError>, asked: &Name, kind: Kind) -> Found {
    let lookup = match answer {
        Ok(lookup) => lookup,
        Err(error) if error.is_nx_domain() => return Found::NoName,
        Err(error) if error.is_no_records_found() => return Found::Empty,
        Err(_) => return Found::Failure,
    };
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    let addresses: Vec<IpAddr> = lookup
        .answers()
        .iter()
        .filter_map(|record| address(&record.data))
        .filter(|address| kind.fits(*address))
        .collect();
    if addresses.is_empty() {
        return Found::Empty;
    }
    let seconds = lookup.answers().iter().map(|record| record.ttl).min();
    let aliases = aliases(asked, lookup.answers());
    Found::Addresses(addresses, seconds.unwrap_or(0), aliases)
}

/// Every name in an answer but the one that was asked for.
fn aliases(asked: &Name, records: &[Record]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for record in records {
        let target = match &record.data {
            RData::CNAME(target) => Some(&target.0),
            _ => None,
        };
        for name in target.into_iter().chain([&record.name]) {
            let text = plain_text(name);
            if name != asked && !names.contains(&text) {
                names.push(text);
            }
        }
    }
    names
}

/// What is made of arbitrary bytes of a name server; for fuzzing.
#[doc(hidden)]
pub fn fuzz_answer(data: &[u8]) {
    use hickory_proto::op::Message;

    let Ok(message) = Message::from_vec(data) else {
        return;
    };
    let query = message.queries.first().cloned().unwrap_or_default();
    for kind in [Kind::V4, Kind::V6] {
        let lookup = Lookup::new_with_max_ttl(query.clone(), message.answers.clone());
        if let Found::Addresses(addresses, _, aliases) = found(Ok(lookup), query.name(), kind) {
            assert!(!addresses.is_empty());
            // What a record says of another name is never taken for the asked one.
            let others = message.answers.iter().map(|record| &record.name);
            let others = others.filter(|name| *name != query.name());
            others.for_each(|name| assert!(aliases.contains(&plain_text(name))));
            assert!(addresses.iter().all(|address| kind.fits(*address)));
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};
    use hickory_resolver::net::NoRecords;

    use super::super::filter::tests::run;
    use super::*;

    fn record(name: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(full_name(name).unwrap(), ttl, data)
    }

    #[test]
    fn only_addresses_of_the_kind_are_found() {
        let query = Query::query(full_name("a.example").unwrap(), Kind::V4.record_type());
        let alias = RData::CNAME(CNAME(Name::from_ascii("b.example.").unwrap()));
        let records = [
            record("a.example", 5, alias.clone()),
            record("b.example", 60, RData::A(A::new(1, 1, 1, 1))),
            record(
                "b.example",
                60,
                RData::AAAA(AAAA::new(1, 1, 1, 1, 1, 1, 1, 1)),
            ),
        ];
        let lookup = Lookup::new_with_max_ttl(query.clone(), records);
        let of = |answer, kind| found(answer, query.name(), kind);
        let alias_of = vec!["b.example".to_owned()];
        let expected = Found::Addresses(vec!["1.1.1.1".parse().unwrap()], 5, alias_of);
        assert_eq!(of(Ok(lookup), Kind::V4), expected);
        let lookup = Lookup::new_with_max_ttl(query.clone(), [record("a.example", 5, alias)]);
        assert_eq!(of(Ok(lookup), Kind::V4), Found::Empty);
        let none = |code| Err(NoRecords::new(query.clone(), code).into());
        assert_eq!(of(none(ResponseCode::NXDomain), Kind::V4), Found::NoName);
        assert_eq!(of(none(ResponseCode::NoError), Kind::V4), Found::Empty);
        assert_eq!(of(Err(NetError::Timeout), Kind::V4), Found::Failure);
    }

    #[test]
    fn servers_share_the_time() {
        let file = ResolverFile::parse(
            b"nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\noptions timeout:9",
        );
        let upstream = Hickory::of_file(&file);
        let servers: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53"]);
        assert_eq!(upstream.timeout, Duration::from_secs(2));
        let four = vec![upstream.servers[0]; 4];
        let upstream = Hickory::new(four, Duration::from_secs(9), 9);
        assert_eq!(upstream.timeout, Duration::from_secs(1));
        assert_eq!(upstream.attempts, 3);
        let nobody = Hickory::new(Vec::new(), Duration::from_secs(1), 1);
        assert_eq!(run(nobody.look_up("a.example", Kind::V4)), Found::Failure);
    }
}
