// SPDX-License-Identifier: MIT
//! Which of the modules a program imports it may load without a read grant.
//!
//! Invariant: import lines are written by untrusted code, so by themselves they open only code and
//! JSON below the project root, never a file or directory whose name starts with a dot. Paths are
//! judged by what they lead to, without links.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::graph::{Module, ModuleKind, Place};
use crate::host::{FileKind, FileStamp, Host};
use crate::plan::ReadRule;

/// Extensions that are loaded as code, and JSON. An import of anything else could show a file's
/// content in a syntax error.
const LOADABLE: [&str; 11] = [
    "ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs", "json", "jsonc", "wasm",
];

/// Why an import is not opened by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is loaded as text or bytes.
    Data,
    /// It lies outside the project root.
    Outside,
    /// A name on the way starts with a dot.
    Hidden,
    /// Its name says neither code nor JSON.
    NotCode,
}

impl Reason {
    fn words(self) -> &'static str {
        match self {
            Self::Data => "text and bytes imports",
            Self::Outside => "imports from outside the project directory",
            Self::Hidden => "imports of files or directories whose name starts with a dot",
            Self::NotCode => "imports of files that are neither code nor JSON by their name",
        }
    }
}

/// An import that stops the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileSetError {
    /// It needs a read grant.
    #[error("{place}: the import of `{path}` needs read access: {words} are not opened by an import alone", words = reason.words())]
    NeedsRead {
        /// The import.
        place: Place,
        /// What it leads to, without links.
        path: PathBuf,
        /// What is against it.
        reason: Reason,
    },
    /// A denial covers it.
    #[error("{place}: the import of `{path}` is denied by `--deny-read`")]
    Denied {
        /// The import.
        place: Place,
        /// What it leads to, without links.
        path: PathBuf,
    },
}

impl FileSetError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NeedsRead { path, .. } => {
                Some(format!("`--allow-read={}` allows it", path.display()))
            }
            Self::Denied { .. } => Some("denials always win; narrow the `--deny-read`".to_owned()),
        }
    }
}

/// One file the program may load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedFile {
    /// The path as imported.
    pub path: PathBuf,
    /// What it leads to, without links.
    pub real_path: PathBuf,
    /// The version that was judged.
    pub stamp: FileStamp,
    /// The first file that imports it; none for the entry.
    pub importer: Option<PathBuf>,
}

/// What the modules come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSet {
    /// Files the program may load, entry first.
    pub files: Vec<LoadedFile>,
    /// Imported paths where nothing is; something that appears there changes the program.
    pub absent: Vec<PathBuf>,
}

/// Judges every module. `root` has no links; `read_rule` is asked about paths without links.
///
/// Missing and unreadable files are left to Deno, which reports them as usual.
///
/// # Errors
/// The first import that may not be followed, in the order they are reached.
pub fn resolve(
    host: &dyn Host,
    modules: &[Module],
    root: &Path,
    read_rule: &dyn Fn(&Path) -> ReadRule,
) -> Result<FileSet, FileSetError> {
    let mut set = FileSet::default();
    let mut seen = BTreeSet::new();
    for module in modules {
        let Some(path) = &module.path else { continue };
        let found = match host.inspect(path) {
            Ok(found) if found.kind == FileKind::File => found,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                set.absent.push(path.clone());
                continue;
            }
            // Not even openable without reading: no grant could change that.
            Err(_) => continue,
        };
        if let Some(import) = &module.import {
            let path = found.real_path.clone();
            let place = import.place.clone();
            match (read_rule(&path), against(module, &path, root)) {
                (ReadRule::Denied, _) => return Err(FileSetError::Denied { place, path }),
                (ReadRule::Unsaid, Some(reason)) => {
                    return Err(FileSetError::NeedsRead {
                        place,
                        path,
                        reason,
                    });
                }
                (ReadRule::Granted, _) | (ReadRule::Unsaid, None) => {}
            }
        }
        if !seen.insert(path) {
            continue;
        }
        set.files.push(LoadedFile {
            path: path.clone(),
            real_path: found.real_path,
            stamp: found.stamp,
            importer: module.importer().map(Path::to_owned),
        });
    }
    Ok(set)
}

/// What speaks against opening a file because an import names it.
fn against(module: &Module, path: &Path, root: &Path) -> Option<Reason> {
    let Ok(below) = path.strip_prefix(root) else {
        return Some(Reason::Outside);
    };
    let data = matches!(module.import.as_ref()?.attribute.as_deref(), Some(kind) if kind != "json");
    // A file that is loaded as code or JSON elsewhere shows nothing new as text.
    if data && !matches!(module.kind, ModuleKind::Code | ModuleKind::Json) {
        return Some(Reason::Data);
    }
    if is_hidden(below) {
        return Some(Reason::Hidden);
    }
    (!has_loadable_name(path)).then_some(Reason::NotCode)
}

/// Whether a name on the way starts with a dot.
pub(super) fn is_hidden(below: &Path) -> bool {
    below
        .iter()
        .any(|part| part.as_encoded_bytes().starts_with(b"."))
}

fn has_loadable_name(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    LOADABLE
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::runner::graph::Import;

    fn module(specifier: &str, attribute: Option<&str>, kind: ModuleKind) -> Module {
        let place = Place {
            module: "/w/m.ts".to_owned(),
            line: 3,
            column: 8,
        };
        let import = Import {
            place,
            text: specifier.to_owned(),
            target: Some(specifier.to_owned()),
            attribute: attribute.map(str::to_owned),
            is_dynamic: false,
        };
        let path = specifier.starts_with('/').then(|| PathBuf::from(specifier));
        Module {
            specifier: specifier.to_owned(),
            path,
            kind,
            import: Some(import),
        }
    }

    fn host() -> FakeHost {
        let names = [
            "/w/m.ts",
            "/w/a.ts",
            "/w/d.json",
            "/w/.env",
            "/w/.env.ts",
            "/w/.npmrc",
            "/w/n.txt",
            "/w/.git/h.js",
            "/w/node_modules/x/i.js",
            "/etc/hostname",
            "/o/b.ts",
            "/w/s/c.WASM",
        ];
        let host = names
            .iter()
            .fold(FakeHost::new(), |host, name| host.with_file(name, ""));
        host.with_directory("/w/dir.ts")
            .with_link("/w/link.ts", "/etc/hostname")
            .with_link("/w/in.ts", "/w/a.ts")
    }

    fn verdict(module: Module, rule: ReadRule) -> String {
        match resolve(&host(), &[module], Path::new("/w"), &|_| rule) {
            Ok(set) => format!("{} files", set.files.len()),
            Err(FileSetError::NeedsRead { path, reason, .. }) => {
                format!("{reason:?} {}", path.display())
            }
            Err(FileSetError::Denied { .. }) => "denied".to_owned(),
        }
    }

    #[test]
    fn imports_open_code_below_the_root_only() {
        let code = |path| verdict(module(path, None, ModuleKind::Code), ReadRule::Unsaid);
        assert_eq!(code("/w/a.ts"), "1 files");
        assert_eq!(code("/w/s/c.WASM"), "1 files");
        assert_eq!(code("/w/in.ts"), "1 files");
        assert_eq!(code("/o/b.ts"), "Outside /o/b.ts");
        assert_eq!(code("/w/link.ts"), "Outside /etc/hostname");
        assert_eq!(code("/w/.env.ts"), "Hidden /w/.env.ts");
        assert_eq!(code("/w/.git/h.js"), "Hidden /w/.git/h.js");
        assert_eq!(code("/w/n.txt"), "NotCode /w/n.txt");
        assert_eq!(code("/w/missing.ts"), "0 files");
        assert_eq!(code("/w/dir.ts"), "0 files");
        assert_eq!(code("npm:zod"), "0 files");
        assert_eq!(code("https://h/x.ts"), "0 files");
        assert_eq!(code("node:fs"), "0 files");
        assert_eq!(code("data:text/javascript,1"), "0 files");
    }

    #[test]
    fn data_needs_a_read_grant() {
        for (path, attribute) in [
            ("/w/d.json", "text"),
            ("/w/n.txt", "text"),
            ("/w/.env", "bytes"),
            ("/w/a.ts", "text"),
        ] {
            let import = || module(path, Some(attribute), ModuleKind::Other);
            assert_eq!(verdict(import(), ReadRule::Unsaid), format!("Data {path}"));
            assert_eq!(verdict(import(), ReadRule::Granted), "1 files");
            assert_eq!(verdict(import(), ReadRule::Denied), "denied");
        }
        assert_eq!(
            verdict(
                module("/w/d.json", Some("json"), ModuleKind::Json),
                ReadRule::Unsaid
            ),
            "1 files"
        );
        assert_eq!(
            verdict(
                module("/w/.npmrc", Some("json"), ModuleKind::Failed),
                ReadRule::Unsaid
            ),
            "Hidden /w/.npmrc"
        );
        assert_eq!(
            verdict(
                module("/w/.env", Some("bytes"), ModuleKind::Failed),
                ReadRule::Unsaid
            ),
            "Data /w/.env"
        );
    }

    #[test]
    fn the_entry_is_the_users_own_word() {
        let entry = Module {
            import: None,
            ..module("/w/.env", None, ModuleKind::Code)
        };
        assert_eq!(verdict(entry, ReadRule::Denied), "1 files");
    }
}
