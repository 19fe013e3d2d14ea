// SPDX-License-Identifier: MIT
//! What a review found: calls that make the supervisor wait, options that lead packets elsewhere,
//! ports that are shared.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use libc::{EINTR, EPERM};
use socket2::{Domain, Socket, Type};

use crate::egress::servers::Server;
use crate::egress::world::{World, address, compiled, free};
use crate::support::python;
use crate::support_life::start;

const WAITS: &str = include_str!("../../data/net/waits.py");
const WAITS_C: &str = include_str!("../../data/net/waits.c");

/// A listener that takes nobody any more: attempts there stay under way.
struct Full {
    _listener: Socket,
    _only: TcpStream,
    address: SocketAddr,
}

impl Full {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&free().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        Self {
            _only: TcpStream::connect(address).unwrap(),
            _listener: listener,
            address,
        }
    }
}

fn command(words: &[String]) -> Vec<String> {
    let mut command = vec![python().to_str().unwrap().to_owned()];
    command.extend(["-c".to_owned(), WAITS.to_owned()]);
    command.extend_from_slice(words);
    command
}

fn with_peer(what: &str, peer: SocketAddr) -> Vec<String> {
    let (ip, port) = (peer.ip().to_string(), peer.port().to_string());
    command(&[what.to_owned(), ip, port])
}

fn text(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The run ends by its time limit, in time.
#[track_caller]
fn expect_in_time(world: &World, flags: &[&str], command: &[String]) {
    let begun = Instant::now();
    let flags = [flags, &["--timeout=4s"]].concat();
    let outcome = world.child(&flags, &text(command));
    assert_eq!(outcome.code, Some(124), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{outcome:?}");
}

#[test]
fn a_connection_under_way_is_waited_for_in_its_own_call() {
    let (world, full) = (World::new(), Full::new());
    let command = with_peer("second", full.address);
    let expected = format!("-1 {EINTR}\n");
    world.outside(&text(&command)).expect_output(&expected);
    let grant = format!("--allow-net={}", full.address);
    world
        .child(&[&grant, "--timeout=20s"], &text(&command))
        .expect_output(&expected);
}

#[test]
fn sockets_that_are_made_to_wait_stop_no_clock() {
    let (world, full) = (World::new(), Full::new());
    let program = compiled("waits", WAITS_C, &["-lpthread"]);
    let (ip, port) = (full.address.ip().to_string(), full.address.port());
    let command = [program, ip, port.to_string()];
    let grant = format!("--allow-net={}", full.address);
    expect_in_time(&world, &[&grant], &command);
}

#[test]
fn sockets_that_linger_stop_no_clock() {
    let world = World::new();
    let server = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    server.bind(&free().into()).unwrap();
    server.listen(4096).unwrap();
    let peer = server.local_addr().unwrap().as_socket().unwrap();
    let grant = format!("--allow-net={peer}");
    expect_in_time(&world, &[&grant], &with_peer("linger", peer));
}

#[test]
fn a_full_standard_error_stops_no_clock() {
    let world = World::new();
    let write = format!("--allow-write={}", world.project.directory().display());
    let run = format!("--allow-run={}", python().display());
    let flags = ["--allow-net=127.0.0.9:2", &write, &run, "--timeout=2s"];
    // The child has the very pipe that denials are told in.
    world.project.write(
        "main.ts",
        "const [program, ...args] = Deno.args;
         await new Deno.Command(program, { args, stderr: 'inherit' }).output();",
    );
    let mut words = vec!["main.ts".to_owned()];
    words.extend(command(&["beats".to_owned()]));
    let mut child = world.stockade(&flags, &words).into_command();
    child.stdout(std::process::Stdio::null());
    child.stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let beat = world.project.path("beat");
    let last = Path::new(&beat).metadata().unwrap().modified().unwrap();
    let silent = SystemTime::now().duration_since(last).unwrap();
    // Whoever reads now frees what the last line waits for.
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(silent > Duration::from_secs(1), "{silent:?}");
}

#[test]
fn options_that_lead_elsewhere_are_refused_where_addresses_are_judged() {
    let world = World::new();
    let words = command(&["options".to_owned()]);
    let allowed = "41 57 0\n1 25 0\n6 1 0\n";
    world.outside(&text(&words)).expect_output(allowed);
    world
        .child(&["--allow-net"], &text(&words))
        .expect_output(allowed);
    let refused = format!("41 57 {EPERM}\n1 25 {EPERM}\n6 1 0\n");
    world
        .child(&["--allow-net=[::1]:9"], &text(&words))
        .expect_output(&refused);
}

fn beside(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket)
}

#[test]
fn nobody_listens_beside_a_held_port() {
    let world = World::new();
    let server = Server::counter(free());
    world.name("held.test", server.ip());
    let script = format!(
        "const c = await Deno.connect({{ hostname: 'held.test', port: {} }});
         console.log(c.remoteAddr.port);
         setInterval(() => {{}}, 1000);",
        server.port()
    );
    world.project.write("main.ts", &script);
    let (grant, verify) = (
        format!("--allow-net=held.test:{}", server.port()),
        format!("--verify=held.test:{}=sni", server.port()),
    );
    let mut running = start(world.stockade(&[&grant, &verify], &["main.ts"]));
    let held = u16::try_from(running.number()).unwrap();
    assert_ne!(held, server.port());
    let held = SocketAddr::from(([127, 0, 0, 1], held));
    let refused = beside(held).map(|_| ()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EADDRINUSE));
    // The control: listeners that share their port are joined.
    let first = beside(SocketAddr::from((address(), 0))).unwrap();
    beside(first.local_addr().unwrap().as_socket().unwrap()).unwrap();
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.finish();
}

#[test]
fn modes_change_by_descriptors_where_sockets_are_injected() {
    let world = World::new();
    let write = format!("--allow-write={}", world.project.directory().display());
    let words = command(&["modes".to_owned()]);
    for route in ["getfd", "inject"] {
        world
            .child_launch(
                &[&write, "--allow-read=/etc/hosts", "--allow-net=127.0.0.9:2"],
                &text(&words),
            )
            .env("STOCKADE_SOCKET_ROUTE", route)
            .run()
            .expect_output(&format!("own 0\n/etc/hosts {EPERM}\n"));
    }
}

/// A socket after a refusal, after an attempt that was given up, and a datagram socket that looks at
/// one route after the other, as the sorting of addresses in getaddrinfo does.
const AGAIN: &str = r#"
import ctypes, errno, select, socket, sys
good, refused, full = [(sys.argv[at], int(sys.argv[at + 1])) for at in (1, 3, 5)]
libc = ctypes.CDLL(None, use_errno=True)

def give_up(connection):
    result = libc.connect(connection.fileno(), ctypes.create_string_buffer(16), 16)
    return ctypes.get_errno() if result else 0

def attempt(connection, peer):
    try:
        connection.connect(peer)
        return 0
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            return error.errno
    if not select.select([], [connection], [], 0.3)[1]:
        return errno.EINPROGRESS
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

for blocking in (True, False):
    connection = socket.socket()
    connection.setblocking(blocking)
    print("refused", attempt(connection, refused), attempt(connection, refused), attempt(connection, good))
    connection.close()
connection = socket.socket()
connection.setblocking(False)
print("given up", attempt(connection, full), give_up(connection), attempt(connection, good))
connection.close()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for peer in (good, refused, good):
    print("route", attempt(datagrams, (peer[0], 9)), give_up(datagrams))
print("routes", attempt(datagrams, (refused[0], 9)), attempt(datagrams, (good[0], 9)))
"#;

#[test]
fn a_socket_is_used_again_after_a_failure_on_both_routes() {
    let (world, full) = (World::new(), Full::new());
    let good = Server::counter(free());
    let closed = SocketAddr::from((address(), 9));
    let mut words = vec![
        python().to_str().unwrap().to_owned(),
        "-c".to_owned(),
        AGAIN.to_owned(),
    ];
    for peer in [good.address(), closed, full.address] {
        words.extend([peer.ip().to_string(), peer.port().to_string()]);
    }
    let outside = world.outside(&text(&words));
    let expected = &outside.expect_success().stdout;
    let ends: Vec<bool> = expected.lines().map(|line| line.ends_with(" 0")).collect();
    assert_eq!(ends, [true; 7], "{expected}");
    let grant = format!("--allow-net={},{closed},{}", good.address(), full.address);
    let before = good.hits();
    for route in ["getfd", "inject"] {
        world
            .child_launch(&[&grant], &text(&words))
            .env("STOCKADE_SOCKET_ROUTE", route)
            .run()
            .expect_output(expected);
    }
    assert_eq!(good.hits(), before + 6);
}
