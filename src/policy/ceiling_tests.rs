// SPDX-License-Identifier: MIT
//! What is inside a ceiling, case by case, and that being inside means what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::compose::{env_verdict, import_verdict, net_verdict, sys_verdict, union};
use crate::policy::file::{Source, Variables, document};
use crate::policy::flags::{PermissionFlag, parse_flags};
use crate::policy::grammar::{lexical, parse_net};
use crate::policy::limits::LimitKind;

/// A machine of links: each path leads where the map says, programs lie in directories.
#[derive(Default)]
struct Links(BTreeMap<&'static str, &'static str>);

impl Places for Links {
    fn path(&self, path: &Path) -> PathBuf {
        let path = lexical(Path::new("/w"), path);
        for above in path.ancestors() {
            if let Some(target) = self.0.get(above.to_str().unwrap()) {
                return Path::new(target).join(path.strip_prefix(above).unwrap());
            }
        }
        path
    }

    fn program(&self, program: &RunDescriptor) -> Option<PathBuf> {
        match program {
            RunDescriptor::Path(path) => Some(self.path(path)),
            RunDescriptor::Name(name) if name == "gone" => None,
            RunDescriptor::Name(name) if name == "shimmed" => {
                Some(format!("/home/a/bin/{name}").into())
            }
            RunDescriptor::Name(name) => Some(format!("/usr/bin/{name}").into()),
        }
    }

    fn system_program(&self, program: &RunDescriptor) -> Option<PathBuf> {
        match program {
            RunDescriptor::Path(path) => Some(self.path(path)),
            RunDescriptor::Name(name) => Some(format!("/usr/bin/{name}").into()),
        }
    }
}

fn flags(line: &str) -> Policy {
    parse_flags(line.split_whitespace().map(|flag| {
        let (flag, value) = flag
            .split_once('=')
            .map_or((flag, None), |(flag, value)| (flag, Some(value)));
        PermissionFlag { flag, value }
    }))
    .unwrap()
}

fn ceiling(text: &str) -> Ceiling {
    let source = Source::new(
        Path::new("c.yaml"),
        Path::new("/w"),
        format!("version: 1\n{text}\n"),
    );
    let (file, problems) = document::read(&source, &Variables::default());
    assert!(problems.is_empty(), "{problems:?}");
    Ceiling {
        granted: file.granted,
        name_servers: Vec::new(),
        proxies: Vec::new(),
        limits: file.limits,
        timeout: file.timeout,
        origin: source.origin(Default::default(), None),
    }
}

fn found(text: &str, line: &str, links: &Links) -> Vec<String> {
    let policy = flags(line);
    let asked = Asked {
        policy: &policy,
        private: &[],
        verify: &[],
        name_servers: &[],
        proxy: None,
        listener: None,
        limits: &Limits::none(),
        timeout: None,
    };
    outside(&ceiling(text), &asked, links)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn grants_inside() {
    for (permissions, line) in [
        ("{}", ""),
        ("{}", "--deny-read --deny-net=a.b --ignore-env=A"),
        ("{read: true}", "--allow-read"),
        ("{read: true}", "--allow-read=/etc,./x"),
        ("{read: [/]}", "--allow-read --allow-read=/etc"),
        ("{read: [/a]}", "--allow-read=/a,/a/b,/a/c/../d"),
        ("{read: [/proc/cpuinfo, /]}", "--allow-read=/proc/cpuinfo"),
        (
            "{write: [./out], read: [.]}",
            "--allow-write=out/x --allow-read=.",
        ),
        ("{net: true}", "--allow-net --allow-net=a.b"),
        ("{net: ['*.a.b']}", "--allow-net=a.b,x.a.b:443,*.x.a.b"),
        ("{net: ['a.b:443', 'a.b:80']}", "--allow-net=a.b:443,a.b:80"),
        (
            "{net: ['10.0.0.0/8']}",
            "--allow-net=10.1.2.3:80,10.1.0.0/16",
        ),
        (
            "{net: ['10.0.0.0/9', '10.128.0.0/9:80', '10.128.0.0/10']}",
            "--allow-net=10.0.0.0/9,10.0.0.0/8:80",
        ),
        ("{net: [':80']}", "--allow-net=:80,localhost:80"),
        (
            "{net: ['localhost', '127.0.0.1', '0.0.0.0']}",
            "--allow-net=:80",
        ),
        (
            "{env: ['A*', LD_PRELOAD]}",
            "--allow-env=A,AB,AB*,LD_PRELOAD",
        ),
        ("{env: ['*']}", "--allow-env --allow-env=X"),
        ("{env: true}", "--allow-env=X*"),
        ("{sys: [uid, gid]}", "--allow-sys=uid"),
        ("{run: [git]}", "--allow-run=git,/usr/bin/git,gone"),
        ("{run: [/usr/bin/]}", "--allow-run=git,make"),
        ("{run: true}", "--allow-run"),
        ("{import: [a.b]}", "--allow-import=a.b:443"),
        ("{all: true}", "--allow-all"),
        (
            "{all: true}",
            "--allow-read=/proc --allow-net --allow-run=x --allow-env=A --allow-sys",
        ),
        ("{read: {allow: [/a], deny: [/a/b]}}", "--allow-read=/a"),
    ] {
        let text = format!("permissions: {permissions}");
        let none: Vec<String> = Vec::new();
        assert_eq!(
            found(&text, line, &Links::default()),
            none,
            "{permissions} {line}"
        );
    }
}

#[test]
fn grants_outside_name_both_lines() {
    let links = Links(BTreeMap::from([
        ("/w/away", "/etc"),
        ("/w/real", "/srv/real"),
    ]));
    for (permissions, line, expected) in [
        (
            "{}",
            "--allow-read=/etc",
            "`--allow-read=/etc` grants read of `/etc`, which is outside the ceiling: `c.yaml:2:14`",
        ),
        (
            "{read: [/etc/ssl]}",
            "--allow-read=/etc",
            "`--allow-read=/etc` grants read of `/etc`, which is outside the ceiling: `c.yaml:2:22`",
        ),
        (
            "{read: [/etc]}",
            "--allow-read=/etcetera",
            "`--allow-read=/etcetera` grants read of `/etcetera`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{read: [/w]}",
            "--allow-read=away/x",
            "`--allow-read=away/x` grants read of `/etc/x`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{read: [/etc]}",
            "--allow-read",
            "`--allow-read` grants all of `read`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{read: true}",
            "--allow-read=/proc/1",
            "`--allow-read=/proc/1` grants read of `/proc/1`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{read: {allow: [/a], deny: [/a/b]}}",
            "--allow-read=/a/b/c",
            "`--allow-read=/a/b/c` grants read of `/a/b/c`, which the ceiling denies: `c.yaml:2:42`",
        ),
        (
            "{read: true}",
            "--allow-write=/a",
            "`--allow-write=/a` grants write of `/a`, which is outside the ceiling: `c.yaml:2:14`",
        ),
        (
            "{net: ['a.b:443']}",
            "--allow-net=a.b",
            "`--allow-net=a.b` grants `a.b` of `net`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{net: [a.b]}",
            "--allow-net=*.a.b",
            "`--allow-net=*.a.b` grants `*.a.b` of `net`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{net: ['*.a.b']}",
            "--allow-net=xa.b",
            "`--allow-net=xa.b` grants `xa.b` of `net`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{net: ['10.0.0.0/9', '10.128.0.0/10']}",
            "--allow-net=10.0.0.0/8",
            "`--allow-net=10.0.0.0/8` grants `10.0.0.0/8` of `net`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{net: ['10.0.0.0/8']}",
            "--allow-net=db.internal",
            "`--allow-net=db.internal` grants `db.internal` of `net`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{net: [localhost]}",
            "--allow-net=:80",
            "`--allow-net=:80` grants `:80` of `net`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{net: {allow: true, deny: ['*.evil']}}",
            "--allow-net=x.evil:1",
            "`--allow-net=x.evil:1` grants `x.evil:1` of `net`, which the ceiling denies: `c.yaml:2:41`",
        ),
        (
            "{net: [a.b]}",
            "--allow-net",
            "`--allow-net` grants all of `net`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{env: ['A*']}",
            "--allow-env=*",
            "`--allow-env=*` grants `*` of `env`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{env: true}",
            "--allow-env=LD_PRELOAD",
            "`--allow-env=LD_PRELOAD` grants `LD_PRELOAD` of `env`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{run: [shimmed]}",
            "--allow-run=shimmed",
            "`--allow-run=shimmed` grants run of `/home/a/bin/shimmed`, which is outside the ceiling: `c.yaml:2:21`",
        ),
        (
            "{run: {allow: true, deny: [sh]}}",
            "--allow-run=/usr/bin/sh",
            "`--allow-run=/usr/bin/sh` grants run of `/usr/bin/sh`, which the ceiling denies: `c.yaml:2:41`",
        ),
        (
            "{read: {allow: true, ignore: [/a]}}",
            "--allow-read=/a/b",
            "`--allow-read=/a/b` grants read of `/a/b`, which the ceiling denies: `c.yaml:2:44`",
        ),
        (
            "{env: {allow: true, ignore: ['A*']}}",
            "--allow-env=AB",
            "`--allow-env=AB` grants `AB` of `env`, which the ceiling denies: `c.yaml:2:43`",
        ),
        (
            "{sys: [uid]}",
            "--allow-sys",
            "`--allow-sys` grants all of `sys`, which is outside the ceiling: `c.yaml:2:15`",
        ),
        (
            "{read: true, write: true, net: true, env: true, run: true, sys: true, ffi: true, import: true}",
            "--allow-all",
            "`--allow-all` grants everything, which is outside the ceiling: `c.yaml:2:14`",
        ),
    ] {
        let text = format!("permissions: {permissions}");
        assert_eq!(
            found(&text, line, &links),
            [expected],
            "{permissions} {line}"
        );
    }
    assert_eq!(
        found("name: empty", "--allow-sys", &links),
        ["`--allow-sys` grants all of `sys`, which is outside the ceiling: `c.yaml:1:1`"]
    );
    // The link's target is inside when the ceiling names it.
    assert!(found("permissions: {read: [/srv]}", "--allow-read=real/x", &links).is_empty());
    assert_eq!(
        found("permissions: {}", "--allow-read=/a,/b --allow-net", &links).len(),
        3,
        "all of them are told"
    );
}

#[test]
fn checks_private_addresses_listeners_and_limits_are_bounded() {
    let text = "permissions: {net: [{host: a.b, private: true, verify: none}, 'c.d:443', '127.0.0.1:80']}\n\
                limits: {memory: 1g, timeout: 10s}";
    let mut limits = Limits::none();
    let mut limit = |value| {
        limits.add(crate::policy::limits::Limit {
            kind: LimitKind::Memory,
            value,
            origin: Origin::flag("--memory", None),
        });
    };
    limit(2 << 30);
    let policy = Policy::default();
    let entry = |name: &str| Entry {
        descriptor: parse_net(name).unwrap(),
        text: name.to_owned(),
        origin: Origin::flag("--allow-private", Some(name)),
    };
    let check = |name: &str, server_name| Checked {
        peer: parse_net(name).unwrap(),
        server_name,
        origin: Origin::flag("--verify", Some(name)),
    };
    let origin = Origin::flag("serve --port", Some("81"));
    let judged = |private: &[Entry<NetDescriptor>], verify: &[Checked], listener: &str, seconds| {
        let timeout = Timeout {
            after: Duration::from_secs(seconds),
            origin: Origin::flag("--timeout", None),
        };
        let asked = Asked {
            policy: &policy,
            private,
            verify,
            name_servers: &[],
            proxy: None,
            listener: Some((parse_net(listener).unwrap(), &origin)),
            limits: &limits,
            timeout: Some(&timeout),
        };
        outside(&ceiling(text), &asked, &Links::default())
            .iter()
            .map(|one| one.grant.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        judged(
            &[entry("a.b:1")],
            &[check("a.b", false), check("x.y", true)],
            "127.0.0.1:80",
            10
        ),
        ["--memory"]
    );
    assert_eq!(
        judged(
            &[entry("c.d")],
            &[check("c.d:443", false)],
            "0.0.0.0:80",
            11
        ),
        [
            "--allow-private=c.d",
            "--verify=c.d:443",
            "serve --port=81",
            "--memory",
            "--timeout"
        ]
    );
}

/// Flags of kinds that need no machine, and paths.
fn grants() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        "--(allow|deny|ignore)-env(=(A|B)(A|B)?\\*?)?",
        "--(allow|deny)-sys(=(uid|gid))?",
        "--(allow|deny)-(net|import)(=(\\*\\.)?(x\\.)?(a|b)\\.c(:(1|2))?)?",
        "--(allow|deny)-(net|import)=10\\.(0|64|128)\\.0\\.0/(8|9|10)(:(1|2))?",
        "--(allow|deny)-net=((127\\.0\\.0\\.1|0\\.0\\.0\\.0|localhost)(:(1|2))?|:(1|2))",
        "--(allow|deny)-(read|write)(=/(a|b)(/(a|b))?)?",
    ];
    prop::collection::vec(words, 0..6).prop_map(|words| words.join(" "))
}

/// What may be asked of a policy; the answer is whether it is granted.
fn answers(policy: &Policy) -> Vec<(String, bool)> {
    let mut answers = Vec::new();
    for name in ["A", "B", "AA", "AB", "BA", "BB", "C", "ABA"] {
        let granted = env_verdict(policy, name).allowed().is_some();
        answers.push((format!("env {name}"), granted));
    }
    for kind in ["uid", "gid", "hostname"] {
        answers.push((
            format!("sys {kind}"),
            sys_verdict(policy, kind).allowed().is_some(),
        ));
    }
    for host in [
        "a.c",
        "b.c",
        "x.a.c",
        "y.x.a.c",
        "x.b.c",
        "d.c",
        "10.0.0.1",
        "10.65.0.1",
        "10.129.0.1",
        "10.193.0.1",
        "11.0.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "localhost",
    ] {
        for port in [1, 2, 3] {
            let asked = parse_net(&format!("{host}:{port}")).unwrap();
            let net = net_verdict(policy, &asked).allowed().is_some();
            let import = import_verdict(policy, &asked).allowed().is_some();
            answers.push((format!("net {host}:{port}"), net));
            answers.push((format!("import {host}:{port}"), import));
        }
    }
    for path in ["/a", "/b", "/a/a", "/a/b/c", "/ab", "/"] {
        for (kind, permission) in [("read", &policy.read), ("write", &policy.write)] {
            let covers = |rule: &PathDescriptor| Path::new(path).starts_with(&rule.path);
            let found = crate::policy::compose::verdict(policy.all.as_ref(), permission, covers);
            answers.push((format!("{kind} {path}"), found.allowed().is_some()));
        }
    }
    answers
}

/// The ceiling that grants exactly what these flags grant.
fn ceiling_of(policy: Policy) -> Ceiling {
    Ceiling {
        granted: Granted {
            policy,
            ..Granted::default()
        },
        name_servers: Vec::new(),
        proxies: Vec::new(),
        limits: Limits::none(),
        timeout: None,
        origin: Origin::flag("c", None),
    }
}

fn is_inside(ceiling: &Ceiling, policy: &Policy) -> bool {
    let asked = Asked {
        policy,
        private: &[],
        verify: &[],
        name_servers: &[],
        proxy: None,
        listener: None,
        limits: &Limits::none(),
        timeout: None,
    };
    outside(ceiling, &asked, &Links::default()).is_empty()
}

/// Who says where names lead is asked for: all of the network, or the very same in the ceiling.
#[test]
fn name_servers_and_proxies_inside() {
    let chosen = |value: &str, flag: &str| Chosen {
        value: value.to_owned(),
        origin: Origin::flag(flag, Some(value)),
    };
    let server = |value: &str| Chosen {
        value: value.parse().unwrap(),
        origin: Origin::flag("--dns", Some(value)),
    };
    for (top, named, inside) in [
        ("--allow-net=a.b:1", false, false),
        ("--allow-net=192.0.2.1:53,p:1", false, false),
        ("", false, false),
        ("--allow-net=a.b:1", true, true),
        ("--allow-net", false, true),
        ("--allow-all", false, true),
        ("--allow-net --deny-net=c.d", false, false),
        ("--allow-net --deny-net=c.d", true, true),
    ] {
        let mut ceiling = ceiling_of(flags(top));
        if named {
            ceiling.name_servers = vec![server("192.0.2.1:53")];
            ceiling.proxies = vec![chosen("http://p:1", "proxy")];
        }
        let policy = flags("");
        let judged = |servers: &[Chosen<SocketAddr>], proxy: Option<&Chosen<String>>| {
            let asked = Asked {
                policy: &policy,
                private: &[],
                verify: &[],
                name_servers: servers,
                proxy,
                listener: None,
                limits: &Limits::none(),
                timeout: None,
            };
            outside(&ceiling, &asked, &Links::default()).len()
        };
        let proxy = chosen("http://p:1", "--upstream-proxy");
        let found = judged(&[server("192.0.2.1:53")], None);
        assert_eq!(found, usize::from(!inside), "{top} {named}");
        assert_eq!(judged(&[], Some(&proxy)), usize::from(!inside), "{top}");
        if named {
            let other = chosen("http://p:2", "--upstream-proxy");
            let others = [server("192.0.2.1:53"), server("192.0.2.2:53")];
            assert_eq!(judged(&others, Some(&other)), 2, "{top}");
        }
    }
}

#[test]
fn a_bare_ignore_leaves_what_the_ceiling_lists() {
    for (top, inside) in [
        ("--allow-env", true),
        ("--allow-env --ignore-env", false),
        ("--allow-env=A --ignore-env", true),
    ] {
        let ceiling = ceiling_of(flags(top));
        assert_eq!(
            is_inside(&ceiling, &flags("--allow-env=A")),
            inside,
            "{top}"
        );
    }
    let ceiling = ceiling_of(flags("--allow-read --ignore-read"));
    assert!(!is_inside(&ceiling, &flags("--allow-read=/a")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn composition_never_widens_and_denials_win(one in grants(), other in grants()) {
        let (one, other) = (flags(&one), flags(&other));
        let both = union([one.clone(), other.clone()]);
        let rows = answers(&both).into_iter().zip(answers(&one)).zip(answers(&other));
        for (((what, together), (_, first)), (_, second)) in rows {
            prop_assert!(!together || first || second, "{} is granted by neither", what);
        }
        // Each one's denials alone take away from everything.
        for denying in [&one, &other] {
            let denials = denials(&ceiling_of(denying.clone()));
            let left = union([flags("--allow-all"), denials]);
            for ((what, together), (_, left)) in answers(&both).into_iter().zip(answers(&left)) {
                // The bare ignore stands behind listed grants, by its meaning.
                let by_ignore = denying.env.ignore.all.is_some() && what.starts_with("env");
                prop_assert!(!together || left || by_ignore, "{} is denied", what);
            }
        }
    }

    #[test]
    fn the_order_of_sources_does_not_matter(one in grants(), other in grants(), third in grants()) {
        let layers = [flags(&one), flags(&other), flags(&third)];
        let [a, b, c] = layers.clone();
        let expected = answers(&union(layers));
        prop_assert_eq!(&expected, &answers(&union([c.clone(), b.clone(), a.clone()])));
        prop_assert_eq!(&expected, &answers(&union([b, union([c, a])])));
    }

    #[test]
    fn what_is_inside_a_ceiling_is_granted_by_it(top in grants(), one in grants(), other in grants()) {
        let ceiling = ceiling_of(flags(&top));
        let (one, other) = (flags(&one), flags(&other));
        if is_inside(&ceiling, &one) {
            let held = union([one.clone(), denials(&ceiling)]);
            let bounds = answers(&ceiling.granted.policy);
            for ((what, granted), (_, bound)) in answers(&held).into_iter().zip(bounds) {
                prop_assert!(!granted || bound, "{} exceeds the ceiling", what);
            }
            prop_assert_eq!(
                is_inside(&ceiling, &union([one.clone(), other.clone()])),
                is_inside(&ceiling, &other)
            );
        }
        // Nothing is outside of itself without its denials, nor of everything.
        let granting = flags(&top.split(' ').filter(|word| word.starts_with("--allow")).collect::<Vec<_>>().join(" "));
        prop_assert!(is_inside(&ceiling_of(granting.clone()), &granting));
        prop_assert!(is_inside(&ceiling_of(flags("--allow-all")), &one));
        prop_assert_eq!(is_inside(&ceiling_of(Policy::default()), &granting), granting == Policy::default());
    }
}
