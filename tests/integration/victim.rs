// SPDX-License-Identifier: MIT
//! A process outside the sandbox that a target must not touch.
//!
//! Invariant: it ends with its test.

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process outside the sandbox that must not be touched: it sleeps, with a secret in its
/// environment and a secret file open as descriptor 0, in a process group of its own.
#[derive(Debug)]
pub(crate) struct Victim {
    child: Child,
}

impl Victim {
    /// Starts one.
    pub(crate) fn start(secret: &str) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(secret.as_bytes()).unwrap();
        let child = Command::new("sleep")
            .arg("600")
            .env_clear()
            .env("VICTIM_SECRET", secret)
            .stdin(file)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sleep is needed by these tests");
        Self { child }
    }

    /// Its process identifier.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether nothing has ended it.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
