// SPDX-License-Identifier: MIT
//! What happens before a program runs: its modules are resolved, downloaded and type-checked, the
//! files it may load are found, its private directories made; or nothing, when a stamp says that all
//! is as before.
//!
//! Invariant: no code of the program runs here, and the runner that reads the program is confined;
//! it never opens a file that a program could have written.

mod ask;
mod error;
mod grants;
mod keys;
mod node_modules;
mod resolve;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::cache::{self, CacheError};
use super::code_cache;
use super::config_chain::{self, ConfigChain, ConfigFlags};
use super::deno_dir;
use super::file_set::{self, FileSet};
use super::graph;
use super::late::{self, Late};
use super::lock::LockFlags;
use super::packages;
use super::stamp::{Role, Seen, Stamp};
use super::{Confined, Runner};
use crate::host::{FileKind, FileStamp, Host};
use crate::plan::{ReadRule, RequiredPath};
use crate::policy::Policy;

use resolve::{Project, Resolved};

pub use error::PrepareError;
pub(super) use grants::registry_variables;
pub use keys::nearest_configuration;
pub use node_modules::NodeModules;

/// The DENO_DIR of prepare itself, beside a program's own; no program can write to it.
pub(super) const WORK_DIRECTORY: &str = "prepare";

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A script, as typed: a path, or the URL of a package or module.
    Script(&'a Path),
    /// `eval`: the code as [`super::arguments::data_url`] makes it.
    Code(&'a str),
}

/// Everything prepare depends on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The runner.
    pub runner: &'a Runner,
    /// The cache root, already checked by [`cache::prepare_directory`].
    pub cache: &'a Path,
    /// What is run.
    pub entry: Entry<'a>,
    /// Further modules, as typed: those of `--preload` and `--require`, and every file but the first
    /// of a command that takes several.
    pub further: &'a [PathBuf],
    /// The configuration flags.
    pub config: &'a ConfigFlags,
    /// The lock flags.
    pub lock: &'a LockFlags,
    /// Flags that change how imports resolve and that `deno info` takes: `--unstable-…`.
    pub resolution_flags: &'a [String],
    /// Flags for downloads alone: `--reload`, `--min-dep-age`.
    pub download_flags: &'a [String],
    /// Files those flags name.
    pub download_files: &'a [PathBuf],
    /// Whether, and what of it, is type-checked.
    pub check: Check,
    /// Nothing is downloaded.
    pub offline: bool,
    /// Where packages lie; the configuration decides when nobody says.
    pub node_modules: Option<NodeModules>,
    /// What was asked for.
    pub policy: &'a Policy,
    /// A name for it, with what its read rules lead to now: a program under another policy is another
    /// program.
    pub policy_name: &'a str,
    /// What the read rules say about a path without links.
    pub read_rule: &'a dyn Fn(&Path) -> ReadRule,
    /// Whether a stamp may be followed; false for `--reload`.
    pub follow_stamp: bool,
    /// Whether the project's own lock and `node_modules` may be written; false for `explain`.
    pub writes: bool,
    /// The program's own arguments, when it is to run and may keep compiled code.
    pub arguments: Option<&'a [String]>,
}

/// What is type-checked before the program starts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Nothing.
    Nothing,
    /// The program's own modules.
    Local,
    /// Modules of other hosts, too.
    All,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("runner", self.runner)
            .field("entry", &self.entry)
            .field("config", self.config)
            .finish_non_exhaustive()
    }
}

/// What the plan needs to know of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Grants, in the order they were found.
    pub rules: Vec<RequiredPath>,
    /// What DENO_DIR is set to.
    pub deno_dir: PathBuf,
    /// The project root.
    pub root: PathBuf,
    /// The nearest `deno.json` or `deno.jsonc`. Deno finds it itself for a script; `eval` needs it
    /// as `--config`, since no configuration is looked for above a `data:` URL (seen in 2.9.6).
    pub configuration: Option<PathBuf>,
    /// Where its modules come from.
    pub modules: Modules,
    /// The files of this machine it was made from, each with the version that was looked at, and those
    /// whose appearance would change it.
    pub watched: Vec<(PathBuf, Option<FileStamp>)>,
    /// What the user should know.
    pub notices: Vec<String>,
    /// Places that load modules prepare does not see.
    pub late: Vec<Late>,
    /// Whether its cache of compiled code would be opened for nothing.
    pub idle_code_cache: bool,
}

impl Prepared {
    fn watch_absent(&mut self, absent: &[PathBuf]) {
        let absent = absent.iter().map(|path| (path.clone(), None));
        self.watched.extend(absent);
    }
}

/// Where the modules of a program come from, as its own run is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Modules {
    /// The lock it is held to; none for a program of local files.
    pub lock: Option<PathBuf>,
    /// Hosts of its `https:` and `jsr:` modules.
    pub imports: Vec<String>,
    /// Its packages lie in `node_modules` as the user made it.
    pub node_modules: bool,
    /// Whether whoever laid them out left word of what is there, so that a change of it is seen.
    pub recorded: bool,
    /// Registries other than the runner's own.
    pub registries: Vec<(String, String)>,
}

/// The environment of the runner in prepare.
pub(super) fn environment(deno_dir: &Path) -> Vec<(String, String)> {
    let directory = deno_dir.display().to_string();
    let fixed = [
        ("DENO_NO_PROMPT", "1"),
        ("DENO_NO_UPDATE_CHECK", "1"),
        ("NO_COLOR", "1"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    std::iter::once(("DENO_DIR".to_owned(), directory))
        .chain(fixed)
        .collect()
}

/// Prepares a program.
///
/// # Errors
/// [`PrepareError`]; nothing of the program ran.
pub fn prepare(
    host: &dyn Host,
    request: &Request<'_>,
    confined: &dyn Confined,
) -> Result<Prepared, PrepareError> {
    let current = host.current_directory();
    let (entry, owner) = entry(host, request)?;
    let key = keys::program(host, request, &entry);
    let home = deno_dir::program_directory(request.cache, &key);
    if request.follow_stamp
        && let Some(stamp) = Stamp::read(host, &home)
        && stamp.checked >= request.check
        && let Some(directory) = deno_dir::existing(host, &stamp.deno_dir, &stamp.data)
    {
        let modules = stamp.modules.clone();
        let mut result = grants::prepared(stamp.root, &stamp.present, &directory, modules);
        result.watch_absent(&stamp.absent);
        result.late = stamp.late;
        result.idle_code_cache = idle_code_cache(host, request, &directory.path);
        return Ok(result);
    }

    let home = cache::prepare_directory(host, &home)?;
    // One at a time for each program: what one run was granted, another must not write anew. A file
    // system without locks leaves that to luck, and a refusal.
    let waiting = home.join("lock");
    let lock = File::create(&waiting).map_err(|error| CacheError::on_write(&waiting, error))?;
    drop(lock.lock());
    let downloads = packages::prepare_directory(host, request.cache)?;
    let directory = owner.parent().unwrap_or(current);
    let mut chain = config_chain::resolve(host, directory, request.config, request.read_rule)?;
    resolve::add_npmrc(host, request, &mut chain)?;
    let project = Project {
        host,
        request,
        entry: &entry,
        home: &home,
        downloads: &downloads,
        directory,
        chain: &chain,
        confined,
    };
    let mut resolved = project.resolve()?;
    let set = file_set::resolve(host, &resolved.modules, &chain.root, request.read_rule)?;
    let late = late_loads(host, request, &set);
    let mut notices = resolved.notices.clone();
    let checked = project.check(&resolved, &mut notices)?;

    let lock = resolved.lock.as_deref();
    let content = keys::content(host, &chain, &set, &resolved, lock);
    let data = keys::data(&chain, &owner);
    let template = deno_dir::prepare_template(host, request.cache, request.runner, confined)?;
    let npm = if resolved.links.is_empty() {
        downloads.join("npm")
    } else {
        let tree = home.join(WORK_DIRECTORY).join("packages");
        let made = packages::link(host, &tree, &resolved.links)?;
        let linked = |path: &Path| resolved.links.iter().any(|link| link.target == path);
        resolved.downloads.retain(|found| !linked(&found.path));
        resolved.downloads.extend(made);
        tree
    };
    let locations = deno_dir::Locations {
        cache: request.cache,
        template: &template,
        downloads: &downloads,
        npm: &npm,
    };
    let directory = deno_dir::prepare(host, &locations, &key, &content, &data)?;
    let mut modules = resolved.sources.clone();
    modules.lock = match lock {
        Some(bytes) => Some(write_lock(&home, &content, bytes)?),
        None => None,
    };

    let types = resolved.types.clone();
    let present = seen(
        host,
        &chain,
        &set,
        &resolved,
        types,
        modules.lock.as_deref(),
    );
    let ConfigChain {
        mut absent, root, ..
    } = chain;
    absent.extend(set.absent);
    absent.extend(resolved.absent);
    let mut result = grants::prepared(root.clone(), &present, &directory, modules.clone());
    result.notices = notices;
    result.late = late;
    result.watch_absent(&absent);
    result.idle_code_cache = idle_code_cache(host, request, &directory.path);
    let mut stamp = Stamp::new(present, absent, root, directory.path, directory.data);
    stamp.checked = checked;
    stamp.modules = modules;
    stamp.late.clone_from(&result.late);
    if resolved.withheld {
        // A run has that still to do.
        return Ok(result);
    }
    match stamp.write(&home) {
        // Names that are no text cannot be kept; such a program is prepared each time.
        Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {}
        other => other?,
    }
    Ok(result)
}

fn idle_code_cache(host: &dyn Host, request: &Request<'_>, directory: &Path) -> bool {
    request
        .arguments
        .is_some_and(|arguments| code_cache::is_idle(host, directory, arguments))
}

/// Everything the program depends on, for its stamp.
fn seen(
    host: &dyn Host,
    chain: &ConfigChain,
    set: &FileSet,
    resolved: &Resolved,
    types: Vec<PathBuf>,
    lock: Option<&Path>,
) -> Vec<Seen> {
    let configuration = chain.present.iter().map(|file| Seen {
        path: file.path.clone(),
        real_path: file.real_path.clone(),
        stamp: file.stamp,
        role: Role::Configuration,
        importer: None,
    });
    let loaded = set.files.iter().map(|file| Seen {
        path: file.path.clone(),
        real_path: file.real_path.clone(),
        stamp: file.stamp,
        role: Role::Module,
        importer: file.importer.clone(),
    });
    let downloaded = resolved.downloads.iter().map(|download| Seen {
        path: download.path.clone(),
        real_path: download.real_path.clone(),
        stamp: download.stamp,
        role: match download.kind {
            FileKind::Directory => Role::Package,
            _ => Role::Download,
        },
        importer: None,
    });
    let watched = |path: &PathBuf, role: Role| {
        let found = host.inspect(path).ok()?;
        Some(Seen {
            path: path.clone(),
            real_path: found.real_path,
            stamp: found.stamp,
            role,
            importer: None,
        })
    };
    let mut present: Vec<Seen> = configuration.chain(loaded).chain(downloaded).collect();
    present.extend(types.iter().filter_map(|path| watched(path, Role::Watched)));
    let others = resolved.watched.iter();
    present.extend(others.filter_map(|path| watched(path, Role::Watched)));
    let lock = lock.map(Path::to_owned);
    present.extend(lock.iter().filter_map(|path| watched(path, Role::Lock)));
    present
}

/// What the program's own files load beside their imports. Who names such modules knows of them.
fn late_loads(host: &dyn Host, request: &Request<'_>, set: &FileSet) -> Vec<Late> {
    const LIMIT: usize = 8 << 20;
    if !request.further.is_empty() {
        return Vec::new();
    }
    let loaded: BTreeSet<&Path> = set.files.iter().map(|file| file.path.as_path()).collect();
    let code = set.files.iter().filter(|file| {
        let extension = file.path.extension().unwrap_or_default();
        !["json", "jsonc", "wasm"]
            .iter()
            .any(|data| extension == *data)
    });
    let contents = code.map(|file| {
        let bytes = host.read_file(&file.real_path, LIMIT).unwrap_or_default();
        (file.path.as_path(), bytes)
    });
    late::of_files(contents, &|path| loaded.contains(path))
}

/// The lock of this content, out of the program's reach for writing.
fn write_lock(home: &Path, content: &str, bytes: &[u8]) -> Result<PathBuf, CacheError> {
    let path = home.join(format!("{content}.lock"));
    // Another run may have been granted the file already.
    if std::fs::read(&path).is_ok_and(|known| known == bytes) {
        return Ok(path);
    }
    cache::write_atomically(&path, bytes)?;
    Ok(path)
}

/// What the program is started with, and what its project is looked for above.
fn entry(host: &dyn Host, request: &Request<'_>) -> Result<(String, PathBuf), PrepareError> {
    let current = host.current_directory();
    match request.entry {
        Entry::Script(script) => match script.to_str().filter(|text| graph::is_remote(text)) {
            Some(url) => Ok((url.to_owned(), current.join("remote"))),
            None => {
                let path = check_entry(host, script)?;
                Ok((path.display().to_string(), path))
            }
        },
        Entry::Code(url) => Ok((url.to_owned(), current.join("eval"))),
    }
}

/// The absolute path of the script, as typed otherwise.
fn check_entry(host: &dyn Host, entry: &Path) -> Result<PathBuf, PrepareError> {
    let text = entry.to_string_lossy();
    if ["data:", "blob:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Err(PrepareError::NotLocal {
            text: text.into_owned(),
        });
    }
    let path = match graph::file_path(&text) {
        Some(path) => path,
        None => host.current_directory().join(entry),
    };
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => PrepareError::Missing {
            path: entry.to_owned(),
        },
        _ => PrepareError::Unreadable {
            path: entry.to_owned(),
            source,
        },
    };
    let found = host.inspect(&path).map_err(unreadable)?;
    if found.kind != FileKind::File {
        return Err(PrepareError::NotFile {
            path: entry.to_owned(),
        });
    }
    host.read_file(&path, 1).map_err(unreadable)?;
    Ok(path)
}

#[cfg(test)]
mod tests;
