// SPDX-License-Identifier: MIT
//! The machine's own two files about names: /etc/hosts and /etc/resolv.conf, as libc reads them.
//!
//! Invariant: bytes in, values out; a line that is not understood is skipped, as libc does, and
//! never widens another one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::names::{NameBook, normal};
use super::rules::{NameVerdict, Rules, Search, is_plain};

/// How much of either file is read, in bytes; block lists of hosts files reach a few megabytes.
pub const FILE_LIMIT: usize = 16 * 1024 * 1024;
/// glibc's MAXNS: further name servers are ignored.
const NAME_SERVERS: usize = 3;
/// glibc has no limit since 2.26; every query of a short name costs one lookup per domain.
const DOMAINS: usize = 32;

/// The hosts file: name → addresses, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    names: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads the text of a hosts file; what is behind [`FILE_LIMIT`] is not looked at.
    pub fn parse(text: &[u8]) -> Self {
        let mut hosts = Self::default();
        for words in lines(text, b"#") {
            let mut words = words.into_iter();
            // An address with a zone (`fe80::1%lo0`) cannot be connected to by address alone.
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
                continue;
            };
            for name in words.filter(|name| is_plain(name)) {
                let addresses = hosts.names.entry(normal(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of `name` (lower case, no trailing dot). `localhost` and the names below it are
    /// this machine even if the file does not say so (RFC 6761 §6.3).
    pub fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        const LOOPBACK: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        match self.names.get(name) {
            Some(addresses) => Some(addresses),
            None if name == "localhost" || name.ends_with(".localhost") => Some(&LOOPBACK),
            None => None,
        }
    }

    /// Pins, for the whole run, the names of this file that some rule speaks of: programs read the
    /// file themselves, so no lookup will tell. Of granted names the addresses they may lead to;
    /// of denied names all.
    pub fn pin(&self, rules: &Rules, book: &mut NameBook) {
        let written = self.names.keys().map(String::as_str);
        for name in written.chain(["localhost"]) {
            if !rules.mentions(name) {
                continue;
            }
            let Some(addresses) = self.addresses(name) else {
                continue;
            };
            let granted = rules.name(name) == NameVerdict::Granted;
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|address| !granted || rules.admits_from_hosts(name, *address).is_ok())
                .collect();
            book.pin_for_ever(name, &addresses);
        }
    }
}

/// What resolv.conf says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverFile {
    /// The name servers, in order; never empty.
    pub name_servers: Vec<NameServer>,
    /// The search list.
    pub search: Search,
    /// How long one server is waited for.
    pub timeout: Duration,
    /// How often the servers are asked.
    pub attempts: u8,
}

/// One `nameserver` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its address.
    pub address: IpAddr,
    /// The interface of a link-local address: `eth0` in `fe80::1%eth0`.
    pub zone: Option<String>,
}

impl Default for ResolverFile {
    /// An empty file, by resolv.conf(5): the server on this machine.
    fn default() -> Self {
        Self::parse(b"")
    }
}

impl ResolverFile {
    /// Reads the text of a resolv.conf; what is behind [`FILE_LIMIT`] is not looked at.
    pub fn parse(text: &[u8]) -> Self {
        let mut file = Self {
            name_servers: Vec::new(),
            search: Search {
                domains: Vec::new(),
                dots: 1,
            },
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for words in lines(text, b"#;") {
            let Some((keyword, values)) = words.split_first() else {
                continue;
            };
            match *keyword {
                "nameserver" => file.name_servers.extend(values.first().and_then(server)),
                // The last of `search` and `domain` wins.
                "search" | "domain" => {
                    let count = if *keyword == "domain" { 1 } else { DOMAINS };
                    file.search.domains = values
                        .iter()
                        .map(|domain| normal(domain))
                        .filter(|domain| is_plain(domain))
                        .take(count)
                        .collect();
                }
                "options" => values.iter().for_each(|option| file.option(option)),
                _ => {}
            }
        }
        file.name_servers.truncate(NAME_SERVERS);
        if file.name_servers.is_empty() {
            file.name_servers.push(NameServer {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                zone: None,
            });
        }
        file
    }

    /// The limits are glibc's: RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY.
    fn option(&mut self, option: &str) {
        let number = |limit: u8| {
            let (_, value) = option.split_once(':')?;
            Some(value.parse::<u64>().ok()?.min(limit.into()))
        };
        let small = |limit| number(limit).and_then(|value| u8::try_from(value).ok());
        if option.starts_with("ndots:") {
            self.search.dots = small(15).unwrap_or(self.search.dots);
        } else if option.starts_with("timeout:") {
            let seconds = number(30).unwrap_or(5).max(1);
            self.timeout = Duration::from_secs(seconds);
        } else if option.starts_with("attempts:") {
            self.attempts = small(5).unwrap_or(self.attempts).max(1);
        }
    }
}

fn server(word: &&str) -> Option<NameServer> {
    let (address, zone) = match word.split_once('%') {
        Some((address, zone)) => (address, Some(zone.to_owned())),
        None => (*word, None),
    };
    let address = address.parse().ok()?;
    Some(NameServer { address, zone })
}

/// The words of every line, up to a comment; lines that are not UTF-8 are skipped.
fn lines<'t>(text: &'t [u8], comment: &'static [u8]) -> impl Iterator<Item = Vec<&'t str>> {
    let text = text.get(..FILE_LIMIT).unwrap_or(text);
    text.split(|byte| *byte == b'\n').filter_map(move |line| {
        let line = line.split(|byte| comment.contains(byte)).next()?;
        Some(std::str::from_utf8(line).ok()?.split_whitespace().collect())
    })
}

/// Both parsers on arbitrary bytes, and what is pinned of them; for fuzzing.
#[doc(hidden)]
pub fn fuzz_hosts(data: &[u8]) {
    let hosts = Hosts::parse(data);
    let file = ResolverFile::parse(data);
    let rules = Rules::new(&crate::plan::NetRules::default()).with_search(file.search);
    let mut book = NameBook::new();
    hosts.pin(&rules, &mut book);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(book.names_of(loopback, Instant::now()).count(), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{NetRule, NetRules, Verify};
    use crate::policy::grammar::parse_net;
    use crate::policy::{NetDescriptor, Origin};

    fn addresses(hosts: &Hosts, name: &str) -> String {
        let addresses = hosts.addresses(name).unwrap_or_default();
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.join(" ")
    }

    #[test]
    fn hosts_are_read_as_libc_does() {
        let hosts = Hosts::parse(
            b"127.0.0.1\tlocalhost  Box.Example.  box # the box\n\
              ::1 localhost ip6-localhost\n\
              # 10.0.0.9 commented\n\
              10.0.0.1 a#b\n\
              10.0.0.2 a\r\n\
              10.0.0.2 a\n\
              fe80::1%lo0 zoned\n\
              999.0.0.1 wrong\n\
              10.0.0.3 w\xffrong\n\
              10.0.0.4 bad;name good\n\
              10.0.0.5",
        );
        for (name, expected) in [
            ("localhost", "127.0.0.1 ::1"),
            ("box.example", "127.0.0.1"),
            ("box", "127.0.0.1"),
            ("ip6-localhost", "::1"),
            ("a", "10.0.0.1 10.0.0.2"),
            ("b", ""),
            ("commented", ""),
            ("zoned", ""),
            ("wrong", ""),
            ("bad;name", ""),
            ("good", "10.0.0.4"),
            ("x.localhost", "127.0.0.1 ::1"),
            ("xlocalhost", ""),
        ] {
            assert_eq!(addresses(&hosts, name), expected, "{name}");
        }
        assert_eq!(addresses(&Hosts::default(), "localhost"), "127.0.0.1 ::1");
    }

    fn rules(allow: &str, deny: &str) -> Rules {
        let list = |texts: &str| {
            let rule = |text: &str| {
                let NetDescriptor { host, port } = parse_net(text).unwrap();
                NetRule {
                    host,
                    port,
                    verify: Verify::ByPort,
                    origin: Origin::flag("--allow-net", Some(text)),
                }
            };
            texts.split_whitespace().map(rule).collect()
        };
        Rules::new(&NetRules {
            allow: list(allow),
            deny: list(deny),
            ..NetRules::default()
        })
    }

    #[test]
    fn names_of_the_file_are_pinned() {
        let hosts = Hosts::parse(
            b"10.0.0.1 db.corp\n10.0.0.2 other\n169.254.169.254 db.corp\n10.0.0.3 bad\n0.0.0.0 x.corp",
        );
        let mut book = NameBook::new();
        hosts.pin(&rules("*.corp :80", "bad"), &mut book);
        let names = |address: &str| -> Vec<String> {
            book.names_of(address.parse().unwrap(), Instant::now())
                .map(|named| named.name.to_owned())
                .collect()
        };
        assert_eq!(names("10.0.0.1"), ["db.corp"]);
        assert_eq!(names("10.0.0.2"), [""; 0]);
        assert_eq!(names("169.254.169.254"), [""; 0]);
        assert_eq!(names("10.0.0.3"), ["bad"]);
        assert_eq!(names("127.0.0.1"), ["localhost"]);
        assert_eq!(names("::1"), ["localhost"]);
    }

    #[test]
    fn resolver_files_are_read_as_libc_does() {
        let file = ResolverFile::parse(
            b"# comment\n; comment\nnameserver 10.0.0.53\nnameserver  fe80::1%eth0 \n\
              nameserver nonsense\ndomain a.example\nsearch Corp.Example. lan b;d\n\
              options ndots:5 timeout:99 attempts:0 rotate\nnameserver ::1\nnameserver 1.1.1.1",
        );
        let servers: Vec<String> = file
            .name_servers
            .iter()
            .map(|server| format!("{} {:?}", server.address, server.zone))
            .collect();
        assert_eq!(
            servers,
            ["10.0.0.53 None", "fe80::1 Some(\"eth0\")", "::1 None"]
        );
        assert_eq!(file.search.domains, ["corp.example", "lan", "b"]);
        assert_eq!(file.search.dots, 5);
        assert_eq!(file.timeout, Duration::from_secs(30));
        assert_eq!(file.attempts, 1);
        let empty = ResolverFile::default();
        assert_eq!(empty.name_servers.len(), 1);
        assert_eq!(empty.name_servers[0].address.to_string(), "127.0.0.1");
        assert_eq!(empty.search.dots, 1);
        let domain = ResolverFile::parse(b"search a b\ndomain c d\noptions ndots:x");
        assert_eq!(domain.search.domains, ["c"]);
        assert_eq!(domain.search.dots, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(data in any::<Vec<u8>>()) {
            fuzz_hosts(&data);
        }

        #[test]
        fn any_lines_are_read(data in "((nameserver|search|options|127.0.0.1|::1)( [a-z0-9.:%;#]{0,12}){0,3}\n){0,8}") {
            fuzz_hosts(data.as_bytes());
        }
    }
}
