// SPDX-License-Identifier: MIT
//! Events as lines of JSON, for `--audit`.
//!
//! Invariant: one event is one line and one write, and has every key of [`SCHEMA`], also those
//! without a value.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Action, Event};

/// The JSON schema of one line.
pub const SCHEMA: &str = include_str!("../../policies/audit.schema.json");

/// The version of the format; another one means that a key changed its meaning.
const VERSION: u32 = 1;

/// One line, in the order its keys are written.
#[derive(Serialize)]
struct Line<'e> {
    version: u32,
    time: String,
    verdict: &'static str,
    action: &'static str,
    pid: Option<i32>,
    program: Option<&'e str>,
    names: &'e [String],
    address: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    reason: &'e str,
    nearest: Option<String>,
    allow_with: Option<&'e str>,
}

/// The event as one line, its newline included.
///
/// # Errors
/// When it cannot be serialised, which no event is known to do.
pub fn line(event: &Event) -> io::Result<String> {
    let line = Line {
        version: VERSION,
        time: timestamp(event.time),
        verdict: "denied",
        action: event.action.name(),
        pid: event.pid,
        program: event.program.as_deref(),
        names: &event.names,
        address: event.address.map(|address| address.to_string()),
        port: event.port,
        path: event
            .path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned()),
        reason: &event.reason,
        nearest: event.nearest.as_ref().map(ToString::to_string),
        allow_with: event.allow_with.as_deref(),
    };
    Ok(serde_json::to_string(&line)? + "\n")
}

/// Writes events to a file that was opened for appending.
#[derive(Debug)]
pub struct Lines<W> {
    output: W,
}

impl<W: Write> Lines<W> {
    /// `output` gets one write for each event.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes one event. A line that was only begun, because the disk is full or nobody reads the
    /// pipe, is an error, too, and the next line then starts on a line of its own.
    ///
    /// # Errors
    /// What the write says.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let line = line(event)?;
        let mut written = self.output.write(line.as_bytes());
        while matches!(&written, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            written = self.output.write(line.as_bytes());
        }
        if written? == line.len() {
            return Ok(());
        }
        // Best effort: the loss is reported either way.
        let _ = self.output.write(b"\n");
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// RFC 3339 in UTC with milliseconds; times before 1970 are that moment.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of the Gregorian calendar, by days since 1970-01-01: 400 years have 146,097
/// days, and years are counted from March, so that the leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 {
        march_based + 3
    } else {
        march_based - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Listen,
        Self::Send,
        Self::Resolve,
        Self::Relay,
        Self::Change,
        Self::Write,
    ];

    /// Its name in the file of events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Send => "send",
            Self::Resolve => "resolve",
            Self::Relay => "relay",
            Self::Change => "change",
            Self::Write => "write",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::audit::tests::event;

    /// Whether a value is of the types a property of the schema names, with its `enum` or `const`.
    fn fits(property: &Value, value: &Value) -> bool {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = match &property["type"] {
            Value::Array(kinds) => kinds.clone(),
            one => vec![one.clone()],
        };
        let items = value
            .as_array()
            .is_none_or(|items| items.iter().all(|item| fits(&property["items"], item)));
        let listed = property["enum"]
            .as_array()
            .is_none_or(|values| values.contains(value));
        let constant = property.get("const").is_none_or(|only| only == value);
        kinds.contains(&Value::from(kind)) && items && listed && constant
    }

    fn assert_valid(line: &str) {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let value: Value = serde_json::from_str(line).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let object = value.as_object().unwrap();
        assert_eq!(
            object.keys().collect::<BTreeSet<_>>(),
            properties.keys().collect::<BTreeSet<_>>()
        );
        for (key, value) in object {
            assert!(fits(&properties[key], value), "{key}: {value}");
        }
    }

    #[test]
    fn the_schema_is_strict_and_complete() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["additionalProperties"], Value::Bool(false));
        let properties = schema["properties"].as_object().unwrap();
        let required: BTreeSet<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(
            required,
            properties
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>()
        );
        let actions: Vec<&str> = Action::ALL.map(Action::name).into();
        assert_eq!(properties["action"]["enum"], serde_json::json!(actions));
        assert_eq!(properties["version"]["const"], serde_json::json!(VERSION));
        for property in properties.values() {
            assert!(
                property["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 10)
            );
        }
        assert!(!fits(&properties["action"], &serde_json::json!("dance")));
        assert!(!fits(&properties["pid"], &serde_json::json!("1")));
        assert!(!fits(&properties["names"], &serde_json::json!([1])));
    }

    #[test]
    fn one_event_is_one_line() {
        assert_eq!(
            line(&event()).unwrap(),
            "{\"version\":1,\"time\":\"2026-03-01T00:00:00.250Z\",\"verdict\":\"denied\",\
             \"action\":\"connect\",\"pid\":12,\"program\":\"curl\",\"names\":[\"api.x\"],\
             \"address\":\"203.0.113.7\",\"port\":443,\"path\":null,\
             \"reason\":\"no rule names it\",\"nearest\":\"--allow-net=api.y\",\
             \"allow_with\":\"--allow-net=api.x:443\"}\n"
        );
        let mut bare = Event {
            pid: None,
            program: None,
            names: Vec::new(),
            address: None,
            port: None,
            path: Some("/run/x\n.sock".into()),
            nearest: None,
            allow_with: None,
            ..event()
        };
        for action in Action::ALL {
            bare.action = action;
            assert_valid(&line(&bare).unwrap());
        }
        assert_eq!(line(&bare).unwrap().matches('\n').count(), 1);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(time), expected);
        }
        assert_eq!(
            timestamp(UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00.000Z"
        );
    }

    /// Takes so many bytes in one write.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.1);
            self.0.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_only_begun_is_an_error() {
        let mut whole = Lines::new(Narrow(Vec::new(), usize::MAX));
        whole.write(&event()).unwrap();
        assert_eq!(whole.output.0, line(&event()).unwrap().into_bytes());
        let mut cut = Lines::new(Narrow(Vec::new(), 10));
        assert!(cut.write(&event()).is_err());
        assert_eq!(cut.output.0, b"{\"version\"\n");
    }

    proptest! {
        #[test]
        fn every_event_is_valid(
            program in proptest::option::of(".{0,20}"),
            names in proptest::collection::vec(".{0,20}", 0..4),
            path in proptest::option::of(".{0,20}"),
            reason in ".{0,20}",
            port in proptest::option::of(any::<u16>()),
            pid in proptest::option::of(any::<i32>()),
            seconds in 0..4_000_000_000u64,
        ) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let path = path.map(Into::into);
            let text = line(&Event { time, pid, program, names, port, path, reason, ..event() }).unwrap();
            prop_assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
            assert_valid(&text);
        }
    }
}
