// SPDX-License-Identifier: MIT
//! Output of tasks that run at the same time.
//!
//! Invariant: lines are told whole, as far as they are not longer than [`LONGEST`].

use std::fs::File;

use super::audience::{Audience, Stream};

/// Output that is told line by line.
#[derive(Debug)]
pub(super) struct Prefixed {
    pub stream: Stream,
    pub pipe: File,
    pub rest: Vec<u8>,
}

/// A line longer than this is told in pieces.
const LONGEST: usize = 1 << 20;

impl Prefixed {
    pub(super) fn tell(&mut self, name: &str, bytes: &[u8], audience: &mut dyn Audience) {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n');
        let end = match end {
            Some(end) => end + 1,
            None if self.rest.len() > LONGEST => self.rest.len(),
            None => return,
        };
        let behind = self.rest.split_off(end);
        let whole = std::mem::replace(&mut self.rest, behind);
        audience.output(name, self.stream, &whole);
    }

    pub(super) fn tell_rest(&mut self, name: &str, audience: &mut dyn Audience) {
        if !self.rest.is_empty() {
            audience.output(name, self.stream, &std::mem::take(&mut self.rest));
        }
    }
}
