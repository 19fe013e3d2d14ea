// SPDX-License-Identifier: MIT
//! Asks the linker to pack what each start relocates.
//!
//! Invariant: asked only where the C library that is linked in can read it; an executable that cannot
//! relocate itself ends before `main`.
//!
//! Ten thousand addresses take 260 kB as a plain table and 3 kB packed; reading the plain one is a
//! twentieth of what a start adds.

use std::env;
use std::process::Command;

/// The first release of the GNU C library that reads `DT_RELR` (its NEWS for 2.36).
const FIRST: (u32, u32) = (2, 36);

/// Prints the argument for the linker, where it holds.
pub(crate) fn pack() {
    // The C library asked below is the one of this machine.
    let native = env::var("TARGET").is_ok_and(|target| env::var("HOST") == Ok(target));
    let is = |name: &str, value: &str| {
        env::var(name).is_ok_and(|list| list.split(',').any(|one| one == value))
    };
    // Linkers for other machines learned it later than their C library.
    if native
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && c_library().is_some_and(|release| release >= FIRST)
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// What getconf(1) says, as in `glibc 2.36`.
fn c_library() -> Option<(u32, u32)> {
    let said = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    // Some distributions append to it, as in `2.39.9000`.
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
