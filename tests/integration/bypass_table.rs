// SPDX-License-Identifier: MIT
//! `tests/bypasses.md` names, for each known way around a sandbox, the test that tries it.
//!
//! Invariant: every row names at least one test, and every named test exists.

const TABLE: &str = include_str!("../bypasses.md");

/// The sources the table refers to, by module name.
const SOURCES: &[(&str, &str)] = &[
    ("attributes", include_str!("attributes.rs")),
    ("denials", include_str!("denials.rs")),
    ("deno_programs", include_str!("deno_programs.rs")),
    ("egress::changing", include_str!("egress/changing.rs")),
    ("egress::clients", include_str!("egress/clients.rs")),
    (
        "egress::denied_names",
        include_str!("egress/denied_names.rs"),
    ),
    ("egress::events", include_str!("egress/events.rs")),
    ("egress::fidelity", include_str!("egress/fidelity.rs")),
    ("egress::fronting", include_str!("egress/fronting.rs")),
    ("egress::lifetime", include_str!("egress/lifetime.rs")),
    ("egress::names", include_str!("egress/names.rs")),
    ("egress::races", include_str!("egress/races.rs")),
    ("egress::resolvers", include_str!("egress/resolvers.rs")),
    ("egress::routes", include_str!("egress/routes.rs")),
    ("environment", include_str!("environment.rs")),
    ("escapes", include_str!("escapes.rs")),
    ("exec::presets", include_str!("exec/presets.rs")),
    ("exec::start", include_str!("exec/start.rs")),
    ("exec::tools", include_str!("exec/tools.rs")),
    ("execution", include_str!("execution.rs")),
    ("filesystem::links", include_str!("filesystem/links.rs")),
    ("filesystem", include_str!("filesystem.rs")),
    ("filesystem::modules", include_str!("filesystem/modules.rs")),
    ("hardening", include_str!("hardening.rs")),
    ("limits", include_str!("limits.rs")),
    ("limits::groups", include_str!("limits/groups.rs")),
    ("limits::output", include_str!("limits/output.rs")),
    ("network", include_str!("network.rs")),
    ("projects::example", include_str!("projects/example.rs")),
    ("projects::locks", include_str!("projects/locks.rs")),
    ("projects::packages", include_str!("projects/packages.rs")),
    (
        "projects::registries",
        include_str!("projects/registries.rs"),
    ),
    ("projects::remote", include_str!("projects/remote.rs")),
    ("projects::untrusted", include_str!("projects/untrusted.rs")),
    ("policies::ceilings", include_str!("policies/ceilings.rs")),
    ("protected", include_str!("protected.rs")),
    ("protected::races", include_str!("protected/races.rs")),
    ("reviews", include_str!("reviews.rs")),
    ("seed_cases", include_str!("seed_cases.rs")),
    ("task", include_str!("task.rs")),
    ("task::bounds", include_str!("task/bounds.rs")),
    ("task::walls", include_str!("task/walls.rs")),
];

fn rows() -> impl Iterator<Item = [&'static str; 3]> {
    TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| class "))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            cells
                .try_into()
                .unwrap_or_else(|cells: Vec<&str>| panic!("{} cells: {line}", cells.len()))
        })
}

#[test]
fn every_named_test_exists() {
    let mut count = 0;
    for [class, fact, tests] in rows() {
        assert!(
            !class.is_empty() && !fact.is_empty(),
            "an empty cell beside {tests}"
        );
        let mut named = 0;
        for test in tests.split('`').skip(1).step_by(2) {
            let (module, function) = test
                .rsplit_once("::")
                .unwrap_or_else(|| panic!("`{test}` is not `module::function`"));
            let (_, source) = SOURCES
                .iter()
                .find(|(name, _)| *name == module)
                .unwrap_or_else(|| panic!("`{test}`: no module `{module}`"));
            assert!(
                source.contains(&format!("#[test]\nfn {function}() {{")),
                "`{test}`: no such test"
            );
            named += 1;
        }
        assert!(named > 0, "no test for: {class}");
        count += 1;
    }
    assert!(count >= 40, "the table has only {count} rows");
}
