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

static X86_64: [Place; count(Architecture::X86_64)] = sorted(Architecture::X86_64);
static AARCH64: [Place; count(Architecture::Aarch64)] = sorted(Architecture::Aarch64);

/// The groups of all lists.
pub(super) fn groups() -> impl Iterator<Item = &'static Group> {
    LISTS.into_iter().flatten()
}

/// The calls of an architecture, by number.
pub(super) fn of(architecture: Architecture) -> &'static [Place] {
    match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::Aarch64 => &AARCH64,
    }
}

const fn number(call: &Call, architecture: Architecture) -> Option<u32> {
    match architecture {
        Architecture::X86_64 => call.1,
        Architecture::Aarch64 => call.2,
    }
}

const fn count(architecture: Architecture) -> usize {
    let mut count = 0;
    let mut list = 0;
    while list < LISTS.len() {
        let mut group = 0;
        while group < LISTS[list].len() {
            let calls = LISTS[list][group].calls;
            let mut call = 0;
            while call < calls.len() {
                if number(&calls[call], architecture).is_some() {
                    count += 1;
                }
                call += 1;
            }
            group += 1;
        }
        list += 1;
    }
    count
}

/// By insertion; loops over indices are what a constant function has.
const fn sorted<const COUNT: usize>(architecture: Architecture) -> [Place; COUNT] {
    let mut places = [Place {
        number: 0,
        group: 0,
        call: 0,
    }; COUNT];
    let mut filled = 0;
    let mut before = 0;
    let mut list = 0;
    while list < LISTS.len() {
        let mut group = 0;
        while group < LISTS[list].len() {
            let calls = LISTS[list][group].calls;
            let mut call = 0;
            while call < calls.len() {
                if let Some(number) = number(&calls[call], architecture) {
                    let mut hole = filled;
                    while hole > 0 && places[hole - 1].number > number {
                        places[hole] = places[hole - 1];
                        hole -= 1;
                    }
                    places[hole] = Place {
                        number,
                        group: before + group,
                        call,
                    };
                    filled += 1;
                }
                call += 1;
            }
            group += 1;
        }
        before += LISTS[list].len();
        list += 1;
    }
    places
}
