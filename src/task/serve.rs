// SPDX-License-Identifier: MIT
//! Starts the lines of tasks in their order, and beside them the siblings they ask for.
//!
//! Invariant: every program started here is a Stockade of its own, which confines what it runs; what
//! a shell sends decides nothing but what [`super::request::judge`] lets it. When a line is over, its
//! siblings are ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;

use super::arriving::{Arriving, Progress};
use super::audience::{Audience, Excess, Judge, Stream};
use super::line::Line;
use super::prefixed::Prefixed;
use super::request::{self, Ground, Refusal};
use super::start::{own_command, sibling_command, spawn};
use crate::sys::handover::{self, Several};
use crate::sys::process::{self, Change, Waited};
use crate::sys::signal::{self, Inherited, Received, SignalQueue};
use crate::sys::{files, resolve};

/// The answer to a request that is refused.
const REFUSED: i32 = 125;

/// One task: its lines run one after the other, behind the tasks it depends on.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Positions of the jobs that come before it.
    pub dependencies: Vec<usize>,
    /// Its lines.
    pub lines: Vec<Work>,
}

/// One line, ready to be started.
#[derive(Debug, Clone)]
pub struct Work {
    /// The name it is told by.
    pub name: String,
    /// What it names.
    pub line: Line,
    /// Where it runs; without links.
    pub directory: PathBuf,
    /// The root of the project; without links.
    pub root: PathBuf,
    /// The arguments of the Stockade that runs the shell inside walls.
    pub shell: Vec<OsString>,
    /// Its environment.
    pub shell_variables: BTreeMap<OsString, OsString>,
    /// What the siblings' environments start from.
    pub variables: BTreeMap<OsString, OsString>,
    /// The arguments of each of the line's siblings, up to its script.
    pub siblings: Vec<Vec<String>>,
}

/// How it ended: by a code, or as a program was ended by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// Why it cannot go on; everything it started gets SIGTERM by the kernel.
#[derive(Debug, thiserror::Error)]
#[error("cannot run the task: `{call}` failed")]
pub struct ServeError {
    /// The call.
    pub call: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

fn failed(call: &'static str) -> impl Fn(io::Error) -> ServeError {
    move |source| ServeError { call, source }
}

/// Runs all jobs, at most `at_once` at a time, until one fails; with `prefixed`, the output of jobs
/// that run beside others goes through the audience. Each sibling is judged when it is asked for.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    jobs: &[Job],
    at_once: usize,
    prefixed: bool,
    judge: &dyn Judge,
    audience: &mut dyn Audience,
) -> Result<Ended, ServeError> {
    let (signals, inherited) = SignalQueue::open().map_err(failed("signalfd"))?;
    let mut service = Service {
        jobs,
        at_once: at_once.max(1),
        prefixed,
        signals,
        inherited,
        judge,
        audience,
        states: vec![State::Waiting; jobs.len()],
        running: Vec::new(),
        arriving: Vec::new(),
        siblings: Vec::new(),
        failure: None,
        terminal: false,
    };
    service.run()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
}

/// A line whose shell was started.
#[derive(Debug)]
struct Running<'j> {
    job: usize,
    position: usize,
    work: &'j Work,
    shell: i32,
    /// Where requests come from; none when the shell has closed it or may ask no more.
    socket: Option<OwnedFd>,
    outputs: Vec<Prefixed>,
    prefixed: bool,
    ended: Option<Ended>,
    /// Told once.
    kept_back: Vec<String>,
}

/// A sibling that was started.
#[derive(Debug)]
struct Beside {
    shell: i32,
    pid: i32,
    stream: Option<UnixStream>,
}

struct Service<'j> {
    jobs: &'j [Job],
    at_once: usize,
    prefixed: bool,
    signals: SignalQueue,
    inherited: Inherited,
    judge: &'j dyn Judge,
    audience: &'j mut dyn Audience,
    states: Vec<State>,
    running: Vec<Running<'j>>,
    arriving: Vec<Arriving>,
    siblings: Vec<Beside>,
    failure: Option<Ended>,
    /// The terminal has sent its signal to the whole group.
    terminal: bool,
}

impl Service<'_> {
    fn run(&mut self) -> Result<Ended, ServeError> {
        loop {
            self.start_ready()?;
            if self.running.is_empty() && self.siblings.is_empty() {
                return Ok(self.failure.unwrap_or(Ended::Code(0)));
            }
            self.wait()?;
            while let Some(received) = self.signals.next().map_err(failed("signalfd"))? {
                self.react(received)?;
            }
            self.reap()?;
            self.take_requests();
            self.read_requests()?;
            self.pass_signals_on();
            self.read_outputs();
            self.close_lines()?;
        }
    }

    fn start_ready(&mut self) -> Result<(), ServeError> {
        while self.failure.is_none() {
            let ready: Vec<usize> = (0..self.jobs.len())
                .filter(|job| self.is_ready(*job))
                .collect();
            let Some(&job) = ready.first() else { break };
            let running = self.running.len();
            if running >= self.at_once {
                break;
            }
            let beside_others = self.prefixed && self.at_once > 1 && running + ready.len() > 1;
            self.begin(job, beside_others)?;
        }
        Ok(())
    }

    fn is_ready(&self, job: usize) -> bool {
        let done = |other: &usize| self.states.get(*other) == Some(&State::Done);
        self.states.get(job) == Some(&State::Waiting)
            && self
                .jobs
                .get(job)
                .is_some_and(|job| job.dependencies.iter().all(done))
    }

    fn set(&mut self, job: usize, state: State) {
        if let Some(one) = self.states.get_mut(job) {
            *one = state;
        }
    }

    fn begin(&mut self, job: usize, prefixed: bool) -> Result<(), ServeError> {
        let Some(found) = self.jobs.get(job) else {
            return Ok(());
        };
        if found.lines.is_empty() {
            self.audience.started(&found.name, None);
            self.set(job, State::Done);
            return Ok(());
        }
        self.set(job, State::Running);
        self.start_line(job, 0, prefixed)
    }

    fn start_line(
        &mut self,
        job: usize,
        position: usize,
        prefixed: bool,
    ) -> Result<(), ServeError> {
        let Some(work) = self.jobs.get(job).and_then(|job| job.lines.get(position)) else {
            return Ok(());
        };
        self.audience.started(&work.name, Some(&work.line.text));
        let (own, other) = handover::pair().map_err(|errno| failed("socketpair")(errno.into()))?;
        let mut command = own_command(&work.directory, self.inherited);
        command
            .args(&work.shell)
            .env_clear()
            .envs(&work.shell_variables)
            .stdin(Stdio::from(other));
        let mut outputs = Vec::new();
        if prefixed {
            for stream in [Stream::Output, Stream::Error] {
                let (pipe, writer) = files::pipe().map_err(failed("pipe2"))?;
                match stream {
                    Stream::Output => command.stdout(writer),
                    Stream::Error => command.stderr(writer),
                };
                outputs.push(Prefixed {
                    stream,
                    pipe,
                    rest: Vec::new(),
                });
            }
        }
        let shell = spawn(&mut command).map_err(failed("execve"))?;
        // The message waits in the socket until the shell takes it.
        handover::send_several(own.as_fd(), [io::stdin().as_fd()])
            .map_err(|errno| failed("sendmsg")(errno.into()))?;
        self.running.push(Running {
            job,
            position,
            work,
            shell,
            socket: Some(own),
            outputs,
            prefixed,
            ended: None,
            kept_back: Vec::new(),
        });
        Ok(())
    }

    /// Waits for a signal (SIGCHLD among them), a request, or output.
    fn wait(&self) -> Result<(), ServeError> {
        let lines = self.running.iter();
        let sockets = lines
            .clone()
            .filter_map(|line| line.socket.as_ref().map(AsFd::as_fd));
        let outputs = lines
            .flat_map(|line| &line.outputs)
            .map(|output| output.pipe.as_fd());
        let arriving = self.arriving.iter().map(|one| one.stream.as_fd());
        let siblings = self.siblings.iter();
        let streams = siblings.filter_map(|one| one.stream.as_ref().map(AsFd::as_fd));
        let mut readable: Vec<PollFd<'_>> = std::iter::once(self.signals.as_fd())
            .chain(sockets)
            .chain(outputs)
            .chain(arriving)
            .chain(streams)
            .map(|one| PollFd::new(one, PollFlags::POLLIN))
            .collect();
        match poll(&mut readable, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(failed("poll")(errno.into())),
        }
    }

    /// What was sent to this process alone is meant for the lines; a terminal's signals reach the
    /// whole group without us.
    fn react(&mut self, received: Received) -> Result<(), ServeError> {
        let Received { signal, sender } = received;
        match (signal, sender) {
            (libc::SIGCHLD | libc::SIGPIPE, _) => {}
            (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU, None) => {
                signal::stop_by(signal).map_err(failed("raise"))?;
            }
            (libc::SIGHUP, None) if process::is_session_leader() => self.tell_lines(signal),
            (libc::SIGINT | libc::SIGQUIT, None) => self.terminal = true,
            (_, None) => {}
            (_, Some(_)) => self.tell_lines(signal),
        }
        Ok(())
    }

    fn tell_lines(&self, signal: i32) {
        for line in self.running.iter().filter(|line| line.ended.is_none()) {
            // Not reaped yet; it may have ended all the same.
            let _ = process::signal_child(line.shell, signal);
        }
    }

    fn reap(&mut self) -> Result<(), ServeError> {
        loop {
            let (pid, change) = match process::wait_next().map_err(failed("waitid"))? {
                Waited::Nothing | Waited::NoChildren => return Ok(()),
                Waited::Changed(pid, change) => (pid, change),
            };
            let ended = match change {
                Change::Exited(code) => Ended::Code(code),
                Change::Killed(signal) => Ended::Signal(signal),
                Change::Stopped(_) => continue,
            };
            if let Some(line) = self.running.iter_mut().find(|line| line.shell == pid) {
                line.ended = Some(ended);
                line.socket = None;
            } else if let Some(at) = self.siblings.iter().position(|one| one.pid == pid) {
                let sibling = self.siblings.swap_remove(at);
                if let Some(mut stream) = sibling.stream {
                    let code = match ended {
                        Ended::Code(code) => i32::from(code),
                        Ended::Signal(signal) => signal.saturating_add(128),
                    };
                    // The shell may have ended; four bytes have room otherwise.
                    let _ = stream.write_all(&code.to_le_bytes());
                }
            }
        }
    }

    fn take_requests(&mut self) {
        for line in &mut self.running {
            while let Some(socket) = &line.socket {
                match handover::receive_several(socket.as_fd(), MsgFlags::MSG_DONTWAIT) {
                    Ok(Several::All([input, output, error, stream])) => {
                        let stream = UnixStream::from(stream);
                        let at_once = |shell: i32| {
                            self.arriving
                                .iter()
                                .filter(|one| one.shell == shell)
                                .count()
                                + self
                                    .siblings
                                    .iter()
                                    .filter(|one| one.shell == shell)
                                    .count()
                        };
                        if at_once(line.shell) >= request::AT_ONCE {
                            refuse(self.audience, line.work, &Refusal::TooMany, &stream);
                            continue;
                        }
                        if stream.set_nonblocking(true).is_ok() {
                            self.arriving.push(Arriving {
                                shell: line.shell,
                                stream,
                                standard: [input, output, error],
                                bytes: Vec::new(),
                            });
                        }
                    }
                    Ok(Several::Other) => {}
                    Err(Errno::EAGAIN | Errno::EINTR) => break,
                    Ok(Several::End) | Err(_) => line.socket = None,
                }
            }
        }
    }

    fn read_requests(&mut self) -> Result<(), ServeError> {
        let mut at = 0;
        while let Some(one) = self.arriving.get_mut(at) {
            match one.read() {
                Progress::More => at += 1,
                Progress::Gone => drop(self.arriving.swap_remove(at)),
                Progress::TooLong => {
                    let one = self.arriving.swap_remove(at);
                    if let Some(line) = self.running.iter().find(|line| line.shell == one.shell) {
                        refuse(self.audience, line.work, &Refusal::TooLong, &one.stream);
                    }
                }
                Progress::Whole(bytes) => {
                    let one = self.arriving.swap_remove(at);
                    self.start_sibling(one, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn start_sibling(&mut self, request: Arriving, bytes: &[u8]) -> Result<(), ServeError> {
        let Some(line) = self
            .running
            .iter_mut()
            .find(|line| line.shell == request.shell)
        else {
            return Ok(());
        };
        let work = line.work;
        let ground = Ground {
            directory: &work.directory,
            root: &work.root,
            variables: &work.variables,
        };
        let granted = match request::judge(bytes, &work.line, &ground) {
            Ok(granted) => granted,
            Err(refusal) => {
                refuse(self.audience, work, &refusal, &request.stream);
                return Ok(());
            }
        };
        for name in &granted.kept_back {
            if !line.kept_back.contains(name) {
                let text = format!(
                    "`{name}` set by the task `{}` is not passed to `{}`: what starts it goes by it",
                    work.name, granted.sibling.runner
                );
                self.audience.warned(&text, None);
                line.kept_back.push(name.clone());
            }
        }
        // Opened without links: what a name led to when it was judged is what it leads to.
        let directory = match resolve::open_without_links(&granted.directory) {
            Ok(directory) => directory,
            Err(_) => {
                let refusal = Refusal::Outside(granted.directory);
                refuse(self.audience, work, &refusal, &request.stream);
                return Ok(());
            }
        };
        let judged = self
            .judge
            .judge(&work.name, granted.sibling, &granted.directory);
        let (variable, value) = match judged {
            Ok(variable) => variable,
            Err(Excess { why, hint }) => {
                let refusal = Refusal::Bounds { why, hint };
                refuse(self.audience, work, &refusal, &request.stream);
                return Ok(());
            }
        };
        let mut command = sibling_command(&granted, work, &directory, self.inherited);
        command.env(variable, value);
        let [input, output, error] = request.standard;
        command.stdin(input).stdout(output).stderr(error);
        let pid = spawn(&mut command).map_err(failed("execve"))?;
        self.siblings.push(Beside {
            shell: request.shell,
            pid,
            stream: Some(request.stream),
        });
        Ok(())
    }

    /// Signals that a shell has for its siblings; one whose stream is closed is ended.
    fn pass_signals_on(&mut self) {
        for sibling in &mut self.siblings {
            while let Some(stream) = &mut sibling.stream {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1..) => {
                        let signal = i32::from(byte[0]);
                        // The terminal has sent these two to the whole group.
                        let again = self.terminal && matches!(signal, libc::SIGINT | libc::SIGQUIT);
                        if may_be_sent(signal) && !again {
                            let _ = process::signal_child(sibling.pid, signal);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Ok(0) | Err(_) => {
                        sibling.stream = None;
                        let _ = process::signal_child(sibling.pid, libc::SIGTERM);
                    }
                }
            }
        }
    }

    fn read_outputs(&mut self) {
        for line in &mut self.running {
            let name = &line.work.name;
            line.outputs.retain_mut(|output| {
                let mut bytes = [0; 1 << 16];
                match output.pipe.read(&mut bytes) {
                    Ok(0) => {
                        output.tell_rest(name, self.audience);
                        false
                    }
                    Ok(count) => {
                        output.tell(name, bytes.get(..count).unwrap_or_default(), self.audience);
                        true
                    }
                    Err(error) => matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ),
                }
            });
        }
    }

    /// Lines whose shell has ended are over when their siblings are.
    fn close_lines(&mut self) -> Result<(), ServeError> {
        let mut at = 0;
        while let Some(line) = self.running.get(at) {
            let shell = line.shell;
            let Some(ended) = line.ended else {
                at += 1;
                continue;
            };
            self.arriving.retain(|one| one.shell != shell);
            // The shell's ends of their streams are closed, so they have been told to end.
            let siblings = self.siblings.iter().any(|one| one.shell == shell);
            if siblings || !line.outputs.is_empty() {
                at += 1;
                continue;
            }
            let line = self.running.swap_remove(at);
            self.line_over(&line, ended)?;
        }
        Ok(())
    }

    fn line_over(&mut self, line: &Running<'_>, ended: Ended) -> Result<(), ServeError> {
        if ended != Ended::Code(0) {
            if self.failure.is_none() {
                self.failure = Some(ended);
                self.tell_lines(libc::SIGTERM);
            }
            return Ok(());
        }
        let next = line.position + 1;
        let lines = self.jobs.get(line.job).map_or(0, |job| job.lines.len());
        if next < lines && self.failure.is_none() {
            return self.start_line(line.job, next, line.prefixed);
        }
        self.set(line.job, State::Done);
        Ok(())
    }
}

/// Signals that a shell may send to its siblings.
fn may_be_sent(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGHUP
            | libc::SIGINT
            | libc::SIGQUIT
            | libc::SIGTERM
            | libc::SIGKILL
            | libc::SIGABRT
            | libc::SIGUSR1
            | libc::SIGUSR2
    )
}

fn refuse(audience: &mut dyn Audience, work: &Work, refusal: &Refusal, mut stream: &UnixStream) {
    let text = format!(
        "the task `{}` asked for a program and does not get it: {refusal}",
        work.name
    );
    audience.warned(&text, refusal.hint());
    // The shell may have ended; four bytes have room otherwise.
    let _ = stream.write_all(&REFUSED.to_le_bytes());
}
