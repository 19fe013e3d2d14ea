// SPDX-License-Identifier: MIT
//! Hosts where calls cannot be supervised, or only in other ways: imitated by system call filters
//! around Stockade, each told before the program starts.

use crate::egress::servers::Server;
use crate::egress::world::{World, address, compiled, free};
use crate::support::{Launch, Outcome, Project, python};
use crate::support_life::stockade_path;

const OUTER: &str = include_str!("../../data/net/outer.c");

/// Under a filter of `outer.c`; the way to sockets is Stockade's own choice.
fn under(mode: &str, launch: Launch) -> Launch {
    let outer = compiled("outer", OUTER, &[]);
    launch
        .without_env("STOCKADE_SOCKET_ROUTE")
        .through_shell(&format!("exec '{outer}' {mode} \"$@\""))
}

const SCRIPT: &str = "console.log('started');
const [hostname, port] = Deno.args;
if (port) (await Deno.connect({ hostname, port: Number(port) })).close();";

fn attempt(world: &World, mode: &str, flags: &[&str], server: &Server) -> Outcome {
    let (ip, port) = (server.ip().to_string(), server.port().to_string());
    world.project.write("main.ts", SCRIPT);
    under(mode, world.stockade(flags, &["main.ts", &ip, &port])).run()
}

/// What Stockade said, without its own path.
fn said(outcome: &Outcome) -> String {
    outcome.expect_code(125);
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    outcome.stderr.clone()
}

#[test]
fn where_calls_cannot_be_supervised_the_program_is_not_started() {
    let world = World::new();
    let good = Server::counter(free());
    let grant = format!("--allow-net={}", good.address());
    let flags = [grant.as_str()];
    attempt(&world, "none", &flags, &good).expect_output("started\n");
    assert_eq!(good.hits(), 1);
    insta::assert_snapshot!(said(&attempt(&world, "listener", &flags, &good)), @r"
    error: cannot start the target: `seccomp(NEW_LISTENER)` failed, the program was not started: Device or resource busy
    hint: an outer supervisor (a container with system call interception, or a sandbox like this one) answers for this process already, and the kernel takes one: start it outside of that, or with rules that need no supervisor: bare `--allow-net` or none, and no `--allow-write`
    ");
    insta::assert_snapshot!(said(&attempt(&world, "eperm", &flags, &good)), @r"
    error: cannot start the target: `seccomp(NEW_LISTENER)` failed, the program was not started: Operation not permitted
    hint: an outer sandbox lets no supervisor be installed, as Stockade itself does: start it outside of that, or with rules that need no supervisor: bare `--allow-net` or none, and no `--allow-write`
    ");
    insta::assert_snapshot!(said(&attempt(&world, "einval", &flags, &good)), @r"
    error: cannot start the target: `seccomp(NEW_LISTENER)` failed, the program was not started: Invalid argument
    hint: this kernel, or the one that gVisor and the like imitate, has no supervised calls (Linux 5.9): use rules that need no supervisor: bare `--allow-net` or none, and no `--allow-write`
    ");
    assert_eq!(good.hits(), 1);
    // What needs no supervisor works in all of them.
    for mode in ["listener", "eperm", "einval"] {
        attempt(&world, mode, &["--allow-net"], &good).expect_output("started\n");
        let without = under(mode, world.stockade(&["--allow-read=."], &["main.ts"]));
        without.run().expect_output("started\n");
    }
    assert_eq!(good.hits(), 4);
}

#[test]
fn containers_that_forbid_taking_descriptors_or_memory_are_supervised_all_the_same() {
    let world = World::new();
    let good = Server::counter(free());
    let evil = Server::counter((address(), good.port()).into());
    world
        .name("good.test", good.ip())
        .name("evil.test", evil.ip());
    let port = good.port();
    let items = [
        format!("reach,good.test,{port}"),
        format!("reach,evil.test,{port}"),
        format!("reach,{},{port}", evil.ip()),
        "look,good.test".to_owned(),
    ];
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let grant = format!("--allow-net=good.test:{port}");
    let expected = format!(
        "{} reached\n{} error -2\n{} errno 13\n{} {}\n",
        items[0],
        items[1],
        items[2],
        items[3],
        good.ip()
    );
    for (hits, mode) in (1..).zip(["none", "getfd", "memory"]) {
        let client = include_str!("../../data/net/client.py");
        let command = [&[python().to_str().unwrap(), "-c", client], &items[..]].concat();
        let launch = world.child_launch(&[&grant], &command);
        under(mode, launch).run().expect_output(&expected);
        assert_eq!((good.hits(), evil.hits()), (hits, 0), "{mode}");
    }
    // A way that was asked for is not exchanged for another one.
    let outer = compiled("outer", OUTER, &[]);
    let forced = world
        .stockade(&[&grant], &["main.ts"])
        .env("STOCKADE_SOCKET_ROUTE", "getfd")
        .through_shell(&format!("exec '{outer}' getfd \"$@\""));
    world.project.write("main.ts", SCRIPT);
    let outcome = forced.run();
    insta::assert_snapshot!(said(&outcome), @r"
    error: cannot supervise the target, it was not started: taking the target's descriptors is not possible here: Operation not permitted (os error 1)
    hint: an outer sandbox, a container's system call filter or Yama (kernel.yama.ptrace_scope 2 or 3) forbids it; rules that need no supervisor work: bare `--allow-net` or none, and no `--allow-write`
    ");
}

#[test]
fn a_supervisor_that_fails_ends_the_run() {
    let world = World::new();
    let good = Server::counter(free());
    let (ip, port) = (good.ip().to_string(), good.port().to_string());
    let script = "const [hostname, port] = Deno.args;
        const stay = setInterval(() => {}, 1000);
        await Deno.connect({ hostname, port: Number(port) });
        clearInterval(stay);
        Deno.exit(0);";
    world.project.write("main.ts", script);
    let grant = format!("--allow-net={}", good.address());
    let launch = || world.stockade(&[&grant], &["main.ts", &ip, &port]);
    under("none", launch()).run().expect_success();
    assert_eq!(good.hits(), 1);
    // The supervisor's own walls cannot be raised.
    let outcome = under("dumpable", launch()).run();
    outcome.expect_code(137);
    insta::assert_snapshot!(outcome.stderr, @"error: the supervisor of the run failed, so the run was ended: Operation not permitted (os error 1)");
    assert_eq!(good.hits(), 1);
}

#[test]
fn stockade_inside_stockade_works_without_a_supervisor() {
    let project = Project::new()
        .file(
            "outer.ts",
            "const [program, ...args] = Deno.args;
             // The outer one's own cache is protected.
             const env = { STOCKADE_CACHE: Deno.cwd() + '/cache' };
             const child = new Deno.Command(program, { args, env, stdout: 'inherit', stderr: 'inherit' }).spawn();
             Deno.exit((await child.status).code);",
        )
        .file(
            "inner.ts",
            "console.log(Deno.readTextFileSync('data'));
             try { Deno.readTextFileSync('/etc/hostname'); } catch (error) { console.log(error.name); }",
        )
        .file("data", "inside");
    let inside = |flags: &[&str]| {
        let words = [
            &[
                "run",
                "-A",
                "outer.ts",
                stockade_path(),
                "run",
                "--no-check",
            ],
            flags,
            &["inner.ts"],
        ]
        .concat();
        project.stockade(&words).run()
    };
    inside(&["--allow-read=data"]).expect_output("inside\nNotCapable\n");
    inside(&["--allow-read=data", "--allow-net"]).expect_output("inside\nNotCapable\n");
    insta::assert_snapshot!(said(&inside(&["--allow-net=127.0.0.1:1"])), @r"
    error: cannot start the target: `seccomp(NEW_LISTENER)` failed, the program was not started: Operation not permitted
    hint: an outer sandbox lets no supervisor be installed, as Stockade itself does: start it outside of that, or with rules that need no supervisor: bare `--allow-net` or none, and no `--allow-write`
    ");
}

#[test]
fn doctor_says_whether_calls_can_be_supervised() {
    let project = Project::new();
    for (mode, told, json) in [
        ("none", "supervisor    possible", "\"listener\": \""),
        (
            "listener",
            "an outer supervisor is there",
            "\"listener\": \"taken\"",
        ),
        (
            "eperm",
            "refused by an outer sandbox",
            "\"listener\": \"refused\"",
        ),
        ("einval", "no listeners", "\"listener\": \"missing\""),
        (
            "getfd",
            "the supervisor makes every socket",
            "\"pidfd_getfd\": \"refused\"",
        ),
    ] {
        let outcome = under(mode, project.stockade(&["doctor"])).run();
        outcome.expect_success();
        assert!(outcome.stdout.contains(told), "{mode}: {outcome:?}");
        let outcome = under(mode, project.stockade(&["doctor", "--json"])).run();
        assert!(outcome.stdout.contains(json), "{mode}: {outcome:?}");
    }
}
