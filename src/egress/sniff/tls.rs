// SPDX-License-Identifier: MIT
//! The check of a TLS connection: its `ClientHello`, and the second one when the server asks for it.
//!
//! A server may answer the first `ClientHello` with a HelloRetryRequest; the client then says all of
//! it again, in clear. RFC 8446 §4.1.2 forbids another name there, but a server that takes the
//! connection's name from the second message (as OpenSSL does) would be led astray. So the records
//! are followed until the server has answered: nearly always that is before the client's next byte.
//!
//! Invariant: no handshake message goes to the server in clear before its answer is known, except the
//! one `ClientHello` that was checked, and after a HelloRetryRequest only a second one for the same
//! names. What comes after that is encrypted or cannot change the name.

use super::Refused;
use super::client_hello::{ClientHello, Progress};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;
/// The whole message HelloRequest (RFC 5246 §7.4.1.1).
const HELLO_REQUEST: [u8; 4] = [0; 4];

/// `ServerHello.random` of a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Type, length, version and random: as much of a `ServerHello` as tells what it is.
const ANSWER_LENGTH: usize = 1 + 3 + 2 + RETRY.len();

/// Where the handshake is, as far as its name is concerned.
#[derive(Debug)]
pub struct TlsCheck {
    stage: Stage,
    /// The client's first or second `ClientHello`, while it is incomplete.
    hello: ClientHello,
    /// How many of the held bytes `hello` has seen.
    shown: usize,
    client: Records,
    server: Records,
    answer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    FirstHello,
    /// The server has not said whether it takes the first `ClientHello`.
    Answer,
    /// It wants a second one, which has not begun.
    Retry,
    SecondHello,
    Over,
}

impl Default for TlsCheck {
    fn default() -> Self {
        Self {
            stage: Stage::FirstHello,
            hello: ClientHello::default(),
            shown: 0,
            client: Records::default(),
            server: Records::default(),
            answer: Vec::new(),
        }
    }
}

impl TlsCheck {
    /// As [`super::Check::client`].
    ///
    /// # Errors
    /// Anything but a `ClientHello` for one of `names`.
    pub fn client(&mut self, held: &[u8], names: &[String]) -> Result<usize, Refused> {
        let mut accepted = 0;
        loop {
            let rest = held.get(accepted..).unwrap_or_default();
            match self.stage {
                Stage::Over => return Ok(held.len()),
                Stage::FirstHello | Stage::SecondHello => {
                    let new = rest.get(self.shown..).unwrap_or_default();
                    self.shown = rest.len();
                    match self.hello.push(new) {
                        Progress::More => return Ok(accepted),
                        Progress::Refused(refused) => return Err(refused),
                        Progress::Name(name) if names.contains(&name) => {
                            accepted += self.hello.consumed();
                            self.hello = ClientHello::default();
                            self.shown = 0;
                            self.stage = match self.stage {
                                Stage::FirstHello => Stage::Answer,
                                _ => Stage::Over,
                            };
                        }
                        Progress::Name(name) => return Err(Refused::OtherServerName(name)),
                    }
                }
                Stage::Answer | Stage::Retry => {
                    let Some(&byte) = rest.first() else {
                        return Ok(accepted);
                    };
                    if self.client.between() {
                        match byte {
                            HANDSHAKE if self.stage == Stage::Retry => {
                                self.stage = Stage::SecondHello;
                                continue;
                            }
                            HANDSHAKE => {
                                return Err(Refused::Malformed(
                                    "a second handshake message before the server's answer",
                                ));
                            }
                            // Early data, the empty message for middleboxes, or giving up.
                            CHANGE_CIPHER_SPEC | ALERT | APPLICATION_DATA => {}
                            _ => return Err(Refused::Malformed("an unknown TLS record type")),
                        }
                    }
                    accepted += self.client.step(rest).1.len().max(1);
                }
            }
        }
    }

    /// As [`super::Check::upstream`].
    pub fn upstream(&mut self, mut bytes: &[u8]) {
        while self.stage == Stage::Answer && !bytes.is_empty() {
            let (kind, part) = self.server.step(bytes);
            bytes = bytes.get(part.len().max(1)..).unwrap_or_default();
            match kind {
                // the record's header, or a warning in front of the answer
                None | Some(ALERT) => {}
                Some(HANDSHAKE) => self.hear(part),
                Some(_) => self.stage = Stage::Over,
            }
        }
    }

    /// Takes a piece of the server's handshake messages.
    fn hear(&mut self, mut part: &[u8]) {
        // A HelloRequest answers nothing, and a client does as if it were not there.
        loop {
            let missing = ANSWER_LENGTH.saturating_sub(self.answer.len());
            let (now, rest) = part.split_at(missing.min(part.len()));
            self.answer.extend_from_slice(now);
            part = rest;
            if !self.answer.starts_with(&HELLO_REQUEST) {
                break;
            }
            self.answer.drain(..HELLO_REQUEST.len());
        }
        match self.answer.first() {
            Some(&SERVER_HELLO) if self.answer.len() == ANSWER_LENGTH => {
                self.stage = if self.answer.ends_with(&RETRY) {
                    Stage::Retry
                } else {
                    Stage::Over
                };
            }
            None | Some(&SERVER_HELLO) => {}
            // It may become one.
            Some(_) if HELLO_REQUEST.starts_with(&self.answer) => {}
            Some(_) => self.stage = Stage::Over,
        }
    }

    /// Whether the first `ClientHello` was accepted.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.stage != Stage::FirstHello
    }

    /// Whether nothing more needs to be looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }
}

/// Follows the borders of records.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    header_length: usize,
    left: usize,
}

impl Records {
    /// Whether the next byte begins a record.
    fn between(&self) -> bool {
        self.header_length == 0 && self.left == 0
    }

    /// Steps over one byte of a header (nothing and an empty part), or over the piece of the current
    /// record that is at the start of `bytes` (the record's type and the piece).
    fn step<'a>(&mut self, bytes: &'a [u8]) -> (Option<u8>, &'a [u8]) {
        if self.left > 0 {
            let part = bytes.get(..self.left).unwrap_or(bytes);
            self.left -= part.len();
            return (self.header.first().copied(), part);
        }
        if let (Some(&byte), Some(slot)) = (bytes.first(), self.header.get_mut(self.header_length))
        {
            *slot = byte;
            self.header_length += 1;
        }
        if self.header_length == self.header.len() {
            self.header_length = 0;
            let [.., high, low] = self.header;
            self.left = usize::from(u16::from_be_bytes([high, low]));
        }
        (None, &[])
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
