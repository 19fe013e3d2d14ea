// SPDX-License-Identifier: MIT
//! What happens before a program runs: its module graph, the files it may load, its private
//! directories; or nothing, when a stamp says that all is as before.
//!
//! Invariant: no code of the program runs here, and the runner that reads the program is confined;
//! it never opens a file that a program could have written.

mod error;

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cache::{self, CacheError};
use super::config_chain::{self, ConfigChain, ConfigFlags};
use super::deno_dir::{self, PrivateDirectory};
use super::file_set::{self, FileSet};
use super::graph::{self, Module};
use super::stamp::{self, Role, Seen, Stamp};
use super::{Confined, ConfinedRequest, Runner, hexadecimal};
use crate::host::{FileKind, Host};
use crate::plan::{Access, ReadRule, RequiredPath};
use crate::policy::Origin;

pub use error::PrepareError;

/// The DENO_DIR of prepare itself, beside a program's own; no program can write to it.
pub(super) const WORK_DIRECTORY: &str = "prepare";

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A script, as typed.
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
    /// Modules named by `--preload` and `--require`, as typed.
    pub further: &'a [PathBuf],
    /// The configuration flags.
    pub config: &'a ConfigFlags,
    /// Flags that change how imports resolve and that `deno info` takes: `--unstable-…`.
    pub resolution_flags: &'a [String],
    /// The whole Policy as text: a program under another policy is another program.
    pub policy: &'a str,
    /// What the read rules say about a path without links.
    pub read_rule: &'a dyn Fn(&Path) -> ReadRule,
    /// Whether a stamp may be followed; false for `--reload`.
    pub follow_stamp: bool,
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
    /// Whether a stamp was followed.
    pub reused: bool,
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
    let (entry, owner) = match request.entry {
        Entry::Script(script) => {
            let path = check_entry(host, script)?;
            (path.display().to_string(), path)
        }
        Entry::Code(url) => (url.to_owned(), current.join("eval")),
    };
    let key = program_key(host, request, &entry);
    let home = deno_dir::program_directory(request.cache, &key);
    if request.follow_stamp
        && let Some(stamp) = Stamp::read(host, &home)
        && let Some(directory) = deno_dir::existing(host, &stamp.deno_dir, &stamp.data)
    {
        return Ok(prepared(stamp.root, &stamp.present, &directory, true));
    }

    let home = cache::prepare_directory(host, &home)?;
    let directory = owner.parent().unwrap_or(current);
    let chain = config_chain::resolve(host, directory, request.config, request.read_rule)?;
    let mut modules = read_graph(host, request, &entry, &home, directory, &chain, confined)?;
    for path in request.further {
        let path = current.join(path).display().to_string();
        modules.extend(read_graph(
            host, request, &path, &home, directory, &chain, confined,
        )?);
    }
    let set = file_set::resolve(host, &modules, &chain.root, request.read_rule)?;
    let content = content_key(host, &chain, &set);
    let data = data_key(&chain, &owner);
    let template = deno_dir::prepare_template(host, request.cache, request.runner, confined)?;
    let directory = deno_dir::prepare(host, request.cache, &template, &key, &content, &data)?;

    let ConfigChain {
        present,
        mut absent,
        root,
    } = chain;
    let configuration = present.into_iter().map(|file| Seen {
        path: file.path,
        real_path: file.real_path,
        stamp: file.stamp,
        role: Role::Configuration,
        importer: None,
    });
    let loaded = set.files.into_iter().map(|file| Seen {
        path: file.path,
        real_path: file.real_path,
        stamp: file.stamp,
        role: Role::Module,
        importer: file.importer,
    });
    let present: Vec<Seen> = configuration.chain(loaded).collect();
    absent.extend(set.absent);
    let result = prepared(root.clone(), &present, &directory, false);
    // Names that are no text cannot be kept; such a program is prepared each time.
    let stamp = Stamp::new(present, absent, root, directory.path, directory.data);
    match stamp.write(&home) {
        Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {}
        other => other?,
    }
    Ok(result)
}

/// The absolute path of the script, as typed otherwise.
fn check_entry(host: &dyn Host, entry: &Path) -> Result<PathBuf, PrepareError> {
    let text = entry.to_string_lossy();
    let remote = ["http://", "https://", "npm:", "jsr:", "data:", "blob:"];
    if remote.iter().any(|scheme| text.starts_with(scheme)) {
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

/// Asks the runner for the modules below `path`.
fn read_graph(
    host: &dyn Host,
    request: &Request<'_>,
    entry: &str,
    home: &Path,
    directory: &Path,
    chain: &ConfigChain,
    confined: &dyn Confined,
) -> Result<Vec<Module>, PrepareError> {
    let code = matches!(request.entry, Entry::Code(url) if url == entry);
    let path = PathBuf::from(if code { "eval" } else { entry });
    let work = home.join(WORK_DIRECTORY);
    match std::fs::create_dir(&work) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(CacheError::on_write(&work, error).into());
        }
        _ => {}
    }
    let flags = [
        "deno",
        "info",
        "--json",
        "--no-lock",
        "--no-remote",
        "--node-modules-dir=manual",
    ];
    let mut arguments: Vec<String> = flags.map(str::to_owned).into();
    match request.config {
        ConfigFlags { none: true, .. } => arguments.push("--no-config".to_owned()),
        ConfigFlags {
            config: Some(config),
            ..
        } => {
            arguments.push(format!("--config={}", config.display()));
        }
        // No configuration is looked for above a `data:` URL.
        _ if code => {
            let found = chain.present.iter().map(|file| file.path.as_path());
            let found = nearest_configuration(found);
            arguments.extend(found.map(|path| format!("--config={}", path.display())));
        }
        _ => {}
    }
    if let Some(map) = &request.config.import_map {
        let map = host.current_directory().join(map);
        arguments.push(format!("--import-map={}", map.display()));
    }
    arguments.extend(request.resolution_flags.iter().cloned());
    arguments.push(entry.to_owned());

    let mut read = vec![chain.root.clone()];
    if !code {
        read.push(path.clone());
    }
    read.extend(chain.present.iter().map(|file| file.real_path.clone()));
    let confined_request = ConfinedRequest {
        runner: request.runner.clone(),
        arguments,
        read,
        write: vec![work.clone()],
        environment: environment(&work),
        // `deno run` looks for configuration from the program's directory upwards, `deno info` from
        // the one it starts in.
        directory: if request.config.config.is_some() {
            host.current_directory().to_owned()
        } else {
            directory.to_owned()
        },
    };
    let captured = confined
        .capture(&confined_request)
        .map_err(|source| PrepareError::Run {
            path: path.clone(),
            source,
        })?;
    if captured.exit != Some(0) {
        let text = String::from_utf8_lossy(&captured.stderr);
        let text = text.trim().trim_start_matches("error: ");
        let lines = text
            .lines()
            .map(str::trim)
            .take_while(|line| *line != "Stack backtrace:");
        let text: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        return Err(PrepareError::Refused {
            path,
            answer: text.join(" "),
        });
    }
    let graph =
        graph::parse(&captured.stdout).map_err(|source| PrepareError::Graph { path, source })?;
    Ok(graph.loaded())
}

/// A name for the program under this policy, before its files are looked at.
fn program_key(host: &dyn Host, request: &Request<'_>, entry: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    let ConfigFlags {
        none,
        config,
        import_map,
    } = request.config;
    let bytes = |path: Option<&Path>| path.map(|path| path.as_os_str().as_bytes().to_vec());
    let mut parts = vec![
        request.runner.id.clone().into_bytes(),
        request.policy.as_bytes().to_vec(),
        entry.as_bytes().to_vec(),
        bytes(Some(host.current_directory())).unwrap_or_default(),
        vec![
            u8::from(*none),
            u8::from(config.is_some()),
            u8::from(import_map.is_some()),
        ],
        bytes(config.as_deref()).unwrap_or_default(),
        bytes(import_map.as_deref()).unwrap_or_default(),
    ];
    parts.extend(
        request
            .further
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec()),
    );
    // Separates the two lists: no path is empty.
    parts.push(Vec::new());
    parts.extend(
        request
            .resolution_flags
            .iter()
            .map(|flag| flag.clone().into_bytes()),
    );
    stamp::key(parts.iter().map(Vec::as_slice))
}

/// A name for the contents of every file the program is made of.
fn content_key(host: &dyn Host, chain: &ConfigChain, set: &FileSet) -> String {
    const LIMIT: usize = 256 << 20;
    let configuration = chain
        .present
        .iter()
        .map(|file| (&file.path, &file.real_path));
    let loaded = set.files.iter().map(|file| (&file.path, &file.real_path));
    let mut hasher = Sha256::new();
    for (path, real_path) in configuration.chain(loaded) {
        let content = host.read_file(real_path, LIMIT).unwrap_or_default();
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(Sha256::digest(content));
    }
    hexadecimal(&hasher.finalize()[..16])
}

/// A name for whom the program's data belongs to: as in Deno the project with its configuration,
/// else the script.
fn data_key(chain: &ConfigChain, entry: &Path) -> String {
    let config = nearest_configuration(chain.present.iter().map(|file| file.path.as_path()));
    stamp::key([config.unwrap_or(entry).as_os_str().as_encoded_bytes()])
}

/// The first Deno configuration of a chain, which starts at the program.
fn nearest_configuration<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Option<&'a Path> {
    paths.into_iter().find(|path| {
        path.file_name()
            .is_some_and(|name| name == "deno.json" || name == "deno.jsonc")
    })
}

/// The grants of a program.
fn prepared(
    root: PathBuf,
    present: &[Seen],
    directory: &PrivateDirectory,
    reused: bool,
) -> Prepared {
    let file = |seen: &Seen| RequiredPath {
        path: seen.real_path.clone(),
        kind: FileKind::File,
        stamp: Some(seen.stamp),
        access: Access::READ_FILE,
        origin: match seen.role {
            Role::Module => Origin::Module {
                importer: seen.importer.clone(),
            },
            Role::Configuration => Origin::Runner {
                reason: "configuration of the project".to_owned(),
            },
        },
    };
    let own = |path: &Path, kind: FileKind, rights: &[Access], reason: &str| RequiredPath {
        path: path.to_owned(),
        kind,
        stamp: None,
        access: rights.iter().fold(Access::NONE, |all, right| all | *right),
        origin: Origin::Runner {
            reason: reason.to_owned(),
        },
    };
    let mut rules: Vec<RequiredPath> = present.iter().map(file).collect();
    rules.push(own(
        &directory.path,
        FileKind::Directory,
        &deno_dir::DIRECTORY,
        "the program's private DENO_DIR",
    ));
    let (generated, data) = (&deno_dir::GENERATED, &deno_dir::DATA);
    rules.push(own(
        &directory.generated,
        FileKind::Directory,
        generated,
        "transpiled modules",
    ));
    rules.push(own(
        &directory.data,
        FileKind::Directory,
        data,
        "localStorage, Cache API and KV",
    ));
    let configuration = present
        .iter()
        .filter(|seen| seen.role == Role::Configuration);
    let configuration = nearest_configuration(configuration.map(|seen| seen.path.as_path()));
    Prepared {
        rules,
        deno_dir: directory.path.clone(),
        root,
        configuration: configuration.map(Path::to_owned),
        reused,
    }
}

#[cfg(test)]
mod tests;
