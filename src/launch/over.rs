// SPDX-License-Identifier: MIT
//! Whether a limit was reached, and which one ended a run.
//!
//! Invariant: a limit is named only when the kernel's own account says so.

use std::time::{Duration, Instant};

use super::Ending;
use super::group::{Events, Group};
use crate::plan::limits::{LimitKind, Limits};
use crate::sys::limits::PROCESSOR_GRACE;

/// How often the time of a group is looked at, at most.
const SHORTEST: Duration = Duration::from_millis(20);
/// The same, at least: processes that begin to work later must be noticed.
const LONGEST: Duration = Duration::from_secs(1);

/// Watches the processor time that all processes of a group have together: no resource limit does.
#[derive(Debug)]
pub(super) struct Processor<'group> {
    group: &'group Group,
    limit: Duration,
    processors: u32,
    /// When to look again.
    pub next: Instant,
    told: bool,
}

impl<'group> Processor<'group> {
    /// None when the group has no such limit.
    pub(super) fn watch(limits: &Limits, group: &'group Group) -> Option<Self> {
        let seconds = limits.of_group(LimitKind::CpuTime)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Self {
            group,
            limit: Duration::from_secs(seconds),
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            next: Instant::now() + SHORTEST,
            told: false,
        })
    }

    /// The signal that is due to the target now, if one is.
    pub(super) fn due(&mut self, now: Instant) -> Option<i32> {
        if now < self.next {
            return None;
        }
        // An account that cannot be read is over: silence is never success.
        let used = self.group.processor_time().unwrap_or(Duration::MAX);
        let left = self.limit.saturating_sub(used);
        if !left.is_zero() {
            self.next = now + (left / self.processors).clamp(SHORTEST, LONGEST);
            return None;
        }
        self.next = now + Duration::from_secs(PROCESSOR_GRACE);
        Some(if std::mem::replace(&mut self.told, true) {
            libc::SIGKILL
        } else {
            libc::SIGXCPU
        })
    }
}

/// The limit that ended a run, by how it ended and what the kernel counted.
pub(super) fn limit(
    limits: &Limits,
    ending: Ending,
    events: Events,
    processor_time: Duration,
) -> Option<LimitKind> {
    let signal = match ending {
        Ending::Signalled(signal) => signal,
        Ending::TooMuchOutput => return Some(LimitKind::OutputSize),
        Ending::Exited(_) | Ending::TimedOut => return None,
    };
    let killed_over =
        |seconds: u64| signal == libc::SIGKILL && processor_time >= Duration::from_secs(seconds);
    let kind = match signal {
        libc::SIGKILL if events.out_of_memory => LimitKind::Memory,
        libc::SIGXCPU => LimitKind::CpuTime,
        libc::SIGXFSZ => LimitKind::FileSize,
        _ => {
            let seconds = limits.get(LimitKind::CpuTime)?.limit.value;
            return killed_over(seconds).then_some(LimitKind::CpuTime);
        }
    };
    limits.get(kind).map(|_| kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::limits::{HeldLimit, Limit};
    use crate::policy::Origin;

    fn limits(kinds: &[LimitKind]) -> Limits {
        let held = |kind: &LimitKind| HeldLimit {
            limit: Limit {
                kind: *kind,
                value: 2,
                origin: Origin::flag("--x", None),
            },
            group: true,
            process: None,
        };
        Limits {
            held: kinds.iter().map(held).collect(),
            group: None,
        }
    }

    #[test]
    fn the_limit_is_told_by_signal_and_account() {
        let all = limits(&LimitKind::ALL);
        let quiet = Events::default();
        let full = Events {
            out_of_memory: true,
            refused_processes: 0,
        };
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(3));
        for (ending, events, time, expected) in [
            (Ending::Exited(1), full, long, None),
            (Ending::TimedOut, full, long, None),
            (
                Ending::TooMuchOutput,
                full,
                long,
                Some(LimitKind::OutputSize),
            ),
            (
                Ending::Signalled(libc::SIGKILL),
                full,
                short,
                Some(LimitKind::Memory),
            ),
            (
                Ending::Signalled(libc::SIGKILL),
                quiet,
                long,
                Some(LimitKind::CpuTime),
            ),
            (Ending::Signalled(libc::SIGKILL), quiet, short, None),
            (
                Ending::Signalled(libc::SIGXCPU),
                quiet,
                short,
                Some(LimitKind::CpuTime),
            ),
            (
                Ending::Signalled(libc::SIGXFSZ),
                quiet,
                short,
                Some(LimitKind::FileSize),
            ),
            (Ending::Signalled(libc::SIGTERM), full, long, None),
        ] {
            let found = limit(&all, ending, events, time);
            assert_eq!(found, expected, "{ending:?} {events:?} {time:?}");
            if ending != Ending::TooMuchOutput {
                assert_eq!(limit(&limits(&[]), ending, events, time), None);
            }
        }
    }
}
