// SPDX-License-Identifier: MIT
//! The terminal as the target found it, to put it back when the target could not.
//!
//! Invariant: nothing is changed unless Stockade's process group was in the foreground when it
//! started.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// Whether standard output and standard error are terminals, in this order.
pub fn standard_terminals() -> (bool, bool) {
    (io::stdout().is_terminal(), io::stderr().is_terminal())
}

/// Settings of the controlling terminal.
#[derive(Debug)]
pub struct SavedTerminal {
    terminal: OwnedFd,
    settings: Termios,
    group: Pid,
}

impl SavedTerminal {
    /// Remembers the terminal of the first standard stream that is one, when this process group
    /// is its foreground group.
    pub fn save() -> Option<Self> {
        let terminal = [
            io::stdin().as_fd().try_clone_to_owned(),
            io::stdout().as_fd().try_clone_to_owned(),
            io::stderr().as_fd().try_clone_to_owned(),
        ]
        .into_iter()
        .flatten()
        .find(IsTerminal::is_terminal)?;
        let group = getpgrp();
        if tcgetpgrp(&terminal).ok()? != group {
            return None;
        }
        let settings = tcgetattr(&terminal).ok()?;
        Some(Self {
            terminal,
            settings,
            group,
        })
    }

    /// Puts the settings and the foreground group back; best effort. SIGTTOU must be blocked:
    /// then a process that is in the background by now may do this (tcsetattr(3)).
    pub fn restore(&self) {
        let foreground = tcgetpgrp(&self.terminal);
        let abandoned = match foreground {
            Ok(group) if group == self.group => false,
            // Another group with a living process is another job: leave its terminal alone.
            Ok(group) => nix::sys::signal::killpg(group, None).is_err(),
            Err(_) => return,
        };
        if abandoned && tcsetpgrp(&self.terminal, self.group).is_err() {
            return;
        }
        if abandoned || foreground == Ok(self.group) {
            let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.settings);
        }
    }
}
