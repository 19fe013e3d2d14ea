// SPDX-License-Identifier: MIT
//! Which Deno executable runs the program: the embedded one, one named by the user, or `deno` from
//! PATH.
//!
//! Invariant: what is returned is an ELF executable of this machine that said it is Deno 2.0 or
//! newer.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache::{self, CacheError};
use super::unpack::{self, Progress, UnpackError};
use super::{Captured, Confined, ConfinedRequest, Embedded, Runner, Version, hexadecimal};
use crate::host::{FileKind, Host, Inspected};
use crate::plan::elf::{ElfError, HEAD, parse_elf};

/// Where the executable is to come from.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// The one inside this binary.
    Embedded(&'a Embedded),
    /// `--runner PATH`.
    Path(&'a Path),
    /// The first `deno` of PATH that is an executable: builds without an embedded one.
    Search,
}

/// Why there is no runner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The embedded executable could not be unpacked.
    #[error(transparent)]
    Unpack(UnpackError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The path cannot be opened.
    #[error("cannot open the runner `{path}`")]
    Open {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It is a directory, a device, a socket.
    #[error("the runner `{path}` is not a regular file")]
    NotFile {
        /// The path.
        path: PathBuf,
    },
    /// It has no execute permission.
    #[error("the runner `{path}` is not executable")]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// A shebang script, such as a version manager's shim.
    #[error("the runner `{path}` is a script, not the Deno executable")]
    Script {
        /// The path.
        path: PathBuf,
    },
    /// Neither a script nor an ELF file.
    #[error("the runner `{path}` is not an executable")]
    Headers {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: ElfError,
    },
    /// Built for another machine.
    #[error("the runner `{path}` is built for {found}; this machine is {machine}")]
    OtherMachine {
        /// The path.
        path: PathBuf,
        /// What its headers say.
        found: &'static str,
        /// `uname -m`.
        machine: String,
    },
    /// It could not be asked for its version.
    #[error("cannot ask the runner `{path}` for its version")]
    Ask {
        /// The path.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer as Deno does.
    #[error("the runner `{path}` is no Deno: `--version` answered `{answer}`")]
    NotDeno {
        /// The path.
        path: PathBuf,
        /// The first line of its output.
        answer: String,
    },
    /// Deno 1.
    #[error("the runner `{path}` is Deno {version}; {oldest} or newer is needed", oldest = Version::OLDEST)]
    TooOld {
        /// The path.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
    /// Nothing was built in and PATH holds no `deno`.
    #[error("no `deno` found in PATH, and this build of Stockade embeds none")]
    NotFound,
}

impl LocateError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Script { .. } => Some(
                "name the real executable with --runner: `deno eval 'console.log(Deno.execPath())'` \
                 prints its path"
                    .to_owned(),
            ),
            Self::NotFound => Some(
                "install Deno 2.0 or newer, name it with --runner PATH, or build Stockade with its \
                 default features"
                    .to_owned(),
            ),
            Self::Ask { .. } => None,
            _ => Some("--runner takes the path of a Deno executable, 2.0 or newer".to_owned()),
        }
    }
}

/// The runner and what the user should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The runner.
    pub runner: Runner,
    /// A shim that was resolved, a changed file that was replaced.
    pub notices: Vec<String>,
}

/// What `version.json` keeps about an executable that was asked.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    version: Version,
}

/// Finds the runner. `cache` is the cache root; `confined` runs `--version` of an executable that
/// is not the embedded one, once per file version.
///
/// # Errors
/// [`LocateError`].
pub fn locate(
    host: &dyn Host,
    choice: Choice<'_>,
    cache: &Path,
    confined: &dyn Confined,
    progress: &mut dyn FnMut(Progress),
) -> Result<Located, LocateError> {
    match choice {
        Choice::Embedded(embedded) => {
            let unpacked =
                unpack::unpack(host, cache, embedded, progress).map_err(LocateError::Unpack)?;
            let version = Version::parse(embedded.version).unwrap_or(Version::OLDEST);
            let runner = Runner {
                path: unpacked.path,
                stamp: unpacked.stamp,
                version,
                id: unpack::embedded_id(embedded),
            };
            Ok(Located {
                runner,
                notices: unpacked.notices,
            })
        }
        Choice::Path(path) => {
            let path = host.current_directory().join(path);
            let found = inspect(host, &path)?;
            ask(host, &found, cache, confined).map(|runner| Located {
                runner,
                notices: Vec::new(),
            })
        }
        Choice::Search => {
            let (found, notices) = search(host)?;
            ask(host, &found, cache, confined).map(|runner| Located { runner, notices })
        }
    }
}

fn inspect(host: &dyn Host, path: &Path) -> Result<Inspected, LocateError> {
    let found = host.inspect(path).map_err(|source| LocateError::Open {
        path: path.to_owned(),
        source,
    })?;
    if found.kind != FileKind::File {
        return Err(LocateError::NotFile {
            path: path.to_owned(),
        });
    }
    if found.mode & 0o111 == 0 {
        return Err(LocateError::NotExecutable {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn read_head(host: &dyn Host, path: &Path) -> Result<Vec<u8>, LocateError> {
    host.read_file(path, 16 * HEAD)
        .map_err(|source| LocateError::Open {
            path: path.to_owned(),
            source,
        })
}

/// The first `deno` of PATH; a script there is followed to the executable it starts.
fn search(host: &dyn Host) -> Result<(Inspected, Vec<String>), LocateError> {
    let mut script = None;
    let path = host.variable("PATH").unwrap_or_default();
    for directory in path
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|entry| !entry.is_empty())
    {
        let directory = Path::new(std::ffi::OsStr::from_bytes(directory));
        let candidate = host.current_directory().join(directory).join("deno");
        let Ok(found) = inspect(host, &candidate) else {
            continue;
        };
        if !read_head(host, &found.real_path)?.starts_with(b"#!") {
            return Ok((found, Vec::new()));
        }
        if let Some(real) = behind_script(host, &found.real_path) {
            let notice = format!(
                "`{}` is a script; it starts `{}`",
                candidate.display(),
                real.real_path.display()
            );
            return Ok((real, vec![notice]));
        }
        script.get_or_insert(candidate);
    }
    Err(script.map_or(LocateError::NotFound, |path| LocateError::Script { path }))
}

/// The executable behind the script of npm's `deno` package: the platform package installed beside
/// it or below it.
fn behind_script(host: &dyn Host, script: &Path) -> Option<Inspected> {
    let package = match host.kernel().machine.as_str() {
        "x86_64" => "@deno/linux-x64-glibc/deno",
        "aarch64" => "@deno/linux-arm64-glibc/deno",
        _ => return None,
    };
    let directory = script.parent()?;
    [
        directory.join("node_modules").join(package),
        directory.parent()?.join(package),
    ]
    .iter()
    .find_map(|path| inspect(host, path).ok())
}

/// Checks an executable that is not ours and asks its version, once per version of the file.
fn ask(
    host: &dyn Host,
    found: &Inspected,
    cache: &Path,
    confined: &dyn Confined,
) -> Result<Runner, LocateError> {
    let path = found.real_path.clone();
    let head = read_head(host, &path)?;
    if head.starts_with(b"#!") {
        return Err(LocateError::Script { path });
    }
    let facts = parse_elf(&head).map_err(|source| LocateError::Headers {
        path: path.clone(),
        source,
    })?;
    let machine = &host.kernel().machine;
    if !facts.runs_on(machine) {
        let found = facts.machine_name();
        return Err(LocateError::OtherMachine {
            path,
            found,
            machine: machine.clone(),
        });
    }

    let id = id_of(found);
    let mut runner = Runner {
        path: path.clone(),
        stamp: found.stamp,
        version: Version::OLDEST,
        id,
    };
    let record = unpack::directory_of(cache, &runner.id).join("version.json");
    if let Some(answer) = cache::read_json::<Answer>(host, &record) {
        runner.version = answer.version;
        return Ok(runner);
    }
    let request = ConfinedRequest {
        runner: runner.clone(),
        arguments: vec!["deno".to_owned(), "--version".to_owned()],
        read: Vec::new(),
        write: Vec::new(),
        // Without a directory named, Deno refuses to start; it does not use it for this.
        environment: vec![
            ("DENO_DIR".to_owned(), "/nonexistent".to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ],
        directory: PathBuf::from("/"),
    };
    let captured = confined
        .capture(&request)
        .map_err(|source| LocateError::Ask {
            path: path.clone(),
            source,
        })?;
    runner.version = parse_answer(path, &captured)?;
    let directory = cache::prepare_directory(host, &unpack::directory_of(cache, &runner.id))?;
    cache::write_json(
        &directory.join("version.json"),
        &Answer {
            version: runner.version,
        },
    )?;
    Ok(runner)
}

fn parse_answer(path: PathBuf, captured: &Captured) -> Result<Version, LocateError> {
    let output = String::from_utf8_lossy(&captured.stdout);
    let version = (captured.exit == Some(0))
        .then(|| Version::parse_output(&output))
        .flatten();
    match version {
        Some(version) if version < Version::OLDEST => Err(LocateError::TooOld { path, version }),
        Some(version) => Ok(version),
        None => {
            let error = String::from_utf8_lossy(&captured.stderr);
            let answer = output
                .lines()
                .chain(error.lines())
                .next()
                .unwrap_or_default();
            Err(LocateError::NotDeno {
                path,
                answer: answer.chars().take(120).collect(),
            })
        }
    }
}

/// A name for one version of one file.
fn id_of(found: &Inspected) -> String {
    let mut hasher = Sha256::new();
    hasher.update(found.real_path.as_os_str().as_bytes());
    hasher.update(format!("\0{:?}", found.stamp));
    hexadecimal(&hasher.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    struct Answers(&'static str, u8);

    impl Confined for Answers {
        fn capture(
            &self,
            _: &ConfinedRequest,
        ) -> Result<Captured, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Captured {
                exit: Some(self.1),
                stdout: self.0.into(),
                stderr: Vec::new(),
            })
        }

        fn fetch(
            &self,
            _: &ConfinedRequest,
            _: &crate::runner::sources::Sources,
            _: &Path,
        ) -> Result<crate::runner::fetch::Fetched, Box<dyn std::error::Error + Send + Sync>>
        {
            Err("nothing is downloaded here".into())
        }
    }

    /// The head of an ELF file without segments.
    fn program(machine: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        (bytes[16], bytes[18], bytes[20]) = (3, machine, 1);
        (bytes[52], bytes[54]) = (64, 56);
        bytes
    }

    fn find(
        host: &FakeHost,
        choice: Choice<'_>,
        answers: &Answers,
    ) -> Result<Located, LocateError> {
        let cache = tempfile::tempdir().unwrap();
        let root = cache.path().join("c");
        let host = host.clone().with_directory(root.to_str().unwrap());
        // The record is kept in a real directory the fake machine does not show.
        locate(&host, choice, &root, answers, &mut |_| {})
    }

    fn executable(host: FakeHost, path: &str, content: &[u8]) -> FakeHost {
        host.with_file(path, content).owned(path, 0, 0o755)
    }

    #[test]
    fn what_is_no_deno_is_named() {
        let deno = Answers("deno 2.1.0 (stable)", 0);
        let host = executable(FakeHost::new(), "/script", b"#!/bin/sh");
        let host = executable(host, "/arm", &program(183));
        let host = executable(host, "/text", b"hello");
        let host = executable(host, "/good", &program(62));
        let host = host.with_file("/plain", program(62)).with_directory("/d");
        let error = |path: &str, answers: &Answers| {
            find(&host, Choice::Path(Path::new(path)), answers).unwrap_err()
        };
        assert!(matches!(error("/missing", &deno), LocateError::Open { .. }));
        assert!(matches!(error("/d", &deno), LocateError::NotFile { .. }));
        assert!(matches!(
            error("/plain", &deno),
            LocateError::NotExecutable { .. }
        ));
        assert!(matches!(
            error("/script", &deno),
            LocateError::Script { .. }
        ));
        assert!(matches!(error("/text", &deno), LocateError::Headers { .. }));
        assert!(matches!(
            error("/arm", &deno),
            LocateError::OtherMachine {
                found: "aarch64",
                ..
            }
        ));
        assert!(matches!(
            error("/good", &Answers("v22.0.0", 0)),
            LocateError::NotDeno { .. }
        ));
        assert!(matches!(
            error("/good", &Answers("deno 2.1.0", 1)),
            LocateError::NotDeno { .. }
        ));
        assert!(matches!(
            error("/good", &Answers("deno 1.46.3", 0)),
            LocateError::TooOld { .. }
        ));
    }

    #[test]
    fn the_search_follows_the_script_of_the_npm_package() {
        let real = "/m/node_modules/@deno/linux-x64-glibc/deno";
        let host = executable(
            FakeHost::new(),
            "/m/node_modules/deno/bin.cjs",
            b"#!/usr/bin/env node",
        );
        let host = executable(host, real, &program(62));
        let host = executable(host, "/shims/deno", b"#!/bin/sh");
        let host = host.with_link("/b/deno", "/m/node_modules/deno/bin.cjs");
        let search =
            |host: &FakeHost, path: &str| search(&host.clone().with_environment(&[("PATH", path)]));
        let (found, notices) = search(&host, "/none:/shims:/b").unwrap();
        assert_eq!(found.real_path, Path::new(real));
        assert!(notices[0].contains("/b/deno"), "{notices:?}");
        assert!(matches!(
            search(&host, "/shims"),
            Err(LocateError::Script { .. })
        ));
        assert!(matches!(search(&host, "/none"), Err(LocateError::NotFound)));
    }
}
