// SPDX-License-Identifier: MIT
//! `stockade doctor` as text for people.
//!
//! Invariant: rendering adds nothing to the report; what is missing is said with the permission
//! it limits and the first kernel that has it.

use std::fmt::{Display, Write};

use crate::host::control_groups::ControlGroups;
use crate::host::doctor::{Availability, Listener, Report};
use crate::host::{KernelFacts, LandlockMissing};

/// The report as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let kernel = &report.kernel;
    line(
        &mut text,
        "kernel",
        format_args!("Linux {} {}", kernel.release, kernel.machine),
    );
    line(&mut text, "Landlock", landlock(kernel, report.landlock_cap));
    line(
        &mut text,
        "seccomp",
        if kernel.seccomp_filter {
            "filters work"
        } else {
            "no filters"
        },
    );
    let notify = if report.seccomp_notify {
        "works"
    } else {
        "missing"
    };
    line(&mut text, "notifications", notify);
    line(
        &mut text,
        "supervisor",
        match report.listener {
            Listener::Works => "possible",
            Listener::Interruptible => {
                "possible, signals repeat its calls (Linux 5.19 has WAIT_KILLABLE_RECV)"
            }
            Listener::Taken => "not possible: an outer supervisor is there",
            Listener::Missing => "not possible: no listeners (Linux 5.9 has them)",
            Listener::Refused => "not possible: refused by an outer sandbox",
        },
    );
    line(
        &mut text,
        "pidfd_getfd",
        match report.pidfd_getfd {
            Availability::Works => "works",
            Availability::Missing => {
                "missing (Linux 5.6 has it): the supervisor makes every socket"
            }
            Availability::Refused => {
                "refused by an outer sandbox: the supervisor makes every socket"
            }
        },
    );
    match report.yama {
        None => line(&mut text, "Yama", "absent"),
        Some(level) => line(&mut text, "Yama", format_args!("ptrace_scope {level}")),
    }
    line(&mut text, "cgroup", cgroup(&report.cgroup));
    line(&mut text, "user", user(report));
    line(&mut text, "cache", cache(report));
    if !report.surroundings.is_empty() {
        line(&mut text, "inside", report.surroundings.join(", "));
    }
    text.push_str("\npermissions:\n");
    for need in &report.needs {
        let state = if need.held { "held   " } else { "MISSING" };
        let _ = write!(
            text,
            "  {state}  {}: {} ({})",
            need.permission, need.feature, need.since
        );
        if !need.held {
            let _ = write!(text, "; without it: {}", need.without);
        }
        text.push('\n');
    }
    text.push_str("\nnot covered by Landlock here:\n");
    for lack in &report.lacks {
        let _ = write!(text, "  {}", lack.what);
        if let (Some(abi), Some(since)) = (lack.abi, lack.since) {
            let _ = write!(text, " (ABI {abi}, {since})");
        }
        let _ = writeln!(text, "; held by {}", lack.closed_by);
    }
    text.push_str(if report.holds {
        "\n`stockade run` without network rules is held by this kernel\n"
    } else {
        "\n`stockade run` CANNOT be held by this kernel\n"
    });
    text
}

fn line(text: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(text, "{name:<14}{value}");
}

fn landlock(kernel: &KernelFacts, cap: Option<u8>) -> String {
    let used = kernel.landlock_abi;
    let mut text = match kernel.landlock_missing {
        None => format!("ABI {used}"),
        Some(LandlockMissing::NotBuilt) => {
            "absent: not built into this kernel, or hidden by an outer sandbox".to_owned()
        }
        Some(LandlockMissing::Disabled) => {
            "switched off: add `landlock` to the `lsm=` boot parameter".to_owned()
        }
        Some(LandlockMissing::NoDescriptors) => "unknown: no file descriptors are left".to_owned(),
        Some(LandlockMissing::Refused) => "refused by an outer sandbox".to_owned(),
    };
    if kernel.landlock_claimed_abi != used {
        let _ = write!(text, ", the kernel claims {}", kernel.landlock_claimed_abi);
    }
    if let Some(cap) = cap {
        let _ = write!(text, ", capped at {cap} by {}", crate::host::LANDLOCK_CAP);
    }
    text
}

fn user(report: &Report) -> String {
    let process = &report.process;
    let mut text = format!("{}, capabilities {}", process.user, process.capabilities);
    if process.no_new_privileges {
        text.push_str(", no_new_privs is set");
    }
    match process.seccomp_filters {
        None | Some(0) => {}
        Some(count) => {
            let _ = write!(text, ", {count} seccomp filters in force");
        }
    }
    text
}

/// What the limits of a run can be held by.
fn cgroup(groups: &ControlGroups) -> String {
    let (Some(own), place) = (&groups.directory, &groups.place) else {
        return "version 2 is not mounted".to_owned();
    };
    let Some(place) = place else {
        return format!(
            "{}, not delegated: limits are of each process",
            own.display()
        );
    };
    let controllers = match (place.memory, place.processes) {
        (true, true) => "memory and processes",
        (true, false) => "memory",
        (false, true) => "processes",
        (false, false) => "no controllers",
    };
    format!("{}, delegated, {controllers}", place.directory.display())
}

fn cache(report: &Report) -> String {
    let Some(directory) = &report.cache.directory else {
        return "no usable place: set STOCKADE_CACHE, XDG_CACHE_HOME or HOME".to_owned();
    };
    let state = match (report.cache.writable, report.cache.noexec) {
        (true, false) => "writable",
        (false, _) => "NOT WRITABLE",
        (true, true) => "on a NOEXEC file system",
    };
    format!("{}, {state}", directory.display())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::render;
    use crate::host::Host;
    use crate::host::LandlockMissing;
    use crate::host::control_groups::{ControlGroups, Place};
    use crate::host::doctor::{Availability, Cache, Listener, Process, Report, lacks, needs};
    use crate::host::fake::FakeHost;

    fn report(abi: u8) -> Report {
        let kernel = FakeHost::new().with_landlock(abi).kernel().clone();
        Report {
            holds: abi >= 2,
            landlock_cap: None,
            needs: needs(&kernel),
            lacks: lacks(abi),
            seccomp_notify: true,
            listener: Listener::Taken,
            pidfd_getfd: Availability::Refused,
            yama: Some(1),
            cgroup: ControlGroups {
                directory: Some(PathBuf::from("/sys/fs/cgroup/x")),
                place: None,
            },
            process: Process {
                user: 1000,
                capabilities: "0".to_owned(),
                no_new_privileges: true,
                seccomp_filters: Some(1),
            },
            cache: Cache {
                directory: Some(PathBuf::from("/home/u/.cache/stockade")),
                writable: true,
                noexec: true,
            },
            surroundings: vec!["Docker"],
            kernel,
        }
    }

    #[test]
    fn every_fact_has_its_line() {
        let text = render(&report(7));
        for wanted in [
            "kernel        Linux 6.18.0 x86_64\n",
            "Landlock      ABI 7\n",
            "supervisor    not possible: an outer supervisor is there\n",
            "pidfd_getfd   refused by an outer sandbox: the supervisor makes every socket\n",
            "Yama          ptrace_scope 1\n",
            "cgroup        /sys/fs/cgroup/x, not delegated: limits are of each process\n",
            "user          1000, capabilities 0, no_new_privs is set, 1 seccomp filters in force\n",
            "cache         /home/u/.cache/stockade, on a NOEXEC file system\n",
            "inside        Docker\n",
            "  held     --allow-run: Landlock ABI 6, signal scope (Linux 6.12)\n",
            "is held by this kernel\n",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_its_kernel() {
        let text = render(&report(3));
        assert!(text.contains(
            "  MISSING  --allow-run: Landlock ABI 6, signal scope (Linux 6.12); without it: refused"
        ));
        assert!(text.contains("  TCP (ABI 4, Linux 6.7); held by seccomp"));
        assert!(!text.contains("  truncate"));
        let mut absent = report(0);
        absent.kernel.landlock_missing = Some(LandlockMissing::NotBuilt);
        let none = render(&absent);
        assert!(none.contains("Landlock      absent: not built"), "{none}");
        assert!(none.contains("CANNOT be held"));
    }

    #[test]
    fn a_delegated_group_is_named_with_what_it_limits() {
        let mut report = report(7);
        report.cgroup.place = Some(Place {
            directory: PathBuf::from("/sys/fs/cgroup/y"),
            memory: true,
            processes: false,
            switch_on: vec!["memory"],
            step_aside: true,
        });
        let text = render(&report);
        assert!(text.contains("cgroup        /sys/fs/cgroup/y, delegated, memory\n"));
    }

    #[test]
    fn steps_down_and_caps_are_shown() {
        let mut lowered = report(3);
        lowered.kernel.landlock_missing = None;
        lowered.kernel.landlock_claimed_abi = 7;
        lowered.landlock_cap = Some(3);
        let text = render(&lowered);
        assert!(
            text.contains("ABI 3, the kernel claims 7, capped at 3 by STOCKADE_LANDLOCK_ABI\n")
        );
        lowered.kernel.landlock_missing = Some(LandlockMissing::Disabled);
        assert!(render(&lowered).contains("`lsm=` boot parameter"));
    }
}
