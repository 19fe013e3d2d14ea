// SPDX-License-Identifier: MIT
//! An assembler for classic BPF: symbolic jumps in, `sock_filter` out.
//!
//! Invariant: jumps only go forward, so every program ends; a conditional jump whose target is
//! more than 255 instructions away (its offset has 8 bits) goes through an unconditional one
//! (32 bits) right behind it.

use libc::sock_filter;

use super::filter::FilterError;

/// The kernel's limit for one filter (`BPF_MAXINSNS`, linux/bpf_common.h).
pub(super) const MAXIMUM_LENGTH: usize = 4096;

pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// A place in the program that can be jumped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Debug, Clone, Copy)]
enum Item {
    Plain(u16, u32),
    /// A comparison with the process identifier, filled in after the fork.
    Placeholder {
        yes: Label,
        no: Label,
    },
    Branch {
        code: u16,
        value: u32,
        yes: Label,
        no: Label,
    },
    Goto(Label),
}

/// A program being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    items: Vec<Item>,
    /// Per label the index of the item it stands before.
    labels: Vec<Option<usize>>,
}

/// A finished program.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) instructions: Vec<sock_filter>,
    /// Instructions whose `k` becomes the process identifier.
    pub(super) placeholders: Vec<usize>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts the label before the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.items.len());
    }

    pub(super) fn load(&mut self, offset: u32) {
        self.items.push(Item::Plain(LOAD, offset));
    }

    pub(super) fn and(&mut self, mask: u32) {
        self.items.push(Item::Plain(AND, mask));
    }

    pub(super) fn give(&mut self, value: u32) {
        self.items.push(Item::Plain(RETURN, value));
    }

    pub(super) fn goto(&mut self, label: Label) {
        self.items.push(Item::Goto(label));
    }

    pub(super) fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) {
        self.items.push(Item::Branch {
            code,
            value,
            yes,
            no,
        });
    }

    pub(super) fn branch_on_own_pid(&mut self, yes: Label, no: Label) {
        self.items.push(Item::Placeholder { yes, no });
    }

    /// Lays the program out.
    pub(super) fn assemble(&self) -> Result<Assembled, FilterError> {
        let mut layout = Layout::new(self);
        while layout.widen(self)? {}
        if layout.length > MAXIMUM_LENGTH {
            return Err(FilterError::TooLong {
                length: layout.length,
            });
        }
        let mut assembled = Assembled {
            instructions: Vec::with_capacity(layout.length),
            placeholders: Vec::new(),
        };
        for (index, item) in self.items.iter().enumerate() {
            layout.emit(self, index, *item, &mut assembled)?;
        }
        Ok(assembled)
    }
}

/// Where each item lands and which conditional jumps need a trampoline. A jump that was found to
/// need one keeps it, so widening ends.
struct Layout {
    positions: Vec<usize>,
    far: Vec<(bool, bool)>,
    length: usize,
}

impl Layout {
    fn new(program: &Assembler) -> Self {
        let mut layout = Self {
            positions: vec![0; program.items.len() + 1],
            far: vec![(false, false); program.items.len()],
            length: 0,
        };
        layout.measure();
        layout
    }

    fn measure(&mut self) {
        let mut position = 0;
        for (index, (yes, no)) in self.far.iter().enumerate() {
            self.positions[index] = position;
            position += 1 + usize::from(*yes) + usize::from(*no);
        }
        if let Some(end) = self.positions.last_mut() {
            *end = position;
        }
        self.length = position;
    }

    /// The distance from the instruction after `from` to the label.
    fn distance(
        &self,
        program: &Assembler,
        label: Label,
        from: usize,
    ) -> Result<usize, FilterError> {
        program.labels[label.0]
            .and_then(|item| self.positions[item].checked_sub(from + 1))
            .ok_or(FilterError::BackwardJump)
    }

    /// Marks jumps that do not reach; says whether any was found.
    fn widen(&mut self, program: &Assembler) -> Result<bool, FilterError> {
        let mut found = false;
        for (index, item) in program.items.iter().enumerate() {
            if let Item::Branch { yes, no, .. } | Item::Placeholder { yes, no } = *item {
                let from = self.positions[index];
                let limit = usize::from(u8::MAX);
                if !self.far[index].0 && self.distance(program, yes, from)? > limit {
                    self.far[index].0 = true;
                    found = true;
                }
                if !self.far[index].1 && self.distance(program, no, from)? > limit {
                    self.far[index].1 = true;
                    found = true;
                }
            }
        }
        if found {
            self.measure();
        }
        Ok(found)
    }

    fn emit(
        &self,
        program: &Assembler,
        index: usize,
        item: Item,
        assembled: &mut Assembled,
    ) -> Result<(), FilterError> {
        let from = self.positions[index];
        let far_jump = |label, from| -> Result<sock_filter, FilterError> {
            let distance = self.distance(program, label, from)?;
            let k = u32::try_from(distance).map_err(|_| FilterError::BackwardJump)?;
            Ok(sock_filter {
                code: JUMP,
                jt: 0,
                jf: 0,
                k,
            })
        };
        let (code, k, yes, no) = match item {
            Item::Plain(code, k) => {
                assembled.instructions.push(sock_filter {
                    code,
                    jt: 0,
                    jf: 0,
                    k,
                });
                return Ok(());
            }
            Item::Goto(label) => {
                assembled.instructions.push(far_jump(label, from)?);
                return Ok(());
            }
            Item::Branch {
                code,
                value,
                yes,
                no,
            } => (code, value, yes, no),
            Item::Placeholder { yes, no } => {
                assembled.placeholders.push(assembled.instructions.len());
                (JUMP_IF_EQUAL, 0, yes, no)
            }
        };
        let near = |label| -> Result<u8, FilterError> {
            u8::try_from(self.distance(program, label, from)?)
                .map_err(|_| FilterError::BackwardJump)
        };
        let (yes_far, no_far) = self.far[index];
        let jt = if yes_far { 0 } else { near(yes)? };
        let jf = match (no_far, yes_far) {
            (false, _) => near(no)?,
            (true, false) => 0,
            (true, true) => 1,
        };
        assembled.instructions.push(sock_filter { code, jt, jf, k });
        if yes_far {
            assembled.instructions.push(far_jump(yes, from + 1)?);
        }
        if no_far {
            assembled
                .instructions
                .push(far_jump(no, from + 1 + usize::from(yes_far))?);
        }
        Ok(())
    }
}
