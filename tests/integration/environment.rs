// SPDX-License-Identifier: MIT
//! The environment: what is not granted is not there, for JavaScript, native code and children.

use crate::support::{Project, compile};

/// Prints every variable as native code sees it.
const NATIVE: &str = "environ:0:";

fn native(project: &Project, flags: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let mut launch = project.probe_launch(flags, &[NATIVE]);
    for (name, value) in variables {
        launch = launch.env(name, value);
    }
    let outcome = launch.run();
    outcome.expect_answers(&[NATIVE]);
    outcome.stdout.lines().map(str::to_owned).collect()
}

fn has(lines: &[String], variable: &str) -> bool {
    lines.iter().any(|line| line == variable)
}

const CALLER: [(&str, &str); 6] = [
    ("WORD", "granted"),
    ("WORDS", "not granted"),
    ("AWS_REGION", "north"),
    ("AWS_SECRET", "hidden"),
    ("SECRET_TOKEN", "hidden"),
    ("TZ", "UTC"),
];

#[test]
fn only_what_is_granted_is_there() {
    let project = Project::new();
    let nothing = native(&project, &[], &CALLER);
    for (name, value) in &CALLER[..5] {
        assert!(!has(&nothing, &format!("{name}={value}")), "{nothing:#?}");
    }
    assert!(has(&nothing, "TZ=UTC"));
    assert!(!nothing.iter().any(|line| line.contains("hidden")));
    // The caller's own are gone, too.
    assert!(
        !nothing
            .iter()
            .any(|line| line.starts_with("STOCKADE_CACHE=")),
        "{nothing:#?}"
    );
    // A home that is the same everywhere; the caller's only where something names it.
    let home = |lines: &[String]| {
        let found = lines.iter().find_map(|line| line.strip_prefix("HOME="));
        found.map(str::to_owned)
    };
    assert_eq!(home(&nothing).as_deref(), Some("/nonexistent"));
    for flags in [&["--deny-env=HOME"][..], &["--allow-sys=homedir"]] {
        assert_eq!(home(&native(&project, flags, &CALLER)), None, "{flags:?}");
    }
    let granted = native(&project, &["--allow-env=HOME"], &[("HOME", "/home/caller")]);
    assert_eq!(home(&granted).as_deref(), Some("/home/caller"));
    for (flags, there, gone) in [
        (
            &["--allow-env=WORD"][..],
            &["WORD"][..],
            &["WORDS", "AWS_REGION", "AWS_SECRET", "SECRET_TOKEN"][..],
        ),
        (
            &["--allow-env=AWS_*"],
            &["AWS_REGION", "AWS_SECRET"],
            &["WORD", "SECRET_TOKEN"],
        ),
        (
            &["--allow-env=AWS_*", "--deny-env=AWS_SECRET"],
            &["AWS_REGION"],
            &["AWS_SECRET", "WORD"],
        ),
        (
            &["--allow-env=AWS_*,WORD", "--ignore-env=AWS_SECRET"],
            &["AWS_REGION", "WORD"],
            &["AWS_SECRET"],
        ),
        (
            &["--allow-env", "--deny-env=SECRET_TOKEN,AWS_*"],
            &["WORD", "WORDS"],
            &["SECRET_TOKEN", "AWS_REGION", "AWS_SECRET"],
        ),
        (&["--allow-env=WORD", "--deny-env"], &[], &["WORD", "WORDS"]),
        (
            &["-E"],
            &["WORD", "WORDS", "AWS_REGION", "AWS_SECRET", "SECRET_TOKEN"],
            &[],
        ),
        // No permission of another kind brings any along.
        (
            &["--allow-read", "--allow-net"],
            &[],
            &["WORD", "AWS_SECRET", "SECRET_TOKEN"],
        ),
    ] {
        let lines = native(&project, flags, &CALLER);
        let value = |name: &str| CALLER.iter().find(|(known, _)| *known == name).unwrap().1;
        for name in there {
            assert!(
                has(&lines, &format!("{name}={}", value(name))),
                "{flags:?} {name}: {lines:#?}"
            );
        }
        for name in gone {
            assert!(
                !lines
                    .iter()
                    .any(|line| line.starts_with(&format!("{name}="))),
                "{flags:?} {name}: {lines:#?}"
            );
        }
    }
    // The control: the caller's variables reach what it starts.
    let mut launch = project.launch(&crate::support::probes().program, &[NATIVE]);
    for (name, value) in CALLER {
        launch = launch.env(name, value);
    }
    let outside = launch.run();
    assert!(outside.stdout.contains("SECRET_TOKEN=hidden\n"));
}

#[test]
fn deno_sees_what_deno_would_see() {
    let script = r#"
        for (const name of ["WORD", "AWS_REGION", "ABSENT_ONE"]) {
          try { console.log(name, Deno.env.get(name)); } catch (error) { console.log(String(error)); }
        }
        console.log(Deno.env.get("SECRET_TOKEN"));
    "#;
    let project = Project::new().file("env.ts", script);
    for flags in [
        &["--allow-env=WORD,ABSENT_ONE"][..],
        &["--allow-env=AWS_*"],
        &[],
        &["--allow-env", "--ignore-env=SECRET_TOKEN"],
    ] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push("env.ts");
        let (mut confined, mut bare) = (project.stockade(&arguments), project.bare(&arguments));
        for (name, value) in CALLER {
            (confined, bare) = (confined.env(name, value), bare.env(name, value));
        }
        confined.run().expect_same(&bare.run());
    }
}

#[test]
fn loader_variables_pass_only_by_name() {
    let project = Project::new()
        .file("main.ts", "console.log('main');")
        .file("preload.cjs", "console.log('preloaded');");
    let options = format!("--require {}", project.path("preload.cjs"));
    project
        .bare(&["run", "main.ts"])
        .env("NODE_OPTIONS", &options)
        .run()
        .expect_output("preloaded\nmain\n");
    for flags in [&[][..], &["--allow-env"], &["--allow-env=NODE_*"], &["-A"]] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push("main.ts");
        project
            .stockade(&arguments)
            .env("NODE_OPTIONS", &options)
            .run()
            .expect_output("main\n");
    }
    project
        .stockade(&[
            "run",
            "--allow-env=NODE_OPTIONS",
            "--allow-read=preload.cjs",
            "main.ts",
        ])
        .env("NODE_OPTIONS", &options)
        .run()
        .expect_output("preloaded\nmain\n");
    let lines = native(
        &project,
        &["--allow-env"],
        &[
            ("LD_LIBRARY_PATH", "/nowhere"),
            ("DENO_V8_FLAGS", "--stack-size=500"),
            ("NODE_OPTIONS", ""),
            ("NODE_EXTRA_CA_CERTS", "/nowhere"),
            ("BASH_ENV", "/nowhere"),
            ("PYTHONPATH", "/nowhere"),
            ("GLIBC_TUNABLES", "glibc.malloc.check=0"),
            ("DENO_PERMISSION_BROKER_PATH", "/nowhere"),
            ("WORD", "granted"),
        ],
    );
    assert!(has(&lines, "WORD=granted"));
    for name in [
        "LD_LIBRARY_PATH",
        "DENO_V8_FLAGS",
        "NODE_OPTIONS",
        "BASH_ENV",
        "PYTHONPATH",
        "GLIBC_TUNABLES",
        "DENO_PERMISSION_BROKER_PATH",
    ] {
        assert!(
            !lines
                .iter()
                .any(|line| line.starts_with(&format!("{name}="))),
            "{name}: {lines:#?}"
        );
    }
}

#[test]
fn a_preloaded_library_does_not_reach_the_program() {
    let project = Project::new().file("main.ts", "console.log('main');");
    let library = project.path("preload.so");
    // Speaks only in the runner: the launcher itself is started by the caller, with its variables.
    compile(
        "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n\
         __attribute__((constructor)) static void start(void) {\n\
         char path[4096] = {0}; readlink(\"/proc/self/exe\", path, sizeof path - 1);\n\
         if (strcmp(strrchr(path, '/'), \"/deno\") == 0) { puts(\"preloaded\"); fflush(stdout); } }\n",
        std::path::Path::new(&library),
        &["-shared", "-fPIC"],
    );
    project
        .bare(&["run", "main.ts"])
        .env("LD_PRELOAD", &library)
        .run()
        .expect_output("preloaded\nmain\n");
    for flags in [
        &[][..],
        &["--allow-env"],
        &["--allow-env=LD_*"],
        &["--allow-read"],
    ] {
        let mut arguments = vec!["run"];
        arguments.extend(flags);
        arguments.push("main.ts");
        project
            .stockade(&arguments)
            .env("LD_PRELOAD", &library)
            .run()
            .expect_output("main\n");
    }
    project
        .stockade(&[
            "run",
            "--allow-env=LD_PRELOAD",
            "--allow-read=preload.so",
            "main.ts",
        ])
        .env("LD_PRELOAD", &library)
        .run()
        .expect_output("preloaded\nmain\n");
}

#[test]
fn children_see_the_same_environment() {
    let project = Project::new();
    let mut launch = project.start(&["--allow-run=env", "--allow-env=WORD"], &["env"]);
    for (name, value) in CALLER {
        launch = launch.env(name, value);
    }
    let outcome = launch.run();
    outcome.expect_success().expect_nowhere("hidden");
    assert!(
        outcome.stdout.contains("WORD=granted\n"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.contains("PATH="), "{}", outcome.stdout);
    let mut control = project.launch(std::path::Path::new("env"), &[] as &[&str]);
    for (name, value) in CALLER {
        control = control.env(name, value);
    }
    assert!(control.run().stdout.contains("hidden"));
}

#[test]
fn the_kernels_copy_is_scrubbed() {
    let project = Project::new();
    let own = "cat:0:/proc/self/environ";
    let run = |flags: &[&str]| {
        project
            .probe_launch(flags, &[own])
            .env("SECRET_TOKEN", "hidden-value")
            .env("WORD", "granted")
            .run()
    };
    let outcome = run(&[]);
    assert_eq!(outcome.expect_answers(&[own])[own], i64::from(libc::EACCES));
    let outcome = run(&["--allow-read=/proc/self", "--allow-env=WORD"]);
    assert_eq!(outcome.expect_answers(&[own])[own], 0);
    outcome.expect_nowhere("hidden-value");
    assert!(outcome.stdout.contains("WORD=granted"));
    let outcome = run(&["--allow-read=/proc/self", "--allow-env=WORD,SECRET_TOKEN"]);
    assert!(outcome.stdout.contains("SECRET_TOKEN=hidden-value"));
}

#[test]
fn env_files_mean_what_they_mean_in_deno() {
    let file = "FIRST=one\nFIRST=two\nQUOTED=\"with spaces\"\nSINGLE='$FIRST'\nEXPANDED=${QUOTED}/x\nexport EXPORTED=yes\n# comment\nEMPTY=\nINHERITED=from file\nTRAILING=value # note\nUNGRANTED=hidden-value\n";
    let script = r#"for (const name of ["FIRST", "QUOTED", "SINGLE", "EXPANDED", "EXPORTED", "EMPTY", "INHERITED", "TRAILING"]) console.log(name, JSON.stringify(Deno.env.get(name)));"#;
    let project = Project::new()
        .file("settings", file)
        .file(".env", "FIRST=default\n")
        .file("env.ts", script);
    let grant = "--allow-env=FIRST,QUOTED,SINGLE,EXPANDED,EXPORTED,EMPTY,INHERITED,TRAILING";
    for flag in ["--env-file=settings", "--env-file"] {
        let arguments = ["run", flag, grant, "env.ts"];
        let bare = project
            .bare(&arguments)
            .env("INHERITED", "from caller")
            .run();
        bare.expect_success();
        project
            .stockade(&arguments)
            .env("INHERITED", "from caller")
            .run()
            .expect_output(&bare.stdout);
    }
    // Reading a value needs the permission, and native code gets no more.
    let outcome = project.probe_outcome(&["--env-file=settings", "--allow-env=FIRST"], &[NATIVE]);
    assert!(outcome.stdout.contains("FIRST=one\n"), "{}", outcome.stdout);
    outcome.expect_nowhere("hidden-value");
    let outcome = project.probe_outcome(&["--env-file=settings", "--allow-env"], &[NATIVE]);
    assert!(
        outcome.stdout.contains("UNGRANTED=hidden-value\n"),
        "{}",
        outcome.stdout
    );
    // A file that sets a loader variable does not smuggle it.
    project.write(
        "loader",
        "LD_PRELOAD=/nowhere.so\nNODE_OPTIONS=--require=/nowhere.cjs\nWORD=granted\n",
    );
    let outcome = project.probe_outcome(&["--env-file=loader", "--allow-env"], &[NATIVE]);
    outcome.expect_answers(&[NATIVE]);
    outcome.expect_nowhere("/nowhere");
    assert!(outcome.stdout.contains("WORD=granted\n"));
}
