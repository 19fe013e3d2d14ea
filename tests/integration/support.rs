// SPDX-License-Identifier: MIT
//! Running the binary under test, the bare runner and the probes, each with a known environment.
//!
//! Invariant: nothing a test starts outlives it, and nothing is written outside the test's own
//! directories.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A hanging program is ended after this long, so that the suite ends, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The library and the program that try what must not work.
const PROBE_SOURCE: &str = include_str!("../data/probe.c");
/// Calls the library from Deno.
const PROBE_SCRIPT: &str = include_str!("../data/probe.ts");
/// Starts a program from Deno.
const START_SCRIPT: &str = include_str!("../data/start.ts");

/// The cache all tests share, so that the runner is unpacked once.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("STOCKADE_CACHE").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("stockade-test-cache"),
        PathBuf::from,
    )
}

/// Where tests keep what they build once, beside the cache.
pub(crate) fn scratch() -> PathBuf {
    let cache = cache();
    let path = cache.parent().unwrap().join("stockade-test-scratch");
    std::fs::create_dir_all(&path).expect("a directory beside the cache");
    path
}

/// The binary under test.
pub(crate) fn stockade_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_stockade"))
}

/// The bare Deno of the cache, unpacked by a first run of the binary under test.
pub(crate) fn runner() -> &'static Path {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let project = Project::new().file("first.ts", "console.log('unpacked');");
        project
            .stockade(&["run", "first.ts"])
            .run()
            .expect_output("unpacked\n");
        let mut found: Vec<PathBuf> = std::fs::read_dir(cache().join("runners"))
            .expect("the cache holds runners")
            .map(|entry| entry.unwrap().path().join("deno"))
            .filter(|path| path.is_file())
            .collect();
        found.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
        found.pop().expect("the first run unpacks the runner")
    })
}

/// A tool of this machine, by its real path; version-manager shims are asked.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3")
            .args([
                "-c",
                "import os,sys;print(os.path.realpath(sys.executable))",
            ])
            .output()
            .expect("python3 is needed by these tests");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

/// Compiles C into `output`.
pub(crate) fn compile(source: &str, output: &Path, flags: &[&str]) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("source.c");
    std::fs::write(&file, source).unwrap();
    let built = directory.path().join("built");
    let result = Command::new("cc")
        .args(["-O1", "-w", "-o"])
        .arg(&built)
        .arg(&file)
        .args(flags)
        .arg("-lrt")
        .output()
        .expect("cc is needed by these tests");
    assert!(
        result.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&result.stderr)
    );
    // Another run of the tests may use the old one: replace it in one step.
    let temporary = output.with_extension(format!("{}.new", std::process::id()));
    std::fs::copy(&built, &temporary).unwrap();
    std::fs::rename(&temporary, output).unwrap();
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The compiled probes.
#[derive(Debug)]
pub(crate) struct Probes {
    /// For foreign function calls.
    pub library: PathBuf,
    /// For `--allow-run`.
    pub program: PathBuf,
}

/// Compiles the probes once.
pub(crate) fn probes() -> &'static Probes {
    static PROBES: OnceLock<Probes> = OnceLock::new();
    PROBES.get_or_init(|| {
        // By their source: a run of the tests beside this one keeps what it has granted.
        let directory = scratch().join(format!("probes-{:016x}", hash(PROBE_SOURCE)));
        let (library, program) = (directory.join("libprobe.so"), directory.join("probe"));
        std::fs::create_dir_all(&directory).unwrap();
        for (output, flags) in [(&library, &["-shared", "-fPIC"][..]), (&program, &[])] {
            if !output.exists() {
                let own = output.with_extension(std::process::id().to_string());
                compile(PROBE_SOURCE, &own, flags);
                // The first one stays.
                drop(std::fs::hard_link(&own, output));
                std::fs::remove_file(&own).unwrap();
            }
        }
        Probes { library, program }
    })
}

/// The answers of probes: 0, or the errno.
pub(crate) type Answers = BTreeMap<String, i64>;

/// A directory with a program in it, removed at the end.
#[derive(Debug)]
pub(crate) struct Project {
    _directory: TempDir,
    path: PathBuf,
}

impl Project {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().canonicalize().unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    /// Adds a file; directories before it are made.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.write(name, content);
        self
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Writes a file that may be executed.
    pub(crate) fn write_program(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, content);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path.join(name), mode).unwrap();
    }

    /// The directory, without links.
    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    /// A path in the directory, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.path.join(name).into_os_string().into_string().unwrap()
    }

    /// What a file holds now.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Whether a name is there, links not followed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path.join(name).symlink_metadata().is_ok()
    }

    /// The binary under test, in this directory. Types are checked where a test asks for it
    /// (`--check`, or [`Self::stockade_as_typed`]): each check takes the better part of a second.
    pub(crate) fn stockade<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Launch {
        let mut words: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        let starts = words
            .first()
            .is_some_and(|word| *word == "run" || *word == "serve");
        if starts && !words.iter().any(|word| *word == "--check") {
            words.insert(1, OsStr::new("--no-check"));
        }
        self.launch(stockade_binary(), &words)
    }

    /// The same with these words alone.
    pub(crate) fn stockade_as_typed<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Launch {
        self.launch(stockade_binary(), arguments)
    }

    /// The bare runner, in this directory, never asking.
    pub(crate) fn bare<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Launch {
        self.launch(runner(), arguments)
            .env("DENO_DIR", scratch().join("deno"))
            .env("DENO_NO_PROMPT", "1")
            .env("DENO_NO_UPDATE_CHECK", "1")
    }

    /// Any program, in this directory.
    pub(crate) fn launch<S: AsRef<OsStr>>(&self, program: &Path, arguments: &[S]) -> Launch {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.path).env_clear();
        // What finding programs and version-manager shims needs, and nothing that changes output.
        for name in [
            "PATH",
            "HOME",
            "TMPDIR",
            "PYENV_ROOT",
            "PYENV_VERSION",
            // Forces one of the two ways to the target's sockets.
            "STOCKADE_SOCKET_ROUTE",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("NO_COLOR", "1").env("STOCKADE_CACHE", cache());
        Launch {
            command,
            input: Vec::new(),
        }
    }

    /// Runs probes in a confined program through the foreign function interface.
    pub(crate) fn probe<S: AsRef<str>>(&self, flags: &[&str], items: &[S]) -> Answers {
        self.probe_outcome(flags, items).expect_answers(items)
    }

    /// The same, where the outcome itself is of interest.
    pub(crate) fn probe_outcome<S: AsRef<str>>(&self, flags: &[&str], items: &[S]) -> Outcome {
        self.probe_launch(flags, items).run()
    }

    /// The same, to be changed before it runs.
    pub(crate) fn probe_launch<S: AsRef<str>>(&self, flags: &[&str], items: &[S]) -> Launch {
        let library = probes().library.to_str().unwrap();
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        // `-A` says it already, and takes no other grant beside it.
        if !flags.contains(&"-A") {
            arguments.push(format!("--allow-ffi={library}"));
        }
        arguments.extend([self.script("probe.ts", PROBE_SCRIPT), library.to_owned()]);
        arguments.extend(items.iter().map(|item| item.as_ref().to_owned()));
        self.stockade(&arguments)
    }

    /// Runs probes in bare Deno: the control.
    pub(crate) fn probe_bare<S: AsRef<str>>(&self, items: &[S]) -> Answers {
        self.probe_bare_outcome(items).expect_answers(items)
    }

    /// The same, where the outcome itself is of interest.
    pub(crate) fn probe_bare_outcome<S: AsRef<str>>(&self, items: &[S]) -> Outcome {
        let library = probes().library.to_str().unwrap();
        let script = self.script("probe.ts", PROBE_SCRIPT);
        let mut arguments = vec!["run", "--allow-ffi", &script, library];
        arguments.extend(items.iter().map(AsRef::as_ref));
        self.bare(&arguments).run()
    }

    /// Runs probes in a child of a confined program, which `--allow-run` lets start.
    pub(crate) fn probe_child<S: AsRef<str>>(&self, flags: &[&str], items: &[S]) -> Answers {
        self.probe_child_outcome(flags, items).expect_answers(items)
    }

    /// The same, where the outcome itself is of interest.
    pub(crate) fn probe_child_outcome<S: AsRef<str>>(
        &self,
        flags: &[&str],
        items: &[S],
    ) -> Outcome {
        let program = probes().program.to_str().unwrap();
        let grant = format!("--allow-run={program}");
        let mut all = vec![grant.as_str()];
        all.extend(flags);
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        let mut started = vec![program];
        started.extend(items);
        self.start(&all, &started).run()
    }

    /// A confined program that starts another one and passes its output and exit code on.
    pub(crate) fn start(&self, flags: &[&str], started: &[&str]) -> Launch {
        let script = self.script("start.ts", START_SCRIPT);
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push(&script);
        arguments.extend(started);
        self.stockade(&arguments)
    }

    /// Runs probes in the program itself, outside any sandbox: the control.
    pub(crate) fn probe_direct<S: AsRef<str>>(&self, items: &[S]) -> Answers {
        self.probe_direct_outcome(items).expect_answers(items)
    }

    /// The same, where the outcome itself is of interest.
    pub(crate) fn probe_direct_outcome<S: AsRef<str>>(&self, items: &[S]) -> Outcome {
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        self.launch(&probes().program, &items).run()
    }

    /// A script of the tests, in a directory of its own inside the project.
    fn script(&self, name: &str, text: &str) -> String {
        let name = format!("stockade-test-scripts/{name}");
        self.write(&name, text);
        name
    }
}

/// A command about to run.
#[derive(Debug)]
pub(crate) struct Launch {
    command: Command,
    input: Vec<u8>,
}

impl Launch {
    /// Sets a variable of the caller.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of the caller.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in another directory.
    pub(crate) fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// What comes in on standard input.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// The command, for tests that need the process itself.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// The same command as one line for a shell, for tests that prepare descriptors there.
    pub(crate) fn through_shell(self, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg("sh");
        command.arg(self.command.get_program());
        command.args(self.command.get_args());
        command.env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        Self {
            command,
            input: self.input,
        }
    }

    /// Runs it to the end.
    pub(crate) fn run(mut self) -> Outcome {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = command_line(&self.command);
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let input = self.input;
        let writer = thread::spawn(move || {
            // The program may end before it has read everything.
            let _ = stdin.write_all(&input);
        });
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{line}: still running after {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        writer.join().unwrap();
        Outcome {
            line,
            code: status.code(),
            signal: status.signal(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    line: String,
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!(
            "{what}\n$ {}\ncode {:?} signal {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.code,
            self.signal,
            shortened(&self.stdout),
            shortened(&self.stderr)
        )
    }

    /// It ended with code 0.
    #[track_caller]
    pub(crate) fn expect_success(&self) -> &Self {
        if self.code != Some(0) {
            self.fail("expected success");
        }
        self
    }

    /// It ended with code 0 and printed exactly this.
    #[track_caller]
    pub(crate) fn expect_output(&self, stdout: &str) -> &Self {
        self.expect_success();
        if self.stdout != stdout {
            self.fail(&format!("expected the output {stdout:?}"));
        }
        self
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        if self.code != Some(code) {
            self.fail(&format!("expected exit code {code}"));
        }
        self
    }

    /// Standard error holds this text.
    #[track_caller]
    pub(crate) fn expect_error(&self, text: &str) -> &Self {
        if !self.stderr.contains(text) {
            self.fail(&format!("expected {text:?} on standard error"));
        }
        self
    }

    /// Neither stream holds this text.
    #[track_caller]
    pub(crate) fn expect_nowhere(&self, text: &str) -> &Self {
        if self.stdout.contains(text) || self.stderr.contains(text) {
            self.fail(&format!("{text:?} leaked"));
        }
        self
    }

    /// Stockade refused: 125, nothing on standard output.
    #[track_caller]
    pub(crate) fn expect_refused(&self) -> &Self {
        if self.code != Some(125) || !self.stdout.is_empty() {
            self.fail("expected a refusal: exit code 125 and no output");
        }
        self
    }

    /// The same exit and the same output as another outcome.
    #[track_caller]
    pub(crate) fn expect_same(&self, other: &Self) -> &Self {
        if (self.code, self.signal) != (other.code, other.signal)
            || self.stdout != other.stdout
            || self.stderr != other.stderr
        {
            self.fail(&format!(
                "expected the same as\n$ {}\ncode {:?} signal {:?}\n--- stdout\n{}\n--- stderr\n{}\n\
                 but got",
                other.line,
                other.code,
                other.signal,
                shortened(&other.stdout),
                shortened(&other.stderr)
            ));
        }
        self
    }

    /// The answers to probes; all must be there.
    #[track_caller]
    pub(crate) fn expect_answers<S: AsRef<str>>(&self, items: &[S]) -> Answers {
        self.expect_success();
        items
            .iter()
            .map(|item| {
                let item = item.as_ref();
                let errno = self
                    .stdout
                    .lines()
                    .filter_map(|line| line.strip_prefix(item)?.strip_prefix('='))
                    .find_map(|errno| errno.parse().ok());
                match errno {
                    Some(errno) if errno != -1 => (item.to_owned(), errno),
                    _ => self.fail(&format!("no answer to {item}")),
                }
            })
            .collect()
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(8000) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// Every item is answered with one of these numbers.
#[track_caller]
pub(crate) fn expect_errno(answers: &Answers, item: &str, accepted: &[i32]) {
    let seen = answers[item];
    assert!(
        accepted.iter().any(|errno| i64::from(*errno) == seen),
        "{item}: expected one of {accepted:?}, got {seen}"
    );
}

/// Every item is answered with something else.
#[track_caller]
pub(crate) fn expect_not_errno(answers: &Answers, item: &str, refused: &[i32]) {
    let seen = answers[item];
    assert!(
        refused.iter().all(|errno| i64::from(*errno) != seen),
        "{item}: the control outside is answered {seen}, so the denial inside proves nothing"
    );
}
