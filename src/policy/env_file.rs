// SPDX-License-Identifier: MIT
//! The syntax of `--env-file`, as Deno 2.9.6 reads it (its parser is a port of Node's).
//!
//! Invariant: pure. Within one file the first definition of a name wins, of several files the last
//! one on the command line does, and no file overrides the process environment. Deviations from
//! Deno, all where Deno's reading surprises: `A=` with blanks behind it is empty (Deno takes the
//! next line for the value), `export A=` without a value defines `A`, a byte order mark is skipped,
//! and `$A` gives the value the program will see when `A` is defined twice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Origin;

/// One variable of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its value, quotes and references resolved.
    pub value: String,
    /// The file as the user named it.
    pub path: PathBuf,
    /// Line of the name, from 1.
    pub line: u32,
    /// Column of the name in characters, from 1.
    pub column: u32,
}

impl Definition {
    /// Where it is written.
    pub fn origin(&self) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: self.line,
            column: self.column,
            reason: None,
        }
    }
}

/// A line that defines nothing, or not what it seems to; worth a warning, as Deno is silent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {problem}", path.display())]
pub struct Notice {
    /// The file as the user named it.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is odd.
    pub problem: NoticeKind,
}

/// What is odd about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoticeKind {
    /// No `=`.
    #[error("the line has no `=` and is skipped")]
    NoEqualsSign,
    /// Nothing before `=`.
    #[error("the line has no name before `=` and is skipped")]
    NoName,
    /// A quote that is never closed; the rest of the line, quote included, is the value.
    #[error("the quote is never closed and is taken literally")]
    UnclosedQuote,
}

/// Why a file is no list of variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvFileError {
    /// A NUL character, which the environment cannot hold.
    #[error("{}:{line}:{column}: a NUL character", path.display())]
    Nul {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// Bytes that are no UTF-8.
    #[error("{}:{line}:{column}: not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
}

impl EnvFileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nul { .. } => "an environment variable cannot hold it; remove it".to_owned(),
            Self::NotUtf8 { .. } => "save the file as UTF-8".to_owned(),
        })
    }
}

/// What all files together define.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvFiles {
    /// One definition a name, in no order that means anything.
    pub definitions: Vec<Definition>,
    /// Oddities, in the order they were met.
    pub notices: Vec<Notice>,
}

/// Reads the bytes of all `--env-file`s, given in the order of the command line.
///
/// `process` is the process environment as far as the program may see it: it is what `$A` is looked
/// up in first, and what no file overrides. Give it only what `--allow-env` grants; otherwise a
/// program that can write its `.env` reads any variable through `X=$SECRET` in the next run.
///
/// # Errors
/// A file that is not UTF-8 or holds NUL.
pub fn parse_files(
    files: &[(&Path, &[u8])],
    process: &dyn Fn(&str) -> Option<OsString>,
) -> Result<EnvFiles, EnvFileError> {
    let mut sum = EnvFiles::default();
    // The last file wins, and the earlier ones see its values: measured on Deno 2.9.6.
    for (path, bytes) in files.iter().rev() {
        parse_into(&mut sum, path, bytes, process)?;
    }
    Ok(sum)
}

fn parse_into(
    sum: &mut EnvFiles,
    path: &Path,
    bytes: &[u8],
    process: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), EnvFileError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        // Lossy is exact here: everything before `valid_up_to` is valid.
        let before = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
        let (line, column) = position(&before, before.len());
        EnvFileError::NotUtf8 {
            path: path.to_owned(),
            line,
            column,
        }
    })?;
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace('\r', "");
    if let Some(offset) = text.find('\0') {
        let (line, column) = position(&text, offset);
        return Err(EnvFileError::Nul {
            path: path.to_owned(),
            line,
            column,
        });
    }
    let mut reader = Reader {
        text: &text,
        offset: 0,
    };
    while let Some(item) = reader.next_item() {
        let (line, column) = position(&text, item.offset);
        let notice = |problem| Notice {
            path: path.to_owned(),
            line,
            column,
            problem,
        };
        let definition = match item.kind {
            ItemKind::Odd(problem) => {
                sum.notices.push(notice(problem));
                continue;
            }
            ItemKind::Definition(definition) => definition,
        };
        if definition.value.is_unclosed() {
            sum.notices.push(notice(NoticeKind::UnclosedQuote));
        }
        let defined = sum
            .definitions
            .iter()
            .any(|known| known.name == definition.name);
        if defined || process(definition.name).is_some() {
            continue;
        }
        let value = definition.value.resolve(&|name| match process(name) {
            Some(value) => value.into_string().ok(),
            None => {
                let known = sum.definitions.iter().find(|known| known.name == name);
                known.map(|known| known.value.clone())
            }
        });
        let name = definition.name.to_owned();
        sum.definitions.push(Definition {
            name,
            value,
            path: path.to_owned(),
            line,
            column,
        });
    }
    Ok(())
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}

struct Reader<'t> {
    text: &'t str,
    offset: usize,
}

struct Item<'t> {
    offset: usize,
    kind: ItemKind<'t>,
}

enum ItemKind<'t> {
    Definition(RawDefinition<'t>),
    Odd(NoticeKind),
}

struct RawDefinition<'t> {
    name: &'t str,
    value: RawValue<'t>,
}

enum RawValue<'t> {
    /// Unquoted: references are resolved.
    Plain(&'t str),
    /// In double quotes: `\n` is a line end, references are resolved.
    Double(&'t str),
    /// In single quotes or backticks: as it is.
    Literal(&'t str),
    /// From a quote that is never closed to the end of the line: as it is.
    Unclosed(&'t str),
}

const BLANKS: [char; 2] = [' ', '\t'];
const SPACES: [char; 3] = [' ', '\t', '\n'];

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.offset..).unwrap_or("")
    }

    /// Up to, without, the next line end; the reader stands behind it afterwards.
    fn take_line(&mut self) -> &'t str {
        let line = self.rest().split('\n').next().unwrap_or("");
        self.offset = (self.offset + line.len() + 1).min(self.text.len());
        line
    }

    fn next_item(&mut self) -> Option<Item<'t>> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(SPACES);
            self.offset += rest.len() - trimmed.len();
            if trimmed.is_empty() {
                return None;
            }
            if !trimmed.starts_with('#') {
                break;
            }
            self.take_line();
        }
        let offset = self.offset;
        let odd = |problem| {
            Some(Item {
                offset,
                kind: ItemKind::Odd(problem),
            })
        };
        let line = self.rest().split('\n').next().unwrap_or("");
        let Some((key, _)) = line.split_once('=') else {
            self.take_line();
            return odd(NoticeKind::NoEqualsSign);
        };
        let name = key.trim_matches(BLANKS);
        let name = match name.strip_prefix("export") {
            Some(name) if name.is_empty() || name.starts_with(BLANKS) => name.trim_matches(BLANKS),
            _ => name,
        };
        // A variable may be called `export`; only `export NAME` is the keyword.
        let name = if name.is_empty() {
            key.trim_matches(BLANKS)
        } else {
            name
        };
        if name.is_empty() {
            self.take_line();
            return odd(NoticeKind::NoName);
        }
        self.offset += key.len() + 1;
        let value = self.take_value();
        Some(Item {
            offset,
            kind: ItemKind::Definition(RawDefinition { name, value }),
        })
    }

    fn take_value(&mut self) -> RawValue<'t> {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches(BLANKS);
        self.offset += rest.len() - trimmed.len();
        let Some(quote) = trimmed
            .chars()
            .next()
            .filter(|first| matches!(first, '"' | '\'' | '`'))
        else {
            let line = self.take_line();
            let value = line.split('#').next().unwrap_or("");
            return RawValue::Plain(value.trim_matches(BLANKS));
        };
        // The closing quote may stand lines below; a backslash does not escape it.
        let Some((value, _)) = trimmed.get(1..).and_then(|inside| inside.split_once(quote)) else {
            return RawValue::Unclosed(self.take_line());
        };
        self.offset += value.len() + 2;
        self.take_line();
        if quote == '"' {
            RawValue::Double(value)
        } else {
            RawValue::Literal(value)
        }
    }
}

impl RawValue<'_> {
    fn is_unclosed(&self) -> bool {
        matches!(self, Self::Unclosed(_))
    }

    fn resolve(&self, lookup: &dyn Fn(&str) -> Option<String>) -> String {
        match self {
            Self::Plain(text) => expand(text, lookup),
            Self::Double(text) => expand(&text.replace("\\n", "\n"), lookup),
            Self::Literal(text) | Self::Unclosed(text) => (*text).to_owned(),
        }
    }
}

/// Resolves `$NAME` (ASCII letters, digits, underscores) and `${NAME}` (anything up to `}` or the
/// end); `\$` is a dollar sign; an unknown name is empty. What was put in is not looked at again.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, behind) = rest.split_at(dollar);
        let behind = behind.get(1..).unwrap_or("");
        if let Some(before) = before.strip_suffix('\\') {
            output.push_str(before);
            output.push('$');
            rest = behind;
            continue;
        }
        output.push_str(before);
        let name = if let Some(inside) = behind.strip_prefix('{') {
            let (name, remaining) = inside.split_once('}').unwrap_or((inside, ""));
            rest = remaining;
            name
        } else {
            let end = behind
                .find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
            let (name, remaining) = behind.split_at(end.unwrap_or(behind.len()));
            rest = remaining;
            name
        };
        output.push_str(&lookup(name).unwrap_or_default());
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str) -> Option<OsString> {
        (name == "PROC").then(|| "proc".into())
    }

    fn parse(text: &str) -> EnvFiles {
        parse_files(&[(Path::new("f"), text.as_bytes())], &process).unwrap()
    }

    fn pairs(files: &EnvFiles) -> Vec<(&str, &str)> {
        files
            .definitions
            .iter()
            .map(|found| (found.name.as_str(), found.value.as_str()))
            .collect()
    }

    /// Every expectation but the marked ones is what Deno 2.9.6 answers to the same file.
    #[test]
    fn syntax() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("A=1", &[("A", "1")]),
            (
                "A=1\nB = spaced value  \nC=",
                &[("A", "1"), ("B", "spaced value"), ("C", "")],
            ),
            ("  # c\n\n   A=x\n\tB=y\n#C=z\n", &[("A", "x"), ("B", "y")]),
            ("A=a b # c\nB=a#b", &[("A", "a b"), ("B", "a")]),
            (
                "A=\"q # x\" # c\nB='q # x' c\nC=`b#`",
                &[("A", "q # x"), ("B", "q # x"), ("C", "b#")],
            ),
            (
                "A=\"l1\nl2\"\nB='s\nm'\n",
                &[("A", "l1\nl2"), ("B", "s\nm")],
            ),
            (r#"A="n\nt\td\\e\$f""#, &[("A", "n\nt\\td\\\\e$f")]),
            (r"A='$PROC \n'", &[("A", "$PROC \\n")]),
            (r#"A="x\"y"#, &[("A", "x\\")]),
            (
                "A=$PROC\nB=${PROC}x\nC=\"${B}\"",
                &[("A", "proc"), ("B", "procx"), ("C", "procx")],
            ),
            (
                "A=$NO|${NO}|\nB=${PROC:-d}\nC=\\$PROC",
                &[("A", "||"), ("B", ""), ("C", "$PROC")],
            ),
            ("A=${UNCLOSED\nB=1", &[("A", ""), ("B", "1")]),
            (
                "A=$B\nB=late\nC=$A$B${B}",
                &[("A", ""), ("B", "late"), ("C", "latelate")],
            ),
            (
                "X_Y=5\nX=1\nA=$X_Y",
                &[("X_Y", "5"), ("X", "1"), ("A", "5")],
            ),
            (
                "X=1\nA=$X-b\nB=$Xé",
                &[("X", "1"), ("A", "1-b"), ("B", "1é")],
            ),
            (
                "X=1\nA=${X}_Y\nB=${ X }",
                &[("X", "1"), ("A", "1_Y"), ("B", "")],
            ),
            ("A=|$9|$|$\nB=a$", &[("A", "|||"), ("B", "a")]),
            (
                "X=1\nA=\\${X}\nB=\"\\\\$X\"",
                &[("X", "1"), ("A", "${X}"), ("B", "\\$X")],
            ),
            ("A='$PROC'\nB=$A", &[("A", "$PROC"), ("B", "$PROC")]),
            ("export A=x\nexport  B=y", &[("A", "x"), ("B", "y")]),
            (
                "exported=x\nexport=y",
                &[("exported", "x"), ("export", "y")],
            ),
            ("A=x\"y\"z\nB=x 'y'", &[("A", "x\"y\"z"), ("B", "x 'y'")]),
            ("A=\"a\"b\nB=c", &[("A", "a"), ("B", "c")]),
            (
                "A=a\\ b\nB=a\\nb\nC=a\\",
                &[("A", "a\\ b"), ("B", "a\\nb"), ("C", "a\\")],
            ),
            (
                "1X=bad\na.b=1\nx-y=3",
                &[("1X", "bad"), ("a.b", "1"), ("x-y", "3")],
            ),
            ("A=x\r\nB=\"q\"\r\n", &[("A", "x"), ("B", "q")]),
            ("A=a=b==", &[("A", "a=b==")]),
            ("A=first\nA=second", &[("A", "first")]),
            ("PROC=over\nP=$PROC", &[("P", "proc")]),
            // Deviations, see the module's first lines.
            ("A=  \nB=y", &[("A", ""), ("B", "y")]),
            ("export A=\nB=y", &[("A", ""), ("B", "y")]),
            ("\u{feff}A=x", &[("A", "x")]),
            ("A=1\nA=2\nB=$A", &[("A", "1"), ("B", "1")]),
        ];
        for (text, expected) in table {
            assert_eq!(pairs(&parse(text)), *expected, "{text:?}");
        }
    }

    #[test]
    fn odd_lines_are_told() {
        for (text, notice, expected) in [
            (
                "A=1\n  B\nC=2",
                "f:2:3: the line has no `=` and is skipped",
                &[("A", "1"), ("C", "2")][..],
            ),
            (
                "A: x\nC=2",
                "f:1:1: the line has no `=` and is skipped",
                &[("C", "2")],
            ),
            (
                "=x\nC=2",
                "f:1:1: the line has no name before `=` and is skipped",
                &[("C", "2")],
            ),
            (
                "é=1\nA=\"x\nC=2",
                "f:2:1: the quote is never closed and is taken literally",
                &[("é", "1"), ("A", "\"x"), ("C", "2")],
            ),
        ] {
            let parsed = parse(text);
            let notices: Vec<_> = parsed.notices.iter().map(ToString::to_string).collect();
            assert_eq!(notices, [notice], "{text:?}");
            assert_eq!(pairs(&parsed), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_file_wins_and_the_first_sees_it() {
        let (one, two) = (Path::new("one"), Path::new("two"));
        let files: &[(&Path, &[u8])] = &[(one, b"A=1\nB=$C"), (two, b"\nA=2\nC=3\nD=$A")];
        let parsed = parse_files(files, &process).unwrap();
        assert_eq!(
            pairs(&parsed),
            [("A", "2"), ("C", "3"), ("D", "2"), ("B", "3")]
        );
        assert_eq!(parsed.definitions[0].origin().to_string(), "two:2:1");
        assert_eq!(parsed.definitions[3].origin().to_string(), "one:2:1");
    }

    #[test]
    fn bytes_the_environment_cannot_hold_are_errors() {
        let error = |bytes: &[u8]| {
            parse_files(&[(Path::new("f"), bytes)], &process).map_err(|error| error.to_string())
        };
        assert_eq!(
            error(b"A=1\nBB=\0"),
            Err("f:2:4: a NUL character".to_owned())
        );
        assert_eq!(error(b"A=\xc3\xa9\xff"), Err("f:1:4: not UTF-8".to_owned()));
        assert!(error(b"A=\xc3\xa9").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[A-C=\"'`$\\{\\}\\\\n#\n\r \t\u{e9}]{0,60}|.*") {
            let _ = parse_files(&[(Path::new("f"), text.as_bytes())], &process);
        }

        #[test]
        fn single_quotes_hold_anything_else(value in "[^'\r\0]{0,40}") {
            let parsed = parse(&format!("A='{value}'"));
            proptest::prop_assert_eq!(pairs(&parsed), [("A", value.as_str())]);
        }
    }
}
