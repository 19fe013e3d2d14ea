// SPDX-License-Identifier: MIT
//! Limits that a control group of the run holds, where this machine delegates one.

use std::path::{Path, PathBuf};

use super::{bomb, bombs, expect_bound, outside, refused_at};
use crate::machine::superuser;
use crate::support::{Launch, Project};
use crate::support_life::{project, skip};

/// Says who runs a test instead. `scripts/test-kernel` delegates all controllers, and nobody comes after it.
fn left_over(to: &str) {
    assert!(
        std::env::var_os("STOCKADE_TEST_CONTROL_GROUPS").is_none_or(|value| value != "1"),
        "left to {to}"
    );
    eprintln!("left to {to}");
}

/// No group here; one can be made by the superuser, who must, and by who was given the right.
fn missing(reason: &str) -> Option<Delegated> {
    if superuser() {
        skip(reason);
    } else {
        left_over(&format!("the superuser's run of the tests: {reason}"));
    }
    None
}

/// A control group of this test, with the tests' user as owner; removed at the end.
struct Delegated(PathBuf);

impl Delegated {
    /// None, with a reason, where no group can be made.
    fn make() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[2] == "cgroup2").then(|| fields[1].to_owned())
        });
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let (Some(mount), Some(own)) = (mount, own) else {
            return missing("needs control groups of version 2");
        };
        let mut around = Path::new(&mount).join(own);
        if !superuser() {
            // What is delegated to another user is around the group their processes are in.
            around.pop();
        }
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("limits-test-{}-{number}", std::process::id());
        let path = around.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => missing(&format!("cannot make {}: {error}", path.display())),
        }
    }

    /// One in which these controllers can be used. None, with a reason, where this machine gives them to
    /// nobody: they are bound to a hierarchy of version 1, or the group around has them not.
    fn with(controllers: &[&str]) -> Option<Self> {
        let group = Self::make()?;
        let around = group.0.parent().unwrap().join("cgroup.subtree_control");
        let words: Vec<String> = controllers.iter().map(|one| format!("+{one}")).collect();
        // It may be on already, and then refused for other reasons.
        let answer = std::fs::write(&around, words.join(" "));
        let there = std::fs::read_to_string(group.0.join("cgroup.controllers")).unwrap();
        if controllers
            .iter()
            .all(|one| there.split_whitespace().any(|it| it == *one))
        {
            return Some(group);
        }
        left_over(&format!(
            "a machine with {} in control groups of version 2: writing to {} was {answer:?}",
            controllers.join(" and "),
            around.display()
        ));
        None
    }

    /// A command inside it, alone.
    fn enter(&self, launch: Launch) -> Launch {
        let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", self.0.display());
        launch.through_shell(&script)
    }

    /// Groups that were made in it and not removed.
    fn left(&self) -> usize {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_group_counts_the_time_of_all_processes_together() {
    let project = Project::new();
    let Some(group) = Delegated::make() else {
        return;
    };
    // Two processes with 1.5 s each: neither reaches 2 s alone.
    let wanted = ["spins", "1500"];
    let low = group
        .enter(bomb(&project, &["--cpu-time=2"], &wanted))
        .run();
    assert_eq!(low.signal, Some(libc::SIGXCPU), "{low:?}");
    low.expect_error("it used more processor time than 2 s, by `--cpu-time=2`");
    assert_eq!(group.left(), 0);
    let high = group
        .enter(bomb(&project, &["--cpu-time=60"], &["spins", "100"]))
        .run();
    expect_bound(&high, "spins", 100);
    assert_eq!(group.left(), 0);
    // Without a group each has its own time.
    expect_bound(
        &bomb(&project, &["--cpu-time=2"], &wanted).run(),
        "spins",
        1500,
    );
}

#[test]
fn doctor_and_explain_agree_about_the_group() {
    let Some(group) = Delegated::make() else {
        return;
    };
    let project = project("");
    let doctor = group.enter(project.stockade(&["doctor", "--json"])).run();
    let facts: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
    let place = &facts["cgroup"]["place"];
    assert_eq!(place["directory"], group.0.to_str().unwrap());
    let words = [
        "explain",
        "--json",
        "--cpu-time=5",
        "--memory=1g",
        "--allow-run",
        "main.ts",
    ];
    let plan = group.enter(project.stockade(&words)).run();
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(&plan["limits"]["group"], place);
    let held = plan["limits"]["held"].as_array().unwrap();
    assert_eq!(held[0]["kind"], "memory");
    assert_eq!(held[0]["group"], place["memory"]);
    assert_eq!(held[1]["group"], true);
    // Outside of it, nothing of it.
    let plain = project.stockade(&words).run();
    assert!(!plain.stdout.contains(group.0.to_str().unwrap()));
}

#[test]
fn a_group_that_cannot_be_made_starts_nothing() {
    let Some(group) = Delegated::make() else {
        return;
    };
    let project = project("console.log('started')");
    let words = ["run", "--cpu-time=60", "--allow-run", "main.ts"];
    // No group may be made below it now.
    std::fs::write(group.0.join("cgroup.max.descendants"), "0").unwrap();
    group
        .enter(project.stockade(&words))
        .run()
        .expect_refused()
        .expect_error("cannot make the control group")
        .expect_error("hint: ");
    std::fs::write(group.0.join("cgroup.max.descendants"), "10").unwrap();
    group
        .enter(project.stockade(&words))
        .run()
        .expect_output("started\n");
    assert_eq!(group.left(), 0);
}

#[test]
fn a_group_left_by_a_killed_stockade_is_removed_by_the_next() {
    let Some(group) = Delegated::make() else {
        return;
    };
    let left = group.0.join("stockade-999999999");
    let foreign = group.0.join("other");
    std::fs::create_dir(&left).unwrap();
    std::fs::create_dir(&foreign).unwrap();
    let project = project("console.log('started')");
    let words = ["run", "--cpu-time=60", "--allow-run", "main.ts"];
    group
        .enter(project.stockade(&words))
        .run()
        .expect_output("started\n");
    assert!(!left.exists() && foreign.exists());
    std::fs::remove_dir(&foreign).unwrap();
}

/// The bomb as a command, so that nothing but it is counted.
fn command(project: &Project, flags: &[&str], bomb: &[&str]) -> Launch {
    let read = format!("--allow-read={}", bombs());
    let mut words = vec!["exec", read.as_str()];
    words.extend(flags);
    words.extend(["--", bombs()]);
    words.extend(bomb);
    project.stockade(&words)
}

#[test]
fn a_group_counts_the_memory_of_all_processes_together() {
    let project = Project::new();
    let Some(group) = Delegated::with(&["memory"]) else {
        return;
    };
    // In MiB; what is shared and what lies in files in memory counts, too.
    for wanted in [&["pages", "200"][..], &["pages", "200", "shared"]] {
        expect_bound(&outside(&project, wanted), "pages", 200);
        let run = |limit| group.enter(command(&project, &[limit], wanted)).run();
        let low = run("--memory=64m");
        assert_eq!(low.signal, Some(libc::SIGKILL), "{low:?}");
        low.expect_error(
            "error: the run was ended: it needed more memory than 64 MiB, by `--memory=64m`\n",
        );
        expect_bound(&run("--memory=400m"), "pages", 200);
        assert_eq!(group.left(), 0);
    }
    // Two of them, of which none needs as much: both are ended.
    let both = |limit: &str| {
        let script = format!("{0} pages 50 & {0} pages 50; wait; echo both", bombs());
        let read = format!("--allow-read={}", bombs());
        let words = ["exec", &read, limit, "--", "sh", "-c", &script];
        group.enter(project.stockade(&words)).run()
    };
    let low = both("--memory=64m");
    // The first may be done before the second begins.
    if low.signal.is_some() {
        low.expect_error("by `--memory=64m`").expect_nowhere("both");
    }
    let high = both("--memory=400m");
    assert!(high.stdout.ends_with("both\n"), "{high:?}");
}

#[test]
fn a_group_counts_processes() {
    let project = Project::new();
    let Some(group) = Delegated::with(&["pids"]) else {
        return;
    };
    let wanted = ["forks", "300"];
    expect_bound(&outside(&project, &wanted), "forks", 300);
    let run = |limit| group.enter(command(&project, &[limit], &wanted)).run();
    let low = run("--processes=40");
    assert_eq!(refused_at(&low, "forks", "EAGAIN"), 39, "{low:?}");
    low.expect_error("warning: a process or thread was refused 1 times, by `--processes=40`\n");
    expect_bound(&run("--processes=400"), "forks", 300);
    assert_eq!(group.left(), 0);
}
