// SPDX-License-Identifier: MIT
//! Which hosts `{from: npm-registry}` and its like are: the tools themselves are asked, each in a run
//! of Stockade's own that may read the user's configuration of it and nothing else of the user's.
//!
//! Invariant: no host is written in this program, and none comes from the project's files, which may
//! be anybody's: a tool is asked in a system directory, and told the answer by variables that count
//! more than files do. Credentials are never passed on.

mod tools;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::failure::Failure;
use crate::host::Host;
use crate::policy::grammar;
use crate::policy::registry::{Registry, WantedRegistry};
use crate::policy::{Entry, Host as PolicyHost, NetDescriptor, Policy};
use crate::runner::npmrc;

/// Where tools are asked: it has no project in it, nor above it.
const ASKED_IN: &str = "/usr";

/// A tool that says nothing for so long is not asked any further.
const PATIENCE: &str = "--timeout=60s";

/// What a tool says about its registries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where it downloads from: `http` or `https`, without credentials.
    urls: Vec<String>,
    /// Variables that make it go there, whatever files it reads.
    variables: Vec<(String, String)>,
    /// Files of the command's own home that do what no variable does, as path and content.
    files: Vec<(&'static str, String)>,
    /// What the user should know.
    notices: Vec<String>,
}

/// What a policy's registries add to a run.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Variables for the command.
    pub variables: Vec<(String, String)>,
    /// Files for its home.
    pub files: Vec<(&'static str, String)>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Why a registry is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    /// The tool could not be started, or did not answer.
    #[error("cannot ask `{tool}` where it downloads from, for `{registry}` of {origin}")]
    Ask {
        tool: &'static str,
        registry: Registry,
        origin: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered with something that is no URL.
    #[error("`{tool}` downloads from `{url}`, which names no host, for `{registry}` of {origin}")]
    Url {
        tool: &'static str,
        url: String,
        registry: Registry,
        origin: String,
    },
}

impl RegistryError {
    /// What would help.
    pub(super) fn hint(&self) -> Option<String> {
        Some("grant its hosts with `--allow-net` in place of the preset's entry".to_owned())
    }
}

/// Adds the hosts of the wanted registries to `policy`.
///
/// # Errors
/// A tool cannot be asked, or its answer is none.
pub(super) fn resolve(
    wanted: &[WantedRegistry],
    policy: &mut Policy,
    private: &mut Vec<Entry<NetDescriptor>>,
    host: &dyn Host,
) -> Result<Resolved, Failure> {
    let mut resolved = Resolved::default();
    for one in wanted {
        let tool = tools::name(one.registry);
        let answer = tools::ask(one.registry, host).map_err(|source| RegistryError::Ask {
            tool,
            registry: one.registry,
            origin: one.origin.to_string(),
            source,
        })?;
        for url in &answer.urls {
            let Some(descriptor) = descriptor(url) else {
                return Err(RegistryError::Url {
                    tool,
                    url: url.clone(),
                    registry: one.registry,
                    origin: one.origin.to_string(),
                }
                .into());
            };
            let entry = Entry {
                text: descriptor.to_string(),
                descriptor,
                origin: one.origin.clone(),
            };
            if one.private && !private.contains(&entry) {
                private.push(entry.clone());
            }
            if !policy.net.allow.entries.contains(&entry) {
                policy.net.allow.entries.push(entry);
            }
        }
        resolved.variables.extend(answer.variables);
        resolved.files.extend(answer.files);
        resolved.notices.extend(answer.notices);
    }
    Ok(resolved)
}

/// The peer of an `http` or `https` URL; none when it is no such URL, or names several.
fn descriptor(url: &str) -> Option<NetDescriptor> {
    let found = grammar::parse_net(&npmrc::host_of(url)?).ok()?;
    matches!(found.host, PolicyHost::Name(_) | PolicyHost::Address(_)).then_some(found)
}

/// One run of a tool, to be asked.
#[derive(Debug, Default)]
struct Question<'a> {
    /// The command and its arguments.
    command: &'a [&'a str],
    /// Files it may read, as far as they are there.
    read: Vec<PathBuf>,
    /// Variables it gets, patterns included.
    variables: &'a [&'a str],
    /// Hosts it may reach.
    net: Vec<String>,
    /// Variables set for it.
    set: &'a [(&'a str, &'a str)],
}

/// Both streams of a confined run, whatever its exit code. Nothing of it is shown.
fn ask(
    question: &Question<'_>,
    host: &dyn Host,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments: Vec<OsString> =
        vec!["exec".into(), "--quiet-denials".into(), PATIENCE.into()];
    let mut allow = |flag: &str, values: Vec<String>| {
        if !values.is_empty() {
            arguments.push(format!("--allow-{flag}={}", values.join(",")).into());
        }
    };
    let here = |path: &&PathBuf| host.exists(path);
    let read = question.read.iter().filter(here);
    // A comma in a path is doubled, as in every list of flags.
    allow(
        "read",
        read.map(|path| path.to_string_lossy().replace(',', ",,"))
            .collect(),
    );
    allow("net", question.net.clone());
    allow("private", question.net.clone());
    let set = question.set.iter().map(|(name, _)| *name);
    let names = question.variables.iter().copied().chain(set);
    allow("env", names.map(str::to_owned).collect());
    arguments.push("--".into());
    arguments.extend(question.command.iter().map(OsString::from));
    let output = Command::new("/proc/self/exe")
        .args(&arguments)
        .envs(question.set.iter().copied())
        .current_dir(Path::new(ASKED_IN))
        .stdin(Stdio::null())
        .output()?;
    match output.status.code() {
        Some(124..=127) | None => {
            let told = String::from_utf8_lossy(&output.stderr);
            let last = told.lines().find(|line| !line.trim().is_empty());
            Err(last.unwrap_or("it was ended").to_owned().into())
        }
        Some(_) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_peers() {
        for (url, peer) in [
            ("https://a.test", Some("a.test:443")),
            ("http://a.test:4873/x/", Some("a.test:4873")),
            ("https://user:word@a.test/simple", Some("a.test:443")),
            ("https://a.test@b.test/", Some("b.test:443")),
            ("https://[::1]:81/", Some("[::1]:81")),
            ("file:///a", None),
            ("https:///a", None),
            ("https://*.test/", None),
            ("https://a.test,b.test/", None),
            ("a.test", None),
        ] {
            let found = descriptor(url).map(|found| found.to_string());
            assert_eq!(found.as_deref(), peer, "{url}");
        }
    }
}
