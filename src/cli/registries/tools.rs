// SPDX-License-Identifier: MIT
//! How each tool is asked, and what its answer says.
//!
//! Invariant: an answer is text from a program that had no network, or only the network of its own
//! registry; what is taken out of it is URLs.

use std::error::Error;
use std::path::PathBuf;

use super::{Answer, Question, ask as run, descriptor};
use crate::host::Host;
use crate::policy::own_variables::{CARGO_HOME, PIP, PIP_CONFIG_FILE, RUSTUP_TOOLCHAIN};
use crate::policy::registry::Registry;
use crate::runner::npmrc;
use crate::runner::sources::without_credentials;

type Asked<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The program that is asked.
pub(super) fn name(registry: Registry) -> &'static str {
    match registry {
        Registry::Npm => "npm",
        Registry::Pip => "pip",
        Registry::Cargo => "cargo",
    }
}

/// Where a tool downloads from, by its own word.
pub(super) fn ask(registry: Registry, host: &dyn Host) -> Asked<Answer> {
    let home = host.variable("HOME").map(PathBuf::from);
    let at_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let named = |variable: &str| host.variable(variable).map(PathBuf::from);
    match registry {
        Registry::Npm => {
            let own = named("npm_config_userconfig")
                .or_else(|| named("NPM_CONFIG_USERCONFIG"))
                .or_else(|| at_home(".npmrc"));
            let text = run(
                &Question {
                    command: &["npm", "config", "ls", "--json"],
                    read: own.clone().into_iter().collect(),
                    variables: &["HOME", "npm_config_*", "NPM_CONFIG_*"],
                    ..Question::default()
                },
                host,
            )?;
            let variable = |name: &str| host.variable(name)?.to_str().map(str::to_owned);
            let file = || {
                let bytes = host.read_file(own.as_deref()?, SETTINGS).ok()?;
                registry_line(&String::from_utf8_lossy(&bytes))
            };
            npm(&text, &|| {
                variable("npm_config_registry")
                    .or_else(|| variable("NPM_CONFIG_REGISTRY"))
                    .or_else(file)
            })
        }
        Registry::Pip => {
            let configuration = named("XDG_CONFIG_HOME").or_else(|| at_home(".config"));
            let read = [
                configuration.map(|path| path.join("pip/pip.conf")),
                at_home(".pip/pip.conf"),
                named(PIP_CONFIG_FILE),
                Some(PathBuf::from("/etc/pip.conf")),
            ];
            let text = run(
                &Question {
                    command: &["sh", "-c", "pip install --help; pip config list"],
                    read: read.into_iter().flatten().collect(),
                    variables: &["HOME", "XDG_CONFIG_HOME", PIP],
                    // The width help is broken at.
                    set: &[("COLUMNS", "9999")],
                    ..Question::default()
                },
                host,
            )?;
            let mut answer = pip(&text)?;
            files_of_index(&mut answer, host);
            Ok(answer)
        }
        Registry::Cargo => {
            let configuration = named(CARGO_HOME).or_else(|| at_home(".cargo"));
            let read: Vec<PathBuf> = configuration
                .map(|path| path.join("config.toml"))
                .into_iter()
                .collect();
            cargo(&read, host)
        }
    }
}

/// The setting of npm.
const REGISTRY: &str = "registry";

/// The registry of an `.npmrc`, where it needs no variable.
fn registry_line(text: &str) -> Option<String> {
    let settings = npmrc::parse(text);
    let last = settings.iter().rfind(|setting| setting.key == REGISTRY)?;
    last.variables().is_empty().then(|| last.value.clone())
}

/// npm's own settings as JSON. npm tells no URL with credentials in it: `hidden` is where such a one
/// stands.
fn npm(text: &str, hidden: &dyn Fn() -> Option<String>) -> Asked<Answer> {
    let start = text.find('{').ok_or("it printed no settings")?;
    let settings: serde_json::Value = serde_json::Deserializer::from_str(&text[start..])
        .into_iter::<serde_json::Value>()
        .next()
        .ok_or("it printed no settings")??;
    let settings = settings.as_object().ok_or("it printed no settings")?;
    let mut answer = Answer::default();
    let mut add = |key: &str, url: &str| {
        let url = without_credentials(url);
        let variable = format!("npm_config_{key}");
        answer.variables.push((variable, url.clone()));
        answer.urls.push(url);
    };
    match settings.get(REGISTRY).and_then(serde_json::Value::as_str) {
        Some(url) => add(REGISTRY, url),
        None => add(REGISTRY, &hidden().ok_or("it tells no registry")?),
    }
    for (key, value) in settings {
        let scope = key.starts_with('@') && key.ends_with(":registry");
        if let Some(url) = value.as_str().filter(|_| scope) {
            add(key, url);
        }
    }
    Ok(answer)
}

/// pip's help, which tells the index it would use, and its settings, which tell the further ones.
fn pip(text: &str) -> Asked<Answer> {
    let index = text
        .lines()
        .filter(|line| line.contains("--index-url"))
        .find_map(|line| line.split_once("(default ")?.1.split_once(')'))
        .map(|(url, _)| url)
        .ok_or("its help names no index")?;
    let index = without_credentials(index);
    let further: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(".extra-index-url=")?.1.strip_prefix('\''))
        .flat_map(|value| value.trim_end_matches('\'').split("\\n"))
        .flat_map(str::split_whitespace)
        .map(without_credentials)
        .collect();
    let mut answer = Answer::default();
    answer
        .variables
        .push(("PIP_INDEX_URL".to_owned(), index.clone()));
    if !further.is_empty() {
        let value = further.join(" ");
        answer
            .variables
            .push(("PIP_EXTRA_INDEX_URL".to_owned(), value));
    }
    answer.urls.push(index);
    answer.urls.extend(further);
    // An index may be a directory.
    answer
        .urls
        .retain(|url| url.contains("://") && !url.starts_with("file:"));
    Ok(answer)
}

/// An index links to files that may lie on another host: it is asked for the links of a project that
/// every index has, pip itself, by a pip that may reach nothing but the index.
fn files_of_index(answer: &mut Answer, host: &dyn Host) {
    let hosts: Vec<String> = answer.urls.iter().filter_map(|url| peer(url)).collect();
    if hosts.is_empty() {
        return;
    }
    let mut set: Vec<(&str, &str)> = vec![("PIP_RETRIES", "0")];
    set.extend(
        answer
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let question = Question {
        command: &[
            "sh",
            "-c",
            "exec pip download -vvv --no-deps --no-cache-dir -d \"$TMPDIR\" pip==0",
        ],
        net: hosts,
        set: &set,
        ..Question::default()
    };
    let found = run(&question, host)
        .map(|text| links(&text))
        .unwrap_or_default();
    if found.is_empty() {
        answer.notices.push(
            "the package index did not say where its files are; if that is another host, \
             `--allow-net` has to grant it"
                .to_owned(),
        );
    }
    for url in found {
        if !answer.urls.iter().any(|known| peer(known) == peer(&url)) {
            answer.urls.push(url);
        }
    }
}

fn peer(url: &str) -> Option<String> {
    Some(descriptor(url)?.to_string())
}

/// The files in what pip tells with `-vvv`.
fn links(text: &str) -> Vec<String> {
    text.split_whitespace()
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|word| word.split('#').next().unwrap_or(word))
        .filter(|word| {
            [".whl", ".tar.gz", ".zip"]
                .iter()
                .any(|ending| word.ends_with(ending))
        })
        .map(without_credentials)
        .collect()
}

/// A project with one dependency, in the run's own directory, and the user's settings of cargo beside
/// it: without network cargo says which index it asked, with the index it keeps what the index says
/// about downloads.
const CARGO: &str = "mkdir -p \"$HOME/.cargo\" \"$TMPDIR/asked/src\"; cd \"$TMPDIR/asked\"; : > src/lib.rs; \
    [ -z \"$1\" ] || cp \"$1\" \"$HOME/.cargo/config.toml\"; \
    printf '[package]\\nname = \"asked\"\\nversion = \"0.0.0\"\\nedition = \"2021\"\\n[dependencies]\\ncfg-if = \"1\"\\n' > Cargo.toml; \
    cargo fetch; cat \"$HOME\"/.cargo/registry/index/*/config.json";

/// The largest file of settings that is looked at.
const SETTINGS: usize = 1 << 20;

fn cargo(configuration: &[PathBuf], host: &dyn Host) -> Asked<Answer> {
    let here = configuration.iter().find(|path| host.exists(path));
    let file = here.map(|path| path.to_string_lossy().into_owned());
    let file = file.unwrap_or_default();
    let command = ["sh", "-c", CARGO, "sh", &file];
    let question = |net: Vec<String>| Question {
        command: &command,
        read: configuration.to_vec(),
        // Not its tokens, which are in variables as well.
        variables: &[RUSTUP_TOOLCHAIN],
        net,
        set: &[("CARGO_NET_RETRY", "0"), ("CARGO_HTTP_TIMEOUT", "10")],
    };
    let text = run(&question(Vec::new()), host)?;
    let index = index(&text).ok_or("it did not say which index it asked")?;
    let mut answer = Answer {
        urls: vec![index.clone()],
        ..Answer::default()
    };
    // The user's own settings are not seen by the command, and no variable replaces a source.
    let settings = here.and_then(|path| host.read_file(path, SETTINGS).ok());
    let replaced =
        settings.is_some_and(|bytes| String::from_utf8_lossy(&bytes).contains("replace-with"));
    if let (true, Some(sparse)) = (replaced, index.strip_suffix("config.json")) {
        let content = format!(
            "[source.crates-io]\nreplace-with = \"configured\"\n[source.configured]\nregistry = \"sparse+{sparse}\"\n"
        );
        answer.files.push((".cargo/config.toml", content));
    }
    let net = peer(&index).into_iter().collect();
    let downloads = run(&question(net), host)
        .map(|text| downloads(&text))
        .unwrap_or_default();
    if downloads.is_empty() {
        answer.notices.push(
            "the index of cargo did not say where its files are; if that is another host, \
             `--allow-net` has to grant it"
                .to_owned(),
        );
    }
    answer.urls.extend(downloads);
    Ok(answer)
}

/// The URL cargo could not download from.
fn index(text: &str) -> Option<String> {
    text.split('`')
        .find(|word| word.starts_with("https://") || word.starts_with("http://"))
        .map(without_credentials)
}

/// Where an index says its files are: the start of a template (`dl` of its `config.json`).
fn downloads(text: &str) -> Vec<String> {
    let found = text
        .match_indices("{\"")
        .filter_map(|(start, _)| {
            let mut values =
                serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde_json::Value>();
            values.next()?.ok()
        })
        .filter_map(|value| Some(value.get("dl")?.as_str()?.to_owned()));
    let mut urls: Vec<String> = found.map(|url| without_credentials(&url)).collect();
    urls.dedup();
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npm_says_its_registries() {
        let text = "npm warn something\n{\n \"registry\": \"https://u:p@a.test/\",\n \"@b:registry\": \"http://b.test:1\",\n \
                    \"//a.test/:_authToken\": \"(protected)\"\n}\n";
        let answer = npm(text, &|| None).unwrap();
        assert_eq!(answer.urls, ["https://a.test/", "http://b.test:1"]);
        let variables: Vec<&str> = answer
            .variables
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(variables, ["npm_config_registry", "npm_config_@b:registry"]);
        assert!(npm("{}", &|| None).is_err() && npm("", &|| None).is_err());
        let file = "; comment\nregistry = \"https://u:p@c.test/\"\n@b:registry=https://d.test\n";
        let answer = npm("{}", &|| registry_line(file)).unwrap();
        assert_eq!(answer.urls, ["https://c.test/"]);
        assert_eq!(registry_line("registry=https://${HOST}/"), None);
    }

    #[test]
    fn pip_says_its_indexes() {
        let text = "  -i, --index-url <url>   Base URL of the index (default https://u:p@a.test/simple). This should\n\
                    global.extra-index-url='https://b.test/simple\\nhttps://c.test/simple'\nglobal.timeout='1'\n";
        let answer = pip(text).unwrap();
        assert_eq!(
            answer.urls,
            [
                "https://a.test/simple",
                "https://b.test/simple",
                "https://c.test/simple"
            ]
        );
        assert_eq!(
            answer.variables[0],
            (
                "PIP_INDEX_URL".to_owned(),
                "https://a.test/simple".to_owned()
            )
        );
        let files = "Found link https://f.test/p/x-1.whl#sha256=1 (from https://a.test/simple/x/)";
        assert_eq!(links(files), ["https://f.test/p/x-1.whl"]);
        assert!(pip("nothing").is_err());
    }

    #[test]
    fn cargo_says_its_index_and_the_index_its_downloads() {
        let text = "error: download of config.json failed\n  failed to download from `https://i.test/config.json`\n";
        assert_eq!(index(text).as_deref(), Some("https://i.test/config.json"));
        let text = "warning: x\n{\"dl\": \"https://d.test/{crate}\", \"api\": \"https://i.test\"}";
        assert_eq!(downloads(text), ["https://d.test/{crate}"]);
        assert!(downloads("{}").is_empty());
    }
}
