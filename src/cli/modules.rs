// SPDX-License-Identifier: MIT
//! From arguments to modules that are there: the runner found, files named or looked for, everything
//! downloaded and checked.
//!
//! Invariant: nothing of the program runs here.

use std::path::{Path, PathBuf};

use super::arguments::{Mode, RunArguments, Settings};
use super::exec::Purpose;
use super::failure::Failure;
use super::progress::{Bar, Downloads};
use super::render;
use super::run::Status;
use crate::host::{Host, RealHost};
use crate::plan::{self, ReadRules};
use crate::runner::arguments as runner_arguments;
use crate::runner::config_chain::{self, ConfigFlags};
use crate::runner::locate::{self, Choice, Located};
use crate::runner::module_files::{self, Wanted};
use crate::runner::prepare::{self, Check, Entry, PrepareError, Prepared};
use crate::runner::walls::Walls;
use crate::runner::{Embedded, Runner, cache, stamp};

/// A program whose modules are in place.
#[derive(Debug)]
pub(super) struct Modules {
    /// Who runs it.
    pub runner: Runner,
    /// What prepare found.
    pub prepared: Prepared,
    /// Its files as the runner is told them: one script, or all tests.
    pub files: Vec<String>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// What prepare works with.
#[derive(Clone, Copy)]
struct Work<'a> {
    host: &'a RealHost,
    runner: &'a Runner,
    cache: &'a Path,
    walls: &'a Walls<'a>,
    reads: &'a ReadRules,
}

/// `check` and `cache`: everything but the run.
///
/// # Errors
/// [`Failure`].
pub(super) fn only_prepare(
    arguments: &RunArguments,
    embedded: Option<&Embedded>,
) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    plan::check_kernel(arguments.settings.best_effort, &host)?;
    let reads = ReadRules::resolve(&arguments.policy, &host);
    let modules =
        prepare(arguments, Purpose::Run, embedded, &host, &reads).map_err(
            |failure| match failure {
                // Here no flag would run it all the same.
                Failure::Prepare(PrepareError::Types { text }) => Failure::Types { text },
                other => other,
            },
        )?;
    for notice in modules.notices.iter().chain(&modules.prepared.notices) {
        render::warning(notice);
    }
    Ok(Status::Code(0))
}

/// Finds the runner and the files, and prepares them.
///
/// # Errors
/// [`Failure`].
pub(super) fn prepare(
    arguments: &RunArguments,
    purpose: Purpose,
    embedded: Option<&Embedded>,
    host: &RealHost,
    reads: &ReadRules,
) -> Result<Modules, Failure> {
    let settings = &arguments.settings;
    let downloads = Downloads::new(host);
    let announce = |url: &str| downloads.show(url);
    let walls =
        Walls::new(host, settings.best_effort).fetching(&settings.network.upstream, &announce);
    let cache = cache::prepare_directory(host, &cache::resolve_root(host)?)?;
    let choice = match (&settings.runner, embedded) {
        (Some(path), _) => Choice::Path(path),
        (None, Some(embedded)) => Choice::Embedded(embedded),
        (None, None) => Choice::Search,
    };
    let mut bar = Bar::default();
    let Located { runner, notices } = locate::locate(host, choice, &cache, &walls, &mut |step| {
        bar.show(host, step)
    })?;
    let files = files(arguments, host, reads)?;
    let work = Work {
        host,
        runner: &runner,
        cache: &cache,
        walls: &walls,
        reads,
    };
    let prepared = prepare_files(arguments, purpose, &files, &work)?;
    downloads.finish();
    Ok(Modules {
        runner,
        prepared,
        files,
        notices,
    })
}

/// The files of the program, as typed or as they are found.
fn files(
    arguments: &RunArguments,
    host: &RealHost,
    reads: &ReadRules,
) -> Result<Vec<String>, Failure> {
    let mut named: Vec<String> = arguments.script.iter().cloned().collect();
    named.extend(arguments.files.iter().cloned());
    let wanted = match arguments.mode {
        Mode::Test => Wanted::Tests,
        Mode::Check => Wanted::Modules,
        _ => return Ok(named),
    };
    let config = config_flags(&arguments.settings);
    let rule = |path: &Path| reads.rule(path);
    let chain = config_chain::resolve(host, host.current_directory(), &config, &rule)
        .map_err(PrepareError::from)?;
    let configuration = chain.present.iter().map(|file| file.path.as_path());
    let found = module_files::find(
        host,
        wanted,
        &named,
        &arguments.settings.tests.ignored,
        prepare::nearest_configuration(configuration),
    )?;
    if found.is_empty() && arguments.settings.tests.permit_none {
        return Err(Failure::NothingToDo);
    }
    if found.is_empty() {
        return Err(Failure::NoModules {
            what: match wanted {
                Wanted::Tests => "test modules",
                Wanted::Modules | Wanted::Everything => "modules",
            },
        });
    }
    Ok(found)
}

fn config_flags(settings: &Settings) -> ConfigFlags {
    let named = |flag: &str| {
        let mut files = settings.named_files.iter();
        let named = files.find(|named| named.flag == flag);
        named.map(|named| named.path.clone())
    };
    ConfigFlags {
        none: settings.no_config,
        config: named("--config"),
        import_map: named("--import-map"),
    }
}

/// What the runner is told to do with `files`.
pub(super) fn program<'a>(
    arguments: &'a RunArguments,
    files: &'a [String],
) -> runner_arguments::Program<'a> {
    let script = arguments.script.as_deref().unwrap_or("SCRIPT");
    match arguments.mode {
        Mode::Serve => runner_arguments::Program::Serve(script),
        Mode::Eval => runner_arguments::Program::Eval {
            code: script,
            extension: arguments.flag_value("--ext"),
            print: arguments.runner_flags.iter().any(|flag| flag == "--print"),
        },
        Mode::Test => runner_arguments::Program::Test(files),
        // The others have no run, or no runner.
        Mode::Run | Mode::Exec | Mode::Check | Mode::Cache => {
            runner_arguments::Program::Run(script)
        }
    }
}

fn prepare_files(
    arguments: &RunArguments,
    purpose: Purpose,
    files: &[String],
    work: &Work<'_>,
) -> Result<Prepared, Failure> {
    let Work {
        host,
        runner,
        cache,
        walls,
        reads,
    } = *work;
    let settings = &arguments.settings;
    let policy = stamp::fingerprint(&(&arguments.policy, reads));
    let config = config_flags(settings);
    let code = match program(arguments, files) {
        runner_arguments::Program::Eval {
            code,
            extension,
            print,
        } => Some(runner_arguments::data_url(code, extension, print)),
        // `explain` without a script: the Plan of an empty program.
        _ if files.is_empty() => Some(runner_arguments::data_url("", None, false)),
        _ => None,
    };
    let entry = match &code {
        Some(url) => Entry::Code(url),
        None => Entry::Script(Path::new(files.first().map_or("", String::as_str))),
    };
    let mut further = settings.further.clone();
    further.extend(files.iter().skip(1).map(PathBuf::from));
    let resolution: Vec<String> = arguments
        .prepare_flags
        .iter()
        .filter(|flag| flag.starts_with("--unstable-") || flag.starts_with("--conditions"))
        .cloned()
        .collect();
    let downloads: Vec<String> = arguments
        .prepare_flags
        .iter()
        .filter(|flag| flag.starts_with("--reload") || flag.starts_with("--min"))
        .cloned()
        .collect();
    let mut downloads = downloads;
    // The user's own authorities hold for downloads as well.
    let authorities: Vec<PathBuf> = settings
        .named_files
        .iter()
        .filter(|named| named.flag == "--cert")
        .map(|named| host.current_directory().join(&named.path))
        .collect();
    downloads.extend(
        authorities
            .iter()
            .map(|path| format!("--cert={}", path.display())),
    );
    // `explain` says the same before and after a run; the walls are the same either way.
    let runs =
        purpose == Purpose::Run && matches!(arguments.mode, Mode::Run | Mode::Serve | Mode::Eval);
    let cached = !arguments
        .runner_flags
        .iter()
        .any(|flag| flag == runner_arguments::NO_CODE_CACHE);
    let reload = downloads.iter().any(|flag| flag.starts_with("--reload"));
    Ok(prepare::prepare(
        host,
        &prepare::Request {
            runner,
            cache,
            entry,
            further: &further,
            config: &config,
            lock: &settings.lock,
            resolution_flags: &resolution,
            download_flags: &downloads,
            download_files: &authorities,
            check: settings.check.unwrap_or(match arguments.mode {
                Mode::Cache => Check::Nothing,
                _ => Check::Local,
            }),
            offline: settings.offline,
            node_modules: settings.node_modules,
            policy: &arguments.policy,
            policy_name: &policy,
            read_rule: &|path| reads.rule(path),
            follow_stamp: !reload,
            writes: purpose == Purpose::Run,
            arguments: (runs && cached).then_some(&arguments.script_arguments),
        },
        walls,
    )?)
}
