// SPDX-License-Identifier: MIT
//! Where a control group for one run can be made, if anywhere (cgroups(7), version 2).
//!
//! Invariant: nothing is made or changed here; what counts is what a user without capabilities may
//! write, since that is what a run is.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Host;

/// The control groups of Stockade's own process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ControlGroups {
    /// The directory of the group Stockade is in; none when version 2 is not mounted, or the mount
    /// is of another place.
    pub directory: Option<PathBuf>,
    /// Where groups may be made.
    pub place: Option<Place>,
}

/// A group that this user may make groups in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its directory.
    pub directory: PathBuf,
    /// Whether memory can be limited in it.
    pub memory: bool,
    /// Whether the number of processes can be limited in it.
    pub processes: bool,
    /// Controllers that must be switched on for its groups first.
    pub switch_on: Vec<&'static str>,
    /// Whether Stockade itself must leave it first: a group with processes of its own gives no
    /// controllers on, and Stockade is the only one in it.
    pub step_aside: bool,
}

/// Small files of the kernel are not longer.
const LENGTH_LIMIT: usize = 1 << 20;

/// Looks for a place: the own group first, then those around it, up to the mount.
pub fn probe(host: &dyn Host) -> ControlGroups {
    let groups = text(host, Path::new("/proc/self/cgroup"));
    let mounts = text(host, Path::new("/proc/self/mounts"));
    let Some(Own {
        mount,
        directory: own,
        writable,
    }) = find_own(&groups, &mounts)
    else {
        return ControlGroups::default();
    };
    // A mount of another part of the hierarchy would lead to a stranger's group.
    let process = host.process().to_string();
    if !members(host, &own).lines().any(|line| line == process) {
        return ControlGroups::default();
    }
    let places: Vec<Place> = own
        .ancestors()
        .take_while(|directory| writable && directory.starts_with(&mount))
        .map_while(|directory| place(host, directory, directory == own, &process))
        .collect();
    let worth = |place: &&Place| (place.memory, place.processes);
    // The nearest of the best: `max_by_key` takes the last one.
    let place = places.iter().rev().max_by_key(worth).cloned();
    ControlGroups {
        directory: Some(own),
        place,
    }
}

/// The own group as `/proc` tells it.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    mount: PathBuf,
    directory: PathBuf,
    /// Containers often have it read-only.
    writable: bool,
}

/// The directory of the version 2 group (`0::/path`) below its mount point.
fn find_own(groups: &str, mounts: &str) -> Option<Own> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let (mount, options) = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let point = fields.nth(1)?;
        let kind = fields.next()?;
        (kind == "cgroup2").then_some((point, fields.next()?))
    })?;
    let mount = PathBuf::from(mount);
    // Joining an empty name would leave a slash at the end.
    let own = match group {
        "" => mount.clone(),
        _ => mount.join(group),
    };
    Some(Own {
        mount,
        directory: own,
        writable: options.split(',').all(|option| option != "ro"),
    })
}

fn place(host: &dyn Host, directory: &Path, own: bool, process: &str) -> Option<Place> {
    let needed = ["", "cgroup.procs", "cgroup.subtree_control"];
    if !needed
        .iter()
        .all(|name| owned(host, &joined(directory, name)))
    {
        return None;
    }
    let members = members(host, directory);
    // Only the root has no type, and no such rule.
    let root = host.inspect(&directory.join("cgroup.type")).is_err();
    let alone = own && members.trim() == process;
    let free = root || alone || members.trim().is_empty();
    let available = text(host, &directory.join("cgroup.controllers"));
    let on = text(host, &directory.join("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_whitespace().any(|one| one == name);
    let possible = |name: &str| has(&on, name) || (free && has(&available, name));
    let switch_on: Vec<&'static str> = ["memory", "pids"]
        .into_iter()
        .filter(|name| possible(name) && !has(&on, name))
        .collect();
    Some(Place {
        directory: directory.to_path_buf(),
        memory: possible("memory"),
        processes: possible("pids"),
        step_aside: alone && !root && !switch_on.is_empty(),
        switch_on,
    })
}

fn joined(directory: &Path, name: &str) -> PathBuf {
    match name {
        "" => directory.to_path_buf(),
        _ => directory.join(name),
    }
}

/// Whether the user may write it without capabilities.
fn owned(host: &dyn Host, path: &Path) -> bool {
    host.inspect(path).is_ok_and(|found| {
        let class = if found.uid == host.user() {
            0o200
        } else {
            0o002
        };
        found.mode & class != 0
    })
}

fn members(host: &dyn Host, directory: &Path) -> String {
    text(host, &directory.join("cgroup.procs"))
}

fn text(host: &dyn Host, path: &Path) -> String {
    let bytes = host.read_file(path, LENGTH_LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const MOUNTS: &str = "proc /proc proc rw 0 0\ncgroup2 /cg cgroup2 rw,nosuid 0 0\n";

    /// A machine whose process 7 is in this group.
    fn machine(group: &str) -> FakeHost {
        FakeHost::new()
            .with_file("/proc/self/cgroup", format!("4:memory:/a\n0::{group}\n"))
            .with_file("/proc/self/mounts", MOUNTS)
    }

    fn group(host: FakeHost, path: &str, members: &str, available: &str, on: &str) -> FakeHost {
        let user = host.user();
        let mut host = host.with_directory(path).owned(path, user, 0o755);
        for (name, content) in [
            ("cgroup.procs", members),
            ("cgroup.controllers", available),
            ("cgroup.subtree_control", on),
            ("cgroup.type", "domain"),
        ] {
            let file = format!("{path}/{name}");
            host = host.with_file(&file, content).owned(&file, user, 0o644);
        }
        host
    }

    fn root(host: FakeHost) -> FakeHost {
        group(host, "/cg", "1\n", "memory pids", "memory pids").owned("/cg", 0, 0o555)
    }

    #[test]
    fn the_own_group_is_a_place_when_stockade_is_alone_in_it() {
        let host = group(
            root(machine("/a/b")),
            "/cg/a",
            "",
            "memory pids",
            "memory pids",
        )
        .owned("/cg/a", 0, 0o755);
        let host = group(host, "/cg/a/b", "7\n", "memory pids", "");
        let found = probe(&host);
        assert_eq!(found.directory.as_deref(), Some(Path::new("/cg/a/b")));
        let place = found.place.unwrap();
        assert_eq!(place.directory, Path::new("/cg/a/b"));
        assert_eq!(place.switch_on, ["memory", "pids"]);
        assert!(place.memory && place.processes && place.step_aside);
    }

    #[test]
    fn with_others_in_the_own_group_the_one_around_it_is() {
        let host = group(
            root(machine("/a/b")),
            "/cg/a",
            "",
            "memory pids",
            "memory pids",
        );
        let host = group(host, "/cg/a/b", "7\n8\n", "memory pids", "");
        let place = probe(&host).place.unwrap();
        assert_eq!(place.directory, Path::new("/cg/a"));
        assert!(place.memory && place.processes && !place.step_aside);
        assert!(place.switch_on.is_empty());
    }

    #[test]
    fn a_group_without_controllers_still_is_a_place() {
        let host = group(root(machine("/a")), "/cg/a", "7\n8\n", "hugetlb", "");
        let place = probe(&host).place.unwrap();
        assert!(!place.memory && !place.processes && !place.step_aside);
    }

    #[test]
    fn what_is_not_the_users_is_no_place() {
        let host = group(root(machine("/a")), "/cg/a", "7\n", "memory", "").with_user(5);
        let found = probe(&host);
        assert!(found.directory.is_some());
        assert_eq!(found.place, None);
        assert_eq!(probe(&machine("/a")), ControlGroups::default());
    }

    #[test]
    fn a_mount_of_another_place_is_none() {
        let host = group(root(machine("/a")), "/cg/a", "8\n", "memory", "");
        assert_eq!(probe(&host), ControlGroups::default());
    }

    #[test]
    fn find_own_joins_mount_and_group() {
        let own = |groups: &str, mounts: &str| find_own(groups, mounts).map(|own| own.directory);
        let groups = "4:memory:/a\n0::/user.slice/x.scope\n";
        let found = own(groups, MOUNTS);
        assert_eq!(found.as_deref(), Some(Path::new("/cg/user.slice/x.scope")));
        assert_eq!(own("0::/\n", MOUNTS).unwrap().as_os_str(), "/cg");
        assert_eq!(own("4:memory:/a\n", MOUNTS), None);
        let locked = find_own("0::/\n", &MOUNTS.replace("rw,nosuid", "ro,nosuid"));
        assert!(!locked.unwrap().writable);
        let old = "cgroup /sys/fs/cgroup cgroup rw 0 0\n";
        assert_eq!(own(groups, old), None);
    }
}
