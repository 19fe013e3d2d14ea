// SPDX-License-Identifier: MIT
//! Any bytes of a target as a question to the DNS filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::dns::message::fuzz_message;

fuzz_target!(|bytes: &[u8]| fuzz_message(bytes));
