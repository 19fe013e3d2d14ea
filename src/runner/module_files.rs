// SPDX-License-Identifier: MIT
//! Which files a command without a script means: the tests, or the modules, below some directories.
//!
//! Invariant: links are not followed, and what the configuration excludes is not looked into.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

use super::config_chain::parse_configuration;
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

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern of files")]
pub struct PatternError {
    /// As written.
    pattern: String,
    source: globset::Error,
}

/// Finds files. `named` are paths and patterns as typed, none for everything below the current
/// directory; `ignored` are left out; `configuration` is the nearest deno.json.
///
/// A named file is taken whatever its name is; a path where nothing is is left for prepare to report.
///
/// # Errors
/// A pattern is malformed.
pub fn find(
    host: &dyn Host,
    wanted: Wanted,
    named: &[String],
    ignored: &[PathBuf],
    configuration: Option<&Path>,
) -> Result<Vec<String>, PatternError> {
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
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            included.extend(texts.map(|text| directory.join(text).display().to_string()));
        }
    }
    let everything = [".".to_owned()];
    let named = match (named.is_empty(), included.is_empty()) {
        (false, _) => named,
        (true, false) => &included,
        (true, true) => &everything,
    };
    let excluding = build(&search.excluding)?;
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
    search.found.dedup();
    Ok(search.found)
}

struct Search<'a> {
    host: &'a dyn Host,
    wanted: Wanted,
    excluded: Vec<PathBuf>,
    excluding: GlobSetBuilder,
    found: Vec<String>,
}

impl Search<'_> {
    fn exclude(&mut self, directory: &Path, list: &Value) -> Result<(), PatternError> {
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

fn glob(pattern: &str) -> Result<Glob, PatternError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|source| PatternError {
            pattern: pattern.to_owned(),
            source,
        })
}

fn build_one(pattern: &str) -> Result<GlobSet, PatternError> {
    let mut builder = GlobSetBuilder::new();
    builder.add(glob(pattern)?);
    build(&builder)
}

fn build(builder: &GlobSetBuilder) -> Result<GlobSet, PatternError> {
    builder.build().map_err(|source| PatternError {
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
}
