// SPDX-License-Identifier: MIT
//! A user's home that an attack goes for: it writes a startup file, plants a git hook, reads a key and
//! connects out.
//!
//! Invariant: whatever the attack does, it does to a directory and a listener of the test.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{Outcome, Project};

const KEY: &str = "PRIVATE-KEY-OF-THE-DECOY";

/// The home and the listener.
#[derive(Debug)]
pub(super) struct Decoy {
    home: Project,
    listener: TcpListener,
}

impl Decoy {
    pub(super) fn new() -> Self {
        let home = Project::new()
            .file(".bashrc", "# as it was\n")
            .file(".ssh/id_decoy", KEY)
            .file("work/.git/hooks/README", "none\n");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { home, listener }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        self.home.directory().to_str().unwrap()
    }

    /// The attack, for `bash`. Every step says what became of it, and none stops the others.
    pub(super) fn attack(&self) -> String {
        let home = self.path();
        let port = self.listener.local_addr().unwrap().port();
        format!(
            "#!/bin/bash\n\
             echo attack begins\n\
             echo owned >> {home}/.bashrc && echo startup file written\n\
             echo owned > {home}/work/.git/hooks/pre-commit && echo hook planted\n\
             cat {home}/.ssh/id_decoy\n\
             (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo connected out\n\
             exit 0\n"
        )
    }

    /// Writes a file of the home.
    pub(super) fn write(&self, name: &str, content: &str) {
        self.home.write(name, content);
    }

    /// Flags that grant everything, the startup file and what else is protected by name.
    pub(super) fn everything(&self, protected: &[&str]) -> Vec<String> {
        let startup = format!("{}/.bashrc", self.path());
        let named = [&[startup.as_str()], protected].concat().join(",");
        ["-R", "-W", "-N", "-E", "-S", "--allow-run"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--allow-write={named}")])
            .collect()
    }

    fn was_connected(&self) -> bool {
        match self.listener.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Nothing of the attack worked. `log` is a file the attack's output went to.
    #[track_caller]
    pub(super) fn expect_untouched(&self, outcome: &Outcome, log: &Path) {
        let log = std::fs::read_to_string(log).expect("the attack ran");
        assert!(log.contains("attack begins"), "{log}");
        assert_eq!(self.home.read(".bashrc"), "# as it was\n", "{log}");
        assert!(!self.home.has("work/.git/hooks/pre-commit"), "{log}");
        outcome.expect_nowhere(KEY);
        assert!(!log.contains(KEY), "{log}");
        assert!(!self.was_connected(), "{log}");
        assert!(
            log.contains("Permission denied"),
            "the attacker sees it: {log}"
        );
    }

    /// All of it worked: the attack is one.
    #[track_caller]
    pub(super) fn expect_owned(&self, log: &Path) {
        let log = std::fs::read_to_string(log).expect("the attack ran");
        assert!(self.home.read(".bashrc").contains("owned"), "{log}");
        assert!(self.home.has("work/.git/hooks/pre-commit"), "{log}");
        assert!(log.contains(KEY), "{log}");
        assert!(self.was_connected(), "{log}");
    }
}
