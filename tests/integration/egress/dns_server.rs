// SPDX-License-Identifier: MIT
//! The name server of the test network: answers what a test told it to, over UDP and TCP, and
//! remembers every packet it was sent.
//!
//! Invariant: a question is remembered before it is answered, so what a test sees as asked was
//! asked before any answer to it arrived anywhere.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// How the server behaves when it is asked for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers at once.
    Plain,
    /// Answers later.
    Slow(Duration),
    /// Never answers.
    Silent,
    /// Answers SERVFAIL.
    Failing,
    /// Says over UDP that the answer is too long, and gives it over TCP.
    Truncated,
    /// Answers with a datagram that is no DNS message.
    Garbage,
    /// Answers with another transaction identifier first, holding another address.
    Forged(Ipv4Addr),
}

/// What is known about a name.
#[derive(Debug, Clone)]
struct Entry {
    addresses: Vec<IpAddr>,
    /// What it leads to after the next answer.
    next: Option<Vec<IpAddr>>,
    alias: Option<String>,
    texts: Vec<String>,
    ttl: u32,
    manner: Manner,
}

/// One question that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The name in lower case, without the last dot.
    pub name: String,
    /// The record type as text: `A`.
    pub kind: String,
    /// Whether it came by TCP.
    pub tcp: bool,
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Entry>,
    questions: Vec<Question>,
    packets: usize,
}

/// A name server on a loopback address.
#[derive(Debug, Clone)]
pub(crate) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    /// Starts one on a free port that is the same for UDP and TCP.
    pub(crate) fn start(ip: Ipv4Addr) -> Self {
        for _ in 0..100 {
            let udp = UdpSocket::bind((ip, 0)).unwrap();
            let address = udp.local_addr().unwrap();
            let Ok(tcp) = TcpListener::bind(address) else {
                continue;
            };
            let zone = Arc::new(Mutex::new(Zone::default()));
            let server = Self { address, zone };
            let (for_udp, for_tcp) = (server.clone(), server.clone());
            thread::spawn(move || for_udp.serve_udp(&udp));
            thread::spawn(move || for_tcp.serve_tcp(&tcp));
            return server;
        }
        panic!("no port is free for both UDP and TCP on {ip}");
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a name lead to these addresses.
    pub(crate) fn set(&self, name: &str, addresses: &[IpAddr]) -> &Self {
        self.change(name, |entry| entry.addresses = addresses.to_vec())
    }

    /// Makes a name lead elsewhere once an IPv4 address was answered.
    pub(crate) fn then(&self, name: &str, addresses: &[IpAddr]) -> &Self {
        self.change(name, |entry| entry.next = Some(addresses.to_vec()))
    }

    /// Makes a name an alias of another one.
    pub(crate) fn alias(&self, name: &str, target: &str) -> &Self {
        self.change(name, |entry| entry.alias = Some(target.to_owned()))
    }

    /// Gives a name TXT records.
    pub(crate) fn text(&self, name: &str, text: &str) -> &Self {
        self.change(name, |entry| entry.texts = vec![text.to_owned()])
    }

    /// Sets how long answers about a name may be kept, in seconds.
    pub(crate) fn ttl(&self, name: &str, ttl: u32) -> &Self {
        self.change(name, |entry| entry.ttl = ttl)
    }

    /// Sets how questions about a name are treated.
    pub(crate) fn manner(&self, name: &str, manner: Manner) -> &Self {
        self.change(name, |entry| entry.manner = manner)
    }

    /// Every question so far.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.zone.lock().unwrap().questions.clone()
    }

    /// The names asked for so far, each once.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut names: Vec<String> = self.questions().into_iter().map(|q| q.name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// How often a name was asked for.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.questions().iter().filter(|q| q.name == name).count()
    }

    /// How many packets arrived, readable or not.
    pub(crate) fn packets(&self) -> usize {
        self.zone.lock().unwrap().packets
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Entry)) -> &Self {
        let mut zone = self.zone.lock().unwrap();
        change(zone.names.entry(name.to_owned()).or_insert_with(|| Entry {
            addresses: Vec::new(),
            next: None,
            alias: None,
            texts: Vec::new(),
            ttl: 60,
            manner: Manner::Plain,
        }));
        drop(zone);
        self
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let server = self.clone();
            let (query, socket) = (buffer[..length].to_vec(), socket.try_clone().unwrap());
            let (answers, delay) = server.answers(&query, false);
            let send = move || {
                for answer in answers {
                    let _ = socket.send_to(&answer, from);
                }
            };
            match delay {
                None => send(),
                Some(delay) => {
                    thread::spawn(move || {
                        thread::sleep(delay);
                        send();
                    });
                }
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let server = self.clone();
            thread::spawn(move || server.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).ok()?;
            let (answers, delay) = self.answers(&query, true);
            if let Some(delay) = delay {
                thread::sleep(delay);
            }
            for answer in answers {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).ok()?;
            }
        }
    }

    /// The packets to answer with, and how long to wait before that.
    fn answers(&self, query: &[u8], tcp: bool) -> (Vec<Vec<u8>>, Option<Duration>) {
        let mut zone = self.zone.lock().unwrap();
        zone.packets += 1;
        let Ok(query) = Message::from_vec(query) else {
            return (Vec::new(), None);
        };
        let Some(question) = query.queries.first().cloned() else {
            return (Vec::new(), None);
        };
        let name = plain(question.name());
        zone.questions.push(Question {
            name: name.clone(),
            kind: question.query_type().to_string(),
            tcp,
        });
        let mut answer = query.clone().into_response();
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_available = true;
        answer.metadata.authoritative = true;
        answer.edns = None;
        let manner = zone.names.get(&name).map(|entry| entry.manner);
        fill(
            &zone,
            &mut answer,
            question.name(),
            &name,
            question.query_type(),
        );
        if question.query_type() == RecordType::A
            && let Some(entry) = zone.names.get_mut(&name)
            && let Some(next) = entry.next.take()
        {
            entry.addresses = next;
        }
        let plain = |message: &Message| vec![message.to_vec().unwrap()];
        match manner.unwrap_or(Manner::Plain) {
            Manner::Plain => (plain(&answer), None),
            Manner::Slow(delay) => (plain(&answer), Some(delay)),
            Manner::Silent => (Vec::new(), None),
            Manner::Failing => {
                answer.answers.clear();
                answer.metadata.response_code = ResponseCode::ServFail;
                (plain(&answer), None)
            }
            Manner::Truncated => {
                if !tcp {
                    answer.answers.clear();
                    answer.metadata.truncation = true;
                }
                (plain(&answer), None)
            }
            Manner::Garbage => (vec![vec![0xff; 40]], None),
            Manner::Forged(ip) => {
                let mut forged = answer.clone();
                forged.metadata.id = forged.metadata.id.wrapping_add(1);
                for record in &mut forged.answers {
                    record.data = RData::A(A(ip));
                }
                (
                    vec![forged.to_vec().unwrap(), answer.to_vec().unwrap()],
                    None,
                )
            }
        }
    }
}

/// Adds what the zone holds, aliases followed.
fn fill(zone: &Zone, answer: &mut Message, owner: &Name, name: &str, kind: RecordType) {
    let (mut owner, mut name) = (owner.clone(), name.to_owned());
    for _ in 0..32 {
        let Some(entry) = zone.names.get(&name) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return;
        };
        let mut add = |data: RData| {
            answer
                .answers
                .push(Record::from_rdata(owner.clone(), entry.ttl, data));
        };
        if let Some(alias) = &entry.alias {
            let target = Name::from_ascii(format!("{alias}.")).unwrap();
            add(RData::CNAME(CNAME(target.clone())));
            (owner, name) = (target, alias.clone());
            continue;
        }
        for address in &entry.addresses {
            match (address, kind) {
                (IpAddr::V4(ip), RecordType::A) => add(RData::A(A(*ip))),
                (IpAddr::V6(ip), RecordType::AAAA) => add(RData::AAAA(AAAA(*ip))),
                _ => {}
            }
        }
        if kind == RecordType::TXT {
            for text in &entry.texts {
                add(RData::TXT(TXT::new(vec![text.clone()])));
            }
        }
        return;
    }
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
