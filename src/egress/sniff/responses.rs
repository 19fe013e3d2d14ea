// SPDX-License-Identifier: MIT
//! Finds, among the answers of an HTTP/1 server, the one that switches to WebSocket.
//!
//! Invariant: an answer counts as the switch only when every byte before it was understood and it is
//! the answer to the request that asked for it. Whatever is unclear ends the search for good.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use super::chunked::Chunked;

/// Requests whose answers are outstanding; pipelining clients use a handful.
const OUTSTANDING_LIMIT: usize = 256;
const HEAD_LIMIT: usize = 64 * 1024;
/// As many fields as are looked at in one head.
pub(super) const FIELD_LIMIT: usize = 128;

/// What a request makes of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An answer with a body.
    Usual,
    /// HEAD: an answer without a body, whatever its fields say.
    Head,
    /// A switch to WebSocket.
    Switch,
}

/// What was learned about the request that asked for the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Nothing yet.
    Nothing,
    /// From here on both sides speak WebSocket.
    Switched,
    /// The connection stays HTTP.
    Declined,
}

impl Learned {
    /// Adds what a later answer tells: nothing takes back what is known.
    fn note(&mut self, later: Self) {
        if *self == Self::Nothing {
            *self = later;
        }
    }
}

/// Follows the answers of one connection.
#[derive(Debug, Default)]
pub struct Responses {
    outstanding: VecDeque<Asked>,
    reading: Reading,
    head: Vec<u8>,
}

#[derive(Debug, Default)]
enum Reading {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunked),
    /// Something was not understood, or is the body of the connection's last answer.
    Lost,
}

impl Responses {
    /// Notes a request that goes upstream.
    pub fn asked(&mut self, asked: Asked) {
        if self.outstanding.len() >= OUTSTANDING_LIMIT {
            self.lose();
        } else if !self.is_lost() {
            self.outstanding.push_back(asked);
        }
    }

    /// Whether no switch can be recognised any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.reading, Reading::Lost)
    }

    /// Gives up, for the rest of the connection.
    pub fn lose(&mut self) {
        *self = Self {
            reading: Reading::Lost,
            ..Self::default()
        };
    }

    /// Takes the next bytes of the server.
    pub fn push(&mut self, mut bytes: &[u8]) -> Learned {
        let mut learned = Learned::Nothing;
        while !bytes.is_empty() {
            let used = match &mut self.reading {
                Reading::Lost => break,
                Reading::Length(left) => {
                    let part =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= part as u64;
                    if *left == 0 {
                        self.reading = Reading::Head;
                    }
                    Some(part)
                }
                Reading::Chunked(body) => {
                    let used = body.push(bytes).ok();
                    if body.is_over() {
                        self.reading = Reading::Head;
                    }
                    used
                }
                Reading::Head => self.read_head(bytes, &mut learned),
            };
            let Some(used) = used else {
                learned = self.give_up(learned);
                break;
            };
            bytes = bytes.get(used..).unwrap_or_default();
            if learned == Learned::Switched {
                break;
            }
        }
        learned
    }

    /// The server says nothing more.
    pub fn ended(&mut self) -> Learned {
        self.give_up(Learned::Nothing)
    }

    fn give_up(&mut self, learned: Learned) -> Learned {
        let asked = self.outstanding.contains(&Asked::Switch);
        self.lose();
        if asked { Learned::Declined } else { learned }
    }

    /// Steps over a head or the part of it that is there.
    fn read_head(&mut self, bytes: &[u8], learned: &mut Learned) -> Option<usize> {
        const END: &[u8] = b"\r\n\r\n";
        let before = self.head.len();
        if before == 0
            && let Some(at) = bytes.windows(END.len()).position(|window| window == END)
        {
            let length = at + END.len();
            learned.note(self.judge(bytes.get(..length)?)?);
            return Some(length);
        }
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(END.len() - 1);
        let tail = self.head.get(from..)?;
        if let Some(at) = tail.windows(END.len()).position(|window| window == END) {
            let length = from + at + END.len();
            let head = std::mem::take(&mut self.head);
            learned.note(self.judge(head.get(..length)?)?);
            return Some(length - before);
        }
        (self.head.len() <= HEAD_LIMIT).then_some(bytes.len())
    }

    /// Judges one whole head; nothing means that it cannot be followed.
    fn judge(&mut self, head: &[u8]) -> Option<Learned> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELD_LIMIT];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            head,
            &mut fields,
        );
        // httparse takes a bare line feed for a line's end, which another reader would not.
        let feeds = head.iter().filter(|&&byte| byte == b'\n').count();
        let ends = head.windows(2).filter(|&pair| pair == b"\r\n").count();
        if feeds != ends || parsed != Ok(httparse::Status::Complete(head.len())) {
            return None;
        }
        let code = response.code?;
        let values = |name: &'static str| {
            let fields = response.headers.iter();
            fields
                .filter(move |field| field.name.eq_ignore_ascii_case(name))
                .map(|field| field.value)
        };
        if (100..200).contains(&code) && code != 101 {
            return Some(Learned::Nothing);
        }
        // Stays in the queue until the answer is understood, so that giving up tells who waits.
        let asked = *self.outstanding.front()?;
        if code == 101 {
            // Other protocols, HTTP/2 first of all, would carry names that nobody looks at.
            let mut protocols = values("upgrade");
            let websocket = protocols.next()?.eq_ignore_ascii_case(b"websocket");
            let sole = protocols.next().is_none();
            return (asked == Asked::Switch && websocket && sole).then_some(Learned::Switched);
        }
        if asked != Asked::Head && code != 204 && code != 304 {
            let mut codings = values("transfer-encoding");
            let mut lengths = values("content-length");
            let reading = match (codings.next(), lengths.next()) {
                (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                    Reading::Chunked(Chunked::default())
                }
                (None, Some(length)) => match content_length(length)? {
                    0 => Reading::Head,
                    length => Reading::Length(length),
                },
                // the body goes to the end of the connection, or somewhere unknown
                _ => return None,
            };
            if codings.next().is_some() || lengths.next().is_some() {
                return None;
            }
            self.reading = reading;
        }
        self.outstanding.pop_front();
        Some(match asked {
            Asked::Switch => Learned::Declined,
            _ => Learned::Nothing,
        })
    }
}

/// A `Content-Length` in its only unambiguous form: a zero in front means octal to some.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let digits = digits && (value.len() == 1 || value.first() != Some(&b'0'));
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}
