// SPDX-License-Identifier: MIT
//! `exec`: from a command and a policy to a Plan, without the runner.
//!
//! Invariant: what a command gets without a grant is decided here and in `policies/exec.yaml` alone,
//! and every bit of it carries the origin `exec`, so that `explain` shows it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::environment;
use super::failure::Failure;
use super::invocation::Settings;
use super::output_file;
use super::registries;
use super::report;
use super::run::{Ready, environment_files};
use super::sources::ceilings;
use crate::host::{Host, RealHost, Remembered};
use crate::launch::{PrivateDirectory, private};
use crate::plan::command::{self, CommandError, Home, Resolved};
use crate::plan::{self, Plan, PlanError, Program, Subject, Variable, VariableSource};
use crate::policy::compose::{Verdict, env_verdict};
use crate::policy::own_variables::{CERTIFICATES, RUSTUP_HOME};
use crate::policy::{Entry, Origin, PathDescriptor, Policy};
use crate::sys::{attributes, files};

/// The home of a command that has none of its own, as for a program of the runner.
const NO_HOME: &str = "/nonexistent";

/// A command to confine.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// A name to look up in PATH, or a path.
    pub name: &'a str,
    /// What follows it.
    pub arguments: &'a [String],
    /// What is granted and denied beside the defaults.
    pub policy: &'a Policy,
    /// Stockade's own settings.
    pub settings: &'a Settings,
}

/// Whether a Plan is made to be run or to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The run's own directory is made.
    Run,
    /// It is only named.
    Explain,
}

/// Plans one command.
///
/// # Errors
/// [`Failure`]; nothing was started. [`Failure::Command`] when there is no such command.
pub(super) fn ready(
    command: &Command<'_>,
    purpose: Purpose,
    host: &RealHost,
) -> Result<Ready, Failure> {
    let settings = command.settings;
    plan::check_kernel(settings.best_effort, host)?;
    let Resolved {
        path,
        real,
        invoked_as,
    } = command::resolve(host, command.name)?;
    let mut notices: Vec<String> = privileged(&real.real_path, real.mode).into_iter().collect();
    let mut asked = command.policy.clone();
    let mut network = settings.network.clone();
    let registries =
        registries::resolve(&settings.registries, &mut asked, &mut network.private, host)?;
    notices.extend(registries.notices);
    let home = Home::find(host);
    let defaults = Defaults::find(&asked, &home, host);
    let policy = defaults.policy(&asked, host, &mut notices);
    let bounded = Settings {
        network: network.clone(),
        ..settings.clone()
    };
    let policy = ceilings::judge_defaults(policy, &bounded, host, &mut notices)?;
    let private = match wants_private(command.policy) {
        true => Some(Private::new(purpose, host)?),
        false => None,
    };
    if let Some(made) = private.as_ref().and_then(|one| one.made.as_ref()) {
        for (name, content) in &registries.files {
            made.write(name, content)
                .map_err(|source| Failure::Private {
                    path: made.path().to_path_buf(),
                    source,
                })?;
        }
    }
    let (env_files, values) = environment_files(&policy, settings, host, &mut notices)?;
    let mut variables = defaults.variables(&policy, private.as_ref(), host);
    variables.extend(settings.service.variables(host));
    let own = |name: &str| {
        env_verdict(&policy, name).allowed().is_some() && host.variable(name).is_some()
    };
    for (name, value) in registries.variables {
        if !own(&name) && !is_denied(&policy, &name) {
            variables.push(Variable {
                name,
                source: VariableSource::Set(value),
                origin: exec(
                    "the registry its configuration names, whatever files of the project say",
                ),
            });
        }
    }
    let mut argv = vec![command.name.to_owned()];
    argv.extend(command.arguments.iter().cloned());
    let request = plan::Request {
        policy: &policy,
        program: Program {
            path: real.real_path,
            stamp: None,
            arguments: argv,
            invoked_as: Some(invoked_as),
            directory: host.current_directory().to_path_buf(),
        },
        subject: Subject::Command {
            path,
            search: command::search_path(host, &home),
            private: private.as_ref().map(|one| one.path.clone()),
        },
        required: Vec::new(),
        variables,
        env_files,
        network: &network,
        best_effort: settings.best_effort,
        limits: &settings.limits,
        kept: &settings.service.kept,
        timeout: settings.timeout.as_ref(),
        collected: false,
        attended: false,
    };
    let remembered = Remembered::new(host, policy.read.allow.entries.len());
    let plan = plan::build(&request, &remembered).map_err(not_executable)?;
    notices.extend(plan.notices.iter().cloned());
    if settings.best_effort {
        let degraded = plan.gaps.iter().filter(|gap| gap.degraded());
        notices.extend(degraded.map(|gap| gap.what.clone()));
    }
    let environment = environment::resolve(&plan, host, &values);
    Ok(Ready {
        policy_digest: report::digest(settings, &policy),
        written: output_file::written(settings, &policy, &remembered),
        plan,
        opened: remembered.into_opened(),
        environment,
        warnings: notices,
        hints: Vec::new(),
        private: private.and_then(|one| one.made),
    })
}

/// The directory of one run: its path, and itself when it was made.
struct Private {
    path: PathBuf,
    made: Option<PrivateDirectory>,
}

impl Private {
    fn new(purpose: Purpose, host: &RealHost) -> Result<Self, Failure> {
        let parent = host
            .variable("TMPDIR")
            .map(Path::new)
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| Path::new("/tmp"));
        let failed = |source| Failure::Private {
            path: parent.to_path_buf(),
            source,
        };
        let parent = host.inspect(parent).map_err(failed)?.real_path;
        if purpose == Purpose::Explain {
            return Ok(Self {
                path: parent.join(format!("{}XXXXXX", private::PREFIX)),
                made: None,
            });
        }
        let made = PrivateDirectory::create(&parent).map_err(failed)?;
        Ok(Self {
            path: made.path().to_path_buf(),
            made: Some(made),
        })
    }
}

/// A program that may write nothing at all has no directory of its own either; one that may do
/// everything has its user's.
fn wants_private(policy: &Policy) -> bool {
    policy.all.is_none() && policy.write.deny.all.is_none()
}

/// What a command gets without asking, as far as this machine has it.
struct Defaults {
    /// The working directory; none where it is not granted because of what it is.
    directory: Option<PathBuf>,
    /// Where rustup keeps the toolchains, when its programs are in PATH.
    toolchains: Option<PathBuf>,
    /// Variables that name certificate authorities, and what they name.
    certificates: Vec<(&'static str, PathBuf)>,
}

impl Defaults {
    fn find(policy: &Policy, home: &Home, host: &RealHost) -> Self {
        let is_free = |path: &Path| match host.inspect(path) {
            Ok(found) => !home.is_in(&found.real_path),
            Err(_) => false,
        };
        let directory = host.current_directory();
        let mut toolchains = None;
        if policy.all.is_none() && command::is_in_path(host, "rustup") {
            let named = host.variable(RUSTUP_HOME).map(PathBuf::from);
            let usual = || Some(Path::new(host.variable("HOME")?).join(".rustup"));
            toolchains = named.or_else(usual).filter(|path| is_free(path));
        }
        let mut certificates = Vec::new();
        if policy.all.is_none() && !policy.net.allow.is_empty() {
            let named = CERTIFICATES
                .into_iter()
                .filter_map(|name| Some((name, PathBuf::from(host.variable(name)?))));
            certificates.extend(named.filter(|(_, path)| path.is_absolute() && is_free(path)));
        }
        Self {
            directory: (!home.is_in(directory)).then(|| directory.to_path_buf()),
            toolchains,
            certificates,
        }
    }

    /// The policy with these as grants of their own.
    fn policy(&self, asked: &Policy, host: &RealHost, notices: &mut Vec<String>) -> Policy {
        let mut policy = asked.clone();
        if policy.all.is_some() {
            return policy;
        }
        let mut read = |path: &Path, reason: Cow<'static, str>| {
            policy
                .read
                .allow
                .entries
                .push(path_entry(path, exec(reason)));
        };
        match &self.directory {
            Some(directory) => read(directory, "the working directory".into()),
            None if asked.read.allow.is_empty() => notices.push(format!(
                "`{}` holds your home directory, so it is not granted by itself; `--allow-read=.` \
                 grants it",
                host.current_directory().display()
            )),
            None => {}
        }
        if let Some(toolchains) = &self.toolchains {
            read(
                toolchains,
                "toolchains that the programs of rustup start".into(),
            );
        }
        for (name, path) in &self.certificates {
            read(
                path,
                format!("certificate authorities that {name} names").into(),
            );
        }
        if policy.run.allow.is_empty() && policy.run.deny.all.is_none() {
            policy.run.allow.all = Some(exec(
                "a command starts programs of the system and of what it may read",
            ));
        }
        policy
    }

    /// Where home, temporary files and toolchains are, and which certificate authorities count.
    fn variables(
        &self,
        policy: &Policy,
        private: Option<&Private>,
        host: &RealHost,
    ) -> Vec<Variable> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: String, reason: &'static str| {
            let granted = env_verdict(policy, name).allowed().is_some();
            // What the user names is the user's own.
            let own = granted && host.variable(name).is_some();
            if !is_denied(policy, name) && !own {
                variables.push(Variable {
                    name: name.to_owned(),
                    source: VariableSource::Set(value),
                    origin: exec(reason),
                });
            }
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match private {
            Some(private) => {
                let home = private.path.join(private::HOME);
                set("HOME", text(&home), "an empty home, of this run alone");
                let temporary = private.path.join(private::TEMPORARY);
                set(
                    "TMPDIR",
                    text(&temporary),
                    "temporary files, of this run alone",
                );
            }
            None if policy.all.is_none() => {
                let reason = "nothing may be written, so there is no home";
                set("HOME", NO_HOME.to_owned(), reason);
            }
            None => {}
        }
        if let Some(toolchains) = &self.toolchains {
            let reason = "where the programs of rustup find the toolchains";
            set(RUSTUP_HOME, text(toolchains), reason);
        }
        for (name, path) in &self.certificates {
            let reason = "which certificate authorities the caller trusts";
            set(name, text(path), reason);
        }
        variables
    }
}

fn exec(reason: impl Into<Cow<'static, str>>) -> Origin {
    Origin::Exec {
        reason: reason.into(),
    }
}

fn is_denied(policy: &Policy, name: &str) -> bool {
    matches!(
        env_verdict(policy, name),
        Verdict::Denied(_) | Verdict::Ignored(_)
    )
}

fn path_entry(path: &Path, origin: Origin) -> Entry<PathDescriptor> {
    Entry {
        descriptor: PathDescriptor {
            path: path.to_path_buf(),
            trailing_slash: false,
            within: None,
            judged: None,
            optional: false,
        },
        text: path.to_string_lossy().into_owned(),
        origin,
    }
}

/// A program that would get privileges from its file: it gets none in here.
fn privileged(path: &Path, mode: u32) -> Option<String> {
    let capabilities = || {
        files::open_path(path)
            .is_ok_and(|opened| attributes::has_attribute(opened.as_fd(), c"security.capability"))
    };
    let what = match mode & 0o6000 {
        0 if capabilities() => "has file capabilities",
        0 => return None,
        0o2000 => "is set-group-id",
        _ => "is set-user-id",
    };
    Some(format!(
        "`{}` {what}, which gives it nothing here: no program of a run gets privileges",
        path.display()
    ))
}

/// How many words of a command are looked up after it failed.
const MOST_WORDS: usize = 200;

/// What is known of programs that a command names in its words, such as `sh -c 'sudo true'`: whether
/// they were started nobody sees, so this is for the end of a run that failed.
pub(super) fn named_privileged(plan: &Plan, host: &RealHost) -> Vec<String> {
    let is_of_word =
        |character: char| character.is_ascii_alphanumeric() || "_-+./".contains(character);
    let arguments = plan.program.arguments.iter().skip(1);
    let words: BTreeSet<&str> = arguments
        .flat_map(|argument| argument.split(|character| !is_of_word(character)))
        .filter(|word| !word.is_empty() && !word.starts_with('-'))
        .take(MOST_WORDS)
        .collect();
    let told = words.into_iter().filter_map(|word| {
        let real = command::resolve(host, word).ok()?.real;
        let what = privileged(&real.real_path, real.mode)?;
        Some(format!("the command names `{word}`: {what}"))
    });
    told.collect()
}

/// The command itself cannot be executed: an answer of its own, with the exit code of shells.
fn not_executable(error: PlanError) -> Failure {
    match error {
        PlanError::Executable {
            origin: Origin::Exec { .. },
            path,
            why,
        } => CommandError::NotExecutable { path, why }.into(),
        PlanError::ReadProgram {
            origin: Origin::Exec { .. },
            path,
            source,
        } => CommandError::NotExecutable {
            path,
            why: format!("it cannot be read: {source}"),
        }
        .into(),
        other => other.into(),
    }
}
