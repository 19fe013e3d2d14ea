// SPDX-License-Identifier: MIT
//! The tools that CI steps and server scripts are made of, each doing its work inside, and each once
//! more with something hostile in what it builds, installs or checks out.

use std::fmt::Write as _;
use std::path::Path;

use super::decoy::Decoy;
use super::{exec, has};
use crate::support::{Launch, Outcome, Project};

/// Runs a tool whose work carries an attack, three times: inside, inside with everything granted, and
/// outside. `prepare` makes the project; the attack is `attack.sh` in it, and its output goes to
/// `attack.log`.
fn attacked(flags: &[&str], command: &[&str], prepare: impl Fn(&Project)) {
    for round in ["inside", "granted", "outside"] {
        let (project, decoy) = (Project::new(), Decoy::new());
        // What is protected is opened by naming it only.
        let everything = decoy.everything(&["node_modules/"]);
        let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
        let flags = match round {
            "inside" => Some(flags),
            "granted" => Some(&everything[..]),
            _ => None,
        };
        project.write_program("attack.sh", &decoy.attack());
        prepare(&project);
        let launch = match flags {
            Some(flags) => {
                let mut words = flags.to_vec();
                words.push("--");
                words.extend(command);
                exec(&project, &words)
            }
            None => bare(&project, command),
        };
        // The decoy is the home a tool would find.
        let outcome = keep_tools(launch).env("HOME", decoy.path()).run();
        let log = project.directory().join("attack.log");
        assert!(log.exists(), "{round}: the attack did not run: {outcome:?}");
        if round == "inside" {
            decoy.expect_untouched(&outcome, &log);
        } else {
            decoy.expect_owned(&log);
        }
    }
}

/// Tools that are found through the real home, in spite of another one.
pub(super) fn keep_tools(launch: Launch) -> Launch {
    let home = std::env::var("HOME").unwrap_or_default();
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or_else(|_| format!("{home}/.rustup"));
    launch.env("RUSTUP_HOME", rustup)
}

/// The same command outside.
pub(super) fn bare(project: &Project, command: &[&str]) -> Launch {
    let mut words = vec!["-c", "exec \"$@\"", "sh"];
    words.extend(command);
    project.launch(Path::new("/bin/sh"), &words)
}

#[track_caller]
fn succeeds(outcome: &Outcome) {
    outcome.expect_success();
}

const WRITES: &[&str] = &["--allow-write=."];

#[test]
fn pipelines_of_bash() {
    let project = Project::new();
    for script in [
        "seq 1 2000 | sort -rn | sed -n 1,3p | tee /dev/stderr | wc -l; echo ${PIPESTATUS[*]}",
        "diff <(seq 3) <(seq 4); cat <<< here; x=$(printf %s a b); echo $x; [[ -e /usr ]] && echo there",
        "coproc cat; echo one >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line; kill $COPROC_PID; wait 2>/dev/null; true",
        "{ for i in 3 1 2; do (echo $i) & done; wait; } | sort; trap 'echo caught' USR1; kill -USR1 $$; false || exit 3",
        "cd /usr && ls -d bin | xargs -n1 basename; find /usr/share/zoneinfo -name UTC -print -quit | grep -c UTC",
    ] {
        let outside = bare(&project, &["bash", "-c", script]).run();
        let inside = exec(&project, &["--", "bash", "-c", script]).run();
        inside.expect_same(&outside);
    }
    attacked(
        WRITES,
        &["bash", "-c", "true | ./attack.sh > attack.log 2>&1"],
        |_| {},
    );
}

/// A repository with one commit in `origin`.
pub(super) fn repository(project: &Project) {
    let script = "set -e; git init -q -b main origin; cd origin; echo one > file; git add file; \
                  git -c user.name=t -c user.email=t@t.test commit -qm first";
    succeeds(
        &bare(project, &["sh", "-c", script])
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .run(),
    );
}

#[test]
fn git_clones_and_commits() {
    let project = Project::new();
    repository(&project);
    let script = "set -e; git clone -q origin copy; cd copy; git log --format=%s; echo two > file; \
                  git -c user.name=t -c user.email=t@t.test commit -qam second; git checkout -qb other; \
                  git log --format=%s; git gc -q; git status --short";
    let denied = exec(&project, &["--", "git", "clone", "-q", "origin", "copy"]).run();
    assert_ne!(denied.code, Some(0));
    assert!(!project.has("copy"));
    exec(&project, &["--allow-write=.", "--", "sh", "-c", script])
        .run()
        .expect_output("first\nsecond\nfirst\n");
    assert_eq!(project.read("copy/file"), "two\n");
    // A hook of the repository itself runs where git runs.
    let commit =
        "cd origin && git -c user.name=t -c user.email=t@t.test commit -q --allow-empty -m x";
    attacked(WRITES, &["sh", "-c", commit], |project| {
        repository(project);
        project.write_program(
            "origin/.git/hooks/post-commit",
            "#!/bin/sh\nexec ../attack.sh > ../attack.log 2>&1\n",
        );
    });
}

/// A package with an install script, packed, and a project that depends on it.
pub(super) fn npm_project(project: &Project, install: &str) {
    let package = format!(
        "{{\"name\":\"dep\",\"version\":\"1.0.0\",\"main\":\"index.js\",\"scripts\":{{\"install\":\"{install}\"}}}}"
    );
    project.write("dep/package.json", &package);
    project.write("dep/index.js", "module.exports = 'from dep'");
    project.write(
        "package.json",
        "{\"name\":\"app\",\"version\":\"1.0.0\",\"dependencies\":{\"dep\":\"file:dep-1.0.0.tgz\"}}",
    );
    let cache = project.path("outside-cache");
    let script = format!(
        "npm --offline --cache={cache} pack ./dep >/dev/null 2>&1 && \
         npm --offline --cache={cache} install --package-lock-only --ignore-scripts >/dev/null 2>&1 && rm -rf {cache} node_modules"
    );
    succeeds(&bare(project, &["sh", "-c", &script]).run());
    assert!(project.has("package-lock.json"));
}

#[test]
fn npm_installs_from_a_lock() {
    if !has("npm") {
        return;
    }
    let project = Project::new();
    npm_project(&project, "echo built > built.txt");
    let ci = ["npm", "ci", "--offline", "--no-audit", "--no-fund"];
    let mut words = vec!["--"];
    words.extend(ci);
    assert_ne!(exec(&project, &words).run().code, Some(0));
    assert!(!project.has("node_modules"));
    words.insert(0, "--allow-write=.,node_modules/");
    succeeds(&exec(&project, &words).run());
    assert_eq!(project.read("node_modules/dep/built.txt"), "built\n");
    exec(&project, &["--", "node", "-p", "require('dep')"])
        .run()
        .expect_output("from dep\n");
    attacked(&["--allow-write=.,node_modules/"], &ci, |project| {
        npm_project(project, "../../attack.sh > ../../attack.log 2>&1");
    });
}

#[test]
fn node_starts_workers_and_children() {
    if !has("node") {
        return;
    }
    let project = Project::new().file(
        "main.js",
        "const { Worker, isMainThread, parentPort } = require('worker_threads');\n\
         if (!isMainThread) { parentPort.postMessage('worker'); return; }\n\
         const fs = require('fs'), os = require('os'), path = require('path'), { execFileSync } = require('child_process');\n\
         const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'x-')), 'f');\n\
         fs.writeFileSync(file, 'own'); fs.chmodSync(file, 0o600);\n\
         console.log(fs.readFileSync(file, 'utf8'), execFileSync('echo', ['child']).toString().trim());\n\
         try { fs.writeFileSync('here', 'x') } catch (error) { console.log(error.code) }\n\
         new Worker(__filename).on('message', (text) => console.log(text));\n",
    );
    exec(&project, &["--", "node", "main.js"])
        .run()
        .expect_output("own child\nEACCES\nworker\n");
    exec(&project, &["--allow-write=.", "--", "node", "main.js"])
        .run()
        .expect_output("own child\nworker\n");
}

/// A wheel and a source package, in `wheels`; setup.py runs the attack.
pub(super) fn wheels(project: &Project) {
    project.write(
        "make.py",
        "import zipfile, os\n\
         os.makedirs('wheels')\n\
         with zipfile.ZipFile('wheels/thing-1.0-py3-none-any.whl', 'w') as wheel:\n\
         \x20   wheel.writestr('thing.py', 'word = \"from thing\"\\n')\n\
         \x20   wheel.writestr('thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')\n\
         \x20   wheel.writestr('thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         \x20   wheel.writestr('thing-1.0.dist-info/RECORD', 'thing.py,,\\nthing-1.0.dist-info/METADATA,,\\nthing-1.0.dist-info/WHEEL,,\\nthing-1.0.dist-info/RECORD,,\\n')\n",
    );
    succeeds(&bare(project, &["python3", "make.py"]).run());
    project.write(
        "evil/setup.py",
        "import os, setuptools\nhere = os.environ['PROJECT']\n\
         os.system(f'{here}/attack.sh > {here}/attack.log 2>&1')\nsetuptools.setup(name='evil', version='1.0')\n",
    );
}

/// Whether pip and what it needs to build from source are there.
pub(super) fn has_pip(project: &Project) -> bool {
    let asked = bare(project, &["python3", "-c", "import setuptools, pip"]).run();
    if asked.code != Some(0) {
        return has("pip-with-setuptools");
    }
    true
}

#[test]
fn pip_installs_from_a_directory() {
    let project = Project::new();
    if !has_pip(&project) {
        return;
    }
    wheels(&project);
    let install = [
        "python3",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--find-links=wheels",
        "--target=out",
        "thing",
    ];
    let mut words = vec!["--"];
    words.extend(install);
    assert_ne!(exec(&project, &words).run().code, Some(0));
    assert!(!project.has("out/thing.py"));
    words.insert(0, "--allow-write=.");
    succeeds(&exec(&project, &words).run());
    assert!(project.read("out/thing.py").contains("from thing"));
    let evil = "PROJECT=$PWD exec python3 -m pip install -q --no-index --no-build-isolation --target=out ./evil";
    attacked(WRITES, &["sh", "-c", evil], wheels);
}

#[test]
fn python_starts_processes() {
    let project = Project::new().file(
        "pool.py",
        "import multiprocessing, subprocess, concurrent.futures, asyncio\n\
         def double(x): return x * 2\n\
         async def wait():\n\
         \x20   p = await asyncio.create_subprocess_exec('echo', 'child'); return await p.wait()\n\
         if __name__ == '__main__':\n\
         \x20   with concurrent.futures.ThreadPoolExecutor(3) as pool: print(sum(pool.map(double, range(4))), flush=True)\n\
         \x20   subprocess.run(['sh', '-c', 'exit 3']).returncode == 3 or exit(9)\n\
         \x20   here, there = multiprocessing.Pipe()\n\
         \x20   child = multiprocessing.Process(target=there.send, args=('sent',)); child.start(); print(here.recv(), flush=True); child.join()\n\
         \x20   print(asyncio.run(wait()), flush=True)\n\
         \x20   with multiprocessing.Pool(2) as pool: print(sum(pool.map(double, range(4))), flush=True)\n",
    );
    let outside = bare(&project, &["python3", "pool.py"]).run();
    outside.expect_output("12\nsent\nchild\n0\n12\n");
    // Locks are shared memory, which has no place of its own.
    let without = exec(&project, &["--", "python3", "pool.py"]).run();
    without.expect_code(1).expect_error("PermissionError");
    assert_eq!(without.stdout, "12\nsent\nchild\n0\n");
    exec(
        &project,
        &[
            "--allow-read=/dev/shm",
            "--allow-write=/dev/shm",
            "--",
            "python3",
            "pool.py",
        ],
    )
    .run()
    .expect_same(&outside);
}

/// A crate whose build script runs the attack when it is there.
pub(super) fn crate_of(project: &Project) {
    project.write(
        "Cargo.toml",
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    project.write(
        "src/main.rs",
        "fn main() { println!(\"{}\", env!(\"WORD\")); }\n",
    );
    project.write(
        "build.rs",
        "fn main() {\n\
         println!(\"cargo:rustc-env=WORD=built\");\n\
         if std::path::Path::new(\"attack.sh\").exists() {\n\
         let _ = std::process::Command::new(\"sh\").args([\"-c\", \"./attack.sh > attack.log 2>&1\"]).status();\n\
         } }\n",
    );
}

#[test]
fn cargo_builds_a_crate() {
    if !has("cargo") {
        return;
    }
    let project = Project::new();
    crate_of(&project);
    let run = ["cargo", "run", "--quiet", "--offline"];
    let mut words = vec!["--"];
    words.extend(run);
    let denied = keep_tools(exec(&project, &words)).run();
    assert_ne!(denied.code, Some(0));
    assert!(!project.has("target"));
    words.insert(0, "--allow-write=.");
    keep_tools(exec(&project, &words))
        .run()
        .expect_output("built\n");
    attacked(
        WRITES,
        &["cargo", "build", "--quiet", "--offline"],
        crate_of,
    );
}

/// A program in C with a makefile that makes and runs it.
fn makefile(project: &Project) {
    project.write(
        "main.c",
        "#include <stdio.h>\nint main(void) { puts(\"made\"); return 0; }\n",
    );
    let mut text = String::from("all: main\n\t./main\nmain: main.o\n\t$(CC) -o $@ $<\n");
    let _ = writeln!(text, "\ninstall:\n\t-./attack.sh > attack.log 2>&1");
    project.write("Makefile", &text);
}

#[test]
fn make_compiles_and_runs() {
    let project = Project::new();
    makefile(&project);
    let make = ["--", "make", "-s", "-j2"];
    assert_ne!(exec(&project, &make).run().code, Some(0));
    assert!(!project.has("main"));
    let mut words = vec!["--allow-write=."];
    words.extend(make);
    exec(&project, &words).run().expect_output("made\n");
    attacked(WRITES, &["make", "-s", "install"], makefile);
}

#[test]
fn java_compiles_and_runs() {
    if !has("java") {
        return;
    }
    let project = Project::new().file(
        "Hello.java",
        "import java.nio.file.*;\npublic class Hello { public static void main(String[] a) throws Exception {\n\
         Path file = Files.createTempFile(\"x\", \"y\"); Files.writeString(file, \"own\");\n\
         System.out.println(Files.readString(file) + \" \" + new String(new ProcessBuilder(\"echo\", \"child\").start().getInputStream().readAllBytes()).trim());\n\
         try { Files.writeString(Path.of(\"here\"), \"x\"); System.out.println(\"written\"); } catch (Exception e) { System.out.println(\"denied\"); }\n\
         } }\n",
    );
    let java = [
        "--",
        "java",
        "-Djava.io.tmpdir=/proc/self/cwd",
        "Hello.java",
    ];
    let mut words = vec!["--allow-write=."];
    words.extend(java);
    exec(&project, &words)
        .run()
        .expect_output("own child\nwritten\n");
    let script = "java -Djava.io.tmpdir=$TMPDIR Hello.java";
    std::fs::remove_file(project.directory().join("here")).unwrap();
    exec(&project, &["--", "sh", "-c", script])
        .run()
        .expect_output("own child\ndenied\n");
}

#[test]
fn curl_reaches_what_is_granted() {
    if !has("curl") {
        return;
    }
    let project = Project::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut bytes).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved";
            std::io::Write::write_all(&mut stream, answer).unwrap();
        }
    });
    let url = format!("http://{address}/");
    let other = exec(
        &project,
        &["--allow-net=192.0.2.1", "--", "curl", "-sS", &url],
    )
    .run();
    other
        .expect_code(7)
        .expect_error(&format!("denied: connect {address}"));
    let grant = format!("--allow-net={address}");
    exec(
        &project,
        &[&grant, "--", "curl", "-sS", "-o", "/proc/self/fd/1", &url],
    )
    .run()
    .expect_output("served");
    bare(&project, &["curl", "-sS", &url])
        .run()
        .expect_output("served");
    server.join().unwrap();
}
