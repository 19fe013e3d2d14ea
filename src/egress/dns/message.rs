// SPDX-License-Identifier: MIT
//! One DNS query judged, one DNS reply made.
//!
//! Invariant: whatever is judged [`Judged::Lookup`] is one A or AAAA question of class IN for a name
//! the verdict granted; arbitrary bytes end in one of the other judgements.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::egress::rules::{Denial, NameVerdict, is_plain};

/// Longest query that is read, in bytes. A question needs at most 271; the rest is EDNS padding.
pub const QUERY_LIMIT: usize = 4096;
/// Longest reply over TCP, by its length prefix.
pub const TCP_LIMIT: usize = 65_535;
/// Longest reply over UDP to a caller that says nothing (RFC 1035 §4.2.1), and to one that says more
/// than anybody needs.
const UDP_LIMITS: (u16, u16) = (512, 4096);
/// The fixed header, RFC 1035 §4.1.1.
const HEADER: usize = 12;
/// The EDNS version spoken here.
const EDNS_VERSION: u8 = 0;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Kind {
    /// Whether `address` is of this kind.
    pub fn fits(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// The record type.
    pub fn record_type(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

/// What becomes of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// Too short to answer, or no query: silence.
    Drop,
    /// Answered with this, without a look at what it asks.
    Malformed(Vec<u8>),
    /// A question that has an answer of its own, whatever it asks for.
    Refused(Question, ResponseCode),
    /// The name may not be looked up.
    Denied {
        /// What to answer.
        question: Question,
        /// Why.
        denial: Denial,
    },
    /// The name may be looked up, but not for this type.
    Empty(Question),
    /// The name of an address.
    Reverse {
        /// What to answer.
        question: Question,
        /// The address.
        address: IpAddr,
    },
    /// To be looked up.
    Lookup {
        /// What to answer.
        question: Question,
        /// A granted name, lower case, no trailing dot.
        name: String,
        /// Which addresses.
        kind: Kind,
    },
}

/// What a reply repeats of its query.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    id: u16,
    recursion_desired: bool,
    checking_disabled: bool,
    /// As asked, upper and lower case kept: callers that mix them check them (0x20).
    query: Query,
    /// The longest UDP reply the caller takes, if it speaks EDNS.
    payload: Option<u16>,
}

/// What a question is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Addresses, all of the kind asked for, and how many seconds they hold.
    Addresses(&'a [IpAddr], u32),
    /// Names of an address.
    Names(&'a [String], u32),
    /// The name exists, but has nothing of the kind. Without an SOA record, so nobody remembers it.
    Empty,
    /// The name does not exist.
    NoName,
    /// Nobody knows.
    Failure,
}

/// Judges `query`; `verdict` says which names (lower case, no trailing dot) are granted.
pub fn judge(query: &[u8], verdict: impl FnOnce(&str) -> NameVerdict) -> Judged {
    let Some(header) = query.first_chunk::<HEADER>() else {
        return Judged::Drop;
    };
    let [_, _, flags, _, q1, q2, a1, a2, n1, n2, x1, x2] = *header;
    // A response: answering it could make two programs talk for ever.
    if flags & 0x80 != 0 {
        return Judged::Drop;
    }
    let count = |high, low| u16::from_be_bytes([high, low]);
    // Counted before anything is decoded. One additional record for EDNS, one for a signature.
    let counts = (count(q1, q2), count(a1, a2), count(n1, n2), count(x1, x2));
    if query.len() > QUERY_LIMIT || !matches!(counts, (1, 0, 0, 0..=2)) {
        return Judged::Malformed(bare_reply(header, ResponseCode::FormErr));
    }
    if flags & 0x78 != 0 {
        return Judged::Malformed(bare_reply(header, ResponseCode::NotImp));
    }
    let Ok(message) = Message::from_vec(query) else {
        return Judged::Malformed(bare_reply(header, ResponseCode::FormErr));
    };
    judge_message(&message, verdict)
        .unwrap_or_else(|| Judged::Malformed(bare_reply(header, ResponseCode::FormErr)))
}

fn judge_message(message: &Message, verdict: impl FnOnce(&str) -> NameVerdict) -> Option<Judged> {
    let [query] = message.queries.as_slice() else {
        return None;
    };
    if message.op_code != OpCode::Query || message.message_type != MessageType::Query {
        return None;
    }
    let question = Question {
        id: message.id,
        recursion_desired: message.recursion_desired,
        checking_disabled: message.checking_disabled,
        query: query.clone(),
        payload: message.edns.as_ref().map(Edns::max_payload),
    };
    if message.version() != EDNS_VERSION {
        return Some(Judged::Refused(question, ResponseCode::BADVERS));
    }
    if query.query_class() != DNSClass::IN {
        return Some(Judged::Refused(question, ResponseCode::Refused));
    }
    if query.query_type() == RecordType::PTR
        && let Some(address) = reversed(query.name())
    {
        return Some(Judged::Reverse { question, address });
    }
    let name = match spelled(query.name()) {
        Ok(name) => name,
        Err(name) => {
            let denial = Denial {
                reason: "no rule can name it".to_owned(),
                nearest: None,
                names: vec![name],
                allow_with: None,
            };
            return Some(Judged::Denied { question, denial });
        }
    };
    if let NameVerdict::Denied(denial) = verdict(&name) {
        return Some(Judged::Denied { question, denial });
    }
    let kind = match query.query_type() {
        RecordType::A => Kind::V4,
        RecordType::AAAA => Kind::V6,
        _ => return Some(Judged::Empty(question)),
    };
    Some(Judged::Lookup {
        question,
        name,
        kind,
    })
}

/// The name as rules spell it; as an error, for messages only, one they cannot. A label may hold
/// any byte, a dot as well, which must not become a border between labels.
fn spelled(name: &Name) -> Result<String, String> {
    let plain_label = |label: &[u8]| {
        std::str::from_utf8(label).is_ok_and(|label| is_plain(label) && !label.contains('.'))
    };
    let plain = name.iter().len() > 0 && name.iter().all(plain_label);
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            if plain || byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                text.push(char::from(byte.to_ascii_lowercase()));
            } else {
                // Master file form, RFC 1035 §5.1.
                text.push_str(&format!("\\{byte:03}"));
            }
        }
    }
    if plain && is_plain(&text) {
        Ok(text)
    } else {
        Err(text)
    }
}

/// A name of the rules as hickory's. By its bytes: hickory's own text form has opinions on hyphens
/// and underscores.
pub(super) fn full_name(name: &str) -> Option<Name> {
    let mut name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A name as rules spell it where they can, for comparison with them.
pub(super) fn plain_text(name: &Name) -> String {
    match spelled(name) {
        Ok(text) | Err(text) => text,
    }
}

/// The address a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn reversed(name: &Name) -> Option<IpAddr> {
    let mut name = name.clone();
    name.set_fqdn(true);
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// The header turned into a reply, and nothing behind it.
fn bare_reply(header: &[u8; HEADER], code: ResponseCode) -> Vec<u8> {
    let [id1, id2, flags, ..] = *header;
    // Opcode and RD stay; RA.
    let flags = 0x80 | (flags & 0x79);
    let mut reply = vec![id1, id2, flags, 0x80 | (code.low() & 0x0f)];
    reply.resize(HEADER, 0);
    reply
}

impl Question {
    /// The longest reply the caller takes over UDP, in bytes.
    pub fn udp_limit(&self) -> usize {
        let (least, most) = UDP_LIMITS;
        usize::from(self.payload.unwrap_or(least).clamp(least, most))
    }

    /// The name asked for, for messages.
    pub fn name(&self) -> String {
        plain_text(self.query.name())
    }

    /// The reply in at most `limit` bytes; when it does not fit, an empty one with the TC bit, which
    /// sends the caller to TCP. None if it cannot be made.
    ///
    /// Addresses are answered at the asked name, without the aliases that led there: the alias would
    /// be one more name to grant. Lost: what `AI_CANONNAME` returns is the name asked for.
    pub fn reply(&self, answer: Answer<'_>, limit: usize) -> Option<Vec<u8>> {
        let records = |data: Vec<RData>, ttl: u32| {
            let record = |data| Record::from_rdata(self.query.name().clone(), ttl, data);
            data.into_iter().map(record).collect()
        };
        let (code, records): (_, Vec<Record>) = match answer {
            Answer::Addresses(addresses, ttl) => {
                let data = addresses.iter().copied().map(data_of).collect();
                (ResponseCode::NoError, records(data, ttl))
            }
            Answer::Names(names, ttl) => {
                let pointer = |name: &String| Some(RData::PTR(PTR(full_name(name)?)));
                let data = names.iter().filter_map(pointer).collect();
                (ResponseCode::NoError, records(data, ttl))
            }
            Answer::Empty => (ResponseCode::NoError, Vec::new()),
            Answer::NoName => (ResponseCode::NXDomain, Vec::new()),
            Answer::Failure => (ResponseCode::ServFail, Vec::new()),
        };
        let mut message = self.message(code);
        message.add_answers(records);
        let reply = message.to_vec().ok()?;
        if reply.len() <= limit {
            return Some(reply);
        }
        let reply = message.truncate().to_vec().ok()?;
        (reply.len() <= limit).then_some(reply)
    }

    /// A reply without records.
    pub fn refusal(&self, code: ResponseCode) -> Option<Vec<u8>> {
        self.message(code).to_vec().ok()
    }

    fn message(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        if self.payload.is_some() {
            let mut edns = Edns::new();
            edns.set_version(EDNS_VERSION).set_max_payload(UDP_LIMITS.1);
            message.set_edns(edns);
        }
        message
    }
}

fn data_of(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A::from(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA::from(address)),
    }
}

/// The parser on arbitrary bytes, and a reply to whatever it made of them; for fuzzing.
#[doc(hidden)]
pub fn fuzz_message(data: &[u8]) {
    let granted = |name: &str| name == "a.example" || name.ends_with(".a.example");
    let judged = judge(data, |name| {
        if granted(name) {
            NameVerdict::Granted
        } else {
            NameVerdict::Denied(Denial {
                reason: String::new(),
                nearest: None,
                names: vec![name.to_owned()],
                allow_with: None,
            })
        }
    });
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST); 64];
    match judged {
        Judged::Drop => {}
        Judged::Malformed(reply) => assert_eq!(reply.len(), HEADER),
        Judged::Refused(question, code) => assert!(question.refusal(code).is_some()),
        Judged::Denied { question, .. } | Judged::Empty(question) => {
            assert!(
                question
                    .reply(Answer::NoName, question.udp_limit())
                    .is_some()
            );
        }
        Judged::Reverse { question, .. } => {
            let names = ["localhost".to_owned()];
            let reply = question.reply(Answer::Names(&names, 1), TCP_LIMIT);
            assert!(reply.is_some());
        }
        Judged::Lookup { question, name, .. } => {
            assert!(granted(&name));
            let limit = question.udp_limit();
            let reply = question.reply(Answer::Addresses(&addresses, 1), limit);
            assert!(reply.is_some_and(|reply| reply.len() <= limit));
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
