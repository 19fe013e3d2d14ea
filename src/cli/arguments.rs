// SPDX-License-Identifier: MIT
//! The command line, as typed: from arguments to one [`Invocation`].
//!
//! Invariant: pure; the same arguments give the same invocation, and nothing is opened, looked up
//! or printed. Flags end at the script: what stands behind it belongs to the program, untouched.
//!
//! The grammar is Deno's: values behind `=` only, short flags in clusters (`-RWN=host`) and with
//! glued values (`-R/p`). clap cannot read glued values beside clusters, and its first parse over
//! this table takes 330 µs where this parser takes 10 (release, one machine), so clap renders the
//! help text and the man page (`help`), and this parser reads the same table. A test holds both
//! together.

use std::ffi::OsString;
use std::path::PathBuf;

use super::argument_error::{ArgumentError, nearest_flag};
use super::deno_flags::{Commands, Decision, FlagRow, ValueForm, all_rows};
use super::help;
pub use super::invocation::{
    ExplainArguments, Invocation, Mode, NamedFile, RunArguments, Settings,
};
use super::network_flags;
use super::policy_command;
use super::task_arguments::{SCRIPTS_WORD, TaskArguments};
use super::watch;
use crate::audit::json::SCHEMA;
use crate::audit::report;
use crate::launch::private;
use crate::plan::why::Question;
use crate::policy::flags::{PermissionFlag, parse_flags};
use crate::policy::spelling::nearest;
use crate::runner::fetch;
use crate::task::shell;

const COMMANDS: [&str; 11] = [
    "run", "serve", "eval", "exec", "test", "check", "cache", "task", "explain", "doctor", "policy",
];
const LATER_COMMANDS: [&str; 2] = ["selftest", "learn"];

/// Reads the arguments, the program name not included.
///
/// A first argument that is a flag, or looks like a path, means `run`, as with Deno.
///
/// # Errors
/// What is wrong with them, by the argument.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, ArgumentError> {
    parse_command(Arguments {
        iterator: arguments.into_iter(),
        position: 0,
        pushed: None,
    })
}

fn parse_command<I>(mut arguments: Arguments<I>) -> Result<Invocation, ArgumentError>
where
    I: Iterator<Item = OsString>,
{
    let Some(first) = arguments.next()? else {
        return Err(ArgumentError::MissingCommand);
    };
    match first.as_str() {
        "run" | "serve" | "eval" | "exec" | "test" | "check" | "cache" => {
            let mode = Mode::parse(&first).unwrap_or(Mode::Run);
            Reading::new(mode, mode.commands()).read(&mut arguments)
        }
        "explain" => {
            Reading::new(Mode::Run, Commands::RUN.or(Commands::EXPLAIN)).read(&mut arguments)
        }
        fetch::WORD => Ok(Invocation::Fetch),
        private::REMOVE => match arguments.next()? {
            Some(path) => Ok(Invocation::Remove(path.into())),
            None => Err(ArgumentError::MissingScript {
                command: private::REMOVE,
                what: "a directory",
            }),
        },
        watch::WORD => {
            let parent = arguments.next()?.and_then(|text| text.parse().ok());
            let report = arguments.next()?.map(PathBuf::from);
            match parse_command(arguments)? {
                Invocation::Run(mut run) => {
                    run.settings.watch.report = report;
                    Ok(Invocation::Watched {
                        parent: parent.unwrap_or_default(),
                        run,
                    })
                }
                other => Ok(other),
            }
        }
        "doctor" => Reading::new(Mode::Run, Commands::DOCTOR).read(&mut arguments),
        "policy" => {
            let mut words = Vec::new();
            while let Some(word) = arguments.next()? {
                words.push(word);
            }
            policy_command::parse(words)
        }
        "task" => Reading::new(Mode::Run, Commands::TASK).read(&mut arguments),
        SCRIPTS_WORD => {
            let mut reading = Reading::new(Mode::Run, Commands::TASK);
            reading.task.only_scripts = true;
            reading.read(&mut arguments)
        }
        shell::WORD => match (arguments.next()?, arguments.next()?) {
            (Some(line), None) => Ok(Invocation::TaskShell { line }),
            (_, Some(argument)) => Err(ArgumentError::Unexpected { argument }),
            (None, None) => Err(ArgumentError::MissingCommand),
        },
        "help" => match arguments.next()? {
            None => Ok(Invocation::Help(help::overview())),
            Some(page) if page == "audit-schema" => Ok(Invocation::Help(SCHEMA.to_owned())),
            Some(page) if page == "report-schema" => {
                Ok(Invocation::Help(report::SCHEMA.to_owned()))
            }
            Some(page) if page == "man" => Ok(Invocation::Help(help::manual())),
            Some(command) => help::of_command(&command)
                .map(Invocation::Help)
                .ok_or_else(|| unknown_command(command)),
        },
        "-h" | "--help" => Ok(Invocation::Help(help::overview())),
        "-V" | "--version" => Ok(Invocation::Version(help::version())),
        command if LATER_COMMANDS.contains(&command) => {
            Err(ArgumentError::CommandNotYet { command: first })
        }
        path if path.starts_with('-') || path.contains(['.', '/']) => {
            arguments.pushed = Some(first);
            Reading::new(Mode::Run, Commands::RUN).read(&mut arguments)
        }
        _ => Err(unknown_command(first)),
    }
}

fn unknown_command(command: String) -> ArgumentError {
    let suggestion = nearest(&command, COMMANDS.into_iter());
    ArgumentError::UnknownCommand {
        command,
        suggestion,
    }
}

struct Arguments<I> {
    iterator: I,
    position: usize,
    pushed: Option<String>,
}

impl<I: Iterator<Item = OsString>> Arguments<I> {
    fn next(&mut self) -> Result<Option<String>, ArgumentError> {
        if let Some(pushed) = self.pushed.take() {
            return Ok(Some(pushed));
        }
        let Some(argument) = self.iterator.next() else {
            return Ok(None);
        };
        self.position += 1;
        argument
            .into_string()
            .map(Some)
            .map_err(|argument| ArgumentError::NotUtf8 {
                position: self.position,
                shown: argument.to_string_lossy().into_owned(),
            })
    }

    /// The value of a flag: the next argument, unless it is a flag itself.
    fn next_value(&mut self, flag: &str) -> Result<String, ArgumentError> {
        match self.next()? {
            Some(value) if value == "-" || !value.starts_with('-') => Ok(value),
            _ => Err(ArgumentError::MissingValue {
                flag: flag.to_owned(),
            }),
        }
    }
}

/// The state of one parse.
pub(super) struct Reading {
    mode: Mode,
    commands: Commands,
    mode_given: bool,
    pub(super) permissions: Vec<(String, Option<String>)>,
    pub(super) settings: Settings,
    files: Vec<String>,
    pub(super) runner_flags: Vec<String>,
    prepare_flags: Vec<String>,
    listeners: Vec<(String, Option<String>)>,
    notices: Vec<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) json: bool,
    pub(super) why: Option<Question>,
    pub(super) text: Option<Invocation>,
    task: TaskArguments,
}

impl Reading {
    fn new(mode: Mode, commands: Commands) -> Self {
        Self {
            mode,
            commands,
            mode_given: false,
            permissions: Vec::new(),
            settings: Settings::default(),
            files: Vec::new(),
            runner_flags: Vec::new(),
            prepare_flags: Vec::new(),
            listeners: Vec::new(),
            notices: Vec::new(),
            host: None,
            port: None,
            json: false,
            why: None,
            text: None,
            task: TaskArguments::new(),
        }
    }

    fn is_explain(&self) -> bool {
        self.commands.intersects(Commands::EXPLAIN)
    }

    fn is_task(&self) -> bool {
        self.commands.intersects(Commands::TASK)
    }

    pub(super) fn command(&self) -> &'static str {
        if self.commands.intersects(Commands::DOCTOR) {
            "doctor"
        } else if self.is_task() {
            "task"
        } else if self.is_explain() {
            "explain"
        } else {
            self.mode.name()
        }
    }

    fn read<I>(mut self, arguments: &mut Arguments<I>) -> Result<Invocation, ArgumentError>
    where
        I: Iterator<Item = OsString>,
    {
        let mut script = None;
        let mut files = Vec::new();
        while let Some(argument) = arguments.next()? {
            if argument == "--" {
                // Behind files stand the arguments of the tests.
                if !self.mode.takes_files() {
                    script = arguments.next()?;
                }
                break;
            } else if let Some(long) = argument.strip_prefix("--") {
                self.read_long(long, arguments)?;
            } else if let Some(cluster) = argument.strip_prefix('-').filter(|rest| !rest.is_empty())
            {
                self.read_cluster(cluster, arguments)?;
            } else if argument == "task" && self.is_explain() && !self.mode_given {
                self.commands = Commands::TASK;
                self.task.explain = true;
                self.mode_given = true;
            } else if let Some(mode) = self.mode_of_explain(&argument) {
                self.mode = mode;
                self.commands = mode.commands().or(Commands::EXPLAIN);
                self.mode_given = true;
            } else if !self.mode.takes_files() {
                script = Some(argument);
                break;
            } else if script.is_none() {
                script = Some(argument);
            } else {
                files.push(argument);
            }
            if let Some(text) = self.text.take() {
                return Ok(text);
            }
        }
        let mut script_arguments = Vec::new();
        while let Some(argument) = arguments.next()? {
            script_arguments.push(argument);
        }
        self.files = files;
        self.finish(script, script_arguments)
    }

    fn mode_of_explain(&self, argument: &str) -> Option<Mode> {
        if self.is_explain() && !self.mode_given {
            Mode::parse(argument)
        } else {
            None
        }
    }

    fn read_long<I>(
        &mut self,
        long: &str,
        arguments: &mut Arguments<I>,
    ) -> Result<(), ArgumentError>
    where
        I: Iterator<Item = OsString>,
    {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let Some(row) = all_rows().find(|row| row.is_named(name)) else {
            let suggestion = nearest_flag(name, self.commands);
            return Err(ArgumentError::UnknownFlag {
                flag: format!("--{name}"),
                suggestion,
            });
        };
        self.refuse_other_command(row)?;
        let value = match (row.value, value) {
            (ValueForm::None, Some(value)) => {
                return Err(ArgumentError::UnexpectedValue {
                    flag: row.flag(),
                    value,
                });
            }
            // A refusal says more than a missing value.
            (ValueForm::Required, None) if !self.refuses(row) => {
                Some(arguments.next_value(&row.flag())?)
            }
            (_, value) => value,
        };
        self.take(row, name, value)
    }

    /// `-RWN=host`, `-R/p`, `-c deno.json`.
    fn read_cluster<I>(
        &mut self,
        cluster: &str,
        arguments: &mut Arguments<I>,
    ) -> Result<(), ArgumentError>
    where
        I: Iterator<Item = OsString>,
    {
        let mut rest = cluster.chars();
        while let Some(short) = rest.next() {
            let Some(row) = all_rows().find(|row| row.short == Some(short)) else {
                return Err(ArgumentError::UnknownFlag {
                    flag: format!("-{short}"),
                    suggestion: None,
                });
            };
            self.refuse_other_command(row)?;
            let behind = rest.as_str();
            let value = match (row.value, behind.strip_prefix('=')) {
                (ValueForm::None, Some(value)) => {
                    let value = value.to_owned();
                    return Err(ArgumentError::UnexpectedValue {
                        flag: row.flag(),
                        value,
                    });
                }
                (ValueForm::Optional | ValueForm::Required, Some(value)) => Some(value.to_owned()),
                (ValueForm::None, None) => None,
                (ValueForm::Optional, None) => {
                    let next = behind.chars().next();
                    let glued = next.is_some_and(|next| !self.is_short(next));
                    glued.then(|| behind.to_owned())
                }
                (ValueForm::Required, None) if behind.is_empty() => {
                    Some(arguments.next_value(&row.flag())?)
                }
                (ValueForm::Required, None) => Some(behind.to_owned()),
            };
            let ends = value.is_some();
            self.take(row, row.long, value)?;
            if ends {
                break;
            }
        }
        Ok(())
    }

    fn is_short(&self, character: char) -> bool {
        all_rows().any(|row| row.short == Some(character) && row.commands.intersects(self.commands))
    }

    fn refuse_other_command(&self, row: &FlagRow) -> Result<(), ArgumentError> {
        if row.commands.intersects(self.commands) {
            return Ok(());
        }
        let command = self.command();
        Err(ArgumentError::OtherCommand {
            flag: row.flag(),
            command,
            commands: row.commands,
        })
    }

    fn refuses(&self, row: &FlagRow) -> bool {
        matches!(row.decision, Decision::NotYet | Decision::Refused)
    }

    /// `name` is the long name as typed, since other versions of the runner may know an alias only.
    fn take(
        &mut self,
        row: &'static FlagRow,
        name: &str,
        value: Option<String>,
    ) -> Result<(), ArgumentError> {
        let flag = row.flag();
        if let Some(value) = value.as_deref() {
            check_value(row, value)?;
        }
        if self.is_task() && self.task.take(row, value.as_deref())? {
            return Ok(());
        }
        match row.decision {
            Decision::Permission => self.permissions.push((flag, value)),
            Decision::Passed => self.runner_flags.push(written(name, value.as_deref())),
            Decision::PassedToBoth => self.pass_to_both(name, value.as_deref()),
            Decision::PassedToPrepare => self.prepare_flags.push(written(name, value.as_deref())),
            Decision::Always => {}
            Decision::Ignored => {
                self.notices
                    .push(format!("`{flag}` has no effect: {}", row.reason));
            }
            Decision::NeedsNet => {
                self.runner_flags.push(written(name, value.as_deref()));
                self.listeners.push((flag, value));
            }
            Decision::NotYet => {
                return Err(ArgumentError::NotYet {
                    flag,
                    what: row.reason,
                });
            }
            Decision::Refused => {
                return Err(ArgumentError::Refused {
                    flag,
                    reason: row.reason,
                });
            }
            Decision::Handled(handler) => self.handle(handler, name, flag, value)?,
        }
        Ok(())
    }

    pub(super) fn pass_to_both(&mut self, name: &str, value: Option<&str>) {
        self.runner_flags.push(written(name, value));
        self.prepare_flags.push(written(name, value));
    }

    fn finish(
        mut self,
        script: Option<String>,
        script_arguments: Vec<String>,
    ) -> Result<Invocation, ArgumentError> {
        if self.commands.intersects(Commands::DOCTOR) {
            return match script {
                Some(argument) => Err(ArgumentError::Unexpected { argument }),
                None => Ok(Invocation::Doctor { json: self.json }),
            };
        }
        let policy = parse_flags(self.permissions.iter().map(|(flag, value)| PermissionFlag {
            flag,
            value: value.as_deref(),
        }))?;
        if self.settings.no_config
            && self
                .settings
                .named_files
                .iter()
                .any(|named| named.flag == "--config")
        {
            return Err(ArgumentError::Conflict {
                first: "--no-config",
                second: "--config",
            });
        }
        if self.settings.sources.any() {
            // Judged when everything that grants has been read.
            self.settings.sources.inspectors = std::mem::take(&mut self.listeners);
        } else {
            network_flags::check_all(&policy, &self.settings.network, &self.listeners)?;
        }
        if self.is_task() {
            let task = std::mem::take(&mut self.task);
            let task = task.finish(&self, policy, script, script_arguments);
            return Ok(Invocation::Task(Box::new(task)));
        }
        let explain = self.is_explain();
        let finds_files = matches!(self.mode, Mode::Test | Mode::Check);
        if script.is_none() && !explain && !finds_files {
            let what = match self.mode {
                Mode::Eval => "code",
                Mode::Exec => "a command",
                Mode::Run | Mode::Serve | Mode::Test | Mode::Check => "a script",
                Mode::Cache => "a module",
            };
            return Err(ArgumentError::MissingScript {
                command: self.mode.name(),
                what,
            });
        }
        if self.mode == Mode::Serve {
            self.settings.network.listener =
                Some(network_flags::listener(self.host.as_deref(), self.port)?);
        }
        let run = RunArguments {
            mode: self.mode,
            policy,
            settings: self.settings,
            runner_flags: self.runner_flags,
            prepare_flags: self.prepare_flags,
            script,
            files: self.files,
            script_arguments,
            notices: self.notices,
        };
        Ok(if explain {
            Invocation::Explain(Box::new(ExplainArguments {
                run,
                json: self.json,
                why: self.why,
            }))
        } else {
            Invocation::Run(Box::new(run))
        })
    }
}

/// Values the runner would refuse with its own message, after Stockade has begun.
fn check_value(row: &FlagRow, value: &str) -> Result<(), ArgumentError> {
    if matches!(row.decision, Decision::NotYet | Decision::Refused) {
        return Ok(());
    }
    if value.is_empty() && row.value == ValueForm::Required {
        return Err(ArgumentError::MissingValue { flag: row.flag() });
    }
    if row.accepts.includes(value) {
        return Ok(());
    }
    let (flag, value, accepted) = (row.flag(), value.to_owned(), row.accepts.to_string());
    Err(ArgumentError::InvalidValue {
        flag,
        value,
        accepted,
    })
}

/// The form the runner reads, whatever form was typed.
pub(super) fn written(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
