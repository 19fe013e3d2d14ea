// SPDX-License-Identifier: MIT
//! Packages of npm: resolved and downloaded outside of the program, read inside, never written.

use serde_json::json;

use super::registry::Registry;
use super::{with_cache, with_registry};
use crate::support::Project;
use crate::support_life::scrub;

/// A registry with one package that depends on another.
pub(super) fn two_packages() -> Registry {
    let mut registry = Registry::new();
    registry
        .package(
            "inner",
            "1.2.0",
            json!({"main": "index.js"}),
            &[("index.js", "module.exports = text => `<${text}>`;")],
        )
        .package(
            "outer",
            "2.0.0",
            json!({"main": "index.js", "dependencies": {"inner": "^1.0.0"}}),
            &[("index.js", "module.exports = require('inner')('hello');")],
        );
    registry
}

pub(super) fn program() -> Project {
    Project::new()
        .file("deno.json", r#"{"imports": {"outer": "npm:outer@2"}}"#)
        .file(
            "main.ts",
            "import text from 'outer'; console.log(text as string);",
        )
}

#[test]
fn packages_come_before_the_start_and_once() {
    let (project, registry) = (program(), two_packages());
    let first = with_registry(&project, &registry, &["run", "main.ts"]).run();
    first.expect_output("<hello>\n");
    first.expect_error("Download ");
    let asked = registry.said().len();
    assert!(asked >= 4, "{:?}", registry.said());
    assert!(!project.has("node_modules"));
    let lock = project.read("deno.lock");
    assert!(lock.contains("outer@2.0.0") && lock.contains("inner@1.2.0"));
    // Nothing is asked for again, neither by this program nor by another.
    let again = with_registry(&project, &registry, &["run", "main.ts"]).run();
    again.expect_output("<hello>\n");
    again.expect_nowhere("Download ");
    project.write("other.ts", "import 'npm:outer@2'; console.log('other');");
    with_registry(&project, &registry, &["run", "--cached-only", "other.ts"])
        .run()
        .expect_output("other\n");
    assert_eq!(registry.said().len(), asked);
}

#[test]
fn package_json_names_packages_as_well() {
    let registry = two_packages();
    let project = Project::new()
        .file("package.json", r#"{"dependencies": {"outer": "2"}}"#)
        .file("main.mjs", "import text from 'outer'; console.log(text);");
    with_registry(&project, &registry, &["run", "main.mjs"])
        .run()
        .expect_output("<hello>\n");
    assert!(!project.has("node_modules"));
}

#[test]
fn a_package_is_an_entry_too() {
    let mut registry = Registry::new();
    registry.package(
        "tool",
        "1.0.0",
        json!({"bin": {"tool": "tool.js"}}),
        &[(
            "tool.js",
            "console.log('tool', process.argv.slice(2).join());",
        )],
    );
    let project = Project::new();
    with_registry(&project, &registry, &["run", "npm:tool@1", "a", "b"])
        .run()
        .expect_output("tool a,b\n");
}

#[test]
fn installed_packages_are_used_as_they_are() {
    let registry = Registry::new();
    let project = Project::new()
        .file("package.json", r#"{"dependencies": {"own": "1"}}"#)
        .file(
            "node_modules/own/package.json",
            r#"{"name":"own","version":"1.0.0","main":"i.js"}"#,
        )
        .file("node_modules/own/i.js", "module.exports = 'installed';")
        .file("main.mjs", "import text from 'own'; console.log(text);");
    with_registry(&project, &registry, &["run", "main.mjs"])
        .run()
        .expect_output("installed\n");
    assert_eq!(registry.said().len(), 0);
}

#[test]
fn lifecycle_scripts_never_run() {
    let mut registry = Registry::new();
    let project = Project::new().file("main.ts", "import 'npm:scripted@1'; console.log('ran');");
    let mark = project.path("mark");
    let script = format!("touch {mark}");
    registry.package(
        "scripted",
        "1.0.0",
        json!({"scripts": {"preinstall": script, "install": script, "postinstall": script}}),
        &[("index.js", "")],
    );
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_output("ran\n");
    assert!(!project.has("mark"));
    // The script would have made it.
    let made = project.launch("/bin/sh".as_ref(), &["-c", &script]).run();
    made.expect_success();
    assert!(project.has("mark"));
}

/// What a dependency that was taken over tries when it is imported.
const THEFT: &str = r"
const tried = [];
const attempt = async (name, act) => {
  try { await act(); tried.push(name); } catch { /* the next one */ }
};
await attempt('environment', () => { if (!process.env.API_KEY) throw 1; });
await attempt('key file', () => Deno.readTextFileSync(SECRET));
await attempt('shell', () => new Deno.Command('/bin/sh', { args: ['-c', 'true'] }).outputSync());
await attempt('start-up file', () => Deno.writeTextFileSync(SECRET + '.planted', 'x'));
await attempt('network', async () => { await (await fetch(EVIL)).text(); });
export default tried.sort().join(',');
";

#[test]
fn a_package_that_was_taken_over_gets_nothing() {
    let (mut registry, mut evil) = (Registry::new(), Registry::new());
    evil.file("/take", "taken");
    let project = Project::new()
        .file("home/.ssh/id_ed25519", "private key")
        .file(
            "main.ts",
            "import got from 'npm:parser@1'; console.log('got:', got);",
        );
    let theft = THEFT
        .replace(
            "SECRET",
            &format!("'{}'", project.path("home/.ssh/id_ed25519")),
        )
        .replace("EVIL", &format!("'{}take'", evil.url()));
    registry.package(
        "parser",
        "1.0.1",
        json!({"type": "module", "main": "index.js", "scripts": {"preinstall": "exit 1"}}),
        &[("index.js", &theft)],
    );
    let run = |flags: &[&str]| {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        let outcome = with_registry(&project, &registry, &words)
            .env("API_KEY", "hidden-value")
            .run();
        outcome.expect_success();
        outcome.stdout
    };
    assert_eq!(run(&[]), "got: \n");
    assert!(evil.said().is_empty());
    assert!(!project.has("home/.ssh/id_ed25519.planted"));
    // Each grant opens what it names.
    let net = format!("--allow-net={}", evil.host());
    assert_eq!(run(&[&net]), "got: network\n");
    assert_eq!(evil.said().len(), 1);
    assert_eq!(run(&["--allow-env=API_KEY"]), "got: environment\n");
    assert_eq!(run(&["--allow-read=home"]), "got: key file\n");
    assert_eq!(run(&["--allow-run=/bin/sh"]), "got: shell\n");
    // A wider grant does not open what is protected.
    assert_eq!(run(&["--allow-write=home"]), "got: \n");
    assert_eq!(run(&["--allow-write=home/.ssh"]), "got: start-up file\n");
    assert!(project.has("home/.ssh/id_ed25519.planted"));
}

#[test]
fn a_tarball_writes_nothing_outside_of_its_package() {
    let mut registry = Registry::new();
    let project = Project::new().file("main.ts", "import 'npm:climber@1'; console.log('ran');");
    let absolute = project.path("absolute");
    registry.package_with(
        "climber",
        "1.0.0",
        json!({}),
        &[("index.js", "")],
        &[
            ("package/../../../../../../planted", "x"),
            ("../../../../../planted", "x"),
            (&absolute, "x"),
        ],
    );
    let outcome = with_registry(&project, &registry, &["run", "main.ts"]).run();
    assert!([Some(0), Some(1)].contains(&outcome.code), "{outcome:?}");
    let planted = find(&project, "planted");
    assert!(planted.is_empty(), "{planted:?}");
    assert!(!project.has("absolute"));
    // Without the odd names the same package is fine.
    registry.package("climber", "1.0.1", json!({}), &[("index.js", "")]);
    project.write("main.ts", "import 'npm:climber@1.0.1'; console.log('ran');");
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_output("ran\n");
}

/// Files of this name below the project that are not inside of a package.
fn find(project: &Project, name: &str) -> Vec<std::path::PathBuf> {
    let mut open = vec![project.directory().to_path_buf()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let inside = path.components().any(|part| part.as_os_str() == "1.0.0");
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if entry.file_name() == name && !inside {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn downloads_are_not_written_by_the_program() {
    let (project, registry) = (program(), two_packages());
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_success();
    let package = find_file(&project, "outer", "index.js");
    let script = format!(
        "const path = '{package}';
         const results: string[] = [];
         for (const act of [
           () => Deno.writeTextFileSync(path, 'poison'),
           () => Deno.removeSync(path),
           () => Deno.linkSync(path, 'out/link.js'),
           () => Deno.renameSync(path, 'out/moved.js'),
         ]) {{
           try {{ act(); results.push('done'); }} catch (error) {{ results.push((error as Error).name); }}
         }}
         console.log(results.join());"
    );
    project.write("poison.ts", &format!("import 'outer';\n{script}"));
    project.write("out/keep", "");
    let before = std::fs::read_to_string(&package).unwrap();
    let denied = with_registry(
        &project,
        &registry,
        &["run", "--allow-read", "--allow-write=out", "poison.ts"],
    )
    .run();
    denied.expect_output("NotCapable,NotCapable,NotCapable,NotCapable\n");
    assert_eq!(std::fs::read_to_string(&package).unwrap(), before);
    // The kernel's part: the same by native code, which Deno does not judge.
    let probe = [
        format!("open:1:{package}"),
        format!("open:1:{}", project.path("out/keep")),
    ];
    let answers = project.probe(&["--allow-read", "--allow-write=out"], &probe);
    crate::support::expect_errno(&answers, &probe[0], &[libc::EACCES]);
    crate::support::expect_errno(&answers, &probe[1], &[0]);
    assert_eq!(std::fs::read_to_string(&package).unwrap(), before);
}

/// A file of a package in the cache of the project.
fn find_file(project: &Project, package: &str, file: &str) -> String {
    let mut open = vec![project.directory().join(".stockade-cache/downloads")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with(file) && path.to_str().unwrap().contains(package) {
                return path.to_str().unwrap().to_owned();
            }
        }
    }
    panic!("{package} has no {file}");
}

#[test]
fn packages_that_ask_for_many_variables_run() {
    let mut registry = Registry::new();
    registry.package(
        "colours",
        "1.0.0",
        json!({"main": "index.js"}),
        &[(
            "index.js",
            "const { env } = process; \
             module.exports = ['FORCE_COLOR', 'TEAMCITY_VERSION', 'GIVEN'].map(name => `${name}=${env[name]}`).join();",
        )],
    );
    let project = Project::new().file(
        "main.ts",
        "import text from 'npm:colours@1'; console.log(text as string);",
    );
    let run = |flags: &[&str]| {
        let mut words = vec!["run"];
        words.extend(flags);
        words.push("main.ts");
        with_registry(&project, &registry, &words)
            .env("GIVEN", "value")
            .env("TEAMCITY_VERSION", "hidden-value")
            .run()
    };
    run(&["--allow-env=GIVEN"])
        .expect_code(1)
        .expect_error("Requires env access to");
    let missing = run(&["--allow-env=GIVEN", "--env-missing=undefined"]);
    missing.expect_output("FORCE_COLOR=undefined,TEAMCITY_VERSION=undefined,GIVEN=value\n");
    run(&["--allow-env"])
        .expect_error("")
        .expect_output("FORCE_COLOR=undefined,TEAMCITY_VERSION=hidden-value,GIVEN=value\n");
}

#[test]
fn what_is_not_there_is_said_as_deno_says_it() {
    let (project, registry) = (program(), two_packages());
    project.write("main.ts", "import 'npm:nowhere@1';");
    let outcome = with_registry(&project, &registry, &["run", "main.ts"]).run();
    outcome
        .expect_code(1)
        .expect_error("npm package 'nowhere' does not exist");
    project.write("main.ts", "import 'npm:outer@77';");
    let outcome = with_registry(&project, &registry, &["run", "main.ts"]).run();
    outcome.expect_code(1).expect_error("'outer' matching '77'");
    // A registry that is away.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", away.local_addr().unwrap());
    drop(away);
    project.write("main.ts", "import 'npm:somewhere@1';");
    let outcome = with_cache(&project, &["run", "main.ts"])
        .env("NPM_CONFIG_REGISTRY", &url)
        .run();
    outcome.expect_code(1).expect_error(&url);
    // Nothing of it is trusted later.
    project.write(
        "main.ts",
        "import text from 'outer'; console.log(text as string);",
    );
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_output("<hello>\n");
}

#[test]
fn two_first_runs_prepare_at_once() {
    let (project, registry) = (program(), two_packages());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| with_registry(&project, &registry, &["run", "main.ts"]).run()))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for outcome in outcomes {
        outcome.expect_output("<hello>\n");
    }
}

#[test]
fn a_damaged_download_is_not_trusted() {
    let (project, registry) = (program(), two_packages());
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_success();
    let file = find_file(&project, "outer", "index.js");
    std::fs::remove_dir_all(std::path::Path::new(&file).parent().unwrap()).unwrap();
    with_registry(&project, &registry, &["run", "main.ts"])
        .run()
        .expect_output("<hello>\n");
}

#[test]
fn packages_are_installed_where_the_configuration_wants_them() {
    use std::os::unix::fs::MetadataExt;
    let (project, mut registry) = (program(), two_packages());
    let mark = project.path("mark");
    registry.package(
        "scripted",
        "1.0.0",
        json!({"scripts": {"install": format!("touch {mark}")}}),
        &[("index.js", "module.exports = 'scripted';")],
    );
    let configuration = |setting: &str| {
        format!(r#"{{"nodeModulesDir": {setting}, "imports": {{"outer": "npm:outer@2"}}}}"#)
    };
    project.write("deno.json", &configuration("\"auto\""));
    project.write(
        "main.ts",
        "import text from 'outer';
         import 'npm:scripted@1';
         console.log(text as string, import.meta.resolve('outer').includes('node_modules/'));
         const path = Deno.args[0];
         for (const act of [
           () => Deno.writeTextFileSync(path, 'poison'),
           () => Deno.writeTextFileSync('node_modules/new', 'x'),
           () => Deno.removeSync(path),
         ]) {
           try { act(); console.log('done'); } catch (error) { console.log((error as Error).name); }
         }",
    );
    let installed = project.path("node_modules/outer/index.js");
    let run = |flags: &[&str]| {
        let mut words = vec!["run"];
        words.extend(flags);
        words.extend(["main.ts", &installed]);
        with_registry(&project, &registry, &words).run()
    };
    let denied = "NotCapable\nNotCapable\nNotCapable\n";
    run(&[]).expect_output(&format!("<hello> true\n{denied}"));
    assert!(!project.has("mark"));
    let asked = registry.said().len();
    run(&["--cached-only"]).expect_output(&format!("<hello> true\n{denied}"));
    // Also where all else may be written: the kernel's part.
    let wide = run(&["--allow-read", "--allow-write"]);
    wide.expect_success();
    assert!(!wide.stdout.contains("done"), "{wide:?}");
    assert!(!project.has("node_modules/new"));
    // Who may write it writes to no other program's packages.
    let copy = std::fs::metadata(&installed).unwrap();
    assert_eq!(copy.nlink(), 1);
    let cached = find_file(&project, "outer", "index.js");
    run(&["--allow-read", "--allow-write=node_modules"])
        .expect_output("<hello> true\ndone\ndone\ndone\n");
    assert!(std::fs::read_to_string(cached).unwrap().contains("inner"));
    // It is made again when it is gone, without the network.
    std::fs::remove_dir_all(project.path("node_modules")).unwrap();
    run(&[]).expect_output(&format!("<hello> true\n{denied}"));
    assert!(project.has("node_modules/outer/index.js"));
    assert_eq!(registry.said().len(), asked);
    // The flag counts more, and what is there is used or not.
    run(&["--node-modules-dir=none"]).expect_output(&format!("<hello> false\n{denied}"));
    project.write("deno.json", &configuration("\"none\""));
    run(&[]).expect_output(&format!("<hello> false\n{denied}"));
    run(&["--node-modules-dir=manual"]).expect_output(&format!("<hello> true\n{denied}"));
    std::fs::remove_dir_all(project.path("node_modules")).unwrap();
    run(&["--node-modules-dir"]).expect_output(&format!("<hello> true\n{denied}"));
    // A project says where to, not what else is written.
    std::fs::remove_dir_all(project.path("node_modules")).unwrap();
    let elsewhere = Project::new();
    std::os::unix::fs::symlink(elsewhere.directory(), project.path("node_modules")).unwrap();
    let outcome = run(&["--node-modules-dir=auto"]);
    outcome.expect_refused();
    let elsewhere_path = elsewhere.directory().display().to_string();
    let text = outcome.stderr.replace(&elsewhere_path, "[ELSEWHERE]");
    insta::assert_snapshot!(scrub(&project, &text), @r"
    error: `[DIR]/node_modules` is a link to `[ELSEWHERE]`, and packages are read and laid out in directories only
    hint: `--node-modules-dir=none` leaves packages in Stockade's cache
    ");
    assert!(
        std::fs::read_dir(elsewhere.directory())
            .unwrap()
            .next()
            .is_none()
    );
}
