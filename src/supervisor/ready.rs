// SPDX-License-Identifier: MIT
//! Telling a service manager that the program listens (sd_notify(3)).
//!
//! Invariant: told once, without waiting for anybody.

use std::cell::RefCell;
use std::os::unix::net::UnixDatagram;

/// A place to tell READY=1 at, connected already: behind the walls none is opened.
#[derive(Debug)]
pub struct Ready(RefCell<Option<UnixDatagram>>);

impl Ready {
    /// A socket that does not wait, connected to the service manager's.
    pub fn new(socket: UnixDatagram) -> Self {
        Self(RefCell::new(Some(socket)))
    }

    /// Tells it, the first time. A service manager that does not take it notices by itself that
    /// nothing was told.
    pub fn tell(&self) {
        if let Some(socket) = self.0.borrow_mut().take() {
            let _ = socket.send(b"READY=1\n");
        }
    }
}
