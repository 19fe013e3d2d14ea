// SPDX-License-Identifier: MIT
//! Network peers and listeners: `--allow-net`, `--deny-net`, `--allow-import`, `--deny-import`.
//!
//! Invariant: what is written one way only is stored one way only (lower case, no trailing dot, no
//! zone, v4-mapped addresses as IPv4, CIDR blocks without host bits), so equal peers compare equal.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{GrammarError, Noun};
use crate::policy::{Host, NetDescriptor};

/// An entry of `--allow-net` or `--deny-net`.
///
/// As Deno 2.9.6, and wider in one point: IPv6 CIDR blocks are accepted, as `[2001:db8::]/32` with
/// an optional port and as `2001:db8::/32`. Narrower in one: names DNS cannot carry (labels over
/// 63 bytes, names over 253) are errors.
///
/// # Errors
/// What is wrong with `text`.
pub fn parse_net(text: &str) -> Result<NetDescriptor, GrammarError> {
    if text.is_empty() {
        return Err(GrammarError::Empty(Noun::Host));
    }
    if text.contains('\0') {
        return Err(GrammarError::Nul(Noun::Host));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_unix(path, text);
    }
    if let Some(rest) = text.strip_prefix("vsock:") {
        return parse_vsock(rest, text);
    }
    if text.contains("://") {
        return Err(GrammarError::Url(text.to_owned()));
    }
    if let Some(rest) = text.strip_prefix('[') {
        return parse_bracketed(rest, text);
    }
    if let Some(port) = text.strip_prefix(':')
        && !port.contains([':', '/'])
    {
        let port = parse_port(port, text)?;
        return Ok(NetDescriptor {
            host: Host::ThisMachine,
            port: Some(port),
        });
    }
    if text.matches(':').count() > 1 {
        return parse_bare_ipv6(text);
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port, text)?)),
        None => (text, None),
    };
    Ok(NetDescriptor {
        host: parse_host(host)?,
        port,
    })
}

/// An entry of `--allow-import` or `--deny-import`: hosts only.
///
/// # Errors
/// What [`parse_net`] refuses, and `:PORT`, `unix:` and `vsock:`.
pub fn parse_import(text: &str) -> Result<NetDescriptor, GrammarError> {
    let descriptor = parse_net(text)?;
    match descriptor.host {
        Host::ThisMachine => Err(GrammarError::PortOnly(text.to_owned())),
        Host::Unix(_) | Host::Vsock { .. } => Err(GrammarError::NotImportable(text.to_owned())),
        _ => Ok(descriptor),
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, GrammarError> {
    if port.is_empty() {
        return Err(GrammarError::EmptyPort(text.to_owned()));
    }
    // `u16::from_str` would take `+80`.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(GrammarError::Port(port.to_owned()));
    }
    port.parse()
        .map_err(|_| GrammarError::Port(port.to_owned()))
}

fn parse_host(host: &str) -> Result<Host, GrammarError> {
    if let Some((address, mask)) = host.split_once('/') {
        return match address.parse::<Ipv4Addr>() {
            Ok(address) => {
                let mask = parse_mask(mask, 32)?;
                let subnet = Ipv4Net::new(address, mask).map_err(|_| mask_error(mask, 32))?;
                Ok(Host::Subnet(IpNet::V4(subnet.trunc())))
            }
            Err(_) => Err(GrammarError::PathAfterHost(host.to_owned())),
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    if let Some(parent) = host.strip_prefix("*.") {
        return parse_name(parent, host).map(Host::Wildcard);
    }
    if host.contains('*') {
        return Err(GrammarError::Wildcard(host.to_owned()));
    }
    parse_name(host, host).map(Host::Name)
}

fn parse_name(name: &str, host: &str) -> Result<String, GrammarError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(GrammarError::Empty(Noun::Host));
    }
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if let Some(character) = name.chars().find(|character| !allowed(*character)) {
        return Err(if character == '*' {
            GrammarError::Wildcard(host.to_owned())
        } else {
            GrammarError::HostCharacter {
                host: host.to_owned(),
                character,
            }
        });
    }
    if name.split('.').any(str::is_empty) {
        return Err(GrammarError::EmptyLabel(host.to_owned()));
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Err(GrammarError::HostTooLong(host.to_owned()));
    }
    // `127.0.0.1.` is neither an address nor a name anybody can own; Deno refuses it as well.
    if name.parse::<Ipv4Addr>().is_ok() && host.ends_with('.') {
        return Err(GrammarError::HostCharacter {
            host: host.to_owned(),
            character: '.',
        });
    }
    Ok(name.to_ascii_lowercase())
}

fn mask_error(mask: u8, limit: u8) -> GrammarError {
    GrammarError::Mask {
        mask: mask.to_string(),
        limit,
    }
}

fn parse_mask(mask: &str, limit: u8) -> Result<u8, GrammarError> {
    let wrong = || GrammarError::Mask {
        mask: mask.to_owned(),
        limit,
    };
    if mask.is_empty() || !mask.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    mask.parse()
        .ok()
        .filter(|bits| *bits <= limit)
        .ok_or_else(wrong)
}

/// The part behind `[`.
fn parse_bracketed(rest: &str, text: &str) -> Result<NetDescriptor, GrammarError> {
    let Some((inside, behind)) = rest.split_once(']') else {
        return Err(GrammarError::Ipv6(text.to_owned()));
    };
    let address = parse_ipv6(inside)?;
    let (mask, port) = match behind.strip_prefix('/') {
        Some(behind) => match behind.split_once(':') {
            Some((mask, port)) => (Some(mask), Some(port)),
            None => (Some(behind), None),
        },
        None if behind.is_empty() => (None, None),
        None => match behind.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None => {
                let rest = behind.to_owned();
                return Err(GrammarError::AfterBracket {
                    rest,
                    text: text.to_owned(),
                });
            }
        },
    };
    let host = match mask {
        Some(mask) => Host::Subnet(ipv6_subnet(address, parse_mask(mask, 128)?)?),
        None => Host::Address(canonical(address)),
    };
    let port = port.map(|port| parse_port(port, text)).transpose()?;
    Ok(NetDescriptor { host, port })
}

/// More than one colon and no brackets: a CIDR block, or an address that lacks its brackets.
fn parse_bare_ipv6(text: &str) -> Result<NetDescriptor, GrammarError> {
    if let Some((address, mask)) = text.split_once('/')
        && let Ok(address) = parse_ipv6(address)
    {
        let host = Host::Subnet(ipv6_subnet(address, parse_mask(mask, 128)?)?);
        return Ok(NetDescriptor { host, port: None });
    }
    if parse_ipv6(text).is_ok() {
        return Err(GrammarError::Brackets(text.to_owned()));
    }
    let port = text.split_once(':').map_or("", |(_, port)| port);
    Err(GrammarError::Port(port.to_owned()))
}

/// The zone (`%eth0`) is dropped: a permission is about the address.
fn parse_ipv6(text: &str) -> Result<Ipv6Addr, GrammarError> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address
        .parse()
        .map_err(|_| GrammarError::Ipv6(text.to_owned()))
}

fn canonical(address: Ipv6Addr) -> IpAddr {
    address
        .to_ipv4_mapped()
        .map_or(IpAddr::V6(address), IpAddr::V4)
}

/// A block inside `::ffff:0:0/96` is stored as the IPv4 block it means.
fn ipv6_subnet(address: Ipv6Addr, mask: u8) -> Result<IpNet, GrammarError> {
    let wrong = |_| mask_error(mask, 128);
    match (address.to_ipv4_mapped(), mask.checked_sub(96)) {
        (Some(address), Some(mask)) => Ok(IpNet::V4(
            Ipv4Net::new(address, mask).map_err(wrong)?.trunc(),
        )),
        _ => Ok(IpNet::V6(
            Ipv6Net::new(address, mask).map_err(wrong)?.trunc(),
        )),
    }
}

/// `unix:/absolute/path`, `.` and `..` removed lexically as in Deno.
fn parse_unix(path: &str, text: &str) -> Result<NetDescriptor, GrammarError> {
    if !path.starts_with('/') {
        return Err(GrammarError::UnixPath(text.to_owned()));
    }
    let mut normal = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(NetDescriptor {
        host: Host::Unix(normal),
        port: None,
    })
}

fn parse_vsock(rest: &str, text: &str) -> Result<NetDescriptor, GrammarError> {
    let wrong = || GrammarError::Vsock(text.to_owned());
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (cid, port) = rest.split_once(':').ok_or_else(wrong)?;
    // VMADDR_CID_ANY is -1U, vsock(7).
    let cid = if cid == "-1" {
        Some(u32::MAX)
    } else {
        number(cid)
    };
    let host = Host::Vsock {
        cid: cid.ok_or_else(wrong)?,
        port: number(port).ok_or_else(wrong)?,
    };
    Ok(NetDescriptor { host, port: None })
}

impl fmt::Display for NetDescriptor {
    /// The form [`parse_net`] reads back to the same value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            // With a port these would begin like a socket's rule; the dot says that it is a name.
            Host::Name(name) if self.port.is_some() && ["unix", "vsock"].contains(&&**name) => {
                write!(formatter, "{name}.")?;
            }
            Host::Name(name) => formatter.write_str(name)?,
            Host::Wildcard(parent) => write!(formatter, "*.{parent}")?,
            Host::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
            Host::Subnet(IpNet::V4(subnet)) => write!(formatter, "{subnet}")?,
            Host::Subnet(IpNet::V6(subnet)) => {
                write!(formatter, "[{}]/{}", subnet.network(), subnet.prefix_len())?;
            }
            Host::ThisMachine => {}
            Host::Unix(path) => write!(formatter, "unix:{}", path.display())?,
            Host::Vsock {
                cid: u32::MAX,
                port,
            } => write!(formatter, "vsock:-1:{port}")?,
            Host::Vsock { cid, port } => write!(formatter, "vsock:{cid}:{port}")?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each line: what is typed, and what it is printed as once parsed.
    #[test]
    fn accepted_forms() {
        for (text, rendered) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("UNIX:80", "unix.:80"),
            ("vsock.:3", "vsock.:3"),
            ("VSOCK", "vsock"),
            ("example.com:443", "example.com:443"),
            ("example.com:080", "example.com:80"),
            ("example.com:0", "example.com:0"),
            ("localhost.:1", "localhost:1"),
            ("a_b.com", "a_b.com"),
            ("-a.com", "-a.com"),
            ("*.Example.com:443", "*.example.com:443"),
            ("*.com", "*.com"),
            ("*.1.2.3.4", "*.1.2.3.4"),
            (":8080", ":8080"),
            (":0", ":0"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.0.0.0/08:80", "10.0.0.0/8:80"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("127.1", "127.1"),
            ("0x7f000001", "0x7f000001"),
            ("999.0.88.1", "999.0.88.1"),
            ("01.2.3.4", "01.2.3.4"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("[FE80::1%eth0]:80", "[fe80::1]:80"),
            ("[::ffff:127.0.0.1]:5", "127.0.0.1:5"),
            ("[2001:db8::1]/32", "[2001:db8::]/32"),
            ("[2001:db8::]/32:443", "[2001:db8::]/32:443"),
            ("2001:db8::/32", "[2001:db8::]/32"),
            ("::/0", "[::]/0"),
            ("[::ffff:10.0.0.0]/104:80", "10.0.0.0/8:80"),
            ("[::ffff:0:0]/95", "[::fffe:0:0]/95"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:/a/./b/../c/", "unix:/a/c"),
            ("unix:/../x", "unix:/x"),
            ("vsock:2:1024", "vsock:2:1024"),
            ("vsock:-1:80", "vsock:-1:80"),
            ("vsock:4294967295:80", "vsock:-1:80"),
        ] {
            let parsed = parse_net(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(parsed.to_string(), rendered, "{text:?}");
            assert_eq!(
                parse_net(rendered).unwrap(),
                parsed,
                "{rendered:?} is not read back"
            );
        }
    }

    #[test]
    fn refused_forms() {
        for (text, message) in [
            ("", "an empty host"),
            (".", "an empty host"),
            ("*.", "an empty host"),
            ("a\0", "a NUL character in host"),
            ("a..com", "an empty label in the host `a..com`"),
            (".com", "an empty label in the host `.com`"),
            ("a.com..", "an empty label in the host `a.com..`"),
            (
                "*",
                "`*` can only be the first label, followed by a dot, in `*`",
            ),
            (
                "*:443",
                "`*` can only be the first label, followed by a dot, in `*`",
            ),
            (
                "a.*.com",
                "`*` can only be the first label, followed by a dot, in `a.*.com`",
            ),
            (
                "*.*.com",
                "`*` can only be the first label, followed by a dot, in `*.*.com`",
            ),
            (
                "*a.com",
                "`*` can only be the first label, followed by a dot, in `*a.com`",
            ),
            ("a.com:", "an empty port in `a.com:`"),
            (":", "an empty port in `:`"),
            (
                "a.com:http",
                "the port `http` is not a number from 0 to 65535",
            ),
            (
                "a.com:+80",
                "the port `+80` is not a number from 0 to 65535",
            ),
            (
                "a.com:65536",
                "the port `65536` is not a number from 0 to 65535",
            ),
            (
                "a.com:80-90",
                "the port `80-90` is not a number from 0 to 65535",
            ),
            (
                "a.com:80:90",
                "the port `80:90` is not a number from 0 to 65535",
            ),
            (":80:80", "the port `80:80` is not a number from 0 to 65535"),
            ("10.0.0.0/33", "the mask `/33` is not a number from 0 to 32"),
            ("10.0.0.0/", "the mask `/` is not a number from 0 to 32"),
            (
                "10.0.0.0/255.0.0.0",
                "the mask `/255.0.0.0` is not a number from 0 to 32",
            ),
            ("10.0.0.0/8:", "an empty port in `10.0.0.0/8:`"),
            ("127.0.0.1.", "`.` cannot be part of the host `127.0.0.1.`"),
            ("::1", "the IPv6 address in `::1` is not in square brackets"),
            ("[::1", "`[::1` is not an IPv6 address"),
            ("[127.0.0.1]", "`127.0.0.1` is not an IPv6 address"),
            ("[2001:db8::/32]", "`2001:db8::/32` is not an IPv6 address"),
            ("[::1]:", "an empty port in `[::1]:`"),
            ("[::1]x", "unexpected `x` behind `]` in `[::1]x`"),
            ("[::1]/129", "the mask `/129` is not a number from 0 to 128"),
            (
                "2001:db8::/32:80",
                "the mask `/32:80` is not a number from 0 to 128",
            ),
            ("https://a.com/x", "`https://a.com/x` is a URL, not a host"),
            ("a.com/x", "`a.com/x` has a path or an invalid CIDR mask"),
            ("a b", "` ` cannot be part of the host `a b`"),
            (" a.com", "` ` cannot be part of the host ` a.com`"),
            ("u@h", "`@` cannot be part of the host `u@h`"),
            ("müller.de", "`ü` cannot be part of the host `müller.de`"),
            ("unix:x", "the socket path in `unix:x` is not absolute"),
            ("unix:", "the socket path in `unix:` is not absolute"),
            ("UNIX:/a", "the port `/a` is not a number from 0 to 65535"),
            ("vsock:1", "`vsock:1` is not `vsock:CID:PORT`"),
            ("vsock::1", "`vsock::1` is not `vsock:CID:PORT`"),
            ("vsock:+1:1", "`vsock:+1:1` is not `vsock:CID:PORT`"),
            ("vsock:1:-1", "`vsock:1:-1` is not `vsock:CID:PORT`"),
            (
                "vsock:4294967296:1",
                "`vsock:4294967296:1` is not `vsock:CID:PORT`",
            ),
        ] {
            match parse_net(text) {
                Ok(parsed) => panic!("{text:?} was read as {parsed}"),
                Err(error) => {
                    assert_eq!(error.to_string(), message, "{text:?}");
                    assert!(error.hint().is_some(), "{text:?} has no hint");
                }
            }
        }
        let label = "a".repeat(64);
        assert_eq!(
            parse_net(&label),
            Err(GrammarError::HostTooLong(label.clone()))
        );
        let long = vec!["abcdefghi"; 26].join(".");
        assert_eq!(
            parse_net(&long),
            Err(GrammarError::HostTooLong(long.clone()))
        );
        assert!(parse_net(&label[1..]).is_ok());
    }

    #[test]
    fn imports_are_hosts() {
        for text in ["esm.sh", "esm.sh:443", "*.a.com", "10.0.0.0/8", "[::1]:80"] {
            assert!(parse_import(text).is_ok(), "{text:?}");
        }
        for text in [":8080", "unix:/x", "vsock:1:1", "*", ""] {
            assert!(parse_import(text).is_err(), "{text:?}");
        }
    }

    fn hosts() -> impl Strategy<Value = Host> {
        let name = || "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){0,3}";
        prop_oneof![
            name().prop_filter_map("an address", |name| {
                name.parse::<Ipv4Addr>()
                    .is_err()
                    .then_some(Host::Name(name))
            }),
            name().prop_map(Host::Wildcard),
            any::<Ipv4Addr>().prop_map(|address| Host::Address(IpAddr::V4(address))),
            any::<Ipv6Addr>().prop_map(|address| Host::Address(canonical(address))),
            (any::<Ipv4Addr>(), 0..=32_u8).prop_map(|(address, mask)| {
                Host::Subnet(IpNet::V4(Ipv4Net::new(address, mask).unwrap().trunc()))
            }),
            (any::<Ipv6Addr>(), 0..=128_u8)
                .prop_map(|(address, mask)| Host::Subnet(ipv6_subnet(address, mask).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn rendered_peers_are_read_back(host in hosts(), port in any::<Option<u16>>()) {
            let descriptor = NetDescriptor { host, port };
            prop_assert_eq!(parse_net(&descriptor.to_string()), Ok(descriptor));
        }

        #[test]
        fn sockets_are_read_back(cid in any::<u32>(), port in any::<u32>(), path in "/[a-z./]{0,20}") {
            let vsock = NetDescriptor { host: Host::Vsock { cid, port }, port: None };
            prop_assert_eq!(parse_net(&vsock.to_string()), Ok(vsock));
            let unix = parse_net(&format!("unix:{path}")).unwrap();
            prop_assert_eq!(parse_net(&unix.to_string()), Ok(unix));
        }

        #[test]
        fn whatever_is_accepted_is_read_back(text in "[a-c0-9:./*\\[\\]%-]{0,24}") {
            if let Ok(descriptor) = parse_net(&text) {
                prop_assert_eq!(parse_net(&descriptor.to_string()), Ok(descriptor));
            }
        }
    }
}
