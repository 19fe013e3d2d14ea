// SPDX-License-Identifier: MIT
//! Which files a command without a script means: the tests, or the modules, below some directories.
//!
//! Invariant: links are not followed, and what the configuration excludes is not looked into. A file
//! found is an entry, which may be read because the user named it; what a configuration includes is
//! an untrusted file's word instead, and lies below it.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

use super::config_chain::parse_configuration;
use super::file_set::is_hidden;
use crate::host::{FileKind, Host};
use crate::policy::grammar::lexical;

/// Directories Deno never looks into.
const SKIPPED: [&str; 3] = ["node_modules", ".git", "vendor"];

/// Extensions of modules; those of tests are all but the last two.
const EXTENSIONS: [&str; 8] = ["ts", "tsx", "mts", "js", "mjs", "jsx", "cjs", "cts"];

/// More files than any project has: a search from `/` ends.
const LIMIT: usize = 100_000;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `test.ts`, `x_test.ts`, `x.test.ts` and their like.
    Tests,
    /// Every module.
    Modules,
    /// Every file.
    Everything,
}

/// Why files cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A pattern that is none.
    #[error("`{pattern}` is no pattern of files")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// A configuration includes what it may not.
    #[error(
        "`{text}` of `test.include` in `{configuration}` is not below the configuration, goes through a name that starts with a dot, or is no module"
    )]
    Included {
        /// As written.
        text: String,
        /// The file.
        configuration: PathBuf,
    },
}

impl FindError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { .. } => None,
            Self::Included { text, .. } => Some(format!(
                "name it: `stockade test {text}`; what the command line names needs no more"
            )),
        }
    }
}

/// Finds files. `named` are paths and patterns as typed, none for everything below the current
/// directory; `ignored` are left out; `configuration` is the nearest deno.json.
///
/// A named file is taken whatever its name is; a path where nothing is is left for prepare to report.
///
/// # Errors
/// A pattern is malformed, or the configuration includes what lies outside of it.
pub fn find(
    host: &dyn Host,
    wanted: Wanted,
    named: &[String],
    ignored: &[PathBuf],
    configuration: Option<&Path>,
) -> Result<Vec<String>, FindError> {
    let current = host.current_directory();
    let mut search = Search {
        host,
        wanted,
        excluded: ignored.iter().map(|path| current.join(path)).collect(),
        excluding: GlobSetBuilder::new(),
        found: Vec::new(),
    };
    let mut included: Vec<String> = Vec::new();
    if let Some(path) = configuration {
        let value = parse_configuration(host, path);
        let directory = path.parent().unwrap_or(current);
        search.exclude(directory, &value["exclude"])?;
        if wanted == Wanted::Tests {
            search.exclude(directory, &value["test"]["exclude"])?;
            let list = value["test"]["include"].as_array();
            for text in list.into_iter().flatten().filter_map(Value::as_str) {
                let included_path = lexical(directory, Path::new(text));
                if named.is_empty() && !may_include(host, directory, &included_path) {
                    return Err(FindError::Included {
                        text: text.to_owned(),
                        configuration: path.to_owned(),
                    });
                }
                included.push(included_path.display().to_string());
            }
        }
    }
    let everything = [".".to_owned()];
    let named = match (named.is_empty(), included.is_empty()) {
        (false, _) => named,
        (true, false) => &included,
        (true, true) => &everything,
    };
    let excluding = build(&search.excluding)?;
    let by_configuration = std::ptr::eq(named, included.as_slice());
    for text in named {
        let path = current.join(text);
        match host.inspect(&path) {
            Ok(found) if found.kind == FileKind::Directory => {
                search.walk(&lexical(current, &path), &excluding, None);
            }
            Err(_) if text.contains(['*', '?', '[', '{']) => {
                let pattern = lexical(current, &path);
                let set = build_one(&pattern.display().to_string())?;
                search.walk(&base(&pattern), &excluding, Some(&set));
            }
            _ => search.found.push(text.clone()),
        }
    }
    if by_configuration && let Some(directory) = configuration.and_then(Path::parent) {
        let below = |text: &String| Path::new(text).strip_prefix(directory).map(is_hidden);
        search.found.retain(|text| below(text) != Ok(true));
    }
    search.found.dedup();
    Ok(search.found)
}

/// Whether a configuration in `directory` may make what is at `path` entries of the program.
fn may_include(host: &dyn Host, directory: &Path, path: &Path) -> bool {
    let begin = base(path);
    let Ok(within) = host.inspect(directory) else {
        return false;
    };
    let Ok(found) = host.inspect(&begin) else {
        // Nothing is there, and prepare says so.
        return begin.starts_with(directory);
    };
    let below = found.real_path.strip_prefix(&within.real_path);
    below.is_ok_and(|below| !is_hidden(below))
        && (found.kind == FileKind::Directory || is_module(&found.real_path))
}

struct Search<'a> {
    host: &'a dyn Host,
    wanted: Wanted,
    excluded: Vec<PathBuf>,
    excluding: GlobSetBuilder,
    found: Vec<String>,
}

impl Search<'_> {
    fn exclude(&mut self, directory: &Path, list: &Value) -> Result<(), FindError> {
        for text in list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let path = lexical(directory, Path::new(text));
            if text.contains(['*', '?', '[', '{']) {
                self.excluding.add(glob(&path.display().to_string())?);
            } else {
                self.excluded.push(path);
            }
        }
        Ok(())
    }

    /// Everything below a directory, in the order of names.
    fn walk(&mut self, directory: &Path, excluding: &GlobSet, matching: Option<&GlobSet>) {
        for entry in self.host.list_directory(directory).unwrap_or_default() {
            let path = directory.join(&entry.name);
            let excluded = self.excluded.iter().any(|known| path.starts_with(known));
            if excluded || excluding.is_match(&path) || self.found.len() >= LIMIT {
                continue;
            }
            match entry.kind {
                FileKind::Directory if SKIPPED.iter().any(|name| entry.name == *name) => {}
                FileKind::Directory => self.walk(&path, excluding, matching),
                FileKind::File => {
                    let wanted = match matching {
                        Some(set) => set.is_match(&path) && is_module(&path),
                        None => match self.wanted {
                            Wanted::Tests => is_test(&path),
                            Wanted::Modules => is_module(&path),
                            Wanted::Everything => true,
                        },
                    };
                    if wanted && let Some(text) = path.to_str() {
                        self.found.push(text.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
}

/// The directory a pattern begins in.
fn base(pattern: &Path) -> PathBuf {
    pattern
        .components()
        .take_while(|part| {
            let text = part.as_os_str().to_string_lossy();
            !text.contains(['*', '?', '[', '{'])
        })
        .collect()
}

fn glob(pattern: &str) -> Result<Glob, FindError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|source| FindError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })
}

fn build_one(pattern: &str) -> Result<GlobSet, FindError> {
    let mut builder = GlobSetBuilder::new();
    builder.add(glob(pattern)?);
    build(&builder)
}

fn build(builder: &GlobSetBuilder) -> Result<GlobSet, FindError> {
    builder.build().map_err(|source| FindError::Pattern {
        pattern: source.glob().unwrap_or_default().to_owned(),
        source,
    })
}

fn is_module(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension == *known)
}

/// Deno's pattern: `{*_,*.,}test.{ts, tsx, mts, js, mjs, jsx}`.
fn is_test(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let named = stem == "test" || stem.ends_with("_test") || stem.ends_with(".test");
    named && EXTENSIONS[..6].iter().any(|known| extension == *known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn host() -> FakeHost {
        [
            "/w/a_test.ts",
            "/w/b.test.js",
            "/w/test.tsx",
            "/w/contest.ts",
            "/w/lib/c_test.mjs",
            "/w/lib/c.ts",
            "/w/lib/deep/d_test.ts",
            "/w/node_modules/x/x_test.ts",
            "/w/skip/e_test.ts",
            "/w/data_test.json",
        ]
        .iter()
        .fold(FakeHost::new(), |host, name| host.with_file(name, ""))
        .with_current_directory("/w")
    }

    fn found(host: &FakeHost, wanted: Wanted, named: &[&str], ignored: &[&str]) -> String {
        let named: Vec<String> = named.iter().map(|text| (*text).to_owned()).collect();
        let ignored: Vec<PathBuf> = ignored.iter().map(PathBuf::from).collect();
        let configuration = host.inspect(Path::new("/w/deno.json")).is_ok();
        let path = configuration.then_some(Path::new("/w/deno.json"));
        find(host, wanted, &named, &ignored, path)
            .unwrap()
            .join(" ")
            .replace("/w/", "")
    }

    #[test]
    fn tests_are_known_by_name() {
        assert_eq!(
            found(&host(), Wanted::Tests, &[], &[]),
            "a_test.ts b.test.js lib/c_test.mjs lib/deep/d_test.ts skip/e_test.ts test.tsx"
        );
        assert_eq!(
            found(&host(), Wanted::Tests, &[], &["skip", "lib/deep"]),
            "a_test.ts b.test.js lib/c_test.mjs test.tsx"
        );
    }

    #[test]
    fn files_directories_and_patterns_are_named() {
        assert_eq!(
            found(&host(), Wanted::Tests, &["contest.ts", "lib"], &[]),
            "contest.ts lib/c_test.mjs lib/deep/d_test.ts"
        );
        assert_eq!(
            found(&host(), Wanted::Tests, &["lib/**/*_test.ts"], &[]),
            "lib/deep/d_test.ts"
        );
        assert_eq!(found(&host(), Wanted::Tests, &["gone.ts"], &[]), "gone.ts");
        assert_eq!(
            found(&host(), Wanted::Modules, &["lib"], &[]),
            "lib/c.ts lib/c_test.mjs lib/deep/d_test.ts"
        );
    }

    #[test]
    fn the_configuration_excludes_and_includes() {
        let host = host().with_file(
            "/w/deno.json",
            r#"{"exclude": ["skip"], "test": {"include": ["lib"], "exclude": ["lib/**/d_*"]}}"#,
        );
        assert_eq!(found(&host, Wanted::Tests, &[], &[]), "lib/c_test.mjs");
        assert!(!found(&host, Wanted::Modules, &[], &[]).contains("skip"));
    }

    #[test]
    fn a_configuration_includes_modules_below_it_only() {
        let include = |text: &str| {
            let host = host()
                .with_file("/secret/key", "")
                .with_file("/secret/key.ts", "")
                .with_file("/w/.env", "")
                .with_file("/w/.hidden/a_test.ts", "")
                .with_file("/w/notes.txt", "")
                .with_link("/w/link", "/secret")
                .with_file(
                    "/w/deno.json",
                    serde_json::json!({"test": {"include": [text]}}).to_string(),
                );
            let path = Some(Path::new("/w/deno.json"));
            find(&host, Wanted::Tests, &[], &[], path).map(|found| found.join(" "))
        };
        for text in [
            "lib/c_test.mjs",
            "./lib/c_test.mjs",
            "/w/lib/c_test.mjs",
            "lib/c_*",
        ] {
            assert_eq!(include(text).unwrap(), "/w/lib/c_test.mjs");
        }
        for text in [
            "/secret/key",
            "/secret/key.ts",
            "../secret/key.ts",
            "../secret/*",
            "link",
            "link/key.ts",
            "link/*",
            ".env",
            ".hidden",
            "notes.txt",
        ] {
            let error = include(text).unwrap_err();
            assert!(
                matches!(error, FindError::Included { .. }),
                "{text}: {error}"
            );
        }
    }
}
