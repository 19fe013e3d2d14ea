// SPDX-License-Identifier: MIT
//! Verdicts on the calls that open files and change names.

use super::tests::{ALLOW, ASK, CLOSED, ENOSYS, EPERM, HIGH, NOT_SUPERVISED, at, check};
use super::{Facts, Supervised};

#[test]
fn supervised_writes_are_asked_about_and_reading_is_not() {
    let supervised = Facts {
        supervised: Supervised {
            writes: true,
            ..NOT_SUPERVISED
        },
        ..CLOSED
    };
    for name in [
        "creat",
        "truncate",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "unlink",
        "unlinkat",
        "rename",
        "renameat",
        "renameat2",
        "mkdir",
        "mkdirat",
        "rmdir",
        "mknod",
        "mknodat",
    ] {
        check(&supervised, &[(name, &[], ASK)]);
        check(&CLOSED, &[(name, &[], ALLOW)]);
    }
    check(&supervised, &[("openat2", &[], ENOSYS)]);
    check(&CLOSED, &[("openat2", &[], ALLOW)]);
    for (name, index) in [("open", 1), ("openat", 2)] {
        let call = |flags: u64| {
            let mut arguments = [0; 6];
            arguments[index] = flags;
            arguments
        };
        for abi in [2, 7] {
            let supervised = at(abi, &supervised);
            for reading in [0, 0o2_000_000, 0o4000, 0o200_000, HIGH, 3] {
                check(&supervised, &[(name, &call(reading), ALLOW)]);
            }
            // O_CREAT, O_TRUNC and O_TMPFILE write whatever the mode is.
            for writing in [
                1,
                2,
                0o100,
                0o1000,
                0o20_200_000,
                HIGH | 1,
                3 | 0o1000,
                0o2001,
            ] {
                check(&supervised, &[(name, &call(writing), ASK)]);
                check(&at(7, &CLOSED), &[(name, &call(writing), ALLOW)]);
            }
        }
    }
    check(
        &supervised,
        &[
            ("read", &[], ALLOW),
            ("write", &[], ALLOW),
            ("statx", &[], ALLOW),
        ],
    );
}

#[test]
fn below_abi_3_truncation_is_closed() {
    const TRUNCATE: u64 = 0o1000;
    for (name, index) in [("open", 1), ("openat", 2)] {
        let call = |flags: u64| {
            let mut arguments = [0; 6];
            arguments[index] = flags;
            arguments
        };
        let old = at(2, &CLOSED);
        check(
            &old,
            &[
                (name, &call(0), ALLOW),
                (name, &call(TRUNCATE), EPERM),
                (name, &call(HIGH | TRUNCATE | 0o100), EPERM),
                (name, &call(3 | TRUNCATE), EPERM),
                (name, &call(1 | TRUNCATE | 0o100), ALLOW),
                (name, &call(2 | TRUNCATE), ALLOW),
            ],
        );
        check(&at(3, &CLOSED), &[(name, &call(TRUNCATE), ALLOW)]);
    }
    check(
        &at(2, &CLOSED),
        &[("truncate", &[], EPERM), ("openat2", &[], ENOSYS)],
    );
    check(
        &at(3, &CLOSED),
        &[("truncate", &[], ALLOW), ("openat2", &[], ALLOW)],
    );
}
