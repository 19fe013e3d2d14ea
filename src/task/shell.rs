// SPDX-License-Identifier: MIT
//! Executes a line, inside the walls.
//!
//! Invariant: nothing here is trusted by anybody: builtins, redirects and programs do what this
//! process may do, and siblings are only asked for ([`super::request`]).

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deno_task_shell::{
    ExecutableCommand, ExecuteResult, FutureExecuteResult, KillSignal, ShellCommand,
    ShellCommandContext, ShellPipeReader, ShellPipeWriter, ShellState, SignalKind,
    execute_with_pipes,
};
use nix::sys::socket::MsgFlags;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::line::{Line, LineError, Meaning, Misread, tree};
use super::request::Request;
use crate::host::Host;
use crate::sys::handover::{self, Several};
use crate::sys::signal::die_by;

/// The command line by which `exec` starts a shell: the binary itself, and this word. No user's to type.
pub const WORD: &str = "__task";

/// The exit code of a sibling that was not started.
const REFUSED: i32 = 125;

/// How long the shell may take to hear of a signal.
const PATIENCE: Duration = Duration::from_millis(300);

/// Signals that end a line.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Why a line was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// Standard input is not the socket to the process outside.
    #[error("the shell of tasks is started by `stockade task` only")]
    NotAsked(#[source] io::Error),
    /// The line; it was read outside before.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The runtime or a descriptor.
    #[error("cannot start the shell of the task")]
    Start(#[source] io::Error),
}

/// Executes `text` with the environment and the directory of `host`; the exit code.
///
/// Standard input is a socket through which the real one comes, and requests go.
///
/// # Errors
/// [`ShellError`]: nothing was executed.
pub fn execute(
    text: &str,
    host: &dyn Host,
    read: &dyn Fn(&[String]) -> Result<Meaning, Misread>,
) -> Result<i32, ShellError> {
    let socket = take_input().map_err(ShellError::NotAsked)?;
    let line = Line::parse(text, read)?;
    let list = tree(text)?;
    let directory = host.current_directory().to_path_buf();
    let variables: HashMap<OsString, OsString> = host.environment().iter().cloned().collect();
    let shared = Rc::new(Shared {
        socket,
        line,
        before: variables.clone(),
    });
    let commands = commands(&shared);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ShellError::Start)?;
    let local = LocalSet::new();
    let (told, heard) = unbounded_channel();
    let obeyed = Arc::new(AtomicUsize::new(0));
    listen(told, &obeyed).map_err(ShellError::Start)?;
    let code = local.block_on(&runtime, async {
        let kill = KillSignal::default();
        tokio::task::spawn_local(obey(heard, obeyed, kill.clone()));
        let state = ShellState::new(variables, directory, commands, kill);
        Ok(execute_with_pipes(
            list,
            state,
            ShellPipeReader::stdin(),
            ShellPipeWriter::stdout(),
            ShellPipeWriter::stderr(),
        )
        .await)
    });
    // Threads that wait for input would hold the process up.
    runtime.shutdown_background();
    code
}

/// Passes signals to the commands of the line.
async fn obey(mut heard: UnboundedReceiver<i32>, obeyed: Arc<AtomicUsize>, kill: KillSignal) {
    while let Some(number) = heard.recv().await {
        obeyed.fetch_add(1, Ordering::Relaxed);
        kill.send(SignalKind::from(number));
    }
}

/// Hears signals on a thread of its own: builtins wait for input without letting anything else run,
/// and a shell that does not obey is ended by the signal.
fn listen(told: UnboundedSender<i32>, obeyed: &Arc<AtomicUsize>) -> io::Result<()> {
    let obeyed = Arc::clone(obeyed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut heard: [Signal; 4] = {
        let _inside = runtime.enter();
        let [hang_up, interrupt, quit, terminate] = ENDING.map(|number| signal(number.into()));
        [hang_up?, interrupt?, quit?, terminate?]
    };
    let hear = async move {
        for count in 1.. {
            let [hang_up, interrupt, quit, terminate] = &mut heard;
            let number = tokio::select! {
                _ = hang_up.recv() => libc::SIGHUP,
                _ = interrupt.recv() => libc::SIGINT,
                _ = quit.recv() => libc::SIGQUIT,
                _ = terminate.recv() => libc::SIGTERM,
            };
            // Nobody listens once the line is over.
            let _ = told.send(number);
            tokio::time::sleep(PATIENCE).await;
            if obeyed.load(Ordering::Relaxed) < count {
                die_by(number);
            }
        }
    };
    std::thread::Builder::new().spawn(move || runtime.block_on(hear))?;
    Ok(())
}

/// Takes the socket from standard input and puts the real one in its place.
fn take_input() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let received = handover::receive_several(socket.as_fd(), MsgFlags::empty())?;
    let Several::All([input]) = received else {
        return Err(io::Error::from_raw_os_error(libc::EPROTO));
    };
    nix::unistd::dup2_stdin(&input)?;
    Ok(socket)
}

/// What the commands of a line share.
#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    line: Line,
    before: HashMap<OsString, OsString>,
}

fn commands(shared: &Rc<Shared>) -> HashMap<String, Rc<dyn ShellCommand>> {
    ["deno", "stockade", "npm"]
        .into_iter()
        .map(|runner| {
            let command = Runner {
                name: runner,
                shared: Rc::clone(shared),
            };
            (runner.to_owned(), Rc::new(command) as Rc<dyn ShellCommand>)
        })
        .collect()
}

/// `deno`, `stockade` and `npm`.
struct Runner {
    name: &'static str,
    shared: Rc<Shared>,
}

impl ShellCommand for Runner {
    fn execute(&self, context: ShellCommandContext) -> FutureExecuteResult {
        let words: Option<Vec<String>> = context
            .args
            .iter()
            .map(|word| word.to_str().map(str::to_owned))
            .collect();
        let found = words.as_ref().and_then(|words| {
            let (position, sibling) = self.shared.line.sibling(self.name, words)?;
            let arguments = words.get(sibling.words.len()..)?.to_vec();
            Some((position, arguments))
        });
        let (name, shared) = (self.name, Rc::clone(&self.shared));
        Box::pin(async move {
            let code = match found {
                Some((position, arguments)) => run(&shared, position, arguments, context).await,
                None if name == "npm" => return run_npm(context).await,
                None => {
                    let mut stderr = context.stderr;
                    // A closed error stream is the line's own doing.
                    let _ = stderr.write_line(&format!(
                        "error: `{name}` starts only with words that stand literally in the task"
                    ));
                    REFUSED
                }
            };
            ExecuteResult::from_exit_code(code)
        })
    }
}

/// npm itself, inside the walls.
fn run_npm(mut context: ShellCommandContext) -> FutureExecuteResult {
    match context.state.resolve_command_path(OsStr::new("npm")) {
        Ok(path) => ExecutableCommand::new("npm".to_owned(), path).execute(context),
        Err(error) => {
            // A closed error stream is the line's own doing.
            let _ = context.stderr.write_line(&error.to_string());
            Box::pin(std::future::ready(ExecuteResult::from_exit_code(
                error.exit_code(),
            )))
        }
    }
}

async fn run(
    shared: &Shared,
    sibling: usize,
    arguments: Vec<String>,
    context: ShellCommandContext,
) -> i32 {
    let ShellCommandContext {
        state,
        stdin,
        stdout,
        mut stderr,
        ..
    } = context;
    let (set, unset) = changes(&shared.before, state.env_vars());
    let request = Request {
        sibling,
        arguments,
        directory: state.cwd().clone(),
        set,
        unset,
    };
    let kill = state.kill_signal().clone();
    drop(state);
    if let Some(code) = kill.aborted_code() {
        return code;
    }
    let answer = match ask(shared, &request, stdin, stdout, stderr.clone()) {
        Ok(stream) => answer(stream, &kill).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| {
        // A closed error stream is the line's own doing.
        let _ = stderr.write_line(&format!("error: cannot ask `stockade task`: {error}"));
        REFUSED
    })
}

/// Sends a request; the stream that its answer comes through. The shell's copies of the streams are
/// closed, so that a reader sees the end of a sibling's output.
fn ask(
    shared: &Shared,
    request: &Request,
    stdin: ShellPipeReader,
    stdout: ShellPipeWriter,
    stderr: ShellPipeWriter,
) -> io::Result<UnixStream> {
    let (stdin, stdout, stderr) = (input(stdin), output(stdout)?, output(stderr)?);
    let (mut own, other) = UnixStream::pair()?;
    handover::send_several(
        shared.socket.as_fd(),
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), other.as_fd()],
    )?;
    drop(other);
    let bytes = serde_json::to_vec(request)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    own.write_all(&length.to_le_bytes())?;
    own.write_all(&bytes)?;
    Ok(own)
}

/// Waits for the exit code and passes signals on meanwhile.
async fn answer(stream: UnixStream, kill: &KillSignal) -> io::Result<i32> {
    stream.set_nonblocking(true)?;
    let mut stream = tokio::net::UnixStream::from_std(stream)?;
    let mut code = [0; 4];
    let mut read = 0;
    while read < code.len() {
        tokio::select! {
            count = stream.read(code.get_mut(read..).unwrap_or_default()) => match count? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => read += count,
            },
            signal = kill.wait_any() => {
                let number: i32 = signal.into();
                // One byte always has room; when the other end has gone the read says so.
                let _ = stream.try_write(&number.to_le_bytes()[..1]);
            }
        }
    }
    Ok(i32::from_le_bytes(code))
}

fn input(reader: ShellPipeReader) -> OwnedFd {
    match reader {
        ShellPipeReader::OsPipe(pipe) => pipe.into(),
        ShellPipeReader::StdFile(file) => file.into(),
    }
}

fn output(writer: ShellPipeWriter) -> io::Result<OwnedFd> {
    match writer {
        ShellPipeWriter::OsPipe(pipe) => Ok(pipe.into()),
        ShellPipeWriter::StdFile(file) => Ok(file.into()),
        ShellPipeWriter::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        ShellPipeWriter::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        ShellPipeWriter::Null => Ok(File::options().write(true).open("/dev/null")?.into()),
    }
}

/// What a line has set and removed; names and values that are no text stay behind.
fn changes(
    before: &HashMap<OsString, OsString>,
    now: &HashMap<OsString, OsString>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let set = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value) && !is_own(name))
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    let mut unset: Vec<String> = before
        .keys()
        .filter(|name| !now.contains_key(*name))
        .filter_map(|name| Some(name.to_str()?.to_owned()))
        .collect();
    unset.sort();
    (set, unset)
}

/// Variables that the shell itself keeps.
fn is_own(name: &OsStr) -> bool {
    name == "?" || name == "PWD"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_the_line_did() {
        let map = |pairs: &[(&str, &str)]| -> HashMap<OsString, OsString> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        let before = map(&[("A", "1"), ("B", "2"), ("PWD", "/w")]);
        let now = map(&[("A", "1"), ("C", "3"), ("PWD", "/w/x"), ("?", "0")]);
        let (set, unset) = changes(&before, &now);
        assert_eq!(set, BTreeMap::from([("C".to_owned(), "3".to_owned())]));
        assert_eq!(unset, ["B"]);
    }
}
