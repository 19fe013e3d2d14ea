// SPDX-License-Identifier: MIT
//! Programs that go on until they are ended, and what they print meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Launch, Project};

/// A watching Stockade and what it printed.
pub(crate) struct Watching {
    child: Child,
    output: PathBuf,
}

impl Watching {
    pub(crate) fn start(project: &Project, launch: Launch) -> Self {
        let output = project.directory().join("printed");
        let file = fs::File::create(&output).unwrap();
        let mut command = launch.into_command();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, output }
    }

    /// Waits for a text behind what was there before; returns how much is there then.
    #[track_caller]
    pub(crate) fn until(&self, start: usize, text: &str) -> usize {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let printed = fs::read_to_string(&self.output).unwrap();
            if printed[start..].contains(text) {
                return printed.len();
            }
            assert!(Instant::now() < deadline, "no {text:?} in {printed:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Watching {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}
