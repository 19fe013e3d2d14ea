// SPDX-License-Identifier: MIT
//! Denials as events: what was asked for, by whom, which rule came nearest, what would allow it.
//!
//! Invariant: an event is made for every call and lookup the supervisor denies, before the answer
//! goes out; nothing here prints.
#![forbid(unsafe_code)]

pub mod json;
pub mod report;
pub mod summary;

use std::cell::Cell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use crate::policy::Origin;

/// One denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// The process that asked; none when that is not known (a lookup by a forwarded query).
    pub pid: Option<i32>,
    /// The name of its program, as the kernel shows it.
    pub program: Option<String>,
    /// What it wanted to do.
    pub action: Action,
    /// The name it asked for, or the names its address was looked up under.
    pub names: Vec<String>,
    /// The address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
    /// The socket or file.
    pub path: Option<PathBuf>,
    /// Why it was denied, as a half sentence: `no rule names it`.
    pub reason: String,
    /// The rule that denied it or came nearest to allowing it.
    pub nearest: Option<Origin>,
    /// The flag or entry that would allow it; none when nothing can.
    pub allow_with: Option<String>,
}

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Connecting a socket.
    Connect,
    /// Binding or listening.
    Listen,
    /// Sending a datagram to an address.
    Send,
    /// Looking a name up.
    Resolve,
    /// What was said on a checked connection: another server name, another Host, no TLS.
    Relay,
    /// Changing modes, owners, times, attributes.
    Change,
    /// Writing to something protected: opening, making, renaming, removing.
    Write,
}

/// Where events go.
pub trait Sink {
    /// Takes one denial.
    fn denied(&mut self, event: Event);
    /// Takes one connection that was granted and begun.
    fn contacted(&mut self, _contact: Contact) {}
}

/// One granted connection.
#[derive(Debug, Clone)]
pub struct Contact {
    /// The names the address was looked up under, or the name that is checked.
    pub names: Vec<String>,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What was carried; none where the program's own socket is connected, which nobody counts.
    pub traffic: Option<Rc<Traffic>>,
}

/// Bytes that a relay carried so far.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the program.
    pub sent: Cell<u64>,
    /// To the program.
    pub received: Cell<u64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Action, Event};
    use crate::policy::Origin;

    /// An ordinary denial.
    pub(crate) fn event() -> Event {
        Event {
            time: UNIX_EPOCH + Duration::from_millis(1_772_323_200_250),
            pid: Some(12),
            program: Some("curl".to_owned()),
            action: Action::Connect,
            names: vec!["api.x".to_owned()],
            address: Some([203, 0, 113, 7].into()),
            port: Some(443),
            path: None,
            reason: "no rule names it".to_owned(),
            nearest: Some(Origin::flag("--allow-net", Some("api.y"))),
            allow_with: Some("--allow-net=api.x:443".to_owned()),
        }
    }
}
