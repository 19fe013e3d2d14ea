// SPDX-License-Identifier: MIT
//! What the tests of messages and of process life add to `support`: outcomes as text for
//! snapshots, programs left running, and whether a process is still there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Launch, Outcome, Project, cache, python, stockade_binary};

/// How long something that must happen may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source tree.
pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A test that this machine cannot run says so; with `STOCKADE_TEST_MUST_RUN=1` it fails instead.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("STOCKADE_TEST_MUST_RUN").is_none_or(|value| value != "1"),
        "skipped: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// A project whose only file is `main.ts`.
pub(crate) fn project(main: &str) -> Project {
    Project::new().file("main.ts", main)
}

/// Runs a python3 script; what the script leaves of its arguments is a command line.
pub(crate) fn through_python(project: &Project, script: &str, arguments: &[&str]) -> Launch {
    let mut all = vec!["-c", script];
    all.extend(arguments);
    project.launch(python(), &all)
}

/// The path of the binary under test as text.
pub(crate) fn stockade_path() -> &'static str {
    stockade_binary().to_str().expect("a path in UTF-8")
}

/// The whole outcome with this machine's paths taken out, for snapshots.
pub(crate) fn text(project: &Project, outcome: &Outcome) -> String {
    let mut text = match (outcome.code, outcome.signal) {
        (Some(code), _) => format!("exit {code}\n"),
        (None, Some(signal)) => format!("signal {signal}\n"),
        (None, None) => "neither exited nor signalled\n".to_owned(),
    };
    for (name, stream) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        if !stream.is_empty() {
            text.push_str(&format!("--- {name}\n{}", scrub(project, stream)));
        }
    }
    text
}

/// Text with this machine's paths taken out, and what changes with each run and Deno version.
pub(crate) fn scrub(project: &Project, text: &str) -> String {
    let text = text.replace(&*project.directory().to_string_lossy(), "[DIR]");
    let text = text.replace(&*cache().to_string_lossy(), "[CACHE]");
    let mut words = text.split('/');
    let mut scrubbed = words.next().unwrap_or_default().to_owned();
    let mut before = "";
    for word in words {
        scrubbed.push('/');
        match (before, word.split_once(".tmp")) {
            ("runners", _) => {
                let rest = word.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
                scrubbed.push_str(&format!("[ID]{rest}"));
            }
            (_, Some((_, rest))) => scrubbed.push_str(&format!("[TEMPORARY]{rest}")),
            _ => scrubbed.push_str(word),
        }
        before = word;
    }
    scrubbed
}

/// Every path of a project with its size and times; equal before and after, nothing was written.
pub(crate) fn listing(project: &Project) -> BTreeMap<PathBuf, (u64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![project.directory().to_path_buf()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let stamp = (
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ino().cast_signed(),
        );
        found.insert(path, stamp);
    }
    found
}

/// A program left running, with a pipe from its standard output; ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// Starts a command and leaves it running, without standard input.
pub(crate) fn start(launch: Launch) -> Running {
    let mut command = launch.into_command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = BufReader::new(child.stdout.take().unwrap());
    Running { child, stdout }
}

impl Running {
    /// Its next line, without the newline.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// Its next line as a number.
    #[track_caller]
    pub(crate) fn number(&mut self) -> i32 {
        let line = self.line();
        line.parse()
            .unwrap_or_else(|_| panic!("no number: {line:?}"))
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends a signal to the process that was started, as `kill` does.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The rest of its output, which ends when the last process that holds the pipe ends, and its
    /// status.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the process is gone, or is only an entry that nobody has collected yet.
#[track_caller]
pub(crate) fn assert_ends(pid: i32, what: &str) {
    let start = Instant::now();
    while is_running(pid) {
        if start.elapsed() > PATIENCE {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            panic!("{what} ({pid}) is still there");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process exists and is no zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The state letter of a process, see proc_pid_stat(5).
pub(crate) fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether anything is written below a directory or to a file that may be missing.
pub(crate) fn exists(path: impl AsRef<OsStr>) -> bool {
    fs::symlink_metadata(Path::new(path.as_ref())).is_ok()
}
