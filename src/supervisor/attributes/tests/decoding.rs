// SPDX-License-Identifier: MIT
//! Registers, memory and paths as text.

use nix::errno::Errno;
use proptest::prelude::*;

use super::super::decode::{Arguments, Change, NAMES, Place, Shape, TimesLayout, copy, decode};
use super::super::{Stop, family};
use super::{Pretended, call};
use crate::plan::syscalls::{Action, Architecture, Facts, Supervised, Verdict as Row, table};
use crate::supervisor::paths::names::{Named, Own, named_own};

const CWD: u64 = 0xffff_ff9c;

const CWD_SIGNED: u64 = 0xffff_ffff_ffff_ff9c;

fn at(directory: i32, pointer: u64, follow: bool, empty: bool) -> Place {
    Place::Path {
        directory,
        pointer,
        follow,
        empty,
    }
}

#[test]
fn every_call_that_is_asked_for_is_understood_on_both_machines() {
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let facts = Facts {
            processes: true,
            internet: false,
            kept: false,
            supervised: Supervised {
                attributes: true,
                ..Supervised::default()
            },
            unix: false,
            netlink: false,
            devices: false,
            landlock_abi: 7,
        };
        let table = table(&facts, architecture);
        let asked: Vec<_> = table
            .iter()
            .filter(|rule| rule.verdict == Row::Always(Action::Ask))
            .collect();
        assert!(asked.len() >= 14, "{architecture:?}: {asked:?}");
        let family = family(&table);
        assert_eq!(family.len(), asked.len());
        for rule in asked {
            let number = i32::try_from(rule.number).unwrap();
            assert_eq!(family[&number], rule.name);
            let shape = decode(&call(rule.name, [3, 8, 0, 8, 8, 16]));
            assert_ne!(shape, Err(Stop::Failed(Errno::ENOSYS)), "{}", rule.name);
        }
    }
    let unknown = decode(&call("connect", [0; 6]));
    assert_eq!(unknown, Err(Stop::Failed(Errno::ENOSYS)));
}

#[test]
fn decode_reads_each_shape() {
    let mode = Arguments::Mode(0o4755);
    let owner = Arguments::Owner {
        user: 7,
        group: u32::MAX,
    };
    let high = 0xffff_ffff_0000_0000;
    let set = Arguments::SetAttribute {
        name: 2,
        value: 3,
        size: 4,
        flags: 1,
    };
    let times = |layout, pointer| Arguments::Times { layout, pointer };
    let here = libc::AT_FDCWD;
    let cases = [
        (
            "chmod",
            [9, 0o14755, 0, 0, 0, 0],
            at(here, 9, true, false),
            mode,
        ),
        (
            "fchmod",
            [high | 5, 0o4755, 0, 0, 0, 0],
            Place::Descriptor(5),
            mode,
        ),
        (
            "fchmodat",
            [CWD, 9, 0o4755, 0x100, 0, 0],
            at(here, 9, true, false),
            mode,
        ),
        (
            "fchmodat2",
            [CWD_SIGNED, 9, 0o4755, 0x100, 0, 0],
            at(here, 9, false, false),
            mode,
        ),
        (
            "fchmodat2",
            [5, 9, 0o4755, 0x1000, 0, 0],
            at(5, 9, true, true),
            mode,
        ),
        (
            "chown",
            [9, high | 7, 0xffff_ffff, 0, 0, 0],
            at(here, 9, true, false),
            owner,
        ),
        (
            "lchown",
            [9, 7, u64::MAX, 0, 0, 0],
            at(here, 9, false, false),
            owner,
        ),
        (
            "fchown",
            [5, 7, u64::MAX, 0, 0, 0],
            Place::Descriptor(5),
            owner,
        ),
        (
            "fchownat",
            [5, 9, 7, u64::MAX, 0x1100, 0],
            at(5, 9, false, true),
            owner,
        ),
        (
            "utime",
            [9, 8, 0, 0, 0, 0],
            at(here, 9, true, false),
            times(TimesLayout::Utimbuf, 8),
        ),
        (
            "utimes",
            [9, 8, 0, 0, 0, 0],
            at(here, 9, true, false),
            times(TimesLayout::Timeval, 8),
        ),
        (
            "futimesat",
            [5, 9, 8, 7, 0, 0],
            at(5, 9, true, false),
            times(TimesLayout::Timeval, 8),
        ),
        (
            "futimesat",
            [5, 0, 8, 7, 0, 0],
            Place::Descriptor(5),
            times(TimesLayout::Timeval, 8),
        ),
        (
            "utimensat",
            [5, 9, 8, 0x100, 0, 0],
            at(5, 9, false, false),
            times(TimesLayout::Timespec, 8),
        ),
        (
            "utimensat",
            [5, 0, 8, 0, 0, 0],
            Place::Descriptor(5),
            times(TimesLayout::Timespec, 8),
        ),
        (
            "setxattr",
            [9, 2, 3, 4, 1, 0],
            at(here, 9, true, false),
            set,
        ),
        (
            "lsetxattr",
            [9, 2, 3, 4, 1, 0],
            at(here, 9, false, false),
            set,
        ),
        ("fsetxattr", [5, 2, 3, 4, 1, 0], Place::Descriptor(5), set),
        (
            "removexattr",
            [9, 2, 0, 0, 0, 0],
            at(here, 9, true, false),
            Arguments::RemoveAttribute { name: 2 },
        ),
        (
            "lremovexattr",
            [9, 2, 0, 0, 0, 0],
            at(here, 9, false, false),
            Arguments::RemoveAttribute { name: 2 },
        ),
        (
            "fremovexattr",
            [5, 2, 0, 0, 0, 0],
            Place::Descriptor(5),
            Arguments::RemoveAttribute { name: 2 },
        ),
        (
            "removexattrat",
            [5, 9, 0x1000, 2, 0, 0],
            at(5, 9, true, true),
            Arguments::RemoveAttribute { name: 2 },
        ),
        (
            "setxattrat",
            [5, 9, 0x100, 2, 3, 16],
            at(5, 9, false, false),
            Arguments::SetAttributeAt {
                name: 2,
                pointer: 3,
                size: 16,
            },
        ),
    ];
    for (name, registers, place, arguments) in cases {
        let shape = decode(&call(name, registers));
        assert_eq!(shape, Ok(Shape { place, arguments }), "{name}");
    }
}

#[test]
fn decode_refuses_what_the_kernel_refuses() {
    for (name, registers, errno) in [
        ("fchmodat2", [5, 9, 0, 0x200, 0, 0], Errno::EINVAL),
        ("fchownat", [5, 9, 0, 0, 0x400, 0], Errno::EINVAL),
        ("utimensat", [5, 0, 8, 0x100, 0, 0], Errno::EINVAL),
        ("utimensat", [CWD, 0, 8, 0, 0, 0], Errno::EFAULT),
        ("futimesat", [CWD, 0, 8, 0, 0, 0], Errno::EFAULT),
        ("removexattrat", [5, 9, 1, 2, 0, 0], Errno::EINVAL),
    ] {
        assert_eq!(
            decode(&call(name, registers)),
            Err(Stop::Failed(errno)),
            "{name}"
        );
    }
    let flags = decode(&call("file_setattr", [CWD, 9, 8, 24, 0, 0]));
    assert!(matches!(flags, Err(Stop::Denied(_))), "{flags:?}");
}

fn longs(values: &[i64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn times_come_in_three_structures() {
    let copied = |layout, values: &[i64]| {
        let caller = Pretended::new().with(8, &longs(values));
        copy(&Arguments::Times { layout, pointer: 8 }, &caller)
    };
    let times = |times| Ok(Change::Times(times));
    let invalid = Err(Stop::Failed(Errno::EINVAL));
    use TimesLayout::{Timespec, Timeval, Utimbuf};
    assert_eq!(copied(Utimbuf, &[1, -2]), times([(1, 0), (-2, 0)]));
    assert_eq!(
        copied(Timeval, &[1, 2, 3, 999_999]),
        times([(1, 2000), (3, 999_999_000)])
    );
    assert_eq!(copied(Timeval, &[1, 2, 3, 1_000_000]), invalid);
    assert_eq!(copied(Timeval, &[1, -1, 3, 0]), invalid);
    let (now, omit) = (libc::UTIME_NOW, libc::UTIME_OMIT);
    assert_eq!(
        copied(Timespec, &[1, now, 3, omit]),
        times([(1, now), (3, omit)])
    );
    assert_eq!(
        copied(Timespec, &[1, 2, 3, 999_999_999]),
        times([(1, 2), (3, 999_999_999)])
    );
    assert_eq!(copied(Timespec, &[1, 1_000_000_000, 3, 4]), invalid);
    assert_eq!(
        copied(Timespec, &[1, 2, 3]),
        Err(Stop::Failed(Errno::EFAULT))
    );
    let absent = Arguments::Times {
        layout: Timeval,
        pointer: 0,
    };
    assert_eq!(
        copy(&absent, &Pretended::new()),
        times([(0, now), (0, now)])
    );
}

#[test]
fn only_attributes_of_users_are_copied() {
    let copied = |name: &str, size, flags| {
        let caller = Pretended::new().text(2, name).with(3, b"value");
        let arguments = Arguments::SetAttribute {
            name: 2,
            value: 3,
            size,
            flags,
        };
        copy(&arguments, &caller)
    };
    let set = Change::SetAttribute {
        name: c"user.a".to_owned(),
        value: b"val".to_vec(),
        flags: 2,
    };
    assert_eq!(copied("user.a", 3, 2), Ok(set));
    for (name, size, flags, errno) in [
        ("user.a", 3, 4, Errno::EINVAL),
        ("user.a", 6, 0, Errno::EFAULT),
        ("user.a", 65_537, 0, Errno::E2BIG),
        ("user.a", u64::MAX, 0, Errno::E2BIG),
        ("user.", 3, 0, Errno::EINVAL),
        ("", 3, 0, Errno::ERANGE),
        ("system.posix_acl_access", 3, 0, Errno::EOPNOTSUPP),
        ("security.selinux", 3, 0, Errno::EOPNOTSUPP),
        ("User.a", 3, 0, Errno::EOPNOTSUPP),
    ] {
        assert_eq!(
            copied(name, size, flags),
            Err(Stop::Failed(errno)),
            "{name}"
        );
    }
    let long = format!("user.{}", "n".repeat(251));
    assert_eq!(copied(&long, 0, 0), Err(Stop::Failed(Errno::ERANGE)));
    assert!(copied(&long[..255], 0, 0).is_ok());
    for name in ["trusted.a", "security.capability"] {
        assert!(matches!(copied(name, 3, 0), Err(Stop::Denied(_))), "{name}");
    }
}

#[test]
fn the_structure_of_setxattrat_may_grow_by_zeros_only() {
    let copied = |bytes: &[u8], size| {
        let caller = Pretended::new()
            .text(2, "user.a")
            .with(3, b"value")
            .with(9, bytes);
        copy(
            &Arguments::SetAttributeAt {
                name: 2,
                pointer: 9,
                size,
            },
            &caller,
        )
    };
    let mut bytes = [
        longs(&[3]),
        5_u32.to_le_bytes().to_vec(),
        1_u32.to_le_bytes().to_vec(),
    ]
    .concat();
    let set = Change::SetAttribute {
        name: c"user.a".to_owned(),
        value: b"value".to_vec(),
        flags: 1,
    };
    assert_eq!(copied(&bytes, 16), Ok(set.clone()));
    assert_eq!(copied(&bytes, 15), Err(Stop::Failed(Errno::EINVAL)));
    assert_eq!(copied(&bytes, 4097), Err(Stop::Failed(Errno::E2BIG)));
    bytes.extend([0; 8]);
    assert_eq!(copied(&bytes, 24), Ok(set));
    bytes[20] = 1;
    assert_eq!(copied(&bytes, 24), Err(Stop::Failed(Errno::E2BIG)));
}

#[test]
fn paths_through_descriptors_are_the_callers() {
    let own = |number| number == 77 || number == 78;
    let seen = |path: &'static str| named_own(path.as_bytes(), &own);
    let named = |fd, rest: Option<&'static str>| {
        Some(Named {
            to: Own::Descriptor(fd),
            rest: rest.map(str::as_bytes),
        })
    };
    for path in [
        "/proc/self/fd/5",
        "/proc/thread-self/fd/5",
        "/proc/77/fd/5",
        "/proc/78/fd/5",
        "/proc/self/task/78/fd/5",
        "/proc/77/task/78/fd/5",
        "/dev/fd/5",
        "//proc///./self/fd//5",
        "/./dev/./fd/5",
    ] {
        assert_eq!(seen(path), named(5, None), "{path}");
    }
    assert_eq!(seen("/dev/stdin"), named(0, None));
    assert_eq!(seen("/dev/stdout"), named(1, None));
    assert_eq!(seen("/dev/stderr/"), named(2, Some("")));
    assert_eq!(seen("/proc/self/fd/5/"), named(5, Some("")));
    assert_eq!(seen("/dev/fd/5//a/../b"), named(5, Some("a/../b")));
    for path in [
        "/proc/self/cwd",
        "/proc/77/task/78/cwd",
        "/proc/thread-self/./cwd",
    ] {
        let directory = Own::Directory;
        assert_eq!(seen(path).map(|named| named.to), Some(directory), "{path}");
    }
    for path in [
        "proc/self/fd/5",
        "/proc/self/fd/05",
        "/proc/self/fd/+5",
        "/proc/self/fd/-5",
        "/proc/self/fd/5x",
        "/proc/self/fd/99999999999",
        "/proc/self/fd",
        "/proc/self/fd/",
        "/proc/self/fd/../5",
        "/proc/self/../self/fd/5",
        "/proc/1/fd/5",
        "/proc/077/fd/5",
        "/proc/self/task/1/fd/5",
        "/proc/thread-self/task/77/fd/5",
        "/proc/self/fdinfo/5",
        "/proc/self/root/5",
        "/proc/1/cwd",
        "/proc/self/cwdx",
        "/devil/fd/5",
        "/tmp/proc/self/fd/5",
        "/dev",
        "/",
        "",
    ] {
        assert_eq!(seen(path), None, "{path}");
    }
}

proptest! {
    #[test]
    fn no_path_text_panics(path in "[/.a-z0-9]{0,40}|(/proc|/self|/dev|/fd|/task|/5|/\\.|//){0,9}") {
        let named = named_own(path.as_bytes(), &|_| true);
        if let Some(named) = named {
            prop_assert!(!matches!(named.to, Own::Descriptor(..=-1)));
            prop_assert!(path.starts_with('/'));
        }
    }

    #[test]
    fn no_registers_panic(index in 0_usize..21, arguments in proptest::array::uniform6(any::<u64>())) {
        if let Ok(shape) = decode(&call(NAMES[index], arguments)) {
            // Nothing can be read, so nothing but plain numbers comes out.
            let change = copy(&shape.arguments, &Pretended::new());
            if let Ok(Change::Mode(mode)) = &change {
                prop_assert!(*mode <= 0o7777);
            }
        }
    }
}
