// SPDX-License-Identifier: MIT
//! Shared by the targets that let a client and a server speak in turns.

use stockade::egress::sniff::{Check, Expect, Refused};

/// Stands between what the client and what the server says.
const TURN: &[u8] = b"\xff\xfe";

/// What became of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// What was let through while it was looked at.
    pub accepted: Vec<u8>,
    /// Everything that was let through.
    pub total: usize,
    /// Why it was cut.
    pub refused: Option<Refused>,
}

/// The first byte, and the turns in the rest: client, server, client…
pub fn turns(input: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let (&cut, mut rest) = input.split_first()?;
    let mut turns = Vec::new();
    while let Some(at) = rest.windows(TURN.len()).position(|pair| pair == TURN) {
        turns.push(&rest[..at]);
        rest = &rest[at + TURN.len()..];
    }
    turns.push(rest);
    Some((usize::from(cut).max(1), turns))
}

/// Carries the turns as a relay does, at most `cut` bytes at a time.
pub fn carry(turns: &[&[u8]], expect: &Expect, cut: usize) -> End {
    let mut check = Check::new(expect);
    let mut end = End {
        accepted: Vec::new(),
        total: 0,
        refused: None,
    };
    let mut held = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        if number % 2 == 1 {
            turn.chunks(cut).for_each(|part| check.upstream(part));
        }
        let parts = if number % 2 == 0 { *turn } else { &[] };
        // Once more at the end of each turn: the server's answer may free what was held.
        for part in parts.chunks(cut).chain([&[][..]]) {
            held.extend_from_slice(part);
            let watched = !matches!(check, Check::Opaque);
            match check.client(&held, expect) {
                Ok(count) => {
                    assert!(count <= held.len());
                    end.total += count;
                    let sent = held.drain(..count);
                    if watched {
                        end.accepted.extend(sent);
                    }
                }
                Err(refused) => {
                    end.refused = Some(refused);
                    return end;
                }
            }
        }
    }
    end
}

/// Carries the turns whole and in pieces, which must end alike; gives the first.
pub fn carry_twice(turns: &[&[u8]], expect: &Expect, cut: usize) -> End {
    let whole = carry(turns, expect, usize::MAX);
    let pieces = carry(turns, expect, cut);
    assert_eq!(whole.refused, pieces.refused);
    if whole.refused.is_none() {
        assert_eq!(whole.total, pieces.total);
    }
    // What came before a refusal went out in pieces, and had to be as good.
    if whole.refused.is_some() { pieces } else { whole }
}
