// SPDX-License-Identifier: MIT
//! Whether a program's cache of compiled code is worth the time it takes to open.
//!
//! The runner opens its database at every start, which takes three hundredths of the time of a small
//! program; one that loads `node:` modules, timers or streams gains a tenth to a half by it (measured
//! with 2.9.6). What the cache had to keep when the program last ran with it tells which of the two it
//! is.
//!
//! Invariant: nothing but time depends on it. Only sizes of what the program wrote are looked at.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{cache, stamp};
use crate::host::Host;

/// The database in DENO_DIR (2.9.6). A runner that names it otherwise opens it at every start.
const DATABASE: &str = "v8_code_cache_v2";

/// Its write-ahead log.
const LOG: &str = "v8_code_cache_v2-wal";

/// With the code of a module of some ten kilobytes, which is compiled as fast as it is read. An empty
/// database has 28 KiB, the first module of the runner's own that is worth keeping makes it 110.
const SMALL: u64 = 48 << 10;

/// The same for the write-ahead log, which making the tables has left 70 KiB long.
const SMALL_LOG: u64 = 96 << 10;

/// How long a look at what a program has to keep holds: it may take another way another time.
const HOLDS: Duration = Duration::from_secs(60 * 60);

/// A run that had the cache.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    arguments: String,
    /// Since the epoch.
    seconds: u64,
}

/// Whether the cache of this private directory had next to nothing to keep when the program ran with
/// it, with the same arguments and not long ago. Where that is not known, the run to come has the
/// cache, and is noted as the one to look at.
pub(super) fn is_idle(host: &dyn Host, directory: &Path, arguments: &[String]) -> bool {
    let size = |path: &Path| host.inspect(path).ok().map(|found| found.stamp.size);
    if size(&directory.join(DATABASE)).is_none_or(|size| size > SMALL) {
        return false;
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let arguments = stamp::key(arguments.iter().map(String::as_bytes));
    let note = note_of(directory);
    match cache::read_json::<Run>(host, &note) {
        Some(run) if is_recent(run.seconds, now) => {
            let log = directory.join(LOG);
            run.arguments == arguments && size(&log).is_none_or(|size| size <= SMALL_LOG)
        }
        _ => {
            let seconds = now.as_secs();
            // Without the note the next run has the cache, too.
            drop(cache::write_json(&note, &Run { arguments, seconds }));
            false
        }
    }
}

/// Beside the directory, where the program cannot write.
pub(super) fn note_of(directory: &Path) -> PathBuf {
    directory.with_extension("run")
}

fn is_recent(seconds: u64, now: Duration) -> bool {
    now.checked_sub(Duration::from_secs(seconds))
        .is_some_and(|age| age < HOLDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const EMPTY: usize = 28 << 10;

    fn now() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default().as_secs()
    }

    /// A program that ran with `arguments` so many seconds ago.
    fn host(database: usize, log: usize, arguments: &[String], ago: u64) -> FakeHost {
        let run = Run {
            arguments: stamp::key(arguments.iter().map(String::as_bytes)),
            seconds: now() - ago,
        };
        FakeHost::new()
            .with_file("/c/d/v8_code_cache_v2", vec![0; database])
            .with_file("/c/d/v8_code_cache_v2-wal", vec![0; log])
            .with_file("/c/d.run", serde_json::to_vec(&run).unwrap())
    }

    fn idle(host: &FakeHost, arguments: &[String]) -> bool {
        is_idle(host, Path::new("/c/d"), arguments)
    }

    #[test]
    fn a_cache_that_had_nothing_to_keep_is_idle() {
        assert!(idle(&host(EMPTY, 0, &[], 1), &[]));
        assert!(idle(&host(EMPTY, 70 << 10, &[], 1), &[]));
    }

    #[test]
    fn one_that_keeps_something_is_not() {
        assert!(!idle(&host(110 << 10, 0, &[], 1), &[]));
        assert!(!idle(&host(EMPTY, 120 << 10, &[], 1), &[]));
    }

    #[test]
    fn what_nobody_saw_is_not() {
        let database = |host: FakeHost| host.with_file("/c/d/v8_code_cache_v2", vec![0; EMPTY]);
        assert!(!idle(&database(FakeHost::new()), &[]));
        let damaged = FakeHost::new().with_file("/c/d.run", b"{");
        assert!(!idle(&database(damaged), &[]));
        // A runner that names its database otherwise.
        let other = host(EMPTY, 0, &[], 1).without("/c/d/v8_code_cache_v2");
        assert!(!idle(&other, &[]));
    }

    #[test]
    fn another_way_through_the_program_has_the_cache() {
        let serve = ["serve".to_owned()];
        let helped = host(EMPTY, 0, &["--help".to_owned()], 1);
        assert!(!idle(&helped, &serve));
        let long_ago = host(EMPTY, 0, &serve, HOLDS.as_secs() + 1);
        assert!(!idle(&long_ago, &serve));
        assert!(idle(&host(EMPTY, 0, &serve, HOLDS.as_secs() - 60), &serve));
    }

    #[test]
    fn a_note_from_the_future_is_none() {
        assert!(!is_recent(20, Duration::from_secs(10)));
    }
}
