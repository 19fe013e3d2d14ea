// SPDX-License-Identifier: MIT
//! Which programs the target may start: names looked up once, version-manager shims resolved to
//! the real program, scripts to their interpreters, programs to their loaders.
//!
//! Invariant: a list limits which files the kernel executes, not which code runs; whatever runs
//! stays inside every other wall.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::GrantedProgram;
use super::elf::{HEAD, elf_interpreter};
use super::error::PlanError;
use super::paths::normalize;
use super::shim;
use crate::host::{FileKind, Host, Inspected};
use crate::policy::{Entry, Origin, RunDescriptor};

/// How many interpreters a script may go through; the kernel itself stops at 4 (`BINPRM_MAX_RECURSION`).
const INTERPRETER_DEPTH: usize = 4;

/// The programs of `--allow-run=LIST`, resolved.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// In the order they were granted.
    pub granted: Vec<GrantedProgram>,
    /// Directories of real programs behind shims: they go first in the target's PATH.
    pub path_prefix: Vec<PathBuf>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Resolves every entry of a run list.
///
/// # Errors
/// When a granted file exists but cannot be executed, or stands for a program that cannot be told.
pub(super) fn resolve_programs(
    host: &dyn Host,
    entries: &[Entry<RunDescriptor>],
) -> Result<Programs, PlanError> {
    let mut programs = Programs::default();
    for entry in entries {
        let (found, by_name) = match &entry.descriptor {
            RunDescriptor::Name(name) => match which(host, name) {
                Some(found) => (found, true),
                None => {
                    programs.notices.push(format!(
                        "`{}` is not in PATH: nothing was granted",
                        entry.origin
                    ));
                    continue;
                }
            },
            RunDescriptor::Path(path) => {
                let path = normalize(host.current_directory(), path);
                let inspected = host.inspect(&path).map_err(|source| PlanError::OpenGrant {
                    origin: entry.origin.clone(),
                    path: path.clone(),
                    source,
                })?;
                (Found { path, inspected }, false)
            }
        };
        let real = match shim::resolve(host, &found.path, &found.inspected, &entry.origin)? {
            Some(real) => {
                programs.notices.push(format!(
                    "`{}` is `{}`: its shim `{}` needs a shell",
                    entry.origin,
                    real.real_path.display(),
                    found.path.display()
                ));
                if by_name {
                    programs
                        .path_prefix
                        .extend(real.real_path.parent().map(Path::to_path_buf));
                }
                real
            }
            None => found.inspected,
        };
        let interpreters =
            resolve_interpreters(host, &real, &entry.origin, &mut programs.path_prefix)?;
        programs.granted.push(GrantedProgram {
            name: entry.text.clone(),
            path: real.real_path,
            interpreters,
            origin: entry.origin.clone(),
        });
    }
    Ok(programs)
}

/// The files that `--deny-run` names: as found, and the real program behind a shim.
///
/// # Errors
/// When one that may exist cannot be looked at; a denial is never dropped silently.
pub(super) fn denied_files(
    host: &dyn Host,
    entries: &[Entry<RunDescriptor>],
) -> Result<Vec<(Inspected, Origin)>, PlanError> {
    let mut denied = Vec::new();
    for entry in entries {
        let path = match &entry.descriptor {
            RunDescriptor::Name(name) => match which(host, name) {
                Some(found) => found.path,
                None => continue,
            },
            RunDescriptor::Path(path) => normalize(host.current_directory(), path),
        };
        let Some(found) = inspect_denied(host, &path, &entry.origin)? else {
            continue;
        };
        // A shim whose program cannot be told is denied as the file it is.
        if let Ok(Some(real)) = shim::resolve(host, &path, &found, &entry.origin) {
            denied.push((real, entry.origin.clone()));
        }
        denied.push((found, entry.origin.clone()));
    }
    Ok(denied)
}

/// What a denied path leads to; none when nothing is there or this user cannot reach it, so that
/// the target, who is this user, cannot either.
///
/// # Errors
/// Every other answer: the denial could not be held.
pub(super) fn inspect_denied(
    host: &dyn Host,
    path: &Path,
    origin: &Origin,
) -> Result<Option<Inspected>, PlanError> {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match host.inspect(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => {
            Ok(None)
        }
        Err(source) => Err(PlanError::OpenDenial {
            origin: origin.clone(),
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// A program as it was named and as it was opened.
pub(super) struct Found {
    /// The path in the PATH directory, links not followed.
    pub path: PathBuf,
    /// What it leads to.
    pub inspected: Inspected,
}

/// Looks `name` up in the caller's PATH; only absolute directories count.
pub(super) fn which(host: &dyn Host, name: &str) -> Option<Found> {
    search_path(host).into_iter().find_map(|directory| {
        let path = directory.join(name);
        let inspected = host.inspect(&path).ok()?;
        (inspected.kind == FileKind::File && inspected.mode & 0o111 != 0)
            .then_some(Found { path, inspected })
    })
}

/// The absolute directories of the caller's PATH, in order.
pub(super) fn search_path(host: &dyn Host) -> Vec<PathBuf> {
    let path = host.variable("PATH").unwrap_or_default();
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|directory| PathBuf::from(OsStr::from_bytes(directory)))
        .filter(|directory| directory.is_absolute())
        .collect()
}

/// The interpreters and loaders the kernel executes for a program, outermost first.
///
/// # Errors
/// When the file is neither a program nor a script, or an interpreter is missing.
pub(super) fn resolve_interpreters(
    host: &dyn Host,
    program: &Inspected,
    origin: &Origin,
    path_prefix: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>, PlanError> {
    let mut interpreters = Vec::new();
    let mut current = program.clone();
    for _ in 0..=INTERPRETER_DEPTH {
        let path = current.real_path.clone();
        let executable = |why: String| PlanError::Executable {
            origin: origin.clone(),
            path: path.clone(),
            why,
        };
        if current.kind != FileKind::File {
            return Err(executable("it is no file".to_owned()));
        }
        let header =
            host.read_file(&current.real_path, HEAD)
                .map_err(|source| PlanError::ReadProgram {
                    origin: origin.clone(),
                    path: current.real_path.clone(),
                    source,
                })?;
        let next = if let Some(line) = header.strip_prefix(b"#!") {
            match script_interpreters(host, line, origin, path_prefix)? {
                Ok(interpreters) => interpreters,
                Err(why) => return Err(executable(why)),
            }
        } else if header.starts_with(b"\x7fELF") {
            elf_interpreter(&header, |length| host.read_file(&current.real_path, length))
                .map_err(|error| executable(error.to_string()))?
                .into_iter()
                .collect()
        } else if header.contains(&0) {
            return Err(executable(
                "it is neither a program nor a script".to_owned(),
            ));
        } else {
            // A script without `#!`: Deno and the shells hand it to /bin/sh.
            vec![PathBuf::from("/bin/sh")]
        };
        let Some(last) = next.last().cloned() else {
            return Ok(interpreters);
        };
        for path in next {
            let found = host.inspect(&path).map_err(|source| {
                executable(format!(
                    "its interpreter `{}` cannot be opened: {source}",
                    path.display()
                ))
            })?;
            if !interpreters.contains(&found.real_path) {
                interpreters.push(found.real_path.clone());
            }
            // `env` and the like are programs with a loader of their own.
            if path != last {
                for loader in resolve_interpreters(host, &found, origin, path_prefix)? {
                    if !interpreters.contains(&loader) {
                        interpreters.push(loader);
                    }
                }
            }
            current = found;
        }
    }
    Err(PlanError::Executable {
        origin: origin.clone(),
        path: program.real_path.clone(),
        why: format!("it goes through more than {INTERPRETER_DEPTH} interpreters"),
    })
}

/// The programs a `#!` line starts: the interpreter, and the program `env` looks up. The inner
/// result says what is wrong with the line.
fn script_interpreters(
    host: &dyn Host,
    line: &[u8],
    origin: &Origin,
    path_prefix: &mut Vec<PathBuf>,
) -> Result<Result<Vec<PathBuf>, String>, PlanError> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(line) else {
        return Ok(Err("its `#!` line is not text".to_owned()));
    };
    let mut words = text.split_whitespace();
    let Some(interpreter) = words.next() else {
        return Ok(Err("its `#!` line is empty".to_owned()));
    };
    let mut interpreters = vec![PathBuf::from(interpreter)];
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        let Some(name) = words.find(|word| !word.starts_with('-') && !word.contains('=')) else {
            return Ok(Err("its `#!` line names no program after `env`".to_owned()));
        };
        let Some(found) = which(host, name) else {
            return Ok(Err(format!("its interpreter `{name}` is not in PATH")));
        };
        let real = match shim::resolve(host, &found.path, &found.inspected, origin)? {
            Some(real) => {
                path_prefix.extend(real.real_path.parent().map(Path::to_path_buf));
                real
            }
            None => found.inspected,
        };
        interpreters.push(real.real_path);
    }
    Ok(Ok(interpreters))
}
