// SPDX-License-Identifier: MIT
//! Plans of networks: what each net rule becomes, who answers, and which gaps stay.

use super::tests::{access, entry, machine, plan, read_policy, reads, request, write_policy};
use super::*;
use crate::policy::grammar::parse_net;
use crate::policy::{Entry, EnvDescriptor, Host, NetDescriptor, Policy, SysDescriptor};

fn peer(flag: &str, text: &str) -> Entry<NetDescriptor> {
    entry(flag, text, parse_net(text).unwrap())
}

fn net_policy(allow: &[&str], deny: &[&str]) -> Policy {
    let mut policy = Policy::default();
    policy.net.allow.entries = allow.iter().map(|text| peer("--allow-net", text)).collect();
    policy.net.deny.entries = deny.iter().map(|text| peer("--deny-net", text)).collect();
    policy
}

fn rules(plan: &Plan) -> &NetRules {
    match &plan.network {
        Network::Rules(rules) => rules,
        other => panic!("{other:?}"),
    }
}

fn texts(rules: &[NetRule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bare_network_grant_needs_no_supervisor() {
    let mut policy = Policy::default();
    policy.net.allow.all = Some(Origin::flag("--allow-net", None));
    let open = plan(&policy);
    assert!(matches!(open.network, Network::Any(_)));
    assert!(!open.syscalls.supervised.any() && open.syscalls.netlink);
    assert!(!open.lifetime.waiter);
    assert!(reads(&policy, "/etc/hosts"));
    policy.net.deny.all = Some(Origin::flag("--deny-net", None));
    let closed = plan(&policy);
    assert_eq!(closed.network, Network::None);
    assert!(!closed.syscalls.supervised.any() && !closed.syscalls.internet);
}

#[test]
fn host_rules_are_supervised() {
    let policy = net_policy(&["a.test:443", "10.0.0.0/8"], &["10.0.0.1"]);
    let judged = plan(&policy);
    assert_eq!(texts(&rules(&judged).allow), ["a.test:443", "10.0.0.0/8"]);
    assert_eq!(texts(&rules(&judged).deny), ["10.0.0.1"]);
    assert_eq!(rules(&judged).all, None);
    assert!(judged.syscalls.supervised.network && judged.lifetime.waiter);
    assert!(judged.syscalls.internet && judged.syscalls.unix);
    assert!(!judged.syscalls.netlink, "sockets that list interfaces");
    assert!(reads(&policy, "/etc/hosts"));
    let mut policy = policy;
    policy.sys.allow.entries = vec![entry(
        "--allow-sys",
        "networkInterfaces",
        SysDescriptor("networkInterfaces".into()),
    )];
    assert!(plan(&policy).syscalls.netlink);
}

#[test]
fn a_denial_inside_the_whole_network_is_supervised() {
    let mut policy = net_policy(&[], &["169.254.169.254"]);
    assert_eq!(plan(&policy).network, Network::None);
    policy.all = Some(Origin::flag("--allow-all", None));
    let judged = plan(&policy);
    assert_eq!(rules(&judged).all, policy.all);
    assert_eq!(texts(&rules(&judged).deny), ["169.254.169.254"]);
    policy.net.deny.all = Some(Origin::flag("--deny-net", None));
    assert_eq!(plan(&policy).network, Network::None);
}

#[test]
fn what_is_checked_stands_in_front() {
    let policy = net_policy(&["*.a.test"], &[]);
    let settings = NetSettings {
        private: vec![peer("--allow-private", "db.a.test")],
        verify: vec![NetRule {
            host: Host::Name("db.a.test".into()),
            port: Some(5432),
            verify: Verify::ServerName,
            origin: Origin::flag("--verify", Some("db.a.test:5432=sni")),
        }],
        ..NetSettings::default()
    };
    let request = Request {
        network: &settings,
        ..request(&policy)
    };
    let judged = build(&request, &machine()).unwrap();
    assert_eq!(texts(&rules(&judged).allow), ["db.a.test:5432", "*.a.test"]);
    assert_eq!(texts(&rules(&judged).private), ["db.a.test"]);
}

#[test]
fn serving_and_recording_are_supervised_without_a_grant() {
    let listener = NetRule {
        host: Host::Address([0, 0, 0, 0].into()),
        port: Some(8000),
        verify: Verify::ByPort,
        origin: Origin::flag("serve --port", Some("8000")),
    };
    let serving = NetSettings {
        listener: Some(listener),
        ..NetSettings::default()
    };
    let recorded = NetSettings {
        observed: true,
        ..NetSettings::default()
    };
    let plan_with = |policy: &Policy, network| {
        let request = Request {
            network,
            ..request(policy)
        };
        build(&request, &machine()).unwrap()
    };
    let mut policy = Policy::default();
    assert_eq!(
        texts(&rules(&plan_with(&policy, &serving)).allow),
        ["0.0.0.0:8000"]
    );
    let watched = plan_with(&policy, &recorded);
    assert_eq!(*rules(&watched), NetRules::default());
    assert!(watched.lifetime.waiter);
    assert!(
        !access(&watched, "/etc/hosts").contains(Access::READ_FILE),
        "recording grants nothing"
    );
    policy.net.deny.all = Some(Origin::flag("--deny-net", None));
    assert_eq!(plan_with(&policy, &serving).network, Network::None);
    assert_eq!(*rules(&plan_with(&policy, &recorded)), NetRules::default());
    policy.net.deny.all = None;
    policy.net.allow.all = Some(Origin::flag("--allow-net", None));
    for settings in [&serving, &recorded] {
        assert!(matches!(
            plan_with(&policy, settings).network,
            Network::Any(_)
        ));
    }
}

#[test]
fn write_grants_have_their_attributes_supervised() {
    let mut policy = write_policy(&["data"], &[]);
    let written = plan(&policy);
    assert!(written.syscalls.supervised.attributes && written.lifetime.waiter);
    assert!(!written.syscalls.supervised.network);
    policy.write.deny.all = Some(Origin::flag("--deny-write", None));
    assert!(!plan(&policy).syscalls.supervised.any());
    assert!(!plan(&read_policy(&["data"], &[])).syscalls.supervised.any());
}

#[test]
fn a_judged_network_looks_names_up_over_tcp() {
    let options = |policy: &Policy, value: Option<&str>| {
        let mut variables = vec![("PATH", "/usr/bin")];
        variables.extend(value.map(|value| ("RES_OPTIONS", value)));
        let host = machine().with_environment(&variables);
        let plan = build(&request(policy), &host).unwrap();
        plan.environment
            .into_iter()
            .find(|variable| variable.name == "RES_OPTIONS")
            .map(|variable| variable.source)
    };
    let set = |text: &str| Some(VariableSource::Set(text.to_owned()));
    let mut policy = net_policy(&["a.test"], &[]);
    assert_eq!(options(&policy, None), set("use-vc"));
    assert_eq!(options(&policy, Some("ndots:3")), set("use-vc"));
    let name = |flag| {
        let descriptor = EnvDescriptor::Name("RES_OPTIONS".into());
        vec![entry(flag, "RES_OPTIONS", descriptor)]
    };
    policy.env.allow.entries = name("--allow-env");
    assert_eq!(options(&policy, Some("ndots:3")), set("ndots:3 use-vc"));
    assert_eq!(options(&policy, Some("use-vc")), set("use-vc"));
    policy.env.deny.entries = name("--deny-env");
    assert_eq!(options(&policy, None), None);
    policy = Policy::default();
    assert_eq!(options(&policy, None), None);
}

#[test]
fn what_is_checked_never_widens_a_grant() {
    let settings = |text: &str, verify| NetSettings {
        verify: vec![NetRule {
            verify,
            ..rule_of(text)
        }],
        ..NetSettings::default()
    };
    for (allow, checked, expected) in [
        (&["db:8443"][..], "db", &["db:8443 checked"][..]),
        (&["db"], "db:8443", &["db:8443 checked", "db"]),
        (&["db:1"], "db:2", &["db:1"]),
        (&["db:1"], "other", &["db:1"]),
        (&["*.a:1"], "x.a", &["x.a:1 checked", "*.a:1"]),
        (&["x.a:1", "y.a"], "*.a", &["x.a:1 checked", "y.a checked"]),
        (&["10.0.0.1"], "*.a", &["10.0.0.1"]),
    ] {
        let policy = net_policy(allow, &[]);
        let settings = settings(checked, Verify::ServerName);
        let request = Request {
            network: &settings,
            ..request(&policy)
        };
        let judged = build(&request, &machine()).unwrap();
        let found: Vec<String> = rules(&judged)
            .allow
            .iter()
            .map(|rule| match rule.verify {
                Verify::ServerName => format!("{rule} checked"),
                _ => rule.to_string(),
            })
            .collect();
        assert_eq!(found, expected, "{allow:?} {checked}");
        let origins = policy.net.allow.entries.iter().map(|entry| &entry.origin);
        let origins: Vec<&Origin> = origins.collect();
        assert!(
            rules(&judged)
                .allow
                .iter()
                .all(|rule| origins.contains(&&rule.origin))
        );
    }
}

fn rule_of(text: &str) -> NetRule {
    let descriptor = parse_net(text).unwrap();
    NetRule {
        host: descriptor.host,
        port: descriptor.port,
        verify: Verify::ByPort,
        origin: Origin::flag("--allow-net", Some(text)),
    }
}

#[test]
fn ways_follow_the_rule_then_the_port() {
    for (rule, verify, port, expected) in [
        ("a", Verify::ByPort, None, Way::ByPort),
        ("a", Verify::ByPort, Some(443), Way::ServerName),
        ("a", Verify::ByPort, Some(80), Way::HttpHost),
        ("a", Verify::ByPort, Some(5432), Way::Direct),
        ("a:443", Verify::ByPort, None, Way::ServerName),
        ("*.a:80", Verify::ByPort, None, Way::HttpHost),
        ("a:22", Verify::ByPort, None, Way::Direct),
        ("a", Verify::ServerName, None, Way::ServerName),
        ("a:8443", Verify::ServerName, None, Way::ServerName),
        ("a:443", Verify::Nothing, None, Way::Direct),
        ("a", Verify::Nothing, None, Way::Direct),
        ("10.0.0.1:443", Verify::ByPort, None, Way::Direct),
        ("10.0.0.0/8", Verify::ByPort, Some(443), Way::Direct),
    ] {
        let rule = NetRule {
            verify,
            ..rule_of(rule)
        };
        assert_eq!(rule.way(port), expected, "{rule} {verify:?} {port:?}");
    }
}

#[test]
fn why_answers_from_the_rules() {
    let policy = net_policy(
        &[
            "api.test:443",
            "*.wild.test",
            "10.0.0.0/8",
            "unix:/run/x.sock",
            "vsock:3:1",
        ],
        &["evil.wild.test", "10.0.0.1"],
    );
    let judged = plan(&policy);
    for (question, allowed, because, opened_by) in [
        (
            "api.test:443",
            true,
            "TLS server name checked by a relay; from --allow-net=api.test:443",
            None,
        ),
        ("API.test.:443", true, "from --allow-net=api.test:443", None),
        (
            "a.b.wild.test:22",
            true,
            "direct to the address it led to; from --allow-net=*.wild.test",
            None,
        ),
        ("wild.test:80", true, "HTTP Host checked by a relay", None),
        (
            "10.1.2.3:80",
            true,
            "direct, from --allow-net=10.0.0.0/8",
            None,
        ),
        (
            "[::ffff:10.1.2.3]:80",
            true,
            "direct, from --allow-net=10.0.0.0/8",
            None,
        ),
        (
            "unix:/run/x.sock",
            true,
            "from --allow-net=unix:/run/x.sock",
            None,
        ),
        (
            "api.test",
            false,
            "only `api.test:443` is granted",
            Some("--allow-net=api.test"),
        ),
        (
            "api.test:80",
            false,
            "only `api.test:443` is granted",
            Some("--allow-net=api.test:80"),
        ),
        (
            "x.api.test:443",
            false,
            "its lookup finds nothing",
            Some("--allow-net=x.api.test:443"),
        ),
        (
            "evil.wild.test:443",
            false,
            "because of --deny-net=evil.wild.test",
            Some("leave out `--deny-net=evil.wild.test`"),
        ),
        (
            "10.0.0.1:80",
            false,
            "because of --deny-net=10.0.0.1",
            Some("leave out `--deny-net=10.0.0.1`"),
        ),
        (
            "203.0.113.7:443",
            false,
            "where the lookup of a granted name led to it",
            Some("--allow-net=203.0.113.7:443"),
        ),
        (
            "unix:/run/y.sock",
            false,
            "no rule names `unix:/run/y.sock`",
            Some("--allow-net=unix:/run/y.sock"),
        ),
        (
            "vsock:3:1",
            false,
            "seccomp makes no vsock socket",
            Some("--allow-net"),
        ),
        (
            "http://api.test",
            false,
            "URL",
            Some("--allow-net=http://api.test"),
        ),
    ] {
        let answer = why::answer(&judged, &why::Question::Net(question.to_owned()));
        assert_eq!(answer.allowed, allowed, "{question}: {answer:?}");
        assert!(answer.because.contains(because), "{question}: {answer:?}");
        assert_eq!(answer.opened_by.as_deref(), opened_by, "{question}");
    }
    let mut policy = net_policy(&[], &["evil.test"]);
    policy.net.allow.all = Some(Origin::flag("--allow-net", None));
    let judged = plan(&policy);
    let ask = |text: &str| why::answer(&judged, &why::Question::Net(text.to_owned())).allowed;
    assert!(ask("good.test:1") && !ask("evil.test:1"));
}

#[test]
fn gaps_of_a_judged_network_follow_its_rules() {
    let gaps = |allow: &[&str], start: &str| {
        plan(&net_policy(allow, &[]))
            .gaps
            .iter()
            .any(|gap| gap.what.starts_with(start))
    };
    for (start, with, without) in [
        ("UDP servers, datagrams", &["10.0.0.1"][..], &[][..]),
        ("names below a granted wildcard", &["*.a"], &["a"]),
        ("several names on one address", &["a:22"], &["a:443"]),
        ("several names on one address", &["a"], &["10.0.0.1"]),
        ("inside TLS a server", &["a:443"], &["a:22"]),
        ("a public name may not lead", &["a:22"], &["10.0.0.1"]),
        ("vsock sockets", &["vsock:3:1"], &["a"]),
        ("lookups of programs with musl", &["a"], &[]),
        ("where a name led stays", &["a:22"], &["10.0.0.1"]),
        ("a checked connection that fails", &["a:443"], &["a:22"]),
    ] {
        assert!(gaps(with, start), "{start} {with:?}");
        assert!(!gaps(without, start), "{start} {without:?}");
    }
}

#[test]
fn sockets_that_were_made_here_are_used_once() {
    let policy = net_policy(&["a"], &[]);
    let told = |takes: bool| {
        let host = machine().taking_descriptors(takes);
        build(&request(&policy), &host)
            .unwrap()
            .gaps
            .iter()
            .any(|gap| gap.what.contains("cannot be connected again"))
    };
    assert!(told(false) && !told(true));
}

#[test]
fn an_upstream_without_rules_is_told() {
    let settings = NetSettings {
        upstream: Upstream {
            name_servers: vec![([192, 0, 2, 1], 53).into()],
            proxy: None,
        },
        ..NetSettings::default()
    };
    for (policy, told) in [(Policy::default(), true), (net_policy(&["a"], &[]), false)] {
        let request = Request {
            network: &settings,
            ..request(&policy)
        };
        let built = build(&request, &machine()).unwrap();
        assert_eq!(
            built.notices.iter().any(|notice| notice.contains("--dns")),
            told
        );
        assert_eq!(built.upstream, settings.upstream);
    }
}

#[test]
fn a_proxy_is_a_gap() {
    let mut settings = NetSettings::default();
    let policy = net_policy(&["a"], &[]);
    let told = |settings: &NetSettings| {
        let request = Request {
            network: settings,
            ..request(&policy)
        };
        let built = build(&request, &machine()).unwrap();
        let says = |gap: &Gap| gap.what.starts_with("where a name leads is the proxy's");
        built.gaps.iter().any(says)
    };
    assert!(!told(&settings));
    settings.upstream.proxy = Some(UpstreamProxy {
        host: "proxy.test".to_owned(),
        port: 3128,
        credentials: None,
    });
    assert!(told(&settings));
}
