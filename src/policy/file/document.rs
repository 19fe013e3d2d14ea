// SPDX-License-Identifier: MIT
//! The document of a policy file.
//!
//! Invariant: a file says which version of the format it is written in; one that is not understood
//! in full is used for nothing.

use super::node::{Node, Value};
use super::reader::{Dialect, Reader};
use super::variables::is_name;
use super::{Granted, Place, Problem, Source, Variables, yaml};
use crate::policy::Origin;
use crate::policy::limits::{self, Limit, LimitKind, Limits, Timeout};

/// The version of the format.
const VERSION: &str = "1";

/// The keys of a policy file, in the order of the documentation.
pub(super) const DOCUMENT_KEYS: &[&str] = &[
    "version",
    "name",
    "description",
    "extends",
    "variables",
    "permissions",
    "protect",
    "limits",
    "dns",
    "proxy",
    "audit",
    "runner",
];

/// The keys of `limits`; each is the flag of that name.
pub(super) const LIMIT_KEYS: &[&str] = &[
    TIMEOUT,
    LimitKind::Memory.name(),
    LimitKind::CpuTime.name(),
    LimitKind::Processes.name(),
    LimitKind::OpenFiles.name(),
    LimitKind::FileSize.name(),
    LimitKind::OutputSize.name(),
];

/// The time on the clock, which the launcher holds.
const TIMEOUT: &str = "timeout";

/// One value with the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where, for problems.
    pub place: Place,
    /// Where, for everybody else.
    pub origin: Origin,
}

/// What one policy file says, what it extends not included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Files and presets it adds to.
    pub extends: Vec<Setting<String>>,
    /// Permissions.
    pub granted: Granted,
    /// Paths that stay as they are inside write grants, absolute.
    pub protect: Vec<Setting<String>>,
    /// What the run may use of the machine.
    pub limits: Limits,
    /// When the run is ended.
    pub timeout: Option<Timeout>,
    /// Name servers, in the form of `--dns`.
    pub dns: Vec<Setting<String>>,
    /// In the form of `--upstream-proxy`.
    pub proxy: Option<Setting<String>>,
    /// In the form of `--audit`, absolute.
    pub audit: Option<Setting<String>>,
    /// In the form of `--runner`, absolute.
    pub runner: Option<Setting<String>>,
}

/// Reads a policy file: what could be read of it, and everything wrong with it.
pub fn read(source: &Source, variables: &Variables) -> (PolicyFile, Vec<Problem>) {
    let start = Place { start: 0, end: 0 };
    let root = match yaml::parse(source) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let problem = Problem {
                place: start,
                message: "the file is empty".to_owned(),
                hint: Some("a policy file begins with `version: 1`".to_owned()),
                secret: false,
            };
            return (PolicyFile::default(), vec![problem]);
        }
        Err(problem) => return (PolicyFile::default(), vec![problem]),
    };
    let mut reader = Reader::new(source, Dialect::Yaml, variables.clone());
    let file = reader.document(&root);
    (file, reader.problems)
}

impl Reader<'_> {
    fn document(&mut self, root: &Node) -> PolicyFile {
        let mut file = PolicyFile::default();
        let Value::Map(map) = &root.value else {
            let message = format!("the file is {}, not a map", root.kind());
            let hint = "a policy file begins with `version: 1`".to_owned();
            self.problem(root.place, "", message, Some(hint));
            return file;
        };
        let fields = self.fields(map, "", DOCUMENT_KEYS);
        match fields.get("version") {
            None => {
                let place = map.first().map_or(root.place, |(key, _)| key.place);
                let hint = format!("write `version: {VERSION}` on the first line");
                self.problem(place, "", "no `version`", Some(hint));
            }
            Some(Node {
                value: Value::Number(number),
                ..
            }) if number == VERSION => {}
            Some(node) => {
                let hint = format!("write `version: {VERSION}`");
                let message = "not a version this Stockade reads";
                self.problem(node.place, "", message, Some(hint));
            }
        }
        if let Some(node) = fields.get("name") {
            file.name = self.text(node, "", "`name`");
        }
        if let Some(node) = fields.get("description") {
            file.description = self.text(node, "", "`description`");
        }
        if let Some(node) = fields.get("variables") {
            self.variables(node);
        }
        if let Some(node) = fields.get("extends") {
            file.extends = self.texts(node, "extends");
        }
        if let Some(node) = fields.get("permissions") {
            file.granted = self.permissions(node, "/permissions");
        }
        if let Some(node) = fields.get("protect") {
            for node in self.list(node, "protect") {
                let found = self.single_path(node, "this entry of `protect`");
                file.protect.extend(found);
            }
        }
        if let Some(node) = fields.get("limits") {
            self.limits(node, &mut file);
        }
        if let Some(node) = fields.get("dns") {
            file.dns = self.texts(node, "dns");
        }
        if let Some(node) = fields.get("proxy") {
            file.proxy = self.setting(node, "`proxy`");
        }
        for (name, into) in [("audit", &mut file.audit), ("runner", &mut file.runner)] {
            if let Some(node) = fields.get(name) {
                *into = self.single_path(node, &format!("`{name}`"));
            }
        }
        file
    }

    /// What the file defines, each able to use what stands above it.
    fn variables(&mut self, node: &Node) {
        let Value::Map(map) = &node.value else {
            let message = format!("`variables` is {}, not a map", node.kind());
            let hint = "write `variables: {DATA: /srv/data}`".to_owned();
            self.problem(node.place, "", message, Some(hint));
            return;
        };
        for (key, node) in map {
            if !is_name(&key.name) {
                let message = format!("`{}` is no name of a variable", key.name);
                let hint = "capital letters, digits and `_`, a letter first".to_owned();
                self.problem(key.place, "", message, Some(hint));
            } else if self.variables.knows(&key.name) {
                let message = format!("`{}` is already defined", key.name);
                self.problem(key.place, "", message, Some("take another name".to_owned()));
            } else if let Some(text) = self.text(node, "", &format!("`{}`", key.name))
                && let Some(value) = self.substituted(text, node.place, "")
            {
                self.variables = std::mem::take(&mut self.variables).with(&key.name, value);
            } else {
                // Told already; its uses are not told again.
                self.variables = std::mem::take(&mut self.variables).without(&key.name, "");
            }
        }
    }

    fn limits(&mut self, node: &Node, file: &mut PolicyFile) {
        let Value::Map(map) = &node.value else {
            let message = format!("`limits` is {}, not a map", node.kind());
            let hint = format!("known there: {}", LIMIT_KEYS.join(", "));
            self.problem(node.place, "", message, Some(hint));
            return;
        };
        let fields = self.fields(map, "", LIMIT_KEYS);
        for name in LIMIT_KEYS {
            let Some(node) = fields.get(name) else {
                continue;
            };
            let text = match &node.value {
                Value::Number(number) => Some(number.clone()),
                _ => self.text(node, "", &format!("`{name}`")),
            };
            let Some(text) = text else { continue };
            let kind = LimitKind::ALL.into_iter().find(|kind| kind.name() == *name);
            let accepted = match kind {
                Some(kind) => {
                    if let Some(value) = kind.parse(&text) {
                        let origin = self.source.origin(node.place, None);
                        file.limits.add(Limit {
                            kind,
                            value,
                            origin,
                        });
                        continue;
                    }
                    kind.accepted()
                }
                None => {
                    if let Some(after) = limits::parse_duration(&text) {
                        let origin = self.source.origin(node.place, None);
                        file.timeout = Some(Timeout { after, origin });
                        continue;
                    }
                    "`30s`, `2m`, `1h`, `500ms`, or seconds as a number; above zero"
                }
            };
            let message = format!("invalid value `{text}` of `{name}`");
            self.problem(
                node.place,
                "",
                message,
                Some(format!("accepted: {accepted}")),
            );
        }
    }

    fn placed_setting(&self, value: String, node: &Node) -> Setting<String> {
        Setting {
            value,
            place: node.place,
            origin: self.source.origin(node.place, None),
        }
    }

    fn setting(&mut self, node: &Node, what: &str) -> Option<Setting<String>> {
        let text = self.text(node, "", what)?;
        let text = self.substituted(text, node.place, "")?;
        Some(self.placed_setting(text, node))
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::List(list) = &node.value {
            return list;
        }
        let message = format!("`{what}` is {}, not a list", node.kind());
        let hint = format!("write `{what}: [\"…\"]`");
        self.problem(node.place, "", message, Some(hint));
        &[]
    }

    /// A list of strings, or one string where it stands alone.
    fn texts(&mut self, node: &Node, what: &str) -> Vec<Setting<String>> {
        let entry = format!("this entry of `{what}`");
        if let Value::Text { .. } = node.value {
            return self.setting(node, &entry).into_iter().collect();
        }
        self.list(node, what)
            .iter()
            .filter_map(|node| self.setting(node, &entry))
            .collect()
    }
}
