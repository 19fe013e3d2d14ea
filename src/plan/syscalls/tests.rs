// SPDX-License-Identifier: MIT
//! What the table must say, written out: single calls with their arguments, the calls that real
//! programs were seen to make, and the shape of the table itself.

use std::collections::BTreeSet;

use super::*;

mod shape;

pub(super) const ALLOW: Action = Action::Allow;
pub(super) const ASK: Action = Action::Ask;
pub(super) const EPERM: Action = Action::Refuse(Refusal::Eperm);
const EACCES: Action = Action::Refuse(Refusal::Eacces);
pub(super) const ENOSYS: Action = Action::Refuse(Refusal::Enosys);
const ENOTTY: Action = Action::Refuse(Refusal::Enotty);
const EAFNOSUPPORT: Action = Action::Refuse(Refusal::Eafnosupport);
const EPROTONOSUPPORT: Action = Action::Refuse(Refusal::Eprotonosupport);
const EOPNOTSUPP: Action = Action::Refuse(Refusal::Eopnotsupp);

pub(super) const HIGH: u64 = 0xdead_beef << 32;
const MACHINES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];
const VALUES: OperandValues = OperandValues {
    own_pid: 42,
    secrets: [0x7000_1000, 0x7000_2000, 0x7fff_0000_3000],
};

pub(super) const NOT_SUPERVISED: Supervised = Supervised {
    network: false,
    attributes: false,
    writes: false,
    injected: false,
};
pub(super) const CLOSED: Facts = Facts {
    processes: false,
    internet: false,
    kept: false,
    supervised: NOT_SUPERVISED,
    unix: false,
    netlink: false,
    devices: false,
    landlock_abi: 7,
};
const CHILDREN: Facts = Facts {
    processes: true,
    ..CLOSED
};
const NET: Facts = Facts {
    internet: true,
    ..CLOSED
};
const UNIX: Facts = Facts {
    unix: true,
    ..CLOSED
};
const NETLINK: Facts = Facts {
    netlink: true,
    ..CLOSED
};
const OPEN: Facts = Facts {
    processes: true,
    internet: true,
    kept: false,
    supervised: NOT_SUPERVISED,
    unix: true,
    netlink: true,
    devices: true,
    landlock_abi: 9,
};

pub(super) fn at(landlock_abi: u8, facts: &Facts) -> Facts {
    Facts {
        landlock_abi,
        ..facts.clone()
    }
}

fn action(facts: &Facts, machine: Architecture, name: &str, arguments: &[u64]) -> Option<Action> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let rules = table(facts, machine);
    let rule = rules.iter().find(|rule| rule.name == name)?;
    Some(rule.verdict.action(&all, &VALUES))
}

#[track_caller]
pub(super) fn check(facts: &Facts, cases: &[(&str, &[u64], Action)]) {
    for (name, arguments, expected) in cases {
        let mut seen = false;
        for machine in MACHINES {
            if let Some(found) = action(facts, machine, name, arguments) {
                seen = true;
                assert_eq!(
                    found, *expected,
                    "{name}({arguments:x?}) on {machine:?} {facts:?}"
                );
            }
        }
        assert!(seen, "{name} is in no table");
    }
}

#[test]
fn always_refused() {
    for facts in [&CLOSED, &OPEN] {
        check(
            facts,
            &[
                ("ptrace", &[], EPERM),
                ("process_vm_readv", &[], EPERM),
                ("pidfd_getfd", &[], EPERM),
                ("kcmp", &[], EPERM),
                ("mount", &[], EPERM),
                ("fchroot", &[], EPERM),
                ("unshare", &[0x1000_0000], EPERM),
                ("setns", &[], EPERM),
                ("bpf", &[], EPERM),
                ("keyctl", &[], EPERM),
                ("shmget", &[], EPERM),
                ("mq_unlink", &[], EPERM),
                ("chmod", &[], EPERM),
                ("fchmodat2", &[], EPERM),
                ("utimensat", &[], EPERM),
                ("setxattrat", &[], EPERM),
                ("file_setattr", &[], EPERM),
                ("io_uring_setup", &[], ENOSYS),
                ("userfaultfd", &[], ENOSYS),
                ("clone3", &[], ENOSYS),
                ("memfd_create", &[], ENOSYS),
                ("getxattr", &[], ALLOW),
                ("listxattrat", &[], ALLOW),
                ("file_getattr", &[], ALLOW),
            ],
        );
    }
}

#[test]
fn only_the_caller_itself() {
    check(
        &OPEN,
        &[
            ("prlimit64", &[0], ALLOW),
            ("prlimit64", &[HIGH], ALLOW),
            ("prlimit64", &[1], EPERM),
            ("prlimit64", &[0xffff_ffff], EPERM),
            ("setpriority", &[0, 0, 5], ALLOW),
            ("setpriority", &[0, 7, 5], EPERM),
            ("setpriority", &[1, 0, 5], EPERM),
            ("setpriority", &[2, 0, 5], EPERM),
            ("ioprio_set", &[1, 0], ALLOW),
            ("ioprio_set", &[1, 7], EPERM),
            ("ioprio_set", &[2, 0], EPERM),
            ("sched_setaffinity", &[0], ALLOW),
            ("sched_setaffinity", &[7], EPERM),
            ("sched_setscheduler", &[HIGH | 7], EPERM),
            ("sched_setattr", &[7], EPERM),
            ("getpriority", &[1, 7], ALLOW),
            ("sched_getscheduler", &[7], ALLOW),
        ],
    );
}

#[test]
fn settings_and_filters() {
    check(
        &OPEN,
        &[
            ("prctl", &[1, 0], EPERM),
            ("prctl", &[HIGH | 1, 15], EPERM),
            // What is in force already.
            ("prctl", &[1, 9], ALLOW),
            ("prctl", &[4, 0], EPERM),
            ("prctl", &[35], EPERM),
            ("prctl", &[0x5961_6d61], EPERM),
            ("prctl", &[15], ALLOW),
            ("prctl", &[22, 2], ALLOW),
            ("prctl", &[38, 1], ALLOW),
            ("seccomp", &[1, 0], ALLOW),
            ("seccomp", &[1, 1], ALLOW),
            ("seccomp", &[1, 8], EPERM),
            ("seccomp", &[1, HIGH | 0x28], EPERM),
            ("personality", &[0], ALLOW),
            ("personality", &[0xffff_ffff], ALLOW),
            ("personality", &[HIGH | 0xffff_ffff], ALLOW),
            ("personality", &[0x4_0000], EPERM),
        ],
    );
}

#[test]
fn terminals_and_inode_flags() {
    for facts in [CLOSED, OPEN, at(2, &CLOSED), at(2, &CHILDREN)] {
        for request in [
            0x5412,
            0x541c,
            0x541d,
            0x5423,
            0x4008_6602,
            0x4004_6602,
            0x401c_5820,
        ] {
            check(
                &facts,
                &[
                    ("ioctl", &[0, request], EPERM),
                    ("ioctl", &[0, HIGH | request], EPERM),
                ],
            );
        }
        for request in [0x5401, 0x5413, 0x541b, 0x5421, 0x8008_6601, 0x4004_9409] {
            check(
                &facts,
                &[
                    ("ioctl", &[0, request], ALLOW),
                    ("ioctl", &[0, HIGH | request], ALLOW),
                ],
            );
        }
    }
    check(
        &CLOSED,
        &[
            ("ioctl", &[0, 0x540e], EPERM),
            ("ioctl", &[0, 0x5410], EPERM),
            ("ioctl", &[0, 0x8901], ENOTTY),
            ("ioctl", &[0, 0x1234], ENOTTY),
        ],
    );
    // btrfs snapshots, fscrypt policies, ext4 and XFS requests take any descriptor of a file.
    for request in [
        0x5000_9401,
        0x5000_940e,
        0x800c_6613,
        0x4008_6604,
        0xc004_5878,
    ] {
        check(&CLOSED, &[("ioctl", &[0, request], ENOTTY)]);
        check(
            &OPEN,
            &[
                ("ioctl", &[0, request], EPERM),
                ("ioctl", &[0, HIGH | request], EPERM),
            ],
        );
    }
    check(&OPEN, &[("ioctl", &[0, 0x1234], ALLOW)]);
    check(&CHILDREN, &[("ioctl", &[0, 0x540e], ALLOW)]);
    check(
        &at(4, &CLOSED),
        &[
            ("ioctl", &[0, 0x1234], ENOTTY),
            ("ioctl", &[0, 0x540e], EPERM),
        ],
    );
    check(&at(4, &CHILDREN), &[("ioctl", &[0, 0x540e], ALLOW)]);
    check(
        &at(5, &CLOSED),
        &[
            ("ioctl", &[0, 0x1234], ENOTTY),
            ("ioctl", &[0, 0x8901], EPERM),
        ],
    );
    check(
        &CLOSED,
        &[
            ("setpgid", &[0, 0], ALLOW),
            ("setpgid", &[0, 7], EPERM),
            ("setpgid", &[0, HIGH | 7], EPERM),
        ],
    );
    check(&CHILDREN, &[("setpgid", &[0, 7], ALLOW)]);
}

#[test]
fn threads_processes_and_programs() {
    const THREAD: u64 = 0x3d_0f00;
    const SIGCHLD: u64 = 17;
    let closed: &[(&str, &[u64], Action)] = &[
        ("clone", &[THREAD], ALLOW),
        ("clone", &[HIGH | THREAD], ALLOW),
        ("clone", &[THREAD | 0x1000_0000], EPERM),
        ("clone", &[SIGCHLD], EPERM),
        ("clone", &[(0x1_0000 << 32) | SIGCHLD], EPERM),
        ("clone", &[0x4100 | SIGCHLD], EPERM),
        ("fork", &[], EPERM),
        ("vfork", &[], EPERM),
        ("execve", &VALUES.secrets, ALLOW),
        ("execve", &[0x7000_1000, 0x7000_2000, 0x3000], EACCES),
        (
            "execve",
            &[0x7000_1000, 0x7000_2000, 0x7ffe_0000_3000],
            EACCES,
        ),
        (
            "execve",
            &[0x7000_1000, 0x7000_2001, 0x7fff_0000_3000],
            EACCES,
        ),
        ("execve", &[0, 0x7000_2000, 0x7fff_0000_3000], EACCES),
        ("execveat", &[], EACCES),
    ];
    check(&CLOSED, closed);
    check(
        &CHILDREN,
        &[
            ("clone", &[THREAD], ALLOW),
            ("clone", &[SIGCHLD], ALLOW),
            ("clone", &[0x4100 | SIGCHLD], ALLOW),
            ("clone", &[SIGCHLD | 0x8000], EPERM),
            ("fork", &[], ALLOW),
            ("execve", &[1, 2, 3], ALLOW),
            ("execveat", &[], ENOSYS),
        ],
    );
    for flag in [
        0x2_0000,
        0x200_0000,
        0x400_0000,
        0x800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        check(&CHILDREN, &[("clone", &[flag | SIGCHLD], EPERM)]);
    }
}

#[test]
fn sockets_by_family() {
    const CLOEXEC: u64 = 0x8_0000;
    for family in [1, 2, 10, 16] {
        check(
            &CLOSED,
            &[
                ("socket", &[family, 1, 0], EACCES),
                ("socket", &[HIGH | family, 1], EACCES),
            ],
        );
    }
    for facts in [CLOSED, OPEN] {
        for family in [0, 3, 17, 31, 38, 40, 44, 0xffff_ffff] {
            check(&facts, &[("socket", &[family, 1, 0], EAFNOSUPPORT)]);
        }
    }
    for family in [2, 10] {
        check(
            &NET,
            &[
                ("socket", &[family, 1, 0], ALLOW),
                ("socket", &[family, 1 | CLOEXEC, 6], ALLOW),
                (
                    "socket",
                    &[HIGH | family, HIGH | 2 | CLOEXEC, HIGH | 17],
                    ALLOW,
                ),
                ("socket", &[family, 1, 262], EPROTONOSUPPORT),
                ("socket", &[family, 1, 132], EPROTONOSUPPORT),
                ("socket", &[family, 2, 1], EPROTONOSUPPORT),
                ("socket", &[family, 3, 255], EPERM),
                ("socket", &[family, 5, 132], EPERM),
            ],
        );
    }
    check(
        &NET,
        &[("socket", &[1, 1], EACCES), ("socket", &[16, 3, 0], EACCES)],
    );
    check(
        &NETLINK,
        &[
            ("socket", &[16, 3 | CLOEXEC, 0], ALLOW),
            ("socket", &[16, 3, 4], EPROTONOSUPPORT),
            ("socket", &[2, 1, 0], EACCES),
        ],
    );
    check(
        &UNIX,
        &[
            ("socket", &[1, 1 | CLOEXEC], ALLOW),
            ("socket", &[1, 2], ALLOW),
            ("socket", &[1, 5], ALLOW),
            ("socket", &[1, 3], EACCES),
            ("socket", &[2, 1], EACCES),
        ],
    );
    for facts in [CLOSED, OPEN] {
        check(
            &facts,
            &[
                ("socketpair", &[1, 1 | CLOEXEC], ALLOW),
                ("socketpair", &[1, 5], ALLOW),
                ("socketpair", &[1, 2], EACCES),
                ("socketpair", &[2, 1], EACCES),
                ("sendto", &[0, 0, 0, 0x4000], ALLOW),
                ("sendto", &[0, 0, 0, 0x2000_4000], EOPNOTSUPP),
                ("sendmmsg", &[0, 0, 0, 0x2000_0000], EOPNOTSUPP),
                ("sendmsg", &[0, 0, HIGH | 0x2000_0000], EOPNOTSUPP),
                ("sendmsg", &[0, 0, 0x4000, 0x2000_0000], ALLOW),
            ],
        );
    }
}

#[test]
fn the_second_lock_opens_with_any_family() {
    for name in ["connect", "bind", "listen", "accept", "accept4"] {
        check(&CLOSED, &[(name, &[], EACCES)]);
        for facts in [NET, UNIX, NETLINK] {
            check(&facts, &[(name, &[], ALLOW)]);
        }
    }
}

const JUDGED: Facts = Facts {
    supervised: Supervised {
        network: true,
        ..NOT_SUPERVISED
    },
    internet: true,
    kept: false,
    unix: true,
    ..CLOSED
};
const INJECTED: Facts = Facts {
    supervised: Supervised {
        injected: true,
        ..JUDGED.supervised
    },
    ..JUDGED
};

#[test]
fn a_judged_network_asks_about_every_peer() {
    for facts in [JUDGED, INJECTED] {
        check(
            &facts,
            &[
                ("connect", &[], ASK),
                ("bind", &[], ASK),
                ("listen", &[], ASK),
                ("accept", &[], ALLOW),
                ("accept4", &[], ALLOW),
                ("sendto", &[3, 1, 1, 0, 0, 0], ALLOW),
                ("sendto", &[3, 1, 1, 0x4000, 0, 16], ALLOW),
                ("sendto", &[3, 1, 1, 0x4000, 0x7000, 16], ASK),
                ("sendto", &[3, 1, 1, 0, 0x7000, 0], ASK),
                ("sendto", &[3, 1, 1, 0, HIGH, 0], ASK),
                ("sendto", &[3, 1, 1, 0x2000_0000, 0x7000, 16], EOPNOTSUPP),
                ("sendto", &[3, 1, 1, 0x2000_4000, 0, 0], EOPNOTSUPP),
                ("sendto", &[3, 1, 1, HIGH | 0x2000_0000], EOPNOTSUPP),
                ("sendmsg", &[3, 0x7000, 0], ALLOW),
                ("sendmsg", &[3, 0x7000, 0x2000_0000], EOPNOTSUPP),
                ("sendmmsg", &[3, 0x7000, 1, 0], ALLOW),
                ("sendmmsg", &[3, 0x7000, 1, 0x2000_0000], EOPNOTSUPP),
                ("recvfrom", &[3, 1, 1, 0, 0, 0], ALLOW),
                ("recvfrom", &[3, 1, 1, 0, 0x7000, 0x7100], ASK),
                ("recvfrom", &[3, 1, 1, 0, HIGH, 0x7100], ASK),
                ("recvmsg", &[3], ALLOW),
                ("socketpair", &[1, 1], ALLOW),
                ("socketpair", &[1, 2], EACCES),
            ],
        );
    }
    check(&NET, &[("recvfrom", &[3, 1, 1, 0, 0x7000, 0x7100], ALLOW)]);
}

#[test]
fn a_judged_network_makes_datagram_sockets_itself() {
    const CLOEXEC: u64 = 0x8_0000;
    for (facts, stream) in [(JUDGED, ALLOW), (INJECTED, ASK)] {
        for family in [2, 10] {
            check(
                &facts,
                &[
                    ("socket", &[family, 1, 0], stream),
                    ("socket", &[HIGH | family, 1 | CLOEXEC, 6], stream),
                    ("socket", &[family, 2, 0], ASK),
                    ("socket", &[family, 2 | CLOEXEC, HIGH | 17], ASK),
                    ("socket", &[family, 1, 262], EPROTONOSUPPORT),
                    ("socket", &[family, 2, 1], EPROTONOSUPPORT),
                    ("socket", &[family, 3, 255], EPERM),
                    ("socket", &[family, 5, 132], EPERM),
                ],
            );
        }
        check(
            &facts,
            &[
                ("socket", &[1, 1 | CLOEXEC, 0], stream),
                ("socket", &[1, 5, 0], stream),
                ("socket", &[1, 2, 0], EACCES),
                ("socket", &[1, 3, 0], EACCES),
                ("socket", &[16, 3, 0], EACCES),
                ("socket", &[17, 3, 0], EAFNOSUPPORT),
                ("socket", &[40, 1, 0], EAFNOSUPPORT),
            ],
        );
        let listing = Facts {
            netlink: true,
            ..facts
        };
        check(
            &listing,
            &[
                ("socket", &[16, 3 | CLOEXEC, 0], ALLOW),
                ("socket", &[16, 3, 4], EPROTONOSUPPORT),
            ],
        );
    }
}

#[test]
fn supervised_attributes_are_asked_about() {
    const CALLS: [&str; 21] = [
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "chown",
        "fchown",
        "lchown",
        "fchownat",
        "utime",
        "utimes",
        "utimensat",
        "futimesat",
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "setxattrat",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "removexattrat",
        "file_setattr",
    ];
    let supervised = Facts {
        supervised: Supervised {
            attributes: true,
            ..NOT_SUPERVISED
        },
        ..CLOSED
    };
    for name in CALLS {
        check(&supervised, &[(name, &[], ASK)]);
        check(&JUDGED, &[(name, &[], EPERM)]);
    }
    check(
        &supervised,
        &[
            ("connect", &[], EACCES),
            ("socket", &[2, 1, 0], EACCES),
            ("getxattr", &[], ALLOW),
        ],
    );
}

#[test]
fn below_abi_6_signals_stay_with_a_lone_process() {
    let signals = ["kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"];
    for name in signals {
        check(
            &at(5, &CLOSED),
            &[
                (name, &[42, 9], ALLOW),
                (name, &[HIGH | 42, 9], ALLOW),
                (name, &[43, 9], EPERM),
                (name, &[0, 9], EPERM),
                (name, &[0xffff_ffff, 9], EPERM),
            ],
        );
        check(&at(5, &CHILDREN), &[(name, &[43, 9], ALLOW)]);
        check(&CLOSED, &[(name, &[43, 9], ALLOW)]);
    }
    for command in [8, 10, 15] {
        check(
            &at(5, &CLOSED),
            &[("fcntl", &[0, HIGH | command, 43], EPERM)],
        );
        check(&CLOSED, &[("fcntl", &[0, command, 43], ALLOW)]);
    }
    check(
        &at(5, &CLOSED),
        &[
            ("fcntl", &[0, 4, 0o4000], ALLOW),
            ("fcntl", &[0, 4, 0o24000], EPERM),
            ("fcntl", &[0, 3, 0o20000], ALLOW),
            ("tkill", &[42], EPERM),
            ("pidfd_send_signal", &[], EPERM),
        ],
    );
    check(
        &CLOSED,
        &[("tkill", &[], ALLOW), ("pidfd_send_signal", &[], ALLOW)],
    );
}
