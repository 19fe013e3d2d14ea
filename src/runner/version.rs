// SPDX-License-Identifier: MIT
//! Deno's version and what differs between versions.
//!
//! Invariant: a difference is asked for by name here, never by comparing numbers elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Deno version; what follows a `-` or `+` is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// `2` of `2.9.6`.
    pub major: u16,
    /// `9` of `2.9.6`.
    pub minor: u16,
    /// `6` of `2.9.6`.
    pub patch: u16,
}

impl Version {
    /// The oldest version that is run.
    pub const OLDEST: Self = Self::new(2, 0, 0);

    /// A version from its three numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads `2.9.6`, also with `-rc.1` or `+commit` after it.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse);
        let version = Self::new(
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
        );
        numbers.next().is_none().then_some(version)
    }

    /// Reads the first line of `deno --version`: `deno 2.9.6 (stable, release, …)`.
    pub fn parse_output(output: &str) -> Option<Self> {
        let mut words = output.lines().next()?.split_whitespace();
        (words.next()? == "deno").then(|| Self::parse(words.next()?))?
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn reads_what_deno_prints() {
        let line = "deno 2.9.6 (stable, release, x86_64-unknown-linux-gnu)\nv8 15.2\n";
        assert_eq!(Version::parse_output(line), Some(Version::new(2, 9, 6)));
        assert_eq!(
            Version::parse_output("deno 2.10.0-rc.1 (x)"),
            Some(Version::new(2, 10, 0))
        );
        for text in [
            "",
            "deno",
            "v22.1.0",
            "node 22.1.0",
            "deno 2.9",
            "deno 2.9.6.1",
            "deno two",
        ] {
            assert_eq!(Version::parse_output(text), None, "{text}");
        }
        assert!(Version::new(2, 10, 0) > Version::new(2, 9, 6));
    }
}
