// SPDX-License-Identifier: MIT
//! The tasks there are: `tasks` of `deno.json` and `scripts` of `package.json`, found upward from a
//! directory as Deno does.
//!
//! Invariant: only files that the configuration chain accepts are read: none that leads out of its
//! project.

use std::path::{Path, PathBuf};

use jsonc_parser::ast::{Object, ObjectPropName, Value};
use jsonc_parser::{CollectOptions, ParseOptions};

use crate::host::Host;
use crate::plan::ReadRule;
use crate::runner::config_chain::{self, ConfigFlags};

/// More than any real configuration.
const LIMIT: usize = 4 << 20;

/// Where a task is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `tasks` of a Deno configuration.
    Deno,
    /// `scripts` of `package.json`.
    Package,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub source: Source,
    /// The command line; a task of dependencies alone has none.
    pub command: Option<String>,
    /// Names of tasks that run before it.
    pub dependencies: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The tasks of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where its command lines run; without links.
    pub directory: PathBuf,
    /// In the order of the files, those of the Deno configuration first; a name may come twice, and
    /// the first counts.
    pub tasks: Vec<Task>,
}

impl Folder {
    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// The script of `package.json` of this name.
    pub fn script(&self, name: &str) -> Option<&Task> {
        let mut scripts = self.tasks.iter();
        scripts.find(|task| task.source == Source::Package && task.name == name)
    }
}

/// The tasks that a directory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// The nearest directory with a configuration, and the root of its workspace if that is another.
    pub folders: Vec<Folder>,
    /// What the tasks may read: the project's root, without links.
    pub root: PathBuf,
}

impl Tasks {
    /// Only the scripts of `package.json`: what `npm run` knows.
    pub fn only_scripts(mut self) -> Self {
        for folder in &mut self.folders {
            folder.tasks.retain(|task| task.source == Source::Package);
        }
        self
    }
}

/// Why the tasks are not known.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// There is no configuration.
    #[error("neither `deno.json`, `deno.jsonc` nor `package.json` is in `{directory}` or above it")]
    NoConfiguration {
        /// Where the search began.
        directory: PathBuf,
    },
    /// The chain of configuration files.
    #[error(transparent)]
    Chain(#[from] config_chain::ConfigError),
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file that is no JSON.
    #[error("`{path}:{line}:{column}`: {what}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's message.
        what: String,
    },
    /// A task of another form.
    #[error("`{path}:{line}:{column}`: {what}")]
    Form {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What should stand there.
        what: &'static str,
    },
}

impl TasksError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoConfiguration { .. } => {
                Some("`--config FILE` names one, `--cwd DIRECTORY` searches from elsewhere".to_owned())
            }
            Self::Chain(error) => error.hint(),
            Self::Form { .. } => Some(
                "a task is a command line, or `{\"command\": …, \"dependencies\": […], \"description\": …}`"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::Syntax { .. } => None,
        }
    }
}

/// Finds the tasks that `directory` knows; `named` is a configuration that was named instead.
///
/// # Errors
/// [`TasksError`].
pub fn find(host: &dyn Host, directory: &Path, named: Option<&Path>) -> Result<Tasks, TasksError> {
    let flags = ConfigFlags {
        config: named.map(Path::to_owned),
        ..ConfigFlags::default()
    };
    let chain = config_chain::resolve(host, directory, &flags, &|_| ReadRule::Unsaid)?;
    let real_directory = |path: &Path| {
        let directory = path.parent().unwrap_or(path);
        let found = host.inspect(directory).map(|found| found.real_path);
        found.map_err(|source| TasksError::Read {
            path: directory.to_owned(),
            source,
        })
    };
    let mut nearest = None;
    for file in &chain.present {
        if named.is_some() || is_configuration(&file.path) {
            nearest = Some(real_directory(&file.path)?);
            break;
        }
    }
    let nearest = nearest.ok_or_else(|| TasksError::NoConfiguration {
        directory: directory.to_owned(),
    })?;
    // Without a Deno configuration the chain takes the directory itself for the root.
    let root = if nearest.starts_with(&chain.root) {
        chain.root.clone()
    } else {
        nearest.clone()
    };
    let mut folders = Vec::new();
    for directory in [&nearest, &root] {
        if folders
            .iter()
            .any(|folder: &Folder| folder.directory == *directory)
        {
            continue;
        }
        let mut tasks = Vec::new();
        let mut configured = false;
        for file in &chain.present {
            if real_directory(&file.path)? != *directory {
                continue;
            }
            let deno = is_deno_configuration(&file.path) || (named.is_some() && !configured);
            if deno && !configured {
                configured = true;
                read_tasks(host, &file.path, Source::Deno, &mut tasks)?;
            } else if file.path.ends_with("package.json") {
                read_tasks(host, &file.path, Source::Package, &mut tasks)?;
            }
        }
        folders.push(Folder {
            directory: directory.clone(),
            tasks,
        });
    }
    Ok(Tasks { folders, root })
}

fn is_deno_configuration(path: &Path) -> bool {
    path.ends_with("deno.json") || path.ends_with("deno.jsonc")
}

fn is_configuration(path: &Path) -> bool {
    is_deno_configuration(path) || path.ends_with("package.json")
}

fn read_tasks(
    host: &dyn Host,
    path: &Path,
    source: Source,
    tasks: &mut Vec<Task>,
) -> Result<(), TasksError> {
    let bytes = host
        .read_file(path, LIMIT)
        .map_err(|source| TasksError::Read {
            path: path.to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&bytes);
    let reading = Reading {
        path,
        text: &text,
        source,
    };
    reading.read(tasks)
}

struct Reading<'r> {
    path: &'r Path,
    text: &'r str,
    source: Source,
}

impl Reading<'_> {
    fn read(&self, tasks: &mut Vec<Task>) -> Result<(), TasksError> {
        let parsed = jsonc_parser::parse_to_ast(
            self.text,
            &CollectOptions::default(),
            &ParseOptions::default(),
        )
        .map_err(|error| TasksError::Syntax {
            path: self.path.to_owned(),
            line: error.line_display(),
            column: error.column_display(),
            what: error.kind().to_string().to_lowercase(),
        })?;
        let Some(Value::Object(root)) = parsed.value else {
            return Ok(());
        };
        let key = match self.source {
            Source::Deno => "tasks",
            Source::Package => "scripts",
        };
        match property(&root, key) {
            None | Some(Value::NullKeyword(_)) => Ok(()),
            Some(Value::Object(list)) => {
                for one in &list.properties {
                    tasks.push(self.task(name(&one.name), &one.value)?);
                }
                Ok(())
            }
            Some(other) => Err(self.form(other, "an object of tasks is expected here")),
        }
    }

    fn task(&self, name: &str, value: &Value<'_>) -> Result<Task, TasksError> {
        let mut task = Task {
            name: name.to_owned(),
            source: self.source,
            command: None,
            dependencies: Vec::new(),
            description: None,
        };
        match (value, self.source) {
            (Value::StringLit(line), _) => task.command = Some(line.value.clone().into_owned()),
            (Value::Object(object), Source::Deno) => {
                task.command = self.text_of(object, "command")?;
                task.description = self.text_of(object, "description")?;
                match property(object, "dependencies") {
                    None | Some(Value::NullKeyword(_)) => {}
                    Some(Value::Array(list)) => {
                        for one in &list.elements {
                            let Value::StringLit(one) = one else {
                                return Err(self.form(one, "the name of a task is expected here"));
                            };
                            task.dependencies.push(one.value.clone().into_owned());
                        }
                    }
                    Some(other) => {
                        return Err(self.form(other, "a list of tasks is expected here"));
                    }
                }
            }
            (other, _) => return Err(self.form(other, "a task is expected here")),
        }
        Ok(task)
    }

    fn text_of(&self, object: &Object<'_>, key: &str) -> Result<Option<String>, TasksError> {
        match property(object, key) {
            None | Some(Value::NullKeyword(_)) => Ok(None),
            Some(Value::StringLit(text)) => Ok(Some(text.value.clone().into_owned())),
            Some(other) => Err(self.form(other, "a text is expected here")),
        }
    }

    fn form(&self, value: &Value<'_>, what: &'static str) -> TasksError {
        let (line, column) = position(self.text, start(value));
        TasksError::Form {
            path: self.path.to_owned(),
            line,
            column,
            what,
        }
    }
}

fn property<'v, 'a>(object: &'v Object<'a>, key: &str) -> Option<&'v Value<'a>> {
    let mut properties = object.properties.iter();
    properties
        .find(|property| name(&property.name) == key)
        .map(|property| &property.value)
}

fn name<'v>(name: &'v ObjectPropName<'_>) -> &'v str {
    name.as_str()
}

fn start(value: &Value<'_>) -> usize {
    use jsonc_parser::common::Ranged;
    value.range().start
}

/// Line and column, from 1, of a byte.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn found(host: &FakeHost, directory: &str) -> Result<Tasks, TasksError> {
        find(host, Path::new(directory), None)
    }

    fn names(folder: &Folder) -> Vec<&str> {
        folder.tasks.iter().map(|task| task.name.as_str()).collect()
    }

    #[test]
    fn both_forms_in_the_order_of_the_file() {
        let host = FakeHost::new()
            .with_directory("/w/src/deep")
            .with_file(
                "/w/deno.jsonc",
                r#"{ // tasks
                "tasks": {"z": "echo z", "a": {"command": "echo a", "dependencies": ["z"],
                    "description": "the a"}, "all": {"dependencies": ["a", "z"]}, }, }"#,
            )
            .with_file(
                "/w/package.json",
                r#"{"scripts": {"z": "npm z", "n": "npm n"}}"#,
            );
        let tasks = found(&host, "/w/src/deep").unwrap();
        assert_eq!(tasks.root, Path::new("/w"));
        let [folder] = &tasks.folders[..] else {
            panic!("{tasks:?}")
        };
        assert_eq!(folder.directory, Path::new("/w"));
        assert_eq!(names(folder), ["z", "a", "all", "z", "n"]);
        assert_eq!(folder.task("z").unwrap().command.as_deref(), Some("echo z"));
        assert_eq!(
            folder.script("z").unwrap().command.as_deref(),
            Some("npm z")
        );
        assert_eq!(folder.task("a").unwrap().dependencies, ["z"]);
        assert_eq!(folder.task("all").unwrap().command, None);
        let scripts = tasks.only_scripts();
        assert_eq!(names(&scripts.folders[0]), ["z", "n"]);
    }

    #[test]
    fn a_member_knows_its_workspace() {
        let host = FakeHost::new()
            .with_file(
                "/w/deno.json",
                r#"{"workspace": ["./m"], "tasks": {"r": "echo r"}}"#,
            )
            .with_file("/w/m/deno.json", r#"{"tasks": {"m": "echo m"}}"#)
            .with_file("/other/package.json", r#"{"scripts": {"p": "echo p"}}"#)
            .with_directory("/other/sub")
            .with_directory("/none");
        let tasks = found(&host, "/w/m").unwrap();
        assert_eq!(tasks.root, Path::new("/w"));
        let directories: Vec<_> = tasks
            .folders
            .iter()
            .map(|folder| &folder.directory)
            .collect();
        assert_eq!(directories, [Path::new("/w/m"), Path::new("/w")]);
        let tasks = found(&host, "/other/sub").unwrap();
        assert_eq!(tasks.root, Path::new("/other"));
        assert_eq!(names(&tasks.folders[0]), ["p"]);
        assert!(matches!(
            found(&host, "/none"),
            Err(TasksError::NoConfiguration { .. })
        ));
        let named = find(&host, Path::new("/none"), Some(Path::new("/w/m/deno.json"))).unwrap();
        assert_eq!(named.folders[0].directory, Path::new("/w/m"));
        assert_eq!(names(&named.folders[0]), ["m"]);
    }

    #[test]
    fn errors_name_the_place() {
        let cases = [
            ("{\n  \"tasks\": [\n", 2, 12),
            ("{\n  \"tasks\": {\"a\": 1}}", 2, 18),
            ("{\"tasks\": {\"a\": {\"dependencies\": \"b\"}}}", 1, 34),
            ("{\"tasks\": {\"a\": {\"dependencies\": [1]}}}", 1, 35),
            ("{\"tasks\": {\"a\": {\"command\": []}}}", 1, 29),
            ("{\"tasks\": \"a\"}", 1, 11),
        ];
        for (text, line, column) in cases {
            let host = FakeHost::new().with_file("/w/deno.json", text);
            let error = found(&host, "/w").unwrap_err().to_string();
            let place = format!("`/w/deno.json:{line}:{column}`: ");
            assert!(error.starts_with(&place), "{text}: {error}");
        }
        let script = FakeHost::new().with_file("/w/package.json", r#"{"scripts": {"a": {}}}"#);
        assert!(found(&script, "/w").is_err());
    }

    #[test]
    fn a_configuration_that_leads_elsewhere_is_refused() {
        let host = FakeHost::new()
            .with_directory("/w")
            .with_file("/etc/other.json", r#"{"tasks": {"a": "echo"}}"#)
            .with_link("/w/deno.json", "/etc/other.json");
        assert!(matches!(found(&host, "/w"), Err(TasksError::Chain(_))));
    }
}
