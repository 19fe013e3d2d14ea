// SPDX-License-Identifier: MIT
//! Compiles the system call table into one classic-BPF program: architecture, then a binary
//! search over the numbers, then the conditions of that call.
//!
//! Invariant: for every call the program answers what `Verdict::action` answers; a call of a
//! foreign architecture ends the process, a number outside the table is ENOSYS. The x32 calls share
//! the architecture value with x86_64 and have bit 30 set in their numbers: outside the table.
//!
//! seccompiler was not taken for this: it has one action per filter, so that each error number
//! would need a stacked filter of its own, and it compares numbers one after another; six such
//! filters cost half the start. It serves as the reference in the tests.

use libc::sock_filter;

use super::bpf::{Assembler, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, Label};
use crate::plan::syscalls::{
    Action, Architecture, Case, Condition, Operand, Rule, UNKNOWN, Verdict,
};

/// Why a filter could not be compiled. None of these can be caused by a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The kernel takes 4096 instructions (`BPF_MAXINSNS`).
    #[error("the system call filter has {length} instructions, the kernel takes 4096")]
    TooLong {
        /// Instructions.
        length: usize,
    },
    /// A jump to a label that was not placed or lies behind it.
    #[error("the system call filter has a jump that leads nowhere")]
    BackwardJump,
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    pub(super) instructions: Vec<sock_filter>,
    pub(super) placeholders: Vec<usize>,
}

impl Filter {
    /// The program, for a table without an operand that is known after a fork only.
    pub fn instructions(&self) -> &[sock_filter] {
        &self.instructions
    }

    /// The program with the identifier of the process that it is for, written in place: the caller
    /// may be a forked child, which must not allocate.
    pub(super) fn for_process(&mut self, pid: u32) -> &[sock_filter] {
        for &index in &self.placeholders {
            if let Some(instruction) = self.instructions.get_mut(index) {
                instruction.k = pid;
            }
        }
        &self.instructions
    }
}

// linux/audit.h
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;

// linux/seccomp.h
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_USER_NOTIFICATION: u32 = 0x7fc0_0000;
const RETURN_ALLOW: u32 = 0x7fff_0000;

// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

fn return_value(action: Action) -> u32 {
    match action {
        Action::Allow => RETURN_ALLOW,
        Action::Ask => RETURN_USER_NOTIFICATION,
        Action::Refuse(refusal) => RETURN_ERRNO | u32::from(refusal.errno()),
    }
}

/// What a range of numbers leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Return(u32),
    /// Index into the distinct conditional verdicts.
    Block(usize),
}

/// Compiles `rules` (sorted by number). `secrets` are the pointers of [`Operand::Secret`].
///
/// # Errors
/// [`FilterError`], when the table has outgrown one filter.
pub fn compile(
    rules: &[Rule],
    architecture: Architecture,
    secrets: [u64; 3],
) -> Result<Filter, FilterError> {
    let mut program = Assembler::default();
    let foreign = program.label();
    let native = program.label();
    program.load(ARCHITECTURE);
    let value = match architecture {
        Architecture::X86_64 => AUDIT_ARCH_X86_64,
        Architecture::Aarch64 => AUDIT_ARCH_AARCH64,
    };
    program.branch(JUMP_IF_EQUAL, value, native, foreign);
    program.place(foreign);
    program.give(RETURN_KILL_PROCESS);
    program.place(native);
    program.load(NUMBER);

    let (ranges, verdicts) = ranges(rules);
    let mut targets = Targets {
        blocks: verdicts.iter().map(|_| program.label()).collect(),
        returns: Vec::new(),
    };
    search(&mut program, &ranges, &mut targets);
    // Right behind the search, where its short jumps reach them.
    for (value, label) in targets.returns {
        program.place(label);
        program.give(value);
    }
    for ((cases, otherwise), block) in verdicts.into_iter().zip(targets.blocks) {
        program.place(block);
        Checks {
            program: &mut program,
            secrets,
            loaded: None,
        }
        .write(cases, otherwise);
    }
    let assembled = program.assemble()?;
    Ok(Filter {
        instructions: assembled.instructions,
        placeholders: assembled.placeholders,
    })
}

type Conditional<'a> = (&'a [Case], Action);

/// The table as ranges of numbers with the same target, from 0 up without holes, and the distinct
/// conditional verdicts.
fn ranges(rules: &[Rule]) -> (Vec<(u32, Target)>, Vec<Conditional<'_>>) {
    let unknown = Target::Return(return_value(UNKNOWN));
    let mut ranges: Vec<(u32, Target)> = vec![(0, unknown)];
    let mut verdicts: Vec<Conditional<'_>> = Vec::new();
    let mut push = |start: u32, target: Target| match ranges.last_mut() {
        Some(last) if last.1 == target => {}
        Some(last) if last.0 == start => last.1 = target,
        _ => ranges.push((start, target)),
    };
    let mut next = 0;
    for rule in rules {
        if rule.number > next {
            push(next, unknown);
        }
        next = rule.number + 1;
        let target = match &rule.verdict {
            Verdict::Always(action) => Target::Return(return_value(*action)),
            Verdict::Cases { cases, otherwise } => {
                let verdict = (cases.as_slice(), *otherwise);
                let known = verdicts.iter().position(|one| *one == verdict);
                Target::Block(known.unwrap_or_else(|| {
                    verdicts.push(verdict);
                    verdicts.len() - 1
                }))
            }
        };
        push(rule.number, target);
    }
    push(next, unknown);
    (ranges, verdicts)
}

/// Where the search leads: the blocks of conditions, and one return for each plain answer. The
/// kernel compiles the program at every start, so each instruction counts.
struct Targets {
    blocks: Vec<Label>,
    returns: Vec<(u32, Label)>,
}

impl Targets {
    fn label(&mut self, program: &mut Assembler, target: Target) -> Label {
        let value = match target {
            Target::Block(block) => return self.blocks[block],
            Target::Return(value) => value,
        };
        match self.returns.iter().find(|(known, _)| *known == value) {
            Some((_, label)) => *label,
            None => {
                let label = program.label();
                self.returns.push((value, label));
                label
            }
        }
    }
}

/// A balanced tree of comparisons over the ranges, with the number in the accumulator.
fn search(program: &mut Assembler, ranges: &[(u32, Target)], targets: &mut Targets) {
    match ranges {
        [] => {}
        [(_, target)] => {
            let label = targets.label(program, *target);
            program.goto(label);
        }
        // One number inside a range.
        [(_, around), (number, target), (next, after)]
            if around == after && number + 1 == *next =>
        {
            let (yes, no) = (
                targets.label(program, *target),
                targets.label(program, *around),
            );
            program.branch(JUMP_IF_EQUAL, *number, yes, no);
        }
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let mut side = |program: &mut Assembler, side: &[(u32, Target)]| match side {
                [(_, target)] => targets.label(program, *target),
                _ => program.label(),
            };
            let (below, above) = (side(program, lower), side(program, upper));
            program.branch(JUMP_IF_AT_LEAST, upper[0].0, above, below);
            for (half, label) in [(lower, below), (upper, above)] {
                if half.len() > 1 {
                    program.place(label);
                    search(program, half, targets);
                }
            }
        }
    }
}

/// What the accumulator holds: the word at an offset, and the mask applied to it.
type Loaded = (u32, u32);

/// Writes the conditions of one call.
struct Checks<'a> {
    program: &'a mut Assembler,
    secrets: [u64; 3],
    loaded: Option<Loaded>,
}

impl Checks<'_> {
    fn write(mut self, cases: &[Case], otherwise: Action) {
        // One return per action, behind the checks and so always within reach of a short jump.
        let mut returns: Vec<(Action, Label)> = Vec::new();
        for case in cases {
            let success = match returns.iter().find(|(action, _)| *action == case.action) {
                Some((_, label)) => *label,
                None => {
                    let label = self.program.label();
                    returns.push((case.action, label));
                    label
                }
            };
            self.case(case, success);
        }
        self.program.give(return_value(otherwise));
        for (action, label) in returns {
            self.program.place(label);
            self.program.give(return_value(action));
        }
    }

    fn case(&mut self, case: &Case, success: Label) {
        let failure = self.program.label();
        let words: Vec<Word> = case
            .conditions
            .iter()
            .flat_map(|one| self.words(one))
            .collect();
        // A case is left early from several places: what is loaded then is known only when all
        // of them looked at the same word.
        let uniform = words.iter().all(|word| word.key() == words[0].key());
        for (index, word) in words.iter().enumerate() {
            if self.loaded != Some(word.key()) {
                self.program.load(word.offset);
                if word.mask != u32::MAX {
                    self.program.and(word.mask);
                }
                self.loaded = Some(word.key());
            }
            let last = index + 1 == words.len();
            let next = if last { success } else { self.program.label() };
            match word.value {
                Some(value) => self.program.branch(JUMP_IF_EQUAL, value, next, failure),
                None => self.program.branch_on_own_pid(next, failure),
            }
            if !last {
                self.program.place(next);
            }
        }
        if words.is_empty() {
            self.program.goto(success);
        }
        self.program.place(failure);
        if !uniform {
            self.loaded = None;
        }
    }

    /// The 32-bit comparisons of a condition: BPF has no wider ones.
    fn words(&self, condition: &Condition) -> Vec<Word> {
        let offset = ARGUMENTS + 8 * u32::from(condition.argument);
        let (value, own_pid) = match condition.operand {
            Operand::Number(number) => (number, false),
            Operand::Secret(index) => (self.secrets[usize::from(index)], false),
            Operand::OwnPid => (0, true),
        };
        let (low_value, high_value) = halves(value);
        let (low_mask, high_mask) = halves(condition.mask);
        let low = Word {
            offset,
            mask: low_mask,
            value: (!own_pid).then_some(low_value),
        };
        let high = Word {
            offset: offset + 4,
            mask: high_mask,
            value: Some(high_value),
        };
        [low, high]
            .into_iter()
            .filter(|word| word.mask != 0 || word.value != Some(0))
            .collect()
    }
}

/// One comparison: `word at offset & mask == value`; no value stands for the process identifier.
struct Word {
    offset: u32,
    mask: u32,
    value: Option<u32>,
}

impl Word {
    fn key(&self) -> Loaded {
        (self.offset, self.mask)
    }
}

/// The low and the high half; both supported machines store the low one first.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

#[cfg(test)]
mod tests;
