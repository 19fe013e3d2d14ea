// SPDX-License-Identifier: MIT
//! Any bytes as /etc/hosts and as resolv.conf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::hosts::fuzz_hosts;

fuzz_target!(|bytes: &[u8]| fuzz_hosts(bytes));
