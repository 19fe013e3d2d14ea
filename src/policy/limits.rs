// SPDX-License-Identifier: MIT
//! What a run may use of the machine, as asked for, and the grammar of the values: `512m`, `10s`, `200`.
//!
//! Invariant: a limit that is asked for twice is the lower one, whoever asks.

use std::time::Duration;

use serde::Serialize;

use super::Origin;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// Memory, in bytes.
    Memory,
    /// Processor time, in seconds.
    CpuTime,
    /// Processes and threads at the same time.
    Processes,
    /// Open files of each process.
    OpenFiles,
    /// Bytes of each file that is written.
    FileSize,
    /// Bytes on standard output and standard error together.
    OutputSize,
}

impl LimitKind {
    /// All of them, in the order they are printed.
    pub const ALL: [Self; 6] = [
        Self::Memory,
        Self::CpuTime,
        Self::Processes,
        Self::OpenFiles,
        Self::FileSize,
        Self::OutputSize,
    ];

    /// The name of its flag, without dashes, and of its key in policy files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::CpuTime => "cpu-time",
            Self::Processes => "processes",
            Self::OpenFiles => "open-files",
            Self::FileSize => "file-size",
            Self::OutputSize => "output-size",
        }
    }

    /// Reads a value in the grammar of this kind; none for anything else, zero included.
    pub fn parse(self, text: &str) -> Option<u64> {
        match self {
            Self::Memory => parse_size(text).filter(|bytes| *bytes >= LEAST_MEMORY),
            Self::FileSize | Self::OutputSize => parse_size(text),
            Self::CpuTime => {
                let time = parse_duration(text)?;
                (time.subsec_nanos() == 0).then_some(time.as_secs())
            }
            Self::Processes | Self::OpenFiles => text.parse().ok().filter(|count| *count > 0),
        }
    }

    /// The values that [`Self::parse`] takes, for messages.
    pub const fn accepted(self) -> &'static str {
        match self {
            Self::Memory => "`512m`, `2g`, or bytes as a number; at least `1m`",
            Self::FileSize | Self::OutputSize => {
                "`100k`, `512m`, `2g`, or bytes as a number; above zero"
            }
            Self::CpuTime => "`30s`, `2m`, `1h`, or seconds as a number; whole seconds, above zero",
            Self::Processes | Self::OpenFiles => "a number above zero",
        }
    }

    /// A value of this kind in words.
    pub fn show(self, value: u64) -> String {
        match self {
            Self::Memory | Self::FileSize | Self::OutputSize => show_size(value),
            Self::CpuTime => format!("{value} s"),
            Self::Processes => format!("{value} processes and threads"),
            Self::OpenFiles => format!("{value} open files"),
        }
    }
}

/// No program starts with less.
const LEAST_MEMORY: u64 = 1 << 20;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What is limited.
    pub kind: LimitKind,
    /// The most there may be, in the unit of the kind.
    pub value: u64,
    /// Who asked for it.
    pub origin: Origin,
}

/// The time on the clock that a run may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeout {
    /// How long that is.
    pub after: Duration,
    /// Who asked for it.
    pub origin: Origin,
}

impl Timeout {
    /// The one in force when both are asked for: the shorter one.
    pub fn and(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let both = one.into_iter().chain(other);
        both.min_by_key(|timeout| timeout.after)
    }
}

/// Everything that is limited but the time on the clock, at most one entry of each kind, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    entries: Vec<Limit>,
}

impl Limits {
    /// No limit.
    pub const fn none() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Adds a limit; of two of the same kind the lower one stays.
    pub fn add(&mut self, limit: Limit) {
        match self
            .entries
            .binary_search_by_key(&limit.kind, |one| one.kind)
        {
            Ok(index) if self.entries[index].value <= limit.value => {}
            Ok(index) => self.entries[index] = limit,
            Err(index) => self.entries.insert(index, limit),
        }
    }

    /// The limits in force when both are asked for.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for limit in other.entries {
            self.add(limit);
        }
        self
    }

    /// The limit of a kind.
    pub fn get(&self, kind: LimitKind) -> Option<&Limit> {
        self.entries.iter().find(|limit| limit.kind == kind)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Limit> {
        self.entries.iter()
    }
}

impl<'a> IntoIterator for &'a Limits {
    type Item = &'a Limit;
    type IntoIter = std::slice::Iter<'a, Limit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `512m`, `2g`, `64MiB` or plain bytes, in powers of 1,024; none for anything else and for zero.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift).filter(|size| *size > 0)
}

/// `500ms`, `30s`, `2m`, `1h` or plain seconds; none for anything else and for zero.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let total = number.checked_mul(milliseconds)?;
    (total > 0).then(|| Duration::from_millis(total))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

/// A size in the largest unit that leaves no rest.
pub fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(kind: LimitKind, value: u64, flag: &str) -> Limit {
        Limit {
            kind,
            value,
            origin: Origin::flag(flag, None),
        }
    }

    #[test]
    fn sizes_and_times_are_read() {
        for (text, size) in [
            ("1", Some(1)),
            ("512m", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("64MiB", Some(64 << 20)),
            ("3k", Some(3 << 10)),
            ("1t", Some(1 << 40)),
            ("0", None),
            ("0m", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.5g", None),
            ("1 g", None),
            ("1mb", None),
            ("99999999999999999999", None),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
        for (text, time) in [
            ("500ms", Some(500)),
            ("2", Some(2_000)),
            ("2s", Some(2_000)),
            ("3m", Some(180_000)),
            ("1h", Some(3_600_000)),
            ("0s", None),
            ("1d", None),
            ("s", None),
            ("9999999999999999999h", None),
        ] {
            let expected = time.map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn each_kind_has_its_grammar() {
        for (kind, text, value) in [
            (LimitKind::Memory, "64m", Some(64 << 20)),
            (LimitKind::Memory, "1023k", None),
            (LimitKind::CpuTime, "2m", Some(120)),
            (LimitKind::CpuTime, "2500ms", None),
            (LimitKind::CpuTime, "2000ms", Some(2)),
            (LimitKind::Processes, "30", Some(30)),
            (LimitKind::Processes, "30m", None),
            (LimitKind::OpenFiles, "0", None),
            (LimitKind::FileSize, "1", Some(1)),
            (LimitKind::OutputSize, "1k", Some(1024)),
        ] {
            assert_eq!(kind.parse(text), value, "{kind:?} {text}");
        }
    }

    #[test]
    fn the_lower_limit_wins_in_any_order() {
        let high = limit(LimitKind::Memory, 9, "--high");
        let low = limit(LimitKind::Memory, 3, "--low");
        let other = limit(LimitKind::Processes, 5, "--other");
        for order in [[&high, &low, &other], [&other, &low, &high]] {
            let mut limits = Limits::default();
            order.into_iter().cloned().for_each(|one| limits.add(one));
            assert_eq!(limits.get(LimitKind::Memory), Some(&low));
            let kinds: Vec<_> = limits.iter().map(|one| one.kind).collect();
            assert_eq!(kinds, [LimitKind::Memory, LimitKind::Processes]);
        }
    }

    #[test]
    fn sizes_are_shown_without_a_rest() {
        assert_eq!(show_size(512 << 20), "512 MiB");
        assert_eq!(show_size(1536), "1536 bytes");
        assert_eq!(show_size(3 << 30), "3 GiB");
        assert_eq!(LimitKind::CpuTime.show(60), "60 s");
    }
}
