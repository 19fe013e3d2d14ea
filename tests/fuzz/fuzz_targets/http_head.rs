// SPDX-License-Identifier: MIT
//! Any bytes of a target on a plain HTTP connection, and any answers of the server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockade::egress::sniff::http::HttpCheck;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (cut, bytes, answers) = input;
    let names = ["example.com".to_owned()];
    let mut check = HttpCheck::default();
    let whole = check.client(bytes, &names, 80);
    check.upstream(answers);
    let _ = check.client(bytes, &names, 80);

    let mut check = HttpCheck::default();
    let (mut held, mut accepted, mut refused) = (Vec::new(), 0, None);
    for part in bytes.chunks(usize::from(cut).max(1)) {
        held.extend_from_slice(part);
        match check.client(&held, &names, 80) {
            Ok(count) => {
                held.drain(..count);
                accepted += count;
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert_eq!(refused.map_or(Ok(accepted), Err), whole);
    if let Ok(accepted) = whole
        && accepted > 0
    {
        let text = String::from_utf8_lossy(&bytes[..accepted]).to_ascii_lowercase();
        assert!(text.contains("host:") && text.contains("example.com"));
    }
});
