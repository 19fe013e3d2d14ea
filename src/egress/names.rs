// SPDX-License-Identifier: MIT
//! The NameBook: under which names an address was handed out, and until when.
//!
//! Invariant: an address stands under a name only because a lookup of that name, or the hosts file,
//! led to it; memory is bounded, and what is forgotten is denied.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::special::canonical;

/// Most pins made by lookups, pairs of a name and an address.
pub const PINS: usize = 16_384;
/// Most names one address has from lookups. A wildcard rule lets the target make up names without
/// end, and each of them is looked at on every connection to the address.
pub const NAMES_PER_ADDRESS: usize = 256;

/// Most addresses held for the names of denials, and for the aliases of answers that a denial covers:
/// pairs as well. A target can make up aliases, so they never take the place of the others.
pub const HELD: usize = 4096;

/// Addresses and the names they were looked up under. Addresses are kept as
/// [`canonical`] says, names in lower case without trailing dot.
#[derive(Debug, Default)]
pub struct NameBook {
    pins: HashMap<IpAddr, Vec<Pin>>,
    /// Pins that expire, soonest first; the number tells equal times apart.
    expiries: BTreeMap<Expiry, (IpAddr, Rc<str>)>,
    made: u64,
    /// Where the names of denials lead, and the denied aliases of answers.
    denied: [Held; 2],
}

/// Pairs of an address and a name, of which the oldest are forgotten.
#[derive(Debug, Default)]
struct Held {
    names: HashMap<IpAddr, Vec<Rc<str>>>,
    order: VecDeque<(IpAddr, Rc<str>)>,
}

impl Held {
    fn add(&mut self, name: &Rc<str>, address: IpAddr) {
        let names = self.names.entry(address).or_default();
        if names.contains(name) {
            return;
        }
        names.push(Rc::clone(name));
        self.order.push_back((address, Rc::clone(name)));
        if self.order.len() <= HELD {
            return;
        }
        if let Some((address, name)) = self.order.pop_front()
            && let Some(names) = self.names.get_mut(&address)
        {
            names.retain(|one| *one != name);
            if names.is_empty() {
                self.names.remove(&address);
            }
        }
    }
}

/// Where a name that a rule denies was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// In the rule.
    InRule,
    /// As an alias in the answer to another lookup.
    AsAlias,
}

type Expiry = (Instant, u64);

#[derive(Debug)]
struct Pin {
    name: Rc<str>,
    /// None: for ever.
    until: Option<Expiry>,
}

/// One name of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'b> {
    /// Lower case, no trailing dot.
    pub name: &'b str,
    /// Whether the lookup still holds.
    pub fresh: bool,
    /// Whether it holds for the whole run, by the hosts file.
    pub lasting: bool,
}

impl NameBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down that a lookup of `name` led to `addresses` and that this holds until `until`. A
    /// pin already there is prolonged, never shortened. When the book is full, what expires (or
    /// expired) first is forgotten.
    pub fn pin(&mut self, name: &str, addresses: &[IpAddr], until: Instant) {
        let name: Rc<str> = normal(name).into();
        for address in addresses {
            self.pin_one(&name, canonical(*address), until);
        }
    }

    /// Writes down what the hosts file says, for the whole run. Not counted: how much that is
    /// depends on the user's file and rules, not on the target.
    pub fn pin_for_ever(&mut self, name: &str, addresses: &[IpAddr]) {
        let name: Rc<str> = normal(name).into();
        for address in addresses {
            let pins = self.pins.entry(canonical(*address)).or_default();
            match pins.iter_mut().find(|pin| pin.name == name) {
                Some(pin) => {
                    if let Some(expiry) = pin.until.take() {
                        self.expiries.remove(&expiry);
                    }
                }
                None => pins.push(Pin {
                    name: Rc::clone(&name),
                    until: None,
                }),
            }
        }
    }

    /// The names `address` was looked up under, expired ones as well. None for an unspecified
    /// address: whether it stands for this machine depends on the call.
    pub fn names_of(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = Named<'_>> {
        self.pins
            .get(&address.to_canonical())
            .into_iter()
            .flatten()
            .map(move |pin| Named {
                name: &pin.name,
                fresh: pin.until.is_none_or(|(until, _)| now < until),
                lasting: pin.until.is_none(),
            })
    }

    /// Writes down where a name leads that some rule denies. That grants nothing, and holds after the
    /// answer has expired.
    pub fn hold_denied(&mut self, name: &str, addresses: &[IpAddr], met: Met) {
        let name: Rc<str> = normal(name).into();
        let [of_rules, of_aliases] = &mut self.denied;
        let held = match met {
            Met::InRule => of_rules,
            Met::AsAlias => of_aliases,
        };
        for address in addresses {
            held.add(&name, canonical(*address));
        }
    }

    /// The names that some rule denies and that lead to `address`.
    pub fn denied_names_of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let address = address.to_canonical();
        let [of_rules, of_aliases] = &self.denied;
        let of_rules = of_rules.names.get(&address).into_iter().flatten();
        let of_aliases = of_aliases.names.get(&address).into_iter().flatten();
        of_rules.chain(of_aliases).map(AsRef::as_ref)
    }

    /// How many pins expire at some time.
    pub fn expiring(&self) -> usize {
        self.expiries.len()
    }

    fn pin_one(&mut self, name: &Rc<str>, address: IpAddr, until: Instant) {
        self.made += 1;
        let expiry = (until, self.made);
        let pins = self.pins.entry(address).or_default();
        if let Some(pin) = pins.iter_mut().find(|pin| pin.name == *name) {
            match pin.until {
                Some(old) if old.0 < until => {
                    self.expiries.remove(&old);
                    pin.until = Some(expiry);
                    self.expiries.insert(expiry, (address, Rc::clone(name)));
                }
                _ => {}
            }
            return;
        }
        let soonest = pins.iter().filter_map(|pin| pin.until).min();
        let dynamic = pins.iter().filter(|pin| pin.until.is_some()).count();
        if dynamic >= NAMES_PER_ADDRESS {
            if let Some(soonest) = soonest {
                self.forget(soonest);
            }
        } else if self.expiries.len() >= PINS
            && let Some((first, _)) = self.expiries.first_key_value()
        {
            self.forget(*first);
        }
        self.pins.entry(address).or_default().push(Pin {
            name: Rc::clone(name),
            until: Some(expiry),
        });
        self.expiries.insert(expiry, (address, Rc::clone(name)));
    }

    fn forget(&mut self, expiry: Expiry) {
        let Some((address, name)) = self.expiries.remove(&expiry) else {
            return;
        };
        if let Some(pins) = self.pins.get_mut(&address) {
            pins.retain(|pin| pin.name != name);
            if pins.is_empty() {
                self.pins.remove(&address);
            }
        }
    }
}

/// Lower case, no trailing dot.
pub(super) fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn place(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap()))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn names(book: &NameBook, of: &str, now: Instant) -> Vec<String> {
        let mark = |named: Named<'_>| {
            let sign = if named.fresh { "+" } else { "-" };
            format!("{sign}{}", named.name)
        };
        book.names_of(address(of), now).map(mark).collect()
    }

    #[test]
    fn pins_expire_and_are_prolonged() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut book = NameBook::new();
        book.pin("A.Example.", &[address("1.1.1.1")], now + second);
        assert_eq!(names(&book, "1.1.1.1", now), ["+a.example"]);
        assert_eq!(names(&book, "1.1.1.1", now + second), ["-a.example"]);
        assert_eq!(names(&book, "1.1.1.2", now), [""; 0]);
        book.pin("a.example", &[address("1.1.1.1")], now + 3 * second);
        book.pin("a.example", &[address("1.1.1.1")], now + 2 * second);
        assert_eq!(names(&book, "1.1.1.1", now + 2 * second), ["+a.example"]);
        assert_eq!(book.expiring(), 1);
    }

    #[test]
    fn forms_of_an_address_are_one() {
        let now = Instant::now();
        let mut book = NameBook::new();
        book.pin_for_ever("a", &[address("::ffff:1.1.1.1"), address("0.0.0.0")]);
        assert_eq!(names(&book, "1.1.1.1", now), ["+a"]);
        assert_eq!(names(&book, "127.0.0.1", now), ["+a"]);
    }

    #[test]
    fn pins_of_the_hosts_file_stay() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9999);
        let mut book = NameBook::new();
        book.pin("a", &[address("1.1.1.1")], now);
        book.pin_for_ever("a", &[address("1.1.1.1")]);
        book.pin("a", &[address("1.1.1.1")], now);
        assert_eq!(names(&book, "1.1.1.1", later), ["+a"]);
        assert_eq!(book.expiring(), 0);
        for number in 0..=PINS {
            book.pin("b", &[place(number)], later);
        }
        assert_eq!(names(&book, "1.1.1.1", later), ["+a"]);
        assert_eq!(book.expiring(), PINS);
    }

    #[test]
    fn the_soonest_goes_first() {
        let now = Instant::now();
        let mut book = NameBook::new();
        for number in 0..PINS {
            let seconds = if number == 77 { 1 } else { 2 + number as u64 };
            book.pin("b", &[place(number)], now + Duration::from_secs(seconds));
        }
        assert_eq!(names(&book, "10.0.0.77", now), ["+b"]);
        book.pin("c", &[address("1.1.1.1")], now + Duration::from_secs(9));
        assert_eq!(names(&book, "10.0.0.77", now), [""; 0]);
        assert_eq!(names(&book, "10.0.0.0", now), ["+b"]);
        assert_eq!(names(&book, "1.1.1.1", now), ["+c"]);
    }

    #[test]
    fn made_up_names_do_not_pile_up() {
        let now = Instant::now();
        let mut book = NameBook::new();
        book.pin_for_ever("kept", &[address("1.1.1.1")]);
        for number in 0..1000 {
            let until = now + Duration::from_secs(number);
            book.pin(&format!("x{number}.a"), &[address("1.1.1.1")], until);
        }
        let left = names(&book, "1.1.1.1", now);
        assert_eq!(left.len(), NAMES_PER_ADDRESS + 1);
        assert_eq!(left.first().map(String::as_str), Some("+kept"));
        assert_eq!(left.last().map(String::as_str), Some("+x999.a"));
    }

    #[test]
    fn where_denied_names_lead_is_kept_apart() {
        let now = Instant::now();
        let mut book = NameBook::new();
        let of = |book: &NameBook, text: &str| -> Vec<String> {
            let names = book.denied_names_of(address(text));
            names.map(str::to_owned).collect()
        };
        book.hold_denied("Evil.", &[address("::ffff:1.1.1.1")], Met::InRule);
        book.hold_denied("evil", &[address("1.1.1.1")], Met::InRule);
        assert_eq!(of(&book, "1.1.1.1"), ["evil"]);
        assert_eq!(of(&book, "1.1.1.2"), [""; 0]);
        // It grants nothing.
        assert_eq!(names(&book, "1.1.1.1", now), [""; 0]);
        for number in 0..=HELD {
            book.hold_denied(&format!("x{number}"), &[place(number)], Met::AsAlias);
            book.pin("b", &[place(number)], now);
        }
        assert_eq!(of(&book, "1.1.1.1"), ["evil"]);
        assert_eq!(of(&book, "10.0.0.0"), [""; 0]);
        assert_eq!(of(&book, "10.0.0.1"), ["x1"]);
    }

    proptest! {
        #[test]
        fn no_name_answers_for_an_address_it_was_not_pinned_to(
            steps in proptest::collection::vec((0..20_u8, 0..300_usize, 0..50_u64, any::<bool>()), 0..400)
        ) {
            let now = Instant::now();
            let mut book = NameBook::new();
            let mut pinned = HashSet::new();
            for (name, number, seconds, ever) in steps {
                let name = format!("n{name}");
                if ever {
                    book.pin_for_ever(&name, &[place(number)]);
                } else {
                    book.pin(&name, &[place(number)], now + Duration::from_secs(seconds));
                }
                pinned.insert((name, number));
            }
            prop_assert!(book.expiring() <= PINS);
            for number in 0..300 {
                for named in book.names_of(place(number), now) {
                    prop_assert!(pinned.contains(&(named.name.to_owned(), number)));
                }
            }
            let counted = book.pins.values().flatten().filter(|pin| pin.until.is_some()).count();
            prop_assert_eq!(counted, book.expiring());
        }
    }
}
