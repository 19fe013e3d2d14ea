// SPDX-License-Identifier: MIT
//! `stockade task`: from a name to command lines, and from each to a shell inside walls with its
//! siblings beside it.
//!
//! Invariant: every line of every task that will run has been read and judged before the first one
//! starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::argument_error::ArgumentError;
use super::arguments::{self, Invocation, Mode};
use super::deno_flags::Commands;
use super::failure::Failure;
use super::render;
use super::run::Status;
use super::task_arguments::{SCRIPTS_WORD, TaskArguments};
use super::task_listing::{known, listing, printable, shell_words};
use crate::host::{Host, RealHost};
use crate::plan::command::Home;
use crate::policy::compose::{Verdict, env_verdict};
use crate::policy::grammar::render_list_item;
use crate::policy::loader_variables::is_loader_variable;
use crate::policy::{Origin, Policy};
use crate::task::bounds::{self, Based};
use crate::task::config::{self, Tasks, TasksError};
use crate::task::line::{self, Line, LineError, Meaning, Misread, Sibling};
use crate::task::order::{self, OrderError, Step};
use crate::task::serve::{self, Audience, Ended, Job, ServeError, Stream, Work};
use crate::task::shell::{self, ShellError};

/// Variables that a shell has anyway: the first two are made for it, the others are its own.
const KEPT: [&str; 5] = [
    "INIT_CWD",
    "npm_config_user_agent",
    "HOME",
    "PATH",
    "TMPDIR",
];

/// Why no task ran.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskFailure {
    #[error(transparent)]
    Tasks(#[from] TasksError),
    #[error("{source}")]
    Order {
        #[source]
        source: OrderError,
        listing: String,
    },
    #[error("the task `{task}` cannot run")]
    Line {
        task: String,
        #[source]
        source: LineError,
    },
    #[error(
        "the task `{task}` starts `{command}`, and `{grant}` is more than `stockade task` was given"
    )]
    Outside {
        task: String,
        command: String,
        grant: Origin,
    },
    #[error(
        "the task `{task}` starts `{command}`, which takes permissions from a file, and flags of `stockade task` bound them: not yet"
    )]
    Unbounded { task: String, command: String },
    #[error("cannot open `{path}`, named by `--cwd`")]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error("the path of this executable cannot be told")]
    Executable(#[source] io::Error),
}

impl TaskFailure {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Tasks(error) => error.hint(),
            Self::Order { listing, .. } => Some(listing.clone()),
            Self::Line { source, .. } => source.hint(),
            Self::Unbounded { .. } => Some("leave out the flags of `stockade task`".to_owned()),
            Self::Outside { grant, .. } => Some(format!(
                "flags of `stockade task` bound what its lines may grant: add `{grant}`, or leave all flags out"
            )),
            _ => None,
        }
    }
}

/// Runs tasks, or lists them when none is named.
///
/// # Errors
/// [`Failure`]: nothing was started.
pub(super) fn run(arguments: &TaskArguments) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    let Some(jobs) = jobs(arguments, &host)? else {
        return Ok(Status::Code(0));
    };
    let at_once = arguments.jobs.or_else(|| {
        let set = host.variable("DENO_JOBS")?.to_str()?.parse().ok();
        set.or_else(|| thread::available_parallelism().ok())
    });
    let at_once = at_once.map_or(2, NonZeroUsize::get);
    let mut terminal = Terminal {
        coloured: host.terminals().1 && host.variable("NO_COLOR").is_none(),
    };
    let ended = serve::serve(&jobs, at_once, arguments.prefixed, &mut terminal)
        .map_err(TaskFailure::Serve)?;
    Ok(match ended {
        Ended::Code(code) => Status::Code(code),
        Ended::Signal(signal) => Status::Signal(signal),
    })
}

/// The shell of one line, inside the walls.
///
/// # Errors
/// [`Failure`]: nothing was executed.
pub(super) fn shell(text: &str) -> Result<Status, Failure> {
    let code = shell::execute(text, &RealHost::new()?, &understand).map_err(TaskFailure::Shell)?;
    Ok(Status::Code(code.to_le_bytes()[0]))
}

/// `explain task`: what would start, as command lines that `explain` takes.
///
/// # Errors
/// [`Failure`].
pub(super) fn explained(arguments: &TaskArguments, host: &RealHost) -> Result<String, Failure> {
    let mut text = String::new();
    for job in jobs(arguments, host)?.unwrap_or_default() {
        if job.lines.is_empty() {
            text.push_str(&format!("task {}\n  only what it depends on\n", job.name));
        }
        for work in &job.lines {
            let inside = work.shell.iter().map(|word| word.to_string_lossy());
            text.push_str(&format!(
                "task {} in {}\n  line     {}\n  inside   stockade {}\n",
                work.name,
                work.directory.display(),
                work.line.text,
                shell_words(inside)
            ));
            for sibling in &work.siblings {
                text.push_str(&format!(
                    "  beside   stockade {}\n",
                    shell_words(sibling.iter())
                ));
            }
        }
    }
    Ok(text)
}

/// What the tasks come to; none when they were only listed.
fn jobs(arguments: &TaskArguments, host: &RealHost) -> Result<Option<Vec<Job>>, Failure> {
    let directory = match &arguments.directory {
        Some(path) => {
            let asked = host.current_directory().join(path);
            let found = host.inspect(&asked);
            let found = found.map_err(|source| TaskFailure::Directory {
                path: path.clone(),
                source,
            })?;
            found.real_path
        }
        None => host.current_directory().to_path_buf(),
    };
    let mut tasks =
        config::find(host, &directory, arguments.config.as_deref()).map_err(TaskFailure::Tasks)?;
    if arguments.only_scripts {
        tasks = tasks.only_scripts();
    }
    let Some(name) = &arguments.name else {
        super::print(&listing(&tasks))?;
        return Ok(None);
    };
    let steps = match order::steps(&tasks, name) {
        Ok(steps) => steps,
        Err(OrderError::NotFound {
            dependent: None, ..
        }) if arguments.if_present => {
            return Ok(None);
        }
        Err(source) => {
            let listing = match &source {
                OrderError::NotFound { .. } => known(&tasks),
                OrderError::Cycle { .. } => "remove one of the dependencies".to_owned(),
            };
            return Err(TaskFailure::Order { source, listing }.into());
        }
    };
    let preparation = Preparation {
        arguments,
        host,
        tasks: &tasks,
        executable: std::env::current_exe().map_err(TaskFailure::Executable)?,
        directory: arguments.directory.is_some().then_some(directory.as_path()),
    };
    let last = steps.len().saturating_sub(1);
    let jobs: Result<Vec<Job>, TaskFailure> = (0..)
        .zip(&steps)
        .map(|(position, step)| preparation.job(step, position == last))
        .collect();
    Ok(Some(jobs?))
}

/// What the words behind `deno` mean.
fn understand(words: &[String]) -> Result<Meaning, Misread> {
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

struct Preparation<'p> {
    arguments: &'p TaskArguments,
    host: &'p RealHost,
    tasks: &'p Tasks,
    executable: PathBuf,
    /// `--cwd`.
    directory: Option<&'p Path>,
}

impl Preparation<'_> {
    fn job(&self, step: &Step<'_>, last: bool) -> Result<Job, TaskFailure> {
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
        Ok(Work {
            name: name.to_owned(),
            shell: self.shell(&line, directory),
            directory: directory.to_owned(),
            root: self.tasks.root.clone(),
            shell_variables: with_path(&variables, &self.tasks.root, directory),
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
        let flags = match name.as_str() {
            "task" | SCRIPTS_WORD => self.arguments.flags_of_tasks(directory),
            "exec" => self.arguments.flags_of_siblings(Commands::EXEC, directory),
            "check" => self.arguments.flags_of_siblings(Commands::CHECK, directory),
            "cache" => self.arguments.flags_of_siblings(Commands::CACHE, directory),
            _ => self.arguments.flags_of_siblings(Commands::RUN, directory),
        };
        std::iter::once(name).chain(flags).chain(words).collect()
    }

    /// The flags of `stockade task` are a ceiling for those of the line, when they grant anything.
    fn bound(&self, name: &str, line: &Line, directory: &Path) -> Result<(), TaskFailure> {
        let outer = &self.arguments.policy;
        if !bounds::grants(outer) {
            return Ok(());
        }
        for sibling in &line.siblings {
            let words = sibling.meaning.arguments.iter().map(OsString::from);
            let Ok(invocation) = arguments::parse(words) else {
                continue;
            };
            if let Invocation::Run(run) = &invocation
                && run.settings.sources.any()
            {
                return Err(TaskFailure::Unbounded {
                    task: name.to_owned(),
                    command: shown(sibling),
                });
            }
            let policy: &Policy = match &invocation {
                Invocation::Run(run) => &run.policy,
                Invocation::Task(task) => &task.policy,
                _ => continue,
            };
            let inner = Based {
                policy,
                directory: (!line.changes_directory).then_some(directory),
            };
            let outer = Based {
                policy: outer,
                directory: Some(self.host.current_directory()),
            };
            if let Some(grant) = bounds::outside(inner, outer, self.host) {
                return Err(TaskFailure::Outside {
                    task: name.to_owned(),
                    command: shown(sibling),
                    grant: grant.clone(),
                });
            }
        }
        Ok(())
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
        let policy = &self.arguments.policy;
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
        let policy = &self.arguments.policy;
        let denied = |name: &str| {
            let verdict = env_verdict(policy, name);
            matches!(verdict, Verdict::Denied(_) | Verdict::Ignored(_))
        };
        let named = line.variables.iter().map(String::as_str);
        // Flags that name variables say which a line may see.
        let named = named.filter(|name| {
            policy.env.allow.is_empty()
                && self.host.variable(name).is_some()
                && !is_loader_variable(name)
                && !KEPT.contains(name)
        });
        KEPT.into_iter()
            .take(2)
            .chain(named)
            .filter(|name| !denied(name))
            .map(str::to_owned)
            .collect()
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

/// Tells people what happens.
struct Terminal {
    coloured: bool,
}

impl Audience for Terminal {
    fn started(&mut self, name: &str, line: Option<&str>) {
        let (name, line) = (printable(name), printable(line.unwrap_or("(no command)")));
        if self.coloured {
            render::line(&format!("\x1b[32mTask\x1b[0m \x1b[36m{name}\x1b[0m {line}"));
        } else {
            render::line(&format!("Task {name} {line}"));
        }
    }

    fn output(&mut self, name: &str, stream: Stream, bytes: &[u8]) {
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(format!("[{}] ", printable(name)).as_bytes());
            text.extend_from_slice(line);
        }
        // A reader that has left is no failure.
        let _ = match stream {
            Stream::Output => io::stdout()
                .lock()
                .write_all(&text)
                .and_then(|()| io::stdout().flush()),
            Stream::Error => io::stderr().write_all(&text),
        };
    }

    fn warned(&mut self, text: &str) {
        render::warning(text);
    }
}
