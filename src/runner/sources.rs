// SPDX-License-Identifier: MIT
//! The hosts modules and packages may be downloaded from, and what is sent there.
//!
//! Invariant: no host is written in this program. The runner says its own; the user's flags,
//! environment and `.npmrc` name others; a project names none by itself.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::npmrc::{self, NpmrcError};
use super::{Confined, ConfinedRequest, Runner, cache, unpack};
use crate::host::Host;
use crate::policy::compose::net_covers;
use crate::policy::grammar::parse_import;
use crate::policy::{NetDescriptor, Policy};

/// The largest `.npmrc` that is read.
pub(super) const LIMIT: usize = 1 << 20;

/// Variables by which the user tells Deno which certificate authorities to trust, and whether each
/// names a file.
const TRUST: [(&str, bool); 5] = [
    ("DENO_CERT", true),
    ("NODE_EXTRA_CA_CERTS", true),
    ("SSL_CERT_FILE", true),
    ("SSL_CERT_DIR", true),
    ("DENO_TLS_CA_STORE", false),
];

/// The user's own words on where packages come from, spelled as Deno 2.9 reads them.
const REGISTRY_VARIABLES: [&str; 3] = ["NPM_CONFIG_REGISTRY", "npm_config_registry", "JSR_URL"];

/// The key of the JSR registry among the registries, which have the names of `.npmrc` otherwise.
pub const JSR: &str = "jsr";

/// Where the runner downloads from when nobody says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// The registry of `npm:` packages, as `host:port`.
    pub npm: Option<String>,
    /// The registry of `jsr:` packages.
    pub jsr: Option<String>,
    /// Hosts of `https:` imports.
    pub imports: Vec<String>,
}

/// What a download may reach and what it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Every host: `--allow-import` without a list, or `-A`.
    pub any: bool,
    /// Hosts, as net rules write them; sorted.
    pub hosts: Vec<String>,
    /// Hosts for `--allow-import` of the runner.
    pub imports: Vec<String>,
    /// Variables for the runner.
    pub variables: Vec<(String, String)>,
    /// Registries as the program's own run is told them: `registry`, `@scope:registry`, [`JSR`].
    pub registries: Vec<(String, String)>,
    /// Files those name.
    pub read: Vec<PathBuf>,
}

impl Sources {
    /// The URL of all packages without a registry of their own.
    pub fn default_registry(&self, defaults: &Defaults) -> String {
        let named = self.registries.iter().find(|(key, _)| key == "registry");
        match (named, &defaults.npm) {
            (Some((_, url)), _) => url.clone(),
            (None, Some(host)) => format!("https://{host}/"),
            (None, None) => String::new(),
        }
    }

    /// The later word counts: the user's file, the project's, the environment, as in Deno 2.9.
    fn set_registry(&mut self, key: String, url: &str) {
        self.registries.retain(|(known, _)| *known != key);
        self.registries.push((key, without_credentials(url)));
    }
}

/// Why the hosts are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// The runner could not be asked.
    #[error("cannot ask the runner where it downloads from")]
    Ask(#[source] Box<dyn Error + Send + Sync>),
    /// A project's `.npmrc`.
    #[error(transparent)]
    Npmrc(#[from] NpmrcError),
    /// A variable that is no URL.
    #[error("the variable `{name}` is no http or https URL")]
    Variable {
        /// Its name.
        name: &'static str,
    },
}

impl SourcesError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Npmrc(error) => error.hint(),
            Self::Ask(_) | Self::Variable { .. } => None,
        }
    }
}

/// Asks the runner, once per runner.
///
/// # Errors
/// It cannot be run.
pub fn defaults(
    host: &dyn Host,
    cache: &Path,
    runner: &Runner,
    confined: &dyn Confined,
) -> Result<Defaults, SourcesError> {
    let record = unpack::directory_of(cache, &runner.id).join("sources.json");
    if let Some(known) = cache::read_json(host, &record) {
        return Ok(known);
    }
    let ask = |words: &[&str]| -> Result<String, SourcesError> {
        let mut arguments = vec!["deno".to_owned()];
        arguments.extend(words.iter().map(|word| (*word).to_owned()));
        let request = ConfinedRequest {
            runner: runner.clone(),
            arguments,
            read: Vec::new(),
            write: Vec::new(),
            environment: super::prepare::environment(Path::new("/nonexistent")),
            directory: PathBuf::from("/"),
        };
        let answer = confined.capture(&request).map_err(SourcesError::Ask)?;
        let mut text = String::from_utf8_lossy(&answer.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&answer.stderr));
        Ok(text)
    };
    // Behind walls without network each of the two fails, and says at which URL.
    let failing = ["info", "--no-lock", "--no-config"];
    let url = |specifier: &str| -> Result<Option<String>, SourcesError> {
        let mut words = failing.to_vec();
        words.push(specifier);
        Ok(ask(&words)?
            .split(|character: char| character.is_whitespace() || "'\"()".contains(character))
            .find_map(npmrc::host_of))
    };
    let answer = Defaults {
        npm: url("npm:stockade")?,
        jsr: url("jsr:@stockade/stockade")?,
        imports: listed_imports(&ask(&["run", "--help=full"])?),
    };
    // A cache that cannot be written costs the next run this question again.
    drop(cache::write_json(&record, &answer));
    Ok(answer)
}

/// The default value of `--allow-import`, from the help text.
fn listed_imports(help: &str) -> Vec<String> {
    let Some((_, behind)) = help.split_once("--allow-import") else {
        return Vec::new();
    };
    let Some((_, behind)) = behind.split_once("Default value:") else {
        return Vec::new();
    };
    let list = behind.split_whitespace().next().unwrap_or_default();
    list.split(',')
        .filter(|item| parse_import(item).is_ok())
        .map(str::to_owned)
        .collect()
}

/// Collects everything the user, the policy and the runner allow. `entries` are URLs on the command
/// line: naming one allows its host.
///
/// # Errors
/// A project's `.npmrc` names what nobody allowed, or a variable is malformed.
pub fn collect(
    host: &dyn Host,
    policy: &Policy,
    defaults: &Defaults,
    entries: &[&str],
    project_files: &[PathBuf],
) -> Result<Sources, SourcesError> {
    let mut sources = Sources::default();
    // Hosts that the user names.
    let mut named: Vec<String> = Vec::new();
    let mut environment = None;
    let mut npm = defaults.npm.clone();
    let mut jsr = defaults.jsr.clone();
    for name in REGISTRY_VARIABLES {
        let Some(value) = host.variable(name).and_then(|value| value.to_str()) else {
            continue;
        };
        let own = npmrc::host_of(value).ok_or(SourcesError::Variable { name })?;
        named.push(own.clone());
        sources.variables.push((name.to_owned(), value.to_owned()));
        if name == "JSR_URL" {
            jsr = Some(own);
            sources.set_registry(JSR.to_owned(), value);
        } else {
            npm = Some(own);
            environment = Some(value);
        }
    }
    for (name, is_file) in TRUST {
        if let Some(value) = host.variable(name).and_then(|value| value.to_str()) {
            sources.variables.push((name.to_owned(), value.to_owned()));
            let path = host.current_directory().join(value);
            if is_file && host.exists(&path) {
                sources.read.push(path);
            }
        }
    }
    user_file(host, &mut sources, &mut named);

    let import = &policy.import;
    let listed = |entries: &[crate::policy::Entry<NetDescriptor>]| -> Vec<String> {
        entries.iter().map(|entry| entry.text.clone()).collect()
    };
    sources.imports = if import.allow.entries.is_empty() && import.deny.all.is_none() {
        let mut imports = defaults.imports.clone();
        imports.extend(jsr);
        imports
    } else {
        listed(&import.allow.entries)
    };
    sources
        .imports
        .extend(entries.iter().filter_map(|url| npmrc::host_of(url)));
    let denied: Vec<&NetDescriptor> = import
        .deny
        .entries
        .iter()
        .map(|entry| &entry.descriptor)
        .collect();
    let is_denied = |text: &str| {
        parse_import(text).is_ok_and(|asked| denied.iter().any(|rule| net_covers(rule, &asked)))
    };
    sources.imports.retain(|text| !is_denied(text));

    let known: Vec<String> = npm.into_iter().chain(named).collect();
    let allowed: Vec<NetDescriptor> = known
        .iter()
        .chain(&sources.imports)
        .filter_map(|text| parse_import(text).ok())
        .collect();
    sources.any = import.allow.all.is_some() || policy.all.is_some() && import.allow.is_empty();
    let any = sources.any;
    let is_allowed = |text: &str| {
        any || parse_import(text)
            .is_ok_and(|asked| allowed.iter().any(|rule| net_covers(rule, &asked)))
    };
    for path in project_files {
        let Ok(bytes) = host.read_file(path, LIMIT) else {
            continue;
        };
        let settings = npmrc::parse(&String::from_utf8_lossy(&bytes));
        npmrc::judge(path, &settings, &is_allowed)?;
        for setting in settings.iter().filter(|setting| setting.is_registry()) {
            sources.hosts.extend(npmrc::host_of(&setting.value));
            sources.set_registry(setting.key.clone(), &setting.value);
        }
    }
    if let Some(value) = environment {
        sources.set_registry("registry".to_owned(), value);
    }
    sources.hosts.extend(known);
    sources.hosts.extend(sources.imports.iter().cloned());
    sources.hosts.retain(|text| !is_denied(text));
    sources.hosts.sort();
    sources.hosts.dedup();
    Ok(sources)
}

/// The user's own `.npmrc`: followed, with the variables it names.
fn user_file(host: &dyn Host, sources: &mut Sources, named: &mut Vec<String>) {
    let Some(home) = host.variable("HOME").filter(|home| !home.is_empty()) else {
        return;
    };
    let path = Path::new(home).join(".npmrc");
    let Ok(bytes) = host.read_file(&path, LIMIT) else {
        return;
    };
    sources
        .variables
        .push(("HOME".to_owned(), home.to_string_lossy().into_owned()));
    sources.read.push(path);
    for setting in npmrc::parse(&String::from_utf8_lossy(&bytes)) {
        let mut value = setting.value.clone();
        for name in setting.variables() {
            let Some(found) = host.variable(&name).and_then(|found| found.to_str()) else {
                continue;
            };
            for form in [format!("${{{name}}}"), format!("${{{name}?}}")] {
                value = value.replace(&form, found);
            }
            if !sources.variables.iter().any(|(known, _)| *known == name) {
                sources.variables.push((name, found.to_owned()));
            }
        }
        if setting.is_registry()
            && let Some(host) = npmrc::host_of(&value)
        {
            named.push(host);
            sources.set_registry(setting.key, &value);
        }
    }
}

/// A registry URL as the program may see it: without user, password, query.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::policy::flags::{PermissionFlag, parse_flags};

    fn defaults() -> Defaults {
        Defaults {
            npm: Some("npm.test:443".to_owned()),
            jsr: Some("jsr.test:443".to_owned()),
            imports: vec!["land.test:443".to_owned()],
        }
    }

    fn policy(flags: &[(&str, Option<&str>)]) -> Policy {
        let flags = flags.iter().map(|(flag, value)| PermissionFlag {
            flag,
            value: *value,
        });
        parse_flags(flags).unwrap()
    }

    fn collected(host: &FakeHost, flags: &[(&str, Option<&str>)]) -> Sources {
        let files = ["/w/.npmrc".into()];
        collect(host, &policy(flags), &defaults(), &[], &files).unwrap()
    }

    #[test]
    fn the_runners_own_hosts_are_reached_without_a_word() {
        let sources = collected(&FakeHost::new(), &[]);
        assert_eq!(
            sources.hosts,
            ["jsr.test:443", "land.test:443", "npm.test:443"]
        );
        assert_eq!(sources.imports, ["land.test:443", "jsr.test:443"]);
        assert!(sources.variables.is_empty());
    }

    #[test]
    fn flags_replace_import_hosts_and_denials_win() {
        let host = FakeHost::new();
        let listed = collected(&host, &[("--allow-import", Some("a.test"))]);
        assert_eq!(listed.hosts, ["a.test", "npm.test:443"]);
        let denied = collected(&host, &[("--deny-import", Some("land.test"))]);
        assert_eq!(denied.hosts, ["jsr.test:443", "npm.test:443"]);
        assert!(collected(&host, &[("--allow-import", None)]).any);
        let none = collected(&host, &[("--deny-import", None)]);
        assert_eq!(none.hosts, ["npm.test:443"]);
    }

    #[test]
    fn the_users_own_words_are_followed() {
        let host = FakeHost::new()
            .with_environment(&[
                ("HOME", "/home/u"),
                ("TOKEN", "secret"),
                ("NPM_CONFIG_REGISTRY", "http://user:word@first.test:4873/x"),
            ])
            .with_file(
                "/home/u/.npmrc",
                "@mine:registry=https://scoped.test/\n//scoped.test/:_authToken=${TOKEN}",
            );
        let sources = collected(&host, &[]);
        assert_eq!(
            sources.hosts,
            [
                "first.test:4873",
                "jsr.test:443",
                "land.test:443",
                "scoped.test:443"
            ]
        );
        let told = |name: &str| sources.variables.iter().any(|(known, _)| known == name);
        assert!(told("TOKEN") && told("HOME") && told("NPM_CONFIG_REGISTRY"));
        let registries: Vec<&str> = sources
            .registries
            .iter()
            .map(|(_, url)| url.as_str())
            .collect();
        assert_eq!(
            registries,
            ["https://scoped.test/", "http://first.test:4873/x"]
        );
    }

    #[test]
    fn a_project_needs_a_word_of_the_user() {
        let host = FakeHost::new().with_file("/w/.npmrc", "registry=https://evil.test/");
        let files = ["/w/.npmrc".into()];
        let judged = |flags: &[(&str, Option<&str>)]| {
            collect(&host, &policy(flags), &defaults(), &[], &files)
        };
        let refused = judged(&[]).unwrap_err();
        assert!(refused.to_string().contains("`evil.test:443`"), "{refused}");
        let allowed = judged(&[("--allow-import", Some("evil.test:443"))]).unwrap();
        assert!(allowed.hosts.contains(&"evil.test:443".to_owned()));
        assert_eq!(allowed.registries[0].1, "https://evil.test/");
    }

    #[test]
    fn defaults_are_read_from_the_help_text() {
        let help = "  -I, --allow-import[=<HOST>...]  Allow importing.\n  Default value: a.test:443,b.test:443\n   --allow-import";
        assert_eq!(listed_imports(help), ["a.test:443", "b.test:443"]);
        assert!(listed_imports("nothing").is_empty());
    }
}
