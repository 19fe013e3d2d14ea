// SPDX-License-Identifier: MIT
//! What a Plan does not hold, said in words.
//!
//! Invariant: every permission whose kernel wall has a hole adds a line here; `explain` and the
//! README's list of gaps print these sentences.

use super::build::{Request, sys_granted, written};
use super::{Access, Execution, Gap, Holder, Network, Plan, command, limits, network_gaps};
use crate::policy::{Origin, Permission};

/// The kinds of system information native code can ask the kernel for directly.
const SYS_BY_SYSTEM_CALL: &str =
    "host name, kernel release, uptime, load, memory and user identifiers";

/// The gaps that follow from what the Plan already says.
pub(super) fn follow(plan: &Plan, request: &Request<'_>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let command = request.subject.is_command();
    let mut gap = |what: String, held_by: Holder, origin: Option<Origin>| {
        // Beside a command there is no runner that would check anything.
        let held_by = match held_by {
            Holder::Runner if command => Holder::Nobody,
            other => other,
        };
        gaps.push(Gap {
            what,
            held_by,
            origin,
        });
    };
    gap(
        "names, sizes, times and owners of all files can be seen (`stat`, `readlink`, `chdir`, \
         `inotify`): Landlock does not cover them"
            .to_owned(),
        Holder::Runner,
        None,
    );
    gap(
        format!("{SYS_BY_SYSTEM_CALL} can be asked of the kernel by native code"),
        Holder::Runner,
        None,
    );
    let policy = request.policy;
    if let Some(origin) = written(plan, request) {
        gap(
            "inode flags (`chattr`), extended attributes outside `user.`, and modes, owners and \
             times of devices stay as they are, also inside write grants; set-user-id and \
             set-group-id bits are left out of modes that are set"
                .to_owned(),
            Holder::Refused,
            Some(origin.clone()),
        );
        gap(
            "modes, owners, times and attributes of a file can be changed by any of its names \
             that lies inside a write grant, other hard links and bind mounts included, and by a \
             standard stream or kept descriptor that is open for writing"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
        gap(
            "kernel file systems and block devices mounted or made elsewhere than in /proc, /sys and \
             /dev are not told from other files inside a write grant"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
        gap(
            "new files inside a write grant can be created with set-user-id and set-group-id bits"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
        protected_paths(plan, &origin, &mut gap);
    }
    let started = match &plan.execution {
        Execution::None => None,
        Execution::List(programs) => programs.first().map(|program| &program.origin),
        Execution::Any(origin) => Some(origin),
    };
    if let Some(origin) = started {
        if matches!(plan.execution, Execution::List(_)) {
            gap(
                "a list of programs limits which files are executed, not which code runs: loaders \
                 and interpreters run anything readable, inside every wall"
                    .to_owned(),
                Holder::Nobody,
                Some(origin.clone()),
            );
        }
        gap(
            "children can join another process group of the caller's terminal and have it stopped"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
        gap(
            "if Stockade itself is killed, or the run ends while processes are started faster than \
             they can be ended, children of the program go on inside every wall"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
    }
    if let Network::Any(origin) = &plan.network {
        if !plan.syscalls.unix {
            gap(
                "UNIX sockets cannot be made: this kernel cannot tell which path they lead to \
                 (Landlock ABI 9, Linux 7.1)"
                    .to_owned(),
                Holder::Refused,
                Some(origin.clone()),
            );
        }
    } else if plan.filesystem.abi < 4 {
        gap(
            "no second lock on TCP (Landlock ABI 4, Linux 6.7): seccomp alone holds it".to_owned(),
            Holder::Nobody,
            None,
        );
    }
    if let Some(entry) = policy.run.deny.entries.first() {
        let what = if command {
            "`--deny-run` holds the file it finds: its copies, links from other directories and whatever \
             loads it as data run all the same"
        } else {
            "`--deny-run` holds the file it finds; other files of that name are denied by Deno alone"
        };
        gap(what.to_owned(), Holder::Runner, Some(entry.origin.clone()));
    }
    if let Some(origin) = first_origin(&policy.ffi) {
        gap(
            "which libraries are loaded is checked by Deno; what they do stays inside every wall"
                .to_owned(),
            Holder::Runner,
            Some(origin.clone()),
        );
    }
    if let Some(origin) = &policy.ffi.allow.all {
        gap(
            "the bare grant opens libraries in the system's directories and below read grants only"
                .to_owned(),
            Holder::Refused,
            Some(origin.clone()),
        );
    }
    if let Some(origin) = &policy.read.allow.all {
        gap(
            "`/` itself cannot be listed, and /proc, /sys and /dev are not part of the bare grant"
                .to_owned(),
            Holder::Refused,
            Some(origin.clone()),
        );
    }
    for denied in &plan.filesystem.denied {
        if denied.access.intersects(Access::READ) {
            gap(
                format!(
                    "other hard links to and bind mounts of `{}` stay readable where they are granted",
                    denied.path.display()
                ),
                Holder::Nobody,
                Some(denied.origin.clone()),
            );
        }
    }
    for rule in &plan.filesystem.rules {
        let module = rule
            .origins
            .iter()
            .any(|origin| matches!(origin, Origin::Module { .. }));
        let denial = plan.filesystem.denied.iter().find(|denied| {
            denied.access.intersects(Access::READ) && rule.path.starts_with(&denied.path)
        });
        if let (true, Some(denial)) = (module, denial) {
            gap(
                format!(
                    "`{}` is part of the program and stays readable",
                    rule.path.display()
                ),
                Holder::Runner,
                Some(denial.origin.clone()),
            );
        }
    }
    network_gaps::follow(plan, &mut gap);
    limits::follow(plan, !command, &mut gap);
    if let Some(kept) = plan.kept.first() {
        gap(
            "descriptors that are kept are used as they were opened: no rule judges the files, \
             connections and listeners behind them"
                .to_owned(),
            Holder::Nobody,
            Some(kept.origin.clone()),
        );
    }
    if command {
        command::gaps(plan, request, &mut gap);
    }
    if sys_granted(policy, "setPriority") {
        gap(
            "only the program's own priority can be changed".to_owned(),
            Holder::Refused,
            None,
        );
    }
    gaps
}

/// What decides what runs, or is permitted, next time and can be changed all the same.
fn protected_paths(
    plan: &Plan,
    origin: &Origin,
    gap: &mut impl FnMut(String, Holder, Option<Origin>),
) {
    if plan.filesystem.abi == 0 {
        gap(
            "files inside a write grant that decide what runs or is permitted next time (git hooks \
             and configuration, shell startup files, deno.json, package.json, node_modules, this \
             program's cache) can be changed"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
        return;
    }
    gap(
        "files inside a write grant that decide what runs next time elsewhere than in the protected \
         paths (build files, scripts, projects and repositories in other directories) can be changed"
            .to_owned(),
        Holder::Nobody,
        Some(origin.clone()),
    );
    if plan.syscalls.supervised.writes {
        if matches!(plan.network, Network::Any(_)) && plan.syscalls.unix {
            gap(
                "UNIX sockets cannot be made in a write grant that has protected paths inside, unless \
                 rules for hosts are given"
                    .to_owned(),
                Holder::Refused,
                Some(origin.clone()),
            );
        }
        gap(
            "what lies in a protected directory can be changed by another hard link or bind mount \
             of it that was there before the run"
                .to_owned(),
            Holder::Nobody,
            Some(origin.clone()),
        );
    }
}

/// The bare grant of a kind, else its first listed one.
fn first_origin<D>(permission: &Permission<D>) -> Option<&Origin> {
    let allow = &permission.allow;
    allow
        .all
        .as_ref()
        .or_else(|| allow.entries.first().map(|entry| &entry.origin))
}
