// SPDX-License-Identifier: MIT
//! Any bytes of a target's memory as a socket address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::supervisor::fuzz_address;

fuzz_target!(|bytes: &[u8]| fuzz_address(bytes));
