// SPDX-License-Identifier: MIT
//! What this machine offers a confined run, and what that means for each permission.
//!
//! Invariant: what follows from the facts is a pure function of them ([`needs`], [`lacks`]), and
//! the same machine gives the same report, byte for byte.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Serialize;

use super::control_groups::{self, ControlGroups};
use super::{Host, KernelFacts};
use crate::sys::{facts, files, target};

/// Everything `stockade doctor` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether `stockade run` without network rules can be held by this kernel.
    pub holds: bool,
    /// The kernel.
    pub kernel: KernelFacts,
    /// The user's cap on the Landlock ABI, when one is set.
    pub landlock_cap: Option<u8>,
    /// What each permission needs of the kernel.
    pub needs: Vec<Need>,
    /// What Landlock lacks here and what closes it instead.
    pub lacks: Vec<Lack>,
    /// Whether a seccomp filter can ask another process (rules on network hosts need it).
    pub seccomp_notify: bool,
    /// Whether this process could be a supervisor.
    pub listener: Listener,
    /// Whether a process can copy another's descriptors; without it the supervisor makes every socket
    /// of its target.
    pub pidfd_getfd: Availability,
    /// `kernel.yama.ptrace_scope`; none without Yama.
    pub yama: Option<u8>,
    /// Control groups, for the limits of a run.
    pub cgroup: ControlGroups,
    /// Stockade's own process.
    pub process: Process,
    /// Where the runner is unpacked.
    pub cache: Cache,
    /// What this machine looks like from inside: containers and virtual systems.
    pub surroundings: Vec<&'static str>,
}

/// One permission and the kernel feature it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The permission, as a flag or in words.
    pub permission: &'static str,
    /// The feature.
    pub feature: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// Whether this kernel has it.
    pub held: bool,
    /// What happens without it.
    pub without: &'static str,
}

/// Something Landlock of this kernel does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What is not covered.
    pub what: &'static str,
    /// The ABI that covers it; none does when empty.
    pub abi: Option<u8>,
    /// The first kernel with that ABI.
    pub since: Option<&'static str>,
    /// What holds it instead.
    pub closed_by: &'static str,
}

/// Whether a system call can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// It works.
    Works,
    /// The kernel does not have it.
    Missing,
    /// An outer sandbox refuses it.
    Refused,
}

/// Whether calls can be supervised: a filter with a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listener {
    /// They can.
    Works,
    /// They can; a signal handler makes a call come twice.
    Interruptible,
    /// An outer supervisor has the one listener there may be.
    Taken,
    /// The kernel does not have it.
    Missing,
    /// An outer sandbox refuses it.
    Refused,
}

/// Stockade's own process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Effective user.
    pub user: u32,
    /// Effective capabilities, in the kernel's notation; a run drops them all.
    pub capabilities: String,
    /// Whether no_new_privs is set already.
    pub no_new_privileges: bool,
    /// Seccomp filters in force already; none when the kernel does not say.
    pub seccomp_filters: Option<u32>,
}

/// Where the runner is unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Its path; none when no variable names one.
    pub directory: Option<PathBuf>,
    /// Whether it, or the directory it would be created in, can be written.
    pub writable: bool,
    /// Whether its file system forbids execution.
    pub noexec: bool,
}

/// Asks the machine. `cache` is the cache root, if there is one.
pub fn probe(host: &dyn Host, landlock_cap: Option<u8>, cache: Option<PathBuf>) -> Report {
    let kernel = host.kernel().clone();
    Report {
        holds: needs(&kernel)
            .iter()
            .all(|need| need.held || need.permission != EVERY_RUN),
        landlock_cap,
        needs: needs(&kernel),
        lacks: lacks(kernel.landlock_abi),
        seccomp_notify: facts::seccomp_notify(),
        listener: listener(facts::listener()),
        pidfd_getfd: availability(target::probe().err()),
        yama: text(host, "/proc/sys/kernel/yama/ptrace_scope")
            .trim()
            .parse()
            .ok(),
        cgroup: control_groups::probe(host),
        process: parse_status(host.user(), &text(host, "/proc/self/status")),
        cache: probe_cache(cache),
        surroundings: surroundings(host),
        kernel,
    }
}

const EVERY_RUN: &str = "every run";

/// What each permission needs. Sources: DESIGN of the layers in `plan`, and the ABI table in the
/// kernel's `Documentation/userspace-api/landlock.rst`.
pub fn needs(kernel: &KernelFacts) -> Vec<Need> {
    let abi = kernel.landlock_abi;
    vec![
        Need {
            permission: EVERY_RUN,
            feature: "Landlock ABI 2",
            since: "Linux 5.19",
            held: abi >= 2,
            without: "nothing is started, unless by --best-effort",
        },
        Need {
            permission: EVERY_RUN,
            feature: "seccomp filters",
            since: "Linux 4.14",
            held: kernel.seccomp_filter,
            without: "nothing is started",
        },
        Need {
            permission: "--allow-run",
            feature: "Landlock ABI 6, signal scope",
            since: "Linux 6.12",
            held: abi >= 6,
            without: "refused, unless by --best-effort",
        },
        Need {
            permission: "--allow-net, UNIX sockets",
            feature: "Landlock ABI 9",
            since: "Linux 7.1",
            held: abi >= 9,
            without: "internet sockets only",
        },
    ]
}

/// What Landlock of this ABI does not cover, and what closes it.
pub fn lacks(abi: u8) -> Vec<Lack> {
    const ROWS: [Lack; 6] = [
        row(
            3,
            "Linux 6.2",
            "truncate",
            "seccomp: `truncate` and O_TRUNC without write fail, openat2 is absent",
        ),
        row(
            4,
            "Linux 6.7",
            "TCP",
            "seccomp alone: no sockets without --allow-net, no second lock",
        ),
        row(
            5,
            "Linux 6.10",
            "device ioctls",
            "seccomp: a list of ioctls",
        ),
        row(
            6,
            "Linux 6.12",
            "signals, abstract UNIX sockets",
            "seccomp: signals to itself only, no UNIX sockets; --allow-run needs it",
        ),
        row(
            9,
            "Linux 7.1",
            "UNIX sockets by path",
            "seccomp: UNIX sockets cannot be made",
        ),
        Lack {
            what: "stat, readlink, chdir, inotify",
            abi: None,
            since: None,
            closed_by: "nobody: names, sizes, times and owners can be seen",
        },
    ];
    ROWS.into_iter()
        .filter(|lack| lack.abi.is_none_or(|needed| abi < needed))
        .collect()
}

const fn row(abi: u8, since: &'static str, what: &'static str, closed_by: &'static str) -> Lack {
    Lack {
        what,
        abi: Some(abi),
        since: Some(since),
        closed_by,
    }
}

fn listener(answer: Result<facts::Listening, Errno>) -> Listener {
    match answer {
        Ok(facts::Listening::Killable) => Listener::Works,
        Ok(facts::Listening::Plain) => Listener::Interruptible,
        Err(Errno::EBUSY) => Listener::Taken,
        Err(Errno::EINVAL | Errno::ENOSYS) => Listener::Missing,
        Err(_) => Listener::Refused,
    }
}

fn availability(errno: Option<Errno>) -> Availability {
    match errno {
        None => Availability::Works,
        Some(Errno::ENOSYS) => Availability::Missing,
        Some(_) => Availability::Refused,
    }
}

/// A small file of the kernel; empty when it is not there.
fn text(host: &dyn Host, path: &str) -> String {
    let bytes = host.read_file(Path::new(path), 1 << 20).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fields of `/proc/self/status` (proc_pid_status(5)).
fn parse_status(user: u32, status: &str) -> Process {
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    Process {
        user,
        capabilities: field("CapEff").unwrap_or("unknown").to_owned(),
        no_new_privileges: field("NoNewPrivs") == Some("1"),
        seccomp_filters: field("Seccomp_filters").and_then(|count| count.parse().ok()),
    }
}

fn probe_cache(directory: Option<PathBuf>) -> Cache {
    let existing = directory
        .iter()
        .flat_map(|path| path.ancestors())
        .find_map(|path| files::mounted(path).ok());
    Cache {
        directory,
        writable: existing.is_some_and(|mounted| mounted.writable),
        noexec: existing.is_some_and(|mounted| mounted.noexec),
    }
}

fn surroundings(host: &dyn Host) -> Vec<&'static str> {
    let exists = |path: &str| host.exists(Path::new(path));
    let set = |name: &str| host.variable(name).is_some();
    let release = host.kernel().release.to_ascii_lowercase();
    [
        ("Docker", exists("/.dockerenv")),
        ("Podman", exists("/run/.containerenv")),
        ("Kubernetes", set("KUBERNETES_SERVICE_HOST")),
        (
            "a container manager that sets `container`",
            set("container"),
        ),
        ("WSL", release.contains("microsoft")),
    ]
    .into_iter()
    .filter_map(|(name, found)| found.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        Availability, Errno, Listener, availability, lacks, listener, needs, parse_status,
        surroundings,
    };
    use crate::host::Host;
    use crate::host::fake::FakeHost;
    use crate::sys::facts::Listening;

    fn unmet(abi: u8) -> Vec<&'static str> {
        let host = FakeHost::new().with_landlock(abi);
        needs(host.kernel())
            .iter()
            .filter(|need| !need.held)
            .map(|need| need.permission)
            .collect()
    }

    #[test]
    fn needs_follow_the_abi() {
        assert_eq!(
            unmet(1),
            ["every run", "--allow-run", "--allow-net, UNIX sockets"]
        );
        assert_eq!(unmet(2), ["--allow-run", "--allow-net, UNIX sockets"]);
        assert_eq!(unmet(5), unmet(2));
        assert_eq!(unmet(6), ["--allow-net, UNIX sockets"]);
        assert!(unmet(9).is_empty());
    }

    #[test]
    fn lacks_shrink_with_the_abi_and_never_vanish() {
        let counts: Vec<_> = (2..=11).map(|abi| lacks(abi).len()).collect();
        assert_eq!(counts, [6, 5, 4, 3, 2, 2, 2, 1, 1, 1]);
        assert_eq!(lacks(2)[0].what, "truncate");
    }

    #[test]
    fn listeners_are_told_apart_by_the_kernels_answer() {
        for (answer, expected) in [
            (Ok(Listening::Killable), Listener::Works),
            (Ok(Listening::Plain), Listener::Interruptible),
            (Err(Errno::EBUSY), Listener::Taken),
            (Err(Errno::EINVAL), Listener::Missing),
            (Err(Errno::EPERM), Listener::Refused),
        ] {
            assert_eq!(listener(answer), expected);
        }
    }

    #[test]
    fn availability_tells_missing_from_refused() {
        assert_eq!(availability(None), Availability::Works);
        assert_eq!(availability(Some(Errno::ENOSYS)), Availability::Missing);
        assert_eq!(availability(Some(Errno::EPERM)), Availability::Refused);
    }

    #[test]
    fn parse_status_reads_what_is_there() {
        let read = parse_status(
            0,
            "CapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp_filters:\t2\n",
        );
        assert_eq!(read.capabilities, "00000000a80425fb");
        assert!(read.no_new_privileges);
        assert_eq!(read.seccomp_filters, Some(2));
        let nothing = parse_status(0, "");
        assert_eq!(
            (nothing.no_new_privileges, nothing.seccomp_filters),
            (false, None)
        );
    }

    #[test]
    fn surroundings_are_named_by_their_marks() {
        assert!(surroundings(&FakeHost::new()).is_empty());
        let host = FakeHost::new()
            .with_file("/.dockerenv", b"")
            .with_environment(&[("KUBERNETES_SERVICE_HOST", "1")]);
        assert_eq!(surroundings(&host), ["Docker", "Kubernetes"]);
    }
}
