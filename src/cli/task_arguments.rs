// SPDX-License-Identifier: MIT
//! The arguments of `stockade task`, and the flags that its shells and siblings get of them.
//!
//! Invariant: a path that was typed means the same wherever a line runs.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::argument_error::ArgumentError;
use super::arguments::{Reading, written};
use super::deno_flags::{Commands, Decision, FlagRow, all_rows};
use super::handled_flags::invalid;
use super::invocation::Settings;
use super::sources::names_file;
use crate::policy::Policy;
use crate::policy::grammar::{render_list_item, split_list};

/// The command that `npm run` of a line becomes: `task` with the scripts of `package.json` alone, as in
/// Deno. No user's to type.
pub const SCRIPTS_WORD: &str = "__scripts";

/// `task`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskArguments {
    /// The task; without one they are listed.
    pub name: Option<String>,
    /// Arguments of its last line.
    pub arguments: Vec<String>,
    /// The permission flags: they add to what lines may do, and bound what their siblings are granted.
    pub policy: Policy,
    /// `--cwd`.
    pub directory: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--jobs`.
    pub jobs: Option<NonZeroUsize>,
    /// The output of tasks that run at the same time is told with their names.
    pub prefixed: bool,
    /// A task that does not exist is no error.
    pub if_present: bool,
    /// The name is a command line itself.
    pub eval: bool,
    /// Each `--policy`: they add to what lines may do and bound their siblings, as the flags do.
    pub policies: Vec<String>,
    /// Only the scripts of `package.json` count.
    pub only_scripts: bool,
    /// `explain task`.
    pub explain: bool,
    /// The permission flags as typed.
    pub(super) permissions: Vec<(String, Option<String>)>,
    /// Other flags that are handed on.
    pub(super) settings: Vec<(&'static FlagRow, Option<String>)>,
    /// What they mean.
    pub(super) given: Settings,
}

impl TaskArguments {
    pub(super) fn new() -> Self {
        Self {
            prefixed: true,
            ..Self::default()
        }
    }

    /// Takes a flag of `task`; whether nobody else needs to see it.
    ///
    /// # Errors
    /// A value of another form.
    pub(super) fn take(
        &mut self,
        row: &'static FlagRow,
        value: Option<&str>,
    ) -> Result<bool, ArgumentError> {
        let path = || value.map(PathBuf::from);
        match row.long {
            "cwd" => self.directory = path(),
            "config" => self.config = path(),
            "jobs" => {
                let text = value.unwrap_or_default();
                let jobs = text.parse();
                self.jobs = Some(jobs.map_err(|_| invalid(row.flag(), text, "1 or more"))?);
            }
            "no-prefix" => self.prefixed = false,
            "if-present" => self.if_present = true,
            "eval" => self.eval = true,
            "policy" => self.policies.extend(value.map(str::to_owned)),
            _ => {
                if matches!(row.decision, Decision::Handled(_)) {
                    self.settings.push((row, value.map(str::to_owned)));
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn finish(
        mut self,
        reading: &Reading,
        policy: Policy,
        name: Option<String>,
        arguments: Vec<String>,
    ) -> Self {
        self.permissions.clone_from(&reading.permissions);
        self.given.clone_from(&reading.settings);
        self.policy = policy;
        self.name = name;
        self.arguments = arguments;
        self
    }

    /// What the Stockade around a shell gets: everything that `exec` knows.
    pub fn flags_of_shell(&self, directory: &Path) -> Vec<String> {
        let permissions = self
            .permissions
            .iter()
            .filter(|(flag, _)| is_flag_of(Commands::EXEC, flag));
        let mut flags = rendered(permissions, directory);
        flags.extend(self.policies(directory));
        flags.extend(self.settings(Commands::EXEC, directory));
        flags
    }

    /// What every sibling of one of `commands` gets beside its own flags: the denials.
    pub fn flags_of_siblings(&self, commands: Commands, directory: &Path) -> Vec<String> {
        let denials = self
            .permissions
            .iter()
            .filter(|(flag, _)| flag.starts_with("--deny-") && is_flag_of(commands, flag));
        let mut flags = rendered(denials, directory);
        flags.extend(self.settings(commands, directory));
        // The time of a line is over for its siblings, too.
        flags.retain(|flag| !flag.starts_with("--timeout="));
        flags
    }

    /// What a task that a line starts gets: everything, since what bounds the line bounds it.
    pub fn flags_of_tasks(&self, directory: &Path) -> Vec<String> {
        let mut flags = rendered(self.permissions.iter(), directory);
        flags.extend(self.policies(directory));
        flags.extend(self.settings(Commands::TASK, directory));
        flags
    }

    fn settings(&self, commands: Commands, directory: &Path) -> Vec<String> {
        let settings = self.settings.iter();
        settings
            .filter(|(row, _)| row.commands.intersects(commands))
            .map(|(row, value)| {
                let value = match (row.long, value.as_deref()) {
                    ("env-file", None) => Some(".env"),
                    (_, value) => value,
                };
                let value = value.map(|value| match row.long {
                    "audit" | "ceiling" | "env-file" | "runner" => absolute(value, directory),
                    _ => value.to_owned(),
                });
                written(row.long, value.as_deref())
            })
            .collect()
    }

    /// Whether lines may name variables of `--env-file`.
    pub fn reads_variables(&self) -> bool {
        self.settings.iter().any(|(row, _)| row.long == "env-file")
    }

    fn policies(&self, directory: &Path) -> impl Iterator<Item = String> {
        self.policies.iter().map(move |name| {
            let place = match names_file(name) {
                true => absolute(name, directory),
                false => name.clone(),
            };
            written("policy", Some(&place))
        })
    }
}

/// Whether one of `commands` knows the flag, which may have a value behind it.
pub(super) fn is_flag_of(commands: Commands, flag: &str) -> bool {
    let flag = flag.split('=').next().unwrap_or_default();
    all_rows().any(|row| row.flag() == flag && row.commands.intersects(commands))
}

/// Permission flags with their paths made absolute.
fn rendered<'f>(
    flags: impl Iterator<Item = &'f (String, Option<String>)>,
    directory: &Path,
) -> Vec<String> {
    flags
        .map(|(flag, value)| {
            let Some(value) = value else {
                return flag.clone();
            };
            let kind = flag.rsplit('-').next().unwrap_or_default();
            let items: Vec<String> = split_list(value)
                .iter()
                .map(|item| match kind {
                    "read" | "write" | "ffi" => absolute(item, directory),
                    "run" if item.contains('/') => absolute(item, directory),
                    _ => item.clone(),
                })
                .map(|item| render_list_item(&item))
                .collect();
            format!("{flag}={}", items.join(","))
        })
        .collect()
}

/// A path from `directory`, with the `/` at its end that says that it is to be a directory.
fn absolute(path: &str, directory: &Path) -> String {
    directory.join(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Invocation, parse};
    use super::*;

    fn task(line: &str) -> TaskArguments {
        match parse(line.split_whitespace().map(Into::into)) {
            Ok(Invocation::Task(task)) => *task,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn everything_behind_the_name_is_the_tasks() {
        let found = task("task -j 2 --cwd=x --no-prefix build -A --y");
        assert_eq!(found.name.as_deref(), Some("build"));
        assert_eq!(found.arguments, ["-A", "--y"]);
        assert_eq!(found.jobs, NonZeroUsize::new(2));
        assert_eq!(found.directory, Some(PathBuf::from("x")));
        assert!(!found.prefixed && found.policy == Policy::default());
        assert_eq!(task("task").name, None);
        assert!(task("explain task build").explain);
        assert!(parse(["task", "-j", "0", "x"].map(Into::into)).is_err());
        assert!(parse(["task", "--v8-flags=--x", "x"].map(Into::into)).is_err());
    }

    #[test]
    fn flags_go_where_they_belong() {
        let found = task(
            "task --allow-write=out/,/tmp/a,,b --deny-net=x.org --deny-read=s --allow-run=./t,git -N \
             --allow-ffi=l --audit=log --timeout=5s --best-effort build",
        );
        let directory = Path::new("/w");
        assert_eq!(
            found.flags_of_shell(directory),
            [
                "--allow-write=/w/out/,/tmp/a,,b",
                "--deny-net=x.org",
                "--deny-read=/w/s",
                "--allow-run=/w/./t,git",
                "--allow-net",
                "--audit=/w/log",
                "--timeout=5s",
                "--best-effort"
            ]
        );
        assert_eq!(
            found.flags_of_siblings(Commands::RUN, directory),
            [
                "--deny-net=x.org",
                "--deny-read=/w/s",
                "--audit=/w/log",
                "--best-effort"
            ]
        );
        assert!(
            found
                .flags_of_tasks(directory)
                .contains(&"--allow-net".to_owned())
        );
    }
}
