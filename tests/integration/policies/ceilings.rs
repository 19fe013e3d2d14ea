// SPDX-License-Identifier: MIT
//! `--ceiling`, and the system-wide one in a mount namespace of the test's own.

use std::os::unix::fs::symlink;

use super::{expect, open};
use crate::egress::dns_server::NameServer;
use crate::egress::servers::Server;
use crate::egress::world::{address, free};
use crate::support::{Outcome, Project, python};
use crate::support_life::{scrub, skip, stockade_path};

fn sample() -> Project {
    Project::new()
        .file("data/in.txt", "in")
        .file("data/secret/key", "key")
        .file("other/out.txt", "out")
        .file("main.ts", "console.log('started')")
        .file(
            "c.yaml",
            "version: 1\npermissions:\n  read: {allow: [./data], deny: [./data/secret]}\n  net: ['*.a.example:443']\n  \
             env: ['WORD*']\n  run: [true]\n"
                .replace("run: [true]", "run: [\"true\"]")
                .as_str(),
        )
        .file("dns.yaml", "version: 1\npermissions: {net: ['a.example:443']}\ndns: [192.0.2.1]\nproxy: http://192.0.2.1:3128\n")
        .file("p.yaml", "version: 1\npermissions:\n  read:\n    - ./other\n  net:\n    - b.example\n")
}

#[test]
fn grants_inside_run_and_its_denials_hold() {
    let project = sample();
    let (inside, secret) = (
        open(&project, "data/in.txt"),
        open(&project, "data/secret/key"),
    );
    let ffi =
        "version: 1\npermissions: {all: true, read: {allow: [./data], deny: [./data/secret]}}\n";
    project.write("ffi.yaml", ffi);
    let all = [&inside, &secret];
    let bounded = project.probe(&["--ceiling=ffi.yaml", "--allow-read=data"], &all);
    let free = project.probe(&["--allow-read=data"], &all);
    let nothing = project.probe(&["--ceiling=ffi.yaml"], &all);
    expect(&bounded, &[(&inside, true), (&secret, false)]);
    expect(&free, &[(&inside, true), (&secret, true)]);
    // A ceiling grants nothing.
    expect(&nothing, &[(&inside, false), (&secret, false)]);
}

#[test]
fn grants_outside_are_errors_that_name_both_lines() {
    let project = sample();
    symlink("../other", project.directory().join("data/link")).unwrap();
    let mut all = String::new();
    for words in [
        &["--allow-read=other"][..],
        &["--allow-read=data/link"],
        &["--allow-read=/proc/self/../../etc"],
        &["--allow-read"],
        &["--allow-read=data/secret"],
        &["--allow-write=data"],
        &["--allow-net=a.example"],
        &["--allow-net=a.example:443", "--verify=a.example:443=none"],
        &["--allow-net=a.example:443", "--allow-private=a.example:443"],
        &["--allow-net=a.example:443", "--dns=192.0.2.1,192.0.2.2:54"],
        &[
            "--allow-net=a.example:443",
            "--upstream-proxy=http://user:s3cret@192.0.2.1:3128",
        ],
        &["--policy=dns.yaml"],
        &["--allow-env=WORDS", "--allow-env=OTHER"],
        &["--allow-run=sh"],
        &["--allow-all"],
        &["--policy=p.yaml"],
        &["--best-effort"],
        &["--ceiling=gone.yaml"],
    ] {
        let mut line = vec!["run", "--ceiling=c.yaml"];
        line.extend(words);
        line.push("main.ts");
        let outcome = project.stockade(&line).run();
        outcome.expect_refused();
        all.push_str(&format!(
            "$ {}\n{}\n",
            words.join(" "),
            scrub(&project, &outcome.stderr)
        ));
        // The twin: without the ceiling the same line starts.
        if words != ["--ceiling=gone.yaml"] {
            line.remove(1);
            project.stockade(&line).run().expect_output("started\n");
        }
    }
    insta::assert_snapshot!(all);
    for words in [
        &["--allow-read=data,data/in.txt"][..],
        &["--allow-net=a.example:443,x.a.example:443"],
        &["--allow-env=WORD,WORDS"],
        &["--allow-run=true"],
    ] {
        let mut line = vec!["run", "--ceiling=c.yaml"];
        line.extend(words);
        line.push("main.ts");
        project.stockade(&line).run().expect_output("started\n");
    }
    let serve = project
        .stockade(&["explain", "--ceiling=c.yaml", "serve", "main.ts"])
        .run();
    serve.expect_refused();
    serve.expect_error("a listener on `0.0.0.0:8000`");
}

/// A resolver of the caller's makes a granted name any address, and a proxy is a peer itself.
#[test]
fn who_says_where_names_lead_is_bounded() {
    let server = Server::banner(free(), "hello");
    let names = NameServer::start(address());
    names.set("api.example", &[server.ip()]);
    let proxy = Server::counter(free());
    let (port, name_server) = (server.port(), names.address());
    let net = format!("net: [{{host: api.example, port: {port}, private: true}}]");
    let top = format!("version: 1\npermissions: {{read: [.], run: true, {net}}}\n");
    let project = Project::new()
        .file("c.yaml", &top)
        .file(
            "named.yaml",
            &format!("{top}dns: [\"{name_server}\"]\nproxy: http://{}\n", proxy.address()),
        )
        .file(
            "whole.yaml",
            "version: 1\npermissions: {read: [.], run: true, net: true}\n",
        )
        .file(
            "denies.yaml",
            "version: 1\npermissions: {read: [.], run: true, net: {allow: true, deny: [b.example]}}\n",
        )
        .file(
            "client.py",
            "import socket, sys\nprint(socket.create_connection(('api.example', int(sys.argv[1])), 10).recv(100).decode().strip())\n",
        );
    let (net, private) = (
        format!("--allow-net=api.example:{port}"),
        format!("--allow-private=api.example:{port}"),
    );
    let run = |ceiling: &str, setting: &str| {
        let ceiling = format!("--ceiling={ceiling}");
        let port = port.to_string();
        let words = [
            "exec",
            &ceiling,
            &net,
            &private,
            setting,
            "--",
            python().to_str().unwrap(),
            "client.py",
            &port,
        ];
        project.stockade(&words).run()
    };
    let dns = format!("--dns={name_server}");
    let through = format!("--upstream-proxy=http://u:s3cret@{}", proxy.address());
    for ceiling in ["c.yaml", "denies.yaml"] {
        let refused = run(ceiling, &dns);
        refused
            .expect_refused()
            .expect_error(&format!("`{dns}` grants lookups by `{name_server}`"));
        let refused = run(ceiling, &through);
        refused
            .expect_refused()
            .expect_error(&format!("connections through `http://{}`", proxy.address()))
            .expect_nowhere("s3cret");
    }
    assert_eq!((server.hits(), names.packets(), proxy.hits()), (0, 0, 0));
    for (count, ceiling) in ["named.yaml", "whole.yaml"].into_iter().enumerate() {
        run(ceiling, &dns).expect_output("220 hello ESMTP\n");
        // What it says does not matter: it was asked.
        run(ceiling, &through);
        assert_eq!(server.hits(), count + 1);
        assert!(proxy.hits() > count, "{ceiling}");
    }
    // Another one than the ceiling names is outside, by the ceiling's own line.
    run("named.yaml", "--dns=192.0.2.1")
        .expect_refused()
        .expect_error("`named.yaml:3:7`");
}

#[test]
fn what_a_command_gets_by_itself_is_bounded_too() {
    let project = sample();
    let refused = project
        .stockade(&["exec", "--ceiling=c.yaml", "--", "true"])
        .run();
    refused.expect_refused();
    refused.expect_error("`exec` grants all of `run`");
    project.write(
        "wide.yaml",
        "version: 1\npermissions: {read: [.], run: [\"true\"]}\n",
    );
    let cat = |policy: &str| {
        let ceiling = format!("--ceiling={policy}");
        let words = [
            "exec",
            &ceiling,
            "--allow-run=cat",
            "--",
            "cat",
            "data/in.txt",
        ];
        project.stockade(&words).run()
    };
    cat("wide.yaml").expect_refused();
    project.write(
        "cat.yaml",
        "version: 1\npermissions: {read: [.], run: [cat]}\n",
    );
    cat("cat.yaml").expect_output("in");
    // The working directory is no grant anybody asked for: outside it is left out, and told.
    project.write(
        "narrow.yaml",
        "version: 1\npermissions: {read: [./other], run: [cat]}\n",
    );
    let outcome = cat("narrow.yaml");
    outcome.expect_code(1);
    outcome.expect_error("it is left out");
}

/// Runs Stockade where `/etc/stockade/ceiling.yaml` says `text`; none where such a place cannot be
/// made.
fn with_system_ceiling(
    project: &Project,
    text: &str,
    mode: &str,
    words: &[&str],
) -> Option<Outcome> {
    let script = "set -e; top=$1; mode=$2; text=$3; shift 3
        mount -t tmpfs none \"$top\"
        mkdir -p \"$top/upper/stockade\" \"$top/work\"
        printf %s \"$text\" > \"$top/upper/stockade/ceiling.yaml\"
        chmod \"$mode\" \"$top/upper/stockade/ceiling.yaml\"
        mount -t overlay overlay -o lowerdir=/etc,upperdir=\"$top/upper\",workdir=\"$top/work\" /etc || exit 99
        exec \"$@\"";
    project.write("system/.keep", "");
    let top = project.path("system");
    let mut all = vec![
        "-rm",
        "sh",
        "-c",
        script,
        "sh",
        &top,
        mode,
        text,
        stockade_path(),
    ];
    all.extend(words);
    let outcome = project.launch(std::path::Path::new("unshare"), &all).run();
    if outcome.code == Some(99)
        || outcome.stderr.starts_with("unshare:")
        || outcome.stderr.starts_with("mount:")
    {
        skip(&format!("no mount namespace here: {}", outcome.stderr));
        return None;
    }
    Some(outcome)
}

#[test]
fn the_system_wide_ceiling_bounds_every_run() {
    let project = sample();
    let text = format!(
        "version: 1\npermissions: {{read: [{}]}}\nlimits: {{timeout: 1h}}\n",
        project.path("data")
    );
    let run = |mode: &str, words: &[&str]| with_system_ceiling(&project, &text, mode, words);
    let Some(inside) = run("644", &["run", "--allow-read=data", "main.ts"]) else {
        return;
    };
    inside.expect_output("started\n");
    for words in [
        &["run", "--allow-read=other", "main.ts"][..],
        &["run", "--policy=p.yaml", "main.ts"],
        &["run", "-A", "main.ts"],
        &["run", "--timeout=2h", "main.ts"],
        &["eval", "--allow-env", "1"],
        &["exec", "--", "true"],
        &["explain", "--allow-read=other", "main.ts"],
    ] {
        let outcome = run("644", words).unwrap();
        outcome.expect_refused();
        outcome.expect_error("/etc/stockade/ceiling.yaml:");
        if words[0] == "run" && words[1] != "-A" {
            project.stockade(words).run().expect_output("started\n");
        }
    }
    // Nothing the caller sets makes it another one.
    let moved = format!("--ceiling={}", project.path("wide.yaml"));
    project.write("wide.yaml", "version: 1\npermissions: {all: true}\n");
    run("644", &["run", &moved, "--allow-read=other", "main.ts"])
        .unwrap()
        .expect_refused();
    // One that others can write is none, and nothing runs.
    let unguarded = run("666", &["run", "--allow-read=data", "main.ts"]).unwrap();
    unguarded.expect_refused();
    unguarded.expect_error("only the superuser can write");
    let empty = with_system_ceiling(&project, "", "644", &["run", "main.ts"]).unwrap();
    empty.expect_refused();
}
