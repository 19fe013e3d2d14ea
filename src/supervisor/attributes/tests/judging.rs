// SPDX-License-Identifier: MIT
//! Judging made-up inodes.

use nix::errno::Errno;
use proptest::prelude::*;

use super::super::change::masked_mode;
use super::super::judge::{First, first_look};
use crate::plan::Access;
use crate::policy::Origin;
use crate::supervisor::paths::grants::{Grants, TO_CHANGE, TO_CONNECT, Verdict};
use crate::supervisor::paths::lookup::described_flags;
use crate::sys::attributes::Identity;

fn inode(number: u64, mode: u32) -> Identity {
    Identity {
        device: 1,
        inode: number,
        born_ns: Some(i128::from(number)),
        mount: Some(1),
        mode,
        links: 1,
        size: 0,
    }
}

#[test]
fn set_id_bits_are_left_out() {
    let file = inode(1, libc::S_IFREG | 0o6755);
    let directory = inode(2, libc::S_IFDIR | 0o755);
    let shared = inode(3, libc::S_IFDIR | 0o6755);
    assert_eq!(masked_mode(0o7777, &file), 0o1777);
    assert_eq!(masked_mode(0o4644, &file), 0o644);
    assert_eq!(masked_mode(0o7777, &directory), 0o1777);
    assert_eq!(masked_mode(0o7777, &shared), 0o3777);
    assert_eq!(masked_mode(0o755, &shared), 0o755);
}

fn file(number: u64) -> Identity {
    inode(number, libc::S_IFREG | 0o644)
}

fn directory(number: u64) -> Identity {
    inode(number, libc::S_IFDIR | 0o755)
}

fn above(numbers: &[u64]) -> Vec<Result<Identity, Errno>> {
    numbers
        .iter()
        .map(|number| Ok(directory(*number)))
        .collect()
}

/// `10` is a granted directory, `20` a granted file; in `10`, `11` is denied with `12` in it
/// granted again and file `13` denied.
fn roots() -> Grants {
    let deny = Origin::flag("--deny-write", Some("x"));
    let mut roots = Grants::default();
    roots.grant(&directory(10), TO_CHANGE, true, true);
    roots.grant(&directory(12), TO_CHANGE, true, true);
    roots.grant(&file(20), TO_CHANGE, false, true);
    roots.deny_inode(&directory(11), TO_CHANGE, "denied", &deny);
    roots.deny_inode(&file(13), TO_CHANGE, "denied", &deny);
    roots
}

#[test]
fn the_nearest_rule_above_an_object_decides() {
    let roots = roots();
    let granted = |object: Identity, numbers: &[u64]| {
        roots.judge(&object, above(numbers), TO_CHANGE) == Verdict::Granted
    };
    assert!(granted(directory(10), &[1]));
    assert!(granted(file(50), &[10, 1]));
    assert!(granted(file(50), &[60, 61, 10, 1]));
    assert!(granted(file(20), &[2, 1]));
    assert!(granted(file(50), &[12, 11, 10, 1]));
    assert!(!granted(file(50), &[2, 1]));
    assert!(!granted(file(50), &[]));
    // A granted file grants nothing below a directory that got its number.
    assert!(!granted(file(50), &[20, 1]));
    assert!(!granted(directory(11), &[10, 1]));
    assert!(!granted(file(50), &[60, 11, 10, 1]));
    assert!(!granted(file(13), &[10, 1]));
    // The same number on another device is another file.
    let elsewhere = Identity {
        device: 2,
        ..directory(10)
    };
    assert_eq!(
        roots.judge(&file(50), [Ok(elsewhere)], TO_CHANGE),
        Verdict::Outside
    );
    let broken = [Ok(directory(60)), Err(Errno::EACCES), Ok(directory(10))];
    assert_eq!(
        roots.judge(&file(50), broken, TO_CHANGE),
        Verdict::Unknown(Errno::EACCES)
    );
}

#[test]
fn a_number_used_again_is_another_file() {
    let mut roots = Grants::default();
    roots.grant(&file(30), TO_CHANGE, false, false);
    let again = Identity {
        born_ns: Some(31),
        ..file(30)
    };
    assert_eq!(
        roots.judge(&file(30), above(&[1]), TO_CHANGE),
        Verdict::Granted
    );
    assert_eq!(
        roots.judge(&again, above(&[1]), TO_CHANGE),
        Verdict::Outside
    );
}

#[test]
fn a_descriptor_open_for_writing_needs_no_place() {
    let plain = file(1);
    let removed = Identity { links: 0, ..plain };
    let look = |identity: &Identity, flags| first_look(identity, false, flags);
    assert_eq!(look(&plain, Some(libc::O_WRONLY)), First::Granted);
    assert_eq!(
        look(&plain, Some(libc::O_RDWR | libc::O_APPEND)),
        First::Granted
    );
    assert_eq!(look(&removed, Some(libc::O_RDONLY)), First::Granted);
    assert_eq!(look(&plain, Some(libc::O_RDONLY)), First::ByPlace);
    assert_eq!(look(&plain, Some(libc::O_ACCMODE)), First::ByPlace);
    assert_eq!(look(&plain, Some(libc::O_PATH)), First::ByPlace);
    assert_eq!(look(&removed, Some(libc::O_PATH)), First::ByPlace);
    assert_eq!(look(&removed, None), First::ByPlace);
    assert_eq!(look(&plain, None), First::ByPlace);
    let never = |identity: &Identity, on_proc| {
        matches!(
            first_look(identity, on_proc, Some(libc::O_RDWR)),
            First::Never(_)
        )
    };
    assert!(never(&plain, true));
    assert!(!never(&plain, false));
    assert!(never(&inode(1, libc::S_IFCHR | 0o666), false));
    assert!(never(&inode(1, libc::S_IFBLK | 0o666), false));
    assert!(never(&inode(1, 0o600), false));
}

#[test]
fn a_description_of_another_file_lends_nothing() {
    let identity = file(40);
    let text = "pos:\t0\nflags:\t0100002\nmnt_id:\t1\nino:\t40\n";
    assert_eq!(
        described_flags(text, &identity) & libc::O_ACCMODE,
        libc::O_RDWR
    );
    for other in [
        "pos:\t0\nflags:\t0100002\nmnt_id:\t2\nino:\t40\n",
        "pos:\t0\nflags:\t0100002\nmnt_id:\t1\nino:\t41\n",
        "pos:\t0\nflags:\t0100002\nmnt_id:\t1\n",
    ] {
        assert_eq!(described_flags(other, &identity), libc::O_RDONLY, "{other}");
    }
    for unclear in [
        "",
        "flags:\tx\nmnt_id:\t1\nino:\t40\n",
        "flags:\t010000000\n",
    ] {
        assert_eq!(
            described_flags(unclear, &identity),
            libc::O_PATH,
            "{unclear}"
        );
    }
    let unknown = Identity {
        mount: None,
        ..identity
    };
    assert_eq!(described_flags(text, &unknown), libc::O_RDONLY);
}

#[test]
fn rights_are_granted_one_by_one() {
    let deny = Origin::flag("--deny-read", Some("x"));
    let mut grants = Grants::default();
    grants.grant(&directory(1), Access::READ_FILE, true, true);
    grants.grant(&directory(2), Access::WRITE_FILE, true, true);
    grants.deny_inode(&directory(3), Access::READ_FILE, "denied", &deny);
    let judge = |numbers: &[u64], wanted| grants.judge(&file(50), above(numbers), wanted);
    assert_eq!(judge(&[2, 1], TO_CONNECT), Verdict::Granted);
    assert_eq!(judge(&[1, 9, 2], TO_CONNECT), Verdict::Granted);
    for one in [1, 2] {
        assert_eq!(judge(&[one, 9], TO_CONNECT), Verdict::Outside);
    }
    assert_eq!(
        judge(&[2, 3, 1], TO_CONNECT),
        Verdict::Denied("denied", &deny)
    );
    assert_eq!(judge(&[3, 2], TO_CHANGE), Verdict::Granted);
    // Already granted below the denial.
    assert_eq!(judge(&[1, 3, 2], TO_CONNECT), Verdict::Granted);
    let mut both = Grants::default();
    both.grant(&directory(1), Access::READ_FILE, true, true);
    both.grant(&directory(1), Access::WRITE_FILE, true, true);
    assert_eq!(
        both.judge(&file(50), above(&[1]), TO_CONNECT),
        Verdict::Granted
    );
}

proptest! {
    #[test]
    fn nothing_is_granted_without_a_grant_above(object in 0_u64..40, numbers in proptest::collection::vec(0_u64..40, 0..12)) {
        let roots = roots();
        let verdict = roots.judge(&directory(object), above(&numbers), TO_CHANGE);
        let decisive = std::iter::once(object).chain(numbers).find(|number| {
            matches!(number, 10..=13) || (*number == 20 && *number == object)
        });
        let granted = matches!(decisive, Some(10 | 12 | 20));
        prop_assert_eq!(verdict == Verdict::Granted, granted);
    }
}
