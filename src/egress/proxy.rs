// SPDX-License-Identifier: MIT
//! Asks an HTTP proxy for a tunnel: CONNECT of RFC 9110 §9.3.6, and which peers go through one.
//!
//! Invariant: what is asked for is a name or address that was granted here; every byte behind the
//! proxy's head is left in the socket for whoever uses the tunnel.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dns::message::Kind;
use super::dns::upstream::{Found, Upstream};
use super::hosts::Hosts;
use super::rules::{Search, is_plain};
use super::special::{AddressClass, canonical, classify};
use super::synthetic::Synthetic;
use crate::plan::UpstreamProxy;

/// The longest head of an answer, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most header fields of an answer.
const FIELD_LIMIT: usize = 64;
/// Most answers of the 100 kind before the one that counts.
const INTERIM_LIMIT: usize = 8;
/// How long one address of the proxy may take to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a tunnel may take in all: the proxy connects to the peer meanwhile.
const TUNNEL_TIME: Duration = Duration::from_secs(60);

/// Why there is no tunnel, as half a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its name has no address.
    #[error("the name of the upstream proxy cannot be looked up")]
    NoName,
    /// No connection to it.
    #[error("the upstream proxy cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It refused.
    #[error("the upstream proxy answered {0}{hint}", hint = hint(*.0))]
    Refused(u16),
    /// It said something that is no answer.
    #[error("the upstream proxy did not answer in HTTP")]
    NotHttp,
    /// It closed, or the connection failed.
    #[error("the upstream proxy ended the connection without an answer")]
    Ended,
    /// No answer in time.
    #[error("the upstream proxy did not answer in time")]
    TimedOut,
}

impl ProxyError {
    /// What connect(2) answers then.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NoName => Errno::EHOSTUNREACH,
            Self::Unreachable(error) => error
                .raw_os_error()
                .map_or(Errno::ETIMEDOUT, Errno::from_raw),
            Self::Refused(_) | Self::NotHttp | Self::Ended => Errno::ECONNREFUSED,
            Self::TimedOut => Errno::ETIMEDOUT,
        }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        407 => ": it wants a user and password",
        _ => "",
    }
}

/// The proxy of one run.
pub struct Proxy {
    host: String,
    port: u16,
    /// The whole line, its end included.
    authorization: String,
    hosts: Hosts,
    search: Search,
    resolver: Box<dyn Upstream>,
    synthetic: Rc<Synthetic>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// The proxy of a Plan. Its own name is looked up in `hosts`, then by `resolver`, a short one
    /// in the `search` list first; `synthetic` knows what the target's addresses mean.
    pub fn new(
        proxy: &UpstreamProxy,
        hosts: Hosts,
        search: Search,
        resolver: Box<dyn Upstream>,
        synthetic: Rc<Synthetic>,
    ) -> Self {
        let authorization = proxy.credentials.as_ref().map(|credentials| {
            let encoded = base64(credentials);
            format!("Proxy-Authorization: Basic {encoded}\r\n")
        });
        Self {
            host: proxy.host.clone(),
            port: proxy.port,
            authorization: authorization.unwrap_or_default(),
            hosts,
            search,
            resolver,
            synthetic,
        }
    }

    /// What to ask the proxy for when a granted connection goes to `address`; none when it does not
    /// go through the proxy: what is on this machine or its own network, and metadata services,
    /// which would be the proxy's.
    pub fn authority(&self, address: SocketAddr) -> Option<String> {
        let ip = canonical(address.ip());
        let port = address.port();
        if let Some(name) = self.synthetic.name_of(ip) {
            return Some(format!("{name}:{port}"));
        }
        match classify(ip) {
            AddressClass::Public
            | AddressClass::Mapped
            | AddressClass::Translated
            | AddressClass::Reserved => Some(SocketAddr::new(ip, port).to_string()),
            AddressClass::Unspecified
            | AddressClass::Loopback
            | AddressClass::Private
            | AddressClass::CarrierGrade
            | AddressClass::UniqueLocal
            | AddressClass::LinkLocal
            | AddressClass::Metadata
            | AddressClass::Multicast => None,
        }
    }

    /// Whether an address is one that was handed out for a name, and means nothing to anybody else.
    pub fn is_handed_out(&self, address: IpAddr) -> bool {
        self.synthetic.name_of(address).is_some()
    }

    /// A tunnel to `authority`, as [`Proxy::authority`] says it. The future needs the runtime's timer.
    ///
    /// # Errors
    /// [`ProxyError`]; nothing was said to the peer then.
    pub async fn tunnel(&self, authority: &str) -> Result<TcpStream, ProxyError> {
        let attempt = async {
            let mut stream = self.connect().await?;
            // The request is one small message; a failure costs only time.
            let _ = stream.set_nodelay(true);
            let request = request(authority, &self.authorization);
            let sent = stream.write_all(request.as_bytes()).await;
            sent.map_err(|_| ProxyError::Ended)?;
            accepted(&mut stream).await?;
            Ok(stream)
        };
        timeout(TUNNEL_TIME, attempt)
            .await
            .unwrap_or(Err(ProxyError::TimedOut))
    }

    async fn connect(&self) -> Result<TcpStream, ProxyError> {
        let mut failure = ProxyError::NoName;
        for ip in self.addresses().await {
            match timeout(CONNECT_TIME, TcpStream::connect((ip, self.port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = ProxyError::Unreachable(error),
                Err(_) => failure = ProxyError::Unreachable(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(failure)
    }

    async fn addresses(&self) -> Vec<IpAddr> {
        if let Ok(address) = self.host.parse() {
            return vec![address];
        }
        if let Some(addresses) = self.hosts.addresses(&self.host) {
            return addresses.to_vec();
        }
        let mut names: Vec<String> = Vec::new();
        if !self.host.contains('.') {
            names.extend(self.search.within_domains(&self.host));
        }
        names.push(self.host.clone());
        for name in names {
            let mut addresses = Vec::new();
            for kind in [Kind::V4, Kind::V6] {
                if let Found::Addresses(found, ..) = self.resolver.look_up(&name, kind).await {
                    addresses.extend(found);
                }
            }
            if !addresses.is_empty() {
                return addresses;
            }
        }
        Vec::new()
    }
}

fn request(authority: &str, authorization: &str) -> String {
    debug_assert!(authority.rsplit_once(':').is_some_and(|(host, _)| {
        is_plain(host) || host.starts_with('[') || host.parse::<IpAddr>().is_ok()
    }));
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n")
}

/// Reads the proxy's answer, and not one byte more.
async fn accepted(stream: &mut TcpStream) -> Result<(), ProxyError> {
    for _ in 0..INTERIM_LIMIT {
        match status(stream).await? {
            200..300 => return Ok(()),
            // Switching protocols was not asked for.
            100 | 102..200 => {}
            status => return Err(ProxyError::Refused(status)),
        }
    }
    Err(ProxyError::NotHttp)
}

async fn status(stream: &mut TcpStream) -> Result<u16, ProxyError> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        // Looked at first and taken then: where the head ends is only known once it is there.
        let length = stream.peek(&mut buffer).await;
        let seen = match length {
            Ok(length @ 1..) => buffer.get(..length).unwrap_or_default(),
            _ => return Err(ProxyError::Ended),
        };
        let old = head.len();
        head.extend_from_slice(seen);
        let found = parse(&head)?;
        let end = found.map_or(head.len(), |(_, end)| end);
        let mut taken = vec![0; end.saturating_sub(old)];
        let read = stream.read_exact(&mut taken).await;
        read.map_err(|_| ProxyError::Ended)?;
        if let Some((status, _)) = found {
            return Ok(status);
        }
        if head.len() >= HEAD_LIMIT {
            return Err(ProxyError::NotHttp);
        }
    }
}

/// The status of a complete head, and how long it is.
fn parse(head: &[u8]) -> Result<Option<(u16, usize)>, ProxyError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(end)) if end <= HEAD_LIMIT => {
            let status = response.code.ok_or(ProxyError::NotHttp)?;
            Ok(Some((status, end)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(_)) | Err(_) => Err(ProxyError::NotHttp),
    }
}

/// Base64 with padding, RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from((bits >> shift) & 63).unwrap_or(0);
            let character = DIGITS.get(digit).copied().unwrap_or(b'=');
            let padding = place > chunk.len();
            text.push(char::from(if padding { b'=' } else { character }));
        }
    }
    text
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
