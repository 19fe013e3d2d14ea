// SPDX-License-Identifier: MIT
//! System calls whose verdict depends on the facts or on their arguments.
//!
//! Invariant: only register arguments are compared, never what a pointer points to, so nothing
//! can change between the check and the use.

use super::ioctls::{self, FIOASYNC, FIOSETOWN, SIOCSPGRP, TIOCSCTTY, TIOCSPGRP};
use super::{Action, Case, Condition, Decision, Facts, Group, Operand, Refusal, Verdict, calls};

/// The calls with conditions, grouped by the reason.
pub(super) const CONDITIONAL: &[Group] = &[
    Group {
        reason: "descriptor flags and locks; below ABI 6 it may not send signals elsewhere",
        decision: Decision::Depends(fcntl),
        calls: calls![fcntl 72 25],
    },
    Group {
        reason: "devices; never types into terminals or changes inodes, below ABI 5 a list",
        decision: Decision::Depends(ioctl),
        calls: calls![ioctl 16 29],
    },
    Group {
        reason: "threads, and processes when programs may be started; never a namespace",
        decision: Decision::Depends(clone),
        calls: calls![clone 56 220],
    },
    Group {
        reason: "starts a process, which needs --allow-run",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if facts.processes {
                Action::Allow
            } else {
                EPERM
            })
        }),
        calls: calls![fork 57 -, vfork 58 -],
    },
    Group {
        reason: "Landlock judges the program; without --allow-run only the first call passes",
        decision: Decision::Depends(execve),
        calls: calls![execve 59 221],
    },
    Group {
        reason: "executes files without a path; programs fall back to /proc/self/fd",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if facts.processes { ENOSYS } else { EACCES })
        }),
        calls: calls![execveat 322 281],
    },
    Group {
        reason: "Landlock keeps signals inside from ABI 6 on; below, a lone process signals itself",
        decision: Decision::Depends(kill),
        calls: calls![
            kill 62 129, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
        ],
    },
    Group {
        reason: "Landlock keeps signals inside from ABI 6 on; below, no filter can judge these",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if signals_are_open(facts) {
                EPERM
            } else {
                Action::Allow
            })
        }),
        calls: calls![tkill 200 130, pidfd_send_signal 424 424],
    },
    Group {
        reason: "settings of the caller, except those its supervision rests on",
        decision: Decision::Depends(prctl),
        calls: calls![prctl 157 167],
    },
    Group {
        reason: "the personalities that Docker's default profile allows",
        decision: Decision::Depends(personality),
        calls: calls![personality 135 92],
    },
    Group {
        reason: "limits of the caller only: a CPU limit of 0 kills any other process",
        decision: Decision::Depends(|_| only(vec![low(0, 0)], EPERM)),
        calls: calls![prlimit64 302 261],
    },
    Group {
        reason: "priority of the caller only, never of a group or user",
        decision: Decision::Depends(|_| only(vec![low(0, PRIO_PROCESS), low(1, 0)], EPERM)),
        calls: calls![setpriority 141 140],
    },
    Group {
        reason: "priority of the caller only, never of a group or user",
        decision: Decision::Depends(|_| only(vec![low(0, IOPRIO_WHO_PROCESS), low(1, 0)], EPERM)),
        calls: calls![ioprio_set 251 30],
    },
    Group {
        reason: "scheduling of the caller only: Landlock does not judge it",
        decision: Decision::Depends(|_| only(vec![low(0, 0)], EPERM)),
        calls: calls![
            sched_setparam 142 118, sched_setscheduler 144 119, sched_setattr 314 274,
            sched_setaffinity 203 122,
        ],
    },
    Group {
        reason: "filters only narrow, but one with a listener could answer in Stockade's place",
        decision: Decision::Depends(|_| {
            only(vec![masked(1, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0)], EPERM)
        }),
        calls: calls![seccomp 317 277],
    },
    Group {
        reason: "a process in another group of the terminal could have that group stopped by reading",
        decision: Decision::Depends(|facts| {
            if facts.processes {
                Verdict::Always(Action::Allow)
            } else {
                only(vec![low(1, 0)], EPERM)
            }
        }),
        calls: calls![setpgid 109 154],
    },
    Group {
        reason: "changes modes, owners, times or attributes, which Landlock judges on no ABI; the supervisor does, inside write grants",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if facts.supervised.attributes {
                ASK
            } else {
                EPERM
            })
        }),
        calls: calls![
            chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -,
            fchown 93 55, lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -,
            utimensat 280 88, futimesat 261 -, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7,
            setxattrat 463 463, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
            removexattrat 466 466, file_setattr 469 469
        ],
    },
    Group {
        reason: "the granted families; nothing raw, no MPTCP, which Landlock does not judge",
        decision: Decision::Depends(socket),
        calls: calls![socket 41 198],
    },
    Group {
        reason: "connected pairs; a datagram pair could be turned to any other UNIX socket",
        decision: Decision::Depends(|_| {
            let kinds = [SOCK_STREAM, SOCK_SEQPACKET];
            let pair = |kind| allow(vec![low(0, AF_UNIX), masked(1, SOCK_TYPE_MASK, kind)]);
            Verdict::Cases {
                cases: kinds.map(pair).to_vec(),
                otherwise: EACCES,
            }
        }),
        calls: calls![socketpair 53 199],
    },
    Group {
        reason: "without any granted family no inherited socket may reach out either",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if facts.supervised.network {
                ASK
            } else if any_family(facts) {
                Action::Allow
            } else {
                EACCES
            })
        }),
        calls: calls![connect 42 203, bind 49 200, listen 50 201],
    },
    Group {
        reason: "takes connections of listeners that were judged or kept",
        decision: Decision::Depends(|facts| {
            Verdict::Always(if any_family(facts) || facts.kept {
                Action::Allow
            } else {
                EACCES
            })
        }),
        calls: calls![accept 43 202, accept4 288 242],
    },
    Group {
        reason: "socket options, except those that lead a judged address elsewhere",
        decision: Decision::Depends(setsockopt),
        calls: calls![setsockopt 54 208],
    },
    Group {
        reason: "sends; with an address the supervisor judges it, and never connects while sending",
        decision: Decision::Depends(sendto),
        calls: calls![sendto 44 206],
    },
    Group {
        reason: "receives; resolvers compare the sender with the server they asked",
        decision: Decision::Depends(|facts| {
            if facts.supervised.network {
                Verdict::Cases {
                    cases: vec![allow(vec![absent(4)])],
                    otherwise: ASK,
                }
            } else {
                Verdict::Always(Action::Allow)
            }
        }),
        calls: calls![recvfrom 45 207],
    },
    Group {
        reason: "sends, but never connects while sending, unseen by Landlock before Linux 7.2",
        decision: Decision::Depends(|_| without_fast_open(3)),
        calls: calls![sendmmsg 307 269],
    },
    Group {
        reason: "sends, but never connects while sending, unseen by Landlock before Linux 7.2",
        decision: Decision::Depends(|_| without_fast_open(2)),
        calls: calls![sendmsg 46 211],
    },
];

pub(super) const ASK: Action = Action::Ask;
pub(super) const EPERM: Action = Action::Refuse(Refusal::Eperm);
pub(super) const EACCES: Action = Action::Refuse(Refusal::Eacces);
pub(super) const ENOSYS: Action = Action::Refuse(Refusal::Enosys);

// Numbers of the kernel's uapi headers, the same on x86_64 and aarch64.
const O_ASYNC: u32 = 0o20000;
const F_SETFL: u32 = 4;
const F_SETOWN: u32 = 8;
const F_SETSIG: u32 = 10;
const F_SETOWN_EX: u32 = 15;
const CLONE_PARENT: u32 = 0x8000;
const CLONE_THREAD: u32 = 0x1_0000;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. CLONE_NEWTIME exists only for
/// `unshare` and `clone3`: in `clone` its bit is part of the exit signal.
const CLONE_NEW_NAMESPACES: u32 = 0x7e02_0000;
const PRIO_PROCESS: u32 = 0;
const IOPRIO_WHO_PROCESS: u32 = 1;
const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 8;
const SOL_SOCKET: u32 = 1;
const SO_BINDTODEVICE: u32 = 25;
const SO_BINDTOIFINDEX: u32 = 62;
const IPPROTO_IP: u32 = 0;
const IP_OPTIONS: u32 = 4;
const IPPROTO_IPV6: u32 = 41;
/// Also as IPV6_PKTOPTIONS of older headers.
const IPV6_2292PKTOPTIONS: u32 = 6;
const IPV6_RTHDR: u32 = 57;
const MSG_FASTOPEN: u32 = 0x2000_0000;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
const SOCK_TYPE_MASK: u32 = 0xf;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_SEQPACKET: u32 = 5;
const PR_SET_PDEATHSIG: u32 = 1;
const SIGKILL: u32 = 9;
const PR_SET_DUMPABLE: u32 = 4;
const PR_SET_MM: u32 = 35;
const PR_SCHED_CORE: u32 = 62;
const PR_SET_PTRACER: u32 = 0x5961_6d61;

/// The low 32 bits of an argument equal a number.
fn low(argument: u8, value: u32) -> Condition {
    masked(argument, u32::MAX, value)
}

/// A pointer argument that is null.
fn absent(argument: u8) -> Condition {
    Condition {
        argument,
        mask: u64::MAX,
        operand: Operand::Number(0),
    }
}

fn any_family(facts: &Facts) -> bool {
    facts.internet || facts.unix || facts.netlink
}

/// Some of the low 32 bits of an argument equal a number.
pub(super) fn masked(argument: u8, mask: u32, value: u32) -> Condition {
    Condition {
        argument,
        mask: u64::from(mask),
        operand: Operand::Number(u64::from(value)),
    }
}

pub(super) fn allow(conditions: Vec<Condition>) -> Case {
    Case {
        conditions,
        action: Action::Allow,
    }
}

pub(super) fn refuse(condition: Condition, action: Action) -> Case {
    Case {
        conditions: vec![condition],
        action,
    }
}

fn only(conditions: Vec<Condition>, otherwise: Action) -> Verdict {
    Verdict::Cases {
        cases: vec![allow(conditions)],
        otherwise,
    }
}

/// Whether the filter is the only wall between the target and other processes' signal handlers.
/// With children it cannot be one: which of them are the target's own no register tells.
fn signals_are_open(facts: &Facts) -> bool {
    facts.landlock_abi < 6 && !facts.processes
}

fn fcntl(facts: &Facts) -> Verdict {
    if !signals_are_open(facts) {
        return Verdict::Always(Action::Allow);
    }
    let mut cases: Vec<Case> = [F_SETOWN, F_SETSIG, F_SETOWN_EX]
        .map(|command| refuse(low(1, command), EPERM))
        .to_vec();
    // A terminal in this mode signals its whole foreground group, whoever owns the descriptor.
    cases.push(Case {
        conditions: vec![low(1, F_SETFL), masked(2, O_ASYNC, O_ASYNC)],
        action: EPERM,
    });
    Verdict::Cases {
        cases,
        otherwise: Action::Allow,
    }
}

fn ioctl(facts: &Facts) -> Verdict {
    let mut cases: Vec<Case> = ioctls::REFUSED
        .iter()
        .map(|&request| refuse(low(1, request), EPERM))
        .collect();
    if !facts.processes {
        // With children it is how a shell or a terminal multiplexer gives them a terminal.
        cases.push(refuse(low(1, TIOCSCTTY), EPERM));
        cases.push(refuse(low(1, TIOCSPGRP), EPERM));
    }
    if signals_are_open(facts) {
        cases.extend([FIOSETOWN, SIOCSPGRP, FIOASYNC].map(|one| refuse(low(1, one), EPERM)));
    }
    cases.extend(
        ioctls::COMMON
            .iter()
            .map(|&request| allow(vec![low(1, request)])),
    );
    if facts.processes {
        cases.push(allow(vec![low(1, TIOCSCTTY)]));
    }
    if facts.devices && facts.landlock_abi >= 5 {
        // Landlock judges requests to devices. Those to files and directories it does not see, and
        // they take snapshots and change inodes through a descriptor that only reads.
        let files = ioctls::FILE_TYPES.map(|kind| refuse(masked(1, 0xff00, kind << 8), EPERM));
        cases.extend(files);
        return Verdict::Cases {
            cases,
            otherwise: Action::Allow,
        };
    }
    Verdict::Cases {
        cases,
        otherwise: Action::Refuse(Refusal::Enotty),
    }
}

/// `clone` takes the low 32 bits of its flags (`lower_32_bits` in kernel/fork.c).
fn clone(facts: &Facts) -> Verdict {
    // A child made with CLONE_PARENT is a child of whoever waits for the target.
    let never = CLONE_NEW_NAMESPACES | CLONE_PARENT;
    let condition = if facts.processes {
        masked(0, never, 0)
    } else {
        masked(0, never | CLONE_THREAD, CLONE_THREAD)
    };
    only(vec![condition], EPERM)
}

fn execve(facts: &Facts) -> Verdict {
    if facts.processes {
        return Verdict::Always(Action::Allow);
    }
    let secret = |index| Condition {
        argument: index,
        mask: u64::MAX,
        operand: Operand::Secret(index),
    };
    only(vec![secret(0), secret(1), secret(2)], EACCES)
}

fn kill(facts: &Facts) -> Verdict {
    if !signals_are_open(facts) {
        return Verdict::Always(Action::Allow);
    }
    let own = Condition {
        argument: 0,
        mask: u64::from(u32::MAX),
        operand: Operand::OwnPid,
    };
    only(vec![own], EPERM)
}

fn prctl(_: &Facts) -> Verdict {
    let options = [
        PR_SET_PDEATHSIG,
        PR_SET_DUMPABLE,
        PR_SET_MM,
        PR_SET_PTRACER,
        PR_SCHED_CORE,
    ];
    // Ending with its parent is what the target does already; a Stockade inside asks it of its own.
    let ends_with_parent = allow(vec![low(0, PR_SET_PDEATHSIG), low(1, SIGKILL)]);
    let refused = options.map(|option| refuse(low(0, option), EPERM));
    Verdict::Cases {
        cases: std::iter::once(ends_with_parent).chain(refused).collect(),
        otherwise: Action::Allow,
    }
}

fn personality(_: &Facts) -> Verdict {
    // PER_LINUX, PER_LINUX32, UNAME26 and both, and the question which one it is.
    let values = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];
    Verdict::Cases {
        cases: values.map(|value| allow(vec![low(0, value)])).to_vec(),
        otherwise: EPERM,
    }
}

/// Who makes a socket: datagram sockets of a judged network come from the supervisor, with their
/// sending side shut; where it cannot take the target's sockets, all of them do.
fn made(facts: &Facts, kind: u32) -> Action {
    if facts.supervised.network && (kind == SOCK_DGRAM || facts.supervised.injected) {
        ASK
    } else {
        Action::Allow
    }
}

/// A family that no grant opens is EACCES, as Deno's own error says it; one that no grant can
/// ever open is EAFNOSUPPORT, as from a kernel built without it, and a protocol likewise.
fn socket(facts: &Facts) -> Verdict {
    let unsupported = Action::Refuse(Refusal::Eprotonosupport);
    let mut cases = Vec::new();
    for family in [AF_INET, AF_INET6] {
        if facts.internet {
            for kind in [SOCK_STREAM, SOCK_DGRAM] {
                let typed = [low(0, family), masked(1, SOCK_TYPE_MASK, kind)];
                let own_protocol = if kind == SOCK_STREAM { 6 } else { 17 };
                for protocol in [0, own_protocol] {
                    cases.push(Case {
                        conditions: [&typed[..], &[low(2, protocol)]].concat(),
                        action: made(facts, kind),
                    });
                }
                cases.push(Case {
                    conditions: typed.to_vec(),
                    action: unsupported,
                });
            }
            cases.push(refuse(low(0, family), EPERM));
        } else {
            cases.push(refuse(low(0, family), EACCES));
        }
    }
    if facts.unix {
        // A datagram socket sends to any other one without a call that could be judged.
        let kinds: &[u32] = if facts.supervised.network {
            &[SOCK_STREAM, SOCK_SEQPACKET]
        } else {
            &[SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET]
        };
        for &kind in kinds {
            cases.push(Case {
                conditions: vec![low(0, AF_UNIX), masked(1, SOCK_TYPE_MASK, kind)],
                action: made(facts, SOCK_STREAM),
            });
        }
    }
    cases.push(refuse(low(0, AF_UNIX), EACCES));
    if facts.netlink {
        cases.push(allow(vec![low(0, AF_NETLINK), low(2, NETLINK_ROUTE)]));
        cases.push(refuse(low(0, AF_NETLINK), unsupported));
    } else {
        cases.push(refuse(low(0, AF_NETLINK), EACCES));
    }
    Verdict::Cases {
        cases,
        otherwise: Action::Refuse(Refusal::Eafnosupport),
    }
}

/// Source routes send packets for a granted address to another one first, and a bound device asks
/// the neighbours of another network for it.
fn setsockopt(facts: &Facts) -> Verdict {
    if !facts.supervised.network {
        return Verdict::Always(Action::Allow);
    }
    let options = [
        (IPPROTO_IP, IP_OPTIONS),
        (IPPROTO_IPV6, IPV6_2292PKTOPTIONS),
        (IPPROTO_IPV6, IPV6_RTHDR),
        (SOL_SOCKET, SO_BINDTODEVICE),
        (SOL_SOCKET, SO_BINDTOIFINDEX),
    ];
    let refused = options.map(|(level, name)| Case {
        conditions: vec![low(1, level), low(2, name)],
        action: EPERM,
    });
    Verdict::Cases {
        cases: refused.to_vec(),
        otherwise: Action::Allow,
    }
}

fn sendto(facts: &Facts) -> Verdict {
    if !facts.supervised.network {
        return without_fast_open(3);
    }
    Verdict::Cases {
        cases: vec![
            allow(vec![masked(3, MSG_FASTOPEN, 0), absent(4)]),
            Case {
                conditions: vec![masked(3, MSG_FASTOPEN, 0)],
                action: ASK,
            },
        ],
        otherwise: Action::Refuse(Refusal::Eopnotsupp),
    }
}

/// EOPNOTSUPP, as where the `tcp_fastopen` setting is off: callers connect first then.
fn without_fast_open(flags: u8) -> Verdict {
    only(
        vec![masked(flags, MSG_FASTOPEN, 0)],
        Action::Refuse(Refusal::Eopnotsupp),
    )
}
