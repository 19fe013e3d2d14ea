// SPDX-License-Identifier: MIT
//! Checks that what is said on a connection is meant for the name that was granted.
//!
//! Invariant: pure. No byte may go upstream before [`Check::client`] has counted it as accepted, and
//! it counts a message only when the name in it is one of the expected ones.

pub mod chunked;
pub mod client_hello;
pub mod http;
pub mod responses;
pub mod tls;

use super::rules::is_plain;
use http::HttpCheck;
use tls::TlsCheck;

/// What must be said on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// TLS whose server name is one of these: lower case, without trailing dot.
    ServerName(Vec<String>),
    /// HTTP/1 whose every request is for one of the names.
    HttpHost {
        /// Lower case, without trailing dot.
        names: Vec<String>,
        /// The port of the connection, which a `Host` field may repeat.
        port: u16,
    },
    /// Anything.
    Nothing,
}

/// Why a connection was cut, as half a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The first bytes are no TLS handshake.
    #[error("the first bytes are not TLS")]
    NoTls,
    /// A `ClientHello` without `server_name`.
    #[error("the TLS handshake names no server")]
    NoServerName,
    /// A `ClientHello` for a name that is not expected here.
    #[error("the TLS handshake is for `{0}`")]
    OtherServerName(String),
    /// A `ClientHello` whose name cannot be read.
    #[error(
        "the TLS handshake hides its server name (encrypted ClientHello, to be switched off in the program)"
    )]
    EncryptedClientHello,
    /// The bytes are no HTTP/1 request.
    #[error("the bytes are not an HTTP/1 request")]
    NotHttp,
    /// A request without `Host`.
    #[error("the HTTP request names no host")]
    NoHost,
    /// A request for a host or port that is not expected here.
    #[error("the HTTP request is for `{0}`")]
    OtherHost(String),
    /// Bytes that two readers could understand differently.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A head or handshake message beyond the limits.
    #[error("the head is longer than is looked at")]
    TooLong,
    /// The first message did not become complete in time.
    #[error("the first message was not complete in time")]
    TimedOut,
    /// The server spoke before it was asked, which the expected protocol never does.
    #[error("the server spoke first, so this is not the expected protocol")]
    ServerFirst,
}

impl Refused {
    /// The flag that would let such a connection through, where one can: `granted` is the name whose
    /// rule it came by.
    #[must_use]
    pub fn allow_with(&self, granted: &str, port: u16) -> Option<String> {
        match self {
            Self::NoTls | Self::NotHttp | Self::ServerFirst => {
                is_plain(granted).then(|| format!("--verify={granted}:{port}=none"))
            }
            Self::OtherServerName(other) | Self::OtherHost(other) => {
                is_plain(other).then(|| format!("--allow-net={other}:{port}"))
            }
            _ => None,
        }
    }
}

/// The check of one connection.
///
/// Small while nothing is checked; the state of a check is on the heap until it is over.
#[derive(Debug)]
pub enum Check {
    /// Nothing is looked at (any more).
    Opaque,
    /// A TLS handshake.
    Tls(Box<TlsCheck>),
    /// HTTP/1, to the end of the connection.
    Http(Box<HttpCheck>),
}

impl Check {
    /// The check of a new connection.
    #[must_use]
    pub fn new(expect: &Expect) -> Self {
        match expect {
            Expect::ServerName(_) => Self::Tls(Box::default()),
            Expect::HttpHost { .. } => Self::Http(Box::default()),
            Expect::Nothing => Self::Opaque,
        }
    }

    /// How many of `held` may go upstream.
    ///
    /// `held` are all bytes of the client that were not accepted yet, old ones first, so a call
    /// repeats what the last one left over.
    ///
    /// # Errors
    /// The connection must be cut, and none of `held` be sent.
    pub fn client(&mut self, held: &[u8], expect: &Expect) -> Result<usize, Refused> {
        let accepted = match (&mut *self, expect) {
            (Self::Opaque, _) => return Ok(held.len()),
            (Self::Tls(check), Expect::ServerName(names)) => check.client(held, names)?,
            (Self::Http(check), Expect::HttpHost { names, port }) => {
                check.client(held, names, *port)?
            }
            _ => return Err(Refused::Malformed("the check does not fit the connection")),
        };
        self.settle();
        Ok(accepted)
    }

    /// Shows bytes of the server, before they are given to the client.
    pub fn upstream(&mut self, bytes: &[u8]) {
        match self {
            Self::Opaque => return,
            Self::Tls(check) => check.upstream(bytes),
            Self::Http(check) => check.upstream(bytes),
        }
        self.settle();
    }

    /// The server will say nothing more.
    pub fn upstream_ended(&mut self) {
        if let Self::Http(check) = self {
            check.upstream_ended();
        }
    }

    /// Judges what a server says before anything of the client was accepted.
    ///
    /// No server of TLS speaks first. One of HTTP may say 408 and close.
    ///
    /// # Errors
    /// When `start`, the first bytes, shows that this is another protocol.
    pub fn server_first(&self, start: &[u8]) -> Result<(), Refused> {
        const ANSWER: &[u8] = b"HTTP/1.";
        match self {
            Self::Opaque => Ok(()),
            Self::Http(_) if start.iter().zip(ANSWER).all(|(left, right)| left == right) => Ok(()),
            Self::Tls(_) | Self::Http(_) => Err(Refused::ServerFirst),
        }
    }

    /// Whether something of the client was accepted, so that the server may be heard.
    #[must_use]
    pub fn begun(&self) -> bool {
        match self {
            Self::Opaque => true,
            Self::Tls(check) => check.begun(),
            Self::Http(check) => check.begun(),
        }
    }

    /// Whether the next bytes of the client cannot be judged before the server has answered.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self, Self::Http(check) if check.waits())
    }

    fn settle(&mut self) {
        let over = match self {
            Self::Opaque => false,
            Self::Tls(check) => check.is_over(),
            Self::Http(check) => check.is_over(),
        };
        if over {
            *self = Self::Opaque;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refused;

    #[test]
    fn refusals_name_a_flag_where_one_helps() {
        let flag = |refused: Refused| refused.allow_with("good.test", 443);
        let verify = Some("--verify=good.test:443=none".to_owned());
        assert_eq!(flag(Refused::NoTls), verify);
        assert_eq!(flag(Refused::ServerFirst), verify);
        assert_eq!(
            flag(Refused::OtherServerName("evil.test".to_owned())),
            Some("--allow-net=evil.test:443".to_owned())
        );
        // What a client made up is not pasted into a shell.
        for name in ["a b", "$(x)", "", "x;y"] {
            assert_eq!(flag(Refused::OtherHost(name.to_owned())), None);
        }
        assert_eq!(flag(Refused::EncryptedClientHello), None);
        assert_eq!(Refused::NoTls.allow_with("", 443), None);
    }
}
