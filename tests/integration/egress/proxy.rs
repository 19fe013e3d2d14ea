// SPDX-License-Identifier: MIT
//! Networks whose only way out is an HTTP proxy: what is granted goes through it, by name, and names
//! are still judged here.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::egress::servers::{Process, Server};
use crate::egress::world::{World, free, tool};
use crate::support::Outcome;

/// What the proxy does with a peer.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Connects there instead.
    To(SocketAddr),
    /// Answers with this status.
    Status(u16),
    /// Never answers.
    Silent,
}

/// A proxy that speaks CONNECT and knows the ways; remembers `TARGET AUTHORIZATION`.
fn proxy(ways: &[(&str, Way)]) -> Server {
    let ways: HashMap<String, Way> = ways
        .iter()
        .map(|(peer, way)| ((*peer).to_owned(), *way))
        .collect();
    Server::start(free(), move |stream, say| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let target = match lines[0].split(' ').collect::<Vec<_>>()[..] {
            ["CONNECT", target, "HTTP/1.1"] => target.to_owned(),
            _ => format!("no CONNECT: {}", lines[0]),
        };
        assert!(lines.contains(&format!("Host: {target}")), "{lines:?}");
        let login = lines
            .iter()
            .find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        say(format!("{target} {}", login.unwrap_or("-")));
        let mut stream = stream;
        match ways.get(&target) {
            Some(Way::To(peer)) => {
                let upstream = TcpStream::connect(peer).unwrap();
                let accepted = b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n";
                // What the peer says first is often in one packet with the answer.
                let mut start = accepted.to_vec();
                let mut first = [0; 512];
                upstream
                    .set_read_timeout(Some(Duration::from_millis(100)))
                    .unwrap();
                let length = (&upstream).read(&mut first).unwrap_or(0);
                start.extend(&first[..length]);
                upstream.set_read_timeout(None).unwrap();
                stream.write_all(&start).unwrap();
                carry(stream, upstream);
            }
            Some(Way::Silent) => thread::sleep(Duration::from_secs(600)),
            Some(Way::Status(status)) => {
                let _ = write!(stream, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            }
            None => {
                let _ = write!(stream, "HTTP/1.1 502 Bad Gateway\r\n\r\n");
            }
        }
    })
}

fn carry(client: TcpStream, upstream: TcpStream) {
    let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let back = thread::spawn(move || pump(upstream, client));
    pump(from, to);
    let _ = back.join();
}

fn through(proxy: &Server) -> String {
    format!("--upstream-proxy=http://{}", proxy.address())
}

#[track_caller]
fn denials(outcome: &Outcome) -> Vec<&str> {
    let lines = outcome.stderr.lines();
    lines.filter(|line| line.starts_with("denied:")).collect()
}

#[test]
fn granted_names_go_through_the_proxy_and_nothing_else_does() {
    let world = World::new();
    let plain = Server::http(free(), "plain");
    let proxy = proxy(&[
        ("api.example:80", Way::To(plain.address())),
        ("evil.example:80", Way::To(plain.address())),
    ]);
    let script = "
        for (const host of ['api.example', 'evil.example', 'API.example.', 'sub.api.example', 'api.example:81']) {
          try {
            const answer = await fetch(`http://${host}/x`);
            console.log(host, await answer.text());
          } catch (error) {
            console.log(host, error.name);
          }
        }
        for (const path of ['/a', '/b']) await (await fetch('http://api.example' + path)).text();
    ";
    let through = through(&proxy);
    let outcome = world.run(&["--allow-net=api.example:80", &through], script);
    outcome.expect_success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "api.example plain",
            "evil.example NotCapable",
            "API.example. plain",
            "sub.api.example NotCapable",
            "api.example:81 NotCapable",
        ],
        "{outcome:?}"
    );
    let said = proxy.said();
    assert!(
        said.iter().all(|line| line == "api.example:80 -"),
        "{said:?}"
    );
    assert_eq!(plain.hits(), proxy.hits());
    assert!(
        plain
            .said()
            .iter()
            .all(|line| line.starts_with("api.example")),
        "{:?}",
        plain.said()
    );
    assert_eq!(world.dns.packets(), 0);
    // The control: the proxy is what makes it work, and it would take the other name as well.
    let direct = world.run(
        &["--allow-net=api.example:80"],
        "await fetch('http://api.example/');",
    );
    direct.expect_code(1);
    assert!(world.dns.packets() > 0);
    let both = "--allow-net=api.example:80,evil.example:80";
    world
        .run(
            &[both, &through],
            "console.log(await (await fetch('http://evil.example/')).text());",
        )
        .expect_output("plain\n");
}

#[test]
fn programs_without_the_runners_checks_reach_no_other_name() {
    let world = World::new();
    let good = Server::counter(free());
    let way = Way::To(good.address());
    let ways = [
        ("api.example:22", way),
        ("evil.example:22", way),
        ("api.example:23", way),
    ];
    let proxy = proxy(&ways);
    let items = [
        "reach,api.example,22",
        "reach,evil.example,22",
        "reach,api.example,23",
        "reach,sub.api.example,22",
        "reach,198.18.0.1,22",
        "reach,198.18.0.1,23",
        "reach,198.18.0.2,22",
        "look,api.example",
        "ask,udp,192.0.2.53,53,api.example,16",
    ];
    let flags = ["--allow-net=api.example:22", &through(&proxy)];
    let outcome = world.python(&flags, &items);
    outcome.expect_success();
    let answers: Vec<&str> = outcome
        .stdout
        .lines()
        .zip(items)
        .map(|(line, item)| line.strip_prefix(item).unwrap().trim())
        .collect();
    assert_eq!(
        answers[..8],
        [
            "reached",
            "error -2",
            "errno 13",
            "error -2",
            "reached",
            "errno 13",
            "errno 13",
            "198.18.0.1",
        ],
        "{outcome:?}"
    );
    assert_eq!(proxy.said(), ["api.example:22 -"; 2]);
    assert_eq!(good.hits(), 2);
    assert_eq!(world.dns.packets(), 0);
    // An address that stands for a name is not shown as one.
    assert!(
        denials(&outcome)
            .iter()
            .any(|line| line.contains("connect api.example:23 by")),
        "{outcome:?}"
    );
    // The proxy itself is no peer.
    let reach = format!("reach,{},{}", proxy.ip(), proxy.port());
    let before = proxy.hits();
    let outcome = world.python(&flags, &[&reach]);
    outcome
        .expect_success()
        .expect_output(&format!("{reach} errno 13\n"));
    assert_eq!(proxy.hits(), before);
}

#[test]
fn what_is_said_is_checked_behind_the_proxy_as_well() {
    let world = World::new();
    let port = TcpListener::bind(free()).unwrap().local_addr().unwrap();
    let mut tenants = Process::tenants(port);
    let plain = Server::http(free(), "plain");
    let proxy = proxy(&[
        ("good.test:443", Way::To(port)),
        ("good.test:80", Way::To(plain.address())),
    ]);
    let code = r"
import socket, ssl, sys
def tls(name):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(('good.test', 443), 20) as raw, context.wrap_socket(raw, server_hostname=name) as stream:
            stream.sendall(b'GET / HTTP/1.1\r\nHost: ' + name.encode() + b'\r\n\r\n')
            return 'answered' if stream.recv(100) else 'closed'
    except OSError:
        return 'closed'
def http(name):
    with socket.create_connection(('good.test', 80), 20) as stream:
        try:
            stream.sendall(b'GET / HTTP/1.1\r\nHost: ' + name.encode() + b'\r\n\r\n')
            return 'answered' if stream.recv(100) else 'closed'
        except OSError:
            return 'closed'
print(tls('good.test'), tls('evil.test'), http('good.test'), http('evil.test'))
";
    let python = crate::support::python().to_str().unwrap();
    let outcome = world.child(
        &["--allow-net=good.test", &through(&proxy)],
        &[python, "-c", code],
    );
    outcome.expect_output("answered closed answered closed\n");
    assert_eq!(proxy.hits(), 4);
    let said = tenants.said();
    assert!(
        said.iter().any(|line| line.contains("good"))
            && !said.iter().any(|line| line.contains("evil")),
        "{said:?}"
    );
    assert_eq!(plain.said(), ["good.test /"]);
    outcome.expect_error("evil.test");
    assert_eq!(world.dns.packets(), 0);
}

#[test]
fn servers_that_speak_first_are_heard() {
    let world = World::new();
    let mail = Server::banner(free(), "mail.example");
    let proxy = proxy(&[("mail.example:25", Way::To(mail.address()))]);
    // Deno's sockets do not block, python's do.
    let script = "
        const connection = await Deno.connect({ hostname: 'mail.example', port: 25 });
        const buffer = new Uint8Array(100);
        const read = async () => {
          let line = '';
          while (!line.endsWith('\\n')) {
            line += new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer)));
          }
          return line;
        };
        console.log((await read()).trim());
        await connection.write(new TextEncoder().encode('QUIT\\r\\n'));
        console.log((await read()).trim());
    ";
    let flags = ["--allow-net=mail.example:25", &through(&proxy)];
    let expected = "220 mail.example ESMTP\n221 bye\n";
    world.run(&flags, script).expect_output(expected);
    let code = r"
import socket
with socket.create_connection(('mail.example', 25), 20) as connection:
    connection.settimeout(None)
    print(connection.recv(100).decode().strip())
    connection.sendall(b'QUIT\r\n')
    print(connection.recv(100).decode().strip())
with socket.socket() as connection:
    connection.connect(('mail.example', 25))
    print(connection.recv(100).decode().strip())
";
    let python = crate::support::python().to_str().unwrap();
    let outcome = world.child(&flags, &[python, "-c", code]);
    outcome.expect_output(&format!("{expected}220 mail.example ESMTP\n"));
    assert_eq!((mail.hits(), proxy.hits()), (3, 3));
    assert_eq!(world.dns.packets(), 0);
}

#[test]
fn credentials_go_to_the_proxy_alone() {
    let world = World::new();
    let good = Server::counter(free());
    let proxy = proxy(&[("api.example:22", Way::To(good.address()))]);
    let flag = format!("--upstream-proxy=http://user:p%40ss@{}", proxy.address());
    let outcome = world.python(
        &["--allow-net=api.example:22", &flag],
        &["reach,api.example,22"],
    );
    outcome.expect_output("reach,api.example,22 reached\n");
    assert_eq!(proxy.said(), ["api.example:22 Basic dXNlcjpwQHNz"]);
}

#[test]
fn credentials_stand_in_no_report() {
    let world = World::new();
    let good = Server::counter(free());
    let proxy = proxy(&[
        ("api.example:22", Way::To(good.address())),
        ("api.example:23", Way::Status(407)),
    ]);
    let flag = format!("--upstream-proxy=http://eve:p%40ss@{}", proxy.address());
    let audit = world.project.path("audit.jsonl");
    let (net, audit_flag) = (
        "--allow-net=api.example:22,api.example:23",
        format!("--audit={audit}"),
    );
    let items = [
        "reach,api.example,22",
        "reach,api.example,23",
        "reach,other.example,22",
    ];
    let run = world.python(&[net, &flag, &audit_flag], &items);
    // All three are told of: what was reached, what the proxy refused, what is denied.
    run.expect_success().expect_error("407");
    run.expect_error("other.example");
    let told = std::fs::read_to_string(&audit).unwrap();
    assert!(
        told.contains("api.example") && told.contains("407"),
        "{told}"
    );
    let policy = format!(
        "version: 1\npermissions: {{net: ['api.example:22']}}\nproxy: http://eve:p%40ss@{}\n",
        proxy.address()
    );
    world.project.write("policy.yaml", &policy);
    world.project.write("main.ts", "");
    let mut reports = vec![told, format!("{}{}", run.stdout, run.stderr)];
    for words in [
        &["explain", net, &flag, "main.ts"][..],
        &["explain", "--json", net, &flag, "main.ts"],
        &["explain", "--policy=policy.yaml", "main.ts"],
        &["policy", "show", "--policy=policy.yaml"],
        &["policy", "show", "--format=yaml", "--policy=policy.yaml"],
        &["policy", "show", "--format=json", net, &flag],
    ] {
        let outcome = world.project.stockade(words).run();
        outcome.expect_success();
        assert!(outcome.stdout.contains("api.example"), "{words:?}");
        reports.push(format!("{}{}", outcome.stdout, outcome.stderr));
    }
    for report in reports {
        for secret in ["p@ss", "p%40ss", "eve:", "ZXZlOnBAc3M"] {
            assert!(!report.contains(secret), "{secret} in {report}");
        }
    }
}

#[test]
fn a_proxy_that_refuses_is_a_refused_connection_with_a_reason() {
    let world = World::new();
    let proxy = proxy(&[
        ("login.example:22", Way::Status(407)),
        ("denied.example:22", Way::Status(403)),
        ("silent.example:22", Way::Silent),
    ]);
    let items = [
        "reach,login.example,22",
        "reach,denied.example,22",
        "reach,gone.example,22",
    ];
    let flags = ["--allow-net=*.example:22", &through(&proxy)];
    let outcome = world.python(&flags, &items);
    outcome.expect_output(&items.map(|item| format!("{item} errno 111\n")).concat());
    for told in [
        "denied: talk to login.example:22 by",
        "the upstream proxy answered 407: it wants a user and password",
        "denied: talk to denied.example:22 by",
        "the upstream proxy answered 403",
        "denied: talk to gone.example:22 by",
        "the upstream proxy answered 502",
    ] {
        outcome.expect_error(told);
    }
    // Blocking sockets, and a limit of the program's own.
    let code = r"
import socket, struct, time
for name in ('login.example', 'silent.example'):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', 1, 0))
        try:
            connection.connect((name, 22))
            print('connected')
        except OSError as error:
            print(error.errno)
";
    let python = crate::support::python().to_str().unwrap();
    let started = Instant::now();
    world
        .child(&flags, &[python, "-c", code])
        .expect_output("111\n115\n");
    assert!(started.elapsed() < Duration::from_secs(30));
    let script = "
        for (const hostname of ['login.example', 'gone.example']) {
          await Deno.connect({ hostname, port: 22 }).catch((error) => console.log(error.name));
        }
    ";
    world
        .run(&flags, script)
        .expect_output("ConnectionRefused\nConnectionRefused\n");
}

#[test]
fn a_proxy_that_is_away_is_told() {
    let world = World::new();
    let nobody = TcpListener::bind(free()).unwrap().local_addr().unwrap();
    let outcome = world.python(
        &[
            "--allow-net=api.example:22",
            &format!("--upstream-proxy=http://{nobody}"),
        ],
        &["reach,api.example,22"],
    );
    outcome
        .expect_output("reach,api.example,22 errno 111\n")
        .expect_error("the upstream proxy cannot be reached");
    let outcome = world.python(
        &[
            "--allow-net=api.example:22",
            "--upstream-proxy=http://proxy.absent.test:1",
        ],
        &["reach,api.example,22"],
    );
    outcome
        .expect_success()
        .expect_error("the name of the upstream proxy cannot be looked up");
    // The proxy's own name is the only one that is looked up.
    let asked = world.dns.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|name| name == "proxy.absent.test"),
        "{asked:?}"
    );
}

#[test]
fn the_proxys_name_is_looked_up_outside() {
    let world = World::new();
    let good = Server::counter(free());
    let proxy = proxy(&[("api.example:22", Way::To(good.address()))]);
    world.name("proxy.corp.test", proxy.ip());
    let outcome = world.python(
        &[
            "--allow-net=api.example:22",
            &format!("--upstream-proxy=http://proxy.corp.test:{}", proxy.port()),
        ],
        &["reach,api.example,22", "look,proxy.corp.test"],
    );
    outcome.expect_output("reach,api.example,22 reached\nlook,proxy.corp.test error -2\n");
    assert_eq!((proxy.hits(), good.hits()), (1, 1));
    assert!(
        world
            .dns
            .asked()
            .iter()
            .all(|name| name == "proxy.corp.test")
    );
}

#[test]
fn far_addresses_go_through_the_proxy_and_near_ones_do_not() {
    let world = World::new();
    let (near, far) = (Server::counter(free()), Server::counter(free()));
    let proxy = proxy(&[("203.0.113.7:22", Way::To(far.address()))]);
    let grant = format!("--allow-net={},203.0.113.0/24:22", near.address());
    let reach = format!("reach,{},{}", near.ip(), near.port());
    let items = [
        &reach,
        "reach,203.0.113.7,22",
        "reach,203.0.113.7,23",
        "reach,localhost,1",
    ];
    let outcome = world.python(&[&grant, &through(&proxy)], &items);
    outcome.expect_output(&format!(
        "{reach} reached\n{} reached\n{} errno 13\n{} errno 13\n",
        items[1], items[2], items[3]
    ));
    assert_eq!((near.hits(), far.hits()), (1, 1));
    assert_eq!(proxy.said(), ["203.0.113.7:22 -"]);
}

#[test]
fn every_name_but_the_denied_goes_through_the_proxy() {
    let world = World::new();
    let good = Server::counter(free());
    let way = Way::To(good.address());
    let proxy = proxy(&[("a.example:22", way), ("b.example:22", way)]);
    let items = ["reach,a.example,22", "reach,b.example,22"];
    let outcome = world.python(
        &["--allow-net", "--deny-net=b.example", &through(&proxy)],
        &items,
    );
    outcome.expect_output(&format!("{} reached\n{} error -2\n", items[0], items[1]));
    assert_eq!(proxy.said(), ["a.example:22 -"]);
    assert_eq!((good.hits(), world.dns.packets()), (1, 0));
}

#[test]
fn curl_reaches_a_name_through_the_proxy() {
    let world = World::new();
    let plain = Server::http(free(), "plain");
    let proxy = proxy(&[("api.example:80", Way::To(plain.address()))]);
    let outcome = world.child(
        &["--allow-net=api.example:80", &through(&proxy)],
        &[&tool("curl"), "-sS", "-m", "20", "http://api.example/"],
    );
    outcome.expect_output("plain");
    assert_eq!(proxy.hits(), 1);
}
