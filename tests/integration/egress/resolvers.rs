// SPDX-License-Identifier: MIT
//! The resolvers that programs bring along: Deno's and Node's, those of two C libraries, and one that
//! shares nothing with any of them.

use std::process::Command;

use crate::egress::names::name_server;
use crate::egress::servers::{Process, Server, certificates};
use crate::egress::world::{World, address, compiled, free, low_port, tool};
use crate::support::scratch;
use crate::support_life::skip;

const RESOLVE: &str = include_str!("../../data/net/resolve.c");
const RAW: &str = include_str!("../../data/net/raw.c");

#[test]
fn deno_and_node_resolvers_are_answered() {
    let world = World::new();
    let (good, evil) = (address(), address());
    world.name("good.test", good).name("evil.test", evil);
    let script = r#"
        import dns from "node:dns/promises";
        const attempt = async (name, what) => {
          try { console.log(name, ...await what()); } catch (error) { console.log(name, error.code ?? error.name); }
        };
        for (const name of ["good.test", "evil.test"]) {
          await attempt("lookup", async () => [(await dns.lookup(name)).address]);
          await attempt("resolveDns", () => Deno.resolveDns(name, "A"));
          await attempt("resolve4", () => dns.resolve4(name));
        }
    "#;
    let server = name_server();
    let inside = |names: &str| {
        world.run(
            &[&format!("--allow-net={names},{server}:53"), "--allow-sys"],
            script,
        )
    };
    let found = |ip| format!("lookup {ip}\nresolveDns {ip}\nresolve4 {ip}\n");
    inside("good.test,evil.test").expect_output(&(found(good) + &found(evil)));
    let before = world.dns.count("evil.test");
    inside("good.test").expect_output(
        // The first is Deno's own check; the others ask.
        &(found(good) + "lookup EPERM\nresolveDns NotFound\nresolve4 ENOTFOUND\n"),
    );
    assert_eq!(world.dns.count("evil.test"), before);
}

#[test]
fn the_c_librarys_own_tool_is_answered() {
    let world = World::new();
    let good = address();
    world.name("good.test", good).name("evil.test", good);
    let getent = tool("getent");
    let glibc = compiled("resolve", RESOLVE, &[]);
    let grant = "--allow-net=good.test";
    let outcome = world.child(&[grant], &[&getent, "ahostsv4", "good.test"]);
    assert!(
        outcome
            .expect_success()
            .stdout
            .starts_with(&good.to_string())
    );
    world
        .child(&[grant], &[&getent, "ahostsv4", "evil.test"])
        .expect_code(2);
    world
        .child(&[grant], &[&glibc, "good.test", "evil.test"])
        .expect_output(&format!("good.test {good}\nevil.test error name\n"));
    world
        .outside(&[&glibc, "127.0.0.1"])
        .expect_output("127.0.0.1 127.0.0.1\n");
    assert_eq!(world.dns.count("evil.test"), 0);
}

#[test]
fn musl_programs_are_answered() {
    // Another C library reads the answer with recvfrom, or from 1.2.4 on with recvmsg.
    let program = scratch().join(format!("resolve-musl-{}", std::process::id()));
    let source = scratch().join(format!("resolve-{}.c", std::process::id()));
    std::fs::write(&source, RESOLVE).unwrap();
    let built = Command::new("musl-gcc")
        .args(["-static", "-w", "-o"])
        .args([&program, &source])
        .output();
    match built {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => return skip(&format!("musl-gcc: {error}")),
    }
    let world = World::new();
    let good = address();
    world.name("good.test", good).name("evil.test", good);
    let program = program.to_str().unwrap();
    world
        .outside(&[program, "127.0.0.1"])
        .expect_output("127.0.0.1 127.0.0.1\n");
    world
        .child(
            &["--allow-net=good.test"],
            &[program, "good.test", "evil.test"],
        )
        .expect_output(&format!("good.test {good}\nevil.test error name\n"));
    assert_eq!(world.dns.count("evil.test"), 0);
}

#[test]
fn static_programs_that_ask_by_themselves_are_answered() {
    let raw = compiled("raw", RAW, &["-static"]);
    let world = World::new();
    let (good, evil) = (Server::counter(free()), Server::counter(free()));
    world
        .name("good.test", good.ip())
        .name("evil.test", evil.ip());
    let own = world.dns.address();
    let (good_port, evil_port) = (good.port().to_string(), evil.port().to_string());
    let grant = format!("--allow-net=good.test:{good_port}");
    let both = format!("{grant},evil.test:{evil_port}");
    for way in ["connected", "addressed"] {
        world
            .outside(&[
                &raw,
                way,
                &own.ip().to_string(),
                &own.port().to_string(),
                "evil.test",
                &evil_port,
            ])
            .expect_output("reached\n");
        let (asked, before) = (world.dns.count("evil.test"), evil.hits());
        let server = name_server();
        let ask = |net: &str, name: &str, port: &str| {
            world.child(&[net], &[&raw, way, &server, "53", name, port])
        };
        ask(&grant, "good.test", &good_port).expect_output("reached\n");
        let denied = ask(&grant, "evil.test", &evil_port);
        assert_eq!(denied.stdout, "code 3\n", "{way}: {denied:?}");
        // The granted name, and a port that is not.
        let denied = ask(&grant, "good.test", &evil_port);
        assert_eq!(denied.stdout, "peer 13\n", "{way}: {denied:?}");
        assert_eq!((world.dns.count("evil.test"), evil.hits()), (asked, before));
        ask(&both, "evil.test", &evil_port).expect_output("reached\n");
        assert_eq!(evil.hits(), before + 1);
    }
    assert_eq!(good.hits(), 2);
}

const GO: &str = include_str!("../../data/net/client.go");

/// A Go program without any C library, built once per process.
fn go_program() -> String {
    let output = scratch().join(format!("client-go-{}", std::process::id()));
    let source = scratch().join(format!("client-{}.go", std::process::id()));
    std::fs::write(&source, GO).unwrap();
    let built = std::process::Command::new(tool("go"))
        .args(["build", "-o"])
        .args([&output, &source])
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .env("GOCACHE", scratch().join("go-cache"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    output.to_str().unwrap().to_owned()
}

#[test]
fn static_go_programs_reach_granted_names_only() {
    let Some(https) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(https);
    let (good, evil) = (Server::counter(free()), Server::counter(free()));
    let world = World::new();
    // One address refuses the plain port, as Happy Eyeballs has to notice.
    world
        .dns
        .set("good.test", &[good.ip(), https.ip()])
        .set("evil.test", &[evil.ip(), https.ip()]);
    let (program, authority) = (go_program(), certificates().authority());
    let run = |flags: &[&str], name: &str, server: &Server| {
        let port = server.port().to_string();
        let read = format!("--allow-read={authority}");
        let flags = [flags, &[&read]].concat();
        world.child(&flags, &[&program, name, &port, "443", &authority])
    };
    let said = |name: &str, worked: bool| {
        let count = if worked { 2 } else { 0 };
        format!("look {name} {count} {worked}\nreach {name} {worked}\nsecure {name} {worked}\n")
    };
    let grant = format!("--allow-net=good.test:{},good.test:443", good.port());
    let outcome = run(&[&grant], "good.test", &good);
    outcome.expect_output(&said("good.test", true));
    let (before, served) = (evil.hits(), tenants.said().len());
    let outcome = run(&[&grant], "evil.test", &evil);
    outcome.expect_output(&said("evil.test", false));
    assert_eq!((evil.hits(), tenants.said().len()), (before, served));
    assert_eq!(world.dns.count("evil.test"), 0);
    // The twin: the same program and name with a grant.
    let grant = format!("--allow-net=evil.test:{},evil.test:443", evil.port());
    let outcome = run(&[&grant], "evil.test", &evil);
    outcome.expect_output(&said("evil.test", true));
    assert!(evil.hits() > before);
}
