// SPDX-License-Identifier: MIT
//! What a Plan for a command has that one for the runner has not: the command looked up, the trees
//! its programs live in, the directory made for the run, and the gaps of all that.
//!
//! Invariant: nothing is readable because of where PATH points that would hold the user's home.

use std::io;
use std::path::{Path, PathBuf};

use super::build::{Request, Subject};
use super::environment;
use super::error::PlanError;
use super::exec::{Found, search_path as callers_path, which};
use super::rules::Rules;
use super::{Access, Execution, Holder, PathRule, Plan, VariableSource, shim};
use crate::host::{FileKind, FileStamp, Host, Inspected};
use crate::policy::Origin;

/// Granted as a whole to every command, so that nothing below it needs a rule of its own.
pub(super) const SYSTEM: &str = "/usr";

/// A command as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Where it was found, links not followed.
    pub path: PathBuf,
    /// What is executed: the program itself, behind links and a version manager's shim.
    pub real: Inspected,
    /// The name it is executed by: as typed, or the program behind the shim.
    pub invoked_as: PathBuf,
}

/// Why there is no command to start.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing of that name.
    #[error("`{name}` was not found{}", if *searched { " in PATH" } else { "" })]
    NotFound {
        /// As typed.
        name: String,
        /// Whether PATH was searched.
        searched: bool,
    },
    /// Something of that name that is no program.
    #[error("`{path}` cannot be executed: {why}")]
    NotExecutable {
        /// Where it was found.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel does not execute it.
    #[error("`{path}` cannot be executed")]
    Refused {
        /// The name it was executed by.
        path: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A shim whose program cannot be told.
    #[error(transparent)]
    Shim(#[from] PlanError),
}

impl CommandError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { searched: true, .. } => {
                Some("give its path, or add its directory to PATH".to_owned())
            }
            Self::NotFound { .. } | Self::Refused { .. } => None,
            Self::NotExecutable { path, .. } => Some(format!(
                "name its interpreter (`sh {}`), or make it executable",
                path.display()
            )),
            Self::Shim(_) => Some("give the path of the real program".to_owned()),
        }
    }

    /// The exit code shells have for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } | Self::Refused { .. } | Self::Shim(_) => 126,
        }
    }
}

/// Looks a command up as a shell does: by PATH, or as a path when there is a `/` in it.
///
/// # Errors
/// [`CommandError`]: nothing there, no program, or a shim of one that cannot be told.
pub fn resolve(host: &dyn Host, name: &str) -> Result<Resolved, CommandError> {
    let Found { path, inspected } = if name.contains('/') {
        by_path(host, name)?
    } else {
        which(host, name).ok_or_else(|| not_in_path(host, name))?
    };
    let origin = Origin::Exec {
        reason: format!("the command `{name}`").into(),
    };
    // rustup's programs are one executable that goes by the name it is called by.
    let rustup = inspected
        .real_path
        .file_name()
        .is_some_and(|file| file == "rustup");
    let behind = match shim::resolve(host, &path, &inspected, &origin) {
        Err(_) if rustup => None,
        found => found?,
    };
    let (real, invoked_as) = match behind {
        Some(real) => {
            let invoked_as = real.real_path.clone();
            (real, invoked_as)
        }
        None if name.contains('/') => (inspected, PathBuf::from(name)),
        None => (inspected, path.clone()),
    };
    Ok(Resolved {
        path,
        real,
        invoked_as,
    })
}

fn by_path(host: &dyn Host, name: &str) -> Result<Found, CommandError> {
    let path = host.current_directory().join(name);
    let inspected = host.inspect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound {
            name: name.to_owned(),
            searched: false,
        },
        _ => CommandError::NotExecutable {
            path: path.clone(),
            why: error.to_string(),
        },
    })?;
    let why = match inspected.kind {
        FileKind::Directory => "it is a directory",
        FileKind::File if inspected.mode & 0o111 == 0 => "nobody may execute it",
        FileKind::File => return Ok(Found { path, inspected }),
        _ => "it is no file",
    };
    Err(CommandError::NotExecutable {
        path,
        why: why.to_owned(),
    })
}

/// A file of that name that nobody may execute says more than that there is none.
fn not_in_path(host: &dyn Host, name: &str) -> CommandError {
    let plain = callers_path(host).into_iter().find_map(|directory| {
        let path = directory.join(name);
        let found = host.inspect(&path).ok()?;
        (found.kind == FileKind::File).then_some(path)
    });
    match plain {
        Some(path) => CommandError::NotExecutable {
            path,
            why: "nobody may execute it".to_owned(),
        },
        None => CommandError::NotFound {
            name: name.to_owned(),
            searched: true,
        },
    }
}

/// Whether the caller's PATH leads to a program of that name.
pub fn is_in_path(host: &dyn Host, name: &str) -> bool {
    which(host, name).is_some()
}

/// The user's home, as a directory that is not granted because something names it in passing.
#[derive(Debug)]
pub struct Home {
    paths: Vec<PathBuf>,
}

/// The user database (passwd(5)), and more of it than any is.
const USERS: (&str, usize) = ("/etc/passwd", 1 << 20);

impl Home {
    /// Where it is, by the caller's environment and by the user database: each may be missing or say
    /// something else than the other.
    pub fn find(host: &dyn Host) -> Self {
        let users = host
            .read_file(Path::new(USERS.0), USERS.1)
            .unwrap_or_default();
        let users = String::from_utf8_lossy(&users);
        let user = host.user().to_string();
        let listed = users.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (*fields.get(2)? == user).then(|| fields.get(5).map(PathBuf::from))?
        });
        let named = host.variable("HOME").map(PathBuf::from);
        let paths = named
            .into_iter()
            .chain(listed)
            // Where no home is, some systems write `/`, which holds everything anyway.
            .filter(|path| path.is_absolute() && path != Path::new("/"))
            .filter_map(|path| host.inspect(&path).ok())
            .map(|found| found.real_path);
        Self {
            paths: paths.collect(),
        }
    }

    /// Whether a directory without links is it or holds it: too much to be granted because a command
    /// is started there, or because PATH names it.
    pub fn is_in(&self, directory: &Path) -> bool {
        directory == Path::new("/") || self.paths.iter().any(|home| home.starts_with(directory))
    }
}

/// A directory programs are looked up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// As PATH names it.
    pub path: PathBuf,
    /// What it leads to.
    pub found: Inspected,
}

/// The directories a command's programs are looked up in: the real programs' before their shims',
/// and without those that hold the user's home.
pub fn search_path(host: &dyn Host, home: &Home) -> Vec<Searched> {
    let mut directories: Vec<Searched> = Vec::new();
    for directory in callers_path(host) {
        for path in shim::chosen(host, &directory)
            .into_iter()
            .chain([directory])
        {
            if directories.iter().any(|known| known.path == path) {
                continue;
            }
            if let Ok(found) = host.inspect(&path)
                && found.kind == FileKind::Directory
                && !home.is_in(&found.real_path)
            {
                directories.push(Searched { path, found });
            }
        }
    }
    directories
}

/// What a command and the programs in PATH need of their own trees, and the run's own directory.
///
/// # Errors
/// When a directory around a denial cannot be listed.
pub(super) fn grant(
    request: &Request<'_>,
    host: &dyn Host,
    rules: &mut Rules,
    execution: &Execution,
) -> Result<(), PlanError> {
    let Subject::Command {
        path,
        search,
        private,
    } = &request.subject
    else {
        return Ok(());
    };
    let mut access = Access::READ;
    let mut directories: Vec<&Path> = [&request.program.path, path]
        .into_iter()
        .filter_map(|program| program.parent())
        .collect();
    if let Execution::Any(origin) = execution {
        access |= Access::EXECUTE;
        for one in search {
            if !one.found.real_path.starts_with(SYSTEM) {
                rules.grant(host, &one.found, access, origin)?;
            }
        }
        directories.extend(search.iter().map(|one| one.path.as_path()));
    }
    directories.dedup();
    let origin = request
        .subject
        .origin("libraries and helper programs of what PATH and the command line name");
    let outside = directories
        .into_iter()
        .filter(|directory| !directory.starts_with(SYSTEM));
    for tree in outside.flat_map(|directory| trees(host, directory)) {
        if let Ok(found) = host.inspect(&tree)
            && found.kind == FileKind::Directory
            && !found.real_path.starts_with(SYSTEM)
        {
            rules.grant(host, &found, access, &origin)?;
        }
    }
    if let Some(private) = private {
        let found = Inspected {
            real_path: private.clone(),
            kind: FileKind::Directory,
            stamp: FileStamp {
                device: 0,
                inode: 0,
                size: 0,
                modified_ns: 0,
                changed_ns: 0,
            },
            mode: 0,
            uid: 0,
        };
        let origin = request
            .subject
            .origin("made for this run alone: HOME and TMPDIR lie in it");
        rules.require(&found, access | Access::WRITE, None, &origin);
    }
    Ok(())
}

/// Where the programs of a directory keep what they need: `P/lib` and the like for `P/bin`. Not `P`
/// itself, which may be a user's own directory, and `share` only where that is no user's own data.
fn trees(host: &dyn Host, directory: &Path) -> Vec<PathBuf> {
    let name = directory.file_name();
    let Some(prefix) = directory
        .parent()
        .filter(|_| name.is_some_and(|name| name == "bin" || name == "sbin"))
    else {
        return Vec::new();
    };
    let personal = prefix.file_name().is_some_and(|name| name == ".local");
    let mut names = vec!["lib", "lib64", "libexec", "include"];
    if !personal {
        names.push("share");
    }
    // Settings of Java, which elsewhere may be a server's with its passwords.
    if host.exists(&prefix.join("lib/modules")) {
        names.extend(["conf", "jmods"]);
    }
    names.into_iter().map(|name| prefix.join(name)).collect()
}

/// PATH: the directories the command can read, in the caller's order.
pub(super) fn put_path(
    request: &Request<'_>,
    facts: &environment::Facts<'_>,
    put: &mut impl FnMut(&str, VariableSource, Origin),
) {
    let Subject::Command { path, search, .. } = &request.subject else {
        return;
    };
    let mut directories: Vec<(&Path, &Path)> = Vec::new();
    // Behind a shim: the program's own directory, so that its neighbours are of the same version.
    if let (true, Some(own)) = (shim::is_one(path), request.program.path.parent()) {
        directories.push((own, own));
    }
    let prefix = facts.path_prefix.iter().map(PathBuf::as_path);
    directories.extend(prefix.map(|one| (one, one)));
    let searched = search.iter();
    directories.extend(searched.map(|one| (one.path.as_path(), one.found.real_path.as_path())));
    let mut kept: Vec<String> = Vec::new();
    for (directory, real) in directories {
        let text = directory.to_string_lossy().into_owned();
        if reaches(facts.rules, real) && !kept.contains(&text) {
            kept.push(text);
        }
    }
    let origin = request
        .subject
        .origin("the caller's directories, as far as they can be read");
    put("PATH", VariableSource::Set(kept.join(":")), origin);
}

/// Whether a rule lets something in the directory be read or executed.
fn reaches(rules: &[PathRule], directory: &Path) -> bool {
    let useful = Access::READ_FILE | Access::EXECUTE;
    rules.iter().any(|rule| {
        !rule.own_process
            && rule.access.intersects(useful)
            && (directory.starts_with(&rule.path) || rule.path.starts_with(directory))
    })
}

/// What is not held, or not possible, because it is a command.
pub(super) fn gaps(
    plan: &Plan,
    request: &Request<'_>,
    gap: &mut impl FnMut(String, Holder, Option<Origin>),
) {
    gap(
        "set-user-id programs and file capabilities give nothing: `sudo`, `su`, `mount` and `ping` fail \
         by their own messages"
            .to_owned(),
        Holder::Refused,
        None,
    );
    gap(
        "POSIX shared memory and semaphores (/dev/shm, Python's multiprocessing locks) need \
         `--allow-read=/dev/shm` and `--allow-write=/dev/shm`, which other programs of this user share"
            .to_owned(),
        Holder::Refused,
        None,
    );
    gap(
        "what else runs on this machine, with its arguments, can be seen in /proc".to_owned(),
        Holder::Nobody,
        None,
    );
    if plan.private.is_some() {
        gap(
            "the directory made for the run can be filled until the disk is full".to_owned(),
            Holder::Nobody,
            Some(request.subject.origin("")),
        );
    }
}
