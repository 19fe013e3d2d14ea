// SPDX-License-Identifier: MIT
//! Modules of other hosts: `https:` imports (here `http:` on loopback) and JSR packages.

use super::registry::Registry;
use super::with_cache;
use crate::support::Project;

#[test]
fn hosts_of_imports_need_a_word() {
    let mut server = Registry::new();
    server
        .file("/lib.ts", "export { text } from './deep/text.ts';")
        .file("/deep/text.ts", "export const text: string = 'remote';");
    let url = server.url();
    let project = Project::new().file(
        "main.ts",
        &format!("import {{ text }} from '{url}lib.ts'; console.log(text);"),
    );
    let denied = with_cache(&project, &["run", "main.ts"]).run();
    assert_eq!(denied.stdout, "");
    denied.expect_error("import");
    assert!(server.said().is_empty());
    let allow = format!("--allow-import={}", server.host());
    with_cache(&project, &["run", &allow, "main.ts"])
        .run()
        .expect_output("remote\n");
    let asked = server.said().len();
    assert_eq!(asked, 2, "{:?}", server.said());
    with_cache(&project, &["run", &allow, "main.ts"])
        .run()
        .expect_output("remote\n");
    assert_eq!(server.said().len(), asked);
    // The program itself has no network for it.
    project.write(
        "late.ts",
        &format!("import '{url}lib.ts';\nconst name = 'late'; try {{ await import(`{url}${{name}}.ts`); }} catch (error) {{ console.log((error as Error).message.split('\\n')[0]); }}"),
    );
    server.file("/late.ts", "console.log('loaded late');");
    let late = with_cache(&project, &["run", &allow, "late.ts"]).run();
    late.expect_success().expect_nowhere("loaded late");
    assert!(server.said().iter().all(|head| !head.contains("late.ts")));
}

#[test]
fn a_url_on_the_command_line_is_a_word() {
    let mut server = Registry::new();
    server.file("/tool.ts", "console.log('tool', Deno.args.join());");
    let project = Project::new();
    let url = format!("{}tool.ts", server.url());
    with_cache(&project, &["run", &url, "a"])
        .run()
        .expect_output("tool a\n");
}

#[test]
fn a_changed_module_does_not_fit_the_lock() {
    let mut server = Registry::new();
    server.file("/lib.ts", "console.log('first');");
    let project = Project::new()
        .file("deno.json", "{}")
        .file("main.ts", &format!("import '{}lib.ts';", server.url()));
    let allow = format!("--allow-import={}", server.host());
    with_cache(&project, &["run", &allow, "main.ts"])
        .run()
        .expect_output("first\n");
    assert!(project.read("deno.lock").contains("lib.ts"));
    server.file("/lib.ts", "console.log('second');");
    std::fs::remove_dir_all(project.path(".stockade-cache")).unwrap();
    let changed = with_cache(&project, &["run", &allow, "main.ts"]).run();
    assert_ne!(changed.code, Some(0));
    changed.expect_nowhere("second").expect_error("ntegrity");
    std::fs::remove_file(project.path("deno.lock")).unwrap();
    with_cache(&project, &["run", &allow, "main.ts"])
        .run()
        .expect_output("second\n");
}

#[test]
fn jsr_packages_come_from_their_registry() {
    let mut server = Registry::new();
    server
        .file(
            "/@scope/greet/meta.json",
            r#"{"scope":"scope","name":"greet","latest":"1.0.0","versions":{"1.0.0":{}}}"#,
        )
        .file(
            "/@scope/greet/1.0.0_meta.json",
            r#"{"exports":{".":"./mod.ts"},"manifest":{"/mod.ts":{"size":60,"checksum":"sha256-CHECKSUM"}}}"#
                .replace("CHECKSUM", &checksum(MODULE)),
        )
        .file("/@scope/greet/1.0.0/mod.ts", MODULE);
    let project = Project::new()
        .file(
            "deno.json",
            r#"{"imports": {"greet": "jsr:@scope/greet@1"}}"#,
        )
        .file(
            "main.ts",
            "import { greet } from 'greet'; console.log(greet('you'));",
        );
    let run = || {
        with_cache(&project, &["run", "main.ts"])
            .env("JSR_URL", server.url())
            .run()
    };
    run().expect_output("hello you\n");
    let asked = server.said().len();
    run().expect_output("hello you\n");
    assert_eq!(server.said().len(), asked);
    assert!(project.read("deno.lock").contains("@scope/greet"));
}

const MODULE: &str = "export const greet = (who: string): string => 'hello ' + who;";

fn checksum(text: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn import_maps_and_scopes_lead_to_modules() {
    let project = Project::new()
        .file(
            "deno.json",
            r#"{"imports": {"lib/": "./lib/", "x": "./lib/x.ts"}, "scopes": {"./lib/": {"x": "./lib/other.ts"}}}"#,
        )
        .file("lib/x.ts", "export const x = 'x'; import { x as inner } from 'x'; export { inner };")
        .file("lib/other.ts", "export const x = 'other';")
        .file("main.ts", "import { x } from 'x'; import { inner } from 'lib/x.ts'; console.log(x, inner);");
    with_cache(&project, &["run", "main.ts"])
        .run()
        .expect_output("x other\n");
}

#[test]
fn members_of_a_workspace_import_each_other() {
    let project = Project::new()
        .file("deno.json", r#"{"workspace": ["./a", "./b"]}"#)
        .file(
            "a/deno.json",
            r#"{"name": "@w/a", "version": "1.0.0", "exports": "./mod.ts"}"#,
        )
        .file("a/mod.ts", "export const a = 'member a';")
        .file(
            "b/deno.json",
            r#"{"name": "@w/b", "version": "1.0.0", "exports": "./mod.ts"}"#,
        )
        .file("b/mod.ts", "import { a } from '@w/a'; console.log(a);");
    with_cache(&project, &["run", "b/mod.ts"])
        .run()
        .expect_output("member a\n");
}
