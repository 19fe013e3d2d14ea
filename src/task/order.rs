// SPDX-License-Identifier: MIT
//! Which tasks a name stands for, and in which order they run.
//!
//! Invariant: every task comes once, behind everything it depends on.

use std::path::Path;

use super::config::{Folder, Source, Task, Tasks};

/// One task to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'t> {
    /// Its name.
    pub name: &'t str,
    /// The directory its lines run in.
    pub directory: &'t Path,
    /// Its lines, in order, each with the name it is told by: more than one for a script with `pre`
    /// and `post`, none for a task of dependencies alone.
    pub lines: Vec<(&'t str, &'t str)>,
    /// Positions of the steps that come before it.
    pub dependencies: Vec<usize>,
}

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such task.
    #[error("there is no task `{name}`")]
    NotFound {
        /// The name.
        name: String,
        /// The task that depends on it, if it is not the one that was asked for.
        dependent: Option<String>,
    },
    /// Tasks that wait for each other.
    #[error("tasks depend on each other: {}", path.join(" -> "))]
    Cycle {
        /// From a task back to it.
        path: Vec<String>,
    },
}

/// The steps of the task `name`, which may contain `*` for any text.
///
/// # Errors
/// [`OrderError`].
pub fn steps<'t>(tasks: &'t Tasks, name: &str) -> Result<Vec<Step<'t>>, OrderError> {
    let mut order = Order {
        steps: Vec::new(),
        path: Vec::new(),
    };
    let mut found = false;
    for matching in matching(tasks, name) {
        found = true;
        order.visit(matching, &tasks.folders)?;
    }
    if !found {
        return Err(OrderError::NotFound {
            name: name.to_owned(),
            dependent: None,
        });
    }
    Ok(order.steps)
}

/// The names that a pattern stands for, each once.
fn matching<'t>(tasks: &'t Tasks, pattern: &str) -> Vec<&'t str> {
    let mut names: Vec<&str> = Vec::new();
    for task in tasks.folders.iter().flat_map(|folder| &folder.tasks) {
        if matches(pattern, &task.name) && !names.contains(&task.name.as_str()) {
            names.push(&task.name);
        }
    }
    names
}

/// `*` stands for any text, and a pattern with one also for what only begins like it, as in Deno.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut behind) = name.strip_prefix(first) else {
        return false;
    };
    for part in rest.split('*') {
        let Some(at) = behind.find(part) else {
            return false;
        };
        behind = &behind[at + part.len()..];
    }
    true
}

struct Order<'t> {
    steps: Vec<Step<'t>>,
    path: Vec<(&'t Path, &'t str)>,
}

impl<'t> Order<'t> {
    /// Puts a task behind its dependencies; its position. A task of the workspace's root depends on
    /// tasks of the root only.
    fn visit(&mut self, name: &str, folders: &'t [Folder]) -> Result<usize, OrderError> {
        let found = (0..)
            .zip(folders)
            .find_map(|(position, folder)| folder.task(name).map(|task| (position, folder, task)));
        let Some((position, folder, task)) = found else {
            return Err(OrderError::NotFound {
                name: name.to_owned(),
                dependent: self.path.last().map(|(_, name)| (*name).to_owned()),
            });
        };
        let same = |step: &Step<'_>| step.name == task.name && step.directory == folder.directory;
        if let Some(position) = self.steps.iter().position(same) {
            return Ok(position);
        }
        let here = (folder.directory.as_path(), task.name.as_str());
        if let Some(start) = self.path.iter().position(|one| *one == here) {
            let mut path: Vec<String> = self.path[start..]
                .iter()
                .map(|(_, name)| (*name).to_owned())
                .collect();
            path.push(task.name.clone());
            return Err(OrderError::Cycle { path });
        }
        self.path.push(here);
        let visible = folders.get(position..).unwrap_or_default();
        let mut dependencies = Vec::new();
        for dependency in &task.dependencies {
            dependencies.push(self.visit(dependency, visible)?);
        }
        self.path.pop();
        self.steps.push(Step {
            name: &task.name,
            directory: &folder.directory,
            lines: lines(folder, task),
            dependencies,
        });
        Ok(self.steps.len() - 1)
    }
}

fn lines<'t>(folder: &'t Folder, task: &'t Task) -> Vec<(&'t str, &'t str)> {
    let own = |task: &'t Task| Some((task.name.as_str(), task.command.as_deref()?));
    if task.source == Source::Deno {
        return own(task).into_iter().collect();
    }
    let beside = |prefix: &str| {
        folder
            .script(&format!("{prefix}{}", task.name))
            .and_then(own)
    };
    [beside("pre"), own(task), beside("post")]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::task::config::find;

    fn tasks(text: &str) -> Tasks {
        let host = FakeHost::new().with_file("/w/deno.json", text);
        find(&host, Path::new("/w"), None).unwrap()
    }

    fn names<'t>(steps: &[Step<'t>]) -> Vec<&'t str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let tasks = tasks(
            r#"{"tasks": {"a": {"command": "1", "dependencies": ["b", "c"]}, "b": {"command": "2",
            "dependencies": ["c"]}, "c": "3", "d": {"dependencies": ["a"]}, "e": "5"}}"#,
        );
        let found = steps(&tasks, "d").unwrap();
        assert_eq!(names(&found), ["c", "b", "a", "d"]);
        assert_eq!(found[2].dependencies, [1, 0]);
        assert_eq!(found[2].lines, [("a", "1")]);
        assert!(found[3].lines.is_empty());
        assert_eq!(names(&steps(&tasks, "e").unwrap()), ["e"]);
    }

    #[test]
    fn cycles_and_unknown_names_are_errors() {
        let tasks = tasks(
            r#"{"tasks": {"x": {"dependencies": ["y"]}, "y": {"dependencies": ["z"]},
            "z": {"dependencies": ["y"]}, "s": {"dependencies": ["s"]}, "u": {"dependencies": ["no"]}}}"#,
        );
        let cycle = steps(&tasks, "x").unwrap_err();
        assert_eq!(cycle.to_string(), "tasks depend on each other: y -> z -> y");
        assert!(matches!(steps(&tasks, "s"), Err(OrderError::Cycle { .. })));
        assert!(matches!(
            steps(&tasks, "u"),
            Err(OrderError::NotFound { name, dependent: Some(dependent) }) if name == "no" && dependent == "u"
        ));
        assert!(matches!(
            steps(&tasks, "no"),
            Err(OrderError::NotFound {
                dependent: None,
                ..
            })
        ));
    }

    #[test]
    fn a_pattern_stands_for_every_name_like_it() {
        let tasks = tasks(
            r#"{"tasks": {"build:a": "1", "build:b": {"command": "2", "dependencies": ["build:a"]},
            "test": "3", "build": "4"}}"#,
        );
        assert_eq!(
            names(&steps(&tasks, "build:*").unwrap()),
            ["build:a", "build:b"]
        );
        assert_eq!(names(&steps(&tasks, "*").unwrap()).len(), 4);
        assert_eq!(
            names(&steps(&tasks, "*:b").unwrap()),
            ["build:a", "build:b"]
        );
        assert!(steps(&tasks, "x*").is_err());
    }

    #[test]
    fn scripts_have_what_comes_before_and_behind() {
        let host = FakeHost::new()
            .with_file("/w/deno.json", r#"{"tasks": {"b": "deno b"}}"#)
            .with_file(
                "/w/package.json",
                r#"{"scripts": {"prea": "0", "a": "1", "posta": "2", "preb": "3", "b": "4"}}"#,
            );
        let tasks = find(&host, Path::new("/w"), None).unwrap();
        let found = steps(&tasks, "a").unwrap();
        assert_eq!(found[0].lines, [("prea", "0"), ("a", "1"), ("posta", "2")]);
        assert_eq!(steps(&tasks, "b").unwrap()[0].lines, [("b", "deno b")]);
        let scripts = tasks.only_scripts();
        assert_eq!(
            steps(&scripts, "b").unwrap()[0].lines,
            [("preb", "3"), ("b", "4")]
        );
    }

    #[test]
    fn a_member_may_depend_on_its_root_and_not_the_other_way() {
        let host = FakeHost::new()
            .with_file(
                "/w/deno.json",
                r#"{"workspace": ["./m"], "tasks": {"r": {"command": "1", "dependencies": ["x"]}, "x": "2"}}"#,
            )
            .with_file(
                "/w/m/deno.json",
                r#"{"tasks": {"m": {"command": "3", "dependencies": ["r", "x"]}, "x": "4"}}"#,
            );
        let tasks = find(&host, Path::new("/w/m"), None).unwrap();
        let found = steps(&tasks, "m").unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|step| (step.directory.to_str().unwrap(), step.name))
            .collect();
        assert_eq!(
            shown,
            [("/w", "x"), ("/w", "r"), ("/w/m", "x"), ("/w/m", "m")]
        );
    }
}
