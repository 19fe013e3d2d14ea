// SPDX-License-Identifier: MIT
//! Answers the target's DNS queries.
//!
//! Invariant: an address is in the NameBook before it is in an answer; a name no rule grants costs
//! no packet; every query ends within the time limit.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::OnceCell;

use super::denied::Denied;
use super::message::{Answer, Judged, Kind, TCP_LIMIT, judge};
use super::upstream::{Found, Upstream};
use crate::audit::{Action, Event, Sink};
use crate::egress::hosts::Hosts;
use crate::egress::names::{Met, NameBook};
use crate::egress::rules::{Denial, NameVerdict, Rules};

/// Seconds an answer may be kept by the target: at least one, since zero makes some resolvers ask
/// again for the same connection, at most five minutes, since it learns of no change before.
const KEPT: (u32, u32) = (1, 300);
/// How long a pin outlives the answer, for callers that take their time or try one address after
/// the other.
const GRACE: Duration = Duration::from_secs(60);
/// Most addresses in one answer.
const ADDRESSES: usize = 128;
/// Most names in one reverse answer, and most names looked up again for one connection.
const NAMES: usize = 16;
/// Most aliases of one answer whose addresses are written down.
const ALIASES: usize = 32;
/// Most refused addresses reported of one answer.
const REPORTED: usize = 4;
/// Seconds a reverse answer may be kept.
const REVERSE_KEPT: u32 = 60;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The process, if known.
    pub pid: Option<i32>,
    /// Its program, as the kernel shows it.
    pub program: Option<String>,
}

/// How a query came, which decides how long its reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram, or a message of a packet socket in a datagram socket's place.
    Udp,
    /// A stream.
    Tcp,
}

/// What the filter takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time until a query is answered, with a failure if need be. Less than the five seconds
    /// after which libc asks again.
    pub time: Duration,
    /// Most lookups at once; further queries fail.
    pub lookups: usize,
    /// Most queries waiting for lookups at once.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(4500),
            lookups: 256,
            waiting: 1024,
        }
    }
}

/// The filter. One thread; shared by `Rc`.
pub struct Filter {
    pub(super) rules: Rc<Rules>,
    book: Rc<RefCell<NameBook>>,
    pub(super) hosts: Hosts,
    pub(super) upstream: Box<dyn Upstream>,
    pub(super) denied: Denied,
    sink: Rc<RefCell<dyn Sink>>,
    limits: Limits,
    ipv6: bool,
    flights: RefCell<HashMap<Key, Flight>>,
    waiting: Cell<usize>,
}

type Key = (String, Kind);
type Flight = Rc<OnceCell<Rc<Outcome>>>;

/// A lookup that is done: pinned, and what was left out of it.
#[derive(Debug)]
struct Outcome {
    found: Found,
    refused: Vec<(Option<IpAddr>, Denial)>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Filter")
            .field("limits", &self.limits)
            .field("flights", &self.flights.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Filter {
    /// A filter over `rules`. Pins the names of the hosts file that the rules speak of.
    pub fn new(
        rules: Rc<Rules>,
        book: Rc<RefCell<NameBook>>,
        hosts: Hosts,
        upstream: Box<dyn Upstream>,
        sink: Rc<RefCell<dyn Sink>>,
    ) -> Self {
        hosts.pin(&rules, &mut book.borrow_mut());
        Self {
            denied: Denied::new(&rules),
            rules,
            book,
            hosts,
            upstream,
            sink,
            limits: Limits::default(),
            ipv6: true,
            flights: RefCell::default(),
            waiting: Cell::new(0),
        }
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the host has an IPv6 route. Without one, callers that do not sort what they get would
    /// try unreachable addresses first, so names have no AAAA records then.
    #[must_use]
    pub fn with_ipv6(mut self, ipv6: bool) -> Self {
        self.ipv6 = ipv6;
        self
    }

    /// The reply to one query; none where silence is the reply.
    pub async fn answer(
        &self,
        query: &[u8],
        asker: &Asker,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let judged = judge(query, |name| self.rules.name(name));
        let (question, outcome) = match judged {
            Judged::Drop => return None,
            Judged::Malformed(reply) => return Some(reply),
            Judged::Refused(question, code) => return question.refusal(code),
            Judged::Denied { question, denial } => {
                // libc trying a granted name in its search list is nobody's attempt at anything.
                let name = question.name();
                let granted = |stem| self.rules.name(stem) == NameVerdict::Granted;
                if !self.rules.search().stems(&name).any(granted) {
                    self.report(asker, None, denial);
                }
                return question.reply(Answer::NoName, TCP_LIMIT);
            }
            Judged::Empty(question) => return question.reply(Answer::Empty, TCP_LIMIT),
            Judged::Reverse { question, address } => {
                let names = self.names_of(address);
                if names.is_empty() {
                    let name = question.name();
                    self.report(asker, Some(address), nobody_looked_up(name));
                    return question.reply(Answer::NoName, TCP_LIMIT);
                }
                let answer = Answer::Names(&names, REVERSE_KEPT);
                let limit = limit(transport, question.udp_limit());
                return question.reply(answer, limit);
            }
            Judged::Lookup {
                question,
                name,
                kind,
            } => (question, self.look_up(&name, kind).await),
        };
        let answer = match outcome.as_deref() {
            None => Answer::Failure,
            Some(outcome) => {
                for (address, denial) in outcome.refused.iter().take(REPORTED) {
                    self.report(asker, *address, denial.clone());
                }
                match &outcome.found {
                    Found::Addresses(addresses, seconds, _) => {
                        Answer::Addresses(addresses, *seconds)
                    }
                    Found::Empty => Answer::Empty,
                    Found::NoName => Answer::NoName,
                    Found::Failure => Answer::Failure,
                }
            }
        };
        question.reply(answer, limit(transport, question.udp_limit()))
    }

    /// Looks `names` up again, for [`Decision::Stale`](crate::egress::rules::Decision::Stale). What
    /// is still in an answer is fresh in the book afterwards. Names that are not granted are left
    /// out; takes no longer than one query.
    pub async fn refresh(&self, names: &[String]) {
        let mut lookups = Vec::new();
        for name in names.iter().take(NAMES) {
            if self.rules.name(name) != NameVerdict::Granted {
                continue;
            }
            for kind in [Kind::V4, Kind::V6] {
                lookups.push(async move {
                    self.look_up(name, kind).await;
                });
            }
        }
        all_of(lookups).await;
    }

    /// One lookup, shared with whoever asks for the same at the same time. None: no time, no room.
    async fn look_up(&self, name: &str, kind: Kind) -> Option<Rc<Outcome>> {
        let key = (name.to_owned(), kind);
        let waiting = Waiting::of(self, &key)?;
        let lookup = waiting
            .flight
            .get_or_init(|| async { Rc::new(self.resolve(name, kind).await) });
        // When this caller's time is over but others wait, one of them starts again.
        let outcome = tokio::time::timeout(self.limits.time, lookup).await;
        outcome.ok().cloned()
    }

    async fn resolve(&self, name: &str, kind: Kind) -> Outcome {
        if let Some(addresses) = self.hosts.addresses(name) {
            let addresses = addresses.iter().copied().filter(|one| kind.fits(*one));
            let admits = |address| self.rules.admits_from_hosts(name, address);
            return self.admitted(name, name, addresses.collect(), KEPT.1, admits);
        }
        let mut end = Found::NoName;
        if kind == Kind::V6 && !self.ipv6 {
            end = Found::Empty;
        } else {
            for long in self.searched(name) {
                match self.upstream.look_up(&long, kind).await {
                    Found::Addresses(addresses, seconds, aliases) => {
                        if let Err(denial) = self.admits_aliases(name, &addresses, &aliases) {
                            return Outcome {
                                found: Found::NoName,
                                refused: vec![(None, denial)],
                            };
                        }
                        let admits = |address| self.rules.admits(name, address);
                        return self.admitted(name, &long, addresses, seconds, admits);
                    }
                    // A failure may hide an answer, and an empty answer is one.
                    Found::Failure => end = Found::Failure,
                    Found::Empty if end == Found::NoName => end = Found::Empty,
                    Found::Empty | Found::NoName => {}
                }
            }
        }
        Outcome {
            found: end,
            refused: Vec::new(),
        }
    }

    /// Whether no rule denies the way an answer took. Where denied aliases lead is written down, also
    /// for denials of single ports.
    fn admits_aliases(
        &self,
        name: &str,
        addresses: &[IpAddr],
        aliases: &[String],
    ) -> Result<(), Denial> {
        for alias in aliases.iter().take(ALIASES) {
            if self.rules.denies_some_port(alias) {
                self.hold_denied(alias, addresses.to_vec(), Met::AsAlias);
            }
        }
        aliases
            .iter()
            .try_for_each(|alias| self.rules.admits_alias(name, alias))
    }

    /// Writes down where a denied name leads.
    pub(super) fn hold_denied(&self, name: &str, mut addresses: Vec<IpAddr>, met: Met) {
        addresses.retain(|address| self.rules.denial_holds(name, *address));
        addresses.truncate(ADDRESSES);
        self.book.borrow_mut().hold_denied(name, &addresses, met);
    }

    /// Which addresses are of use on this host.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let ipv6 = self.ipv6.then_some(Kind::V6);
        std::iter::once(Kind::V4).chain(ipv6)
    }

    /// The full names to look up for `name`. Only a single label is completed: whoever asks for more
    /// has been through the search list already.
    fn searched(&self, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        if !name.contains('.') {
            let granted = |name: &String| self.rules.name(name) == NameVerdict::Granted;
            names.extend(self.rules.search().within_domains(name).filter(granted));
        }
        if names.is_empty() || self.rules.grants_itself(name) {
            names.push(name.to_owned());
        }
        names
    }

    /// Leaves out what `name` may not lead to, and pins the rest under every form of the name.
    fn admitted(
        &self,
        name: &str,
        long: &str,
        addresses: Vec<IpAddr>,
        seconds: u32,
        admits: impl Fn(IpAddr) -> Result<(), Denial>,
    ) -> Outcome {
        let seconds = seconds.clamp(KEPT.0, KEPT.1);
        let mut refused = Vec::new();
        let mut admitted = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES) {
            match admits(address) {
                Ok(()) => admitted.push(address),
                Err(denial) => refused.push((Some(address), denial)),
            }
        }
        let until = Instant::now() + Duration::from_secs(seconds.into()) + GRACE;
        let mut book = self.book.borrow_mut();
        for form in [name, long]
            .into_iter()
            .chain(self.rules.search().without_domains(long))
        {
            book.pin(form, &admitted, until);
        }
        let found = if admitted.is_empty() {
            Found::Empty
        } else {
            Found::Addresses(admitted, seconds, Vec::new())
        };
        Outcome { found, refused }
    }

    /// The granted names of an address the target has been given.
    fn names_of(&self, address: IpAddr) -> Vec<String> {
        let localhost = match address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => address.is_loopback(),
        };
        if localhost {
            return vec!["localhost".to_owned()];
        }
        let book = self.book.borrow();
        book.names_of(address, Instant::now())
            .filter(|named| self.rules.name(named.name) == NameVerdict::Granted)
            .map(|named| named.name.to_owned())
            .take(NAMES)
            .collect()
    }

    fn report(&self, asker: &Asker, address: Option<IpAddr>, denial: Denial) {
        let Asker { pid, program } = asker.clone();
        self.sink.borrow_mut().denied(Event {
            time: SystemTime::now(),
            pid,
            program,
            action: Action::Resolve,
            names: denial.names,
            address,
            port: None,
            path: None,
            reason: denial.reason,
            nearest: denial.nearest,
            allow_with: denial.allow_with,
        });
    }
}

/// Waits for all of `lookups` at once.
pub(super) async fn all_of(lookups: Vec<impl Future<Output = ()>>) {
    let mut lookups: Vec<Pin<Box<_>>> = lookups.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        lookups.retain_mut(|lookup| lookup.as_mut().poll(context).is_pending());
        if lookups.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn limit(transport: Transport, udp: usize) -> usize {
    match transport {
        Transport::Udp => udp,
        Transport::Tcp => TCP_LIMIT,
    }
}

fn nobody_looked_up(name: String) -> Denial {
    Denial {
        reason: "no granted name leads to that address".to_owned(),
        nearest: None,
        names: vec![name],
        allow_with: None,
    }
}

/// A query that waits for a lookup; leaves no trace when it is dropped.
struct Waiting<'f> {
    filter: &'f Filter,
    key: &'f Key,
    flight: Flight,
}

impl<'f> Waiting<'f> {
    fn of(filter: &'f Filter, key: &'f Key) -> Option<Self> {
        let waiting = filter.waiting.get();
        if waiting >= filter.limits.waiting {
            return None;
        }
        let mut flights = filter.flights.borrow_mut();
        let under_way = flights.len();
        let flight = match flights.get(key) {
            Some(flight) => Rc::clone(flight),
            None if under_way >= filter.limits.lookups => return None,
            None => Rc::clone(flights.entry(key.clone()).or_default()),
        };
        filter.waiting.set(waiting + 1);
        Some(Self {
            filter,
            key,
            flight,
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = self.filter.waiting.get();
        self.filter.waiting.set(waiting.saturating_sub(1));
        let mut flights = self.filter.flights.borrow_mut();
        // Done, or nobody else (this one and the map) is left to do it.
        let over = self.flight.initialized() || Rc::strong_count(&self.flight) <= 2;
        let same = flights
            .get(self.key)
            .is_some_and(|flight| Rc::ptr_eq(flight, &self.flight));
        if over && same {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
pub(super) mod tests;
