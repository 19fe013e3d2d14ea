// SPDX-License-Identifier: MIT
//! The flags that limit what a run may use: `--memory` and the like; and the engine's heap, which
//! follows from `--memory`.
//!
//! Invariant: of two limits of one kind the lower one is in force.

use super::argument_error::ArgumentError;
use super::handled_flags::invalid;
use crate::policy::Origin;
use crate::policy::limits::{Limit, LimitKind, Limits};

/// Reads the value of one of these flags.
pub(super) fn read(kind: LimitKind, flag: String, value: &str) -> Result<Limit, ArgumentError> {
    match kind.parse(value) {
        Some(number) => Ok(Limit {
            kind,
            value: number,
            origin: Origin::flag(flag.as_str(), Some(value)),
        }),
        None => Err(invalid(flag, value, kind.accepted())),
    }
}

/// What the runner needs beside the heap of the engine, in bytes.
const BESIDE_HEAP: u64 = 128 << 20;

/// The flag that keeps the engine's heap below the limit of memory: it collects garbage harder and
/// then ends with its own message, where the kernel would just end it. None without such a limit,
/// or when the caller sizes the heap.
pub(super) fn heap_flag(limits: &Limits, passed: &mut Vec<String>) {
    const SIZES: [&str; 3] = ["max-old-space-size", "max-heap-size", "max_old_space_size"];
    let Some(limit) = limits.get(LimitKind::Memory) else {
        return;
    };
    let heap = limit.value.saturating_sub(BESIDE_HEAP).max(limit.value / 2) >> 20;
    let size = format!("--max-old-space-size={}", heap.max(1));
    let given = passed
        .iter_mut()
        .find(|flag| flag.starts_with("--v8-flags="));
    match given {
        Some(flags) if SIZES.iter().any(|name| flags.contains(name)) => {}
        // The runner takes the flag once.
        Some(flags) => {
            flags.push(',');
            flags.push_str(&size);
        }
        None => passed.push(format!("--v8-flags={size}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(memory: &str, passed: &[&str]) -> Vec<String> {
        let mut limits = Limits::default();
        limits.add(read(LimitKind::Memory, "--memory".to_owned(), memory).unwrap());
        let mut passed = passed.iter().map(|flag| (*flag).to_owned()).collect();
        heap_flag(&limits, &mut passed);
        passed
    }

    #[test]
    fn the_heap_stays_below_the_limit() {
        for (memory, size) in [("1g", 896), ("256m", 128), ("100m", 50), ("1m", 1)] {
            let expected = format!("--v8-flags=--max-old-space-size={size}");
            assert_eq!(heap(memory, &[]), [expected]);
        }
        assert_eq!(
            heap("1g", &["--v8-flags=--expose-gc"]),
            ["--v8-flags=--expose-gc,--max-old-space-size=896"]
        );
        let own = "--v8-flags=--max-old-space-size=50";
        assert_eq!(heap("1g", &[own]), [own]);
        let mut passed = Vec::new();
        heap_flag(&Limits::default(), &mut passed);
        assert!(passed.is_empty());
    }
}
