// SPDX-License-Identifier: MIT
//! Which registries packages come from, who says so, and what is sent there.

use serde_json::json;

use super::packages::{program, two_packages};
use super::registry::Registry;
use super::{with_cache, with_registry};
use crate::support::Project;
use crate::support_life::scrub;

#[test]
fn a_projects_npmrc_sends_nothing() {
    let (project, registry) = (program(), two_packages());
    let evil = Registry::new();
    for line in [
        format!("registry={}${{AWS_SECRET_ACCESS_KEY}}/", evil.url()),
        format!(
            "//{}/:_authToken=${{AWS_SECRET_ACCESS_KEY}}",
            registry.host()
        ),
        format!("registry={}", evil.url()),
    ] {
        project.write(".npmrc", &line);
        let outcome = with_registry(&project, &registry, &["run", "main.ts"])
            .env("AWS_SECRET_ACCESS_KEY", "hidden-value")
            .run();
        outcome.expect_refused().expect_error(
            "[DIR]/.npmrc:1:"
                .replace("[DIR]", project.path("").trim_end_matches('/'))
                .as_str(),
        );
    }
    assert!(evil.said().is_empty());
    // A line of the user's own is followed, and so is a host the user allows.
    std::fs::remove_file(project.path(".npmrc")).unwrap();
    let token = format!("//{}/:_authToken=${{TOKEN}}", registry.host());
    project.write("home/.npmrc", &token);
    with_registry(&project, &registry, &["run", "main.ts"])
        .env("TOKEN", "known-value")
        .run()
        .expect_output("<hello>\n");
    assert!(
        registry
            .said()
            .iter()
            .any(|head| head.contains("known-value"))
    );
    let other = two_packages();
    project.write(".npmrc", &format!("registry={}", other.url()));
    project.write(
        "main.ts",
        "import text from 'npm:outer@2.0.0'; console.log(text as string);",
    );
    let allowed = format!("--allow-import={}", other.host());
    with_cache(&project, &["run", &allowed, "main.ts"])
        .run()
        .expect_output("<hello>\n");
    assert!(!other.said().is_empty());
}

#[test]
fn a_projects_npmrc_with_a_secret_needs_a_grant() {
    let project = Project::new()
        .file("deno.json", "{}")
        .file("main.ts", "console.log('ran');")
        .file(".npmrc", "//registry.test/:_authToken=secret");
    let outcome = with_cache(&project, &["run", "main.ts"]).run();
    outcome.expect_refused();
    insta::assert_snapshot!(scrub(&project, &outcome.stderr), @r"
    error: [DIR]/.npmrc:1: `//registry.test/:_authToken` is a secret that the program could read
    hint: move the line into the `.npmrc` of your home directory, which the program does not read, or grant the file: `--allow-read=[DIR]/.npmrc`
    ");
    with_cache(&project, &["run", "--allow-read=.npmrc", "main.ts"])
        .run()
        .expect_output("ran\n");
    project.write(".npmrc", "fund=false");
    with_cache(&project, &["run", "main.ts"])
        .run()
        .expect_output("ran\n");
}

#[test]
fn a_registry_leads_to_no_other_host() {
    // Deno itself asks nobody before it follows a registry's word for where a package lies: this is the
    // wall around the download alone.
    let (mut registry, mut other) = (Registry::new(), Registry::new());
    let files = [("index.js", "module.exports = 'from elsewhere';")];
    other.package("led", "1.0.0", json!({}), &files);
    registry.package("led", "1.0.0", json!({}), &files);
    let document = other.served("/led").unwrap();
    registry.file("/led", document);
    let project = Project::new().file(
        "main.ts",
        "import text from 'npm:led@1'; console.log(text as string);",
    );
    let denied = with_registry(&project, &registry, &["run", "main.ts"]).run();
    denied
        .expect_refused()
        .expect_error(&format!("`{}`, which nobody allowed", other.host()));
    assert!(other.said().is_empty());
    let allowed = format!("--allow-import={}", other.host());
    with_registry(&project, &registry, &["run", &allowed, "main.ts"])
        .run()
        .expect_output("from elsewhere\n");
    assert!(!other.said().is_empty());
}

#[test]
fn a_scope_has_a_registry_and_a_token_of_its_own() {
    let (mut own, registry) = (Registry::new(), two_packages());
    let files = [
        ("index.js", "module.exports = `own ${require('outer')}`;"),
        ("index.d.ts", "declare const text: string; export = text;"),
    ];
    let members =
        json!({"main": "index.js", "types": "index.d.ts", "dependencies": {"outer": "2"}});
    own.package("@mine/own", "1.0.0", members, &files);
    let project = Project::new().file(
        "main.ts",
        "import text from 'npm:@mine/own@1';
         console.log(text);
         for (const path of Deno.args) {
           try { console.log(/hidden.value/.test(Deno.readTextFileSync(path))); } catch (error) { console.log((error as Error).name); }
         }",
    );
    let npmrc = project.path("home/.npmrc");
    project.write(
        "home/.npmrc",
        &format!(
            "@mine:registry=http://user:hidden-value@{0}/\n//{0}/:_authToken=${{TOKEN}}",
            own.host()
        ),
    );
    let run = |flags: &[&str]| {
        let mut words = vec!["run", "--check"];
        words.extend(flags);
        words.extend(["main.ts", &npmrc]);
        with_registry(&project, &registry, &words)
            .env("TOKEN", "hidden-value")
            .run()
    };
    let first = run(&[]);
    first.expect_output("own <hello>\nNotCapable\n");
    first
        .expect_error("Download ")
        .expect_nowhere("hidden-value");
    let told = |registry: &Registry| {
        let said = registry.said();
        said.iter().any(|head| head.contains("hidden-value"))
    };
    assert!(told(&own) && !told(&registry));
    let asked = own.said().len();
    run(&[])
        .expect_output("own <hello>\nNotCapable\n")
        .expect_nowhere("Download ");
    assert_eq!(own.said().len(), asked);
    // Neither Deno's own check nor the program's environment is what keeps the token.
    let probe = [
        format!("open:0:{npmrc}"),
        format!("open:0:{}", project.path("main.ts")),
    ];
    let answers = project.probe(&["--allow-read=main.ts"], &probe);
    crate::support::expect_errno(&answers, &probe[0], &[libc::EACCES]);
    crate::support::expect_errno(&answers, &probe[1], &[0]);
    run(&["--allow-read=home"]).expect_output("own <hello>\ntrue\n");
    // Nothing of it is left where the program, or another one, reads.
    let mut open = vec![project.directory().join(".stockade-cache")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                let text = std::fs::read(entry.path()).unwrap();
                let found = text.windows(12).any(|part| part == b"hidden-value");
                assert!(!found, "{}", entry.path().display());
            }
        }
    }
}
