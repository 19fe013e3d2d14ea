// SPDX-License-Identifier: MIT
//! Lines for the journal: a level before each one (sd-daemon(3)), where standard error leads there.
//!
//! Invariant: levels are written to the journal alone, which takes them out again.

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Whether standard error is what the journal said it reads (`JOURNAL_STREAM`, systemd.exec(5)).
pub(super) fn is_read() -> bool {
    static READ: OnceLock<bool> = OnceLock::new();
    *READ.get_or_init(|| {
        // Errors are told before there is a Host.
        let stream = std::env::vars_os().find(|(name, _)| name == "JOURNAL_STREAM");
        let stream = stream.and_then(|(_, value)| value.into_string().ok());
        let own = std::fs::metadata("/proc/self/fd/2");
        let own = own.map(|found| format!("{}:{}", found.dev(), found.ino()));
        matches!((stream, own), (Some(stream), Ok(own)) if stream == own)
    })
}

/// The same lines, each with its level and a newline.
pub(super) fn with_levels(text: &str) -> String {
    let mut level = INFORMATION;
    let lines = text.lines().map(|line| {
        let found = LEVELS.iter().find(|(start, _)| line.starts_with(start));
        // What belongs to an error has its level.
        level = found.map_or(level, |(_, level)| *level);
        format!("<{level}>{line}\n")
    });
    lines.collect()
}

const INFORMATION: u8 = 6;
const LEVELS: [(&str, u8); 3] = [("error:", 3), ("warning:", 4), ("denied:", 4)];

#[cfg(test)]
mod tests {
    use super::with_levels;

    #[test]
    fn each_line_has_its_level() {
        assert_eq!(
            with_levels("error: a\nhint: b"),
            "<3>error: a\n<3>hint: b\n"
        );
        assert_eq!(with_levels("denied: connect"), "<4>denied: connect\n");
        assert_eq!(with_levels("other"), "<6>other\n");
    }
}
