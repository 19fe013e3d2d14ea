// SPDX-License-Identifier: MIT
//! A plain HTTP client and a server that say anything in turns: whatever reader the server behind is,
//! it finds requests for granted names only.
#![no_main]

mod conversation;

use libfuzzer_sys::fuzz_target;
use stockade::egress::sniff::Expect;

const NAMES: [&str; 2] = ["example.com", "b.example"];

fuzz_target!(|input: &[u8]| {
    let Some((cut, turns)) = conversation::turns(input) else {
        return;
    };
    let expect = Expect::HttpHost {
        names: NAMES.map(str::to_owned).to_vec(),
        port: 80,
    };
    let end = conversation::carry_twice(&turns, &expect, cut);
    if end.total > end.accepted.len() {
        // Nobody looks any more: the client asked for it, and the server said so.
        let said = |side: usize, text: &str| {
            let mut turns = turns.iter().skip(side).step_by(2);
            turns.any(|turn| String::from_utf8_lossy(turn).to_ascii_lowercase().contains(text))
        };
        assert!(said(0, "websocket") && said(1, "websocket") && said(1, " 101"));
    }
    let mut first = None;
    for number in 0..1 << 5 {
        let reader = Reader {
            feeds: number & 1 != 0,
            any_coding: number & 2 != 0,
            length_wins: number & 4 != 0,
            last_host: number & 8 != 0,
            folds: number & 16 != 0,
        };
        let hosts = reader.hosts(&end.accepted);
        for host in &hosts {
            let host = host.strip_suffix(":80").unwrap_or(host);
            let host = host.strip_suffix('.').unwrap_or(host);
            assert!(NAMES.contains(&host), "{reader:?} finds {host:?}");
        }
        assert_eq!(*first.get_or_insert_with(|| hosts.clone()), hosts, "{reader:?}");
    }
});

/// A server, and where it is more lenient than RFC 9112 asks for.
#[derive(Debug)]
struct Reader {
    /// A bare line feed ends a line.
    feeds: bool,
    /// Every transfer coding that has `chunked` in it somewhere is that.
    any_coding: bool,
    /// `Content-Length` counts where both are there.
    length_wins: bool,
    /// The last `Host` counts.
    last_host: bool,
    /// Lines that begin with a space belong to the one before.
    folds: bool,
}

impl Reader {
    /// The host of every request in `bytes`.
    fn hosts(&self, mut bytes: &[u8]) -> Vec<String> {
        let mut hosts = Vec::new();
        while !bytes.is_empty() {
            let Some(head) = self.head(&mut bytes) else {
                panic!("{self:?}: a head without an end");
            };
            hosts.push(self.host(&head));
            let field = |name: &str| {
                let found = head.iter().skip(1).filter_map(|line| value(line, name));
                found.last().map(str::to_ascii_lowercase)
            };
            let (length, coding) = (field("content-length"), field("transfer-encoding"));
            let chunked = coding.is_some_and(|coding| match self.any_coding {
                true => coding.contains("chunked"),
                false => coding == "chunked",
            });
            let length = length.and_then(|length| length.parse::<usize>().ok());
            match length {
                Some(length) if !chunked || self.length_wins => {
                    bytes = bytes.get(length..).unwrap_or_default();
                }
                _ if chunked => self.skip_chunks(&mut bytes),
                _ => {}
            }
        }
        hosts
    }

    fn line(&self, bytes: &mut &[u8]) -> Option<String> {
        let mut from = 0;
        loop {
            let at = from + bytes.get(from..)?.iter().position(|&byte| byte == b'\n')?;
            let carriage = at > 0 && bytes[at - 1] == b'\r';
            if carriage || self.feeds {
                let line = String::from_utf8_lossy(&bytes[..at - usize::from(carriage)]);
                *bytes = &bytes[at + 1..];
                return Some(line.into_owned());
            }
            from = at + 1;
        }
    }

    fn head(&self, bytes: &mut &[u8]) -> Option<Vec<String>> {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.line(bytes)?;
            if line.is_empty() {
                return Some(lines);
            }
            match lines.last_mut() {
                Some(last) if self.folds && line.starts_with([' ', '\t']) => last.push_str(&line),
                _ => lines.push(line),
            }
        }
    }

    fn host(&self, head: &[String]) -> String {
        let target = head[0].split(' ').nth(1).unwrap_or_default();
        if let Some((_, rest)) = target.split_once("://")
            && !target.starts_with('/')
        {
            let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
            return rest[..end].to_ascii_lowercase();
        }
        let mut hosts = head.iter().skip(1).filter_map(|line| value(line, "host"));
        let host = if self.last_host { hosts.last() } else { hosts.next() };
        host.unwrap_or_default().to_ascii_lowercase()
    }

    fn skip_chunks(&self, bytes: &mut &[u8]) {
        while let Some(line) = self.line(bytes) {
            let digits = line.chars().take_while(char::is_ascii_hexdigit).collect::<String>();
            let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
            if size == 0 {
                loop {
                    match self.line(bytes) {
                        Some(line) if line.is_empty() => return,
                        Some(_) => {}
                        None => return *bytes = &[],
                    }
                }
            }
            *bytes = bytes.get(size.saturating_add(2)..).unwrap_or_default();
        }
        *bytes = &[];
    }
}

/// The value of a field of this name, the spaces around both left out.
fn value<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (found, value) = line.split_once(':')?;
    found
        .trim()
        .replace('_', "-")
        .eq_ignore_ascii_case(name)
        .then(|| value.trim())
}
