// SPDX-License-Identifier: MIT
//! `run`, `serve`, `eval` and their `explain`: from arguments to a Plan, and from a Plan to a
//! running program.
//!
//! Invariant: until the target is executed nothing of the program runs, and every error ends
//! before that.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::arguments::{Mode, RunArguments, Settings};
use super::denials::Denials;
use super::ending;
use super::environment::{self, EnvironmentFile};
use super::exec::{self, Purpose};
use super::failure::Failure;
use super::limit_flags;
use super::modules::{self, Modules};
use super::output_file;
use super::render;
use super::report::{self, Reports};
use super::service;
use super::watch;
use crate::confine::Confinement;
use crate::host::{Host, Opened, RealHost, Remembered};
use crate::launch::{self, Finished, LaunchError, PrivateDirectory};
use crate::plan::command::CommandError;
use crate::plan::links::Written;
use crate::plan::{
    self, Access, EnvFile, Network, Plan, Program, ReadRule, ReadRules, RequiredPath, Subject,
};
use crate::policy::compose::env_verdict;
use crate::policy::limits::LimitKind;
use crate::policy::{Origin, Policy, env_file};
use crate::runner::Embedded;
use crate::runner::arguments::{self as runner_arguments, Line};
use crate::runner::late::Late;
use crate::runner::prepare::Prepared;
use crate::supervisor::{self, Supervisor};
use crate::sys::files;

/// What `explain exec` plans for when it is given no command.
const NO_COMMAND: &str = "true";

/// The largest `--env-file` that is read.
const ENV_FILE_LIMIT: usize = 1024 * 1024;

/// How Deno ends for an error that nobody caught, a module that is not there among them.
const FAILED: Status = Status::Code(1);

/// A program that is ready to be confined.
#[derive(Debug)]
pub(super) struct Ready {
    /// What the kernel will be told.
    pub plan: Plan,
    /// What was opened while it was planned.
    pub opened: Opened,
    /// The environment block, in the Plan's order.
    pub environment: Vec<(OsString, OsString)>,
    /// The digest of what was granted and denied, when a report is to name it.
    pub policy_digest: Option<String>,
    /// Where programs may make links.
    pub written: Written,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What would help a program that fails.
    pub hints: Vec<String>,
    /// The directory made for this run alone.
    pub private: Option<PrivateDirectory>,
}

/// How a run ended, as an exit status of Stockade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Exit with this code.
    Code(u8),
    /// End by this signal.
    Signal(i32),
}

/// Runs the program; returns only when a waiter stayed beside it, or on failure.
///
/// # Errors
/// [`Failure`]: the target was not started.
pub(super) fn run(
    arguments: &RunArguments,
    embedded: Option<&Embedded>,
) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    let ready = ready(arguments, Purpose::Run, embedded, &host)?;
    perform(ready, &arguments.settings, &host)
}

/// Runs what is ready; returns only when a waiter stayed beside it, or on failure.
///
/// # Errors
/// [`Failure`]: the target was not started, or was ended.
pub(super) fn perform(
    ready: Ready,
    settings: &Settings,
    host: &RealHost,
) -> Result<Status, Failure> {
    for warning in &ready.warnings {
        render::warning(warning);
    }
    refuse_open_sockets(&ready.plan)?;
    let denials = Rc::new(RefCell::new(Denials::open(settings, &ready.written, host)?));
    let created = CreatedPaths::create(&ready.plan)?;
    let mut reports = Reports::open(
        &settings.reports,
        &ready.plan,
        ready.policy_digest,
        &ready.written,
        host,
    )?;
    let confinement = Confinement::prepare(&ready.plan, &ready.environment, ready.opened)?;
    let (readiness, warning) = service::readiness(&ready.plan, host);
    if let Some(warning) = warning {
        render::warning(&warning);
    }
    if !ready.plan.lifetime.waiter {
        return Err(launch::replace(confinement).into());
    }
    let sink = Rc::<RefCell<Denials>>::clone(&denials);
    let finished = supervised(&ready.plan, confinement, sink, readiness);
    drop(created);
    if let Some(Err((path, error))) = ready.private.map(PrivateDirectory::remove) {
        render::warning(&format!("could not remove `{}`: {error}", path.display()));
    }
    denials.borrow_mut().finish();
    let report = denials.borrow_mut().take_report();
    if let (Some(reports), Some(report)) = (&mut reports, &report) {
        reports.write(report, &finished, &ready.plan);
    }
    let finished = finished.map_err(|error| refused_command(error, &ready.plan))?;
    let status = ending::status(&finished, &ready.plan);
    if status == FAILED {
        for hint in &ready.hints {
            render::line(&format!("hint: {hint}"));
        }
    }
    if status != Status::Code(0) && ready.plan.program.invoked_as.is_some() {
        for told in exec::named_privileged(&ready.plan, host) {
            render::warning(&told);
        }
    }
    Ok(status)
}

/// The kernel's refusal to execute a command is the command's fault, with the exit code of shells.
fn refused_command(error: LaunchError, plan: &Plan) -> Failure {
    match plan.program.invoked_as.clone() {
        Some(path) if error.refused_execution() => CommandError::Refused {
            path,
            source: Box::new(error),
        }
        .into(),
        _ => error.into(),
    }
}

/// Starts the target and waits for its end, with a supervisor where the Plan has one.
///
/// # Errors
/// [`LaunchError`]; see there what became of the target.
pub(super) fn supervised(
    plan: &Plan,
    confinement: Confinement,
    denials: Rc<RefCell<Denials>>,
    readiness: Option<supervisor::Ready>,
) -> Result<Finished, LaunchError> {
    let supervised = plan.syscalls.supervised.any();
    let mut supervisor = supervised.then(|| {
        Supervisor::new(supervisor::Settings {
            plan: plan.clone(),
            sink: denials,
            ready: readiness,
        })
    });
    let companion = supervisor
        .as_mut()
        .map(|one| -> &mut dyn launch::Companion { one });
    launch::wait_for(
        confinement,
        &plan.lifetime,
        plan.private.as_deref(),
        companion,
    )
}

/// A datagram socket as standard stream could send to any address: the system call filter does not
/// see the address of `sendmsg`. Stream sockets only reach the peer the caller chose.
fn refuse_open_sockets(plan: &Plan) -> Result<(), Failure> {
    if matches!(plan.network, Network::Any(_)) && plan.syscalls.unix {
        return Ok(());
    }
    let kept = plan.kept.iter().map(|kept| kept.number);
    match files::datagram_among((0..=2).chain(kept)) {
        Some(stream) => Err(Failure::OpenSocket { stream }),
        None => Ok(()),
    }
}

/// `run -`: the script is what comes in on standard input, and runs as the code of `eval` does.
///
/// # Errors
/// [`Failure::Input`].
pub(super) fn read_script(mut arguments: RunArguments) -> Result<RunArguments, Failure> {
    if arguments.mode == Mode::Run && arguments.script.as_deref() == Some("-") {
        let code = std::io::read_to_string(std::io::stdin()).map_err(Failure::Input)?;
        arguments.mode = Mode::Eval;
        arguments.script = Some(code);
    }
    Ok(arguments)
}

/// Plans one invocation: finds the runner, prepares the program, builds the Plan.
///
/// # Errors
/// [`Failure`]; nothing of the program ran.
pub(super) fn ready(
    arguments: &RunArguments,
    purpose: Purpose,
    embedded: Option<&Embedded>,
    host: &RealHost,
) -> Result<Ready, Failure> {
    let settings = &arguments.settings;
    let policy = &arguments.policy;
    if arguments.mode == Mode::Exec {
        let command = exec::Command {
            name: arguments.script.as_deref().unwrap_or(NO_COMMAND),
            arguments: &arguments.script_arguments,
            policy,
            settings,
        };
        let mut ready = exec::ready(&command, purpose, host)?;
        ready
            .warnings
            .splice(0..0, arguments.notices.iter().cloned());
        return Ok(ready);
    }
    let mut notices_of_registries = Vec::new();
    for wanted in &settings.registries {
        notices_of_registries.push(format!(
            "`{}` of {} has no effect: it is for `stockade exec`",
            wanted.registry, wanted.origin
        ));
    }
    plan::check_kernel(settings.best_effort, host)?;
    let remembered = Remembered::new(host, policy.read.allow.entries.len());
    let reads = ReadRules::resolve(policy, &remembered);
    let Modules {
        runner,
        prepared,
        files,
        mut notices,
    } = modules::prepare(arguments, purpose, embedded, host, &reads)?;
    if let Some(path) = &settings.watch.report {
        watch::report(path, &prepared).map_err(Failure::Watch)?;
    }
    let mut passed = arguments.runner_flags.clone();
    // `--print` is done by the code itself; `deno run` does not know it.
    passed.retain(|flag| arguments.mode != Mode::Eval || flag != "--print");
    let configured = |flag: &String| flag.starts_with("--config") || flag == "--no-config";
    if let (Mode::Eval, Some(path)) = (arguments.mode, &prepared.configuration)
        && !passed.iter().any(configured)
    {
        passed.push(format!("--config={}", path.display()));
    }
    limit_flags::heap_flag(&settings.limits, &mut passed);
    let line = Line {
        program: modules::program(arguments, &files),
        passed: &passed,
        arguments: &arguments.script_arguments,
        directory: host.current_directory(),
        modules: &prepared.modules,
        idle_code_cache: prepared.idle_code_cache,
        env_missing_undefined: settings.env_missing_undefined,
    };
    // Without the grant the runner refuses the file itself, and names the flag.
    let is_readable = |late: &&Late| {
        let worker = late.local_worker();
        worker.is_none_or(|path| reads.rule(path) == ReadRule::Granted)
    };
    let late = prepared.late.iter().filter(is_readable);
    let hints: Vec<String> = late.map(Late::hint).collect();
    let argv = runner_arguments::build(policy, runner.version, &line)?;
    let (output, error) = host.terminals();
    let counted = settings.limits.get(LimitKind::OutputSize).is_some();
    let registries = &prepared.modules.registries;
    let mut variables =
        runner_arguments::environment(&prepared.deno_dir, registries, output && error && !counted)?;
    notices.extend(prepared.notices.iter().cloned());
    variables.extend(settings.service.variables(host));
    let (env_files, values) = environment_files(policy, settings, host, &mut notices)?;
    let request = plan::Request {
        policy,
        program: Program {
            path: runner.path.clone(),
            stamp: Some(runner.stamp),
            arguments: argv,
            invoked_as: None,
            directory: host.current_directory().to_path_buf(),
        },
        subject: Subject::Runner,
        required: required(arguments, prepared, host)?,
        variables,
        env_files,
        network: &settings.network,
        best_effort: settings.best_effort,
        limits: &settings.limits,
        kept: &settings.service.kept,
        timeout: settings.timeout.as_ref(),
        collected: false,
        attended: !hints.is_empty(),
    };
    let plan = plan::build(&request, &remembered)?;
    notices.extend(arguments.notices.iter().cloned());
    notices.extend(notices_of_registries);
    notices.extend(plan.notices.iter().cloned());
    if settings.best_effort {
        let degraded = plan.gaps.iter().filter(|gap| gap.degraded());
        notices.extend(degraded.map(|gap| gap.what.clone()));
    }
    let environment = environment::resolve(&plan, host, &values);
    Ok(Ready {
        policy_digest: report::digest(settings, policy),
        written: output_file::written(settings, policy, &remembered),
        plan,
        opened: remembered.into_opened(),
        environment,
        warnings: notices,
        hints,
        private: None,
    })
}

/// What the program cannot start without.
fn required(
    arguments: &RunArguments,
    prepared: Prepared,
    host: &RealHost,
) -> Result<Vec<RequiredPath>, Failure> {
    let mut required = prepared.rules;
    for named in arguments
        .settings
        .named_files
        .iter()
        .filter(|named| named.flag == "--cert")
    {
        let origin = Origin::flag(named.flag.as_str(), named.path.to_str());
        let path = host.current_directory().join(&named.path);
        let found = host
            .inspect(&path)
            .map_err(|source| plan::PlanError::OpenGrant {
                origin: origin.clone(),
                path,
                source,
            })?;
        required.push(RequiredPath {
            path: found.real_path,
            kind: found.kind,
            stamp: Some(found.stamp),
            access: Access::READ_FILE,
            origin,
        });
    }
    Ok(required)
}

/// Reads the `--env-file`s; a missing one is a warning, as in Deno.
pub(super) fn environment_files(
    policy: &Policy,
    settings: &Settings,
    host: &RealHost,
    notices: &mut Vec<String>,
) -> Result<(Vec<EnvFile>, Vec<EnvironmentFile>), Failure> {
    let mut contents: Vec<(&Path, Vec<u8>)> = Vec::new();
    for path in &settings.env_files {
        let absolute = host.current_directory().join(path);
        match host.read_file(&absolute, ENV_FILE_LIMIT) {
            Ok(bytes) => contents.push((path, bytes)),
            Err(error) => notices.push(format!(
                "cannot read `--env-file={}`: {error}",
                path.display()
            )),
        }
    }
    let files: Vec<(&Path, &[u8])> = contents
        .iter()
        .map(|(path, bytes)| (*path, bytes.as_slice()))
        .collect();
    let granted = |name: &str| {
        env_verdict(policy, name)
            .allowed()
            .and_then(|_| host.variable(name))
            .map(OsString::from)
    };
    let parsed = env_file::parse_files(&files, &granted)?;
    notices.extend(parsed.notices.iter().map(ToString::to_string));
    let mut names: Vec<EnvFile> = Vec::new();
    let mut values: Vec<EnvironmentFile> = Vec::new();
    for definition in parsed.definitions {
        if !names.iter().any(|file| file.path == definition.path) {
            names.push(EnvFile {
                path: definition.path.clone(),
                names: Vec::new(),
            });
            values.push(EnvironmentFile {
                path: definition.path.clone(),
                values: Vec::new(),
            });
        }
        for (file, value) in names.iter_mut().zip(&mut values) {
            if file.path == definition.path {
                file.names.push(definition.name.clone());
                value
                    .values
                    .push((definition.name.clone(), definition.value.clone()));
            }
        }
    }
    Ok((names, values))
}

/// Paths made for a write grant; removed again when nobody used them.
struct CreatedPaths {
    created: Vec<(PathBuf, files::Status)>,
}

impl CreatedPaths {
    fn create(plan: &Plan) -> Result<Self, Failure> {
        let mut paths = Self {
            created: Vec::new(),
        };
        for path in &plan.filesystem.created {
            let status = files::create_exclusive(&path.path, path.directory).map_err(|source| {
                Failure::Create {
                    path: path.path.clone(),
                    origin: path.origin.to_string(),
                    source,
                }
            })?;
            paths.created.push((path.path.clone(), status));
        }
        Ok(paths)
    }
}

impl Drop for CreatedPaths {
    fn drop(&mut self) {
        for (path, status) in self.created.iter().rev() {
            // Left behind when somebody else changed it meanwhile: that is the point.
            let _ = files::remove_if_untouched(path, status);
        }
    }
}
