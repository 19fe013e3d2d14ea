// SPDX-License-Identifier: MIT
//! Permission flags as every version of Deno takes them.

use super::*;
use crate::policy::{Origin, Rules};

const NEW: Version = Version::new(2, 9, 6);
const OLD: Version = Version::new(2, 0, 0);

fn entry<D>(descriptor: D, text: &str) -> Entry<D> {
    Entry {
        descriptor,
        text: text.to_owned(),
        origin: Origin::flag("--x", Some(text)),
    }
}

fn rules<D>(texts: &[&str], parse: fn(&str) -> D) -> Rules<D> {
    let bare = texts.contains(&"BARE").then(|| Origin::flag("--x", None));
    let entries = texts.iter().filter(|text| **text != "BARE");
    Rules {
        all: bare,
        entries: entries.map(|text| entry(parse(text), text)).collect(),
    }
}

fn permission<D>(
    parse: fn(&str) -> D,
    allow: &[&str],
    deny: &[&str],
    ignore: &[&str],
) -> Permission<D> {
    Permission {
        allow: rules(allow, parse),
        deny: rules(deny, parse),
        ignore: rules(ignore, parse),
    }
}

fn path(text: &str) -> PathDescriptor {
    PathDescriptor {
        path: text.into(),
        trailing_slash: false,
        within: None,
        judged: None,
        optional: false,
    }
}

fn env(text: &str) -> EnvDescriptor {
    text.strip_suffix('*').map_or_else(
        || EnvDescriptor::Name(text.to_owned()),
        |prefix| EnvDescriptor::Prefix(prefix.to_owned()),
    )
}

fn net(text: &str) -> NetDescriptor {
    let (host, port) = text.split_once('@').unwrap_or((text, ""));
    let host = match host {
        "" => Host::ThisMachine,
        host if host.starts_with("*.") => Host::Wildcard(host[2..].to_owned()),
        host if host.contains('/') => Host::Subnet(host.parse().unwrap()),
        host => host
            .parse()
            .map_or_else(|_| Host::Name(host.to_owned()), Host::Address),
    };
    NetDescriptor {
        host,
        port: port.parse().ok(),
    }
}

fn run(text: &str) -> RunDescriptor {
    if text.contains('/') {
        RunDescriptor::Path(text.into())
    } else {
        RunDescriptor::Name(text.to_owned())
    }
}

fn rendered(policy: &Policy, version: Version) -> String {
    match render(policy, version, Path::new("/w")) {
        Ok(flags) => flags.join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_covered_grant_is_left_out() {
    let read = |allow: &[&str], deny: &[&str], ignore: &[&str]| {
        let read = permission(path, allow, deny, ignore);
        rendered(
            &Policy {
                read,
                ..Policy::default()
            },
            NEW,
        )
    };
    assert_eq!(
        read(&["/etc/hosts", "/x"], &["/etc"], &[]),
        "--allow-read=/x --deny-read=/etc"
    );
    assert_eq!(read(&["/"], &["/x"], &[]), "--allow-read=/ --deny-read=/x");
    assert_eq!(read(&["a/../b"], &["/w/b"], &[]), "--deny-read=/w/b");
    assert_eq!(read(&["/x"], &["BARE"], &[]), "--deny-read");
    assert_eq!(read(&["/x"], &["BARE", "/y"], &["/z"]), "--deny-read");
    assert_eq!(
        read(&["BARE", "/x"], &["/y"], &[]),
        "--allow-read --deny-read=/y"
    );
    assert_eq!(
        read(&["/a", "/b"], &[], &["/a"]),
        "--allow-read=/b --ignore-read=/a"
    );
    assert_eq!(
        read(&["/a"], &["/b"], &["BARE"]),
        "--ignore-read --deny-read=/b"
    );
    assert_eq!(
        read(&["/a", "/a"], &["/i"], &["/i/x"]),
        "--allow-read=/a --deny-read=/i"
    );
    assert_eq!(
        read(&["/xy"], &["/x"], &[]),
        "--allow-read=/xy --deny-read=/x"
    );
}

#[test]
fn hosts_cover_hosts() {
    let net = |allow: &[&str], deny: &[&str]| {
        let net = permission(net, allow, deny, &[]);
        rendered(
            &Policy {
                net,
                ..Policy::default()
            },
            NEW,
        )
    };
    assert_eq!(net(&["h@443"], &["h"]), "--deny-net=h");
    assert_eq!(net(&["h"], &["h@443"]), "--allow-net=h --deny-net=h:443");
    assert_eq!(
        net(&["x.evil", "evil", "devil"], &["*.evil"]),
        "--allow-net=devil --deny-net=*.evil"
    );
    assert_eq!(net(&["*.a.evil"], &["*.evil"]), "--deny-net=*.evil");
    assert_eq!(
        net(&["10.0.0.1", "10.0.0.0/16"], &["10.0.0.0/8"]),
        "--deny-net=10.0.0.0/8"
    );
    assert_eq!(net(&["::1@80"], &[]), "--allow-net=[::1]:80");
    assert_eq!(
        net(&["@80"], &["localhost"]),
        "--allow-net=0.0.0.0:80,127.0.0.1:80 --deny-net=localhost"
    );
    assert!(net(&["2001:db8::/32"], &[]).contains("IPv6 subnet"));
}

#[test]
fn names_cover_names() {
    let policy = |env_lists: [&[&str]; 2], run_lists: [&[&str]; 2]| {
        let env = permission(env, env_lists[0], env_lists[1], &[]);
        let run = permission(run, run_lists[0], run_lists[1], &[]);
        rendered(
            &Policy {
                env,
                run,
                ..Policy::default()
            },
            NEW,
        )
    };
    assert_eq!(
        policy([&["A_X", "B"], &["A_*"]], [&[], &[]]),
        "--allow-env=B --deny-env=A_*"
    );
    assert_eq!(
        policy([&["A_*"], &["A_X"]], [&[], &[]]),
        "--allow-env=A_* --deny-env=A_X"
    );
    assert_eq!(policy([&["*"], &[]], [&[], &[]]), "--allow-env=*");
    assert_eq!(
        policy([&[], &[]], [&["cat", "/x/cat", "ls"], &["cat"]]),
        "--allow-run=ls --deny-run=cat"
    );
}

#[test]
fn everything_keeps_its_denials() {
    let read = permission(path, &["/x"], &["/y"], &[]);
    let policy = Policy {
        all: Some(Origin::flag("-A", None)),
        read,
        ..Policy::default()
    };
    assert_eq!(rendered(&policy, NEW), "--allow-all --deny-read=/y");
}

#[test]
fn what_a_version_does_not_take_is_an_error() {
    let read = permission(path, &["/a,b"], &[], &[]);
    let comma = Policy {
        read,
        ..Policy::default()
    };
    assert_eq!(rendered(&comma, OLD), "--allow-read=/a,,b");
    assert_eq!(
        rendered(&comma, Version::new(2, 9, 5)),
        "--allow-read=/a,,b"
    );
    assert!(rendered(&comma, NEW).contains("comma"));
    let ignore = Policy {
        env: permission(env, &[], &[], &["A"]),
        ..Policy::default()
    };
    assert_eq!(rendered(&ignore, NEW), "--ignore-env=A");
    assert!(rendered(&ignore, Version::new(2, 5, 6)).contains("2.6.0"));
    let import = Policy {
        import: permission(net, &[], &["h"], &[]),
        ..Policy::default()
    };
    assert!(rendered(&import, OLD).contains("--deny-import"));
    let sys = |text: &str| SysDescriptor(text.to_owned());
    let umask = Policy {
        sys: permission(sys, &["umask"], &[], &[]),
        ..Policy::default()
    };
    assert_eq!(rendered(&umask, Version::new(2, 9, 7)), "--allow-sys=umask");
    assert!(rendered(&umask, NEW).contains("does not know"));
}
