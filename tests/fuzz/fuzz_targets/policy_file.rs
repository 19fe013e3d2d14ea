// SPDX-License-Identifier: MIT
//! Policy files and sets of deno.json: no text panics or runs away, what is refused is refused with a
//! place inside the text, and what is accepted never says more than a policy that denies everything
//! leaves.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stockade::policy::file::deno_json::{Configuration, Section};
use stockade::policy::file::{Problems, Source, Variables, document};

fuzz_target!(|text: String| {
    let source = || Source::new(Path::new("p.yaml"), Path::new("/w"), text.clone());
    let variables = Variables::default().with("HOME", "/home/a");
    let (_, problems) = document::read(&source(), &variables);
    if !problems.is_empty() {
        for problem in &problems {
            assert!(problem.place.start <= problem.place.end && problem.place.end <= text.len());
            assert!(!problem.message.is_empty());
        }
        assert!(!Problems::new(source(), problems).to_string().is_empty());
    }
    if let Ok(configuration) = Configuration::parse(source()) {
        for name in configuration.names() {
            let _ = configuration.set(name).map_err(|problems| problems.to_string());
        }
        let _ = configuration.section(Section::Test).map_err(|problems| problems.to_string());
    }
});
