// SPDX-License-Identifier: MIT
//! Any text as a net rule: it is read or refused, and what is refused can be said in words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::policy::grammar::parse_net;

fuzz_target!(|text: &str| {
    if let Err(error) = parse_net(text) {
        assert!(!error.to_string().is_empty());
        let _ = error.hint();
    }
});
