// SPDX-License-Identifier: MIT
//! Single entries of permissions, in the grammar of the flags, with what stands beside them in a map.
//!
//! Invariant: an entry means what the same text means in a flag, except that a relative path starts
//! from the directory of its file, and remembers it.

use std::path::{Component, Path, PathBuf};

use super::node::{Node, Value};
use super::permissions::{FROM, Item};
use super::reader::{Dialect, Reader};
use super::{Checked, Granted, Setting};
use crate::policy::grammar::{self, GrammarError, lexical};
use crate::policy::registry::{Registry, WantedRegistry};
use crate::policy::{Entry, Host, NetDescriptor, Origin, PathDescriptor, RunDescriptor};

impl Reader<'_> {
    /// A flag of an entry that only makes sense on a grant.
    fn grant_only<'n>(&mut self, item: &Item<'n>, name: &str) -> Option<&'n Node> {
        let node = item.fields.as_ref()?.get(name)?;
        if item.allow {
            return Some(node);
        }
        let message = format!("`{name}` belongs to a grant, and this is a denial");
        self.problem(node.place, "", message, Some("remove it".to_owned()));
        None
    }

    fn grammar(&mut self, item: &Item<'_>, error: &GrammarError) {
        let pointer = match &item.origin {
            Origin::Configuration { pointer, .. } => pointer.clone(),
            _ => String::new(),
        };
        // Between entries of a file there are no commas.
        let hint = match error {
            GrammarError::Empty(_) => Some("remove it".to_owned()),
            _ => error.hint(),
        };
        self.problem(item.place, &pointer, error.to_string(), hint);
    }

    pub(super) fn path(&mut self, item: &Item<'_>) -> Option<(PathDescriptor, String)> {
        if self.dialect == Dialect::Yaml && (item.text == "~" || item.text.starts_with("~/")) {
            let hint = "write `${HOME}`; a directory of that name is `./~`".to_owned();
            let message = "`~` stands for no directory here";
            self.problem(item.place, "", message, Some(hint));
            return None;
        }
        let mut typed = match grammar::parse_path(&item.text) {
            Ok(typed) => typed,
            Err(error) => {
                self.grammar(item, &error);
                return None;
            }
        };
        if let Some(node) = self.grant_only(item, "optional") {
            typed.optional = self.boolean(node, "", "`optional`")?;
        }
        let placed = placed(&self.source.directory, typed);
        let text = placed.path.to_string_lossy().into_owned();
        Some((placed, text))
    }

    pub(super) fn program(&mut self, item: &Item<'_>) -> Option<(RunDescriptor, String)> {
        let (descriptor, text) = self.plain(item, grammar::parse_run)?;
        Some(match descriptor {
            RunDescriptor::Path(path) => {
                let path = lexical(&self.source.directory, &path);
                let text = path.to_string_lossy().into_owned();
                (RunDescriptor::Path(path), text)
            }
            name @ RunDescriptor::Name(_) => (name, text),
        })
    }

    pub(super) fn plain<D>(
        &mut self,
        item: &Item<'_>,
        parse: impl Fn(&str) -> Result<D, GrammarError>,
    ) -> Option<(D, String)> {
        // Nothing of these kinds has a comma in its name.
        if self.dialect == Dialect::Yaml && item.text.contains(',') {
            let hint = "write one entry for each".to_owned();
            let message = format!("`{}` looks like several entries", item.text);
            self.problem(item.place, "", message, Some(hint));
            return None;
        }
        match parse(&item.text) {
            Ok(descriptor) => Some((descriptor, item.text.clone())),
            Err(error) => {
                self.grammar(item, &error);
                None
            }
        }
    }

    /// The host of an entry, with the port that stands beside it.
    pub(super) fn host(
        &mut self,
        item: &Item<'_>,
        parse: impl Fn(&str) -> Result<NetDescriptor, GrammarError>,
    ) -> Option<NetDescriptor> {
        let mut found = match parse(&item.text) {
            Ok(found) => found,
            Err(error) => {
                self.grammar(item, &error);
                return None;
            }
        };
        if self.dialect == Dialect::DenoJson && found.host == Host::ThisMachine {
            self.grammar(item, &GrammarError::PortOnly(item.text.clone()));
            return None;
        }
        let Some(node) = item.fields.as_ref().and_then(|fields| fields.get("port")) else {
            return Some(found);
        };
        let number = match &node.value {
            Value::Number(number) => number.parse::<u16>().ok(),
            _ => None,
        };
        let Some(port) = number else {
            let message = "`port` is no number from 0 to 65535";
            let hint = "one port an entry; leave it out for every port".to_owned();
            self.problem(node.place, "", message, Some(hint));
            return None;
        };
        if found.port.is_some() || matches!(found.host, Host::Unix(_) | Host::Vsock { .. }) {
            let message = format!("`{}` takes no further port", item.text);
            self.problem(node.place, "", message, Some("remove `port`".to_owned()));
            return None;
        }
        found.port = Some(port);
        Some(found)
    }

    pub(super) fn net(
        &mut self,
        item: &Item<'_>,
        granted: &mut Granted,
    ) -> Option<(NetDescriptor, String)> {
        if let Some(fields) = &item.fields
            && let Some(node) = fields.get(FROM)
        {
            for other in ["host", "port", "verify"] {
                if let Some(node) = fields.get(other) {
                    let message = format!("`{other}` beside `{FROM}`, which says it");
                    self.problem(node.place, "", message, Some("remove one".to_owned()));
                    return None;
                }
            }
            self.grant_only(item, FROM)?;
            let Some(registry) = Registry::parse(&item.text) else {
                let known: Vec<&str> = Registry::ALL.into_iter().map(Registry::name).collect();
                let message = format!("no registry `{}`", item.text);
                let hint = format!("there are: {}", known.join(", "));
                self.problem(node.place, "", message, Some(hint));
                return None;
            };
            let private = match fields.get("private") {
                Some(node) => self.boolean(node, "", "`private`")?,
                None => false,
            };
            granted.registries.push(WantedRegistry {
                registry,
                private,
                origin: item.origin.clone(),
            });
            return None;
        }
        let peer = self.host(item, grammar::parse_net)?;
        let text = peer.to_string();
        let named = matches!(peer.host, Host::Name(_) | Host::Wildcard(_));
        if let Some(node) = self.grant_only(item, "private")
            && self.boolean(node, "", "`private`")?
        {
            if !named {
                let message = format!("`private` belongs to a name, and `{text}` is none");
                let hint = "remove it: an address is granted as it is".to_owned();
                self.problem(node.place, "", message, Some(hint));
                return None;
            }
            granted.private.push(Entry {
                descriptor: peer.clone(),
                text: text.clone(),
                origin: item.origin.clone(),
            });
        }
        if let Some(node) = self.grant_only(item, "verify") {
            let word = self.text(node, "", "`verify`")?;
            let server_name = match word.as_str() {
                "sni" => true,
                "none" => false,
                _ => {
                    let hint = "`sni` checks the TLS server name on every port, `none` nothing; \
                                without it, 443 and 80 are checked"
                        .to_owned();
                    let message = format!("`{word}` is no check");
                    self.problem(node.place, "", message, Some(hint));
                    return None;
                }
            };
            if !named {
                let message = format!("`verify` belongs to a name, and `{text}` is none");
                self.problem(node.place, "", message, Some("remove it".to_owned()));
                return None;
            }
            granted.verify.push(Checked {
                peer: peer.clone(),
                server_name,
                origin: item.origin.clone(),
            });
        }
        Some((peer, text))
    }

    /// One path outside the permissions, made absolute: protected, or of a setting.
    pub(super) fn single_path(&mut self, node: &Node, what: &str) -> Option<Setting<String>> {
        let text = self.text(node, "", what)?;
        let text = self.substituted(text, node.place, "")?;
        let item = Item {
            text,
            place: node.place,
            fields: None,
            origin: self.origin(node.place, "", None),
            allow: true,
        };
        let (_, value) = self.path(&item)?;
        Some(Setting {
            value,
            place: node.place,
            origin: item.origin,
        })
    }
}

/// A path of a file in `directory`, made absolute.
fn placed(directory: &Path, typed: PathDescriptor) -> PathDescriptor {
    if typed.path.is_absolute() {
        return typed;
    }
    let ascent: PathBuf = typed
        .path
        .components()
        .skip_while(|component| matches!(component, Component::CurDir))
        .take_while(|component| matches!(component, Component::ParentDir))
        .collect();
    PathDescriptor {
        within: Some(lexical(directory, &ascent)),
        path: lexical(directory, &typed.path),
        ..typed
    }
}
