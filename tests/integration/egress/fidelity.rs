// SPDX-License-Identifier: MIT
//! What a program sees of its own connections is what it sees without Stockade.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::egress::servers::Server;
use crate::egress::world::{World, address, compiled, free, low_port};
use crate::machine::injected;
use crate::support::Outcome;

/// What is refused before the kernel would have looked at it: types of sockets nobody lists, and
/// listeners without a grant.
const REFUSED_EARLIER: [&str; 2] = ["unknown type:", "listen on it:"];

const FIDELITY: &str = include_str!("../../data/net/fidelity.c");

/// A listener whose queue is full: connecting to it takes for ever.
#[derive(Debug)]
struct Full {
    address: SocketAddr,
    _sockets: Vec<Socket>,
}

fn full(address: SocketAddr) -> Full {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        sockets.push(socket);
    }
    Full {
        address,
        _sockets: sockets,
    }
}

fn arguments(open: SocketAddr, closed: SocketAddr, full: SocketAddr, six: u16) -> Vec<String> {
    let mut arguments = vec![compiled("fidelity", FIDELITY, &[])];
    for address in [open, closed, full] {
        arguments.push(address.ip().to_string());
        arguments.push(address.port().to_string());
    }
    arguments.push(six.to_string());
    arguments
}

/// What a socket that was made for the program does otherwise, once it is connected: it is not known
/// any more.
const MADE_FOR_IT: [&str; 5] = [
    "second call",
    "disconnect",
    "reconnect",
    "path descriptor",
    "connected pair",
];

#[track_caller]
fn expect_same_lines(outside: &Outcome, inside: &Outcome, except: &[&str]) {
    outside.expect_success();
    inside.expect_success();
    let lines = |outcome: &Outcome| -> Vec<String> {
        outcome
            .stdout
            .lines()
            .filter(|line| !except.iter().any(|word| line.contains(word)))
            .filter(|line| !(injected() && MADE_FOR_IT.iter().any(|word| line.contains(word))))
            .map(str::to_owned)
            .collect()
    };
    let (outside, inside) = (lines(outside), lines(inside));
    let different: Vec<String> = outside
        .iter()
        .zip(&inside)
        .filter(|(outside, inside)| outside != inside)
        .map(|(outside, inside)| format!("outside  {outside}\ninside   {inside}"))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(outside.len(), inside.len());
}

#[test]
fn connections_behave_as_without_stockade() {
    let world = World::new();
    let open = Server::echo(free());
    let closed = SocketAddr::from((address(), 9));
    let full = full(free());
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok();
    let six_port = six
        .as_ref()
        .map_or(0, |listener| listener.local_addr().unwrap().port());
    let command = arguments(open.address(), closed, full.address, six_port);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let outside = world.outside(&command);
    let grant = format!(
        "--allow-net={},{closed},{},[::1]:{six_port}",
        open.address(),
        full.address
    );
    let inside = world.child(&[&grant], &command);
    expect_same_lines(&outside, &inside, &REFUSED_EARLIER);
    // Without the grants another thing is seen.
    let denied = world.child(&[&format!("--allow-net={closed}")], &command);
    denied.expect_success();
    assert!(denied.stdout.contains("blocking: -1 EACCES"), "{denied:?}");
}

#[test]
fn names_behave_as_addresses() {
    let world = World::new();
    let open = Server::echo(free());
    let closed = SocketAddr::from((address(), 9));
    let full = full(free());
    world
        .name("open.test", open.ip())
        .name("closed.test", closed.ip())
        .name("full.test", full.address.ip());
    let command = arguments(open.address(), closed, full.address, 0);
    let outside = world.outside(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let grant = format!(
        "--allow-net=open.test:{},closed.test:9,full.test:{}",
        open.port(),
        full.address.port()
    );
    let inside = after_lookups(&world, &grant, &command);
    expect_same_lines(&outside, &inside, &REFUSED_EARLIER);
}

#[test]
fn the_relay_keeps_what_a_program_sees() {
    let (Some(open), Some(closed), Some(busy)) = (low_port(443), low_port(443), low_port(443))
    else {
        return;
    };
    let world = World::new();
    let server = Server::echo(open);
    let full = full(busy);
    world
        .name("open.test", open.ip())
        .name("closed.test", closed.ip())
        .name("full.test", full.address.ip());
    let command = arguments(server.address(), closed, full.address, 0);
    let outside = world.outside(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let inside = after_lookups(
        &world,
        "--allow-net=open.test:443,closed.test:443,full.test:443",
        &command,
    );
    // The other end is the relay, and says so; a refusal that comes at once is told at once.
    let except = [
        &REFUSED_EARLIER[..],
        &[
            "peer ",
            "nonblocking refused",
            "refused by call",
            "edge refused",
        ],
    ]
    .concat();
    expect_same_lines(&outside, &inside, &except);
}

/// Runs the program after the names were looked up in the same sandbox.
fn after_lookups(world: &World, grant: &str, command: &[String]) -> Outcome {
    let script = "for name in open closed full; do getent ahosts $name.test >/dev/null || exit 9; done; exec timeout 30 \"$@\"";
    let shell = crate::egress::world::tool("sh");
    let mut all = vec![shell.as_str(), "-c", script, "sh"];
    all.extend(command.iter().map(String::as_str));
    let getent = crate::egress::world::tool("getent");
    // A call that hangs is a difference, too.
    let timeout = crate::egress::world::tool("timeout");
    let run = format!("--allow-run={getent},{timeout},{}", command[0]);
    world.child(&[grant, &run], &all)
}
