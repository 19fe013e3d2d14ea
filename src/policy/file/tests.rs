// SPDX-License-Identifier: MIT
//! Both formats, as values and as messages.

use std::path::{Path, PathBuf};

use super::deno_json::{Configuration, Section, SectionSet};
use super::*;
use crate::policy::compose::union;
use crate::policy::flags::{PermissionFlag, parse_flags};
use crate::policy::{PathDescriptor, Rules};

fn source(name: &str, text: &str) -> Source {
    Source::new(Path::new(name), Path::new("/w/etc"), text.to_owned())
}

fn variables() -> Variables {
    Variables::default()
        .with("HOME", "/home/a")
        .with("PROJECT", "/w")
        .without("CACHE", "neither is set")
}

fn read(text: &str) -> PolicyFile {
    let source = source("p.yaml", text);
    let (file, problems) = document::read(&source, &variables());
    assert!(problems.is_empty(), "{}", Problems::new(source, problems));
    file
}

fn policy(block: &str) -> Policy {
    read(&format!("version: 1\npermissions: {block}\n"))
        .granted
        .policy
}

/// The same policy without where it was written.
fn unplaced(mut policy: Policy) -> Policy {
    let nowhere = || Origin::flag("x", None);
    macro_rules! unplace {
        ($($kind:ident)*) => {
            $(for rules in [
                &mut policy.$kind.allow,
                &mut policy.$kind.deny,
                &mut policy.$kind.ignore,
            ] {
                rules.all = rules.all.take().map(|_| nowhere());
                for entry in &mut rules.entries {
                    entry.origin = nowhere();
                }
            })*
        };
    }
    unplace!(read write ffi net env run sys import);
    policy.all = policy.all.map(|_| nowhere());
    policy
}

fn flags(line: &str) -> Policy {
    let flags = line.split_whitespace().map(|flag| {
        let (flag, value) = flag
            .split_once('=')
            .map_or((flag, None), |(flag, value)| (flag, Some(value)));
        PermissionFlag { flag, value }
    });
    unplaced(parse_flags(flags).unwrap())
}

#[test]
fn blocks_mean_what_flags_mean() {
    for (block, line) in [
        ("{}", ""),
        ("{read: true}", "--allow-read"),
        ("{read: false, write: []}", ""),
        ("{read: [/a, /b/]}", "--allow-read=/a,/b/"),
        (
            "{read: {allow: [/a], deny: [/a/b], ignore: [/c]}}",
            "--allow-read=/a --deny-read=/a/b --ignore-read=/c",
        ),
        ("{write: {deny: true}}", "--deny-write"),
        (
            "{net: [example.com, 'a.b:443', ':80', \"[::1]:1\"]}",
            "--allow-net=example.com,a.b:443,:80,[::1]:1",
        ),
        (
            "{net: [{host: Example.COM, port: 443}, {host: 10.0.0.1}], import: [{host: a.b, port: 1}]}",
            "--allow-net=example.com:443,10.0.0.1 --allow-import=a.b:1",
        ),
        (
            "{env: [A, 'B*', {name: C, reason: needed}], sys: [uid], ffi: [/l.so]}",
            "--allow-env=A,B*,C --allow-sys=uid --allow-ffi=/l.so",
        ),
        (
            "{run: [git, /bin/sh, {program: make}]}",
            "--allow-run=git,/bin/sh,make",
        ),
        (
            "{all: true, net: {deny: [a.b]}}",
            "--allow-all --deny-net=a.b",
        ),
        (
            "{all: true, net: [a.b], env: false, run: []}",
            "--allow-read --allow-write --allow-net=a.b --allow-sys --allow-ffi --allow-import",
        ),
    ] {
        let mut expected = flags(line);
        // Texts of hosts are normal forms in files, and as typed in flags.
        for entry in &mut expected.net.allow.entries {
            entry.text = entry.descriptor.to_string();
        }
        assert_eq!(unplaced(policy(block)), expected, "{block}");
    }
}

fn paths(rules: &Rules<PathDescriptor>) -> Vec<(&str, &str)> {
    rules
        .entries
        .iter()
        .map(|entry| {
            let within = entry.descriptor.within.as_deref();
            (
                entry.text.as_str(),
                within.map_or("", |within| within.to_str().unwrap()),
            )
        })
        .collect()
}

#[test]
fn relative_paths_start_at_the_file_and_remember_it() {
    let granted =
        policy("{read: [./a, b/../c, ../d, ../../../e, /f/../g, '${HOME}/h', '$${HOME}']}");
    assert_eq!(
        paths(&granted.read.allow),
        [
            ("/w/etc/a", "/w/etc"),
            ("/w/etc/c", "/w/etc"),
            ("/w/d", "/w"),
            ("/e", "/"),
            ("/f/../g", ""),
            ("/home/a/h", ""),
            ("/w/etc/${HOME}", "/w/etc"),
        ]
    );
    let optional = policy("{write: [{path: a/, optional: true}, b]}")
        .write
        .allow;
    let flags: Vec<_> = optional
        .entries
        .iter()
        .map(|entry| (entry.descriptor.optional, entry.descriptor.trailing_slash))
        .collect();
    assert_eq!(flags, [(true, true), (false, false)]);
    let run = policy("{run: [./tool, git]}").run.allow;
    assert_eq!(run.entries[0].text, "/w/etc/tool");
    assert_eq!(run.entries[1].text, "git");
}

#[test]
fn entries_name_their_line_and_their_reason() {
    let file = read(
        "version: 1\npermissions:\n  net:\n    - a.b\n    - {host: 'ü.example'.x, reason: r}\n"
            .replace("'ü.example'.x", "c.d")
            .as_str(),
    );
    let allow = file.granted.policy.net.allow;
    assert_eq!(allow.entries[0].origin.to_string(), "p.yaml:4:7");
    assert_eq!(allow.entries[1].origin.to_string(), "p.yaml:5:14");
    let Origin::File { reason, .. } = &allow.entries[1].origin else {
        panic!()
    };
    assert_eq!(reason.as_deref(), Some("r"));
    assert_eq!(
        read("version: 1\npermissions: {read: true}")
            .granted
            .policy
            .read
            .allow
            .all,
        Some(Origin::File {
            path: "p.yaml".into(),
            line: 2,
            column: 21,
            reason: None
        })
    );
}

#[test]
fn names_carry_checks_and_private_addresses() {
    let granted = read(
        "version: 1\npermissions: {net: [{host: a.b, port: 5432, private: true}, {host: '*.c', verify: none}, \
         {host: d.e, verify: sni, private: false}]}",
    )
    .granted;
    let private: Vec<_> = granted
        .private
        .iter()
        .map(|entry| entry.text.as_str())
        .collect();
    assert_eq!(private, ["a.b:5432"]);
    let verify: Vec<_> = granted
        .verify
        .iter()
        .map(|checked| (checked.peer.to_string(), checked.server_name))
        .collect();
    assert_eq!(
        verify,
        [("*.c".to_owned(), false), ("d.e".to_owned(), true)]
    );
    assert_eq!(granted.policy.net.allow.entries.len(), 3);
}

#[test]
fn settings_keep_their_lines() {
    let file = read(
        "version: 1\nname: demo\ndescription: d\nextends: [base, ./b.yaml]\nvariables: {DATA: '${HOME}/d', SUB: '${DATA}/s'}\n\
         permissions: {read: ['${SUB}']}\nprotect: [.git/hooks]\nlimits: {timeout: 30, memory: 1G}\n\
         dns: 192.0.2.1\nproxy: http://a:1\naudit: ./a.jsonl\nrunner: '${HOME}/deno'\n",
    );
    assert_eq!(file.name.as_deref(), Some("demo"));
    let values = |list: &[Setting<String>]| -> Vec<String> {
        list.iter()
            .map(|setting| format!("{} {}", setting.origin, setting.value))
            .collect()
    };
    assert_eq!(
        values(&file.extends),
        ["p.yaml:4:11 base", "p.yaml:4:17 ./b.yaml"]
    );
    assert_eq!(
        file.granted.policy.read.allow.entries[0].text,
        "/home/a/d/s"
    );
    assert_eq!(values(&file.protect), ["p.yaml:7:11 /w/etc/.git/hooks"]);
    let limits: Vec<_> = file
        .limits
        .iter()
        .map(|limit| format!("{} {} {}", limit.kind.name(), limit.value, limit.origin))
        .collect();
    assert_eq!(limits, ["memory 1073741824 p.yaml:8:31"]);
    let timeout = file.timeout.unwrap();
    assert_eq!(
        (timeout.after.as_secs(), timeout.origin.to_string().as_str()),
        (30, "p.yaml:8:19")
    );
    assert_eq!(values(&file.dns), ["p.yaml:9:6 192.0.2.1"]);
    assert_eq!(file.proxy.unwrap().value, "http://a:1");
    assert_eq!(file.audit.unwrap().value, "/w/etc/a.jsonl");
    assert_eq!(file.runner.unwrap().value, "/home/a/deno");
}

/// Every file of `tests/data/policies/invalid` with the messages it leads to.
#[test]
fn invalid_files_are_told_in_full() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policies/invalid");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let source = source(name, &text);
        let (_, problems) = document::read(&source, &variables());
        assert!(!problems.is_empty(), "{name} is accepted");
        let messages = Problems::new(source, problems).to_string();
        insta::with_settings!({snapshot_path => &directory, prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name.trim_end_matches(".yaml"), messages);
        });
    }
}

fn configuration(text: &str) -> Configuration {
    Configuration::parse(source("deno.json", text)).unwrap()
}

#[test]
fn sets_of_deno_json() {
    let file = configuration(
        r#"{ // the sets
          "permissions": {
            "default": { "read": ["./data"], "env": {"allow": ["A"], "ignore": true} },
            "wide": { "all": true, "net": ["a.b"], "write": {"deny": ["x"]}, "run": false },
          },
          "test": { "permissions": "wide" },
          "bench": { "permissions": { "sys": true } },
        }"#,
    );
    assert_eq!(file.names(), ["default", "wide"]);
    let granted = file.set("default").unwrap().unwrap().policy;
    assert_eq!(paths(&granted.read.allow), [("/w/etc/data", "/w/etc")]);
    assert_eq!(
        granted.read.allow.entries[0].origin.to_string(),
        "deno.json#/permissions/default/read/0"
    );
    assert_eq!(
        granted.env.allow.entries[0].origin.to_string(),
        "deno.json#/permissions/default/env/allow/0"
    );
    assert_eq!(
        granted.env.ignore.all.unwrap().to_string(),
        "deno.json#/permissions/default/env/ignore"
    );
    let wide = unplaced(file.set("wide").unwrap().unwrap().policy);
    let mut expected = flags(
        "--allow-read --allow-write --deny-write=/w/etc/x --allow-net=a.b --allow-env --allow-sys --allow-ffi --allow-import",
    );
    expected.write.deny.entries[0].descriptor.within = Some("/w/etc".into());
    assert_eq!(wide, expected);
    assert_eq!(file.set("none").unwrap(), None);
    assert_eq!(
        file.section(Section::Test).unwrap(),
        Some(SectionSet::Named("wide".to_owned()))
    );
    let Some(SectionSet::Inline(bench)) = file.section(Section::Bench).unwrap() else {
        panic!()
    };
    assert_eq!(
        bench.policy.sys.allow.all.unwrap().to_string(),
        "deno.json#/bench/permissions/sys"
    );
    assert_eq!(file.section(Section::Compile).unwrap(), None);
    assert!(configuration("").names().is_empty());
}

#[test]
fn wrong_sets_are_told_in_full() {
    let text = r#"{"permissions": {"a": {
  "raed": [], "read": "x", "net": [":80", {"host": "x"}, 1],
  "env": {"allow": ["A="], "ignroe": []}, "run": {"ignore": true}, "all": 1
}}}"#;
    let problems = configuration(text).set("a").unwrap_err();
    insta::assert_snapshot!(problems.to_string());
    assert!(Configuration::parse(source("deno.json", "[]")).is_err());
    assert!(Configuration::parse(source("deno.json", "{\"a\": }")).is_err());
    assert!(configuration(r#"{"permissions": []}"#).set("a").is_err());
    assert!(
        configuration(r#"{"permissions": {"a": {}, "a": {"all": true}}}"#)
            .set("a")
            .is_err()
    );
}

#[test]
fn layers_of_both_formats_add_up() {
    let yaml = policy("{read: [/a], net: {deny: [x.y]}}");
    let set = configuration(r#"{"permissions": {"s": {"read": ["/b"], "net": true}}}"#);
    let sum = union([yaml, set.set("s").unwrap().unwrap().policy]);
    assert_eq!(
        unplaced(sum),
        flags("--allow-read=/a,/b --allow-net --deny-net=x.y")
    );
}

#[test]
fn positions_count_characters() {
    let source = source("x", "aü\n\u{1f600}b\r\nlast");
    assert_eq!(source.position(0), (1, 1));
    assert_eq!(source.position(3), (1, 3));
    assert_eq!(source.position(4), (2, 1));
    assert_eq!(source.position(8), (2, 2));
    assert_eq!(source.position(999), (3, 1));
    assert_eq!(source.line(2), "\u{1f600}b");
    assert_eq!(source.line(3), "last");
    assert_eq!(source.line(4), "");
}
