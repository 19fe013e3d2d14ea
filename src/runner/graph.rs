// SPDX-License-Identifier: MIT
//! The module graph as `deno info --json` prints it: which file imports what, and where.
//!
//! Invariant: pure, and the input is judged as untrusted; the program's own import lines shaped it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Why the graph cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The runner printed something else.
    #[error("the runner's module graph cannot be read")]
    Json(#[from] serde_json::Error),
    /// Another major version of the format.
    #[error("the runner's module graph has the unknown version {0}")]
    Version(u32),
}

/// The graph below one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    roots: Vec<String>,
    modules: BTreeMap<String, Node>,
    redirects: BTreeMap<String, String>,
    packages: Vec<Package>,
}

/// One npm package of the program's resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its directory, as far as this version of the runner says.
    pub path: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    kind: ModuleKind,
    imports: Vec<Import>,
}

/// What a module is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// JavaScript, TypeScript or WebAssembly.
    Code,
    /// `with { type: "json" }`.
    Json,
    /// Loaded at run time without being parsed here: text, bytes, packages.
    Other,
    /// Not loaded: missing, unreadable, malformed, or of a kind this Deno refuses. Deno says so
    /// itself when the program runs.
    Failed,
}

/// One import line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Where it stands.
    pub place: Place,
    /// The specifier as written.
    pub text: String,
    /// What it resolves to; none when it does not.
    pub target: Option<String>,
    /// `with { type: … }`.
    pub attribute: Option<String>,
    /// Whether it is an `import()` call.
    pub is_dynamic: bool,
}

/// A place in a module; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The module, as a path when it is a file.
    pub module: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.module, self.line, self.column)
    }
}

/// A module that the program loads, with the first import that reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its URL.
    pub specifier: String,
    /// Its path, when it is a file.
    pub path: Option<PathBuf>,
    /// What it is loaded as.
    pub kind: ModuleKind,
    /// The import; none for the entry.
    pub import: Option<Import>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawGraph {
    #[serde(default)]
    version: u32,
    roots: Vec<String>,
    modules: Vec<RawModule>,
    #[serde(default)]
    redirects: BTreeMap<String, String>,
    #[serde(default)]
    npm_packages: BTreeMap<String, RawPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPackage {
    name: String,
    version: String,
    local_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct RawModule {
    specifier: String,
    kind: Option<String>,
    error: Option<String>,
    #[serde(default)]
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDependency {
    specifier: String,
    /// Missing for what only the type checker reads.
    code: Option<RawResolved>,
    assertion_type: Option<String>,
    #[serde(default)]
    is_dynamic: bool,
}

#[derive(Deserialize)]
struct RawResolved {
    specifier: Option<String>,
    error: Option<String>,
    span: Option<RawSpan>,
}

#[derive(Deserialize)]
struct RawSpan {
    start: RawPosition,
}

#[derive(Deserialize)]
struct RawPosition {
    line: u32,
    character: u32,
}

/// Reads the output of `deno info --json FILE`.
///
/// # Errors
/// It is not JSON of that shape.
pub fn parse(json: &[u8]) -> Result<Graph, GraphError> {
    let raw: RawGraph = serde_json::from_slice(json)?;
    // Deno 2 prints version 1; what came before had no number.
    if raw.version > 1 {
        return Err(GraphError::Version(raw.version));
    }
    let modules = raw
        .modules
        .into_iter()
        .map(|module| (module.specifier.clone(), node(module)));
    Ok(Graph {
        roots: raw.roots,
        modules: modules.collect(),
        redirects: raw.redirects,
        packages: raw
            .npm_packages
            .into_values()
            .map(|package| Package {
                name: package.name,
                version: package.version,
                path: package.local_path,
            })
            .collect(),
    })
}

/// Whether a specifier names something that comes from elsewhere.
pub fn is_remote(specifier: &str) -> bool {
    REMOTE.iter().any(|scheme| specifier.starts_with(scheme))
}

/// What modules that are no files start with.
const REMOTE: [&str; 4] = ["npm:", "jsr:", "https:", "http:"];

fn node(raw: RawModule) -> Node {
    let kind = match raw.kind.as_deref() {
        _ if raw.error.is_some() => ModuleKind::Failed,
        Some("esm" | "wasm" | "script") => ModuleKind::Code,
        Some("asserted" | "json") => ModuleKind::Json,
        _ => ModuleKind::Other,
    };
    let module = readable(&raw.specifier);
    let import = |raw: RawDependency| {
        let code = raw.code?;
        let (line, column) = code
            .span
            .map_or((0, 0), |span| (span.start.line, span.start.character));
        let place = Place {
            module: module.clone(),
            line: line.saturating_add(1),
            column: column.saturating_add(1),
        };
        // A package that is not installed does not resolve; its own text names it, or the message
        // does when an import map led there.
        let message = code.error.unwrap_or_default();
        let named = std::iter::once(raw.specifier.as_str())
            .chain(message.split(['\'', '"']))
            .find(|text| is_remote(text))
            .map(str::to_owned);
        let target = code.specifier.or(named);
        Some(Import {
            place,
            text: raw.specifier,
            target,
            attribute: raw.assertion_type,
            is_dynamic: raw.is_dynamic,
        })
    };
    Node {
        kind,
        imports: raw.dependencies.into_iter().filter_map(import).collect(),
    }
}

impl Graph {
    /// The packages of the program, by name.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Every URL that was, or is to be, downloaded: modules and what redirects to them.
    pub fn remote_urls(&self) -> impl Iterator<Item = &str> {
        self.modules
            .keys()
            .chain(self.redirects.keys())
            .chain(self.redirects.values())
            .map(String::as_str)
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
    }

    /// Whether something has to come from elsewhere.
    pub fn is_remote(&self) -> bool {
        let imports = self.modules.values().flat_map(|node| &node.imports);
        let targets = imports.filter_map(|import| import.target.as_deref());
        let modules = self.modules.keys().chain(&self.roots).map(String::as_str);
        modules.chain(targets).any(is_remote)
    }

    /// Whether some import leads nowhere as long as only this machine is looked at.
    pub fn has_unresolved(&self) -> bool {
        let imports = self.modules.values().flat_map(|node| &node.imports);
        imports.into_iter().any(|import| import.target.is_none())
    }

    /// Whether a file of the program is TypeScript.
    pub fn has_typescript(&self) -> bool {
        self.modules
            .keys()
            .filter_map(|specifier| file_path(specifier))
            .any(|path| {
                let extension = path.extension().unwrap_or_default();
                ["ts", "tsx", "mts", "cts"]
                    .iter()
                    .any(|known| extension == *known)
            })
    }

    /// Files of the program that only the type checker reads.
    pub fn type_files(&self) -> Vec<PathBuf> {
        let loaded: BTreeSet<PathBuf> = self
            .loaded()
            .into_iter()
            .filter_map(|module| module.path)
            .collect();
        self.modules
            .keys()
            .filter_map(|specifier| file_path(specifier))
            .filter(|path| !loaded.contains(path))
            .collect()
    }

    /// Every module the program may load, entry first, in the order the imports reach them. What
    /// only types import is left out: the program runs without it.
    pub fn loaded(&self) -> Vec<Module> {
        let mut queue: VecDeque<(String, Option<Import>)> = self
            .roots
            .iter()
            .map(|root| (self.redirected(root), None))
            .collect();
        let mut seen = BTreeSet::new();
        let mut loaded = Vec::new();
        while let Some((specifier, import)) = queue.pop_front() {
            // The same file may be imported as code here and as text there: both lines count.
            let attribute = import.as_ref().and_then(|import| import.attribute.clone());
            if !seen.insert((specifier.clone(), attribute)) {
                continue;
            }
            let node = self.modules.get(&specifier);
            for import in node.map(|node| node.imports.as_slice()).unwrap_or_default() {
                if let Some(target) = &import.target {
                    queue.push_back((self.redirected(target), Some(import.clone())));
                }
            }
            loaded.push(Module {
                path: file_path(&specifier),
                kind: node.map_or(ModuleKind::Failed, |node| node.kind),
                specifier,
                import,
            });
        }
        loaded
    }

    fn redirected(&self, specifier: &str) -> String {
        self.redirects
            .get(specifier)
            .map_or(specifier, String::as_str)
            .to_owned()
    }
}

/// The path of a `file:` URL on this machine.
pub fn file_path(specifier: &str) -> Option<PathBuf> {
    let encoded = specifier
        .strip_prefix("file://")
        .filter(|rest| rest.starts_with('/'))?;
    let end = encoded.find(['?', '#']).unwrap_or(encoded.len());
    let mut bytes = encoded.as_bytes()[..end].iter();
    let mut path = Vec::with_capacity(end);
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            path.push(byte);
            continue;
        }
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        path.push(u8::try_from(value).ok()?);
    }
    (!path.contains(&0)).then(|| PathBuf::from(OsString::from_vec(path)))
}

/// The path of a file module, else its URL, shortened.
fn readable(specifier: &str) -> String {
    match file_path(specifier) {
        Some(path) => path.display().to_string(),
        None if specifier.len() > 80 => specifier.chars().take(77).chain("...".chars()).collect(),
        None => specifier.to_owned(),
    }
}

impl Module {
    /// The file that imports it, when a file does.
    pub fn importer(&self) -> Option<&Path> {
        let module = &self.import.as_ref()?.place.module;
        module.starts_with('/').then(|| Path::new(module.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPH: &str = r#"{"version":1,"roots":["file:///w/m.ts"],"modules":[
      {"kind":"esm","specifier":"file:///w/m.ts","local":"/w/m.ts","mediaType":"TypeScript","dependencies":[
        {"specifier":"./a%20b.ts","code":{"specifier":"file:///w/a%20b.ts","span":{"start":{"line":2,"character":7},"end":{"line":2,"character":9}}}},
        {"specifier":"./t.d.ts","type":{"specifier":"file:///w/t.d.ts"}},
        {"specifier":"bare","code":{"error":"not a dependency"}},
        {"specifier":"./x","code":{"specifier":"file:///w/x"},"assertionType":"text"},
        {"specifier":"npm:zod","code":{"error":"no package"},"isDynamic":true},
        {"specifier":"./gone.ts","code":{"specifier":"file:///w/gone.ts"}}]},
      {"kind":"esm","specifier":"file:///w/a%20b.ts","dependencies":[
        {"specifier":"./m.ts","code":{"specifier":"file:///w/m.ts"}},
        {"specifier":"./x","code":{"specifier":"file:///w/x"},"assertionType":"json"}]},
      {"kind":"external","specifier":"file:///w/x"},
      {"kind":"esm","specifier":"file:///w/t.d.ts"},
      {"specifier":"file:///w/gone.ts","error":"Module not found"}],
      "redirects":{},"npmPackages":{}}"#;

    #[test]
    fn what_is_loaded_comes_with_the_line_that_loads_it() {
        let loaded = parse(GRAPH.as_bytes()).unwrap().loaded();
        let seen: Vec<_> = loaded
            .iter()
            .map(|module| {
                let import = module.import.as_ref();
                let place = import.map(|import| import.place.to_string());
                let attribute = import.and_then(|import| import.attribute.as_deref());
                (
                    module.specifier.as_str(),
                    module.kind,
                    place.unwrap_or_default(),
                    attribute,
                )
            })
            .collect();
        assert_eq!(
            seen[0],
            ("file:///w/m.ts", ModuleKind::Code, String::new(), None)
        );
        assert_eq!(
            seen[1],
            (
                "file:///w/a%20b.ts",
                ModuleKind::Code,
                "/w/m.ts:3:8".to_owned(),
                None
            )
        );
        assert_eq!(seen[2].3, Some("text"));
        assert_eq!(seen[3].0, "npm:zod");
        assert_eq!(
            (seen[4].0, seen[4].1),
            ("file:///w/gone.ts", ModuleKind::Failed)
        );
        assert_eq!((seen[5].0, seen[5].3), ("file:///w/x", Some("json")));
        assert_eq!(seen[5].2, "/w/a b.ts:1:1");
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert_eq!(loaded[1].path.as_deref(), Some(Path::new("/w/a b.ts")));
        assert_eq!(loaded[5].importer(), Some(Path::new("/w/a b.ts")));
    }

    #[test]
    fn file_urls_become_paths() {
        let path = |url| file_path(url).map(|path| path.display().to_string());
        assert_eq!(
            path("file:///a/%C3%BC%23.ts?x#y").as_deref(),
            Some("/a/ü#.ts")
        );
        for url in [
            "file://host/a",
            "https://a/b",
            "file:///a%0",
            "file:///a%zz",
            "file:///a%00b",
        ] {
            assert_eq!(path(url), None, "{url}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "{}", "[]", r#"{"roots":1,"modules":[]}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(
            parse(br#"{"version":2,"roots":[],"modules":[]}"#),
            Err(GraphError::Version(2))
        ));
    }
}
