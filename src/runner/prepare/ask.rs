// SPDX-License-Identifier: MIT
//! The runs of the runner that prepare makes: the module graph, the download, the type check.
//!
//! Invariant: each is confined; only the download reaches a network, and what it writes no program
//! can write.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::super::cache::{self, CacheError};
use super::super::config_chain::ConfigFlags;
use super::super::graph::{self, Graph};
use super::super::packages;
use super::super::sources::Sources;
use super::super::type_check::{self, Verdict};
use super::super::{Captured, ConfinedRequest, printable};
use super::resolve::{NPMRC, Project, Resolved};
use super::{
    Check, Entry, PrepareError, WORK_DIRECTORY, environment, nearest_configuration,
    registry_variables,
};

/// How one run resolves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode<'a> {
    /// The lock, in prepare's own directory.
    pub lock: Option<&'a Path>,
    /// Whether a change of it is an error.
    pub frozen: bool,
    /// `none`, `manual` or `auto`.
    pub node_modules: &'static str,
    /// Modules of other hosts are not looked at.
    pub no_remote: bool,
    /// Where everything else comes from.
    pub sources: Option<&'a Sources>,
}

/// What is on this machine, without a look at anything else.
pub(super) const LOCAL: Mode<'static> = Mode {
    lock: None,
    frozen: false,
    node_modules: "manual",
    no_remote: true,
    sources: None,
};

impl Mode<'_> {
    fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        match self.lock {
            Some(path) => flags.push(format!("--lock={}", path.display())),
            None => flags.push("--no-lock".to_owned()),
        }
        if self.frozen {
            flags.push("--frozen".to_owned());
        }
        if self.no_remote {
            flags.push("--no-remote".to_owned());
        }
        flags.push(format!("--node-modules-dir={}", self.node_modules));
        flags.extend(self.sources.map(import_flag));
        flags
    }
}

/// `--allow-import` of the runner: what Deno itself lets pass, before the walls do.
fn import_flag(sources: &Sources) -> String {
    if sources.any {
        "--allow-import".to_owned()
    } else if sources.imports.is_empty() {
        "--deny-import".to_owned()
    } else {
        format!("--allow-import={}", sources.imports.join(","))
    }
}

impl Project<'_> {
    /// Prepare's own DENO_DIR, with links to the downloads.
    pub(super) fn work_directory(&self) -> Result<PathBuf, CacheError> {
        let work = self.home.join(WORK_DIRECTORY);
        let made = |path: &Path, result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(CacheError::on_write(path, error))
            }
            _ => Ok(()),
        };
        made(&work, std::fs::create_dir(&work))?;
        for name in packages::DIRECTORIES {
            let link = work.join(name);
            made(&link, symlink(self.downloads.join(name), &link))?;
        }
        Ok(work)
    }

    /// A home directory whose `.npmrc` has the registries of scopes, and nothing else of the user's:
    /// the runner has no variables for them.
    fn scopes(
        &self,
        registries: &[(String, String)],
    ) -> Result<Option<(String, String)>, CacheError> {
        let scopes = registries.iter().filter(|(key, _)| key.starts_with('@'));
        let lines: Vec<String> = scopes.map(|(key, url)| format!("{key}={url}\n")).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let home = self.work_directory()?.join("home");
        let home = cache::prepare_directory(self.host, &home)?;
        cache::write_atomically(&home.join(NPMRC), lines.concat().as_bytes())?;
        Ok(Some(("HOME".to_owned(), home.display().to_string())))
    }

    /// The graphs below the entry and below each further module.
    pub(super) fn graphs(&self, mode: &Mode<'_>) -> Result<Vec<Graph>, PrepareError> {
        self.entries()
            .iter()
            .map(|entry| self.graph(entry, mode))
            .collect()
    }

    fn graph(&self, entry: &str, mode: &Mode<'_>) -> Result<Graph, PrepareError> {
        let mut flags = vec!["--json".to_owned()];
        flags.extend(mode.flags());
        let mut run = self.run("info", flags, entry.to_owned())?;
        if let Some(sources) = mode.sources {
            // Registries are found by name, also when everything is there already.
            run.environment
                .extend(registry_variables(&sources.registries));
            run.environment.extend(self.scopes(&sources.registries)?);
        }
        let captured = self.confined.capture(&run);
        let captured = captured.map_err(|source| self.failed(entry, source))?;
        let path = self.shown(entry);
        if captured.exit != Some(0) {
            let answer = words(&captured).replace('\n', " ");
            return Err(PrepareError::Refused { path, answer });
        }
        graph::parse(&captured.stdout).map_err(|source| PrepareError::Graph { path, source })
    }

    /// Downloads everything the program names.
    pub(super) fn download(&self, mode: &Mode<'_>, sources: &Sources) -> Result<(), PrepareError> {
        let mut flags = mode.flags();
        flags.extend(self.request.download_flags.iter().cloned());
        let mut run = self.run_on_entries("cache", flags)?;
        run.write.push(self.downloads.to_owned());
        run.read.retain(|path| path != self.downloads);
        run.read.extend(sources.read.iter().cloned());
        run.read.extend(self.request.download_files.iter().cloned());
        for (name, value) in &sources.variables {
            if run.environment.iter().all(|(known, _)| known != name) {
                run.environment.push((name.clone(), value.clone()));
            }
        }
        let fetched = self
            .confined
            .fetch(&run, sources, self.request.cache)
            .map_err(|source| self.failed(self.entry, source))?;
        let text = words(&fetched.captured);
        if fetched.refused {
            return Err(PrepareError::Download { text });
        }
        if fetched.captured.exit == Some(0) {
            return Ok(());
        }
        match fetched.denied.into_iter().next() {
            Some(host) => Err(PrepareError::Host { host, text }),
            None => Err(PrepareError::Runner { text }),
        }
    }

    /// The graphs of a program whose packages are installed; nothing is missing, so every host may
    /// have been a source.
    pub(super) fn graphs_of(
        &self,
        mode: &Mode<'_>,
        resolved: &Resolved,
    ) -> Result<Vec<Graph>, PrepareError> {
        let sources = Sources {
            any: true,
            registries: resolved.sources.registries.clone(),
            ..Sources::default()
        };
        self.graphs(&Mode {
            no_remote: false,
            sources: Some(&sources),
            ..*mode
        })
    }

    /// Fills `node_modules` from the downloads, which the run may only read: a link to one of them
    /// would need more, and so the runner copies.
    pub(super) fn lay_out(
        &self,
        mode: &Mode<'_>,
        directory: &Path,
        resolved: &Resolved,
    ) -> Result<(), PrepareError> {
        let mut flags = mode.flags();
        flags.retain(|flag| flag != "--no-remote");
        flags.push("--quiet".to_owned());
        let mut run = self.run_on_entries("cache", flags)?;
        run.write.push(directory.to_owned());
        let registries = &resolved.sources.registries;
        run.environment.extend(registry_variables(registries));
        run.environment.extend(self.scopes(registries)?);
        // As a download that reaches no host: copies have the modes of what they are copies of.
        let fetched = self
            .confined
            .fetch(&run, &Sources::default(), self.request.cache)
            .map_err(|source| self.failed(self.entry, source))?;
        let text = words(&fetched.captured);
        match fetched.captured.exit {
            Some(0) => Ok(()),
            _ if fetched.refused => Err(PrepareError::Download { text }),
            _ => Err(PrepareError::Runner { text }),
        }
    }

    /// Checks the types of the program, without a network.
    pub(super) fn type_check(&self, resolved: &Resolved) -> Result<Verdict, PrepareError> {
        let work = self.work_directory()?;
        let state = work.join("deno.lock");
        let remote = resolved.lock.is_some();
        let mode = Mode {
            lock: remote.then_some(state.as_path()),
            node_modules: match (remote, resolved.sources.node_modules) {
                (true, false) => "none",
                _ => "manual",
            },
            ..LOCAL
        };
        let mut flags = mode.flags();
        flags.retain(|flag| flag != "--no-remote" || resolved.sources.imports.is_empty());
        if !resolved.sources.imports.is_empty() {
            let hosts = resolved.sources.imports.join(",");
            flags.push(format!("--allow-import={hosts}"));
        }
        if self.request.check == Check::All {
            flags.push("--all".to_owned());
        }
        let mut run = self.run_on_entries("check", flags)?;
        run.environment
            .extend(registry_variables(&resolved.sources.registries));
        run.environment
            .extend(self.scopes(&resolved.sources.registries)?);
        let captured = self.confined.capture(&run);
        let captured = captured.map_err(|source| self.failed(self.entry, source))?;
        Ok(type_check::judge(captured.exit, &captured.stderr))
    }

    /// The entry and the further modules, as the runner is told them.
    pub(super) fn entries(&self) -> Vec<String> {
        let current = self.host.current_directory();
        let further = self.request.further.iter().map(|path| {
            let text = path.to_string_lossy();
            if graph::is_remote(&text) {
                text.into_owned()
            } else {
                current.join(path).display().to_string()
            }
        });
        std::iter::once(self.entry.to_owned())
            .chain(further)
            .collect()
    }

    /// One run of a subcommand on everything that is prepared.
    fn run_on_entries(
        &self,
        subcommand: &str,
        mut flags: Vec<String>,
    ) -> Result<ConfinedRequest, PrepareError> {
        let mut entries = self.entries();
        // The program itself is always one of them.
        let last = entries.pop().unwrap_or_else(|| self.entry.to_owned());
        flags.extend(entries);
        self.run(subcommand, flags, last)
    }

    /// One run of a subcommand on `entry`.
    fn run(
        &self,
        subcommand: &str,
        flags: Vec<String>,
        entry: String,
    ) -> Result<ConfinedRequest, PrepareError> {
        let request = self.request;
        let work = self.work_directory()?;
        let code = matches!(request.entry, Entry::Code(_)) && entry == self.entry;
        let mut arguments = vec!["deno".to_owned(), subcommand.to_owned()];
        arguments.extend(flags);
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
                let found = self.chain.present.iter().map(|file| file.path.as_path());
                let found = nearest_configuration(found);
                arguments.extend(found.map(|path| format!("--config={}", path.display())));
            }
            _ => {}
        }
        if let Some(map) = &request.config.import_map {
            let map = self.host.current_directory().join(map);
            arguments.push(format!("--import-map={}", map.display()));
        }
        arguments.extend(request.resolution_flags.iter().cloned());
        let mut read = vec![self.chain.root.clone(), self.downloads.to_owned()];
        let files = self.entries().into_iter();
        read.extend(files.filter_map(|entry| {
            let path = PathBuf::from(entry);
            (path.is_absolute()).then_some(path)
        }));
        read.extend(self.chain.present.iter().map(|file| file.real_path.clone()));
        arguments.push(entry);
        Ok(ConfinedRequest {
            runner: request.runner.clone(),
            arguments,
            read,
            write: vec![work.clone()],
            environment: environment(&work),
            // `deno run` looks for configuration from the program's directory upwards, its other
            // commands from the one they start in.
            directory: if request.config.config.is_some() {
                self.host.current_directory().to_owned()
            } else {
                self.directory.to_owned()
            },
        })
    }

    /// The program as messages name it.
    fn shown(&self, entry: &str) -> PathBuf {
        match self.request.entry {
            Entry::Code(url) if url == entry => PathBuf::from("eval"),
            _ => PathBuf::from(entry),
        }
    }

    fn failed(
        &self,
        entry: &str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> PrepareError {
        PrepareError::Run {
            path: self.shown(entry),
            source,
        }
    }
}

/// What the runner said, without its own prefix and without what follows its last word.
fn words(captured: &Captured) -> String {
    let text = String::from_utf8_lossy(&captured.stderr);
    let text = text.trim();
    let lines = text
        .strip_prefix("error: ")
        .unwrap_or(text)
        .lines()
        .take_while(|line| line.trim() != "Stack backtrace:");
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    printable(&lines.join("\n"))
}
