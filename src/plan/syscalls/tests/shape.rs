// SPDX-License-Identifier: MIT
//! The table as a whole: its numbers, its reasons, and that measured programs find their calls.

use super::*;

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
