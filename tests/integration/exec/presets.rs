// SPDX-License-Identifier: MIT
//! The shipped presets, each on the tool it is for, and each with something hostile in what the tool
//! installs or builds. Registries are files served on loopback; the last test uses the real ones.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use super::decoy::Decoy;
use super::tools::{bare, crate_of, has_pip, keep_tools, npm_project, repository, wheels};
use super::{exec, has};
use crate::support::{Outcome, Project};

/// Files over HTTP on loopback, until the test ends. Who asked for what is remembered.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(directory: &Path, address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (directory.to_path_buf(), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (root, log) = (root.clone(), Arc::clone(&log));
                thread::spawn(move || {
                    // A client that leaves early is no concern of the server's.
                    let _ = answer(&root, &log, &stream.unwrap());
                });
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn was_asked(&self) -> bool {
        !self.asked.lock().unwrap().is_empty()
    }
}

fn answer(
    root: &Path,
    log: &Mutex<Vec<String>>,
    stream: &std::net::TcpStream,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
        }
        let path = first.split_whitespace().nth(1).unwrap_or("/").to_owned();
        log.lock().unwrap().push(path.clone());
        let mut file: PathBuf = root.join(path.split('?').next().unwrap().trim_start_matches('/'));
        if file.is_dir() {
            file = file.join("index.html");
        }
        let (status, body) = match std::fs::read(&file) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let kind = if file.ends_with("index.html") {
            "text/html"
        } else {
            "application/octet-stream"
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        if !first.starts_with("HEAD") {
            stream.write_all(&body)?;
        }
    }
}

/// Runs a preset with an attack in the work: the decoy is the user's home.
fn attacked(preset: &str, project: &Project, decoy: &Decoy, command: &[&str]) -> Outcome {
    let policy = format!("--policy={preset}");
    let mut words = vec![policy.as_str(), "--"];
    words.extend(command);
    keep_tools(exec(project, &words))
        .env("HOME", decoy.path())
        .run()
}

/// A registry of npm in files: one package with an install script.
fn npm_registry(project: &Project, url: &str, install: &str) {
    npm_project(project, install);
    std::fs::create_dir_all(project.directory().join("registry/dep/-")).unwrap();
    std::fs::rename(
        project.directory().join("dep-1.0.0.tgz"),
        project.directory().join("registry/files.tgz"),
    )
    .unwrap();
    let hash = "python3 -c \"import hashlib,base64;print('sha512-'+base64.b64encode(hashlib.sha512(open('registry/files.tgz','rb').read()).digest()).decode())\"";
    let hash = bare(project, &["sh", "-c", hash])
        .run()
        .stdout
        .trim()
        .to_owned();
    let tarball = format!("{url}files.tgz");
    project.write(
        "registry/dep/index.html",
        &format!(
            "{{\"name\":\"dep\",\"dist-tags\":{{\"latest\":\"1.0.0\"}},\"versions\":{{\"1.0.0\":{{\"name\":\"dep\",\"version\":\"1.0.0\",\
             \"dist\":{{\"tarball\":\"{tarball}\",\"integrity\":\"{hash}\"}}}}}}}}"
        ),
    );
    project.write(
        "package.json",
        "{\"name\":\"app\",\"version\":\"1.0.0\",\"dependencies\":{\"dep\":\"1.0.0\"}}",
    );
    project.write(
        "package-lock.json",
        &format!(
            "{{\"name\":\"app\",\"version\":\"1.0.0\",\"lockfileVersion\":3,\"packages\":{{\"\":{{\"name\":\"app\",\"version\":\"1.0.0\",\
             \"dependencies\":{{\"dep\":\"1.0.0\"}}}},\"node_modules/dep\":{{\"version\":\"1.0.0\",\"resolved\":\"{tarball}\",\
             \"integrity\":\"{hash}\",\"hasInstallScript\":true}}}}}}"
        ),
    );
}

#[test]
fn npm_install() {
    if !has("npm") {
        return;
    }
    let project = Project::new();
    let decoy = Decoy::new();
    project.write_program("attack.sh", &decoy.attack());
    let server = Server::start(&project.directory().join("registry"), "127.0.0.1:0");
    let evil = Server::start(project.directory(), "127.0.0.1:0");
    npm_registry(
        &project,
        &server.url(""),
        "../../attack.sh > attack.log 2>&1",
    );
    // The user's own configuration counts, with its credentials kept; the project's does not.
    decoy.write(
        ".npmrc",
        &format!("registry=http://user:hidden@{}/\n", server.address),
    );
    project.write(".npmrc", &format!("registry={}\n", evil.url("")));
    let ci = [
        "npm",
        "ci",
        "--no-audit",
        "--no-fund",
        "--replace-registry-host=never",
    ];
    let outcome = attacked("npm-install", &project, &decoy, &ci);
    outcome.expect_success().expect_nowhere("hidden");
    assert!(project.has("node_modules/dep/index.js") && server.was_asked() && !evil.was_asked());
    let log = project.directory().join("node_modules/dep/attack.log");
    decoy.expect_untouched(&outcome, &log);
    outcome.expect_error("denied: connect 127.0.0.1:");
    // What it may write is node_modules.
    let write = exec(
        &project,
        &[
            "--policy=npm-install",
            "--",
            "sh",
            "-c",
            "echo x > package.json",
        ],
    );
    assert_ne!(write.env("HOME", decoy.path()).run().code, Some(0));
    let flags = decoy.everything(&["node_modules/"]);
    let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
    words.extend([
        "--",
        "sh",
        "-c",
        "cd node_modules/dep && npm run -s install",
    ]);
    let everything = keep_tools(exec(&project, &words));
    everything.env("HOME", decoy.path()).run().expect_success();
    decoy.expect_owned(&log);
}

#[test]
fn pip_install() {
    let project = Project::new();
    if !has_pip(&project) {
        return;
    }
    wheels(&project);
    let decoy = Decoy::new();
    project.write_program("attack.sh", &decoy.attack());
    let files = Server::start(&project.directory().join("wheels"), "127.0.0.2:0");
    let index = Server::start(project.directory(), "127.0.0.1:0");
    for (name, file) in [
        ("thing", "thing-1.0-py3-none-any.whl"),
        ("pip", "pip-1.0-py3-none-any.whl"),
    ] {
        let link = format!("<a href=\"{}\">{file}</a>", files.url(file));
        project.write(
            &format!("simple/{name}/index.html"),
            &format!("<!DOCTYPE html><html><body>{link}</body></html>"),
        );
    }
    let install = "python3 -m venv .venv && .venv/bin/python -m pip install -q --disable-pip-version-check thing && \
                   .venv/bin/python -c 'import thing; print(thing.word)'";
    let url = format!("http://user:hidden@{}/simple", index.address);
    let run = |flags: &[&str], script: &str| {
        let mut words = flags.to_vec();
        words.extend(["--", "sh", "-c", script]);
        let launch = keep_tools(exec(&project, &words)).env("HOME", decoy.path());
        launch
            .env("PIP_INDEX_URL", &url)
            .env("PROJECT", project.directory())
            .run()
    };
    let outcome = run(&["--policy=pip-install"], install);
    outcome
        .expect_output("from thing\n")
        .expect_nowhere("hidden");
    // Without the preset's network, or with the index alone, it fails.
    let address = index.address.to_string();
    for flags in [
        &["--allow-write=.venv"][..],
        &[
            "--allow-write=.venv",
            &format!("--allow-net={address}"),
            "--allow-env=PIP_INDEX_URL",
        ],
    ] {
        let outcome = run(
            flags,
            ".venv/bin/python -m pip install -q --retries 0 --force-reinstall thing",
        );
        assert_ne!(outcome.code, Some(0), "{flags:?}");
    }
    // A setup script attacks from inside the virtual environment's installation.
    let evil = ".venv/bin/python -m pip install -q setuptools --no-index 2>/dev/null; \
                PROJECT=$PWD python3 -m pip install -q --no-index --no-build-isolation --target=.venv/out ./evil";
    project.write(
        "evil/setup.py",
        "import os, setuptools\nhere = os.environ['PROJECT']\n\
         os.system(f'{here}/attack.sh > {here}/.venv/attack.log 2>&1')\nsetuptools.setup(name='evil', version='1.0')\n",
    );
    let log = project.directory().join(".venv/attack.log");
    let outcome = run(&["--policy=pip-install"], evil);
    decoy.expect_untouched(&outcome, &log);
    outcome.expect_error("denied: connect 127.0.0.1:");
    let everything = decoy.everything(&[]);
    let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
    run(&everything, evil);
    decoy.expect_owned(&log);
}

#[test]
fn cargo_build() {
    if !has("cargo") {
        return;
    }
    let project = Project::new();
    crate_of(&project);
    project.write(
        "build.rs",
        "fn main() {\n\
         println!(\"cargo:rustc-env=WORD=built\");\n\
         let _ = std::process::Command::new(\"sh\").args([\"-c\", \"./attack.sh > target/attack.log 2>&1\"]).status();\n}\n",
    );
    let decoy = Decoy::new();
    project.write_program("attack.sh", &decoy.attack());
    let outcome = attacked(
        "cargo-build",
        &project,
        &decoy,
        &["cargo", "run", "-q", "--offline"],
    );
    outcome.expect_output("built\n");
    let log = project.directory().join("target/attack.log");
    decoy.expect_untouched(&outcome, &log);
    outcome.expect_error("denied: connect 127.0.0.1:");
    let flags = decoy.everything(&[]);
    let mut twice: Vec<&str> = flags.iter().map(String::as_str).collect();
    twice.extend(["--", "sh", "-c", "touch build.rs; cargo build -q --offline"]);
    keep_tools(exec(&project, &twice))
        .env("HOME", decoy.path())
        .run()
        .expect_success();
    decoy.expect_owned(&log);
}

#[test]
fn git_clone() {
    let project = Project::new();
    repository(&project);
    let info = bare(&project, &["git", "-C", "origin", "update-server-info"]).run();
    info.expect_success();
    let server = Server::start(project.directory(), "127.0.0.1:0");
    let url = server.url("origin/.git");
    let grant = format!("--allow-net={}", server.address);
    let clone = ["--", "git", "clone", "-q", &url, "copy"];
    let mut words = vec!["--policy=git-clone"];
    words.extend(clone);
    let refused = exec(&project, &words).run();
    assert_ne!(refused.code, Some(0));
    assert!(!server.was_asked() && !project.has("copy"));
    words.insert(1, &grant);
    exec(&project, &words).run().expect_success();
    assert_eq!(project.read("copy/file"), "one\n");
    // Another program is not in its list.
    let outcome = exec(&project, &["--policy=git-clone", "--", "sh", "-c", "id"]).run();
    assert_ne!(outcome.code, Some(0));
    exec(
        &project,
        &[
            "--policy=git-clone",
            "--allow-run=id",
            "--",
            "sh",
            "-c",
            "id >/dev/null",
        ],
    )
    .run()
    .expect_success();
    // A filter that the clone's own settings start.
    let decoy = Decoy::new();
    project.write_program("attack.sh", &decoy.attack());
    let hostile = "git -C copy config filter.x.smudge \"bash $PWD/attack.sh > $PWD/attack.log 2>&1; true\"; \
                   echo 'file filter=x' > copy/.git/info/attributes; rm copy/file; git -C copy checkout -q -- file; true";
    // bash, which the attack needs, is not in the list either.
    for (flags, owned) in [
        (
            vec![
                "--policy=git-clone".to_owned(),
                "--allow-run=bash,cat,rm".to_owned(),
                // Protected, since it decides what git runs.
                "--allow-write=copy/.git/config".to_owned(),
            ],
            false,
        ),
        (decoy.everything(&["copy/.git/config"]), true),
    ] {
        let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
        words.extend(["--", "sh", "-c", hostile]);
        let outcome = exec(&project, &words).env("HOME", decoy.path()).run();
        let log = project.directory().join("attack.log");
        match owned {
            false => decoy.expect_untouched(&outcome, &log),
            true => decoy.expect_owned(&log),
        }
    }
}

#[test]
fn ai_client() {
    let project = Project::new().file(
        "agent.ts",
        "console.log(Deno.env.get('OPENAI_API_KEY')); try { console.log(Deno.env.get('AWS_SECRET')) } catch (error) { console.log(error.name) }",
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = format!(
        "echo $OPENAI_API_KEY $AWS_SECRET; exec 3<>/dev/tcp/127.0.0.1/{}",
        address.port()
    );
    let run = |flags: &[&str]| {
        let mut words = vec!["--policy=ai-client"];
        words.extend(flags);
        words.extend(["--", "bash", "-c", &script]);
        exec(&project, &words)
            .env("OPENAI_API_KEY", "key")
            .env("AWS_SECRET", "hidden")
            .run()
    };
    let outcome = run(&[]);
    outcome
        .expect_nowhere("hidden")
        .expect_error("denied: connect 127.0.0.1:");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("key\n", Some(1)));
    let granted = run(&[&format!("--allow-net={address}"), "--allow-env=AWS_SECRET"]);
    granted.expect_output("key hidden\n");
    let agent = project.stockade(&["run", "--policy=ai-client", "agent.ts"]);
    agent
        .env("OPENAI_API_KEY", "key")
        .env("AWS_SECRET", "hidden")
        .run()
        .expect_output("key\nNotCapable\n");
    let why = [
        "explain",
        "exec",
        "--policy=ai-client",
        "--why=net:api.openai.com:443",
        "--",
        "true",
    ];
    let answer = project.stockade(&why).run();
    assert!(answer.stdout.starts_with("allowed"), "{}", answer.stdout);
    let why = [
        "explain",
        "exec",
        "--policy=ai-client",
        "--why=net:elsewhere.test:443",
        "--",
        "true",
    ];
    let answer = project.stockade(&why).run();
    assert!(answer.stdout.starts_with("denied"), "{}", answer.stdout);
}

#[test]
fn untrusted_script() {
    let decoy = Decoy::new();
    for (flags, owned) in [
        (vec!["--policy=untrusted-script".to_owned()], false),
        (decoy.everything(&[]), true),
    ] {
        let project = Project::new();
        project.write_program("attack.sh", &decoy.attack());
        let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
        words.extend(["--", "./attack.sh"]);
        let outcome = exec(&project, &words).env("HOME", decoy.path()).run();
        let log = project.directory().join("attack.log");
        std::fs::write(&log, format!("{}{}", outcome.stdout, outcome.stderr)).unwrap();
        match owned {
            false => decoy.expect_untouched(&outcome, &log),
            true => decoy.expect_owned(&log),
        }
    }
}

#[test]
fn registries_are_named_by_known_words_in_grants() {
    let project = Project::new();
    for (entry, told) in [
        ("{from: npm}", "no registry `npm`"),
        ("{from: npm-registry, host: a.test}", "`host` beside `from`"),
        ("{from: npm-registry, port: 443}", "`port` beside `from`"),
    ] {
        project.write(
            "p.yaml",
            &format!("version: 1\npermissions:\n  net:\n    - {entry}\n"),
        );
        let outcome = exec(&project, &["--policy=./p.yaml", "--", "true"]).run();
        outcome
            .expect_refused()
            .expect_error(told)
            .expect_error("p.yaml:4:");
    }
    project.write(
        "p.yaml",
        "version: 1\npermissions:\n  net:\n    deny:\n      - {from: npm-registry}\n",
    );
    exec(&project, &["--policy=./p.yaml", "--", "true"])
        .run()
        .expect_refused();
    // A tool that is not there cannot be asked.
    let outcome = exec(&project, &["--policy=npm-install", "--", "/bin/true"])
        .env("PATH", "/nonexistent:/bin-of-nobody")
        .run();
    outcome.expect_refused();
}

/// Whether a package client reaches its registry from here.
fn reaches(project: &Project, command: &[&str]) -> bool {
    let outcome = bare(project, command).run();
    if outcome.code != Some(0) {
        eprintln!(
            "skipped: `{}` reaches no registry from here",
            command.join(" ")
        );
    }
    outcome.code == Some(0)
}

#[test]
fn the_real_registries() {
    let project = Project::new();
    if has("npm")
        && reaches(
            &project,
            &["npm", "view", "--fetch-retries=0", "is-number", "version"],
        )
    {
        project.write(
            "package.json",
            "{\"name\":\"app\",\"version\":\"1.0.0\",\"dependencies\":{\"is-number\":\"7.0.0\"}}",
        );
        bare(&project, &["npm", "install", "--package-lock-only"])
            .run()
            .expect_success();
        let ci = ["--policy=npm-install", "--", "npm", "ci"];
        exec(&project, &ci).run().expect_success();
        assert!(project.has("node_modules/is-number/index.js"));
    }
    if has_pip(&project)
        && reaches(
            &project,
            &[
                "python3",
                "-m",
                "pip",
                "download",
                "--retries=0",
                "-q",
                "--no-deps",
                "-d",
                "asked",
                "six",
            ],
        )
    {
        let install = "python3 -m venv .venv && .venv/bin/pip install -q six && .venv/bin/python -c 'import six; print(six.PY3)'";
        // The authorities of the system, which a network of its own may have added to.
        let authorities = "/etc/ssl/certs/ca-certificates.crt";
        let mut words = vec!["--policy=pip-install"];
        if std::path::Path::new(authorities).exists() {
            words.push("--allow-env=PIP_CERT");
        }
        words.extend(["--", "sh", "-c", install]);
        exec(&project, &words)
            .env("PIP_CERT", authorities)
            .run()
            .expect_output("True\n");
    }
    if has("cargo") {
        project.write("Cargo.toml", "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ncfg-if = \"1\"\n[workspace]\n");
        project.write("src/lib.rs", "");
        if reaches(
            &project,
            &["env", "CARGO_NET_RETRY=0", "cargo", "fetch", "-q"],
        ) {
            let build = ["--policy=cargo-build", "--", "cargo", "build", "-q"];
            exec(&project, &build).run().expect_success();
            assert!(project.has("target/debug/liba.rlib"));
        }
    }
}
