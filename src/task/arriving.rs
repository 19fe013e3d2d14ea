// SPDX-License-Identifier: MIT
//! The text of a request while it comes in.
//!
//! Invariant: reading never waits, never takes more than a request may have, and stops at its end.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::request;

/// A request whose text is still coming.
#[derive(Debug)]
pub(super) struct Arriving {
    pub shell: i32,
    pub stream: UnixStream,
    pub standard: [OwnedFd; 3],
    pub bytes: Vec<u8>,
}

/// How far a request has come.
pub(super) enum Progress {
    /// There is more to come.
    More,
    /// All of it.
    Whole(Vec<u8>),
    /// Longer than a request may be.
    TooLong,
    /// Nobody writes any more.
    Gone,
}

impl Arriving {
    /// Reads what is there, and nothing behind the request: signals follow it.
    pub(super) fn read(&mut self) -> Progress {
        const HEAD: usize = 4;
        loop {
            let length = match self.bytes.first_chunk::<HEAD>() {
                None => HEAD,
                Some(head) => {
                    let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
                    if length > request::LIMIT {
                        return Progress::TooLong;
                    }
                    HEAD + length
                }
            };
            let missing = length.saturating_sub(self.bytes.len());
            if missing == 0 && length >= HEAD && self.bytes.len() >= HEAD {
                return Progress::Whole(self.bytes.split_off(HEAD));
            }
            let mut buffer = [0; 1 << 14];
            let room = buffer.get_mut(..missing.min(1 << 14)).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Progress::Gone,
                Ok(count) => self
                    .bytes
                    .extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::More,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
    }
}
