// SPDX-License-Identifier: MIT
//! Denials for the terminal: one line for each kind of denial, and few lines however many there are.
//!
//! Invariant: memory is bounded, nothing a program chose reaches the terminal as a control character,
//! and a denial that got no line of its own is in a count.

use std::collections::HashSet;
use std::time::Duration;

use super::{Action, Event};

/// Lines that may be printed at once.
const BURST: u32 = 20;
/// One more line may be printed after each such time, up to [`BURST`].
const REFILL: Duration = Duration::from_secs(10);
/// The most kinds of denial that are remembered; a kind beyond them counts as not shown.
const REMEMBERED: usize = 1024;
/// The most characters of one name, path or reason.
const LONGEST: usize = 200;
/// The most names of one event.
const NAMES: usize = 3;

/// What is one denial for the reader, however often it happens.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    action: Action,
    object: String,
    program: Option<String>,
}

/// Which denials get a line. Times are those since any fixed moment.
#[derive(Debug)]
pub struct Summary {
    shown: HashSet<Kind>,
    lines_left: u32,
    refilled: Duration,
    denials: u64,
    not_shown: u64,
    next_count: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            shown: HashSet::new(),
            lines_left: BURST,
            refilled: Duration::ZERO,
            denials: 0,
            not_shown: 0,
            next_count: u64::from(BURST),
        }
    }
}

impl Summary {
    /// The line for a denial at `now`; none when the same was told before, or too many were. Each
    /// time the number of those that were too many has doubled, the line says that number.
    pub fn denied(&mut self, event: &Event, now: Duration) -> Option<String> {
        self.denials = self.denials.saturating_add(1);
        let kind = Kind {
            action: event.action,
            object: object(event),
            program: event.program.as_deref().map(printable),
        };
        if self.shown.contains(&kind) {
            return None;
        }
        self.refill(now);
        if self.lines_left > 0 && self.shown.len() < REMEMBERED {
            self.lines_left -= 1;
            let line = describe(event, &kind);
            self.shown.insert(kind);
            return Some(line);
        }
        self.not_shown = self.not_shown.saturating_add(1);
        if self.not_shown < self.next_count {
            return None;
        }
        self.next_count = self.next_count.saturating_mul(2);
        Some(format!("denied: {} more are not shown", self.not_shown))
    }

    /// The last line: how many there were; none when every denial had its line.
    pub fn finish(&self) -> Option<String> {
        let lines = u64::try_from(self.shown.len()).unwrap_or(u64::MAX);
        (self.denials > lines).then(|| {
            let repeated = self
                .denials
                .saturating_sub(lines)
                .saturating_sub(self.not_shown);
            match self.not_shown {
                0 => format!(
                    "denied: {} in all, {repeated} of them repeated",
                    self.denials
                ),
                not_shown => format!(
                    "denied: {} in all, {repeated} of them repeated and {not_shown} not shown; \
                     `--audit FILE` has every one",
                    self.denials
                ),
            }
        })
    }

    fn refill(&mut self, now: Duration) {
        let periods = now.saturating_sub(self.refilled).as_secs() / REFILL.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods > 0 {
            self.lines_left = self.lines_left.saturating_add(periods).min(BURST);
            self.refilled = now;
        }
    }
}

fn describe(event: &Event, kind: &Kind) -> String {
    let mut line = format!("denied: {} {}", verb(event.action), kind.object);
    match (event.pid, &kind.program) {
        (Some(pid), Some(program)) => line.push_str(&format!(" by pid {pid} ({program})")),
        (Some(pid), None) => line.push_str(&format!(" by pid {pid}")),
        (None, Some(program)) => line.push_str(&format!(" by {program}")),
        (None, None) => {}
    }
    line.push_str(": ");
    line.push_str(&printable(&event.reason));
    if let Some(flag) = &event.allow_with {
        line.push_str(&format!("; {} would allow it", printable(flag)));
    }
    line
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Connect => "connect",
        Action::Listen => "listen on",
        Action::Send => "send to",
        Action::Resolve => "look up",
        Action::Relay => "talk to",
        Action::Change => "change",
        Action::Write => "write to",
    }
}

/// `api.x:443 (203.0.113.7)`, `[2001:db8::1]:443`, `/run/x.sock`, `api.x`.
pub(super) fn object(event: &Event) -> String {
    if let Some(path) = &event.path {
        return printable(&path.to_string_lossy());
    }
    let port = event
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let mut names: Vec<String> = event
        .names
        .iter()
        .take(NAMES)
        .map(|name| printable(name))
        .collect();
    if event.names.len() > NAMES {
        names.push("…".to_owned());
    }
    match (names.is_empty(), event.address) {
        (false, Some(address)) => format!("{}{port} ({address})", names.join(", ")),
        (false, None) => format!("{}{port}", names.join(", ")),
        (true, Some(address)) if address.is_ipv6() && event.port.is_some() => {
            format!("[{address}]{port}")
        }
        (true, Some(address)) => format!("{address}{port}"),
        (true, None) if event.port.is_some() => format!("port {}", port.trim_start_matches(':')),
        (true, None) => "a socket".to_owned(),
    }
}

/// The text on one line and short, with whatever a terminal would not show as a character of its own
/// written out.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == LONGEST {
            shown.push('…');
            break;
        }
        if character == '\\' || character.is_control() || is_invisible(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that reorder or hide what stands around them, and other line ends.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::tests::event;

    fn named(name: &str) -> Event {
        Event {
            names: vec![name.to_owned()],
            ..event()
        }
    }

    fn line(event: &Event) -> String {
        Summary::default().denied(event, Duration::ZERO).unwrap()
    }

    #[test]
    fn lines_say_who_what_why_and_the_way_out() {
        assert_eq!(
            line(&event()),
            "denied: connect api.x:443 (203.0.113.7) by pid 12 (curl): no rule names it; \
             --allow-net=api.x:443 would allow it"
        );
        let rest = ": no rule names it; --allow-net=api.x:443 would allow it";
        for (changed, expected) in [
            (
                Event {
                    action: Action::Resolve,
                    address: None,
                    port: None,
                    pid: None,
                    program: None,
                    ..event()
                },
                "denied: look up api.x",
            ),
            (
                Event {
                    names: Vec::new(),
                    address: Some([0, 0, 0, 0, 0, 0, 0, 1].into()),
                    program: None,
                    ..event()
                },
                "denied: connect [::1]:443 by pid 12",
            ),
            (
                Event {
                    names: Vec::new(),
                    port: None,
                    pid: None,
                    ..event()
                },
                "denied: connect 203.0.113.7 by curl",
            ),
            (
                Event {
                    action: Action::Change,
                    path: Some("/a\n/b".into()),
                    ..event()
                },
                "denied: change /a\\n/b by pid 12 (curl)",
            ),
            (
                Event {
                    names: ["a", "b", "c", "d"].map(str::to_owned).into(),
                    ..event()
                },
                "denied: connect a, b, c, …:443 (203.0.113.7) by pid 12 (curl)",
            ),
            (
                Event {
                    action: Action::Listen,
                    names: Vec::new(),
                    address: None,
                    ..event()
                },
                "denied: listen on port 443 by pid 12 (curl)",
            ),
        ] {
            assert_eq!(line(&changed), format!("{expected}{rest}"));
        }
        let final_word = Event {
            allow_with: None,
            ..event()
        };
        assert!(line(&final_word).ends_with("(curl): no rule names it"));
    }

    #[test]
    fn the_same_denial_is_told_once() {
        let mut summary = Summary::default();
        assert!(summary.denied(&event(), Duration::ZERO).is_some());
        assert_eq!(summary.finish(), None);
        let again = Event {
            pid: Some(13),
            ..event()
        };
        assert_eq!(summary.denied(&again, Duration::from_secs(3600)), None);
        assert_eq!(
            summary.finish().as_deref(),
            Some("denied: 2 in all, 1 of them repeated")
        );
        for other in [
            Event {
                program: Some("wget".to_owned()),
                ..event()
            },
            Event {
                action: Action::Listen,
                ..event()
            },
            Event {
                port: Some(80),
                ..event()
            },
            named("api.y"),
        ] {
            assert!(summary.denied(&other, Duration::ZERO).is_some());
        }
    }

    #[test]
    fn many_different_ones_become_counts() {
        let mut summary = Summary::default();
        let lines: Vec<String> = (0..100)
            .filter_map(|number| summary.denied(&named(&number.to_string()), Duration::ZERO))
            .collect();
        assert_eq!(lines.len(), 23);
        assert_eq!(lines[20], "denied: 20 more are not shown");
        assert_eq!(lines[21], "denied: 40 more are not shown");
        assert_eq!(lines[22], "denied: 80 more are not shown");
        assert_eq!(
            summary.finish().as_deref(),
            Some(
                "denied: 100 in all, 0 of them repeated and 80 not shown; `--audit FILE` has every one"
            )
        );
    }

    #[test]
    fn time_gives_new_lines() {
        let mut summary = Summary::default();
        for number in 0..30 {
            summary.denied(&named(&number.to_string()), Duration::ZERO);
        }
        let mut at = |name: &str, seconds| {
            summary
                .denied(&named(name), Duration::from_secs(seconds))
                .is_some()
        };
        assert!(!at("a", 9));
        assert!(at("b", 10));
        assert!(!at("c", 11));
        assert!(at("d", 40) && at("e", 40) && at("f", 40) && !at("g", 40));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut summary = Summary::default();
        for number in 0..5000u32 {
            let now = REFILL * number;
            summary.denied(&named(&number.to_string()), now);
        }
        assert_eq!(summary.shown.len(), REMEMBERED);
        assert_eq!(summary.denials, 5000);
    }

    #[test]
    fn terminals_get_no_control_characters() {
        for (text, expected) in [
            ("plain é 語", "plain é 語"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("back\\slash", "back\\\\slash"),
            ("\u{202e}txt", "\\u{202e}txt"),
            ("\u{9b}", "\\u{9b}"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable(&"x".repeat(5000)).chars().count(), LONGEST + 1);
    }

    proptest! {
        #[test]
        fn every_line_is_one_line(name in ".{0,40}", program in ".{0,40}", path in proptest::option::of(".{0,40}")) {
            let text = line(&Event {
                names: vec![name],
                program: Some(program),
                path: path.map(Into::into),
                ..event()
            });
            prop_assert!(!text.chars().any(|character| character.is_control() || is_invisible(character)));
        }
    }
}
