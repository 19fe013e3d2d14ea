// SPDX-License-Identifier: MIT
//! `stockade task`: from a name to command lines, and from each to a shell inside walls with its
//! siblings beside it.
//!
//! Invariant: every line of every task that will run has been read and judged before the first one
//! starts.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use super::failure::Failure;
use super::render;
use super::run::Status;
use super::task_arguments::TaskArguments;
use super::task_listing::{known, listing, printable, shell_words};
use super::task_settings::Excess;
use super::task_work::{Preparation, understand};
use crate::host::{Host, RealHost};
use crate::policy::Origin;
use crate::task::audience::{Audience, Stream};
use crate::task::config::{self, Tasks, TasksError};
use crate::task::line::LineError;
use crate::task::order::{self, OrderError, Step};
use crate::task::serve::{self, Ended, Job, ServeError};
use crate::task::shell::{self, ShellError};

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
    #[error(
        "the task `{task}` starts `{command}`, and `{setting}` is more than `stockade task` was given", setting = excess.setting
    )]
    Setting {
        task: String,
        command: String,
        excess: Box<Excess>,
    },
    #[error("`{0:?}` is not UTF-8, and cannot be handed to what a task starts")]
    PathText(PathBuf),
    #[error("a policy of `stockade task` names a proxy: not yet")]
    Proxy,
    #[error("`--eval` needs a command line")]
    NothingToEvaluate,
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
                "flags and policies of `stockade task` bound what its lines may grant: add `{grant}`, or leave them all out"
            )),
            Self::Setting { excess, .. } => Some(excess.hint()),
            Self::Proxy => Some("give the policy to the command in the line instead".to_owned()),
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
    let found = Found::new(arguments, &host)?;
    let Some((jobs, preparation)) = jobs(arguments, &host, &found)? else {
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
    let ended = serve::serve(
        &jobs,
        at_once,
        arguments.prefixed,
        &preparation,
        &mut terminal,
    )
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
    let found = Found::new(arguments, host)?;
    let jobs = jobs(arguments, host, &found)?.map(|(jobs, _)| jobs);
    for job in jobs.unwrap_or_default() {
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

/// The tasks, and the directory they were looked for from.
struct Found {
    tasks: Tasks,
    directory: PathBuf,
}

impl Found {
    fn new(arguments: &TaskArguments, host: &RealHost) -> Result<Self, TaskFailure> {
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
        let mut tasks = match config::find(host, &directory, arguments.config.as_deref()) {
            // A command line of its own needs no project.
            Err(TasksError::NoConfiguration { .. }) if arguments.eval => Tasks {
                folders: Vec::new(),
                root: directory.clone(),
            },
            found => found.map_err(TaskFailure::Tasks)?,
        };
        if arguments.only_scripts {
            tasks = tasks.only_scripts();
        }
        Ok(Self { tasks, directory })
    }
}

/// What the tasks come to, with what judges them again; none when they were only listed.
fn jobs<'p>(
    arguments: &'p TaskArguments,
    host: &'p RealHost,
    found: &'p Found,
) -> Result<Option<(Vec<Job>, Preparation<'p>)>, Failure> {
    let Found { tasks, directory } = found;
    let Some(name) = &arguments.name else {
        if arguments.eval {
            return Err(TaskFailure::NothingToEvaluate.into());
        }
        super::print(&listing(tasks))?;
        return Ok(None);
    };
    let line_itself = Step {
        name: "",
        directory,
        lines: vec![("", name)],
        dependencies: Vec::new(),
    };
    let steps = match arguments.eval {
        true => Ok(vec![line_itself]),
        false => order::steps(tasks, name),
    };
    let steps = match steps {
        Ok(steps) => steps,
        Err(OrderError::NotFound {
            dependent: None, ..
        }) if arguments.if_present => {
            return Ok(None);
        }
        Err(source) => {
            let listing = match &source {
                OrderError::NotFound { .. } => known(tasks),
                OrderError::Cycle { .. } => "remove one of the dependencies".to_owned(),
            };
            return Err(TaskFailure::Order { source, listing }.into());
        }
    };
    let directory = arguments.directory.is_some().then_some(directory.as_path());
    let preparation = Preparation::new(arguments, host, tasks, directory)?;
    let last = steps.len().saturating_sub(1);
    let jobs: Result<Vec<Job>, TaskFailure> = (0..)
        .zip(&steps)
        .map(|(position, step)| preparation.job(step, position == last))
        .collect();
    Ok(Some((jobs?, preparation)))
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

    fn warned(&mut self, text: &str, hint: Option<&str>) {
        match hint {
            Some(hint) => render::warning(&format!("{text}\nhint: {hint}")),
            None => render::warning(text),
        }
    }
}
