// SPDX-License-Identifier: MIT
//! Finds the server name in the first bytes of a TLS connection.
//!
//! Invariant: pure and bounded. The same bytes give the same verdict however they are cut; a name is
//! only given when the whole `ClientHello` has one meaning, so that no server can read another name
//! out of the bytes that are let through.

use std::net::IpAddr;

use super::Refused;

/// How many bytes of records may be seen before the `ClientHello` is complete.
///
/// Post-quantum key shares make it about 1,800 bytes, sessions with large tickets a few thousand.
const LIMIT: usize = 64 * 1024;

/// Longest plaintext of one record (RFC 8446 §5.1).
const RECORD_LIMIT: usize = 1 << 14;

/// Longest host name DNS can carry, in text.
const NAME_LIMIT: usize = 253;

/// Type of a record that carries handshake messages.
const HANDSHAKE: u8 = 22;
/// Type of the handshake message `ClientHello`.
const CLIENT_HELLO: u8 = 1;

/// Extension `server_name` (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// Extension `encrypted_client_hello`, sent in the outer message (RFC 9849).
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// Extension `encrypted_server_name` of the drafts before it.
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What is known after some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The message is not complete.
    More,
    /// The message is complete and asks for this server: lower case, a host name by its characters.
    Name(String),
    /// The bytes are no `ClientHello` with exactly one readable name.
    Refused(Refused),
}

/// Reads one `ClientHello` out of TLS records, piece by piece.
#[derive(Debug, Default)]
pub struct ClientHello {
    header: [u8; 5],
    header_length: usize,
    record_left: usize,
    message: Vec<u8>,
    seen: usize,
    verdict: Option<Progress>,
}

impl ClientHello {
    /// Takes the next bytes of the connection.
    ///
    /// After a name or a refusal the answer stays what it is. Bytes after the `ClientHello`'s last
    /// record are not looked at; [`consumed`](Self::consumed) tells where they begin.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        let progress = self.read(bytes).unwrap_or_else(Progress::Refused);
        if progress != Progress::More {
            self.verdict = Some(progress.clone());
            self.message = Vec::new();
        }
        progress
    }

    /// How many of the bytes given so far belong to the records of the `ClientHello`.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.seen
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<Progress, Refused> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.record_left == 0 {
                bytes = rest;
                self.seen += 1;
                self.read_header(byte)?;
                continue;
            }
            let take = self.record_left.min(bytes.len()).min(self.missing());
            let (part, rest) = bytes.split_at(take);
            bytes = rest;
            self.seen += take;
            self.record_left -= take;
            self.message.extend_from_slice(part);
            if self
                .message
                .first()
                .is_some_and(|&kind| kind != CLIENT_HELLO)
            {
                return Err(Refused::Malformed(
                    "the first TLS message is no ClientHello",
                ));
            }
            if self.announced().is_some_and(|length| length > LIMIT) || self.seen > LIMIT {
                return Err(Refused::TooLong);
            }
            if self.missing() == 0 {
                // A client says nothing more before it has an answer; a server that reads on in
                // this record would read what was not looked at.
                if self.record_left > 0 {
                    return Err(Refused::Malformed(
                        "bytes follow the ClientHello in its record",
                    ));
                }
                return server_name(self.message.get(4..).unwrap_or_default()).map(Progress::Name);
            }
        }
        Ok(Progress::More)
    }

    /// One byte of a record header, judged as soon as it is there.
    fn read_header(&mut self, byte: u8) -> Result<(), Refused> {
        let first = self.message.is_empty();
        match self.header_length {
            0 if byte != HANDSHAKE && first => return Err(Refused::NoTls),
            0 if byte != HANDSHAKE => {
                return Err(Refused::Malformed(
                    "another TLS record inside the ClientHello",
                ));
            }
            1 if byte != 3 && first => return Err(Refused::NoTls),
            1 if byte != 3 => return Err(Refused::Malformed("an unknown TLS record version")),
            2 if byte > 4 => return Err(Refused::Malformed("an unknown TLS record version")),
            _ => {}
        }
        if let Some(slot) = self.header.get_mut(self.header_length) {
            *slot = byte;
        }
        self.header_length += 1;
        if self.header_length == self.header.len() {
            self.header_length = 0;
            let [.., high, low] = self.header;
            self.record_left = usize::from(u16::from_be_bytes([high, low]));
            if self.record_left == 0 {
                return Err(Refused::Malformed("an empty TLS record"));
            }
            if self.record_left > RECORD_LIMIT {
                return Err(Refused::Malformed("a TLS record longer than 16 KB"));
            }
        }
        Ok(())
    }

    /// The length of the body, once its three bytes are there.
    fn announced(&self) -> Option<usize> {
        let &[_, high, middle, low] = self.message.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()
    }

    /// How many bytes of the message, or of its head, are still to come.
    fn missing(&self) -> usize {
        let whole = self
            .announced()
            .map_or(4, |length| length.saturating_add(4));
        whole.saturating_sub(self.message.len())
    }
}

/// The one name in the body of a `ClientHello`.
fn server_name(body: &[u8]) -> Result<String, Refused> {
    let (rest, hello) = tls_parser::parse_tls_handshake_client_hello(body)
        .map_err(|_| Refused::Malformed("a ClientHello that cannot be read"))?;
    if !rest.is_empty() {
        return Err(Refused::Malformed("a ClientHello that cannot be read"));
    }
    let mut list = hello.ext.ok_or(Refused::NoServerName)?;
    let mut kinds = Vec::new();
    let mut name = None;
    while !list.is_empty() {
        let kind = take_number(&mut list).ok_or(BROKEN_LIST)?;
        let content = take_vector(&mut list).ok_or(BROKEN_LIST)?;
        kinds.push(kind);
        match kind {
            SERVER_NAME => name = Some(content),
            ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME => {
                return Err(Refused::EncryptedClientHello);
            }
            _ => {}
        }
    }
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Refused::Malformed("a TLS extension that is there twice"));
    }
    host_name(name.ok_or(Refused::NoServerName)?)
}

const BROKEN_LIST: Refused = Refused::Malformed("a list of TLS extensions that cannot be read");

/// The one entry of a `server_name` extension (RFC 6066 §3), which fills it to the last byte.
fn host_name(mut extension: &[u8]) -> Result<String, Refused> {
    const BROKEN: Refused = Refused::Malformed("a server name extension without exactly one name");
    let mut list = take_vector(&mut extension).ok_or(BROKEN)?;
    if !extension.is_empty() {
        return Err(BROKEN);
    }
    let (&kind, rest) = list.split_first().ok_or(BROKEN)?;
    list = rest;
    let name = take_vector(&mut list).ok_or(BROKEN)?;
    if kind != 0 || !list.is_empty() {
        return Err(BROKEN);
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if name.is_empty() || name.len() > NAME_LIMIT || !name.iter().all(allowed) {
        return Err(Refused::Malformed("a server name that is no host name"));
    }
    // RFC 6066 forbids both. Servers differ in what they make of them, so they have no one meaning.
    if name.ends_with(b".") {
        return Err(Refused::Malformed("a server name that ends in a dot"));
    }
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return Err(Refused::Malformed("an address as server name"));
    }
    Ok(name)
}

fn take_number(bytes: &mut &[u8]) -> Option<u16> {
    let (&number, rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    Some(u16::from_be_bytes(number))
}

/// A vector with a length of two bytes in front.
fn take_vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(bytes)?;
    let (content, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(content)
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
pub(super) mod tests;
