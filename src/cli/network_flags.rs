// SPDX-License-Identifier: MIT
//! The flags about the network beside the permissions: name servers, proxies, what is checked, what
//! `serve` listens on.
//!
//! Invariant: nothing here grants a peer that no permission flag grants, except the listener of
//! `serve`, which comes with the command as in Deno; and credentials are in no message.

use std::net::{IpAddr, SocketAddr};

use super::argument_error::ArgumentError;
use super::handled_flags::invalid;
use crate::plan::{NetRule, NetSettings, UpstreamProxy, Verify};
use crate::policy::compose::{net_overlaps, net_verdict};
use crate::policy::flags::FlagError;
use crate::policy::spelling::nearest;
use crate::policy::{Entry, Host, NetDescriptor, Origin, Policy, grammar};

/// The port of name servers.
const DNS_PORT: u16 = 53;
/// The port of `serve`.
const SERVE_PORT: u16 = 8000;
/// The port of `http:` URLs.
const HTTP_PORT: u16 = 80;

/// One entry of `--dns`.
pub(super) fn name_server(flag: &str, entry: &str) -> Result<SocketAddr, ArgumentError> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = entry.parse().ok().or_else(|| {
        let address = bare.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    address
        .filter(|server: &SocketAddr| {
            let ip = server.ip();
            server.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
        })
        .ok_or_else(|| {
            invalid(
                flag.to_owned(),
                entry,
                "an address, `ADDRESS:PORT` or `[IPV6]:PORT`",
            )
        })
}

/// The value of `--upstream-proxy`.
pub(super) fn upstream_proxy(flag: &str, value: &str) -> Result<UpstreamProxy, ArgumentError> {
    let shown = without_credentials(value);
    let wrong = || {
        let accepted = "`http://[USER:PASSWORD@]HOST[:PORT]`";
        invalid(flag.to_owned(), &shown, accepted)
    };
    let rest = match value.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        _ => return Err(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, peer) = match rest.rsplit_once('@') {
        Some((user, peer)) => (Some(user), peer),
        None => (None, rest),
    };
    let descriptor = grammar::parse_net(peer).map_err(|_| wrong())?;
    let host = match descriptor.host {
        Host::Name(name) => name,
        Host::Address(address) => address.to_string(),
        _ => return Err(wrong()),
    };
    let port = descriptor.port.unwrap_or(HTTP_PORT);
    let credentials = user
        .map(|user| decoded(user).ok_or_else(wrong))
        .transpose()?;
    // A user name ends at the first colon (RFC 7617).
    if port == 0
        || credentials
            .as_ref()
            .is_some_and(|bytes| !bytes.contains(&b':'))
    {
        return Err(wrong());
    }
    Ok(UpstreamProxy {
        host,
        port,
        credentials,
    })
}

fn without_credentials(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, peer)) => format!("http://***@{peer}"),
        None => url.to_owned(),
    }
}

/// Percent-decoded; none for a `%` without two hexadecimal digits, and for control characters.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        };
        if byte.is_ascii_control() {
            return None;
        }
        bytes.push(byte);
    }
    Some(bytes)
}

/// One entry of `--verify`: `HOST[:PORT]=sni` or `=none`.
pub(super) fn verified(flag: &str, entry: &str) -> Result<NetRule, ArgumentError> {
    let wrong = || {
        let accepted =
            "`HOST[:PORT]=sni` (the TLS server name on every port) or `HOST[:PORT]=none`";
        invalid(flag.to_owned(), entry, accepted)
    };
    let (peer, what) = entry.rsplit_once('=').ok_or_else(wrong)?;
    let verify = match what {
        "sni" => Verify::ServerName,
        "none" => Verify::Nothing,
        _ => return Err(wrong()),
    };
    let descriptor = peer_entry(flag, peer)?;
    if !matches!(descriptor.host, Host::Name(_) | Host::Wildcard(_)) {
        return Err(wrong());
    }
    Ok(NetRule {
        host: descriptor.host,
        port: descriptor.port,
        verify,
        origin: Origin::flag(flag, Some(entry)),
    })
}

/// One entry of `--allow-private`.
pub(super) fn private(flag: &str, entry: String) -> Result<Entry<NetDescriptor>, ArgumentError> {
    Ok(Entry {
        descriptor: peer_entry(flag, &entry)?,
        origin: Origin::flag(flag, Some(&entry)),
        text: entry,
    })
}

fn peer_entry(flag: &str, entry: &str) -> Result<NetDescriptor, ArgumentError> {
    Ok(
        grammar::parse_import(entry).map_err(|cause| FlagError::Entry {
            flag: flag.to_owned(),
            entry: entry.to_owned(),
            cause,
        })?,
    )
}

/// What `serve` listens on, as the rule that grants it.
pub(super) fn listener(host: Option<&str>, port: Option<u16>) -> Result<NetRule, ArgumentError> {
    let (host, port) = (host.unwrap_or("0.0.0.0"), port.unwrap_or(SERVE_PORT));
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let parsed = match address.parse::<IpAddr>() {
        Ok(address) => Host::Address(address.to_canonical()),
        Err(_) => match grammar::parse_net(host) {
            Ok(NetDescriptor {
                host: name @ Host::Name(_),
                port: None,
            }) => name,
            _ => {
                let flag = "--host".to_owned();
                return Err(invalid(flag, host, "an address, or a name without a port"));
            }
        },
    };
    Ok(NetRule {
        host: parsed,
        port: Some(port),
        verify: Verify::ByPort,
        origin: Origin::flag("serve --port", Some(&port.to_string())),
    })
}

/// Where Deno's inspector listens when nothing else is said.
const INSPECTOR: (&str, u16) = ("127.0.0.1", 9229);

/// Refuses an inspector whose listener no rule grants: it would fail when it is opened.
fn check_inspector(policy: &Policy, flag: &str, value: Option<&str>) -> Result<(), ArgumentError> {
    let listener = match value {
        None => format!("{}:{}", INSPECTOR.0, INSPECTOR.1),
        Some(port) if port.parse::<u16>().is_ok() => format!("{}:{port}", INSPECTOR.0),
        Some(peer) => match grammar::parse_net(peer) {
            Ok(NetDescriptor { port: None, .. }) => format!("{peer}:{}", INSPECTOR.1),
            _ => peer.to_owned(),
        },
    };
    // What cannot be read here is left to Deno, under the whole network alone.
    let whole =
        policy.net.deny.is_empty() && (policy.all.is_some() || policy.net.allow.all.is_some());
    let granted = grammar::parse_net(&listener)
        .is_ok_and(|asked| net_verdict(policy, &asked).allowed().is_some());
    if whole || granted {
        return Ok(());
    }
    Err(ArgumentError::NeedsNet {
        flag: flag.to_owned(),
        listener,
    })
}

/// Refuses inspectors and settings for which there is no grant.
pub(super) fn check_all(
    policy: &Policy,
    settings: &NetSettings,
    inspectors: &[(String, Option<String>)],
) -> Result<(), ArgumentError> {
    for (flag, value) in inspectors {
        check_inspector(policy, flag, value.as_deref())?;
    }
    check(policy, settings)
}

/// Refuses settings for peers that nothing grants: most likely they are misspelled.
fn check(policy: &Policy, settings: &NetSettings) -> Result<(), ArgumentError> {
    let allow = &policy.net.allow;
    let nothing = |peer: &NetDescriptor, origin: &Origin| {
        let granted = allow
            .entries
            .iter()
            .any(|entry| net_overlaps(&entry.descriptor, peer));
        if granted {
            return Ok(());
        }
        let text = peer.to_string();
        let others: Vec<String> = allow
            .entries
            .iter()
            .map(|entry| entry.descriptor.to_string())
            .collect();
        Err(ArgumentError::NothingGranted {
            entry: origin.to_string(),
            suggestion: nearest(&text, others.iter().map(String::as_str)).map(str::to_owned),
            peer: text,
        })
    };
    for rule in &settings.verify {
        nothing(&rule.descriptor(), &rule.origin)?;
    }
    // The bare grant covers every name; what is checked needs a list.
    if policy.all.is_none() && allow.all.is_none() {
        for entry in &settings.private {
            nothing(&entry.descriptor, &entry.origin)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]", Some("[::1]:53")),
            ("[::1]:54", Some("[::1]:54")),
            ("0.0.0.0", None),
            ("224.0.0.1", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1:x", None),
            ("dns.example", None),
            ("", None),
        ] {
            let found = name_server("--dns", text)
                .ok()
                .map(|server| server.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn proxies() {
        for (text, expected, login) in [
            ("http://proxy.corp:3128", "http://proxy.corp:3128", None),
            ("HTTP://Proxy.corp/", "http://proxy.corp:80", None),
            ("http://[::1]:8080", "http://[::1]:8080", None),
            (
                "http://u:p@10.0.0.1:3128",
                "http://10.0.0.1:3128",
                Some("u:p"),
            ),
            ("http://u:p%40:q@a:1", "http://a:1", Some("u:p@:q")),
            ("http://u:a@b@a:1", "http://a:1", Some("u:a@b")),
        ] {
            let proxy = upstream_proxy("--upstream-proxy", text).unwrap();
            assert_eq!(proxy.to_string(), expected, "{text}");
            assert_eq!(
                proxy.credentials.as_deref(),
                login.map(str::as_bytes),
                "{text}"
            );
        }
        for text in [
            "proxy.corp:3128",
            "https://proxy.corp:3128",
            "socks5://a:1",
            "http://",
            "http://a:0",
            "http://a:x",
            "http://a/path",
            "http://*.a:1",
            "http://10.0.0.0/8:1",
            "http://:80",
            "http://user@a:1",
            "http://u:%0d%0a@a:1",
            "http://u:%4@a:1",
            "http://u:%zz@a:1",
        ] {
            assert!(upstream_proxy("--upstream-proxy", text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_in_no_text() {
        let proxy = upstream_proxy("--upstream-proxy", "http://user:s3cret@a:1").unwrap();
        let printed = format!(
            "{proxy} {proxy:?} {}",
            serde_json::to_string(&proxy).unwrap()
        );
        assert!(
            !printed.contains("s3cret") && !printed.contains("user"),
            "{printed}"
        );
        for text in [
            "http://user:s3cret@a:x",
            "ftp://user:s3cret@a",
            "user:s3cret@a",
        ] {
            let error = upstream_proxy("--upstream-proxy", text).unwrap_err();
            let printed = format!("{error} {error:?} {:?}", error.hint());
            assert!(!printed.contains("s3cret"), "{printed}");
        }
    }

    #[test]
    fn checks() {
        let rule = |text| verified("--verify", text).map(|rule| (rule.to_string(), rule.verify));
        assert_eq!(
            rule("db.a:5432=sni"),
            Ok(("db.a:5432".to_owned(), Verify::ServerName))
        );
        assert_eq!(rule("*.A=none"), Ok(("*.a".to_owned(), Verify::Nothing)));
        for text in [
            "db.a",
            "db.a=",
            "db.a=http",
            "10.0.0.1=sni",
            "=sni",
            ":80=sni",
            "unix:/a=none",
        ] {
            assert!(rule(text).is_err(), "{text}");
        }
    }
}
