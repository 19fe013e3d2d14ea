// SPDX-License-Identifier: MIT
//! The private DENO_DIR of one program: its caches are its own, and no other program's.
//!
//! Invariant: a program makes, changes and removes plain files here and in its data directory; it
//! makes directories only below `gen/`, and no links. A change of policy or of any module that prepare
//! knows starts from databases no program has written to. Files of a `node_modules` are known by the
//! records of whoever laid them out; programs whose `node_modules` has none run without a cache of
//! compiled code (`arguments`).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::{self, CacheError};
use super::{Confined, ConfinedRequest, Runner, code_cache, packages, unpack};
use crate::host::Host;
use crate::plan::Access;

/// Content directories kept per program, the newest ones.
const KEPT: usize = 4;

/// Programs kept, those prepared last; each takes some hundred kilobytes.
const KEPT_PROGRAMS: usize = 256;

/// SQLite's write-ahead log. A template that was not closed cleanly has one.
const LOG: &str = "-wal";

/// Rights on the directory. Grants on the database files alone were tried: SQLite can then not
/// remove its log, so that every later run recovers and writes it back, with six `fsync` (a tenth
/// of the time of a small program, measured with 2.9.6).
pub const DIRECTORY: [Access; 6] = [
    Access::READ_FILE,
    Access::READ_DIR,
    Access::WRITE_FILE,
    Access::TRUNCATE,
    Access::MAKE_REG,
    Access::REMOVE_FILE,
];

/// Rights on `gen/`, where Deno keeps transpiled modules by writing and renaming. Without them each
/// run that meets a module it has no entry for retries for 150 ms (measured with 2.9.6).
pub const GENERATED: [Access; 7] = [
    Access::READ_FILE,
    Access::READ_DIR,
    Access::WRITE_FILE,
    Access::TRUNCATE,
    Access::MAKE_REG,
    Access::MAKE_DIR,
    Access::REMOVE_FILE,
];

/// Rights on the data directory: localStorage, Cache API, KV.
pub const DATA: [Access; 8] = [
    Access::READ_FILE,
    Access::READ_DIR,
    Access::WRITE_FILE,
    Access::TRUNCATE,
    Access::MAKE_REG,
    Access::MAKE_DIR,
    Access::REMOVE_FILE,
    Access::REMOVE_DIR,
];

/// The directories of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateDirectory {
    /// What DENO_DIR is set to.
    pub path: PathBuf,
    /// Where transpiled modules are kept.
    pub generated: PathBuf,
    /// Where the program's own data is kept; it survives changes of the program.
    pub data: PathBuf,
}

/// Why the template could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The runner could not be run.
    #[error("cannot initialise the runner's databases")]
    Run(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The runner failed on an empty script.
    #[error("the runner failed on an empty script: {0}")]
    Failed(String),
}

impl DirectoryError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(error) => error.hint(),
            Self::Run(_) | Self::Failed(_) => None,
        }
    }
}

/// The directory below which a program keeps one directory per content.
pub fn program_directory(cache: &Path, program_key: &str) -> PathBuf {
    cache.join("programs").join(program_key)
}

/// Makes the runner's template, once per runner: databases initialised by an empty script.
///
/// # Errors
/// The cache cannot be written, or the runner fails.
pub fn prepare_template(
    host: &dyn Host,
    cache: &Path,
    runner: &Runner,
    confined: &dyn Confined,
) -> Result<PathBuf, DirectoryError> {
    let home = cache::prepare_directory(host, &unpack::directory_of(cache, &runner.id))?;
    let template = home.join("template");
    if host.exists(&template) {
        return Ok(template);
    }
    // A script of its own: one that another first run replaces is another file than the one that
    // was granted.
    let script = cache::temporary_beside(&home.join("empty")).with_extension("js");
    cache::write_atomically(&script, b"")?;
    let work = cache::temporary_beside(&template);
    let result = create_directory(&work)
        .map_err(DirectoryError::from)
        .and_then(|()| initialise(runner, &work, &script, confined))
        .and_then(|()| place(&work, &template).map_err(DirectoryError::from));
    drop(fs::remove_file(&script));
    drop(fs::remove_dir_all(&work));
    result.map(|()| template)
}

fn initialise(
    runner: &Runner,
    work: &Path,
    script: &Path,
    confined: &dyn Confined,
) -> Result<(), DirectoryError> {
    let flags = [
        "deno",
        "run",
        "--no-prompt",
        "--no-config",
        "--no-lock",
        "--no-remote",
        "--no-npm",
    ];
    let mut arguments: Vec<String> = flags.map(str::to_owned).into();
    arguments.push(script.display().to_string());
    let request = ConfinedRequest {
        runner: runner.clone(),
        arguments,
        read: vec![script.to_owned()],
        write: vec![work.to_owned()],
        environment: super::prepare::environment(work),
        directory: PathBuf::from("/"),
    };
    let captured = confined.capture(&request).map_err(DirectoryError::Run)?;
    if captured.exit == Some(0) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&captured.stderr);
    Err(DirectoryError::Failed(
        text.trim().chars().take(400).collect(),
    ))
}

/// The directories a program's own is made from.
#[derive(Debug, Clone, Copy)]
pub struct Locations<'a> {
    /// The cache root.
    pub cache: &'a Path,
    /// Databases that no program has written to.
    pub template: &'a Path,
    /// Where downloaded modules lie.
    pub downloads: &'a Path,
    /// Where the program looks for its packages.
    pub npm: &'a Path,
}

/// Makes the directory of this content, or finds it made.
///
/// # Errors
/// The cache cannot be written.
pub fn prepare(
    host: &dyn Host,
    locations: &Locations<'_>,
    program_key: &str,
    content_key: &str,
    data_key: &str,
) -> Result<PrivateDirectory, CacheError> {
    let cache = locations.cache;
    let data = cache::prepare_directory(host, &cache.join("data").join(data_key))?;
    let home = cache::prepare_directory(host, &program_directory(cache, program_key))?;
    let path = home.join(content_key);
    if existing(host, &path, &data).is_none() {
        // The program may have removed a part of it.
        drop(fs::remove_dir_all(&path));
        let work = cache::temporary_beside(&path);
        let result = fill(&work, locations, &data).and_then(|()| place(&work, &path));
        drop(fs::remove_dir_all(&work));
        result?;
        prune(&home, &path, KEPT);
        prune(&cache.join("programs"), &home, KEPT_PROGRAMS);
    }
    existing(host, &path, &data).ok_or_else(|| CacheError::Io {
        path,
        source: io::ErrorKind::NotFound.into(),
    })
}

/// The directory as it was made earlier; none when something of it is missing.
pub fn existing(host: &dyn Host, path: &Path, data: &Path) -> Option<PrivateDirectory> {
    let generated = path.join("gen");
    let linked = |name: &str| host.exists(&path.join(name));
    let complete = host.exists(&generated)
        && host.exists(data)
        && packages::DIRECTORIES.iter().all(|name| linked(name));
    let (path, data) = (path.to_owned(), data.to_owned());
    complete.then_some(PrivateDirectory {
        path,
        generated,
        data,
    })
}

fn fill(work: &Path, locations: &Locations<'_>, data: &Path) -> Result<(), CacheError> {
    create_directory(work)?;
    create_directory(&work.join("gen"))?;
    let failed = |path: &Path, error| CacheError::on_write(path, error);
    symlink(data, work.join("location_data")).map_err(|error| failed(work, error))?;
    for name in packages::DIRECTORIES {
        let target = match name {
            "npm" => locations.npm.to_owned(),
            _ => locations.downloads.join(name),
        };
        symlink(target, work.join(name)).map_err(|error| failed(work, error))?;
    }
    for entry in fs::read_dir(locations.template)
        .map_err(|error| failed(locations.template, error))?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The shared index describes the process that made it; SQLite makes it anew.
        if is_database(name.strip_suffix(LOG).unwrap_or(&name)) {
            let target = work.join(&name);
            fs::copy(entry.path(), &target).map_err(|error| failed(&target, error))?;
        }
    }
    Ok(())
}

/// `dep_analysis_cache_v2` and its like.
fn is_database(name: &str) -> bool {
    name.rsplit_once("_v").is_some_and(|(stem, version)| {
        !stem.is_empty() && !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn create_directory(path: &Path) -> Result<(), CacheError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|error| CacheError::on_write(path, error))
}

/// Renames a finished directory to its name; another process may have been first.
fn place(work: &Path, target: &Path) -> Result<(), CacheError> {
    match fs::rename(work, target) {
        Err(error) if !target.is_dir() => Err(CacheError::on_write(target, error)),
        _ => Ok(()),
    }
}

/// Removes all but the newest directories. A program that still runs in one of them keeps its open
/// databases and loses only what it would have cached.
fn prune(home: &Path, current: &Path, kept: usize) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.path() != current && entry.path().is_dir())
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp"))
        .filter(|entry| entry.file_name() != super::prepare::WORK_DIRECTORY)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    let surplus = (found.len() + 1).saturating_sub(kept);
    for (_, path) in found.iter().take(surplus) {
        drop(fs::remove_dir_all(path));
        drop(fs::remove_file(code_cache::note_of(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_by_name() {
        for name in ["dep_analysis_cache_v2", "v8_code_cache_v10"] {
            assert!(is_database(name), "{name}");
            assert!(!is_database(&format!("{name}-shm")), "{name}");
        }
        for name in [
            "gen",
            "npm",
            "latest.txt",
            "_v2",
            "cache_v",
            "cache_v2-journal",
            "x_vy",
        ] {
            assert!(!is_database(name), "{name}");
        }
    }

    #[test]
    fn a_filled_directory_has_the_databases_and_no_foreign_files() {
        let base = tempfile::tempdir().unwrap();
        let template = base.path().join("t");
        fs::create_dir(&template).unwrap();
        for (name, text) in [
            ("a_v2", "db"),
            ("a_v2-wal", "wal"),
            ("a_v2-shm", "old"),
            ("b_v2", "db"),
            ("x.txt", ""),
        ] {
            fs::write(template.join(name), text).unwrap();
        }
        let work = base.path().join("w");
        let locations = Locations {
            cache: base.path(),
            template: &template,
            downloads: Path::new("/downloads"),
            npm: Path::new("/downloads/npm"),
        };
        fill(&work, &locations, Path::new("/data")).unwrap();
        let read = |name: &str| fs::read_to_string(work.join(name)).unwrap();
        assert_eq!(
            (read("a_v2"), read("a_v2-wal")),
            ("db".into(), "wal".into())
        );
        assert!(!work.join("a_v2-shm").exists() && !work.join("b_v2-wal").exists());
        assert!(!work.join("x.txt").exists());
        assert_eq!(
            fs::read_link(work.join("location_data")).unwrap(),
            Path::new("/data")
        );
        assert_eq!(
            fs::read_link(work.join("npm")).unwrap(),
            Path::new("/downloads/npm")
        );
    }

    #[test]
    fn the_newest_contents_are_kept() {
        let base = tempfile::tempdir().unwrap();
        for index in 0..7 {
            let path = base.path().join(format!("c{index}"));
            fs::create_dir(&path).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(index);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
            fs::write(code_cache::note_of(&path), "").unwrap();
        }
        prune(base.path(), &base.path().join("c0"), KEPT);
        let mut left: Vec<_> = fs::read_dir(base.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "c0", "c0.run", "c4", "c4.run", "c5", "c5.run", "c6", "c6.run"
            ]
        );
    }
}
