// SPDX-License-Identifier: MIT
//! Files that a program loads without opening them itself: modules, configuration, locales.

use super::*;

#[test]
fn text_imports_need_a_read_grant() {
    let outside = Project::new().file("notes.txt", "notes of another project");
    let notes = outside.path("notes.txt");
    let project = Project::new()
        .file(
            "absolute.ts",
            &format!("import text from {notes:?} with {{ type: \"text\" }};\nconsole.log(text);\n"),
        )
        .file(
            "hostname.ts",
            "import text from \"/etc/hostname\" with { type: \"text\" };\nconsole.log(text.length > 0);\n",
        )
        .file("dotenv.ts", "import text from \"./.env\" with { type: \"text\" };\nconsole.log(text);\n")
        .file(".env", "TOKEN=hidden-value");
    let grant = format!("--allow-read={notes}");
    let mut cases = vec![
        (
            "absolute.ts",
            notes.as_str(),
            "notes of another project\n",
            grant.as_str(),
        ),
        (
            "dotenv.ts",
            ".env",
            "TOKEN=hidden-value\n",
            "--allow-read=.env",
        ),
    ];
    if std::path::Path::new("/etc/hostname").exists() {
        cases.push((
            "hostname.ts",
            "/etc/hostname",
            "true\n",
            "--allow-read=/etc/hostname",
        ));
    }
    for (script, path, output, grant) in cases {
        // Bare Deno needs no permission for it: that is why this is refused.
        project.bare(&["run", script]).run().expect_output(output);
        project
            .stockade(&["run", script])
            .run()
            .expect_refused()
            .expect_error(path)
            .expect_error(script)
            .expect_error("--allow-read")
            .expect_nowhere("notes of another")
            .expect_nowhere("hidden-value");
        project
            .stockade(&["run", grant, script])
            .run()
            .expect_output(output);
    }
}

#[test]
fn code_outside_the_project_needs_a_read_grant() {
    let outside = Project::new().file("module.ts", "export const word = 'from outside';");
    let module = outside.path("module.ts");
    let project = Project::new()
        .file("deno.json", "{}")
        .file("src/main.ts", &format!("import {{ word }} from {module:?};\nimport {{ local }} from \"../lib/local.ts\";\nconsole.log(word, local);\n"))
        .file("lib/local.ts", "export const local: string = 'and inside';");
    project
        .bare(&["run", "src/main.ts"])
        .run()
        .expect_output("from outside and inside\n");
    project
        .stockade(&["run", "src/main.ts"])
        .run()
        .expect_refused()
        .expect_error(&module)
        .expect_error("--allow-read");
    project
        .stockade(&["run", &format!("--allow-read={module}"), "src/main.ts"])
        .run()
        .expect_output("from outside and inside\n");
}

#[test]
fn the_configuration_chain_is_found_as_by_deno() {
    let json = r#"{ "imports": { "@lib/": "./lib/", "word": "./lib/word.ts" }, "compilerOptions": { "strict": true } }"#;
    let script = "import { word } from \"word\";\nimport data from \"@lib/data.json\" with { type: \"json\" };\nconsole.log(word, data.number);\n";
    for (config, script_path) in [
        ("deno.json", "main.ts"),
        ("deno.jsonc", "main.ts"),
        ("deno.json", "deep/er/main.ts"),
    ] {
        let content = if config == "deno.jsonc" {
            format!("// with a comment\n{json}")
        } else {
            json.to_owned()
        };
        let project = Project::new()
            .file(config, &content)
            .file(script_path, script)
            .file("lib/word.ts", "export const word: string = 'mapped';")
            .file("lib/data.json", "{\"number\": 42}");
        let expected = project.bare(&["run", "--no-lock", script_path]).run();
        expected.expect_output("mapped 42\n");
        project
            .stockade(&["run", script_path])
            .run()
            .expect_output("mapped 42\n");
        // From another directory, the chain is that of the script.
        let elsewhere = Project::new();
        project
            .stockade(&["run", &project.path(script_path)])
            .directory(elsewhere.directory())
            .run()
            .expect_output("mapped 42\n");
    }
    // The configuration is readable to the runner, not writable, and natively no more than a file.
    let project = Project::new()
        .file("deno.json", json)
        .file("other.json", "{}");
    let items = [
        open(&project, O_WRONLY, "deno.json"),
        open(&project, O_RDONLY, "other.json"),
    ];
    for (item, errno) in project.probe(&[], &items) {
        assert_eq!(errno, i64::from(EACCES), "{item}");
    }
}

#[test]
fn time_zones_and_locales_work() {
    let script = "console.log(new Date(0).toString(), new Date(86400000 * 200).toLocaleString('de-DE', { timeZoneName: 'long' }), Intl.DateTimeFormat().resolvedOptions().timeZone);";
    let project = Project::new().file("time.ts", script);
    for zone in ["Asia/Tokyo", "America/New_York", "UTC"] {
        let bare = project.bare(&["run", "time.ts"]).env("TZ", zone).run();
        bare.expect_success();
        assert!(bare.stdout.contains(zone), "{}", bare.stdout);
        project
            .stockade(&["run", "time.ts"])
            .env("TZ", zone)
            .run()
            .expect_same(&bare);
    }
    let bare = project
        .bare(&["run", "time.ts"])
        .env("LANG", "de_DE.UTF-8")
        .run();
    project
        .stockade(&["run", "time.ts"])
        .env("LANG", "de_DE.UTF-8")
        .run()
        .expect_same(&bare);
}
