// SPDX-License-Identifier: MIT
//! What a line cannot have Stockade do for it: by variables that Stockade goes by.
//!
//! Invariant: every line that is refused works with one variable of the caller's.

use super::{project, task};
use crate::support::Project;

/// Variables that name certificate authorities, and the other ones that make something readable.
#[test]
fn variables_that_make_grants_are_the_callers() {
    let secret = Project::new().file("key", "secret-key\n");
    let directory = secret.directory().display().to_string();
    let key = secret.path("key");
    let tools = Project::new();
    tools.write_program("rustup", "#!/bin/sh\n");
    let path = format!(
        "{}:{}",
        tools.directory().display(),
        std::env::var("PATH").unwrap()
    );
    for name in [
        "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO",
        "GIT_SSL_CAINFO",
        "NIX_SSL_CERT_FILE",
        "PIP_CERT",
        "SSL_CERT_DIR",
        "RUSTUP_HOME",
    ] {
        let command = format!("stockade exec --allow-net=127.0.0.1 -- cat {key}");
        let project = project(&[
            ("sets", &format!("{name}={directory} {command}")),
            ("exports", &format!("export {name}={directory}; {command}")),
            ("plain", &command),
        ]);
        let run = |words: &[&str]| task(&project, words).env("PATH", &path);
        for line in ["sets", "exports"] {
            for words in [&["--allow-net=127.0.0.1", line][..], &[line]] {
                let denied = run(words).without_env(name).run();
                denied.expect_nowhere("secret-key").expect_error(&format!(
                    "`{name}` set by the task `{line}` is not passed to `stockade`"
                ));
                assert_ne!(denied.code, Some(0), "{name}: {denied:?}");
            }
        }
        // The twin: the caller's own.
        let allowed = run(&["--allow-net=127.0.0.1", "plain"]).env(name, &directory);
        allowed.run().expect_output("secret-key\n");
    }
}
