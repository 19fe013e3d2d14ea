// SPDX-License-Identifier: MIT
//! Socket addresses as the target passes them: bytes, read the way the kernel reads them.
//!
//! Invariant: pure. What is judged is what these bytes mean to the kernel, and the same bytes are
//! given to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address<'a> {
    /// `AF_UNSPEC`: ends an association.
    Unspecified,
    /// IPv4 or IPv6.
    Internet(SocketAddr),
    /// `AF_UNIX`, the part behind the family.
    Unix(UnixName<'a>),
    /// `AF_NETLINK`.
    Netlink,
    /// Another family, or too short for its own.
    Other,
}

/// A UNIX socket's name (unix(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnixName<'a> {
    /// None.
    Unnamed,
    /// A path, up to the first NUL.
    Path(&'a [u8]),
    /// A name without a file.
    Abstract(&'a [u8]),
}

/// `sizeof(struct sockaddr_in)`.
const V4_LENGTH: usize = 16;
/// The shortest IPv6 address the kernel takes (`SIN6_LEN_RFC2133`): without the scope.
const V6_LENGTH: usize = 24;

/// `sizeof(struct sockaddr_un)`.
const UNIX_LENGTH: usize = 110;

fn family(bytes: &[u8]) -> Option<i32> {
    let bytes: [u8; 2] = bytes.get(..2)?.try_into().ok()?;
    Some(i32::from(u16::from_ne_bytes(bytes)))
}

/// Reads an address of at most 128 bytes.
pub(super) fn parse(bytes: &[u8]) -> Address<'_> {
    match family(bytes) {
        Some(libc::AF_UNSPEC) => Address::Unspecified,
        Some(libc::AF_INET) => {
            parse_v4(bytes).map_or(Address::Other, |found| Address::Internet(found.into()))
        }
        Some(libc::AF_INET6) => {
            parse_v6(bytes).map_or(Address::Other, |found| Address::Internet(found.into()))
        }
        // A longer one is no UNIX address (`unix_validate_addr` of net/unix/af_unix.c).
        Some(libc::AF_UNIX) if bytes.len() <= UNIX_LENGTH => Address::Unix(parse_unix(&bytes[2..])),
        Some(libc::AF_NETLINK) => Address::Netlink,
        _ => Address::Other,
    }
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))
}

fn parse_v4(bytes: &[u8]) -> Option<SocketAddrV4> {
    if bytes.len() < V4_LENGTH {
        return None;
    }
    let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(octets), port(bytes)?))
}

fn parse_v6(bytes: &[u8]) -> Option<SocketAddrV6> {
    if bytes.len() < V6_LENGTH {
        return None;
    }
    let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    let flow = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    let scope = bytes
        .get(24..28)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_ne_bytes);
    Some(SocketAddrV6::new(
        Ipv6Addr::from(octets),
        port(bytes)?,
        flow,
        scope,
    ))
}

fn parse_unix(name: &[u8]) -> UnixName<'_> {
    match name.first() {
        None => UnixName::Unnamed,
        Some(0) => UnixName::Abstract(&name[1..]),
        Some(_) => UnixName::Path(name.split(|byte| *byte == 0).next().unwrap_or_default()),
    }
}

/// The bytes of an internet address for a socket of `domain`: IPv4 is mapped for IPv6 sockets.
pub(super) fn encode(address: SocketAddr, domain: i32) -> Vec<u8> {
    match address {
        SocketAddr::V4(v4) if domain == libc::AF_INET6 => {
            encode_v6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
        }
        SocketAddr::V4(v4) => {
            let mut bytes = Vec::with_capacity(V4_LENGTH);
            bytes.extend(family_bytes(libc::AF_INET));
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(V4_LENGTH, 0);
            bytes
        }
        SocketAddr::V6(v6) => encode_v6(v6),
    }
}

fn encode_v6(v6: SocketAddrV6) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend(family_bytes(libc::AF_INET6));
    bytes.extend(v6.port().to_be_bytes());
    bytes.extend(v6.flowinfo().to_be_bytes());
    bytes.extend(v6.ip().octets());
    bytes.extend(v6.scope_id().to_ne_bytes());
    bytes
}

fn family_bytes(family: i32) -> [u8; 2] {
    // Families are small numbers.
    u16::try_from(family).unwrap_or(0).to_ne_bytes()
}

/// `AF_INET` or `AF_INET6`.
pub(super) fn family_of(address: IpAddr) -> i32 {
    if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    }
}

/// The loopback address a socket of this family can reach when it asks for `asked`.
pub(super) fn loopback_for(asked: IpAddr) -> IpAddr {
    match asked.to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The reader on arbitrary bytes; for fuzzing. What is read as an internet address must be the same
/// after it was written for the kernel, also as an IPv4 address mapped for an IPv6 socket.
#[doc(hidden)]
pub fn fuzz_address(bytes: &[u8]) {
    match parse(bytes) {
        Address::Internet(address) => {
            let own = family_of(address.ip());
            assert_eq!(parse(&encode(address, own)), Address::Internet(address));
            let written = encode(address, libc::AF_INET6);
            let Address::Internet(mapped) = parse(&written) else {
                panic!("{address} was written as {written:?}");
            };
            let same = (mapped.ip().to_canonical(), mapped.port());
            assert_eq!(same, (address.ip().to_canonical(), address.port()));
        }
        Address::Unix(UnixName::Path(path)) => {
            assert!(!path.is_empty() && !path.contains(&0));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn internet(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_back() {
        for text in [
            "127.0.0.1:80",
            "0.0.0.0:0",
            "[::1]:443",
            "[fe80::1%3]:1",
            "[::ffff:1.2.3.4]:5",
        ] {
            let address = internet(text);
            let domain = if address.is_ipv4() {
                libc::AF_INET
            } else {
                libc::AF_INET6
            };
            assert_eq!(parse(&encode(address, domain)), Address::Internet(address));
        }
        let mapped = encode(internet("1.2.3.4:5"), libc::AF_INET6);
        assert_eq!(
            parse(&mapped),
            Address::Internet(internet("[::ffff:1.2.3.4]:5"))
        );
    }

    #[test]
    fn short_and_foreign_addresses_are_no_peers() {
        let v4 = encode(internet("1.2.3.4:5"), libc::AF_INET);
        let v6 = encode(internet("[::1]:5"), libc::AF_INET6);
        assert_eq!(parse(&v4[..15]), Address::Other);
        assert_eq!(parse(&v6[..23]), Address::Other);
        assert_eq!(parse(&v6[..24]), Address::Internet(internet("[::1]:5")));
        for bytes in [&[][..], &[2], &[40, 0, 1, 2]] {
            assert_eq!(parse(bytes), Address::Other);
        }
        assert_eq!(parse(&[0, 0]), Address::Unspecified);
        assert_eq!(parse(&[1, 0]), Address::Unix(UnixName::Unnamed));
        assert_eq!(parse(b"\x01\0/a\0b"), Address::Unix(UnixName::Path(b"/a")));
        assert_eq!(
            parse(b"\x01\0\0ab"),
            Address::Unix(UnixName::Abstract(b"ab"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..=128)) {
            if let Address::Internet(address) = parse(&bytes) {
                let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
                let again = encode(address, domain);
                prop_assert_eq!(parse(&again), Address::Internet(address));
            }
        }
    }
}
