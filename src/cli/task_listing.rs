// SPDX-License-Identifier: MIT
//! Tasks as text: the list of them, and words of command lines.
//!
//! Invariant: nothing of a configuration file reaches a terminal that the terminal would obey.

use crate::task::config::{Source, Tasks};

/// Words as a shell reads them back.
pub(super) fn shell_words<W: AsRef<str>>(words: impl Iterator<Item = W>) -> String {
    let quoted = words.map(|word| {
        let word = word.as_ref();
        let plain =
            |character: char| character.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(character);
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The names there are, for a message.
pub(super) fn known(tasks: &Tasks) -> String {
    let names: Vec<String> = tasks
        .folders
        .iter()
        .flat_map(|folder| &folder.tasks)
        .map(|task| format!("`{}`", printable(&task.name)))
        .collect();
    if names.is_empty() {
        "the configuration has no tasks".to_owned()
    } else {
        format!("the tasks are {}", names.join(", "))
    }
}

/// The tasks as `deno task` lists them.
pub(super) fn listing(tasks: &Tasks) -> String {
    let mut text = "Available tasks:\n".to_owned();
    let mut seen: Vec<&str> = Vec::new();
    for (position, folder) in tasks.folders.iter().enumerate() {
        for task in &folder.tasks {
            if seen.contains(&task.name.as_str()) {
                continue;
            }
            seen.push(&task.name);
            let place = match (position, task.source) {
                (0, Source::Deno) => "",
                (0, Source::Package) => " (package.json)",
                (_, Source::Deno) => " (workspace)",
                (_, Source::Package) => " (workspace package.json)",
            };
            text.push_str(&format!("- {}{place}\n", printable(&task.name)));
            for line in task.description.iter().flat_map(|text| text.lines()) {
                text.push_str(&format!("    // {}\n", printable(line)));
            }
            if let Some(command) = &task.command {
                text.push_str(&format!("    {}\n", printable(command)));
            }
            if !task.dependencies.is_empty() {
                let names: Vec<_> = task
                    .dependencies
                    .iter()
                    .map(|name| printable(name))
                    .collect();
                text.push_str(&format!("    depends on: {}\n", names.join(", ")));
            }
        }
    }
    if seen.is_empty() {
        text.push_str("  No tasks found in configuration file\n");
    }
    text
}

/// Text of a configuration file without characters that a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped: Vec<char> = if character.is_control() {
                character.escape_default().collect()
            } else {
                vec![character]
            };
            escaped
        })
        .collect()
}
