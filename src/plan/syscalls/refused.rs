// SPDX-License-Identifier: MIT
//! System calls that never pass.
//!
//! Invariant: EPERM where a program should learn that it may not, ENOSYS where programs have a
//! second way that they take when the kernel is too old for the first.

use super::{Decision, Group, Refusal, calls};

/// The calls that are refused whatever the facts are, grouped by the reason.
pub(super) const REFUSED: &[Group] = &[
    Group {
        reason: "reads or steers other processes",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271,
            process_madvise 440 440, process_mrelease 448 448, pidfd_getfd 438 438, kcmp 312 272
        ],
    },
    Group {
        reason: "mounts change what a path means",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428,
            open_tree_attr 467 467, move_mount 429 429, fsopen 430 430, fsconfig 431 431,
            fsmount 432 432, fspick 433 433, mount_setattr 442 442, fchroot 472 472
        ],
    },
    Group {
        reason: "namespaces open kernel code to the unprivileged and nothing granted needs them",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            unshare 272 97, setns 308 268
        ],
    },
    Group {
        reason: "opens files by number, past the path rules",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            open_by_handle_at 304 265, name_to_handle_at 303 264
        ],
    },
    Group {
        reason: "keyrings are shared by all processes of the user",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            add_key 248 217, request_key 249 218, keyctl 250 219
        ],
    },
    Group {
        reason: "System V objects are shared by all processes of the user and have no path",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            shmget 29 194, shmat 30 196, shmctl 31 195, shmdt 67 197, semget 64 190,
            semop 65 193, semctl 66 191, semtimedop 220 192, msgget 68 186, msgsnd 69 189,
            msgrcv 70 188, msgctl 71 187
        ],
    },
    Group {
        reason: "message queues have no path a rule could name",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            mq_open 240 180, mq_unlink 241 181, mq_timedsend 242 182, mq_timedreceive 243 183,
            mq_notify 244 184, mq_getsetattr 245 185
        ],
    },
    Group {
        reason: "loads code into the kernel or measures it",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            bpf 321 280, perf_event_open 298 241, init_module 175 105, finit_module 313 273,
            delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294
        ],
    },
    Group {
        reason: "administers the machine",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60,
            quotactl_fd 443 443, syslog 103 116, sethostname 170 161, setdomainname 171 162,
            settimeofday 164 170, clock_settime 227 112, vhangup 153 58, iopl 172 -,
            ioperm 173 -, fanotify_init 300 262, fanotify_mark 301 263, lookup_dcookie 212 18,
            modify_ldt 154 -, lsm_set_self_attr 460 460
        ],
    },
    Group {
        reason: "moves memory between nodes, of other processes too",
        decision: Decision::Refuse(Refusal::Eperm),
        calls: calls![
            mbind 237 235, migrate_pages 256 238, move_pages 279 239,
            set_mempolicy_home_node 450 450
        ],
    },
    Group {
        reason: "performs calls that no system call filter sees; programs fall back",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427
        ],
    },
    Group {
        reason: "a tool of kernel exploits; programs fall back",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            userfaultfd 323 282
        ],
    },
    Group {
        reason: "has its flags behind a pointer, unseen by filters; libraries fall back to clone",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            clone3 435 435
        ],
    },
    Group {
        reason: "makes files without a path, executable past the rules; programs use files then",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            memfd_create 319 279, memfd_secret 447 447
        ],
    },
    Group {
        reason: "lists every mount of the machine; programs fall back to /proc",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            statmount 457 457, listmount 458 458, listns 470 470
        ],
    },
    Group {
        reason: "obsolete, answered as by a kernel without it",
        decision: Decision::Refuse(Refusal::Enosys),
        calls: calls![
            uselib 134 -, ustat 136 -, sysfs 139 -, _sysctl 156 -, create_module 174 -,
            get_kernel_syms 177 -, query_module 178 -, nfsservctl 180 42, getpmsg 181 -,
            putpmsg 182 -, afs_syscall 183 -, tuxcall 184 -, security 185 -, vserver 236 -,
            set_thread_area 205 -, get_thread_area 211 -, epoll_ctl_old 214 -,
            epoll_wait_old 215 -
        ],
    },
];
