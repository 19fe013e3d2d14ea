// SPDX-License-Identifier: MIT
//! What the table must say, written out: single calls with their arguments, the calls that real
//! programs were seen to make, and the shape of the table itself.

use std::collections::BTreeSet;

use super::*;

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

#[test]
fn each_number_and_each_name_stands_once_with_a_reason() {
    for machine in MACHINES {
        let rules = table(&OPEN, machine);
        let numbers: BTreeSet<u32> = rules.iter().map(|rule| rule.number).collect();
        let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!((numbers.len(), names.len()), (rules.len(), rules.len()));
        assert!(rules.is_sorted_by_key(|rule| rule.number));
        assert!(rules.iter().all(|rule| rule.reason.len() > 10));
        assert_eq!(rules.last().map(|rule| rule.number), Some(472));
        // Nothing the kernel has is left out: its numbers have no holes from 0 to 334 on x86_64,
        // and on aarch64 only those reserved for other architectures.
        let holes: Vec<u32> = match machine {
            Architecture::X86_64 => (0..=336).filter(|one| !numbers.contains(one)).collect(),
            Architecture::Aarch64 => (0..=243).filter(|one| !numbers.contains(one)).collect(),
        };
        assert_eq!(holes, Vec::<u32>::new(), "{machine:?}");
        assert!((424..=472).all(|one| numbers.contains(&one)), "{machine:?}");
    }
}

/// The numbers this program was built with, for the native machine.
#[test]
fn numbers_are_those_of_libc() {
    let rules = table(&OPEN, Architecture::NATIVE);
    macro_rules! same {
        ($($name:ident $number:ident),* $(,)?) => {
            $(
                let number = u32::try_from(libc::$number).unwrap();
                let rule = rules.iter().find(|rule| rule.name == stringify!($name));
                assert_eq!(rule.map(|rule| rule.number), Some(number), stringify!($name));
            )*
        };
    }
    same!(
        read SYS_read, openat SYS_openat, openat2 SYS_openat2, truncate SYS_truncate,
        fcntl SYS_fcntl, ioctl SYS_ioctl, clone SYS_clone, clone3 SYS_clone3, execve SYS_execve,
        execveat SYS_execveat, kill SYS_kill, tgkill SYS_tgkill, tkill SYS_tkill,
        rt_sigqueueinfo SYS_rt_sigqueueinfo, rt_tgsigqueueinfo SYS_rt_tgsigqueueinfo,
        pidfd_send_signal SYS_pidfd_send_signal, prctl SYS_prctl, personality SYS_personality,
        prlimit64 SYS_prlimit64, setpriority SYS_setpriority, ioprio_set SYS_ioprio_set,
        sched_setparam SYS_sched_setparam, sched_setscheduler SYS_sched_setscheduler,
        sched_setattr SYS_sched_setattr, sched_setaffinity SYS_sched_setaffinity,
        seccomp SYS_seccomp, socket SYS_socket, socketpair SYS_socketpair, connect SYS_connect,
        bind SYS_bind, listen SYS_listen, accept SYS_accept, accept4 SYS_accept4,
        sendto SYS_sendto, sendmsg SYS_sendmsg, sendmmsg SYS_sendmmsg, ptrace SYS_ptrace,
        unshare SYS_unshare, setns SYS_setns, mount SYS_mount, bpf SYS_bpf, keyctl SYS_keyctl,
        io_uring_setup SYS_io_uring_setup, userfaultfd SYS_userfaultfd, fchmod SYS_fchmod,
        memfd_create SYS_memfd_create, pidfd_getfd SYS_pidfd_getfd, mseal SYS_mseal,
        write SYS_write, exit_group SYS_exit_group, close_range SYS_close_range,
    );
}

/// What the start itself uses after the filter is in force.
#[test]
fn the_start_works_under_every_filter() {
    for landlock_abi in [0, 2, 5, 9] {
        let facts = at(landlock_abi, &CLOSED);
        check(
            &facts,
            &[
                ("close_range", &[3, 0xffff_ffff, 4], ALLOW),
                ("write", &[], ALLOW),
                ("exit_group", &[125], ALLOW),
                ("execve", &VALUES.secrets, ALLOW),
            ],
        );
    }
}

/// Measured with strace over 24 Deno workloads without children.
const RUNNER: &str = "accept4 access arch_prctl bind brk chdir clock_gettime clock_nanosleep clone \
    close connect copy_file_range dup2 epoll_create1 epoll_ctl epoll_wait eventfd2 execve exit \
    exit_group fcntl fdatasync flock fstat fsync ftruncate futex getcpu getcwd getdents64 geteuid \
    getgid getpeername getpid getppid getpriority getrandom getrusage getsockname getsockopt \
    gettid gettimeofday getuid inotify_add_watch inotify_init1 inotify_rm_watch ioctl kill linkat \
    listen lseek lstat madvise mkdir mmap mprotect mremap munmap newfstatat openat pidfd_open \
    pipe2 pkey_alloc poll prctl pread64 prlimit64 pwrite64 read readlink recvfrom recvmsg rename \
    restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity \
    sched_getparam sched_getscheduler sched_yield sendto set_robust_list set_tid_address \
    setpriority setsockopt shutdown sigaltstack socket socketpair stat statfs statx symlink \
    sysinfo time umask uname unlink unlinkat wait4 write writev";

/// What bash, git, npm, pip, cargo, make, python, node, curl, gpg, dpkg and java use beyond that.
const COMMANDS: &str = "alarm capget clock_getres creat dup epoll_pwait faccessat2 fadvise64 \
    fchdir fgetxattr flistxattr fork fstatfs getegid getgroups getpgrp getrlimit getxattr \
    lgetxattr link listxattr mlock msync nanosleep open pselect6 readlinkat renameat rmdir \
    rt_sigsuspend sendfile sendmmsg setgid setgroups setpgid setresgid setresuid setsid setuid \
    symlinkat syncfs tgkill timer_create timer_settime times vfork";

/// The calls of both lists that the always-on hardening refuses all the same: programs were seen
/// to go on without clone3, and changing modes, owners, times and attributes is not yet held.
const GIVEN_UP: &str = "chmod chown clone3 fchmod fchmodat fchown fsetxattr lchown utimensat";

#[test]
fn measured_programs_find_their_calls() {
    for landlock_abi in [2, 4, 7, 9] {
        let rules = table(&at(landlock_abi, &OPEN), Architecture::X86_64);
        for name in RUNNER.split_whitespace().chain(COMMANDS.split_whitespace()) {
            let rule = rules.iter().find(|rule| rule.name == name);
            let verdict = &rule
                .unwrap_or_else(|| panic!("{name} is not in the table"))
                .verdict;
            assert!(
                !matches!(verdict, Verdict::Always(Action::Refuse(_))),
                "{name}"
            );
        }
        for name in GIVEN_UP.split_whitespace() {
            let rule = rules.iter().find(|rule| rule.name == name).unwrap();
            assert!(
                matches!(rule.verdict, Verdict::Always(Action::Refuse(_))),
                "{name}"
            );
        }
    }
}
