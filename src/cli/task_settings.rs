// SPDX-License-Identifier: MIT
//! What the settings of a sibling may make Stockade do, where `stockade task` bounds its line.
//!
//! Invariant: Stockade itself is inside no walls, so what it reads, writes, asks, trusts or becomes for
//! a line was given to `stockade task`, or lies within its bounds. Every setting is judged here by
//! name: a new one does not compile before it is.

use std::path::{Path, PathBuf};

use super::deno_flags::{Commands, all_rows};
use super::invocation::{
    Mode, NamedFile, RunArguments, Settings, Sources, TestSettings, WatchSettings,
};
use super::service::Service;
use super::task_arguments::TaskArguments;
use crate::host::leads::Leads;
use crate::plan::{NetSettings, Upstream, Verify};
use crate::policy::compose::net_covers;
use crate::policy::grammar::parse_import;
use crate::policy::{NetDescriptor, PathDescriptor, Policy, Rules};
use crate::runner::lock::LockFlags;
use crate::runner::npmrc;
use crate::task::bounds::lead_from;

/// The name of a lock that is written back without a grant, in the project.
const LOCK: &str = "deno.lock";

/// Where the kernel's own files are, which the bare grants leave out.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Modules that come from where every import may come from.
const REGISTRIES: [&str; 4] = ["npm:", "jsr:", "node:", "data:"];

/// A setting outside the bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excess {
    /// As a flag.
    pub(super) setting: String,
    /// What of `stockade task` would allow it, besides the setting itself.
    pub(super) grant: Option<String>,
}

impl Excess {
    fn new(flag: &str, value: Option<&str>) -> Self {
        let setting = match value {
            Some(value) => format!("{flag}={value}"),
            None => flag.to_owned(),
        };
        Self {
            setting,
            grant: None,
        }
    }

    fn or(self, grant: String) -> Self {
        Self {
            grant: Some(grant),
            ..self
        }
    }

    /// What would help.
    pub(super) fn hint(&self) -> String {
        let name = self.setting.split('=').next().unwrap_or_default();
        let has_it = all_rows()
            .any(|row| row.flag() == name && row.commands.intersects(Commands::TASK))
            // Those two say which project the tasks are of.
            && !["--config", "--cwd"].contains(&name);
        let own = has_it.then(|| format!("`{}`", self.setting));
        let grant = self.grant.as_ref().map(|grant| format!("`{grant}`"));
        let ways: Vec<String> = own.into_iter().chain(grant).collect();
        if ways.is_empty() {
            return "nothing of `stockade task` allows it: leave it out of the line, or all flags and \
                    policies out that bound the line"
                .to_owned();
        }
        format!(
            "flags and policies of `stockade task` bound what its lines may set: add {}, or leave them all out",
            ways.join(" or ")
        )
    }
}

/// What `stockade task` was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'g> {
    /// Grants of its flags and its policies.
    pub(super) policy: &'g Policy,
    /// Settings of its flags, and of its policies.
    pub(super) settings: [&'g Settings; 2],
    /// Where its paths begin.
    pub(super) directory: &'g Path,
    /// The project, which every line may read.
    pub(super) project: &'g Path,
    /// Whether the project holds the user's home, so that it is not granted as a whole.
    pub(super) holds_home: bool,
    /// Where its paths led when the task began.
    pub(super) leads: &'g Leads<'g>,
}

/// One sibling: where its paths begin, when that is known before it starts.
struct Judging<'g> {
    given: Given<'g>,
    from: Option<&'g Path>,
    /// Where they lead.
    leads: &'g Leads<'g>,
    /// As typed, to name them.
    runner_flags: &'g [String],
}

impl Given<'_> {
    /// Judges a program's settings.
    ///
    /// # Errors
    /// [`Excess`]: the first one that is outside.
    pub(super) fn judge_run(
        &self,
        run: &RunArguments,
        from: Option<&Path>,
        leads: &Leads<'_>,
    ) -> Result<(), Excess> {
        let RunArguments {
            mode,
            // What it is made of is readable because the line says so.
            script,
            files,
            script_arguments: _,
            // Judged as grants.
            policy: _,
            settings,
            // What the runner does with its flags it does inside walls; only this one leads out.
            runner_flags,
            prepare_flags: _,
            notices: _,
        } = run;
        let judging = Judging {
            given: *self,
            from,
            leads,
            runner_flags,
        };
        if !matches!(mode, Mode::Exec | Mode::Eval) {
            let named = script.iter().chain(files).filter(|text| *text != "-");
            for text in named {
                judging.program(text)?;
            }
        }
        for flag in runner_flags {
            if let Some((name @ ("--import-map" | "--importmap"), value)) = flag.split_once('=')
                && scheme(value).is_some()
            {
                judging.module(name, value)?;
            }
        }
        judging.settings(settings)
    }

    /// Judges the settings of a task that a line starts.
    ///
    /// # Errors
    /// [`Excess`]: the first one that is outside.
    pub(super) fn judge_task(
        &self,
        task: &TaskArguments,
        from: Option<&Path>,
        leads: &Leads<'_>,
    ) -> Result<(), Excess> {
        let judging = Judging {
            given: *self,
            from,
            leads,
            runner_flags: &[],
        };
        let TaskArguments {
            // A task of the same project, or a line that stands in this one.
            name: _,
            arguments: _,
            eval: _,
            if_present: _,
            only_scripts: _,
            jobs: _,
            prefixed: _,
            explain: _,
            // Judged as grants.
            policy: _,
            permissions: _,
            policies,
            directory,
            config,
            given,
            // The same as text.
            settings: _,
        } = task;
        if let Some(policy) = policies.first() {
            return Err(Excess::new("--policy", Some(policy)));
        }
        // Whatever project they lead to may be read by its lines.
        for (flag, path) in [("--cwd", directory), ("--config", config)] {
            if let Some(path) = path {
                judging.in_project(flag, path)?;
            }
        }
        judging.settings(given)
    }
}

impl Judging<'_> {
    fn settings(&self, settings: &Settings) -> Result<(), Excess> {
        let Settings {
            // They end a run earlier, and of two the lower one counts.
            timeout: _,
            limits: _,
            service,
            runner,
            best_effort,
            registries,
            env_files,
            // Less is read, downloaded or told; and what the project's configuration could say as well.
            no_config: _,
            lock,
            check: _,
            offline: _,
            node_modules: _,
            env_missing_undefined: _,
            quiet_denials: _,
            watch,
            tests,
            further,
            named_files,
            network,
            // Who named what is judged with `network`.
            upstream: _,
            audit,
            reports,
            sources,
            // They bound.
            ceilings: _,
        } = settings;
        self.service(service)?;
        if let Some(path) = runner {
            self.same_file("--runner", path, |given| given.runner.as_slice())?;
        }
        let is_given = |has: fn(&Settings) -> bool| self.given.settings.iter().any(|one| has(one));
        if *best_effort && !is_given(|given| given.best_effort) {
            return Err(Excess::new("--best-effort", None));
        }
        if let Some(wanted) = registries.first() {
            return Err(Excess::new("--policy", Some(&wanted.origin.to_string())));
        }
        for path in env_files {
            self.same_file("--env-file", path, |given| &given.env_files)
                .or_else(|_| self.read("--env-file", path))?;
        }
        self.lock(lock)?;
        self.watch(watch)?;
        let TestSettings {
            // Files that are not looked into.
            permit_none: _,
            ignored: _,
        } = tests;
        for module in further {
            let text = module.to_string_lossy();
            // Those of `--include` are not passed on.
            let passed = self.runner_flags.iter().find_map(|flag| {
                let (name, value) = flag.split_once('=')?;
                let runs = ["--preload", "--import", "--require"].contains(&name);
                (runs && value == text).then_some(name)
            });
            self.module(passed.unwrap_or("--include"), &text)?;
        }
        for NamedFile { flag, path } in named_files {
            if scheme(&path.to_string_lossy()).is_some() {
                self.module(flag, &path.to_string_lossy())?;
            } else if flag == "--config" {
                // The lock and the packages are written beside it.
                self.in_project(flag, path)?;
            } else {
                self.read(flag, path)?;
            }
        }
        self.network(network)?;
        if let Some(path) = audit {
            let same = self.same_file("--audit", path, |given| given.audit.as_slice());
            // Another one would take the place of what the user reads.
            match is_given(|given| given.audit.is_some()) {
                true => same?,
                false => same.or_else(|_| self.write("--audit", path))?,
            }
        }
        for path in reports {
            self.same_file("--report", path, |given| &given.reports)
                .or_else(|_| self.write("--report", path))?;
        }
        let Sources {
            permission_set,
            policies,
            ceilings,
            // Without sources, the grant of the listener is one of the flags.
            inspectors: _,
        } = sources;
        if let Some(name) = permission_set {
            return Err(Excess::new("--permission-set", name.as_deref()));
        }
        if let Some(policy) = policies.first() {
            return Err(Excess::new("--policy", Some(policy)));
        }
        for path in ceilings {
            // One can only bound, but the lines that are wrong in it are printed.
            self.same_file("--ceiling", path, |given| &given.sources.ceilings)
                .or_else(|_| self.read("--ceiling", path))?;
        }
        Ok(())
    }

    fn service(&self, service: &Service) -> Result<(), Excess> {
        let Service { user, group, kept } = service;
        if let Some(user) = user {
            return Err(Excess::new("--uid", Some(user)));
        }
        if let Some(group) = group {
            return Err(Excess::new("--gid", Some(group)));
        }
        match kept.first() {
            Some(kept) => Err(Excess::new("--keep-fd", Some(&kept.number.to_string()))),
            None => Ok(()),
        }
    }

    /// A lock is read, and written back by Stockade.
    fn lock(&self, lock: &LockFlags) -> Result<(), Excess> {
        let LockFlags {
            // The project's configuration says these, too.
            none: _,
            frozen: _,
            path,
        } = lock;
        let Some(path) = path else { return Ok(()) };
        if path.file_name().is_some_and(|name| name == LOCK) && self.is_in_project(path) {
            return Ok(());
        }
        self.read("--lock", path)?;
        self.write("--lock", path)
    }

    fn watch(&self, watch: &WatchSettings) -> Result<(), Excess> {
        let WatchSettings {
            // It starts again inside the same walls.
            on: _,
            excluded: _,
            keep_screen: _,
            paths,
            // Stockade's own word to itself.
            report: _,
        } = watch;
        paths.iter().try_for_each(|path| self.read("--watch", path))
    }

    fn network(&self, network: &NetSettings) -> Result<(), Excess> {
        let NetSettings {
            private,
            verify,
            listener,
            // Denials are told.
            observed: _,
            upstream: Upstream {
                name_servers,
                proxy,
            },
        } = network;
        let policy = self.given.policy;
        let whole = policy.all.is_some() || policy.net.allow.all.is_some();
        let given = self.given.settings.iter().map(|given| &given.network);
        // Whoever says where names lead says what a denial of a name reaches, too.
        let everything = whole && policy.net.deny.is_empty();
        for server in name_servers {
            let mut named = given.clone().flat_map(|given| &given.upstream.name_servers);
            if !everything && !named.any(|known| known == server) {
                return Err(Excess::new("--dns", Some(&server.to_string())));
            }
        }
        if let Some(proxy) = proxy
            && !everything
        {
            return Err(Excess::new("--upstream-proxy", Some(&proxy.to_string())));
        }
        if whole {
            return Ok(());
        }
        for entry in private {
            let mut named = given.clone().flat_map(|given| &given.private);
            if !named.any(|known| net_covers(&known.descriptor, &entry.descriptor)) {
                return Err(Excess::new("--allow-private", Some(&entry.text)));
            }
        }
        for rule in verify.iter().filter(|rule| rule.verify == Verify::Nothing) {
            let peer = rule.descriptor();
            let mut named = given.clone().flat_map(|given| &given.verify);
            if !named.any(|known| {
                known.verify == Verify::Nothing && net_covers(&known.descriptor(), &peer)
            }) {
                return Err(Excess::new("--verify", Some(&format!("{peer}=none"))));
            }
        }
        match listener.as_ref().map(|rule| rule.descriptor()) {
            Some(peer) if !covered(&policy.net.allow, &peer) => Err(Excess::new(
                "serve --port",
                peer.port.map(|port| port.to_string()).as_deref(),
            )
            .or(format!("--allow-net={peer}"))),
            _ => Ok(()),
        }
    }

    /// A file that the program begins with, or a pattern of such files.
    fn program(&self, text: &str) -> Result<(), Excess> {
        let pattern = text.find(['*', '?', '[', '{']);
        let judged = match pattern.map(|begin| text[..begin].rfind('/')) {
            None => self.module("", text),
            Some(Some(slash)) => self.read("", Path::new(&text[..=slash])),
            Some(None) => self.read("", Path::new(".")),
        };
        judged.map_err(|excess| Excess {
            setting: text.to_owned(),
            ..excess
        })
    }

    /// A module that runs with the program, by path or by URL.
    fn module(&self, flag: &str, text: &str) -> Result<(), Excess> {
        let policy = self.given.policy;
        let Some(scheme) = scheme(text) else {
            return self.read(flag, Path::new(text));
        };
        if REGISTRIES.contains(&scheme) || policy.all.is_some() {
            return Ok(());
        }
        let host = npmrc::host_of(text).filter(|_| ["http:", "https:"].contains(&scheme));
        // `file:` has more than one spelling of a path.
        let Some(host) = host else {
            return Err(Excess::new(flag, Some(text)));
        };
        let import = &policy.import.allow;
        let inside =
            import.all.is_some() || parse_import(&host).is_ok_and(|asked| covered(import, &asked));
        match inside {
            true => Ok(()),
            false => Err(Excess::new(flag, Some(text)).or(format!("--allow-import={host}"))),
        }
    }

    fn resolved(&self, path: &Path) -> Option<PathBuf> {
        lead_from(self.leads, self.from, path)
    }

    /// A file that was given to `stockade task` for the same purpose.
    fn same_file<'s>(
        &'s self,
        flag: &str,
        path: &Path,
        files: impl Fn(&'s Settings) -> &'s [PathBuf],
    ) -> Result<(), Excess> {
        let Given {
            settings,
            directory,
            leads,
            ..
        } = self.given;
        let asked = self.resolved(path);
        let mut given = settings.into_iter().flat_map(files);
        let same = |given: &PathBuf| lead_from(leads, Some(directory), given) == asked;
        match asked.is_some() && given.any(same) {
            true => Ok(()),
            false => Err(Excess::new(flag, path.to_str())),
        }
    }

    fn is_in_project(&self, path: &Path) -> bool {
        self.resolved(path)
            .is_some_and(|path| path.starts_with(self.given.project))
    }

    fn in_project(&self, flag: &str, path: &Path) -> Result<(), Excess> {
        match self.is_in_project(path) {
            true => Ok(()),
            false => Err(Excess::new(flag, path.to_str())),
        }
    }

    /// Whether an entry of a list names `path`, or a directory above it.
    fn lies_in(
        &self,
        rules: &Rules<PathDescriptor>,
        path: &Path,
        is: impl Fn(&Path) -> bool,
    ) -> bool {
        let Given {
            directory, leads, ..
        } = self.given;
        let mut entries = rules.entries.iter();
        entries.any(|entry| {
            let rule = lead_from(leads, Some(directory), &entry.descriptor.path);
            rule.is_some_and(|rule| path.starts_with(&rule) && is(&rule))
        })
    }

    /// A file that Stockade reads: of the project, or in a read grant.
    fn read(&self, flag: &str, path: &Path) -> Result<(), Excess> {
        let read = &self.given.policy.read;
        let everything = self.given.policy.all.is_some() || read.allow.all.is_some();
        let inside = |path: &Path| {
            let kernel = KERNEL.iter().any(|directory| path.starts_with(directory));
            let denied = read.deny.all.is_some()
                || self.lies_in(&read.deny, path, |_| true)
                || self.lies_in(&read.ignore, path, |_| true);
            let project = !self.given.holds_home && path.starts_with(self.given.project);
            let named = self.lies_in(&read.allow, path, |rule| !kernel || rule != Path::new("/"));
            !denied && (project || named || everything && !kernel)
        };
        let asked = self.resolved(path);
        let excess = Excess::new(flag, path.to_str());
        match asked.as_deref() {
            Some(asked) if inside(asked) => Ok(()),
            Some(asked) => Err(excess.or(format!("--allow-read={}", asked.display()))),
            // Behind a `cd` nobody knows where it lies.
            None => Err(excess),
        }
    }

    /// A file that Stockade writes: a grant names this very file. In a wider one it could be what is
    /// protected inside of it, and nobody holds Stockade to that.
    fn write(&self, flag: &str, path: &Path) -> Result<(), Excess> {
        let write = &self.given.policy.write;
        let inside = |path: &Path| {
            let denied = write.deny.all.is_some() || self.lies_in(&write.deny, path, |_| true);
            !denied && self.lies_in(&write.allow, path, |rule| rule == path)
        };
        let asked = self.resolved(path);
        match asked.as_deref().is_some_and(inside) {
            true => Ok(()),
            false => {
                let shown = asked.as_deref().unwrap_or(path).display();
                Err(Excess::new(flag, path.to_str()).or(format!("--allow-write={shown}")))
            }
        }
    }
}

fn covered(list: &Rules<NetDescriptor>, asked: &NetDescriptor) -> bool {
    let mut entries = list.entries.iter();
    entries.any(|entry| net_covers(&entry.descriptor, asked))
}

/// The scheme of a URL with its colon (RFC 3986, 3.1); none of a path.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let first = scheme.chars().next()?;
    let rest = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    let well_formed = first.is_ascii_alphabetic() && scheme.chars().all(rest);
    well_formed.then(|| &text[..=scheme.len()])
}

#[cfg(test)]
#[path = "task_settings_tests.rs"]
mod tests;
