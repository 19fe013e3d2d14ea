// SPDX-License-Identifier: MIT
//! From a step to the lines it runs: the shell of each, inside walls, and the siblings beside it.
//!
//! Invariant: a sibling gets no more than stands in its line, and when `stockade task` was given
//! grants, no more than those; every denial and limit of `stockade task` holds for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::argument_error::ArgumentError;
use super::arguments::{self, Invocation, Mode};
use super::deno_flags::Commands;
use super::failure::Failure;
use super::invocation::{Settings, Sources};
use super::sources::{self, judged};
use super::task::TaskFailure;
use super::task_arguments::{SCRIPTS_WORD, TaskArguments, is_flag_of};
use super::task_settings::Given;
use crate::host::leads::{Leads, Led};
use crate::host::{Host, RealHost};
use crate::plan::command::Home;
use crate::policy::compose::{Verdict, env_verdict, union};
use crate::policy::grammar::render_list_item;
use crate::policy::loader_variables::is_loader_variable;
use crate::policy::{Policy, export};
use crate::task::audience::{Excess, Judge};
use crate::task::bounds::{self, Based};
use crate::task::config::Tasks;
use crate::task::line::{self, Line, LineError, Meaning, Misread, Sibling};
use crate::task::order::Step;
use crate::task::serve::{Job, Work};
use crate::task::shell;

/// Variables that every command has anyway.
const KEPT: [&str; 5] = [
    "INIT_CWD",
    "npm_config_user_agent",
    "HOME",
    "PATH",
    "TMPDIR",
];
/// What flags and policies come to.
struct Outer {
    /// What they grant and deny, which bounds siblings.
    policy: Policy,
    /// Flags that siblings get of the policies: denials, limits, and where lookups go.
    handed: Vec<String>,
    /// What the policies set.
    settings: Settings,
}

/// The permission flags with what the policies say.
fn with_policies(arguments: &TaskArguments, host: &RealHost) -> Result<Outer, Failure> {
    let flags = arguments.policy.clone();
    if arguments.policies.is_empty() {
        return Ok(Outer {
            policy: flags,
            handed: Vec::new(),
            settings: Settings::default(),
        });
    }
    let settings = Settings {
        sources: Sources {
            policies: arguments.policies.clone(),
            ..Sources::default()
        },
        ..Settings::default()
    };
    let directory = host.current_directory();
    let read = sources::compose(Policy::default(), settings, directory, None, host)?;
    let settings = &read.settings;
    if settings.network.upstream.proxy.is_some() {
        // Its password would stand in the arguments of a process.
        return Err(TaskFailure::Proxy.into());
    }
    let mut handed = export::denial_flags(&read.policy, &settings.limits);
    for server in &settings.network.upstream.name_servers {
        handed.push(format!("--dns={server}"));
    }
    for (flag, path) in [("audit", &settings.audit), ("runner", &settings.runner)] {
        handed.extend(
            path.iter()
                .map(|path| format!("--{flag}={}", path.display())),
        );
    }
    Ok(Outer {
        policy: union([flags, read.policy]),
        handed,
        settings: read.settings,
    })
}

/// What the words behind `deno` mean.
pub(super) fn understand(words: &[String]) -> Result<Meaning, Misread> {
    let invocation = arguments::parse(words.iter().map(OsString::from)).map_err(|error| {
        let missing = matches!(
            error,
            ArgumentError::MissingScript { .. }
                | ArgumentError::MissingValue { .. }
                | ArgumentError::MissingCommand
        );
        if missing {
            Misread::Incomplete {
                what: error.to_string(),
            }
        } else {
            Misread::Refused {
                why: error.to_string(),
                hint: error.hint(),
            }
        }
    })?;
    let (command, behind) = match &invocation {
        // These read flags behind files, too, so that no word behind an expansion may be one.
        Invocation::Run(run) if matches!(run.mode, Mode::Test | Mode::Check | Mode::Cache) => {
            return Ok(Meaning {
                arguments: words.to_vec(),
                taken: words.len(),
                reads_on: true,
            });
        }
        Invocation::Run(run) => (run.mode.name(), run.script_arguments.len()),
        Invocation::Task(task) if task.name.is_some() => ("task", task.arguments.len()),
        _ => {
            return Err(Misread::Refused {
                why: "a task cannot start this".to_owned(),
                hint: Some("`run`, `serve`, `eval`, `exec`, `test`, `check`, `cache` and `task` can be started".to_owned()),
            });
        }
    };
    let taken = words.len().saturating_sub(behind);
    let mut arguments = words.get(..taken).unwrap_or_default().to_vec();
    // `deno main.ts` is `deno run main.ts`.
    if arguments.first().is_none_or(|first| first != command) {
        arguments.insert(0, command.to_owned());
    }
    Ok(Meaning {
        arguments,
        taken,
        reads_on: false,
    })
}

/// Makes the work of one `stockade task`.
pub(super) struct Preparation<'p> {
    arguments: &'p TaskArguments,
    outer: Outer,
    host: &'p RealHost,
    tasks: &'p Tasks,
    executable: PathBuf,
    /// Where everything led that was granted and named, when nothing had run yet.
    leads: Leads<'p>,
    /// `--cwd`.
    directory: Option<&'p Path>,
}

impl<'p> Preparation<'p> {
    /// `directory` is that of `--cwd`, where lines run instead of their task's own.
    ///
    /// # Errors
    /// [`Failure`]: a policy cannot be read, or cannot be handed on.
    pub(super) fn new(
        arguments: &'p TaskArguments,
        host: &'p RealHost,
        tasks: &'p Tasks,
        directory: Option<&'p Path>,
    ) -> Result<Self, Failure> {
        let outer = with_policies(arguments, host)?;
        let leads = Leads::new(host);
        let directory_of_paths = Some(host.current_directory());
        let bound = Based {
            policy: &outer.policy,
            directory: directory_of_paths,
            leads: &leads,
        };
        bound.look_at_all();
        for settings in [&arguments.given, &outer.settings] {
            for (_, path) in settings.read_files().chain(settings.written_files()) {
                bounds::lead_from(&leads, directory_of_paths, path);
            }
        }
        leads.of(&tasks.root);
        judged::compare(&leads.found(), host)?;
        Ok(Self {
            arguments,
            outer,
            leads,
            host,
            tasks,
            executable: std::env::current_exe().map_err(TaskFailure::Executable)?,
            directory,
        })
    }

    pub(super) fn job(&self, step: &Step<'_>, last: bool) -> Result<Job, TaskFailure> {
        let arguments: &[String] = if last { &self.arguments.arguments } else { &[] };
        let lines = step.lines.iter();
        let works: Result<Vec<Work>, TaskFailure> = lines
            .map(|(name, text)| {
                let own = if *name == step.name { arguments } else { &[] };
                self.work(name, &line::with_arguments(text, own), step.directory)
            })
            .collect();
        Ok(Job {
            name: step.name.to_owned(),
            dependencies: step.dependencies.clone(),
            lines: works?,
        })
    }

    fn work(&self, name: &str, text: &str, directory: &Path) -> Result<Work, TaskFailure> {
        let line = Line::parse(text, &understand).map_err(|source| TaskFailure::Line {
            task: name.to_owned(),
            source,
        })?;
        let directory = self.directory.unwrap_or(directory);
        self.bound(name, &line, directory)?;
        let variables = self.variables();
        let mut shell_variables = with_path(&variables, &self.tasks.root, directory);
        shell_variables.extend([self.held_to(Led::new())?]);
        Ok(Work {
            name: name.to_owned(),
            shell: self.shell(&line, directory),
            directory: directory.to_owned(),
            root: self.tasks.root.clone(),
            shell_variables,
            siblings: line.siblings.iter().map(|one| self.sibling(one)).collect(),
            variables,
            line,
        })
    }

    /// A sibling's own arguments with what every sibling gets, behind the name of its command.
    fn sibling(&self, sibling: &Sibling) -> Vec<String> {
        let directory = self.host.current_directory();
        let mut words = sibling.meaning.arguments.iter().cloned();
        let mut name = words.next().unwrap_or_default();
        if sibling.runner == "npm" {
            SCRIPTS_WORD.clone_into(&mut name);
        }
        let of = |commands| {
            let mut flags = self.arguments.flags_of_siblings(commands, directory);
            let handed = self.outer.handed.iter();
            flags.extend(handed.filter(|flag| is_flag_of(commands, flag)).cloned());
            flags
        };
        let flags = match name.as_str() {
            "task" | SCRIPTS_WORD => self.arguments.flags_of_tasks(directory),
            "exec" => of(Commands::EXEC),
            "check" => of(Commands::CHECK),
            "cache" => of(Commands::CACHE),
            _ => of(Commands::RUN),
        };
        std::iter::once(name).chain(flags).chain(words).collect()
    }

    /// The flags of `stockade task` are a ceiling for those of the line.
    fn bound(&self, name: &str, line: &Line, directory: &Path) -> Result<(), TaskFailure> {
        let from = (!line.changes_directory).then_some(directory);
        line.siblings
            .iter()
            .try_for_each(|sibling| self.bound_one(name, sibling, from).map(drop))
    }

    /// Without a grant there is no ceiling. `from` is where the sibling runs, when that is known. Says
    /// where the paths of the sibling lead.
    fn bound_one(
        &self,
        name: &str,
        sibling: &Sibling,
        from: Option<&Path>,
    ) -> Result<Led, TaskFailure> {
        let outer = &self.outer;
        if !bounds::grants(&outer.policy) {
            return Ok(Led::new());
        }
        let current = self.host.current_directory();
        let given = Given {
            policy: &outer.policy,
            settings: [&self.arguments.given, &outer.settings],
            directory: current,
            project: &self.tasks.root,
            holds_home: Home::find(self.host).is_in(&self.tasks.root),
            leads: &self.leads,
        };
        let leads = Leads::new(self.host);
        let (task, command) = (name.to_owned(), shown(sibling));
        let words = sibling.meaning.arguments.iter().map(OsString::from);
        let unread = |why, hint| TaskFailure::Line {
            task: task.clone(),
            source: LineError::Sibling {
                command: command.clone(),
                why,
                hint,
            },
        };
        let invocation =
            arguments::parse(words).map_err(|error| unread(error.to_string(), error.hint()))?;
        let (policy, has_sources): (&Policy, bool) = match &invocation {
            Invocation::Run(run) => (&run.policy, run.settings.sources.any()),
            Invocation::Task(task) => (&task.policy, !task.policies.is_empty()),
            _ => return Err(unread("a task cannot start this".to_owned(), None)),
        };
        if has_sources {
            return Err(TaskFailure::Unbounded { task, command });
        }
        let inner = Based {
            policy,
            directory: from,
            leads: &leads,
        };
        // All of them, to hand them over.
        inner.look_at_all();
        let bound = Based {
            policy: &outer.policy,
            directory: Some(current),
            leads: &self.leads,
        };
        if let Some(grant) = bounds::outside(inner, bound) {
            return Err(TaskFailure::Outside {
                task,
                command,
                grant: grant.clone(),
            });
        }
        let judged = match &invocation {
            Invocation::Run(run) => given.judge_run(run, from, &leads),
            Invocation::Task(task) => given.judge_task(task, from, &leads),
            _ => Ok(()),
        };
        judged.map_err(|excess| TaskFailure::Setting {
            task,
            command,
            excess: Box::new(excess),
        })?;
        Ok(leads.found())
    }

    /// What a Stockade that is started is held to, as a variable: what bounds the task, and `own`. The
    /// same path led to one place only, or its own was refused.
    fn held_to(&self, own: Led) -> Result<(OsString, OsString), TaskFailure> {
        let mut led = self.leads.found();
        led.extend(own);
        let value = judged::written(&led).map_err(TaskFailure::PathText)?;
        Ok((judged::VARIABLE.into(), value))
    }

    /// The caller's environment and what npm and Deno add to it.
    fn variables(&self) -> BTreeMap<OsString, OsString> {
        let mut variables: BTreeMap<OsString, OsString> =
            self.host.environment().iter().cloned().collect();
        variables
            .entry("INIT_CWD".into())
            .or_insert_with(|| self.host.current_directory().into());
        variables
            .entry("npm_config_user_agent".into())
            .or_insert_with(|| {
                format!("stockade/{} npm/? linux", env!("CARGO_PKG_VERSION")).into()
            });
        variables
    }

    /// The Stockade that runs the shell of a line: it may read the project, start what the line names,
    /// and see the variables that it names; the flags of `stockade task` add to that.
    fn shell(&self, line: &Line, directory: &Path) -> Vec<OsString> {
        let policy = &self.outer.policy;
        let mut words: Vec<String> = vec!["exec".to_owned()];
        words.extend(self.arguments.flags_of_shell(self.host.current_directory()));
        if policy.all.is_none() {
            // A project that holds the user's home holds more than the project.
            if !Home::find(self.host).is_in(&self.tasks.root) {
                let root = self.tasks.root.to_string_lossy();
                words.push(format!("--allow-read={}", render_list_item(&root)));
            }
            let programs = self.programs(line, directory);
            if policy.run.allow.all.is_none() {
                if programs.is_empty() && policy.run.allow.entries.is_empty() {
                    words.push("--deny-run".to_owned());
                } else if !programs.is_empty() {
                    words.push(format!("--allow-run={}", programs.join(",")));
                }
            }
            let names = self.names(line);
            if !names.is_empty() {
                words.push(format!("--allow-env={}", names.join(",")));
            }
        }
        words.push("--".to_owned());
        let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        words.push(self.executable.clone().into());
        words.push(shell::WORD.into());
        words.push(line.text.clone().into());
        words
    }

    /// The programs that a line names and this machine has, as items of a list.
    fn programs(&self, line: &Line, directory: &Path) -> Vec<String> {
        let path = with_path(&self.variables(), &self.tasks.root, directory);
        let path = path
            .get(&OsString::from("PATH"))
            .cloned()
            .unwrap_or_default();
        let found = |name: &str| -> Option<PathBuf> {
            let is_file = |path: &PathBuf| {
                let found = self.host.inspect(path);
                found.is_ok_and(|found| found.mode & 0o111 != 0)
            };
            if name.contains('/') {
                return Some(directory.join(name)).filter(is_file);
            }
            std::env::split_paths(&path)
                .filter(|directory| directory.is_absolute())
                .map(|directory| directory.join(name))
                .find(is_file)
        };
        line.programs
            .iter()
            .filter_map(|name| found(name))
            .map(|path| render_list_item(&path.to_string_lossy()))
            .collect()
    }

    /// The variables that a line names and the caller has; what a program loads code by only passes
    /// when a flag names it.
    fn names(&self, line: &Line) -> Vec<String> {
        let policy = &self.outer.policy;
        let denied = |name: &str| {
            let verdict = env_verdict(policy, name);
            matches!(verdict, Verdict::Denied(_) | Verdict::Ignored(_))
        };
        let named = line.variables.iter().map(String::as_str);
        // Flags that name variables say which a line may see.
        let files = self.arguments.reads_variables();
        let named = named.filter(|name| {
            policy.env.allow.is_empty()
                && (files || self.host.variable(name).is_some())
                && !is_loader_variable(name)
                && !KEPT.contains(name)
        });
        named
            .filter(|name| !denied(name))
            .map(str::to_owned)
            .collect()
    }
}

impl Judge for Preparation<'_> {
    fn judge(
        &self,
        task: &str,
        sibling: &Sibling,
        directory: &Path,
    ) -> Result<(OsString, OsString), Excess> {
        let judged = self.bound_one(task, sibling, Some(directory));
        let held = judged.and_then(|own| self.held_to(own));
        held.map_err(|failure| Excess {
            why: failure.to_string(),
            hint: failure.hint(),
        })
    }
}

fn shown(sibling: &Sibling) -> String {
    format!("{} {}", sibling.runner, sibling.words.join(" "))
}

/// The environment of a shell: programs of the project's packages come first in PATH.
fn with_path(
    variables: &BTreeMap<OsString, OsString>,
    root: &Path,
    directory: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut variables = variables.clone();
    let mut path = OsString::new();
    for above in directory
        .ancestors()
        .take_while(|above| above.starts_with(root))
    {
        let programs = above.join("node_modules/.bin");
        if programs.is_dir() {
            path.push(programs);
            path.push(":");
        }
    }
    if let Some(callers) = variables.get(&OsString::from("PATH")) {
        path.push(callers);
    }
    if !path.is_empty() {
        variables.insert("PATH".into(), path);
    }
    variables
}
