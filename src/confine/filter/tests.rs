// SPDX-License-Identifier: MIT
//! The compiled filter against the table, in an interpreter: every number, every condition met
//! and missed by one bit, foreign architectures, and seccompiler's opinion.

use std::collections::BTreeMap;

use proptest::prelude::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::*;
use crate::confine::bpf::{JUMP, MAXIMUM_LENGTH, RETURN};
use crate::confine::simulate::{Call, run};
use crate::plan::syscalls::{Facts, OperandValues, Refusal, Supervised, table};

const VALUES: OperandValues = OperandValues {
    own_pid: 4711,
    secrets: [0x6f12_3456_7000, 0x1122_3344_5000, 0x7fff_0000_1000],
};
const MACHINES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
/// First number of the x32 calls (`__X32_SYSCALL_BIT`).
const X32_SYSCALL_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = RETURN_ERRNO | 38;

fn audit(machine: Architecture) -> u32 {
    match machine {
        Architecture::X86_64 => AUDIT_ARCH_X86_64,
        Architecture::Aarch64 => AUDIT_ARCH_AARCH64,
    }
}

fn compiled(rules: &[Rule], machine: Architecture) -> Vec<sock_filter> {
    let mut filter = compile(rules, machine, VALUES.secrets).unwrap();
    for index in filter.placeholders {
        filter.instructions[index].k = VALUES.own_pid;
    }
    filter.instructions
}

fn all_facts() -> impl Iterator<Item = Facts> {
    let facts = |bits: u32, landlock_abi, supervised: u32| Facts {
        processes: bits & 1 != 0,
        internet: bits & 2 != 0,
        kept: false,
        unix: bits & 4 != 0,
        netlink: bits & 8 != 0,
        devices: bits & 16 != 0,
        supervised: Supervised {
            network: supervised & 1 != 0,
            attributes: supervised & 2 != 0,
            injected: supervised & 4 != 0,
            writes: supervised & 8 != 0,
        },
        landlock_abi,
    };
    (0..32).flat_map(move |bits| {
        let kernels = [0, 2, 3, 4, 5, 6, 9].map(|abi| facts(bits, abi, 0));
        // Supervision changes the network and attribute calls only, on every kernel alike.
        let supervised = [1, 2, 3, 5, 7, 10, 15].map(|supervised| facts(bits | 8, 7, supervised));
        kernels.into_iter().chain(supervised)
    })
}

/// Arguments that meet all conditions of each case, and ones that miss each condition by a bit,
/// inside and outside of its mask.
fn interesting_arguments(verdict: &Verdict) -> Vec<[u64; 6]> {
    let mut sets = vec![[0; 6], [u64::MAX; 6], [1 << 32; 6], [0xffff_ffff; 6]];
    let Verdict::Cases { cases, .. } = verdict else {
        return sets;
    };
    for case in cases {
        let mut met = [0x5a5a_5a5a_a5a5_a5a5; 6];
        for condition in &case.conditions {
            let argument = &mut met[usize::from(condition.argument)];
            let value = match condition.operand {
                Operand::Number(number) => number,
                Operand::OwnPid => u64::from(VALUES.own_pid),
                Operand::Secret(index) => VALUES.secrets[usize::from(index)],
            };
            *argument = (*argument & !condition.mask) | value;
        }
        sets.push(met);
        for condition in &case.conditions {
            for bit in 0..64 {
                let mut missed = met;
                missed[usize::from(condition.argument)] ^= 1 << bit;
                sets.push(missed);
            }
        }
    }
    sets
}

#[test]
fn every_verdict_is_the_tables() {
    for machine in MACHINES {
        for facts in all_facts() {
            let rules = table(&facts, machine);
            let program = compiled(&rules, machine);
            let mut known = vec![false; 1024];
            for rule in &rules {
                known[rule.number as usize] = true;
                for arguments in interesting_arguments(&rule.verdict) {
                    let call = Call {
                        number: rule.number,
                        architecture: audit(machine),
                        arguments,
                    };
                    let expected = return_value(rule.verdict.action(&arguments, &VALUES));
                    let found = run(&program, &call);
                    assert_eq!(found, expected, "{} {facts:?} {call:x?}", rule.name);
                }
            }
            for number in (0..1024).filter(|number| !known[*number as usize]) {
                let call = Call {
                    number,
                    architecture: audit(machine),
                    arguments: [0; 6],
                };
                assert_eq!(run(&program, &call), ENOSYS, "{facts:?} {number}");
            }
        }
    }
}

#[test]
fn foreign_calls_never_pass() {
    for machine in MACHINES {
        let facts = all_facts().last().unwrap();
        let program = compiled(&table(&facts, machine), machine);
        let other = audit(MACHINES[usize::from(machine == MACHINES[0])]);
        for architecture in [AUDIT_ARCH_I386, AUDIT_ARCH_ARM, other, 0, u32::MAX] {
            for number in 0..512 {
                let call = Call {
                    number,
                    architecture,
                    arguments: [0; 6],
                };
                assert_eq!(run(&program, &call), RETURN_KILL_PROCESS, "{call:?}");
            }
        }
        // x32 shares the architecture value; 0xffff_ffff is what a tracer skips a call with.
        for number in (0..1024)
            .map(|number| X32_SYSCALL_BIT | number)
            .chain([u32::MAX, 1 << 31])
        {
            let call = Call {
                number,
                architecture: audit(machine),
                arguments: [0; 6],
            };
            assert_eq!(run(&program, &call), ENOSYS, "{call:?}");
        }
    }
}

#[test]
fn the_filter_is_far_from_the_kernels_limit() {
    for machine in MACHINES {
        for facts in all_facts() {
            let length = compiled(&table(&facts, machine), machine).len();
            assert!(
                length < MAXIMUM_LENGTH / 4,
                "{length} instructions for {facts:?}"
            );
        }
    }
}

#[test]
fn far_jumps_go_through_trampolines() {
    for distance in [1, 254, 255, 256, 257, 1000] {
        let mut program = Assembler::default();
        let labels = [(); 4].map(|()| program.label());
        let [first, second, yes, no] = labels;
        program.load(NUMBER);
        program.branch(JUMP_IF_EQUAL, 7, yes, first);
        program.place(first);
        program.branch(JUMP_IF_AT_LEAST, 9, no, second);
        program.place(second);
        program.branch(JUMP_IF_EQUAL, 8, yes, no);
        for _ in 0..distance {
            program.give(3);
        }
        program.place(yes);
        program.give(1);
        program.place(no);
        program.give(2);
        let program = program.assemble().unwrap().instructions;
        let answer = |number| {
            run(
                &program,
                &Call {
                    number,
                    architecture: 0,
                    arguments: [0; 6],
                },
            )
        };
        let answers = [6, 7, 8, 9].map(answer);
        assert_eq!(answers, [2, 1, 1, 2], "at {distance}: {program:?}");
        let trampolines = program.iter().filter(|one| one.code == JUMP).count();
        assert_eq!(trampolines > 0, distance > 252, "at {distance}");
    }
}

#[test]
fn wrong_programs_are_errors() {
    let mut backward = Assembler::default();
    let label = backward.label();
    backward.place(label);
    backward.load(NUMBER);
    backward.goto(label);
    assert_eq!(backward.assemble().unwrap_err(), FilterError::BackwardJump);
    let mut long = Assembler::default();
    for _ in 0..=MAXIMUM_LENGTH {
        long.give(0);
    }
    assert_eq!(
        long.assemble().unwrap_err(),
        FilterError::TooLong { length: 4097 }
    );
}

/// The rules seccompiler can express: calls that pass always or under conditions, all others
/// refused with one error.
fn reference(rules: &[Rule], machine: Architecture) -> (BpfProgram, Vec<Rule>) {
    let mut map = BTreeMap::new();
    let mut covered = Vec::new();
    for rule in rules {
        let conditions = match &rule.verdict {
            Verdict::Always(Action::Allow) => Vec::new(),
            Verdict::Always(_) => {
                covered.push(rule.clone());
                continue;
            }
            Verdict::Cases { cases, otherwise } => {
                if *otherwise == Action::Allow
                    || cases.iter().any(|case| case.action != Action::Allow)
                {
                    continue;
                }
                cases.iter().map(reference_rule).collect()
            }
        };
        map.insert(i64::from(rule.number), conditions);
        covered.push(rule.clone());
    }
    let target = match machine {
        Architecture::X86_64 => TargetArch::x86_64,
        Architecture::Aarch64 => TargetArch::aarch64,
    };
    let refuse = SeccompAction::Errno(1);
    let filter = SeccompFilter::new(map, refuse, SeccompAction::Allow, target).unwrap();
    (filter.try_into().unwrap(), covered)
}

fn reference_rule(case: &Case) -> SeccompRule {
    let condition = |one: &Condition| {
        let value = match one.operand {
            Operand::Number(number) => number,
            Operand::OwnPid => u64::from(VALUES.own_pid),
            Operand::Secret(index) => VALUES.secrets[usize::from(index)],
        };
        let operator = SeccompCmpOp::MaskedEq(one.mask);
        SeccompCondition::new(one.argument, SeccompCmpArgLen::Qword, operator, value).unwrap()
    };
    SeccompRule::new(case.conditions.iter().map(condition).collect()).unwrap()
}

#[test]
fn seccompiler_agrees() {
    for machine in MACHINES {
        for facts in all_facts().filter(|facts| facts.landlock_abi == 2 || facts.landlock_abi == 9)
        {
            let rules = table(&facts, machine);
            let (reference, covered) = reference(&rules, machine);
            let reference: Vec<sock_filter> = reference
                .iter()
                .map(|one| sock_filter {
                    code: one.code,
                    jt: one.jt,
                    jf: one.jf,
                    k: one.k,
                })
                .collect();
            let program = compiled(&rules, machine);
            assert!(covered.len() > 300);
            for rule in covered {
                for arguments in interesting_arguments(&rule.verdict) {
                    let call = Call {
                        number: rule.number,
                        architecture: audit(machine),
                        arguments,
                    };
                    let (ours, theirs) = (run(&program, &call), run(&reference, &call));
                    let agree = (ours == RETURN_ALLOW) == (theirs == RETURN_ALLOW);
                    assert!(agree, "{} {call:x?}: {ours:x} {theirs:x}", rule.name);
                }
            }
        }
    }
}

/// A case that fails on its first condition must not leave the second one's word as loaded.
#[test]
fn a_case_after_one_with_two_conditions_loads_its_own_word() {
    let equals = |argument, value| Condition {
        argument,
        mask: u64::from(u32::MAX),
        operand: Operand::Number(value),
    };
    let case = |conditions| Case {
        conditions,
        action: Action::Allow,
    };
    let verdict = Verdict::Cases {
        cases: vec![
            case(vec![equals(0, 1), equals(1, 2)]),
            case(vec![equals(1, 3)]),
            case(vec![equals(1, 4)]),
            case(vec![]),
        ],
        otherwise: UNKNOWN,
    };
    let Verdict::Cases { cases, otherwise } = verdict else {
        unreachable!()
    };
    for last in [3, 4] {
        let verdict = Verdict::Cases {
            cases: cases[..last].to_vec(),
            otherwise,
        };
        let rules = [Rule {
            name: "x",
            number: 5,
            verdict,
            reason: "x",
        }];
        let program = compiled(&rules, Architecture::X86_64);
        for arguments in (0..5).flat_map(|one| (0..5).map(move |two| [one, two, 0, 0, 0, 0])) {
            let call = Call {
                number: 5,
                architecture: AUDIT_ARCH_X86_64,
                arguments,
            };
            let expected = return_value(rules[0].verdict.action(&arguments, &VALUES));
            assert_eq!(run(&program, &call), expected, "{arguments:?}");
        }
    }
}

#[test]
fn equal_neighbours_share_a_range() {
    let rule = |number, action| Rule {
        name: "x",
        number,
        verdict: Verdict::Always(action),
        reason: "x",
    };
    let refused = Action::Refuse(Refusal::Eperm);
    let rules = [
        rule(1, Action::Allow),
        rule(2, Action::Allow),
        rule(3, refused),
        rule(9, refused),
    ];
    let starts: Vec<u32> = ranges(&rules).0.iter().map(|range| range.0).collect();
    assert_eq!(starts, [0, 1, 3, 4, 9, 10]);
    let program = compiled(&rules, Architecture::X86_64);
    // Allowed, refused, unknown, foreign.
    let returns = program.iter().filter(|one| one.code == RETURN);
    assert_eq!(returns.count(), 4);
}

proptest! {
    #[test]
    fn random_calls_get_the_tables_verdict(
        which in 0_usize..112,
        x86 in any::<bool>(),
        number in 0_u32..600,
        high in prop::array::uniform6(prop_oneof![Just(0_u64), any::<u64>()]),
        low in prop::array::uniform6(prop_oneof![0_u64..64, any::<u64>()]),
    ) {
        let machine = MACHINES[usize::from(!x86)];
        let facts = all_facts().nth(which).unwrap();
        let rules = table(&facts, machine);
        let arguments =
            std::array::from_fn(|one| (high[one] << 32) | (low[one] & 0xffff_ffff));
        let call = Call { number, architecture: audit(machine), arguments };
        let expected = rules
            .iter()
            .find(|rule| rule.number == number)
            .map_or(UNKNOWN, |rule| rule.verdict.action(&arguments, &VALUES));
        prop_assert_eq!(run(&compiled(&rules, machine), &call), return_value(expected));
    }
}
