// SPDX-License-Identifier: MIT
//! The check of a plain HTTP/1 connection: every request on it must be for an expected name.
//!
//! Invariant: a request goes upstream only after its whole head was understood, in a form that leaves
//! no other reader a choice: what one server would take for a body, no other can take for a request
//! to somebody else. After a switch to WebSocket, which only the server can grant, nothing is looked
//! at.

use std::mem::MaybeUninit;

use super::Refused;
use super::chunked::{Chunked, is_token};
use super::responses::{Asked, FIELD_LIMIT, Learned, Responses, content_length};

/// Longest head.
const HEAD_LIMIT: usize = 64 * 1024;
/// Longest method; the longest registered one has 17 characters.
const METHOD_LIMIT: usize = 32;

/// Where a connection is.
#[derive(Debug, Default)]
pub struct HttpCheck {
    state: State,
    /// How far the current head was searched for its end.
    scanned: usize,
    /// Whether the space after the current head's method was seen.
    method_ended: bool,
    begun: bool,
    responses: Responses,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunked),
    /// A switch to WebSocket was asked for.
    Switch,
    Over,
}

impl HttpCheck {
    /// As [`super::Check::client`]; `port` is the port of the connection.
    ///
    /// # Errors
    /// Anything but well-formed requests for one of `names`.
    pub fn client(&mut self, held: &[u8], names: &[String], port: u16) -> Result<usize, Refused> {
        let mut accepted = 0;
        loop {
            let rest = held.get(accepted..).unwrap_or_default();
            match &mut self.state {
                State::Over => return Ok(held.len()),
                State::Switch => return Ok(accepted),
                _ if rest.is_empty() => return Ok(accepted),
                State::Head => {
                    let Some(end) = self.find_end(rest)? else {
                        return Ok(accepted);
                    };
                    let head = rest.get(..end).unwrap_or_default();
                    let (state, asked) = judge(head, names, port)?;
                    if asked == Asked::Switch && self.responses.is_lost() {
                        return Err(Refused::Malformed(
                            "a switch to WebSocket after an answer that could not be followed",
                        ));
                    }
                    self.responses.asked(asked);
                    self.state = match state {
                        State::Switch if self.responses.is_lost() => State::Head,
                        state => state,
                    };
                    self.scanned = 0;
                    self.method_ended = false;
                    self.begun = true;
                    accepted += end;
                }
                State::Length(left) => {
                    let part =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= part as u64;
                    accepted += part;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Chunked(body) => {
                    accepted += body.push(rest).map_err(Refused::Malformed)?;
                    if body.is_over() {
                        self.state = State::Head;
                    }
                }
            }
        }
    }

    /// As [`super::Check::upstream`].
    pub fn upstream(&mut self, bytes: &[u8]) {
        let learned = self.responses.push(bytes);
        self.learn(learned);
    }

    /// As [`super::Check::upstream_ended`].
    pub fn upstream_ended(&mut self) {
        let learned = self.responses.ended();
        self.learn(learned);
    }

    fn learn(&mut self, learned: Learned) {
        if matches!(self.state, State::Switch) {
            match learned {
                Learned::Nothing => {}
                Learned::Switched => self.state = State::Over,
                Learned::Declined => self.state = State::Head,
            }
        }
    }

    /// Whether a request was accepted.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Whether the client's next bytes depend on the server's answer.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Switch)
    }

    /// Whether nothing more needs to be looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The length of the head at the start of `bytes`, once its end is there.
    ///
    /// httparse is lenient with line ends, so they are judged here, byte by byte; and what is no HTTP
    /// at all is refused at once, without waiting for an end that never comes.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refused> {
        while let Some(&byte) = bytes.get(self.scanned) {
            let before = self
                .scanned
                .checked_sub(1)
                .and_then(|at| bytes.get(at))
                .copied();
            if !self.method_ended {
                if byte == b' ' && self.scanned > 0 {
                    self.method_ended = true;
                } else if !is_token(byte) || self.scanned >= METHOD_LIMIT {
                    return Err(Refused::NotHttp);
                }
            }
            if byte == b'\n' && before != Some(b'\r') {
                return Err(Refused::Malformed("a line feed without carriage return"));
            }
            if byte != b'\n' && before == Some(b'\r') {
                return Err(Refused::Malformed("a carriage return without line feed"));
            }
            self.scanned += 1;
            if self.scanned > HEAD_LIMIT {
                return Err(Refused::TooLong);
            }
            if byte == b'\n'
                && bytes
                    .get(..self.scanned)
                    .is_some_and(|head| head.ends_with(b"\r\n\r\n"))
            {
                return Ok(Some(self.scanned));
            }
        }
        Ok(None)
    }
}

/// Judges one whole head: what follows it, and what kind of answer.
fn judge(head: &[u8], names: &[String], port: u16) -> Result<(State, Asked), Refused> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELD_LIMIT];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, &mut fields);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refused::Malformed("a head that ends before its end")),
        Err(httparse::Error::Version | httparse::Error::Token) => return Err(Refused::NotHttp),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refused::Malformed("more fields than are looked at"));
        }
        Err(_) => return Err(Refused::Malformed("a field that cannot be read")),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Refused::NotHttp);
    };

    let (mut host, mut length, mut coding, mut websocket) = (None, None, None, false);
    for field in request.headers.iter() {
        let once = match field_of_interest(field.name)? {
            Field::Host => &mut host,
            Field::ContentLength => &mut length,
            Field::TransferEncoding => &mut coding,
            Field::Connection => {
                // Gateways leave out what it lists: the server behind would see another request.
                let listed = field.value.split(|&byte| byte == b',');
                if listed.map(<[u8]>::trim_ascii).any(decides) {
                    return Err(Refused::Malformed(
                        "a Connection field that lists where a request ends or goes",
                    ));
                }
                continue;
            }
            // Servers that do not know what is expected take the body for the next request.
            Field::Expect if field.value.eq_ignore_ascii_case(b"100-continue") => continue,
            Field::Expect => {
                return Err(Refused::Malformed("an Expect field of an unknown form"));
            }
            Field::Upgrade => {
                let mut tokens = field.value.split(|&byte| byte == b',');
                websocket |=
                    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"websocket"));
                continue;
            }
            Field::Other => continue,
        };
        if once.replace(field.value).is_some() {
            return Err(Refused::Malformed(
                "a field twice that decides where a request ends or goes",
            ));
        }
    }

    let host = host_of(host.ok_or(Refused::NoHost)?, names, port)?;
    if method == "CONNECT" {
        return Err(Refused::Malformed("the method CONNECT"));
    }
    let plain = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    if !plain {
        // absolute-form: a server goes by this authority instead of the `Host` field
        let (scheme, rest) = target.split_once("://").ok_or(UNKNOWN_TARGET)?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(UNKNOWN_TARGET);
        }
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if host_of(authority.as_bytes(), names, port)? != host {
            return Err(Refused::Malformed(
                "a request line and a Host field that differ",
            ));
        }
    }

    let state = match (length, coding) {
        (Some(_), Some(_)) => {
            return Err(Refused::Malformed(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        (None, Some(coding)) if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            State::Chunked(Chunked::default())
        }
        (None, Some(_)) => {
            return Err(Refused::Malformed("a transfer coding other than `chunked`"));
        }
        (Some(length), None) => match content_length(length) {
            Some(0) => State::Head,
            Some(length) => State::Length(length),
            None => return Err(Refused::Malformed("a Content-Length that is no number")),
        },
        (None, None) => State::Head,
    };
    // Servers that give these methods no body take it for the next request (RFC 9110 §9.3.1).
    if matches!(method, "GET" | "HEAD" | "TRACE") && !matches!(state, State::Head) {
        return Err(Refused::Malformed("a body where the method has none"));
    }
    if websocket && version == 1 && method == "GET" {
        return Ok((State::Switch, Asked::Switch));
    }
    // A request for another protocol goes on as HTTP: after a switch to HTTP/2, say, the client's
    // next bytes are refused.
    let asked = if method == "HEAD" {
        Asked::Head
    } else {
        Asked::Usual
    };
    Ok((state, asked))
}

const UNKNOWN_TARGET: Refused = Refused::Malformed("a request target of an unknown form");

enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Upgrade,
    Connection,
    Expect,
    Other,
}

/// Whether a field of this name decides where a request ends or goes.
pub(super) fn decides(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
    let same = |(left, right): (&u8, &u8)| {
        left.eq_ignore_ascii_case(right) || (*left == b'_' && *right == b'-')
    };
    FIELDS
        .iter()
        .any(|field| name.len() == field.len() && name.iter().zip(*field).all(same))
}

fn field_of_interest(name: &str) -> Result<Field, Refused> {
    const FIELDS: [(&str, Field); 6] = [
        ("host", Field::Host),
        ("content-length", Field::ContentLength),
        ("transfer-encoding", Field::TransferEncoding),
        ("upgrade", Field::Upgrade),
        ("connection", Field::Connection),
        ("expect", Field::Expect),
    ];
    for (known, field) in FIELDS {
        if name.eq_ignore_ascii_case(known) {
            return Ok(field);
        }
        // Gateways to CGI and its like take `_` for `-`.
        if name.len() == known.len() && name.replace('_', "-").eq_ignore_ascii_case(known) {
            return Err(Refused::Malformed(
                "a field name that some servers take for another",
            ));
        }
    }
    Ok(Field::Other)
}

/// The name in an authority (`host`, `host:port`), when it is an expected one.
///
/// One trailing dot is dropped: in DNS both forms are the same name, and curl sends it as typed.
fn host_of(authority: &[u8], names: &[String], port: u16) -> Result<String, Refused> {
    if authority.contains(&b'@') {
        return Err(Refused::Malformed("user information in a host"));
    }
    if authority.len() > 260 || !authority.iter().all(u8::is_ascii_graphic) {
        return Err(Refused::Malformed("a host that is no host name"));
    }
    if authority.is_empty() {
        return Err(Refused::NoHost);
    }
    let text = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let (host, said) = match text.split_once(':') {
        Some((host, said)) => (host, Some(said)),
        None => (text.as_str(), None),
    };
    if let Some(said) = said {
        let digits =
            !said.is_empty() && said.len() <= 5 && said.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || said.parse() != Ok(port) {
            return Err(Refused::OtherHost(text));
        }
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if names.iter().any(|name| name == host) {
        Ok(host.to_owned())
    } else {
        Err(Refused::OtherHost(text))
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
