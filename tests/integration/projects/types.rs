// SPDX-License-Identifier: MIT
//! Types are checked before the start; the verdict is kept.

use super::with_cache;
use crate::support::Project;
use crate::support_life::scrub;

const WRONG: &str = "const count: number = 'three';\nconsole.log(count);\n";

#[test]
fn an_error_in_types_stops_the_run() {
    let project = Project::new().file("main.ts", WRONG);
    let checked = project.stockade_as_typed(&["run", "main.ts"]).run();
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(scrub(&project, &checked.stderr), @r"
    TS2322 [ERROR]: Type 'string' is not assignable to type 'number'.
    const count: number = 'three';
          ~~~~~
        at file://[DIR]/main.ts:1:7

    error: Type checking failed.
    hint: `--no-check` runs it all the same
    ");
    // Again, and without a check.
    project
        .stockade_as_typed(&["run", "main.ts"])
        .run()
        .expect_code(1);
    project
        .stockade_as_typed(&["run", "--no-check", "main.ts"])
        .run()
        .expect_output("three\n");
    // A run without a check is no verdict.
    project
        .stockade_as_typed(&["run", "main.ts"])
        .run()
        .expect_code(1);
    project
        .stockade_as_typed(&["explain", "main.ts"])
        .run()
        .expect_success();
}

#[test]
fn files_of_types_are_part_of_the_program() {
    let project = Project::new()
        .file("types.d.ts", "export interface Options { size: number }")
        .file(
            "main.ts",
            "import type { Options } from './types.d.ts';\nconst o: Options = { size: 1 };\nconsole.log(o.size);",
        );
    std::thread::sleep(std::time::Duration::from_millis(2300));
    let run = || with_cache(&project, &["run", "--check", "main.ts"]).run();
    run().expect_output("1\n");
    run().expect_output("1\n");
    project.write("types.d.ts", "export interface Options { size: string }");
    run().expect_code(1).expect_error("TS2322");
}

#[test]
fn compiler_options_are_honoured() {
    let project = Project::new()
        .file("main.ts", "function f(x) { return x; }\nconsole.log(f(1));")
        .file(
            "deno.json",
            r#"{"compilerOptions": {"noImplicitAny": false}}"#,
        );
    with_cache(&project, &["run", "--check", "main.ts"])
        .run()
        .expect_output("1\n");
    project.write("deno.json", "{}");
    with_cache(&project, &["run", "--check", "main.ts"])
        .run()
        .expect_code(1)
        .expect_error("TS7006");
}

#[test]
fn missing_types_only_warn() {
    let project = Project::new()
        .file("package.json", r#"{"dependencies": {"own": "1"}}"#)
        .file("deno.json", "{}")
        .file("node_modules/own/package.json", r#"{"name":"own","version":"1.0.0","main":"i.js"}"#)
        .file("node_modules/own/i.js", "module.exports = 'untyped';")
        .file(
            "main.ts",
            "import text from 'own';\nimport { readFileSync } from 'node:fs';\nconsole.log(text, typeof readFileSync);",
        );
    let outcome = with_cache(&project, &["run", "--check", "main.ts"]).run();
    outcome.expect_output("untyped function\n");
}

#[test]
fn a_syntax_error_reads_as_in_deno() {
    let project = Project::new().file("main.ts", "const x: = 1;");
    let outcome = with_cache(&project, &["run", "--check", "main.ts"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    outcome.expect_error("main.ts:1:10");
}

#[test]
fn configuration_with_a_syntax_error_is_named() {
    let project = Project::new()
        .file("main.ts", "console.log(1);")
        .file("deno.json", "{\n  \"imports\": {,}\n}");
    let outcome = with_cache(&project, &["run", "main.ts"]).run();
    assert!([Some(1), Some(125)].contains(&outcome.code), "{outcome:?}");
    outcome.expect_error("deno.json").expect_error("2");
}
