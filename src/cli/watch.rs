// SPDX-License-Identifier: MIT
//! `--watch`: starts the program again, prepared anew, when one of its files changes.
//!
//! A supervisor puts walls around the process it lives in for good, so every start gets a process of
//! its own: Stockade starts itself with [`WORD`], its own number, a file in which that process says what
//! its program is made of, and the arguments as they were typed.
//!
//! Files are looked at several times a second instead of by inotify: editors save by renaming, other
//! machines write over networks, and some hundred `stat` calls cost less than a millisecond.
//!
//! Invariant: nothing of the program runs in this process, and a new start gets the same arguments:
//! what is granted never widens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::arguments::RunArguments;
use super::failure::Failure;
use super::invocation::WatchSettings;
use super::render;
use super::run::Status;
use crate::host::{FileStamp, Host, RealHost};
use crate::runner::cache;
use crate::runner::module_files::{self, Wanted};
use crate::runner::prepare::Prepared;
use crate::sys::process;

/// The first argument of a Stockade whose program is started again by another.
pub(super) const WORD: &str = "__watched";

/// How often files are looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// Editors write more than one file, and not at once.
const SETTLE: Duration = Duration::from_millis(100);

/// How long the program may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// What is watched, with the version that was prepared; none where nothing was.
type Watched = BTreeMap<PathBuf, Option<FileStamp>>;

/// Starts the program and starts it again, until a signal ends it all.
///
/// # Errors
/// The process cannot be started.
pub(super) fn watch(arguments: &RunArguments) -> Result<Status, Failure> {
    let host = RealHost::new()?;
    let directory = cache::prepare_directory(&host, &cache::resolve_root(&host)?)?;
    let pid = std::process::id().to_string();
    let report = directory.join(format!("watch-{pid}"));
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let settings = &arguments.settings.watch;
    let terminal = host.terminals().1;
    let excluded: Vec<PathBuf> = settings
        .excluded
        .iter()
        .map(|path| host.current_directory().join(path))
        .collect();
    loop {
        drop(std::fs::remove_file(&report));
        // Before the start: a change while it prepares is one.
        let mut named = look_at(named_files(settings, &host));
        let started = Command::new("/proc/self/exe")
            .args([WORD, &pid])
            .arg(&report)
            .args(&typed)
            .spawn();
        let mut child = started.map_err(Failure::Watch)?;
        let mut watched: Option<Watched> = None;
        let mut ended = false;
        loop {
            std::thread::sleep(PERIOD);
            if !ended && let Some(status) = child.try_wait().map_err(Failure::Watch)? {
                ended = true;
                tell_end(status);
            }
            let current = match &mut watched {
                Some(watched) => watched,
                None => {
                    let mut files = match read_report(&report) {
                        Some(files) => files,
                        // It ended before it knew its files: every module near it may be one.
                        None if ended => look_at(modules_near(&host)),
                        None => continue,
                    };
                    files.append(&mut named);
                    files.retain(|path, _| !excluded.iter().any(|known| path.starts_with(known)));
                    watched.insert(files)
                }
            };
            if changed(current) {
                break;
            }
        }
        std::thread::sleep(SETTLE);
        if !ended {
            end(&mut child).map_err(Failure::Watch)?;
        }
        if terminal && !settings.keep_screen {
            render::clear_screen();
        }
        render::line("Watcher File change detected! Restarting!");
    }
}

fn tell_end(status: ExitStatus) {
    let what = match status.code() {
        Some(0) => "finished",
        _ => "failed",
    };
    render::line(&format!(
        "Watcher Process {what}. Restarting on file change..."
    ));
}

/// SIGTERM, and SIGKILL when that was not enough.
fn end(child: &mut Child) -> io::Result<()> {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended by itself.
        let _ = process::signal_child(pid, libc::SIGTERM);
    }
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn look(path: &Path) -> Option<FileStamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    let nanoseconds =
        |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Some(FileStamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn look_at(files: Vec<PathBuf>) -> Watched {
    let seen = files.into_iter().map(|path| {
        let stamp = look(&path);
        (path, stamp)
    });
    seen.collect()
}

/// The files and directories of the flag; what lies in a directory is looked at, too.
fn named_files(settings: &WatchSettings, host: &dyn Host) -> Vec<PathBuf> {
    let named: Vec<String> = settings
        .paths
        .iter()
        .map(|path| host.current_directory().join(path).display().to_string())
        .collect();
    if named.is_empty() {
        return Vec::new();
    }
    let found = module_files::find(host, Wanted::Everything, &named, &[], None);
    let found = found.unwrap_or_default();
    found.into_iter().chain(named).map(PathBuf::from).collect()
}

fn changed(watched: &Watched) -> bool {
    watched.iter().any(|(path, seen)| look(path) != *seen)
}

/// Every module below the directory of the run.
fn modules_near(host: &dyn Host) -> Vec<PathBuf> {
    let found = module_files::find(host, Wanted::Modules, &[], &[], None);
    let mut files: Vec<PathBuf> = found
        .unwrap_or_default()
        .into_iter()
        .map(PathBuf::from)
        .collect();
    for name in ["deno.json", "deno.jsonc", "package.json"] {
        files.push(host.current_directory().join(name));
    }
    files
}

/// Says what the program is made of, in the process that runs it.
///
/// # Errors
/// The file cannot be written.
pub(super) fn report(path: &Path, prepared: &Prepared) -> io::Result<()> {
    let bytes = serde_json::to_vec(&prepared.watched)?;
    cache::replace_file(path, &bytes, 0o600)
}

fn read_report(path: &Path) -> Option<Watched> {
    let bytes = std::fs::read(path).ok()?;
    drop(std::fs::remove_file(path));
    let files: Vec<(PathBuf, Option<FileStamp>)> = serde_json::from_slice(&bytes).ok()?;
    Some(files.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_kind_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ts");
        std::fs::write(&path, "one").unwrap();
        let seen = |path: &Path| Watched::from([(path.to_owned(), look(path))]);
        let before = seen(&path);
        assert!(!changed(&before));
        let other = directory.path().join("b.ts");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(changed(&before));
        let absent = seen(&other);
        std::fs::write(&other, "new").unwrap();
        assert!(changed(&absent));
        let present = seen(&other);
        std::fs::remove_file(&other).unwrap();
        assert!(changed(&present));
    }
}
