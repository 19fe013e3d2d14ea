// SPDX-License-Identifier: MIT
//! What the machine and its user let a test see: the superuser, the route to sockets, Landlock.
//!
//! Invariant: what is missing is said, and is a failure where `STOCKADE_TEST_MUST_RUN` is 1.

use std::ffi::OsString;
use std::sync::OnceLock;

use crate::support::Project;

/// Whether the tests run as the superuser, for whom some controls mean more.
pub(crate) fn superuser() -> bool {
    nix_user() == 0
}

fn nix_user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// Whether sockets are made by the supervisor instead of taken.
pub(crate) fn injected() -> bool {
    std::env::var_os("STOCKADE_SOCKET_ROUTE").is_some_and(|route| route == "inject")
}

/// The Landlock ABI that Stockade plans for on this kernel.
pub(crate) fn landlock_abi() -> u8 {
    static ABI: OnceLock<u8> = OnceLock::new();
    *ABI.get_or_init(|| {
        let project = Project::new().file("ok.ts", "");
        let outcome = project
            .stockade(&["explain", "--json", "run", "ok.ts"])
            .run();
        let plan: serde_json::Value =
            serde_json::from_str(&outcome.stdout).expect("explain --json prints JSON");
        let abi = plan["filesystem"]["abi"].as_u64().expect("a Landlock ABI");
        u8::try_from(abi).unwrap()
    })
}

/// Whether this kernel has Landlock ABI `needed`; else says that the test is skipped.
pub(crate) fn require_landlock(needed: u8) -> bool {
    let abi = landlock_abi();
    if abi >= needed {
        return true;
    }
    let message = format!("skipped: needs Landlock ABI {needed}, kernel has {abi}");
    assert!(
        std::env::var_os("STOCKADE_TEST_MUST_RUN") != Some(OsString::from("1")),
        "{message}"
    );
    eprintln!("{message}");
    false
}
