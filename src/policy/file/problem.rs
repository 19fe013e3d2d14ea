// SPDX-License-Identifier: MIT
//! What is wrong with a file, shown with its lines.
//!
//! Invariant: all problems of a file are told at once, in the order of its lines.

use std::fmt;

use super::{Place, Source};

/// More than this many are counted, not shown.
const SHOWN: usize = 50;

/// Longer lines are cut, so that a message stays one.
const WIDTH: usize = 160;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The line holds a secret, and is not shown.
    pub secret: bool,
}

/// Everything wrong with one file.
#[derive(Debug, Clone)]
pub struct Problems {
    source: Box<Source>,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems of `source`, at least one.
    pub fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.place);
        list.dedup();
        Self {
            source: Box::new(source),
            list,
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    fn write(&self, problem: &Problem, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        let (line, column) = source.position(problem.place.start);
        write!(
            out,
            "{}:{line}:{column}: {}",
            source.shown.display(),
            problem.message
        )?;
        let text = source.line(line);
        if !text.trim().is_empty() && !problem.secret {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            let length = source
                .text
                .get(problem.place.start..problem.place.end)
                .map_or(1, |marked| {
                    marked.lines().next().unwrap_or_default().chars().count()
                });
            let (text, before) = cut(text, before);
            let rest = text.chars().count().saturating_sub(before);
            // Tabs are kept, so that the mark stands below what it marks.
            let blank: String = text
                .chars()
                .take(before)
                .map(|character| if character == '\t' { '\t' } else { ' ' })
                .collect();
            let number = line.to_string();
            let mark = "^".repeat(length.clamp(1, rest.max(1)));
            write!(out, "\n  {number} | {text}")?;
            write!(out, "\n  {:1$} | {blank}{mark}", "", number.len())?;
        }
        match &problem.hint {
            Some(hint) => write!(out, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A part of a long line around the marked column, and the column in it; control characters are
/// replaced, since the line goes to a terminal.
fn cut(line: &str, column: usize) -> (String, usize) {
    let skipped = if column < WIDTH {
        0
    } else {
        column - WIDTH / 2
    };
    let text = line
        .chars()
        .skip(skipped)
        .take(WIDTH)
        .map(|character| match character {
            '\t' => '\t',
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect();
    (text, column - skipped)
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(SHOWN).enumerate() {
            if index > 0 {
                formatter.write_str("\nerror: ")?;
            }
            self.write(problem, formatter)?;
        }
        match self.list.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(
                formatter,
                "\nerror: and {more} more in `{}`",
                self.source.shown.display()
            ),
        }
    }
}

impl std::error::Error for Problems {}
