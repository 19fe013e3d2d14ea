// SPDX-License-Identifier: MIT
//! The shipped policy files, by name.
//!
//! Invariant: they are policy files like any other, read by the same reader.

static PRESETS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// The text of a preset.
pub fn text(name: &str) -> Option<&'static str> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// Their names, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::file::{Problems, Source, Variables, document};

    #[test]
    fn every_preset_is_read() {
        let variables = Variables::default()
            .with("HOME", "/home/user")
            .with("PROJECT", "/work")
            .with("CACHE", "/home/user/.cache");
        for name in names() {
            let text = text(name).unwrap_or_default().to_owned();
            let source = Source::new(Path::new(name), Path::new("/work"), text);
            let (file, problems) = document::read(&source, &variables);
            assert!(problems.is_empty(), "{}", Problems::new(source, problems));
            assert_eq!(file.name.as_deref(), Some(name));
            assert!(file.description.is_some(), "{name} says what it is for");
        }
        assert!(names().next().is_some());
    }
}
