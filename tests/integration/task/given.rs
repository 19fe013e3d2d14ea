// SPDX-License-Identifier: MIT
//! What lines and their siblings get beside the project: `--eval`, `--env-file`, `--policy`, and what
//! ceilings leave of it.

use super::{project, task, with_configuration};
use crate::support::Project;

#[test]
fn a_line_is_evaluated_without_a_project() {
    let project = Project::new().file("main.js", "console.log('main', ...Deno.args);");
    task(&project, &["--eval", "echo a $B", "c d"])
        .env("B", "b")
        .run()
        .expect_output("a b c d\n");
    task(&project, &["--eval", "deno run --no-check main.js x"])
        .run()
        .expect_output("main x\n");
    // The walls are those of a task.
    task(&project, &["--eval", "echo x > new.txt"])
        .run()
        .expect_code(1);
    assert!(!project.has("new.txt"));
    task(
        &project,
        &["--allow-write=new.txt", "--eval", "echo x > new.txt"],
    )
    .run()
    .expect_success();
    assert_eq!(project.read("new.txt"), "x\n");
    task(&project, &["--eval"])
        .run()
        .expect_refused()
        .expect_error("`--eval` needs a command line");
    // The twin: without the flag the words are the name of a task.
    task(&project, &["echo a"]).run().expect_refused();
}

#[test]
fn variables_of_a_file_reach_the_lines_that_name_them() {
    let project = project(&[
        ("line", "echo $NAMED $(printenv UNNAMED)"),
        ("sibling", "deno run --no-check --allow-env=NAMED env.js"),
        ("other", "deno run --no-check --allow-env=OTHER env.js"),
        ("outer", "deno task sibling"),
    ])
    .file(
        "env.js",
        "try { console.log(Deno.env.get('NAMED')); } catch (error) { console.log(error.name); }",
    )
    .file(".env", "NAMED=of-the-file\nUNNAMED=unnamed\n")
    .file("sub/more.env", "NAMED=more\n");
    let run = |words: &[&str]| task(&project, words).run();
    run(&["line"]).expect_output("\n");
    run(&["--env-file", "line"]).expect_output("of-the-file\n");
    run(&["--env-file=sub/more.env", "line"]).expect_output("more\n");
    run(&["sibling"]).expect_output("undefined\n");
    run(&["--env-file", "sibling"]).expect_output("of-the-file\n");
    run(&["--env-file", "outer"]).expect_output("of-the-file\n");
    run(&["--env-file", "other"]).expect_output("NotCapable\n");
    // What the caller has wins, as in Deno.
    task(&project, &["--env-file", "line"])
        .env("NAMED", "callers")
        .run()
        .expect_output("callers\n");
}

#[test]
fn policies_widen_lines_and_bound_siblings() {
    let project = with_configuration(
        r#"{"tasks": {
            "write": "echo x > out/new.txt",
            "named": "deno run --no-check --allow-env=NAMED env.js",
            "other": "deno run --no-check --allow-env=NAMED,OTHER env.js",
            "outer": "deno task named",
            "write-sibling": "deno run --no-check --allow-write=out write.js"
        }}"#,
    )
    .file("write.js", "Deno.writeTextFileSync('out/old.txt', 'new');")
    .file(
        "env.js",
        "try { console.log(Deno.env.get('NAMED')); } catch (error) { console.log(error.name); }",
    )
    .file("out/old.txt", "")
    .file(
        "wide/p.yaml",
        "version: 1\npermissions: {write: [../out], env: [NAMED]}\n",
    )
    .file(
        "denies.yaml",
        "version: 1\npermissions: {env: {deny: [NAMED]}}\nlimits: {file-size: 1m}\n",
    )
    .file("protects.yaml", "version: 1\nprotect: [out]\n");
    let run = |words: &[&str]| task(&project, words).env("NAMED", "named").run();
    run(&["write"]).expect_code(1);
    assert!(!project.has("out/new.txt"));
    run(&["--policy=wide/p.yaml", "write"]).expect_success();
    assert_eq!(project.read("out/new.txt"), "x\n");
    for name in ["named", "outer"] {
        run(&["--policy=wide/p.yaml", name]).expect_output("named\n");
    }
    run(&["other"]).expect_output("named\n");
    run(&["--policy=wide/p.yaml", "other"])
        .expect_refused()
        .expect_error("is more than `stockade task` was given");
    // Flags and policies bound together.
    run(&["--policy=wide/p.yaml", "--allow-env=OTHER", "other"]).expect_output("named\n");
    for name in ["named", "outer"] {
        run(&["--policy=denies.yaml", name]).expect_output("NotCapable\n");
    }
    let explained = project
        .stockade(&["explain", "task", "--policy=denies.yaml", "named"])
        .run();
    assert!(
        explained
            .stdout
            .contains(" --deny-env=NAMED --file-size=1048576 --no-check"),
        "{explained:?}"
    );
    // What a policy protects is denied to siblings.
    run(&["write-sibling"]).expect_success();
    run(&["--policy=protects.yaml", "write-sibling"])
        .expect_code(1)
        .expect_error("NotCapable");
}

#[test]
fn a_ceiling_leaves_a_task_what_it_has_anyway() {
    let project = project(&[
        ("hello", "echo hello $INIT_CWD"),
        ("net", "deno run --no-check --allow-net=a.test main.js"),
    ])
    .file("c.yaml", "version: 1\npermissions: {read: [.]}\n")
    .file(
        "wider.yaml",
        "version: 1\npermissions: {read: [.], net: [a.test]}\n",
    );
    let hello = task(&project, &["--ceiling=c.yaml", "hello"]).run();
    hello.expect_output(&format!("hello {}\n", project.directory().display()));
    task(&project, &["--ceiling=c.yaml", "net"])
        .run()
        .expect_code(125)
        .expect_error("a.test");
    task(&project, &["--ceiling=wider.yaml", "net"])
        .run()
        .expect_output("main\n");
}
