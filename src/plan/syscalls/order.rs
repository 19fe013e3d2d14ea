// SPDX-License-Identifier: MIT
//! The calls of all lists in the order of their numbers.
//!
//! Invariant: every call that an architecture has is in its order once. Sorted by the compiler: the
//! order is the same for every Plan, and each start would pay for it.

use super::{Architecture, Call, Group, allowed, conditional, files, refused};

/// A call of the lists.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) number: u32,
    /// Index into [`groups`].
    pub(super) group: usize,
    /// Index into the calls of that group.
    pub(super) call: usize,
}

const LISTS: [&[Group]; 4] = [
    allowed::ALLOWED,
    refused::REFUSED,
    files::FILES,
    conditional::CONDITIONAL,
];

/// Room for all calls; the compiler says when it is not enough.
const MOST: usize = 512;

static X86_64: Order = Order::new(Architecture::X86_64);
static AARCH64: Order = Order::new(Architecture::Aarch64);

/// The groups of all lists.
pub(super) fn groups() -> impl Iterator<Item = &'static Group> {
    LISTS.into_iter().flatten()
}

/// The calls of an architecture, by number.
pub(super) fn of(architecture: Architecture) -> &'static [Place] {
    let order = match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::Aarch64 => &AARCH64,
    };
    &order.places[..order.count]
}

struct Order {
    places: [Place; MOST],
    count: usize,
}

impl Order {
    /// Loops over indices are what a constant function has.
    const fn new(architecture: Architecture) -> Self {
        let nowhere = Place {
            number: 0,
            group: 0,
            call: 0,
        };
        let mut order = Self {
            places: [nowhere; MOST],
            count: 0,
        };
        let mut before = 0;
        let mut list = 0;
        while list < LISTS.len() {
            let groups = LISTS[list];
            let mut group = 0;
            while group < groups.len() {
                let mut call = 0;
                while call < groups[group].calls.len() {
                    if let Some(number) = number(&groups[group].calls[call], architecture) {
                        order.insert(Place {
                            number,
                            group: before + group,
                            call,
                        });
                    }
                    call += 1;
                }
                group += 1;
            }
            before += groups.len();
            list += 1;
        }
        order
    }

    const fn insert(&mut self, place: Place) {
        let mut hole = self.count;
        while hole > 0 && self.places[hole - 1].number > place.number {
            self.places[hole] = self.places[hole - 1];
            hole -= 1;
        }
        self.places[hole] = place;
        self.count += 1;
    }
}

const fn number(call: &Call, architecture: Architecture) -> Option<u32> {
    match architecture {
        Architecture::X86_64 => call.1,
        Architecture::Aarch64 => call.2,
    }
}
