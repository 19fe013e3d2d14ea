// SPDX-License-Identifier: MIT
//! Locks of packages: what they hold, and those that are none.

use serde_json::json;

use super::packages::{program, two_packages};
use super::with_registry;
use crate::machine::superuser;
use crate::support_life::scrub;

#[test]
fn the_lock_holds_contents_and_versions() {
    let (project, mut registry) = (program(), two_packages());
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_success();
    let lock = project.read("deno.lock");
    // Other contents under the same version, as seen by somebody without a cache.
    registry.package(
        "outer",
        "2.0.0",
        json!({"main": "index.js"}),
        &[("index.js", "module.exports = 'replaced';")],
    );
    std::fs::remove_dir_all(project.path(".stockade-cache")).unwrap();
    let tampered = with_registry(&project, &registry, &["run", "main.ts"]).run();
    tampered.expect_code(1).expect_nowhere("replaced");
    tampered.expect_error("checksum did not match");
    assert_eq!(project.read("deno.lock"), lock);
    // A newer version is taken only when the lock may change.
    let mut registry = two_packages();
    project.write(
        "deno.json",
        r#"{"imports": {"outer": "npm:outer@2", "inner": "npm:inner@1"}}"#,
    );
    project.write(
        "main.ts",
        "import 'inner'; import text from 'outer'; console.log(text as string);",
    );
    registry.package(
        "inner",
        "1.9.0",
        json!({}),
        &[("index.js", "module.exports = () => 'new';")],
    );
    let frozen = with_registry(&project, &registry, &["run", "--frozen", "main.ts"]).run();
    frozen
        .expect_code(1)
        .expect_error("lockfile is out of date");
    assert_eq!(project.read("deno.lock"), lock);
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_success();
    assert_ne!(project.read("deno.lock"), lock);
    let without = with_registry(&project, &registry, &["run", "--no-lock", "main.ts"]).run();
    without.expect_success();
}

#[test]
fn locks_that_are_none_and_projects_that_cannot_be_written() {
    let (project, registry) = (program(), two_packages());
    project.write("deno.lock", "not a lock");
    let outcome = with_registry(&project, &registry, &["run", "main.ts"]).run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: the lock file `[DIR]/deno.lock` is no lock file
    hint: remove it to have it made anew, or run with `--no-lock`
    ");
    std::fs::remove_file(project.path("deno.lock")).unwrap();
    if superuser() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    with_registry(&project, &registry, &["run", "--no-lock", "main.ts"])
        .run()
        .expect_success();
    std::fs::set_permissions(project.directory(), mode(0o555)).unwrap();
    let outcome = with_registry(&project, &registry, &["run", "main.ts"]).run();
    std::fs::set_permissions(project.directory(), mode(0o755)).unwrap();
    outcome
        .expect_output("<hello>\n")
        .expect_error("cannot write `");
}
