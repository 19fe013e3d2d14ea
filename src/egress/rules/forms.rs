// SPDX-License-Identifier: MIT
//! The other spellings of an address.
//!
//! Invariant: a denial sees every form, a grant only those that are certainly the same place.

use std::net::{IpAddr, Ipv4Addr};

use super::decision::Operation;
use crate::egress::special::{canonical, embedded};

/// What an address stands for.
pub(super) struct Forms {
    /// As given, a v4-mapped one as IPv4.
    pub(super) given: IpAddr,
    /// Where the kernel takes it.
    pub(super) target: IpAddr,
    /// What a translator may make of it: counts for denials only.
    pub(super) translated: Vec<Ipv4Addr>,
}

impl Forms {
    /// A grant of either is a grant.
    pub(super) fn granted(&self) -> impl Iterator<Item = IpAddr> {
        let other = (self.target != self.given).then_some(self.target);
        std::iter::once(self.given).chain(other)
    }

    pub(super) fn denied(&self) -> impl Iterator<Item = IpAddr> {
        self.granted()
            .chain(self.translated.iter().copied().map(IpAddr::V4))
    }
}

/// A listener on `0.0.0.0` is one on every interface, not one on `127.0.0.1`.
pub(super) fn forms_of(address: IpAddr, operation: Operation) -> Forms {
    let given = address.to_canonical();
    let target = match operation {
        Operation::Listen => given,
        Operation::Connect | Operation::Datagram => canonical(given),
    };
    Forms {
        given,
        target,
        translated: embedded(given),
    }
}
