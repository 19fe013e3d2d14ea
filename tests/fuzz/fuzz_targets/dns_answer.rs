// SPDX-License-Identifier: MIT
//! Any bytes of a name server as the answer to a lookup.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::dns::upstream::fuzz_answer;

fuzz_target!(|bytes: &[u8]| fuzz_answer(bytes));
