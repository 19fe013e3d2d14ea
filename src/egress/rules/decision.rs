// SPDX-License-Identifier: MIT
//! What is asked of the rules, and what they answer.
//!
//! Invariant: plain values; every denial says why, and what would have granted it if anything can.

use std::net::IpAddr;

use crate::policy::Origin;

/// What a call wants of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Connecting a stream.
    Connect,
    /// Connecting a datagram socket, or sending to an address.
    Datagram,
    /// Binding or listening.
    Listen,
}

/// A call to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What for.
    pub operation: Operation,
    /// The address as the caller gave it.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// What is checked on a relayed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The `Host` of every HTTP request.
    HttpHost,
    /// The server name of the TLS ClientHello.
    ServerName,
}

/// What is to be done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Perform it.
    Direct {
        /// The rule that grants it.
        origin: Origin,
    },
    /// Relay the connection, and check what is said on it.
    Verified {
        /// What to check.
        check: Check,
        /// The names it may say: every granted one the address is known under.
        names: Vec<String>,
        /// The rule that grants it.
        origin: Origin,
    },
    /// The address is known under granted names, but all the lookups have expired: look them up
    /// again and decide again. The second time this is [`super::Rules::expired`].
    Stale {
        /// The names.
        names: Vec<String>,
    },
    /// Refuse it.
    Denied(Denial),
}

/// Whether a name may be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameVerdict {
    /// It may, for some port.
    Granted,
    /// It may not.
    Denied(Denial),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// A half sentence: `no rule names it`.
    pub reason: String,
    /// The rule that denies it or came nearest to granting it.
    pub nearest: Option<Origin>,
    /// The name asked for, or those the address is known under.
    pub names: Vec<String>,
    /// The flag that would grant it, to be typed as it stands; none when no grant can.
    pub allow_with: Option<String>,
}
