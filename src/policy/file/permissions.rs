// SPDX-License-Identifier: MIT
//! A block of permissions, the same in policy files and in deno.json, as a `Policy`.
//!
//! Invariant: an entry that is not understood in full grants nothing and is a problem; relative
//! paths start from the directory of the file, and remember it, so that links cannot lead them out.

use super::node::{Node, Value};
use super::reader::{BOOLEAN_WORDS, Dialect, Fields, Reader};
use super::{Granted, Place};
use crate::policy::grammar;
use crate::policy::{Entry, Origin, Permission, Rules};

/// The permission kinds, in the order of the documentation; `all` stands for every one.
pub(super) const PERMISSION_KEYS: &[&str] = &[
    "all", "read", "write", "net", "env", "run", "sys", "ffi", "import",
];

/// The lists of one kind.
pub(super) const LIST_KEYS: &[&str] = &["allow", "deny", "ignore"];

/// The key of a net entry that names a registry in place of a host.
pub(super) const FROM: &str = "from";

/// Keys of an entry that is a map, by kind; the first one is the entry itself.
pub(super) fn entry_keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "read" | "write" | "ffi" => &["path", "reason", "optional"],
        "net" => &["host", "port", "private", "verify", "reason", FROM],
        "import" => &["host", "port", "reason"],
        "run" => &["program", "reason"],
        _ => &["name", "reason"],
    }
}

/// One entry of a list, before it is parsed.
pub(super) struct Item<'n> {
    pub text: String,
    pub place: Place,
    pub fields: Option<Fields<'n>>,
    pub origin: Origin,
    pub allow: bool,
}

/// What the lists of one kind lead to.
struct Lists<D> {
    permission: Permission<D>,
    /// Whether something is said about granting, so that `all` does not.
    stated: bool,
}

impl Reader<'_> {
    /// The whole block.
    pub(super) fn permissions(&mut self, node: &Node, pointer: &str) -> Granted {
        let mut granted = Granted {
            block: Some(self.origin(node.place, pointer, None)),
            ..Granted::default()
        };
        let Value::Map(map) = &node.value else {
            let message = format!("permissions are {}, not a map", node.kind());
            let hint = "write `read: [./data]`, or leave them out to grant nothing".to_owned();
            self.problem(node.place, pointer, message, Some(hint));
            return granted;
        };
        let fields = self.fields(map, pointer, PERMISSION_KEYS);
        for kind in PERMISSION_KEYS {
            if let Some(key) = fields.key(kind) {
                let pointer = format!("{pointer}/{kind}");
                granted
                    .bounds
                    .push((kind, self.origin(key.place, &pointer, None)));
            }
        }
        let mut all = None;
        if let Some(node) = fields.get("all") {
            let pointer = format!("{pointer}/all");
            if self.boolean(node, &pointer, "`all`") == Some(true) {
                all = Some(self.origin(node.place, &pointer, None));
            }
        }
        let mut stated = Vec::new();
        macro_rules! kind {
            ($name:ident, $parse:expr) => {
                if let Some(node) = fields.get(stringify!($name)) {
                    let parse = $parse;
                    let lists = self.kind(stringify!($name), node, pointer, |reader, item| {
                        parse(reader, item, &mut granted)
                    });
                    granted.policy.$name = lists.permission;
                    if lists.stated {
                        stated.push(stringify!($name));
                    }
                }
            };
        }
        type G = Granted;
        kind!(read, |reader: &mut Self, item: &Item<'_>, _: &mut G| reader
            .path(item));
        kind!(write, |reader: &mut Self, item: &Item<'_>, _: &mut G| {
            reader.path(item)
        });
        kind!(ffi, |reader: &mut Self, item: &Item<'_>, _: &mut G| reader
            .path(item));
        kind!(net, Self::net);
        kind!(import, |reader: &mut Self, item: &Item<'_>, _: &mut G| {
            let found = reader.host(item, grammar::parse_import)?;
            let text = found.to_string();
            Some((found, text))
        });
        kind!(env, |reader: &mut Self, item: &Item<'_>, _: &mut G| reader
            .plain(item, grammar::parse_env));
        kind!(sys, |reader: &mut Self, item: &Item<'_>, _: &mut G| reader
            .plain(item, grammar::parse_sys));
        kind!(run, |reader: &mut Self, item: &Item<'_>, _: &mut G| reader
            .program(item));
        if let Some(origin) = all {
            grant_rest(&mut granted, &stated, &origin);
        }
        granted
    }

    /// The lists of one kind: a boolean, a list of grants, or a map of both and denials.
    fn kind<D>(
        &mut self,
        kind: &'static str,
        node: &Node,
        pointer: &str,
        mut parse: impl FnMut(&mut Self, &Item<'_>) -> Option<(D, String)>,
    ) -> Lists<D> {
        let pointer = format!("{pointer}/{kind}");
        let mut permission = Permission::default();
        let stated = match &node.value {
            Value::Map(map) => {
                let known = if matches!(kind, "read" | "env") {
                    LIST_KEYS
                } else {
                    &LIST_KEYS[..2]
                };
                let fields = self.fields(map, &pointer, known);
                for (name, rules) in [
                    ("allow", &mut permission.allow),
                    ("deny", &mut permission.deny),
                    ("ignore", &mut permission.ignore),
                ] {
                    if let Some(node) = fields.get(name) {
                        let pointer = format!("{pointer}/{name}");
                        self.rules(kind, node, &pointer, name == "allow", rules, &mut parse);
                    }
                }
                fields.get("allow").is_some()
            }
            _ => {
                self.rules(
                    kind,
                    node,
                    &pointer,
                    true,
                    &mut permission.allow,
                    &mut parse,
                );
                true
            }
        };
        Lists { permission, stated }
    }

    fn rules<D>(
        &mut self,
        kind: &'static str,
        node: &Node,
        pointer: &str,
        allow: bool,
        rules: &mut Rules<D>,
        parse: &mut impl FnMut(&mut Self, &Item<'_>) -> Option<(D, String)>,
    ) {
        let list = match &node.value {
            Value::Boolean(true) => {
                rules.all = Some(self.origin(node.place, pointer, None));
                return;
            }
            Value::Boolean(false) => return,
            Value::List(list) => list,
            _ => {
                let (message, hint) = not_a_list(node, kind);
                self.problem(node.place, pointer, message, Some(hint));
                return;
            }
        };
        for (index, node) in list.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            let Some(item) = self.item(kind, node, &pointer, allow) else {
                continue;
            };
            if let Some((descriptor, text)) = parse(self, &item) {
                rules.entries.push(Entry {
                    descriptor,
                    text,
                    origin: item.origin,
                });
            }
        }
    }

    /// One entry: a string, or in a policy file a map.
    fn item<'n>(
        &mut self,
        kind: &'static str,
        node: &'n Node,
        pointer: &str,
        allow: bool,
    ) -> Option<Item<'n>> {
        let keys = entry_keys(kind);
        let (Value::Map(map), Dialect::Yaml) = (&node.value, self.dialect) else {
            let text = self.text(node, pointer, &format!("this entry of `{kind}`"))?;
            let text = self.substituted(text, node.place, pointer)?;
            return Some(Item {
                text,
                place: node.place,
                fields: None,
                origin: self.origin(node.place, pointer, None),
                allow,
            });
        };
        let before = self.problems.len();
        let fields = self.fields(map, pointer, keys);
        let main = match fields.get(FROM) {
            Some(_) => FROM,
            None => keys.first().copied().unwrap_or_default(),
        };
        let Some(value) = fields.get(main) else {
            let message = format!("an entry of `{kind}` without `{main}`");
            let place = map.first().map_or(node.place, |(key, _)| key.place);
            self.problem(place, pointer, message, Some(format!("write `{main}: …`")));
            return None;
        };
        let text = self.text(value, pointer, &format!("`{main}`"))?;
        let text = self.substituted(text, value.place, pointer)?;
        let reason = match fields.get("reason") {
            Some(node) => Some(self.text(node, pointer, "`reason`")?),
            None => None,
        };
        if self.problems.len() > before {
            return None;
        }
        Some(Item {
            text,
            place: value.place,
            origin: self.origin(value.place, pointer, reason),
            fields: Some(fields),
            allow,
        })
    }
}

/// `all: true`: the whole, or where some kinds say themselves what is granted, the others.
fn grant_rest(granted: &mut Granted, stated: &[&str], origin: &Origin) {
    let policy = &mut granted.policy;
    if stated.is_empty() {
        policy.all = Some(origin.clone());
        return;
    }
    macro_rules! rest {
        ($($name:ident)*) => {
            $(if !stated.contains(&stringify!($name)) {
                policy.$name.allow.all = Some(origin.clone());
            })*
        };
    }
    rest!(read write net env run sys ffi import);
}

fn not_a_list(node: &Node, kind: &str) -> (String, String) {
    match &node.value {
        Value::Text { text, plain: true } if BOOLEAN_WORDS.contains(&text.as_str()) => (
            format!("`{text}` is a boolean to some readers of YAML, and a string to others"),
            "write `true` or `false`".to_owned(),
        ),
        Value::Text { text, .. } => (
            format!("`{kind}` is a string, not a list"),
            format!("write `[{text:?}]`"),
        ),
        Value::Null => (
            format!("nothing behind `{kind}`"),
            "write a list of entries, `true` for everything, or `false` for nothing".to_owned(),
        ),
        Value::Map(_) => (
            format!("`{kind}` is a map here, not a list"),
            "write a list of entries, `true` or `false`".to_owned(),
        ),
        _ => (
            format!("`{kind}` is {}, not a list", node.kind()),
            "write a list of entries, `true` or `false`".to_owned(),
        ),
    }
}
