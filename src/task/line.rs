// SPDX-License-Identifier: MIT
//! One command line: what it names, and the siblings it starts.
//!
//! Invariant: pure, and the same inside and outside the walls. A sibling's words up to its script
//! are literal in the line: no variable, substitution or file name decides a permission.

use std::collections::BTreeSet;

use deno_task_shell::parser::{
    self, Command, CommandInner, EnvVar, IoFile, PipelineInner, Redirect, RedirectOp, Sequence,
    SequentialList, SimpleCommand, Word, WordPart,
};

/// Names that start a sibling.
const RUNNERS: [&str; 2] = ["deno", "stockade"];

/// Commands the shell executes itself (deno_task_shell 0.33).
const BUILTINS: [&str; 19] = [
    ":", "cat", "cd", "cp", "echo", "exit", "export", "false", "head", "mkdir", "mv", "pwd", "rm",
    "set", "shopt", "sleep", "test", "true", "unset",
];

/// Builtins that change files.
const WRITERS: [&str; 4] = ["cp", "mkdir", "mv", "rm"];

/// What a command line names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The line with its arguments, as the shell parses it.
    pub text: String,
    /// In the order of the line.
    pub siblings: Vec<Sibling>,
    /// Programs by the name or path that is written, sorted.
    pub programs: BTreeSet<String>,
    /// Variables it expands, sorted.
    pub variables: BTreeSet<String>,
    /// Whether a builtin or a redirect writes files.
    pub writes: bool,
    /// Whether it may leave the directory of the task.
    pub changes_directory: bool,
}

/// A run of its own that a line starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// `deno`, `stockade` or `npm`, as written.
    pub runner: String,
    /// The words behind it that decide what runs, up to the script; all literal.
    pub words: Vec<String>,
    /// What those words mean to Stockade.
    pub meaning: Meaning,
}

/// A sibling as a command line of Stockade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The arguments: a command, flags, the script.
    pub arguments: Vec<String>,
    /// How many of the words it was read from they stand for.
    pub taken: usize,
    /// Whether words behind them are still read for flags, so that none may look like one.
    pub reads_on: bool,
}

/// Why words make no sibling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misread {
    /// The script is missing, or a flag's value.
    Incomplete {
        /// What is missing.
        what: String,
    },
    /// Stockade does not run this.
    Refused {
        /// Why.
        why: String,
        /// What would help.
        hint: Option<String>,
    },
}

/// Why a line is not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The shell's grammar.
    #[error("{message}, at `{near}`")]
    Syntax {
        /// The parser's message.
        message: String,
        /// Where it stopped.
        near: String,
    },
    /// A command name that is only known at run time.
    #[error("the command name `{word}` is not literal")]
    Name {
        /// As written.
        word: String,
    },
    /// A word that decides what a sibling may do and is only known at run time.
    #[error("`{word}` stands before the script of `{command}`, and is not literal")]
    Expansion {
        /// The literal words before it.
        command: String,
        /// As written.
        word: String,
    },
    /// A sibling that Stockade does not run.
    #[error("`{command}`: {why}")]
    Sibling {
        /// The words.
        command: String,
        /// Why not.
        why: String,
        /// What would help.
        hint: Option<String>,
    },
}

impl LineError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } => None,
            Self::Name { .. } => Some("write the name of the command itself".to_owned()),
            Self::Expansion { .. } => Some(
                "write permission flags and the script out; what stands behind the script may be expanded"
                    .to_owned(),
            ),
            Self::Sibling { hint, .. } => hint.clone(),
        }
    }
}

/// The line that a task's arguments make: each behind it, in single quotes, as Deno does it.
pub fn with_arguments(line: &str, arguments: &[String]) -> String {
    let mut text = line.to_owned();
    for argument in arguments {
        text.push_str(" '");
        text.push_str(&argument.replace('\'', "'\"'\"'"));
        text.push('\'');
    }
    text.trim().to_owned()
}

impl Line {
    /// Reads a line. `read` gives the meaning of the literal words behind `deno`.
    ///
    /// # Errors
    /// [`LineError`]; nothing of the line may be executed then.
    pub fn parse(
        text: &str,
        read: &dyn Fn(&[String]) -> Result<Meaning, Misread>,
    ) -> Result<Self, LineError> {
        let list = tree(text)?;
        let mut reading = Reading {
            read,
            line: Self {
                text: text.to_owned(),
                ..Self::default()
            },
        };
        reading.list(&list)?;
        Ok(reading.line)
    }

    /// The sibling that a command of the shell is: the one whose words it begins with, the most
    /// words first, and its number.
    pub fn sibling<'l>(&'l self, runner: &str, words: &[String]) -> Option<(usize, &'l Sibling)> {
        self.siblings
            .iter()
            .enumerate()
            .filter(|(_, sibling)| sibling.runner == runner && words.starts_with(&sibling.words))
            .max_by_key(|(_, sibling)| sibling.words.len())
    }
}

/// The line as the shell executes it.
///
/// # Errors
/// [`LineError::Syntax`].
pub fn tree(text: &str) -> Result<SequentialList, LineError> {
    parser::parse(text).map_err(|error| LineError::Syntax {
        message: uncapitalized(&error.message),
        near: error.code_snippet.unwrap_or_default(),
    })
}

/// A parser's message in the voice of ours.
fn uncapitalized(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

struct Reading<'r> {
    read: &'r dyn Fn(&[String]) -> Result<Meaning, Misread>,
    line: Line,
}

impl Reading<'_> {
    fn list(&mut self, list: &SequentialList) -> Result<(), LineError> {
        list.items
            .iter()
            .try_for_each(|item| self.sequence(&item.sequence))
    }

    fn sequence(&mut self, sequence: &Sequence) -> Result<(), LineError> {
        match sequence {
            Sequence::ShellVar(variable) => self.assignment(variable),
            Sequence::Pipeline(pipeline) => self.pipeline(&pipeline.inner),
            Sequence::BooleanList(both) => {
                self.sequence(&both.current)?;
                self.sequence(&both.next)
            }
        }
    }

    fn pipeline(&mut self, pipeline: &PipelineInner) -> Result<(), LineError> {
        match pipeline {
            PipelineInner::Command(command) => self.command(command),
            PipelineInner::PipeSequence(sequence) => {
                self.command(&sequence.current)?;
                self.pipeline(&sequence.next)
            }
        }
    }

    fn command(&mut self, command: &Command) -> Result<(), LineError> {
        if let Some(redirect) = &command.redirect {
            self.redirect(redirect)?;
        }
        match &command.inner {
            CommandInner::Simple(command) => self.simple(command),
            CommandInner::Subshell(list) => self.list(list),
        }
    }

    fn redirect(&mut self, redirect: &Redirect) -> Result<(), LineError> {
        let IoFile::Word(word) = &redirect.io_file else {
            return Ok(());
        };
        let writes = matches!(redirect.op, RedirectOp::Output(_));
        self.line.writes |= writes && literal(word).as_deref() != Some("/dev/null");
        self.word(word)
    }

    fn simple(&mut self, command: &SimpleCommand) -> Result<(), LineError> {
        for variable in &command.env_vars {
            self.assignment(variable)?;
        }
        for word in &command.args {
            self.word(word)?;
        }
        self.named(&command.args)
    }

    /// The command that `words` start, if any.
    fn named(&mut self, words: &[Word]) -> Result<(), LineError> {
        let Some((first, behind)) = words.split_first() else {
            return Ok(());
        };
        let Some(name) = literal(first).filter(|name| !name.is_empty()) else {
            return Err(LineError::Name { word: shown(first) });
        };
        if RUNNERS.contains(&name.as_str()) {
            return self.sibling(name, behind);
        }
        if name == "xargs" {
            return self.named(behind_flags_of_xargs(behind));
        }
        if name == "npm" && is_script(behind) {
            return self.script(behind);
        }
        self.line.changes_directory |= name == "cd";
        self.line.writes |= WRITERS.contains(&name.as_str());
        if !BUILTINS.contains(&name.as_str()) {
            self.line.programs.insert(name);
        }
        Ok(())
    }

    fn sibling(&mut self, runner: String, behind: &[Word]) -> Result<(), LineError> {
        let words: Vec<String> = behind.iter().map_while(flag_or_literal).collect();
        let expansion = behind.get(words.len());
        let command = || shown_command(&runner, &words);
        let meaning = (self.read)(&words).map_err(|misread| match (misread, expansion) {
            (Misread::Incomplete { .. }, Some(word)) => LineError::Expansion {
                command: command(),
                word: shown(word),
            },
            (Misread::Incomplete { what }, None) => LineError::Sibling {
                command: command(),
                why: what,
                hint: None,
            },
            (Misread::Refused { why, hint }, _) => LineError::Sibling {
                command: command(),
                why,
                hint,
            },
        })?;
        let mut words = words;
        words.truncate(meaning.taken);
        self.line.siblings.push(Sibling {
            runner,
            words,
            meaning,
        });
        Ok(())
    }

    /// `npm run NAME` without a flag is a task, as in Deno.
    fn script(&mut self, behind: &[Word]) -> Result<(), LineError> {
        let Some(name) = behind.get(1).and_then(literal) else {
            let word = behind.get(1).map(shown).unwrap_or_default();
            return Err(LineError::Expansion {
                command: "npm run".to_owned(),
                word,
            });
        };
        let mut arguments = vec!["task".to_owned()];
        arguments.push(name.clone());
        self.line.siblings.push(Sibling {
            runner: "npm".to_owned(),
            words: vec!["run".to_owned(), name],
            meaning: Meaning {
                arguments,
                taken: 2,
                reads_on: false,
            },
        });
        Ok(())
    }

    fn assignment(&mut self, variable: &EnvVar) -> Result<(), LineError> {
        self.word(&variable.value)
    }

    fn word(&mut self, word: &Word) -> Result<(), LineError> {
        self.parts(word.parts())
    }

    fn parts(&mut self, parts: &[WordPart]) -> Result<(), LineError> {
        for part in parts {
            match part {
                WordPart::Text(_) => {}
                WordPart::Variable(name) => {
                    if is_name(name) {
                        self.line.variables.insert(name.clone());
                    }
                }
                WordPart::Tilde => {
                    self.line.variables.insert("HOME".to_owned());
                }
                WordPart::Command(list) => self.list(list)?,
                WordPart::Quoted(parts) => self.parts(parts)?,
                WordPart::Brace(words) => {
                    for word in words {
                        self.word(word)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a name is one of an environment variable; `$?` and the like are the shell's own.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// `npm run NAME …` where no word may be a flag of npm.
fn is_script(behind: &[Word]) -> bool {
    behind.len() >= 2
        && behind.first().and_then(literal).as_deref() == Some("run")
        && !behind.iter().any(|word| shown(word).starts_with('-'))
}

/// The command that xargs starts: what stands behind its own flags.
fn behind_flags_of_xargs(mut words: &[Word]) -> &[Word] {
    while let Some((first, rest)) = words.split_first() {
        let Some(text) = literal(first) else { break };
        words = match text.as_str() {
            "-d" => rest.get(1..).unwrap_or_default(),
            flag if flag.starts_with('-') => rest,
            _ => break,
        };
    }
    words
}

/// A literal word, or a flag that would only be expanded if a file were called like it: the shell
/// leaves `--allow-env=AWS_*` alone, and here it always is.
fn flag_or_literal(word: &Word) -> Option<String> {
    literal(word).or_else(|| {
        let text = text_of(word.parts())?;
        text.starts_with('-').then_some(text)
    })
}

/// The text of a word in which nothing is expanded.
fn literal(word: &Word) -> Option<String> {
    let pattern = word
        .parts()
        .iter()
        .any(|part| matches!(part, WordPart::Text(text) if text.contains(['*', '?', '['])));
    if pattern {
        return None;
    }
    text_of(word.parts())
}

fn text_of(parts: &[WordPart]) -> Option<String> {
    parts
        .iter()
        .map(|part| match part {
            WordPart::Text(text) => Some(text.clone()),
            WordPart::Quoted(parts) => text_of(parts),
            _ => None,
        })
        .collect()
}

/// A word as it could have been written, for messages.
fn shown(word: &Word) -> String {
    shown_parts(word.parts())
}

fn shown_parts(parts: &[WordPart]) -> String {
    parts
        .iter()
        .map(|part| match part {
            WordPart::Text(text) => text.clone(),
            WordPart::Variable(name) => format!("${name}"),
            WordPart::Tilde => "~".to_owned(),
            WordPart::Command(_) => "$(…)".to_owned(),
            WordPart::Quoted(parts) => shown_parts(parts),
            WordPart::Brace(words) => {
                let words: Vec<String> = words.iter().map(shown).collect();
                format!("{{{}}}", words.join(","))
            }
        })
        .collect()
}

fn shown_command(runner: &str, words: &[String]) -> String {
    let mut text = runner.to_owned();
    for word in words {
        text.push(' ');
        text.push_str(word);
    }
    text
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
