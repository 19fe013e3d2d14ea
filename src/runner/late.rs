// SPDX-License-Identifier: MIT
//! Modules that no import line names: computed `import()` calls and workers. The runner's graph does
//! not have them, so what they load was not prepared.
//!
//! Invariant: pure. The scan knows strings, comments, templates and regular expressions, not the
//! grammar; what it finds becomes a hint, never a grant.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::graph::{self, Place};
use crate::policy::grammar::lexical;

/// One place that loads what prepare does not see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// `FILE:LINE:COLUMN`.
    pub place: String,
    /// The worker's module, where it is written out.
    pub worker: Option<String>,
}

impl Late {
    /// The worker's module, where that is a file.
    pub fn local_worker(&self) -> Option<&Path> {
        let worker = self.worker.as_deref().map(Path::new);
        worker.filter(|path| path.is_absolute())
    }

    /// What would help when the module was not found.
    pub fn hint(&self) -> String {
        let Self { place, worker } = self;
        match worker {
            Some(module) => format!(
                "{place}: the imports of the worker `{module}` were not prepared; `--include={module}` does"
            ),
            None => format!(
                "{place}: the module is named when the program runs, and was not prepared; `--include=FILE` (or `npm:…`, `jsr:…`, a URL) does"
            ),
        }
    }
}

/// What a module says about one load.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    line: u32,
    column: u32,
    /// The text of a worker's specifier; none when it is computed.
    worker: Option<String>,
}

/// The late loads of one file of a program; `loaded` tells what is prepared.
pub fn of(path: &Path, source: &str, loaded: &dyn Fn(&Path) -> bool) -> Vec<Late> {
    let directory = path.parent().unwrap_or(path);
    scan(source)
        .into_iter()
        .filter_map(|found| {
            let worker = match &found.worker {
                None => None,
                Some(text) if text.starts_with("data:") || text.starts_with("blob:") => {
                    return None;
                }
                Some(text) if graph::is_remote(text) => Some(text.clone()),
                Some(text) => {
                    let named = match graph::file_path(text) {
                        Some(path) => path,
                        None => lexical(directory, Path::new(text)),
                    };
                    if loaded(&named) {
                        return None;
                    }
                    Some(named.display().to_string())
                }
            };
            let place = Place {
                module: path.display().to_string(),
                line: found.line,
                column: found.column,
            };
            Some(Late {
                place: place.to_string(),
                worker,
            })
        })
        .collect()
}

/// The same for files of this machine.
pub fn of_files<'a>(
    files: impl IntoIterator<Item = (&'a Path, Vec<u8>)>,
    loaded: &dyn Fn(&Path) -> bool,
) -> Vec<Late> {
    /// More than these are not told.
    const LIMIT: usize = 3;
    let found = files.into_iter().flat_map(|(path, bytes)| {
        let source = String::from_utf8_lossy(&bytes);
        of(&PathBuf::from(path), &source, loaded)
    });
    found.take(LIMIT).collect()
}

fn scan(source: &str) -> Vec<Found> {
    let mut scanner = Scanner {
        bytes: source.as_bytes(),
        at: 0,
    };
    let mut found = Vec::new();
    // Depths of braces at which templates go on.
    let mut templates: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    // Whether a slash begins a regular expression, by what stands before it.
    let mut operand = true;
    let mut member = false;
    while let Some(byte) = scanner.next_significant() {
        let start = scanner.at;
        let was_member = std::mem::take(&mut member);
        match byte {
            b'"' | b'\'' => {
                scanner.string();
                operand = false;
            }
            b'`' => {
                scanner.at += 1;
                if scanner.template() {
                    templates.push(depth);
                    operand = true;
                } else {
                    operand = false;
                }
            }
            b'/' if operand && scanner.byte(start.wrapping_sub(1)) != Some(b'<') => {
                scanner.expression();
                operand = false;
            }
            b'{' => {
                depth += 1;
                scanner.at += 1;
                operand = true;
            }
            b'}' if templates.last() == Some(&depth) => {
                scanner.at += 1;
                operand = scanner.template();
                if !operand {
                    templates.pop();
                }
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                scanner.at += 1;
                operand = false;
            }
            _ if is_word(byte) => {
                let word = scanner.word();
                operand = is_operator(word);
                let worker = match word {
                    b"import" if !was_member => Some(false),
                    b"new" if !was_member => {
                        scanner.next_significant();
                        (scanner.word() == b"Worker").then_some(true)
                    }
                    _ => None,
                };
                if let Some(is_worker) = worker
                    && scanner.next_significant() == Some(b'(')
                {
                    scanner.at += 1;
                    if let Some(worker) = scanner.argument(is_worker) {
                        let (line, column) = position(source, start);
                        found.push(Found {
                            line,
                            column,
                            worker,
                        });
                    }
                    operand = true;
                }
            }
            _ => {
                scanner.at += 1;
                member = byte == b'.' && scanner.byte(scanner.at) != Some(b'.') && {
                    // `...import(x)` spreads; `x.import(y)` is a method.
                    scanner.byte(start.wrapping_sub(1)) != Some(b'.')
                };
                operand = !matches!(byte, b')' | b']');
            }
        }
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'#') || byte >= 0x80
}

/// Words behind which an operand follows.
fn is_operator(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"return",
        b"typeof",
        b"case",
        b"in",
        b"of",
        b"do",
        b"else",
        b"delete",
        b"void",
        b"throw",
        b"await",
        b"yield",
        b"new",
        b"instanceof",
    ];
    WORDS.contains(&word)
}

/// Line and column, both from 1, of a byte; columns count UTF-16 units, as Deno's do.
fn position(source: &str, at: usize) -> (u32, u32) {
    let before = source.get(..at).unwrap_or_default();
    let line = before.matches('\n').count();
    let last = before.rsplit('\n').next().unwrap_or_default();
    let column = last.encode_utf16().count();
    let from_one = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    (from_one(line), from_one(column))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Goes on to the next byte that is neither space nor comment.
    fn next_significant(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte(self.at)?;
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if self.rest().starts_with(b"//") {
                self.until(b"\n");
            } else if self.rest().starts_with(b"/*") {
                self.at += 2;
                self.until(b"*/");
            } else {
                return Some(byte);
            }
        }
    }

    /// Goes behind the next `end`, or to the end.
    fn until(&mut self, end: &[u8]) {
        let found = self.rest().windows(end.len()).position(|text| text == end);
        self.at = found.map_or(self.bytes.len(), |offset| self.at + offset + end.len());
    }

    fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Goes behind a string and returns what is in it; it ends with its line at the latest.
    fn string(&mut self) -> &'a [u8] {
        let quote = self.byte(self.at);
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.byte(self.at) {
            if Some(byte) == quote || byte == b'\n' {
                break;
            }
            self.at += if byte == b'\\' { 2 } else { 1 };
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        text
    }

    /// Goes behind a template's end, or behind the next `${` in it; true for the latter.
    fn template(&mut self) -> bool {
        while let Some(byte) = self.byte(self.at) {
            if byte == b'`' {
                self.at += 1;
                return false;
            }
            if self.rest().starts_with(b"${") {
                self.at += 2;
                return true;
            }
            self.at += if byte == b'\\' { 2 } else { 1 };
        }
        false
    }

    /// Goes behind a regular expression; one that does not end in its line is none.
    fn expression(&mut self) {
        self.at += 1;
        let mut class = false;
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'\n' => return,
                b'[' => class = true,
                b']' => class = false,
                b'/' if !class => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.at += 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Looks at the first argument of a load without going on: none when the graph has it, else the
    /// text of a worker's specifier, as far as it is written out.
    fn argument(&self, is_worker: bool) -> Option<Option<String>> {
        let mut ahead = Self {
            bytes: self.bytes,
            at: self.at,
        };
        ahead.next_significant()?;
        if !is_worker {
            return match ahead.literal() {
                Some(_) => None,
                // Deno's graph has the files a template with such a beginning may mean.
                None if [&b"`./"[..], b"`../"]
                    .iter()
                    .any(|start| ahead.rest().starts_with(start)) =>
                {
                    None
                }
                // A word of the grammar, as in `import(): void`.
                None if ahead.byte(ahead.at) == Some(b')') => None,
                None => Some(None),
            };
        }
        if ahead.rest().starts_with(b"import.meta.url") {
            return None;
        }
        for wrapper in [&b"import.meta.resolve"[..], b"new URL"] {
            if ahead.rest().starts_with(wrapper) {
                ahead.at += wrapper.len();
                ahead.next_significant();
                ahead.at += 1;
                ahead.next_significant();
            }
        }
        Some(ahead.literal())
    }

    /// The whole argument, when it is one string.
    fn literal(&self) -> Option<String> {
        let mut ahead = Self {
            bytes: self.bytes,
            at: self.at,
        };
        let text = match ahead.byte(ahead.at)? {
            b'"' | b'\'' => ahead.string(),
            b'`' => {
                let start = ahead.at + 1;
                ahead.at = start;
                if ahead.template() {
                    return None;
                }
                ahead.bytes.get(start..ahead.at - 1).unwrap_or_default()
            }
            _ => return None,
        };
        matches!(ahead.next_significant(), Some(b')' | b',') | None)
            .then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(source: &str) -> String {
        let found = scan(source).into_iter().map(|found| {
            let worker = found.worker.map(|text| format!("={text}"));
            format!(
                "{}:{}{}",
                found.line,
                found.column,
                worker.unwrap_or_default()
            )
        });
        found.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_the_graph_has_is_not_late() {
        for source in [
            "import a from './a.ts'; import('./b.ts'); import(\"npm:x@1\", { with: {} });",
            "import(`./plain.ts`); import(`./${name}.ts`); import(`../x/${name}`);",
            "x.import(name); x?.import(name); const o = { import: 1 }; import.meta.url;",
            "// import(name)\n/* new Worker(x) */ 'import(name)' + `import(name)` + /import(name)/",
            "new Worker(import.meta.url); type W = typeof import('./w.ts');",
            "const half = a / b; const text = 'import(name)'; c / d;",
        ] {
            assert_eq!(places(source), "", "{source}");
        }
    }

    #[test]
    fn computed_names_are_late() {
        for (source, expected) in [
            ("import(name)", "1:1"),
            ("\n  await import(['a', 'b'].join('/'));", "2:9"),
            ("import('./a' + '.ts')", "1:1"),
            ("import(`npm:${name}`)", "1:1"),
            ("import( /* why */ name, { with: { type: 'json' } })", "1:1"),
            (
                "`a ${await import(name)} b ${`${import(other)}`} 'c`; import(third)",
                "1:12 1:33 1:55",
            ),
            ("[...import(name)]", "1:5"),
            ("return /[/'\"]/.test(x) && import(name)", "1:27"),
            ("x = a / b; y = 'don\\'t'; import(name) / 2", "1:26"),
            ("<p>don't</p>;\nimport(name)", "2:1"),
            ("'ü'; import(name)", "1:6"),
        ] {
            assert_eq!(places(source), expected, "{source}");
        }
    }

    #[test]
    fn workers_are_late_by_the_name_they_have() {
        for (source, expected) in [
            (
                "new Worker(new URL('./w.ts', import.meta.url).href, {})",
                "1:1=./w.ts",
            ),
            (
                "new  Worker( import.meta.resolve( \"./w.ts\" ) )",
                "1:1=./w.ts",
            ),
            (
                "new Worker('https://a.test/w.js')",
                "1:1=https://a.test/w.js",
            ),
            ("new Worker(url, { type: 'module' })", "1:1"),
            ("new Workers(url)", ""),
        ] {
            assert_eq!(places(source), expected, "{source}");
        }
    }

    #[test]
    fn workers_that_are_part_of_the_program_are_not_late() {
        let source = "new Worker(new URL('../w.ts', import.meta.url)); new Worker('data:,')";
        let late = |known: bool| of(Path::new("/w/src/m.ts"), source, &|_| known);
        assert_eq!(late(true), []);
        assert_eq!(
            late(false)[0].hint(),
            "/w/src/m.ts:1:1: the imports of the worker `/w/w.ts` were not prepared; `--include=/w/w.ts` does"
        );
        assert_eq!(late(false).len(), 1);
    }

    #[test]
    fn any_text_is_scanned_to_its_end() {
        for source in [
            "",
            "'",
            "`",
            "`${",
            "/",
            "/*",
            "new",
            "import(",
            "\\",
            "}",
            "new Worker(new URL",
            "import(`",
            "'\\",
        ] {
            scan(source);
        }
    }
}
