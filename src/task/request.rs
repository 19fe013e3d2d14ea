// SPDX-License-Identifier: MIT
//! What the shell asks for, and how it is written: a message with four descriptors (input, output,
//! error output, and one end of a stream), and the request itself in that stream.
//!
//! On the stream the shell writes the length of the request (4 bytes, little endian), the request as
//! JSON, and then single bytes, each a signal for the sibling. It reads the exit code (4 bytes,
//! little endian). Closing the stream ends the sibling.
//!
//! Invariant: whatever arrives is read with a limit and judged by [`judge`]; nothing in it is believed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::line::{Line, Sibling};
use crate::policy::loader_variables::loader_variable;
use crate::policy::own_variables::is_own_variable;

/// More than the arguments and variables of a process may be (execve(2): 128 KiB a string, a quarter
/// of the stack together).
pub const LIMIT: usize = 4 << 20;

/// How many siblings one line may have at a time.
pub const AT_ONCE: usize = 64;

/// The start of a sibling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Which of the line's siblings.
    pub sibling: usize,
    /// The words behind its script.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Variables that the line has set, by name.
    pub set: BTreeMap<String, String>,
    /// Variables that it has removed.
    pub unset: Vec<String>,
}

/// A request that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted<'l> {
    /// Which of the line's siblings.
    pub position: usize,
    /// What starts.
    pub sibling: &'l Sibling,
    /// The words behind its script.
    pub arguments: Vec<String>,
    /// Where; below the root, without `..`.
    pub directory: PathBuf,
    /// Its environment, as its own Stockade gets it.
    pub variables: BTreeMap<OsString, OsString>,
    /// Variables of the line that were kept back.
    pub kept_back: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not this protocol.
    #[error("the request is malformed")]
    Malformed,
    /// More than [`LIMIT`].
    #[error("the request is longer than {LIMIT} bytes")]
    TooLong,
    /// More than [`AT_ONCE`].
    #[error("more than {AT_ONCE} programs at a time")]
    TooMany,
    /// No sibling of the line.
    #[error("the line has no program {0}")]
    Unknown(usize),
    /// A word that would be read as a flag.
    #[error("`{0}` behind an expansion would be read as a flag")]
    Flag(String),
    /// A directory that is not the project's.
    #[error("`{0}` is outside the project")]
    Outside(PathBuf),
    /// Another directory than the task's, though the line changes none.
    #[error("`{0}` is not the directory of the task")]
    Elsewhere(PathBuf),
    /// More than its line may be granted, by now.
    #[error("{why}")]
    Bounds {
        /// What is more.
        why: String,
        /// What would allow it.
        hint: Option<String>,
    },
}

impl Refusal {
    /// The `hint:` line.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Bounds { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

/// Where a line runs and what its siblings start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground<'g> {
    /// The directory of the task.
    pub directory: &'g Path,
    /// The root of the project.
    pub root: &'g Path,
    /// The caller's environment.
    pub variables: &'g BTreeMap<OsString, OsString>,
}

/// Decides what a request gets.
///
/// # Errors
/// [`Refusal`].
pub fn judge<'l>(
    bytes: &[u8],
    line: &'l Line,
    ground: &Ground<'_>,
) -> Result<Granted<'l>, Refusal> {
    let request: Request = serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)?;
    let unknown = Refusal::Unknown(request.sibling);
    let sibling = line.siblings.get(request.sibling).ok_or(unknown)?;
    if sibling.meaning.reads_on
        && let Some(flag) = first_flag(&request.arguments)
    {
        return Err(Refusal::Flag(flag.to_owned()));
    }
    if request
        .arguments
        .iter()
        .any(|argument| argument.contains('\0'))
    {
        return Err(Refusal::Malformed);
    }
    let directory = request.directory;
    let plain = |component| matches!(component, Component::Normal(_) | Component::RootDir);
    if !directory.starts_with(ground.root) || !directory.components().all(plain) {
        return Err(Refusal::Outside(directory));
    }
    if !line.changes_directory && directory != ground.directory {
        return Err(Refusal::Elsewhere(directory));
    }
    let mut variables = ground.variables.clone();
    let mut kept_back = Vec::new();
    for (name, value) in request.set {
        if !is_variable(&name, &value) {
            return Err(Refusal::Malformed);
        }
        if is_ours(&name) {
            kept_back.push(name);
        } else {
            variables.insert(name.into(), value.into());
        }
    }
    for name in request.unset {
        if !is_ours(&name) {
            variables.remove(OsStr::new(&name));
        }
    }
    Ok(Granted {
        position: request.sibling,
        sibling,
        arguments: request.arguments,
        directory,
        variables,
        kept_back,
    })
}

/// The first word that a parser of flags would take for one; behind `--` there is none.
fn first_flag(words: &[String]) -> Option<&str> {
    words
        .iter()
        .map(String::as_str)
        .take_while(|word| *word != "--")
        .find(|word| word.starts_with('-'))
}

fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Whether a line cannot set a variable for what it starts: Stockade, the preparation of a program or
/// the program's loader goes by it.
pub fn is_ours(name: &str) -> bool {
    loader_variable(name).is_some() || is_own_variable(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::line::{Meaning, Misread};

    type Answer = (Vec<String>, BTreeMap<OsString, OsString>, Vec<String>);

    fn line(text: &str, reads_on: bool) -> Line {
        let read = |words: &[String]| -> Result<Meaning, Misread> {
            Ok(Meaning {
                arguments: words.to_vec(),
                taken: words.len().min(2),
                reads_on,
            })
        };
        Line::parse(text, &read).unwrap()
    }

    fn ask(line: &Line, request: &Request) -> Result<Answer, Refusal> {
        let variables = BTreeMap::from([
            ("HOME".into(), "/home/u".into()),
            ("KEY".into(), "k".into()),
        ]);
        let ground = Ground {
            directory: Path::new("/w/m"),
            root: Path::new("/w"),
            variables: &variables,
        };
        let bytes = serde_json::to_vec(request).unwrap();
        judge(&bytes, line, &ground)
            .map(|granted| (granted.arguments, granted.variables, granted.kept_back))
    }

    fn request() -> Request {
        Request {
            directory: "/w/m".into(),
            ..Request::default()
        }
    }

    #[test]
    fn only_siblings_of_the_line_start() {
        let line = line("deno run a.ts", false);
        assert!(ask(&line, &request()).is_ok());
        let other = Request {
            sibling: 1,
            ..request()
        };
        assert_eq!(ask(&line, &other).unwrap_err(), Refusal::Unknown(1));
        let ground = Ground {
            directory: Path::new("/w"),
            root: Path::new("/w"),
            variables: &BTreeMap::new(),
        };
        for bytes in [&b""[..], b"{}", b"null", b"\xff", b"{\"sibling\":-1}"] {
            assert_eq!(
                judge(bytes, &line, &ground).unwrap_err(),
                Refusal::Malformed
            );
        }
    }

    #[test]
    fn flags_come_from_the_line_only() {
        let arguments = |words: &[&str]| Request {
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            ..request()
        };
        let run = line("deno run a.ts", false);
        assert!(
            ask(&run, &arguments(&["-A", "--x"])).is_ok(),
            "words of the script"
        );
        let test = line("deno test", true);
        assert!(ask(&test, &arguments(&["a_test.ts", "--", "-A"])).is_ok());
        for words in [&["-A"][..], &["a_test.ts", "--allow-all", "--"], &["-"]] {
            assert!(
                matches!(ask(&test, &arguments(words)), Err(Refusal::Flag(_))),
                "{words:?}"
            );
        }
        assert_eq!(
            ask(&run, &arguments(&["a\0b"])).unwrap_err(),
            Refusal::Malformed
        );
    }

    #[test]
    fn directories_stay_in_the_project() {
        let still = line("deno run a.ts", false);
        let moving = line("cd x && deno run a.ts", false);
        let at = |directory: &str| Request {
            directory: directory.into(),
            ..request()
        };
        for (directory, moved) in [
            ("/w/m", true),
            ("/w/m/x", true),
            ("/w", true),
            ("/w/n", true),
        ] {
            assert_eq!(ask(&moving, &at(directory)).is_ok(), moved, "{directory}");
            assert_eq!(
                ask(&still, &at(directory)).is_ok(),
                directory == "/w/m",
                "{directory}"
            );
        }
        for directory in ["/", "/wx", "/w/../etc", "/w/m/../../etc", "w/m", "", "/etc"] {
            assert!(
                matches!(ask(&moving, &at(directory)), Err(Refusal::Outside(_))),
                "{directory}"
            );
        }
    }

    #[test]
    fn variables_that_stockade_goes_by_are_the_callers() {
        let line = line("deno run a.ts", false);
        let set = |name: &str, value: &str| Request {
            set: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..request()
        };
        let (_, variables, kept_back) = ask(&line, &set("PORT", "1")).unwrap();
        assert_eq!(variables.get(OsStr::new("PORT")), Some(&"1".into()));
        assert!(kept_back.is_empty());
        for name in [
            "HOME",
            "PATH",
            "LD_PRELOAD",
            "DENO_DIR",
            "NODE_OPTIONS",
            "STOCKADE_CACHE",
            "XDG_CACHE_HOME",
            "https_proxy",
            "HTTP_PROXY",
            "npm_config_registry",
            "TMPDIR",
            "SSL_CERT_FILE",
            "XDG_CONFIG_HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "AWS_CA_BUNDLE",
            "CARGO_HTTP_CAINFO",
            "GIT_SSL_CAINFO",
            "NIX_SSL_CERT_FILE",
            "PIP_CERT",
            "PYENV_VERSION",
            "CARGO_HOME",
        ] {
            let (_, variables, kept_back) = ask(&line, &set(name, "/evil")).unwrap();
            assert_ne!(
                variables.get(OsStr::new(name)),
                Some(&"/evil".into()),
                "{name}"
            );
            assert_eq!(kept_back, [name]);
        }
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0")] {
            assert_eq!(
                ask(&line, &set(name, value)).unwrap_err(),
                Refusal::Malformed
            );
        }
        let unset = Request {
            unset: vec!["KEY".into(), "HOME".into()],
            ..request()
        };
        let (_, variables, _) = ask(&line, &unset).unwrap();
        assert!(!variables.contains_key(OsStr::new("KEY")));
        assert!(variables.contains_key(OsStr::new("HOME")));
    }
}
