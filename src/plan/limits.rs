// SPDX-License-Identifier: MIT
//! Which layer holds each limit of a run: a control group, resource limits of each process, or
//! Stockade, which passes on what the program writes.
//!
//! Invariant: a limit nobody here can hold is an error, or with `--best-effort` a gap; one that is
//! held of each process instead of all together, or more loosely than it was asked for, is a gap.

use std::path::Path;

use serde::Serialize;

use super::build::Request;
use super::error::PlanError;
use super::{Access, Execution, Gap, Holder, Plan};
use crate::host::Host;
use crate::host::control_groups;
pub use crate::host::control_groups::Place;
use crate::policy::Origin;
use crate::policy::limits::show_size;
pub use crate::policy::limits::{Limit, LimitKind};

/// The limits of one confinement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Each limit with what holds it, sorted by kind.
    pub held: Vec<HeldLimit>,
    /// Where the run gets a control group of its own; none when no limit needs one.
    pub group: Option<Place>,
}

/// One limit and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldLimit {
    /// The limit as it was asked for.
    #[serde(flatten)]
    pub limit: Limit,
    /// What the control group of the run holds all processes to, together.
    pub group: bool,
    /// What the resource limit of each process is, in the unit of the kind; processes are counted
    /// from those the user has at the start.
    pub process: Option<u64>,
}

impl Limits {
    /// The limit of a kind, when something holds it.
    pub fn get(&self, kind: LimitKind) -> Option<&HeldLimit> {
        self.held.iter().find(|held| held.limit.kind == kind)
    }

    /// The value that the control group holds a kind to.
    pub fn of_group(&self, kind: LimitKind) -> Option<u64> {
        self.get(kind)
            .filter(|held| held.group)
            .map(|held| held.limit.value)
    }
}

/// Private memory the runner reserves at its start and does not use (Deno 2.9 on two processors
/// reserves 554 MB, and a stack for every further one), so that its resource limit must be higher.
const RUNNER_RESERVES: u64 = 768 << 20;

/// How a limit of each process is described where `explain` prints it.
fn resource(kind: LimitKind) -> Option<&'static str> {
    Some(match kind {
        LimitKind::Memory => "RLIMIT_DATA",
        LimitKind::CpuTime => "RLIMIT_CPU",
        LimitKind::Processes => "RLIMIT_NPROC",
        LimitKind::OpenFiles => "RLIMIT_NOFILE",
        LimitKind::FileSize => "RLIMIT_FSIZE",
        LimitKind::OutputSize => return None,
    })
}

/// Decides which layer holds what.
///
/// # Errors
/// [`PlanError::Limit`] for a limit that nothing here can hold, without `--best-effort`.
pub(super) fn build(
    request: &Request<'_>,
    host: &dyn Host,
    execution: &Execution,
    gaps: &mut Vec<Gap>,
) -> Result<Limits, PlanError> {
    let wants_group = |limit: &Limit| match limit.kind {
        LimitKind::Memory | LimitKind::Processes => true,
        // Of one process the resource limit is exact.
        LimitKind::CpuTime => *execution != Execution::None,
        _ => false,
    };
    let place = if request.limits.iter().any(wants_group) {
        control_groups::probe(host).place
    } else {
        None
    };
    let mut held = Vec::new();
    for limit in request.limits {
        let group = wants_group(limit)
            && place.as_ref().is_some_and(|place| match limit.kind {
                LimitKind::Memory => place.memory,
                LimitKind::Processes => place.processes,
                _ => true,
            });
        let process = match limit.kind {
            LimitKind::Memory if group => None,
            LimitKind::Memory if !request.subject.is_command() => {
                Some(limit.value.saturating_add(RUNNER_RESERVES))
            }
            LimitKind::Processes if group => None,
            LimitKind::Processes if host.user() == 0 => {
                degrade(request, limit, &OF_ROOT, gaps)?;
                continue;
            }
            LimitKind::OutputSize => None,
            _ => Some(limit.value),
        };
        held.push(HeldLimit {
            limit: limit.clone(),
            group,
            process,
        });
    }
    let group = place.filter(|_| held.iter().any(|one| one.group));
    Ok(Limits { held, group })
}

/// A limit that nothing holds, in words.
struct Unheld {
    why: &'static str,
    hint: &'static str,
    gap: &'static str,
}

/// The superuser's processes are not counted (setrlimit(2), RLIMIT_NPROC), whatever capabilities
/// they have.
const OF_ROOT: Unheld = Unheld {
    why: "the kernel does not count the processes of user 0, and no control group is delegated",
    hint: "run as another user, or in a delegated control group: `systemd-run --scope -p \
           Delegate=yes stockade …`",
    gap: "the number of processes is not limited: the kernel does not count those of user 0 (no \
          control group is delegated)",
};

fn degrade(
    request: &Request<'_>,
    limit: &Limit,
    unheld: &Unheld,
    gaps: &mut Vec<Gap>,
) -> Result<(), PlanError> {
    if !request.best_effort {
        return Err(PlanError::Limit {
            origin: limit.origin.clone(),
            why: unheld.why,
            hint: unheld.hint,
        });
    }
    gaps.push(Gap {
        what: unheld.gap.to_owned(),
        held_by: Holder::Nobody,
        origin: Some(Origin::flag("--best-effort", None)),
    });
    Ok(())
}

/// What the limits of a Plan leave open.
pub(super) fn follow(
    plan: &Plan,
    runner: bool,
    gap: &mut impl FnMut(String, Holder, Option<Origin>),
) {
    let processes = plan.execution != Execution::None;
    for held in &plan.limits.held {
        let mut say = |what: String| gap(what, Holder::Nobody, Some(held.limit.origin.clone()));
        match (held.limit.kind, held.process) {
            (LimitKind::Memory, Some(_)) => {
                say(
                    "memory is limited for each process, not for all together, and only what is \
                     private to it: shared memory and files in memory do not count (no control \
                     group is delegated)"
                        .to_owned(),
                );
                if runner {
                    say(format!(
                        "Deno reserves memory that it does not use, so each process is limited to \
                         {} more than asked for (no control group is delegated)",
                        show_size(RUNNER_RESERVES)
                    ));
                }
            }
            (LimitKind::CpuTime, _) if processes && !held.group => say(
                "processor time is limited for each process, not for all together (no control \
                 group is delegated)"
                    .to_owned(),
            ),
            (LimitKind::Processes, Some(_)) => say(
                "processes are counted together with all others of this user, from those there are \
                 at the start (no control group is delegated)"
                    .to_owned(),
            ),
            (LimitKind::OpenFiles, _) if processes => {
                say("open files are limited for each process, not for all together".to_owned());
            }
            (LimitKind::FileSize, _) => {
                say("each file is limited, and not how many there are: together they can fill a disk"
                    .to_owned());
            }
            (LimitKind::OutputSize, _) => say(
                "output is counted on standard output and standard error: what is written to \
                 `/dev/tty`, and to a terminal or socket that is standard input, is not"
                    .to_owned(),
            ),
            _ => {}
        }
    }
    let writable = |place: &Place| {
        let writes = |path: &Path| place.directory.starts_with(path);
        plan.filesystem
            .rules
            .iter()
            .find(|rule| rule.access.contains(Access::WRITE_FILE) && writes(&rule.path))
            .and_then(|rule| rule.origins.first().cloned())
    };
    if let Some(origin) = plan.limits.group.as_ref().and_then(writable) {
        gap(
            "the program may write to its own control group, and lift its limits there".to_owned(),
            Holder::Nobody,
            Some(origin),
        );
    }
}

/// The lines of `explain`: what is limited, and what holds it.
pub(super) fn lines(limits: &Limits) -> impl Iterator<Item = String> {
    limits.held.iter().map(|held| {
        let HeldLimit {
            limit,
            group,
            process,
        } = held;
        let mut layers = Vec::new();
        if let (true, Some(place)) = (*group, &limits.group) {
            layers.push(format!(
                "kernel: a control group of the run in {}",
                place.directory.display()
            ));
        }
        if let (Some(value), Some(resource)) = (process, resource(limit.kind)) {
            let more = match limit.kind {
                LimitKind::Processes => " from those this user has at the start".to_owned(),
                LimitKind::Memory if *value != limit.value => format!(" ({})", show_size(*value)),
                _ => String::new(),
            };
            layers.push(format!("kernel: {resource} of each process{more}"));
        }
        if limit.kind == LimitKind::OutputSize {
            layers.push(
                "Stockade: passes on and counts what is written; standard output and standard \
                 error are pipes, and no terminal"
                    .to_owned(),
            );
        }
        format!(
            "{:11} {}    {}    from {}",
            limit.kind.name(),
            limit.kind.show(limit.value),
            layers.join("; "),
            limit.origin
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::plan::build;
    use crate::plan::tests::{machine, request};
    use crate::policy::Policy;
    use crate::policy::flags::{PermissionFlag, parse_flags};
    use crate::policy::limits::Limits as Asked;

    const CPU: u64 = 9;

    fn flags(flags: &[&'static str]) -> Policy {
        let flags = flags.iter().map(|flag| match flag.split_once('=') {
            Some((flag, value)) => PermissionFlag {
                flag,
                value: Some(value),
            },
            None => PermissionFlag { flag, value: None },
        });
        parse_flags(flags).unwrap()
    }

    fn asked(kinds: &[LimitKind]) -> Asked {
        let mut asked = Asked::none();
        for kind in kinds {
            asked.add(Limit {
                kind: *kind,
                value: CPU,
                origin: Origin::flag(format!("--{}", kind.name()), None),
            });
        }
        asked
    }

    /// A machine with a group of its own, in which these controllers are on.
    fn delegated(controllers: &str) -> FakeHost {
        let mut host = machine()
            .with_file("/proc/self/cgroup", "0::/a\n")
            .with_file("/proc/self/mounts", "cgroup2 /cg cgroup2 rw 0 0\n");
        let user = host.user();
        for (name, content) in [
            ("cgroup.procs", "7\n8\n"),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", controllers),
            ("cgroup.type", "domain"),
        ] {
            let path = format!("/cg/a/{name}");
            host = host.with_file(&path, content).owned(&path, user, 0o644);
        }
        host.owned("/cg/a", user, 0o755).owned("/cg", 0, 0o555)
    }

    fn plan_of(policy: &Policy, kinds: &[LimitKind], host: &FakeHost) -> Result<Plan, PlanError> {
        let asked = asked(kinds);
        let request = Request {
            limits: &asked,
            ..request(policy)
        };
        build(&request, host)
    }

    fn layers(plan: &Plan) -> Vec<(LimitKind, bool, Option<u64>)> {
        let held = plan.limits.held.iter();
        held.map(|held| (held.limit.kind, held.group, held.process))
            .collect()
    }

    fn gaps(plan: &Plan) -> String {
        plan.gaps.iter().map(|gap| gap.what.as_str()).collect()
    }

    #[test]
    fn without_a_group_each_process_is_limited() {
        let host = machine();
        let kinds = &LimitKind::ALL[..5];
        let plan = plan_of(&flags(&["--allow-run"]), kinds, &host).unwrap();
        assert_eq!(
            layers(&plan),
            [
                (LimitKind::Memory, false, Some(CPU + RUNNER_RESERVES)),
                (LimitKind::CpuTime, false, Some(CPU)),
                (LimitKind::Processes, false, Some(CPU)),
                (LimitKind::OpenFiles, false, Some(CPU)),
                (LimitKind::FileSize, false, Some(CPU)),
            ]
        );
        assert!(plan.limits.group.is_none() && plan.lifetime.waiter);
        for gap in [
            "memory is limited for each process",
            "processor time is limited for each process",
            "processes are counted together with all others",
        ] {
            assert!(gaps(&plan).contains(gap), "{gap}");
        }
    }

    #[test]
    fn a_group_holds_what_its_controllers_can() {
        let all = [LimitKind::Memory, LimitKind::CpuTime, LimitKind::Processes];
        let policy = flags(&["--allow-run"]);
        let plan = plan_of(&policy, &all, &delegated("memory pids")).unwrap();
        assert_eq!(
            layers(&plan),
            [
                (LimitKind::Memory, true, None),
                (LimitKind::CpuTime, true, Some(CPU)),
                (LimitKind::Processes, true, None),
            ]
        );
        assert_eq!(plan.limits.of_group(LimitKind::Memory), Some(CPU));
        assert!(!gaps(&plan).contains("control group"), "{}", gaps(&plan));
        let plan = plan_of(&policy, &all, &delegated("pids")).unwrap();
        assert_eq!(plan.limits.of_group(LimitKind::Memory), None);
        assert_eq!(plan.limits.of_group(LimitKind::Processes), Some(CPU));
        // One process: its own limit is exact.
        let plan = plan_of(&Policy::default(), &[LimitKind::CpuTime], &delegated("")).unwrap();
        assert_eq!(plan.limits.group, None);
        assert!(!gaps(&plan).contains("processor time"));
    }

    #[test]
    fn the_superusers_processes_need_a_group() {
        let root = machine().with_user(0);
        let refused = plan_of(&Policy::default(), &[LimitKind::Processes], &root).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("`--processes` cannot be held")
        );
        assert!(refused.hint().unwrap().contains("Delegate=yes"));
        let (asked, policy) = (asked(&[LimitKind::Processes]), Policy::default());
        let request = Request {
            limits: &asked,
            best_effort: true,
            ..request(&policy)
        };
        let plan = build(&request, &root).unwrap();
        assert!(plan.limits.held.is_empty());
        assert!(plan.gaps.iter().any(Gap::degraded));
    }

    #[test]
    fn stockade_counts_output() {
        let plan = plan_of(&Policy::default(), &[LimitKind::OutputSize], &machine()).unwrap();
        assert_eq!(layers(&plan), [(LimitKind::OutputSize, false, None)]);
        assert!(plan.lifetime.waiter);
        let line = lines(&plan.limits).next().unwrap();
        assert!(line.contains("Stockade: passes on and counts"), "{line}");
        assert!(gaps(&plan).contains("`/dev/tty`"));
    }

    #[test]
    fn a_group_that_may_be_written_is_a_gap() {
        let policy = flags(&["--allow-write=/cg/a"]);
        let plan = plan_of(&policy, &[LimitKind::Memory], &delegated("memory")).unwrap();
        assert!(gaps(&plan).contains("may write to its own control group"));
    }
}
