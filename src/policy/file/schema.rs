// SPDX-License-Identifier: MIT
//! The JSON schema of policy files, for editors and other readers.
//!
//! Invariant: it has the keys the reader has, no more and no less.

/// The schema (JSON Schema 2020-12).
pub const SCHEMA: &str = include_str!("../../../policies/policy.schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::document::{self, DOCUMENT_KEYS, LIMIT_KEYS};
    use super::super::permissions::{LIST_KEYS, PERMISSION_KEYS, entry_keys};
    use super::super::{Source, Variables};
    use super::SCHEMA;
    use crate::policy::registry::Registry;

    fn keys(value: &Value) -> BTreeSet<&str> {
        let properties = value["properties"].as_object().unwrap();
        assert_eq!(value["additionalProperties"], Value::Bool(false), "{value}");
        properties.keys().map(String::as_str).collect()
    }

    fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
        names.iter().copied().collect()
    }

    /// The object among the forms of a value.
    fn object(value: &Value) -> &Value {
        let forms = value["oneOf"].as_array().unwrap();
        forms.iter().find(|form| form["type"] == "object").unwrap()
    }

    #[test]
    fn the_schema_and_the_reader_have_the_same_keys() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(keys(&schema), set(DOCUMENT_KEYS));
        let properties = &schema["properties"];
        assert_eq!(keys(&properties["limits"]), set(LIMIT_KEYS));
        assert_eq!(keys(&properties["permissions"]), set(PERMISSION_KEYS));
        for kind in PERMISSION_KEYS.iter().filter(|kind| **kind != "all") {
            let form = &properties["permissions"]["properties"][kind];
            let lists = if matches!(*kind, "read" | "env") {
                LIST_KEYS
            } else {
                &LIST_KEYS[..2]
            };
            assert_eq!(keys(object(form)), set(lists), "{kind}");
            let list = form["oneOf"].as_array().unwrap();
            let items = list.iter().find(|form| form["type"] == "array").unwrap();
            let name = items["items"]["$ref"].as_str().unwrap();
            let entry = object(&schema["$defs"][name.trim_start_matches("#/$defs/")]);
            assert_eq!(keys(entry), set(entry_keys(kind)), "{kind}");
            if *kind != "net" {
                assert_eq!(entry["required"][0], entry_keys(kind)[0], "{kind}");
                continue;
            }
            let names: Vec<&str> = Registry::ALL.map(Registry::name).into();
            assert_eq!(entry["properties"]["from"]["enum"], json!(names));
        }
    }

    fn problems(text: &str) -> Vec<String> {
        let source = Source::new(Path::new("p"), Path::new("/w"), text.to_owned());
        let (_, problems) = document::read(&source, &Variables::default());
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    #[test]
    fn every_key_is_read_in_earnest() {
        // A value that no key takes: a key that nobody reads would accept it.
        for key in DOCUMENT_KEYS {
            let text = format!("version: 1\n{key}: [{{a: [1]}}]\n")
                .replace("version: 1\nversion", "version");
            assert!(!problems(&text).is_empty(), "{key}");
        }
        for key in LIMIT_KEYS {
            assert_eq!(
                problems(&format!("version: 1\nlimits: {{{key}: []}}\n")).len(),
                1,
                "{key}"
            );
        }
        for kind in PERMISSION_KEYS {
            let text = format!("version: 1\npermissions: {{{kind}: 1}}\n");
            assert_eq!(problems(&text).len(), 1, "{kind}");
        }
        for kind in PERMISSION_KEYS.iter().filter(|kind| **kind != "all") {
            for list in &LIST_KEYS[..2] {
                let text = format!("version: 1\npermissions: {{{kind}: {{{list}: 1}}}}\n");
                assert_eq!(problems(&text).len(), 1, "{kind} {list}");
            }
            let main = entry_keys(kind)[0];
            let value = match *kind {
                "sys" => "uid",
                "net" | "import" => "a.b",
                _ => "x",
            };
            for key in entry_keys(kind) {
                let wrong = format!("{{{main}: {value}, {key}: []}}");
                let wrong = if *key == main {
                    format!("{{{key}: []}}")
                } else {
                    wrong
                };
                let text = format!("version: 1\npermissions: {{{kind}: [{wrong}]}}\n");
                assert!(!problems(&text).is_empty(), "{kind} {key}");
            }
        }
    }
}
