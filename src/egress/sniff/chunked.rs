// SPDX-License-Identifier: MIT
//! Follows a chunked body (RFC 9112 §7.1) to its last byte.
//!
//! Invariant: only the form that every reader understands the same way passes: hexadecimal size,
//! optional extensions without control characters, CRLF everywhere; bounded lines.

use super::http::decides;

/// Longest line of a size with its extensions, and the most bytes of all trailer fields.
const LINE_LIMIT: usize = 4 * 1024;
const TRAILER_LIMIT: usize = 16 * 1024;
/// One byte more than the longest name that matters has.
const NAME_LENGTH: usize = "transfer-encoding".len() + 1;
/// Sizes beyond this are an attempt to overflow some reader's number.
const SIZE_LIMIT: u64 = 1 << 56;

/// Where in a chunked body the next byte is.
#[derive(Debug)]
pub struct Chunked {
    place: Place,
    size: u64,
    line: usize,
    /// The start of the current trailer field's name: as much as tells the names that matter.
    name: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEndFeed,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerFeed,
    LastFeed,
    Over,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            place: Place::Size,
            size: 0,
            line: 0,
            name: Vec::new(),
        }
    }
}

impl Chunked {
    /// Steps over as many of `bytes` as belong to the body.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while self.place != Place::Over {
            if self.place == Place::Data {
                let here = bytes.len().saturating_sub(at);
                let part = usize::try_from(self.size).map_or(here, |size| size.min(here));
                at += part;
                self.size -= part as u64;
                if self.size > 0 {
                    break;
                }
                self.place = Place::DataEnd;
            }
            let Some(&byte) = bytes.get(at) else { break };
            at += 1;
            self.place = self.step(byte)?;
        }
        Ok(at)
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    fn step(&mut self, byte: u8) -> Result<Place, &'static str> {
        const FEED: &str = "a chunk line that does not end in CRLF";
        self.line += 1;
        match (self.place, byte) {
            (Place::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(byte).to_digit(16).unwrap_or_default());
                self.size = self.size * 16 + digit;
                if self.size > SIZE_LIMIT || self.line > 32 {
                    return Err("a chunk size beyond all measure");
                }
                Ok(Place::Size)
            }
            (Place::Size, b';') if self.line > 1 => Ok(Place::Extension),
            (Place::Size, b'\r') if self.line > 1 => Ok(Place::SizeEnd),
            (Place::Size, _) => Err("a chunk size that is no hexadecimal number"),
            (Place::Extension, b'\r') => Ok(Place::SizeEnd),
            (Place::Extension, b'\t' | b' '..=b'~') if self.line <= LINE_LIMIT => {
                Ok(Place::Extension)
            }
            (Place::Extension, _) => Err("a chunk extension with a control character or too long"),
            (Place::SizeEnd, b'\n') => {
                self.line = 0;
                Ok(if self.size == 0 {
                    Place::TrailerStart
                } else {
                    Place::Data
                })
            }
            (Place::DataEnd, b'\r') => Ok(Place::DataEndFeed),
            (Place::DataEndFeed, b'\n') => {
                self.line = 0;
                Ok(Place::Size)
            }
            (Place::TrailerStart, b'\r') => Ok(Place::LastFeed),
            (Place::Trailer, b'\r') => Ok(Place::TrailerFeed),
            (Place::TrailerFeed, b'\n') => Ok(Place::TrailerStart),
            (Place::LastFeed, b'\n') => Ok(Place::Over),
            // Some servers do not know trailers and begin the next request here: what could be
            // its first line must not pass.
            (Place::TrailerStart | Place::TrailerName, _)
                if is_token(byte) && self.line <= TRAILER_LIMIT =>
            {
                if self.place == Place::TrailerStart {
                    self.name.clear();
                }
                if self.name.len() < NAME_LENGTH {
                    self.name.push(byte);
                }
                Ok(Place::TrailerName)
            }
            // Others add trailers to the fields of the head before they pass a request on.
            (Place::TrailerName, b':') if decides(&self.name) => {
                Err("a trailer field that decides where a request ends or goes")
            }
            (Place::TrailerName, b':') => Ok(Place::Trailer),
            (Place::TrailerStart | Place::TrailerName, _) => {
                Err("a trailer field without a name and a colon")
            }
            (Place::Trailer, b'\t' | b' '..=b'~' | 0x80..=0xff) if self.line <= TRAILER_LIMIT => {
                Ok(Place::Trailer)
            }
            (Place::Trailer, _) => Err("a trailer field with a control character or too long"),
            _ => Err(FEED),
        }
    }
}

/// Whether a byte can be part of a method or field name (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
