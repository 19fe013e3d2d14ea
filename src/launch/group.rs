// SPDX-License-Identifier: MIT
//! The control group of one run (cgroups(7), version 2): made before the start, entered by the
//! child, read and removed at the end.
//!
//! Invariant: only groups this process made are written to or removed, but for the controllers
//! that are switched on in the group around them; a group that cannot be made or entered ends the
//! start. Everything that is written to later is open before the start: a supervisor, which is this
//! process, lets itself open nothing for writing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::limits::{LimitKind, Limits, Place};
use crate::sys::process;

/// How the names of groups begin; the process that made it follows.
const PREFIX: &str = "stockade-";

/// How long to wait for the kernel to let go of ended processes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A control group that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the control group `{}`", path.display())]
pub struct GroupError {
    /// What was tried.
    what: &'static str,
    /// The file of the group.
    path: PathBuf,
    source: io::Error,
}

impl GroupError {
    pub(super) fn hint(&self) -> String {
        "`stockade doctor` says where control groups may be made; `systemd-run --scope -p \
         Delegate=yes stockade …` gives it one of its own"
            .to_owned()
    }
}

/// The group of a run. Dropped, it is removed when nobody is left in it.
#[derive(Debug)]
pub(super) struct Group {
    directory: PathBuf,
    entrance: File,
    /// Ends everybody in it; older kernels than Linux 5.14 have no such file.
    kill: Option<File>,
    /// Where Stockade itself went to make room, and the group it left.
    aside: Option<Aside>,
}

/// What happened in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// The kernel ended processes, since there was no memory left.
    pub out_of_memory: bool,
    /// How often a process or thread was refused.
    pub refused_processes: u64,
}

impl Group {
    /// Makes the group that the limits ask for; none when they ask for none.
    pub(super) fn make(limits: &Limits) -> Result<Option<Self>, GroupError> {
        let Some(place) = &limits.group else {
            return Ok(None);
        };
        remove_left_over(&place.directory);
        let aside = if place.step_aside {
            Some(Aside::step(&place.directory)?)
        } else {
            None
        };
        switch_on(place)?;
        let directory = place
            .directory
            .join(format!("{PREFIX}{}", process::own_pid()));
        fs::create_dir(&directory).map_err(failed("make", &directory))?;
        let kill = open(&directory.join("cgroup.kill")).ok();
        let entrance = match open(&directory.join("cgroup.procs")) {
            Ok(entrance) => entrance,
            Err(error) => {
                // The error is the thing to tell.
                let _ = fs::remove_dir(&directory);
                return Err(error);
            }
        };
        let group = Self {
            directory,
            entrance,
            kill,
            aside,
        };
        group.set(limits)?;
        Ok(Some(group))
    }

    fn set(&self, limits: &Limits) -> Result<(), GroupError> {
        if let Some(bytes) = limits.of_group(LimitKind::Memory) {
            self.write("memory.max", &bytes.to_string())?;
            // Kernels without swap have no such file. With it, the limit would only be slow.
            let swap = self.directory.join("memory.swap.max");
            if swap.exists() {
                self.write("memory.swap.max", "0")?;
            }
            // All or nothing (Linux 4.19): a program that lost one of its processes at random is in
            // no state that anybody wrote it for.
            self.write("memory.oom.group", "1")?;
        }
        if let Some(count) = limits.of_group(LimitKind::Processes) {
            self.write("pids.max", &count.to_string())?;
        }
        Ok(())
    }

    fn write(&self, name: &str, value: &str) -> Result<(), GroupError> {
        let path = self.directory.join(name);
        fs::write(&path, value).map_err(failed("limit", &path))
    }

    /// Where a child writes [`ENTER`] to be in the group.
    pub(super) fn entrance(&self) -> BorrowedFd<'_> {
        self.entrance.as_fd()
    }

    /// Ends everybody in it. Where that is not possible, the caller's search for descendants does it.
    pub(super) fn kill(&self) {
        if let Some(mut kill) = self.kill.as_ref() {
            let _ = kill.write_all(b"1");
        }
    }

    /// The processor time everybody in it has had.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        self.number("cpu.stat", "usage_usec")
            .map(Duration::from_micros)
    }

    pub(super) fn events(&self) -> Events {
        Events {
            out_of_memory: self.number("memory.events", "oom_kill").unwrap_or(0) > 0,
            refused_processes: self.number("pids.events", "max").unwrap_or(0),
        }
    }

    fn number(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        parse_number(&text, key)
    }
}

/// What a process writes to enter a group itself.
pub(super) const ENTER: [u8; 1] = *b"0";

impl Drop for Group {
    fn drop(&mut self) {
        let limit = Instant::now() + PATIENCE;
        // Busy while ended processes are being taken apart.
        while fs::remove_dir(&self.directory)
            .is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
            && Instant::now() < limit
        {
            thread::sleep(Duration::from_millis(1));
        }
        // Left behind, it is empty, and the next run removes it.
        drop(self.aside.take());
    }
}

/// Stockade in a group beside the run's: a group with processes of its own gives no controllers on.
#[derive(Debug)]
struct Aside {
    directory: PathBuf,
    /// The controllers and the members of the group around both.
    control: File,
    members: File,
}

impl Aside {
    fn step(around: &Path) -> Result<Self, GroupError> {
        let control = open(&around.join("cgroup.subtree_control"))?;
        let members = open(&around.join("cgroup.procs"))?;
        let directory = around.join(format!("{PREFIX}{}-beside", process::own_pid()));
        fs::create_dir(&directory).map_err(failed("make", &directory))?;
        let aside = Self {
            directory,
            control,
            members,
        };
        let own = aside.directory.join("cgroup.procs");
        fs::write(&own, ENTER).map_err(failed("enter", &own))?;
        Ok(aside)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Back to how it was found, as far as that goes: nobody is hurt by what is left.
        let _ = self.control.write_all(b"-memory -pids");
        let _ = self.members.write_all(&ENTER);
        let _ = fs::remove_dir(&self.directory);
    }
}

fn open(path: &Path) -> Result<File, GroupError> {
    let file = OpenOptions::new().write(true).open(path);
    file.map_err(failed("open", path))
}

fn switch_on(place: &Place) -> Result<(), GroupError> {
    for controller in &place.switch_on {
        let path = place.directory.join("cgroup.subtree_control");
        fs::write(&path, format!("+{controller}"))
            .map_err(failed("switch controllers on in", &path))?;
    }
    Ok(())
}

/// Removes groups of runs that were ended before they could do it. Only empty ones can be removed.
fn remove_left_over(around: &Path) {
    for entry in fs::read_dir(around).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner);
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.strip_suffix("-beside").unwrap_or(rest).parse().ok()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GroupError {
    let path = path.to_path_buf();
    move |source| GroupError { what, path, source }
}

/// The value of one key of a flat keyed file.
fn parse_number(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{owner, parse_number};

    #[test]
    fn parse_number_takes_the_whole_key() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(parse_number(text, "oom_kill"), Some(2));
        assert_eq!(parse_number(text, "oom"), Some(3));
        assert_eq!(parse_number(text, "max"), None);
        assert_eq!(parse_number("max many\n", "max"), None);
    }

    #[test]
    fn owner_is_read_from_our_own_names() {
        assert_eq!(owner("stockade-12"), Some(12));
        assert_eq!(owner("stockade-12-beside"), Some(12));
        assert_eq!(owner("stockade-"), None);
        assert_eq!(owner("stockade-x.scope"), None);
        assert_eq!(owner("12"), None);
    }
}
