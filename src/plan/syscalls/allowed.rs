// SPDX-License-Identifier: MIT
//! System calls that always pass.
//!
//! Invariant: everything here is harmless by itself, or judged by Landlock; each call is listed
//! once in the whole table, with its numbers on x86_64 and aarch64 (`-` where it has none).

use super::{Decision, Group, calls};

/// The calls that pass whatever the facts are, grouped by the reason.
pub(super) const ALLOWED: &[Group] = &[
    Group {
        reason: "reads and writes descriptors that are already open",
        decision: Decision::Allow,
        calls: calls![
            read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68,
            preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62,
            sendfile 40 71, copy_file_range 326 285, splice 275 76, tee 276 77, vmsplice 278 75,
            readahead 187 213, fadvise64 221 223, fallocate 285 47, ftruncate 77 46,
            fsync 74 82, fdatasync 75 83, sync 162 81, syncfs 306 267, sync_file_range 277 84,
            cachestat 451 451
        ],
    },
    Group {
        reason: "closes and duplicates descriptors",
        decision: Decision::Allow,
        calls: calls![
            close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24,
            pipe 22 -, pipe2 293 59, flock 73 32
        ],
    },
    Group {
        reason: "looks at names and metadata, which no kernel layer can hide",
        decision: Decision::Allow,
        calls: calls![
            stat 4 -, lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43,
            fstatfs 138 44, access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -,
            readlinkat 267 78, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49,
            fchdir 81 50, umask 95 166
        ],
    },
    Group {
        reason: "reads extended attributes and inode flags; changing them is refused below",
        decision: Decision::Allow,
        calls: calls![
            getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, getxattrat 464 464,
            listxattr 194 11, llistxattr 195 12, flistxattr 196 13, listxattrat 465 465,
            file_getattr 468 468
        ],
    },
    Group {
        reason: "waits for events on open descriptors and for file changes",
        decision: Decision::Allow,
        calls: calls![
            poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -,
            epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
            epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, signalfd 282 -,
            signalfd4 289 74, timerfd_create 283 85, timerfd_settime 286 86,
            timerfd_gettime 287 87, inotify_init 253 -, inotify_init1 294 26,
            inotify_add_watch 254 27, inotify_rm_watch 255 28
        ],
    },
    Group {
        reason: "asynchronous reads and writes of open descriptors",
        decision: Decision::Allow,
        calls: calls![
            io_setup 206 0, io_destroy 207 1, io_submit 209 2, io_cancel 210 3,
            io_getevents 208 4, io_pgetevents 333 292
        ],
    },
    Group {
        reason: "manages the caller's own memory",
        decision: Decision::Allow,
        calls: calls![
            brk 12 214, mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226,
            madvise 28 233, msync 26 227, mincore 27 232, mlock 149 228, mlock2 325 284,
            munlock 150 229, mlockall 151 230, munlockall 152 231, remap_file_pages 216 234,
            pkey_alloc 330 289, pkey_free 331 290, pkey_mprotect 329 288, mseal 462 462,
            map_shadow_stack 453 453, get_mempolicy 239 236, set_mempolicy 238 237,
            membarrier 324 283
        ],
    },
    Group {
        reason: "threads and locks of the caller",
        decision: Decision::Allow,
        calls: calls![
            futex 202 98, futex_wait 455 455, futex_wake 454 454, futex_waitv 449 449,
            futex_requeue 456 456, set_robust_list 273 99, get_robust_list 274 100,
            set_tid_address 218 96, rseq 334 293, rseq_slice_yield 471 471, gettid 186 178,
            arch_prctl 158 -, restart_syscall 219 128
        ],
    },
    Group {
        reason: "ends and awaits processes",
        decision: Decision::Allow,
        calls: calls![
            exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, pidfd_open 434 434
        ],
    },
    Group {
        reason: "signal handlers and masks of the caller",
        decision: Decision::Allow,
        calls: calls![
            rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
            rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133,
            sigaltstack 131 132, pause 34 -
        ],
    },
    Group {
        reason: "clocks and timers; setting a clock needs a capability that is gone",
        decision: Decision::Allow,
        calls: calls![
            nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113,
            clock_getres 229 114, clock_adjtime 305 266, adjtimex 159 171, gettimeofday 96 169,
            time 201 -, times 100 153, alarm 37 -, getitimer 36 102, setitimer 38 103,
            timer_create 222 107, timer_delete 226 111, timer_settime 223 110,
            timer_gettime 224 108, timer_getoverrun 225 109
        ],
    },
    Group {
        reason: "says who the caller is; programs take failure of these for success",
        decision: Decision::Allow,
        calls: calls![
            getpid 39 172, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176,
            getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158,
            getpgid 121 155, getpgrp 111 -, getsid 124 156, getcpu 309 168, uname 63 160,
            sysinfo 99 179, getrusage 98 165, getrlimit 97 163, getpriority 140 141,
            getrandom 318 278, capget 125 90, lsm_get_self_attr 459 459,
            lsm_list_modules 461 461
        ],
    },
    Group {
        reason: "changes the caller's own identity; without capabilities it can only lose",
        decision: Decision::Allow,
        calls: calls![
            setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143,
            setresuid 117 147, setresgid 119 149, setfsuid 122 151, setfsgid 123 152,
            setgroups 116 159, capset 126 91, setsid 112 157, setrlimit 160 164
        ],
    },
    Group {
        reason: "reads scheduling; changing it is limited to the caller below",
        decision: Decision::Allow,
        calls: calls![
            sched_yield 24 124, sched_getparam 143 121, sched_getscheduler 145 120,
            sched_get_priority_max 146 125, sched_get_priority_min 147 126,
            sched_rr_get_interval 148 127, sched_getaffinity 204 123, sched_getattr 315 275,
            ioprio_get 252 31
        ],
    },
    Group {
        reason: "uses sockets that exist; making one is judged by family",
        decision: Decision::Allow,
        calls: calls![
            getsockname 51 204, getpeername 52 205, getsockopt 55 209, shutdown 48 210,
            recvmsg 47 212, recvmmsg 299 243
        ],
    },
    Group {
        reason: "further confinement can only narrow",
        decision: Decision::Allow,
        calls: calls![
            landlock_create_ruleset 444 444, landlock_add_rule 445 445,
            landlock_restrict_self 446 446
        ],
    },
    Group {
        reason: "used by the kernel's own tracing trampolines, without effect elsewhere",
        decision: Decision::Allow,
        calls: calls![
            uretprobe 335 -, uprobe 336 -
        ],
    },
];
