// SPDX-License-Identifier: MIT
//! An interpreter of the classic BPF that the kernel accepts for seccomp, for tests.
//!
//! Invariant: independent of the compiler; it knows the instruction set (linux/filter.h), not the
//! table, and panics on anything `seccomp_check_filter` (kernel/seccomp.c) would reject.

use libc::sock_filter;

/// `struct seccomp_data` without the instruction pointer, which no filter here reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) architecture: u32,
    pub(super) arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = [0; 64];
        bytes[0..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.architecture.to_le_bytes());
        for (index, argument) in self.arguments.iter().enumerate() {
            bytes[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
        }
        let at = offset as usize;
        assert!(at.is_multiple_of(4), "unaligned load at {offset}");
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }
}

/// The value the filter returns for a call.
pub(super) fn run(program: &[sock_filter], call: &Call) -> u32 {
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x06 => return k,
            _ => panic!("unknown instruction {code:#x}"),
        }
    }
}
