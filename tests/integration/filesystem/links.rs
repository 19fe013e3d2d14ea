// SPDX-License-Identifier: MIT
//! Links that a program of an earlier run could have made: no grant, and no file that Stockade itself
//! writes, leads elsewhere by them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Outcome, Project};

/// `srv` is written to by the first run, which turns `srv/data` into a link to another directory.
struct Served {
    project: Project,
    elsewhere: Project,
}

impl Served {
    fn new() -> Self {
        let project = Project::new()
            .file("srv/data/key", "public\n")
            .file("own/key", "mine\n")
            .file("main.ts", "console.log('started');")
            .file(
                "plant.py",
                "import os, sys\nos.rename('srv/data', 'srv/kept')\nos.symlink(sys.argv[1], 'srv/data')\n",
            );
        let elsewhere = Project::new().file("key", "secret-key\n");
        Self { project, elsewhere }
    }

    /// As a native library or a child of a program would do it.
    fn plant(&self) {
        let target = self.elsewhere.directory().display().to_string();
        let srv = format!("--allow-write={}", self.project.path("srv"));
        let words = [
            "exec",
            "--allow-read=.",
            &srv,
            "--",
            "python3",
            "plant.py",
            &target,
        ];
        self.project.stockade(&words).run().expect_success();
        assert!(
            fs::symlink_metadata(self.project.path("srv/data"))
                .unwrap()
                .is_symlink()
        );
    }

    fn read(&self, path: &str, flags: &[String]) -> Outcome {
        let mut words = vec!["exec".to_owned()];
        words.extend_from_slice(flags);
        words.extend(["--", "cat"].map(str::to_owned));
        words.push(self.project.path(path));
        self.project.stockade(&words).run()
    }
}

#[test]
fn a_link_that_a_program_could_have_made_leads_no_grant_out() {
    let served = Served::new();
    let (project, elsewhere) = (&served.project, &served.elsewhere);
    let of = |kind: &str, path: &str| format!("--allow-{kind}={}", project.path(path));
    let both = [of("read", "srv/data"), of("write", "srv")];
    served.read("srv/data/key", &both).expect_output("public\n");

    served.plant();
    let denied = served.read("srv/data/key", &both);
    denied.expect_code(125).expect_nowhere("secret-key").expect_error(&format!(
        "error: `{}` leads to `{target}` through the link `{}`, which a program could have made: `{}` lets it write \
         there\nhint: grant `{target}` itself if that is meant\n",
        both[0],
        project.path("srv/data"),
        both[1],
        target = elsewhere.directory().display(),
    ));
    for flags in [
        vec![of("write", "srv/data"), of("write", "srv")],
        vec![of("write", "srv/data/new"), of("write", "srv")],
    ] {
        let denied = served.read("srv/data/key", &flags);
        denied
            .expect_code(125)
            .expect_error("which a program could have made");
    }
    assert!(!elsewhere.has("new"));
    let ffi = of("ffi", "srv/data/key");
    project
        .stockade(&["run", &ffi, &both[1], "main.ts"])
        .run()
        .expect_code(125)
        .expect_error("which a program could have made");
    project
        .stockade(&["run", &ffi, "main.ts"])
        .run()
        .expect_output("started\n");

    // The twins: nobody could have made it, it is granted itself, it leads to what may be written, too.
    served
        .read("srv/data/key", &both[..1])
        .expect_output("secret-key\n");
    let target = format!("--allow-read={}", elsewhere.directory().display());
    served
        .read("srv/data/key", &[target, both[1].clone()])
        .expect_output("secret-key\n");
    fs::remove_file(project.path("srv/data")).unwrap();
    symlink("kept", project.path("srv/data")).unwrap();
    served.read("srv/data/key", &both).expect_output("public\n");
    // A link of the user's own, beside the directory.
    symlink(project.path("own"), project.path("linked")).unwrap();
    let own = [of("read", "linked"), of("write", "srv")];
    served.read("linked/key", &own).expect_output("mine\n");
}

#[test]
fn stockade_writes_through_no_link_that_a_program_could_have_made() {
    let served = Served::new();
    let (project, elsewhere) = (&served.project, &served.elsewhere);
    let write = format!("--allow-write={}", project.path("srv"));
    let run = |flags: &[&str]| {
        let mut words = vec!["exec", "--allow-read=."];
        words.extend_from_slice(flags);
        words.extend(["--", "cat", "/etc/shadow"]);
        project.stockade(&words).run()
    };
    for (flag, name) in [("audit", "log"), ("report", "report.json")] {
        let there = project.path(&format!("srv/{name}"));
        let file = format!("--{flag}={there}");
        run(&[&write, &file]).expect_error("Permission denied");
        fs::remove_file(&there).unwrap();

        symlink(elsewhere.path(name), &there).unwrap();
        run(&[&write, &file])
            .expect_code(125)
            .expect_error(&format!(
                "error: `{there}`, named by `--{flag}`, leads to `{target}` through the link `{there}`, which a \
                 program could have made: `{write}` lets it write there\nhint: name `{target}` itself if that is \
                 meant\n",
                target = elsewhere.path(name),
            ));
        assert!(!elsewhere.has(name), "{flag}");

        // The twins: without the write grant it is the user's link, and the file itself may be named.
        let named = format!("--{flag}={}", elsewhere.path(name));
        for flags in [&[file.as_str()][..], &[&write, &named]] {
            run(flags).expect_error("Permission denied");
            fs::remove_file(elsewhere.path(name)).unwrap();
        }
    }
}

/// What a file of variables says reaches the program, and an authority is readable.
#[test]
fn stockade_reads_through_no_link_that_a_program_could_have_made() {
    let served = Served::new();
    let (project, elsewhere) = (&served.project, &served.elsewhere);
    elsewhere.write("vars", "FOUND=secret-key\n");
    project.write("shows.ts", "console.log(Deno.env.get('FOUND'));");
    let there = project.path("srv/vars");
    symlink(elsewhere.path("vars"), &there).unwrap();
    let write = format!("--allow-write={}", project.path("srv"));
    let run = |flags: &[&str]| {
        let mut words = vec!["run", "--allow-env"];
        words.extend_from_slice(flags);
        words.push("shows.ts");
        project.stockade(&words).run()
    };
    for flag in ["env-file", "cert"] {
        let file = format!("--{flag}={there}");
        run(&[&write, &file])
            .expect_code(125)
            .expect_nowhere("secret-key")
            .expect_error(&format!(
                "error: `{there}`, named by `--{flag}`, leads to `{target}` through the link `{there}`, which a \
                 program could have made: `{write}` lets it write there\nhint: name `{target}` itself if that is \
                 meant\n",
                target = elsewhere.path("vars"),
            ));
    }
    // The twins, as above.
    let named = format!("--env-file={}", elsewhere.path("vars"));
    let linked = format!("--env-file={there}");
    for flags in [&[linked.as_str()][..], &[&write, &named]] {
        run(flags).expect_output("secret-key\n");
    }
}
