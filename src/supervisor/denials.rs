// SPDX-License-Identifier: MIT
//! From a denial to an event and an error number.
//!
//! Invariant: the event goes out before the answer does.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use nix::errno::Errno;

use super::Shared;
use super::caller::Caller;
use crate::audit::{Action, Contact, Event, Traffic};
use crate::egress::dns::Asker;
use crate::egress::proxy::Proxy;
use crate::egress::rules::Denial;

/// What a denied call was about.
#[derive(Debug, Clone)]
pub(super) enum Sought {
    /// A peer or a listener.
    Address(SocketAddr),
    /// A socket or a file.
    Path(PathBuf),
}

impl Caller {
    /// Reports a denial; EACCES is what Deno and Node turn into their permission errors.
    pub(super) fn deny(&self, action: Action, sought: &Sought, denial: Denial) -> Errno {
        let (address, path) = match sought {
            Sought::Address(address) => (Some(*address), None),
            Sought::Path(path) => (None, Some(path.clone())),
        };
        self.report(Event {
            time: SystemTime::now(),
            pid: Some(self.thread()),
            program: self.program(),
            action,
            names: denial.names,
            address: address.and_then(|address| self.shared.shown(address)),
            port: address.map(|address| address.port()),
            path,
            reason: denial.reason,
            nearest: denial.nearest,
            allow_with: denial.allow_with,
        });
        Errno::EACCES
    }

    /// Reports that a granted connection was ended, or could not be made, on the way.
    pub(super) fn refused(
        &self,
        names: Vec<String>,
        address: SocketAddr,
        reason: String,
        allow_with: Option<String>,
    ) {
        self.report(Event {
            time: SystemTime::now(),
            pid: Some(self.thread()),
            program: self.program(),
            action: Action::Relay,
            names,
            address: self.shared.shown(address),
            port: Some(address.port()),
            path: None,
            reason,
            nearest: None,
            allow_with,
        });
    }

    pub(super) fn report(&self, event: Event) {
        self.shared.sink.borrow_mut().denied(event);
    }

    /// Who asks, for lookups.
    pub(super) fn asker(&self) -> Asker {
        Asker {
            pid: Some(self.thread()),
            program: self.program(),
        }
    }
}

impl Shared {
    /// Tells of a granted connection.
    pub(super) fn contacted(
        &self,
        names: Vec<String>,
        address: SocketAddr,
        traffic: Option<Rc<Traffic>>,
    ) {
        self.sink.borrow_mut().contacted(Contact {
            names,
            address: address.ip().to_canonical(),
            port: address.port(),
            traffic,
        });
    }

    /// The names an address was looked up under.
    pub(super) fn known_names(&self, address: SocketAddr) -> Vec<String> {
        let book = self.book.borrow();
        let names = book.names_of(address.ip(), Instant::now());
        names.map(|named| named.name.to_string()).collect()
    }

    /// An address as events show it; none where it only stands for a name.
    fn shown(&self, address: SocketAddr) -> Option<IpAddr> {
        let stands_for_name = |proxy: &Rc<Proxy>| proxy.is_handed_out(address.ip());
        (!self.proxy.as_ref().is_some_and(stands_for_name)).then(|| address.ip().to_canonical())
    }

    /// Datagrams to an address that was not connected to.
    pub(super) fn datagram_denial() -> Denial {
        Denial {
            reason: "datagrams reach only a connected peer that an address rule grants".to_owned(),
            nearest: None,
            names: Vec::new(),
            allow_with: Some("--allow-net".to_owned()),
        }
    }
}
