// SPDX-License-Identifier: MIT
//! From an entry to its modules: what is on this machine, and what has to be downloaded first.
//!
//! Invariant: the network is asked for only when something is not on this machine.

use std::path::{Path, PathBuf};

use super::super::Confined;
use super::super::cache;
use super::super::config_chain::{self, ConfigChain, ConfigError, parse_configuration};
use super::super::graph::{self, Graph, Module};
use super::super::type_check::Verdict;
use super::super::{lock, npmrc, packages, sources};
use super::ask;
use super::node_modules::{self, NodeModules};
use super::{Check, Entry, Modules, PrepareError, Request};
use crate::host::{FileKind, Host};
use crate::plan::ReadRule;

/// The name of the files that say where packages come from.
pub(super) const NPMRC: &str = ".npmrc";

/// One program while it is prepared.
pub(super) struct Project<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) request: &'a Request<'a>,
    pub(super) entry: &'a str,
    pub(super) home: &'a Path,
    pub(super) downloads: &'a Path,
    /// Where configuration is looked for from.
    pub(super) directory: &'a Path,
    pub(super) chain: &'a ConfigChain,
    pub(super) confined: &'a dyn Confined,
}

/// What resolution found.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolved {
    pub(super) modules: Vec<Module>,
    /// Files only the type checker reads.
    pub(super) types: Vec<PathBuf>,
    pub(super) has_typescript: bool,
    pub(super) downloads: Vec<packages::Download>,
    /// Names for packages whose scopes have registries of their own.
    pub(super) links: Vec<packages::Link>,
    pub(super) sources: Modules,
    /// The URL of all packages without a registry of their own.
    pub(super) registry: String,
    /// The lock as it is now.
    pub(super) lock: Option<Vec<u8>>,
    /// What package clients left in `node_modules` about what they laid out there.
    pub(super) records: Vec<PathBuf>,
    /// Files the result depends on and that are not granted.
    pub(super) watched: Vec<PathBuf>,
    /// The same that do not exist.
    pub(super) absent: Vec<PathBuf>,
    pub(super) notices: Vec<String>,
    /// Whether a run would have written something of the project that was left as it is.
    pub(super) withheld: bool,
}

impl Project<'_> {
    /// The modules of the program: those on this machine first, and everything else, if there is
    /// anything else, with the network it takes.
    pub(super) fn resolve(&self) -> Result<Resolved, PrepareError> {
        let wanted = self.wanted_node_modules();
        let mut node_modules = match wanted {
            NodeModules::Manual => self.installed()?,
            // Nobody makes it now, and what is there is what a run would find.
            NodeModules::Auto if !self.request.writes => self.installed()?,
            NodeModules::None | NodeModules::Auto => None,
        };
        let mut resolved = Resolved::default();
        let entries = self.entries();
        let local = match entries.iter().any(|entry| graph::is_remote(entry)) {
            true => None,
            false => Some(self.graphs(&ask::LOCAL)?),
        };
        let elsewhere = |graph: &Graph| {
            let installed = wanted != NodeModules::Manual && node_modules::has_modules_of(graph);
            graph.is_remote() || graph.has_unresolved() || installed
        };
        let graphs = match local {
            Some(graphs) if node_modules.is_none() && !graphs.iter().any(elsewhere) => graphs,
            _ => {
                let graphs = self.resolve_remote(&mut resolved, node_modules.is_some())?;
                let packages = |graph: &Graph| !graph.packages().is_empty();
                let there = node_modules.is_some();
                if wanted != NodeModules::Auto || there || !graphs.iter().any(packages) {
                    graphs
                } else if !self.request.writes {
                    resolved.withheld = true;
                    resolved.notices.push(
                        "`node_modules` is made by a run: its packages are shown where they are in the cache"
                            .to_owned(),
                    );
                    graphs
                } else {
                    let (directory, graphs) = self.install(&resolved)?;
                    node_modules = Some(directory);
                    graphs
                }
            }
        };
        for graph in &graphs {
            resolved.modules.extend(graph.loaded());
            resolved.types.extend(graph.type_files());
            let found = packages::of(self.host, graph, self.downloads);
            let registries = &resolved.sources.registries;
            let default = resolved.registry.as_str();
            let links = packages::links(graph, &found, self.downloads, registries, default);
            resolved.links.extend(links);
            resolved.downloads.extend(found);
        }
        resolved.downloads.sort_by(|a, b| a.path.cmp(&b.path));
        resolved.downloads.dedup_by(|a, b| a.path == b.path);
        resolved.has_typescript = graphs.iter().any(Graph::has_typescript);
        let hosts = graphs.iter().flat_map(Graph::remote_urls);
        resolved.sources.imports = hosts.filter_map(npmrc::host_of).collect();
        resolved.sources.imports.sort();
        resolved.sources.imports.dedup();
        if let Some(directory) = node_modules {
            resolved.downloads.push(directory);
            // What lies in there is granted as a whole.
            let inside =
                |module: &Module| module.path.as_deref().is_some_and(node_modules::is_inside);
            resolved.modules.retain(|module| !inside(module));
            resolved.sources.node_modules = true;
            self.add_records(&mut resolved);
        }
        Ok(resolved)
    }

    /// Downloads what is missing, and resolves again with everything in place.
    fn resolve_remote(
        &self,
        resolved: &mut Resolved,
        manual: bool,
    ) -> Result<Vec<Graph>, PrepareError> {
        let request = self.request;
        let configurations: Vec<&Path> = self
            .chain
            .present
            .iter()
            .map(|file| file.path.as_path())
            .collect();
        let lock = lock::find(self.host, &configurations, &self.chain.root, request.lock);
        let before = lock.read(self.host)?;
        let work = self.work_directory()?;
        let state = work.join("deno.lock");
        match &before.bytes {
            Some(bytes) => cache::write_atomically(&state, bytes)?,
            // Without a lock of its own, a project keeps the versions it was first given here, until
            // `--reload`.
            None if lock.project.is_some() || !request.follow_stamp => {
                drop(std::fs::remove_file(&state));
            }
            None => {}
        }
        let files: Vec<PathBuf> = self
            .chain
            .present
            .iter()
            .filter(|file| file.path.ends_with(NPMRC))
            .map(|file| file.path.clone())
            .collect();
        let defaults = sources::defaults(self.host, request.cache, request.runner, self.confined)?;
        let entries = self.entries();
        let urls: Vec<&str> = entries
            .iter()
            .map(String::as_str)
            .filter(|entry| graph::is_remote(entry))
            .collect();
        let sources = sources::collect(self.host, request.policy, &defaults, &urls, &files)?;
        resolved.sources.registries = sources.registries.clone();
        resolved.registry = sources.default_registry(&defaults);
        let mode = ask::Mode {
            lock: Some(&state),
            frozen: lock.frozen,
            node_modules: if manual { "manual" } else { "none" },
            no_remote: false,
            sources: Some(&sources),
        };
        if !request.offline {
            self.download(&mode, &sources)?;
        }
        let graphs = self.graphs(&mode)?;
        let after = self
            .host
            .read_file(&state, lock::LIMIT)
            .ok()
            .filter(|bytes| lock::is_lock(bytes));
        match (&after, &lock.project) {
            (Some(after), Some(path)) if !lock.frozen && before.differs(after) => {
                if !request.writes {
                    resolved.withheld = true;
                } else if let Err(error) = before.write_back(after) {
                    resolved.notices.push(format!(
                        "cannot write `{}`: {error}; the versions are not kept",
                        path.display()
                    ));
                }
            }
            _ => {}
        }
        // As it is now: prepare itself may have made it.
        if let Some(path) = &lock.project {
            match self.host.inspect(path) {
                Ok(_) => resolved.watched.push(path.clone()),
                Err(_) => resolved.absent.push(path.clone()),
            }
        }
        resolved.lock = after;
        Ok(graphs)
    }

    /// Type-checks the program; returns what was checked.
    pub(super) fn check(
        &self,
        resolved: &Resolved,
        notices: &mut Vec<String>,
    ) -> Result<Check, PrepareError> {
        let request = self.request;
        let code = matches!(request.entry, Entry::Code(_));
        if request.check == Check::Nothing || code {
            return Ok(request.check);
        }
        // Plain JavaScript is checked when its configuration says so.
        let checks_javascript = || {
            self.chain.present.iter().any(|file| {
                parse_configuration(self.host, &file.path)["compilerOptions"]["checkJs"] == true
            })
        };
        if !resolved.has_typescript && !checks_javascript() {
            return Ok(request.check);
        }
        match self.type_check(resolved)? {
            Verdict::Passed => {}
            Verdict::Warned(text) => notices.push(format!("types are missing\n{text}")),
            Verdict::Failed(text) => return Err(PrepareError::Types { text }),
            Verdict::Stopped(text) => return Err(PrepareError::Runner { text }),
        }
        Ok(request.check)
    }
}

/// Adds the `.npmrc` files that Deno reads for this project: it does not start when it cannot read
/// one. They come beside configuration, and at the root.
pub(super) fn add_npmrc(
    host: &dyn Host,
    request: &Request<'_>,
    chain: &mut ConfigChain,
) -> Result<(), PrepareError> {
    if request.config.none {
        return Ok(());
    }
    let above = chain.present.iter().filter_map(|file| file.path.parent());
    let mut files: Vec<PathBuf> = above.map(|directory| directory.join(NPMRC)).collect();
    files.push(chain.root.join(NPMRC));
    files.sort();
    files.dedup();
    for path in files {
        let found = match host.inspect(&path) {
            Ok(found) if found.kind == FileKind::File => found,
            Ok(_) => continue,
            Err(_) => {
                chain.absent.push(path);
                continue;
            }
        };
        if config_chain::is_foreign(host, &path, &found) {
            let owner = found.uid;
            return Err(ConfigError::Foreign { path, owner }.into());
        }
        let outside = !found.real_path.starts_with(&chain.root);
        match (request.read_rule)(&found.real_path) {
            // Deno says what it cannot read.
            ReadRule::Denied => continue,
            ReadRule::Unsaid if outside => continue,
            ReadRule::Granted => {}
            ReadRule::Unsaid => {
                let bytes = host.read_file(&path, sources::LIMIT).unwrap_or_default();
                let settings = npmrc::parse(&String::from_utf8_lossy(&bytes));
                npmrc::judge_readable(&path, &settings).map_err(sources::SourcesError::from)?;
            }
        }
        chain.present.push(config_chain::ConfigFile {
            path,
            real_path: found.real_path,
            stamp: found.stamp,
        });
    }
    Ok(())
}
