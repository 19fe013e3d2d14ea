// SPDX-License-Identifier: MIT
//! The process that stays beside the target: starts it, passes signals on, ends it in time.
//!
//! Invariant: signal mask, SIGCHLD disposition and subreaper flag are given back however a run
//! ends, so that Stockade can start another target, or become one, afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::descendants::{self, Inherited};
use super::group::{ENTER, Group};
use super::output::{Collected, Output, Room};
use super::over::{self, Processor};
use super::witness::Witness;
use super::{Companion, Ending, Finished, LaunchError};
use crate::confine::{ApplyFailure, Confinement};
use crate::plan::limits::LimitKind;
use crate::sys::process::{self, Change, Waited};
use crate::sys::signal::{self, Received, SignalQueue};
use crate::sys::terminal::SavedTerminal;
use crate::sys::{files, handover};

/// How long the target may take to end after SIGTERM, once its time or its output is over.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Starts the target and watches it to its end; with a `limit`, without input and with its
/// output collected.
pub(super) fn run(
    mut confinement: Confinement,
    timeout: Option<Duration>,
    limit: Option<usize>,
    private: Option<&Path>,
    mut companion: Option<&mut dyn Companion>,
) -> Result<(Finished, Collected), LaunchError> {
    if process::is_single_threaded() != Some(true) {
        return Err(LaunchError::Threads);
    }
    let inherited = Inherited::remember().map_err(start_error("waitid"))?;
    let counted = confinement.limits().get(LimitKind::OutputSize);
    let counted = counted.map(|held| held.limit.value);
    let terminal = if limit.is_none() {
        SavedTerminal::save()
    } else {
        None
    };
    let group = Group::make(confinement.limits()).map_err(LaunchError::Group)?;
    let watch = Watch::begin()?;
    let Started {
        report,
        target,
        handover,
        mut output,
    } = start(&watch, &mut confinement, group.as_ref(), (limit, counted))?;
    // Of a supervised run: of others nothing is lost but their end.
    let mut witness = None;
    if let (Some(handover), Some(companion)) = (handover, companion.as_mut()) {
        match begin(&handover, target, private, *companion) {
            // Without a listener the child's report says why.
            Ok(begun) => witness = Some(begun),
            Err(error) => {
                drop(handover);
                let _ = process::signal_child(target, libc::SIGKILL);
                descendants::end(&inherited, &watch.signals);
                return Err(error);
            }
        }
    }
    let limits = confinement.limits().clone();
    // The parent's copies of descriptors are of no use once the child has its own.
    drop(confinement);

    if let Err(error) = output.begin(&watch.signals) {
        drop(witness);
        let _ = process::signal_child(target, libc::SIGKILL);
        descendants::end(&inherited, &watch.signals);
        return Err(error);
    }
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut waiter = Waiter {
        target,
        signals: &watch.signals,
        phase: Phase::Running,
        ended_for: None,
        deadline,
        processor: group
            .as_ref()
            .and_then(|group| Processor::watch(&limits, group)),
    };
    let ended = waiter.wait(&mut output, companion);
    if ended.is_err() {
        // It may have been reaped already; then there is no child of that number.
        let _ = process::signal_child(target, libc::SIGKILL);
    }
    drop(witness);
    if let Some(group) = &group {
        group.kill();
    }
    let survivors = descendants::end(&inherited, &watch.signals);
    if let (Some(terminal), false) = (terminal, matches!(ended, Ok(Ending::Exited(_)))) {
        terminal.restore();
    }
    read_report(report)?;
    let ending = output.finish(ended?, &watch.signals, waiter.deadline)?;
    let events = group.as_ref().map(Group::events).unwrap_or_default();
    let finished = Finished {
        ending,
        survivors,
        limit: over::limit(
            &limits,
            ending,
            events,
            process::processor_time_of_children(),
        ),
        refused_processes: events.refused_processes,
    };
    Ok((finished, output.into_collected()))
}

pub(super) fn start_error(call: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Start { call, source }
}

pub(super) fn wait_error(call: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Wait { call, source }
}

/// What this process changes of itself for a run, given back when dropped.
#[derive(Debug)]
struct Watch {
    signals: SignalQueue,
    inherited: signal::Inherited,
    was_subreaper: bool,
}

impl Watch {
    fn begin() -> Result<Self, LaunchError> {
        let was_subreaper = process::set_subreaper(true).map_err(start_error("prctl"))?;
        let (signals, inherited) = SignalQueue::open().map_err(start_error("signalfd"))?;
        Ok(Self {
            signals,
            inherited,
            was_subreaper,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Both succeeded with the same arguments before; there is nobody left to tell.
        let _ = process::set_subreaper(self.was_subreaper);
        let _ = self.inherited.restore();
    }
}

/// What the child does before the confinement, as the report's second byte.
const CHILD_CALLS: [&str; 4] = ["prctl", "dup2", "sigaction", "write to cgroup.procs"];

/// A child that is becoming the target.
struct Started {
    /// The pipe it reports a failure through.
    report: File,
    target: i32,
    /// The parent's end of the socket that a listener comes through.
    handover: Option<OwnedFd>,
    output: Output,
}

/// Forks the target.
fn start(
    watch: &Watch,
    confinement: &mut Confinement,
    group: Option<&Group>,
    limits: (Option<usize>, Option<u64>),
) -> Result<Started, LaunchError> {
    let (report, report_writer) = files::pipe().map_err(start_error("pipe2"))?;
    let (output, streams) = match limits {
        (None, None) => (Output::Own, None),
        (Some(limit), _) => {
            let (output, streams) = Output::collect(limit).map_err(start_error("pipe2"))?;
            (output, Some(streams))
        }
        (None, Some(limit)) => {
            let (output, streams) = Output::carry(limit).map_err(start_error("pipe2"))?;
            (output, Some(streams))
        }
    };
    let (handover, target_end) = if confinement.is_supervised() {
        let (own, other) =
            handover::pair().map_err(|errno| start_error("socketpair")(errno.into()))?;
        (Some(own), Some(other))
    } else {
        (None, None)
    };
    let parent = process::own_pid();
    let target = process::fork(|| {
        // Async-signal-safe: only system calls, nothing allocates.
        let failure = match prepare_child(watch, parent, group, streams.as_ref()) {
            Ok(()) => confinement
                .apply_and_execute(target_end.as_ref().map(AsFd::as_fd))
                .to_bytes(),
            Err((call, error)) => {
                let [a, b, c, d] = error.raw_os_error().unwrap_or(0).to_ne_bytes();
                [0, call, 0, 0, a, b, c, d]
            }
        };
        // Without the report the code alone says that nothing was started.
        let _ = files::write_once(report_writer.as_fd(), &failure);
        125
    })
    .map_err(start_error("fork"))?;
    Ok(Started {
        report,
        target,
        handover,
        output,
    })
}

/// Lets the companion prepare, takes the listener, lets the companion begin, and lets the target
/// execute. A child that ended without a listener has reported why.
///
/// The witness comes first: the child is busy with its walls meanwhile, and a supervisor that has
/// begun makes no processes.
fn begin(
    handover: &OwnedFd,
    target: i32,
    private: Option<&Path>,
    companion: &mut dyn Companion,
) -> Result<Witness, LaunchError> {
    let witness = Witness::start(private).map_err(start_error("fork"))?;
    companion.prepare().map_err(LaunchError::Supervise)?;
    let received = handover::receive(handover.as_fd());
    let Some(listener) = received.map_err(|errno| start_error("recvmsg")(errno.into()))? else {
        return Ok(witness);
    };
    companion
        .begin(target, listener)
        .map_err(LaunchError::Supervise)?;
    // A child that ended meanwhile is seen by whoever waits for it.
    let _ = handover::give_word(handover.as_fd());
    // Where every other processor is busy the target waits for this one.
    std::thread::yield_now();
    Ok(witness)
}

fn prepare_child(
    watch: &Watch,
    parent: i32,
    group: Option<&Group>,
    streams: Option<&[OwnedFd; 3]>,
) -> Result<(), (u8, io::Error)> {
    process::die_with_parent(parent).map_err(|error| (0, error))?;
    if let Some(group) = group {
        files::write_once(group.entrance(), &ENTER).map_err(|error| (3, error))?;
    }
    if let Some(streams) = streams {
        let streams = streams.each_ref().map(AsFd::as_fd);
        process::redirect_standard(streams).map_err(|error| (1, error))?;
    }
    signal::restore_pipe_signal().map_err(|error| (2, error))?;
    watch.inherited.restore().map_err(|error| (2, error))
}

/// Reads the child's failure, after its end: execve has closed the pipe without a word, or there
/// is a report in it.
fn read_report(mut report: File) -> Result<(), LaunchError> {
    let mut bytes = Vec::new();
    // Waiting is impossible: the child was the only writer.
    report.read_to_end(&mut bytes).map_err(wait_error("read"))?;
    parse_report(&bytes)
}

fn parse_report(bytes: &[u8]) -> Result<(), LaunchError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let Ok(bytes) = <[u8; 8]>::try_from(bytes) else {
        return Err(LaunchError::Child);
    };
    if let [0, call, 0, 0, a, b, c, d] = bytes {
        let call = CHILD_CALLS
            .get(usize::from(call))
            .ok_or(LaunchError::Child)?;
        let source = io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d]));
        return Err(LaunchError::Start { call, source });
    }
    Err(ApplyFailure::from_bytes(bytes).map_or(LaunchError::Child, LaunchError::Apply))
}

/// How far ending the target in time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// SIGTERM was sent.
    Terminated,
    /// SIGKILL was sent.
    Killed,
}

/// What to do with a signal this process got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    Nothing,
    /// Continue the target if it is stopped.
    Continue,
    /// Send it the same one.
    Forward,
}

/// A terminal sends its signals to the whole foreground group, the target included; what a
/// process sent to Stockade alone is meant for the target, unless the target sent it.
fn reaction(received: Received, target: i32, session_leader: bool) -> Reaction {
    match (received.signal, received.sender) {
        (libc::SIGCHLD, _) => Reaction::Nothing,
        (libc::SIGCONT, _) => Reaction::Continue,
        (_, Some(sender)) if sender != target => Reaction::Forward,
        // The hang-up of a terminal reaches its session leader even without the group.
        (libc::SIGHUP, None) if session_leader => Reaction::Forward,
        _ => Reaction::Nothing,
    }
}

#[derive(Debug)]
struct Waiter<'watch> {
    target: i32,
    signals: &'watch SignalQueue,
    phase: Phase,
    /// Why it is being ended, when it is.
    ended_for: Option<Ending>,
    deadline: Option<Instant>,
    processor: Option<Processor<'watch>>,
}

impl Waiter<'_> {
    fn wait(
        &mut self,
        output: &mut Output,
        mut companion: Option<&mut dyn Companion>,
    ) -> Result<Ending, LaunchError> {
        loop {
            if let Some(ending) = self.reap()? {
                return Ok(ending);
            }
            self.enforce_deadline();
            self.enforce_processor_time();
            match companion.as_mut() {
                Some(companion) => companion
                    .wait(output.news(self.signals), self.next_look())
                    .map_err(LaunchError::Lost)?,
                None => self.poll(output)?,
            }
            while let Some(received) = self.signals.next().map_err(wait_error("signalfd"))? {
                self.react(received);
            }
            if output.read()? == Room::Over {
                self.end(Ending::TooMuchOutput);
            }
        }
    }

    /// Hears of every child that changed; the target's end ends it.
    fn reap(&self) -> Result<Option<Ending>, LaunchError> {
        loop {
            match process::wait_next().map_err(wait_error("waitid"))? {
                Waited::Nothing => return Ok(None),
                Waited::NoChildren => return Err(wait_error("waitid")(Errno::ECHILD.into())),
                Waited::Changed(pid, change) if pid == self.target => match change {
                    _ if !matches!(change, Change::Stopped(_)) && self.ended_for.is_some() => {
                        return Ok(self.ended_for);
                    }
                    Change::Exited(code) => return Ok(Some(Ending::Exited(code))),
                    Change::Killed(signal) => return Ok(Some(Ending::Signalled(signal))),
                    // Ctrl-Z, or a background job at the terminal: the shell must see it. SIGSTOP
                    // is a debugger's or an operator's, and nobody would continue both.
                    Change::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => {
                        signal::stop_by(signal).map_err(wait_error("raise"))?;
                    }
                    Change::Stopped(_) => {}
                },
                // An orphan that ended, or an inherited child.
                Waited::Changed(..) => {}
            }
        }
    }

    /// SIGTERM when the time is over, SIGKILL a little later, as timeout(1) does.
    fn enforce_deadline(&mut self) {
        let now = Instant::now();
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Running => self.end(Ending::TimedOut),
            Phase::Terminated | Phase::Killed => {
                self.phase = Phase::Killed;
                self.deadline = None;
                self.send(libc::SIGKILL);
                self.continue_target();
            }
        }
    }

    /// Begins to end the target, if nobody has begun yet.
    fn end(&mut self, why: Ending) {
        if self.phase == Phase::Running {
            self.phase = Phase::Terminated;
            self.ended_for = Some(why);
            self.deadline = Instant::now().checked_add(GRACE);
            self.send(libc::SIGTERM);
            self.continue_target();
        }
    }

    /// When something is due although nobody says anything.
    fn next_look(&self) -> Option<Instant> {
        let processor = self.processor.as_ref().map(|processor| processor.next);
        [self.deadline, processor].into_iter().flatten().min()
    }

    /// SIGXCPU when all processes together had their time, SIGKILL a little later.
    fn enforce_processor_time(&mut self) {
        let Some(processor) = &mut self.processor else {
            return;
        };
        if let Some(signal) = processor.due(Instant::now()) {
            self.send(signal);
            self.continue_target();
        }
    }

    fn poll(&self, output: &Output) -> Result<(), LaunchError> {
        let mut readable = vec![PollFd::new(output.news(self.signals), PollFlags::POLLIN)];
        let pipes = output.pipes();
        readable.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        let left = self
            .next_look()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match ppoll(&mut readable, left.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(wait_error("ppoll")(errno.into())),
        }
    }

    fn react(&self, received: Received) {
        match reaction(received, self.target, process::is_session_leader()) {
            Reaction::Nothing => {}
            Reaction::Continue => self.continue_target(),
            Reaction::Forward => self.send(received.signal),
        }
    }

    fn continue_target(&self) {
        if process::is_stopped(self.target) {
            self.send(libc::SIGCONT);
        }
    }

    /// The target is not reaped while this runs, so it is there; it may be ended already.
    fn send(&self, signal: i32) {
        let _ = process::signal_child(self.target, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::{ApplyFailure, LaunchError, Reaction, Received, parse_report, reaction};
    use crate::confine::ApplyStep;

    #[test]
    fn reaction_forwards_what_processes_sent() {
        let react = |signal, sender| reaction(Received { signal, sender }, 7, false);
        for signal in [
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGUSR1,
            libc::SIGTSTP,
            40,
        ] {
            assert_eq!(react(signal, Some(1)), Reaction::Forward, "{signal}");
            // Senders outside of the PID namespace have no number in it.
            assert_eq!(react(signal, Some(0)), Reaction::Forward, "{signal}");
            assert_eq!(react(signal, Some(7)), Reaction::Nothing, "{signal}");
            assert_eq!(react(signal, None), Reaction::Nothing, "{signal}");
        }
        assert_eq!(react(libc::SIGCHLD, Some(1)), Reaction::Nothing);
        assert_eq!(react(libc::SIGCONT, Some(1)), Reaction::Continue);
        assert_eq!(react(libc::SIGCONT, None), Reaction::Continue);
        let hang_up = Received {
            signal: libc::SIGHUP,
            sender: None,
        };
        assert_eq!(reaction(hang_up, 7, true), Reaction::Forward);
    }

    #[test]
    fn parse_report_takes_silence_for_a_start() {
        assert!(parse_report(&[]).is_ok());
        let failure = ApplyFailure {
            step: ApplyStep::Filter,
            errno: libc::EINVAL,
        };
        assert!(matches!(
            parse_report(&failure.to_bytes()),
            Err(LaunchError::Apply(same)) if same == failure
        ));
        let [a, b, c, d] = libc::ESRCH.to_ne_bytes();
        assert!(matches!(
            parse_report(&[0, 0, 0, 0, a, b, c, d]),
            Err(LaunchError::Start { call: "prctl", source })
                if source.raw_os_error() == Some(libc::ESRCH)
        ));
        for bytes in [&[1][..], &[0, 9, 0, 0, 0, 0, 0, 0], &[255; 8], &[0; 9]] {
            assert!(
                matches!(parse_report(bytes), Err(LaunchError::Child)),
                "{bytes:?}"
            );
        }
    }
}
