// SPDX-License-Identifier: MIT
//! YAML text as [`Node`]s.
//!
//! Invariant: bounded work for any text: depth, size and expansion of aliases have limits, and what
//! exceeds one is a problem with its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use super::node::{Key, Node, Place, Value};
use super::{Problem, Source};

/// Maps and lists inside each other.
const DEPTH: usize = 24;
/// Values in a file, the ones that aliases repeat included.
const NODES: usize = 100_000;
/// References to anchors.
const ALIASES: usize = 1_000;

/// The one document of a text; none when it is empty.
pub(super) fn parse(source: &Source) -> Result<Option<Node>, Problem> {
    let text = source.text.as_str();
    if is_empty(text) {
        return Ok(None);
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Ok(Some(node(raw, text))),
        Err(error) => Err(problem(&error, source)),
    }
}

/// Nothing but blanks, comments and document marks.
fn is_empty(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH,
            max_nodes: NODES,
            max_events: 2 * NODES,
            max_aliases: ALIASES,
            max_anchors: ALIASES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES,
            max_replay_stack_depth: DEPTH,
        },
        // Told with every other problem of the file.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `<<` is a key like another one, and so an unknown one: what a file grants is written in it.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// What begins otherwise than a plain scalar may.
const SPECIAL: [char; 11] = ['*', '&', '[', ']', '{', '@', '%', '`', '!', '|', '>'];

fn problem(error: &serde_saphyr::Error, source: &Source) -> Problem {
    let text = source.text.as_str();
    let place = error.location().map_or_else(Place::default, |location| {
        if location.span().byte_offset().is_some_and(|byte| byte > 0) {
            place(location, text)
        } else {
            source.place_of(location.line(), location.column())
        }
    });
    let message = error.without_snippet().to_string();
    // The reader says places in its own words, too, and names its own functions.
    let message = message.lines().next().unwrap_or_default();
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = message.split("; use ").next().unwrap_or_default();
    let start = text.get(place.start..).unwrap_or_default();
    let (line, _) = source.position(place.start);
    let entry = source.line(line).trim_start();
    let entry = entry.strip_prefix("- ").unwrap_or(entry).trim_start();
    let (message, hint) = if message.contains("budget") || message.contains("limit") {
        (
            "nested too deeply, or too large with its aliases written out".to_owned(),
            "a policy file is a flat list of entries: write them out".to_owned(),
        )
    } else if start.starts_with(SPECIAL) || entry.starts_with(SPECIAL) {
        (
            format!("not readable as YAML: {message}"),
            "quote entries that begin with one of * & ! [ { @ % ` | >: \"*.example.com\", \"[::1]:80\"".to_owned(),
        )
    } else {
        (
            format!("not readable as YAML: {message}"),
            "indentation is made of blanks, and strings with `: ` or ` #` in them are quoted"
                .to_owned(),
        )
    };
    Problem {
        place,
        message,
        hint: Some(hint),
        secret: false,
    }
}

/// A value as the reader gives it.
enum Raw {
    Null,
    Boolean(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<RawKey>, Spanned<Self>)>),
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = access.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

/// A key: whatever it looks like, its spelling counts.
struct RawKey(String);

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let place = place(raw.defined, text);
    let spelled = || text.get(place.start..place.end).unwrap_or_default();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Boolean(value) => Value::Boolean(value),
        Raw::Number => Value::Number(spelled().trim().to_owned()),
        Raw::Text(content) => Value::Text {
            // Quoted, folded and tagged scalars are spelled otherwise than what they say.
            plain: spelled().trim() == content,
            text: content,
        },
        Raw::List(list) => Value::List(list.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, value)| {
                    let key = Key {
                        place: self::place(key.defined, text),
                        name: key.value.0,
                    };
                    (key, node(value, text))
                })
                .collect(),
        ),
    };
    Node { place, value }
}

/// The bytes of a location; a value that the reader does not place is at the start.
fn place(location: Location, text: &str) -> Place {
    let byte = |offset: Option<u64>| offset.and_then(|offset| usize::try_from(offset).ok());
    let start = byte(location.span().byte_offset()).unwrap_or_default();
    let length = byte(location.span().byte_len()).unwrap_or_default();
    let start = floor(text, start);
    let end = floor(text, start.saturating_add(length)).max(start);
    Place { start, end }
}

/// The character boundary at or before a byte.
fn floor(text: &str, mut offset: usize) -> usize {
    offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
