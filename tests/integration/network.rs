// SPDX-License-Identifier: MIT
//! Sockets: none without a grant, all internet ones with the bare grant, none of the others ever.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;

use libc::{EACCES, EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT};

use crate::machine::landlock_abi;
use crate::support::{Project, expect_errno, expect_not_errno};

const INTERNET: [&str; 5] = [
    "socket:2:1,0",  // INET stream
    "socket:2:2,0",  // INET datagram
    "socket:10:1,0", // INET6 stream
    "socket:10:2,17",
    "socket:2:1,6",
];
const LOCAL: [&str; 4] = [
    "socket:1:1,0", // UNIX stream
    "socket:1:2,0",
    "socket:1:5,0",
    "socket:16:3,0", // NETLINK route
];

/// Accepts and answers until the test ends.
fn tcp_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut byte = [0; 1024];
            let _ = stream.read(&mut byte);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
            );
        }
    });
    port
}

#[test]
fn no_socket_without_a_grant() {
    let project = Project::new();
    let port = tcp_server();
    let connect = [
        format!("connect:{port}:"),
        format!("fastopen:{port}:"),
        format!("udp:{port}:"),
        "listen:0:".to_owned(),
    ];
    let mut items: Vec<&str> = INTERNET.iter().chain(&LOCAL).copied().collect();
    items.extend(connect.iter().map(String::as_str));
    let outside = project.probe_bare(&items);
    for flags in [
        &[][..],
        &["--deny-net"],
        &["--allow-net", "--deny-net"],
        &["--allow-read", "--allow-write", "--allow-env"],
    ] {
        let inside = project.probe(flags, &items);
        for item in &items {
            expect_errno(&inside, item, &[EACCES]);
        }
    }
    let child = project.probe_child(&[], &items);
    for item in &items {
        expect_errno(&child, item, &[EACCES]);
        expect_not_errno(&outside, item, &[EACCES, EPERM]);
    }
    let granted = project.probe(&["--allow-net"], &items);
    for item in INTERNET
        .iter()
        .chain(&[connect[0].as_str(), &connect[2], &connect[3]])
    {
        expect_errno(&granted, item, &[0]);
    }
}

#[test]
fn a_socket_by_the_c_librarys_own_name() {
    let script = r#"
        const library = Deno.dlopen("libc.so.6", {
          socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
          syscall: { parameters: ["i64", "i64", "i64", "i64"], result: "i64" },
        });
        const number = Deno.build.arch === "x86_64" ? 41n : 198n;
        for (const family of [2, 10, 1, 16]) {
          const fd = library.symbols.socket(family, family === 16 ? 3 : 1, 0);
          const raw = library.symbols.syscall(number, BigInt(family), family === 16 ? 3n : 1n, 0n);
          console.log(family, fd >= 0 ? "made" : "refused", raw >= 0n ? "made" : "refused");
        }
    "#;
    let project = Project::new().file("libc.ts", script);
    let all = |word: &str| {
        [2, 10, 1, 16]
            .map(|family| format!("{family} {word} {word}\n"))
            .concat()
    };
    project
        .bare(&["run", "--allow-ffi", "libc.ts"])
        .run()
        .expect_output(&all("made"));
    project
        .stockade(&["run", "--allow-ffi", "libc.ts"])
        .run()
        .expect_output(&all("refused"));
    let outcome = project
        .stockade(&["run", "--allow-ffi", "--allow-net", "libc.ts"])
        .run();
    outcome.expect_success();
    assert!(
        outcome.stdout.starts_with("2 made made\n10 made made\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn deno_says_what_deno_says_about_the_network() {
    let port = tcp_server();
    for script in [
        format!("await Deno.connect({{ hostname: '127.0.0.1', port: {port} }});"),
        format!("await fetch('http://127.0.0.1:{port}/');"),
        "Deno.listen({ port: 0 });".to_owned(),
        format!("new WebSocket('ws://127.0.0.1:{port}/');"),
        "Deno.serve(() => new Response('x'));".to_owned(),
    ] {
        let project = Project::new().file("net.ts", &script);
        let confined = project.stockade(&["run", "net.ts"]).run();
        confined.expect_same(&project.bare(&["run", "net.ts"]).run());
        confined
            .expect_code(1)
            .expect_error("NotCapable: Requires net access to")
            .expect_error("run again with the --allow-net flag");
    }
}

#[test]
fn the_bare_grant_reaches_servers_and_serves() {
    let port = tcp_server();
    let project = Project::new()
        .file(
            "client.ts",
            &format!(
                "console.log(await (await fetch('http://127.0.0.1:{port}/')).text());
                 const connection = await Deno.connect({{ port: {port} }});
                 await connection.write(new TextEncoder().encode('GET / HTTP/1.0\\r\\n\\r\\n'));
                 console.log((await new Response(connection.readable).text()).split('\\r\\n')[0]);"
            ),
        )
        .file(
            "server.ts",
            "const server = Deno.serve({ port: 0, hostname: '127.0.0.1', onListen() {} }, (request) => new Response(new URL(request.url).pathname));
             const { port } = server.addr;
             console.log(await (await fetch(`http://127.0.0.1:${port}/path`)).text());
             console.log(await (await fetch(`http://localhost:${port}/name`)).text());
             await server.shutdown();",
        )
        .file(
            "udp.ts",
            "import dgram from 'node:dgram';
             const server = dgram.createSocket('udp4');
             server.on('message', (message, from) => { server.send('back ' + message, from.port, from.address); });
             server.bind(0, '127.0.0.1', () => {
               const client = dgram.createSocket('udp4');
               client.on('message', (message) => { console.log(String(message)); client.close(); server.close(); });
               client.send('there', server.address().port, '127.0.0.1');
             });",
        );
    for (script, output) in [
        ("client.ts", "hello\nHTTP/1.1 200 OK\n"),
        ("server.ts", "/path\n/name\n"),
        ("udp.ts", "back there\n"),
    ] {
        project
            .bare(&["run", "--allow-net", script])
            .run()
            .expect_output(output);
        for flag in ["--allow-net", "-N"] {
            project
                .stockade(&["run", flag, script])
                .run()
                .expect_output(output);
        }
        let denied = project
            .stockade(&["run", "--allow-net", "--deny-net", script])
            .run();
        denied.expect_code(1);
        assert!(!denied.stdout.contains('\n'), "{}", denied.stdout);
    }
}

#[test]
fn udp_reaches_a_server_under_the_bare_grant() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let item = format!("udp:{}:", server.local_addr().unwrap().port());
    let project = Project::new();
    expect_errno(&project.probe(&[], &[&item]), &item, &[EACCES]);
    server.set_nonblocking(true).unwrap();
    let mut byte = [0; 8];
    assert!(server.recv(&mut byte).is_err(), "a datagram got out");
    expect_errno(&project.probe(&["--allow-net"], &[&item]), &item, &[0]);
    server.set_nonblocking(false).unwrap();
    assert_eq!(server.recv(&mut byte).unwrap(), 1);
}

#[test]
fn host_rules_start_as_in_deno() {
    let project = Project::new().file("ok.ts", "console.log('ran');");
    for flag in [
        "--allow-net=example.com",
        "--allow-net=127.0.0.1:8080",
        "--allow-net=10.0.0.0/8",
        "--allow-net=[::1]:80",
        "--allow-net=*.example.com:443",
    ] {
        for words in [
            &["run", flag, "ok.ts"][..],
            &["run", flag, "--deny-net=a.com", "ok.ts"],
        ] {
            project.stockade(words).run().expect_output("ran\n");
            project.bare(words).run().expect_output("ran\n");
        }
    }
    // A malformed one is a mistake, and says which.
    project
        .stockade(&["run", "--allow-net=http://example.com/", "ok.ts"])
        .run()
        .expect_refused()
        .expect_error("invalid entry `http://example.com/` of `--allow-net`");
}

#[test]
fn peers_without_a_rule_are_denied_and_recorded() {
    let port = tcp_server();
    let project = Project::new().file(
        "connect.ts",
        "try { await Deno.connect({ hostname: '127.0.0.1', port: Number(Deno.args[0]) }); console.log('connected'); } catch (error) { console.log(error.name); }",
    );
    let port = port.to_string();
    let rule = format!("--allow-net=127.0.0.1:{port}");
    let run = |net: &str| {
        project
            .stockade(&["run", net, "--audit=denials.jsonl", "connect.ts", &port])
            .run()
    };
    let recorded = || std::fs::read_to_string(project.path("denials.jsonl")).unwrap();
    run(&rule).expect_output("connected\n");
    assert_eq!(recorded(), "");
    // By a native library, which Deno does not check.
    let other = "--allow-net=127.0.0.1:1";
    let item = format!("connect:{port}:127.0.0.1");
    let probed = project.probe(&[other, "--audit=denials.jsonl"], &[&item]);
    expect_errno(&probed, &item, &[EACCES]);
    let line: serde_json::Value = serde_json::from_str(recorded().trim()).unwrap();
    assert_eq!(line["action"], "connect");
    assert_eq!(line["port"].to_string(), port);
}

#[test]
fn unix_sockets_stay_closed_and_pairs_work() {
    let project = Project::new();
    let path = project.path("server.sock");
    let _server = UnixListener::bind(&path).unwrap();
    let datagram = project.path("datagram.sock");
    let receiver = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    let name = format!("stockade-test-{}", std::process::id());
    let abstract_name = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap()
    };
    let _abstract_server = UnixListener::bind_addr(&abstract_name).unwrap();
    let connects = [
        format!("unix_connect:0:{path}"),
        format!("unix_connect:0:@{name}"),
    ];
    let send = format!("pair_sendto:0:{datagram}");
    let pairs = ["socketpair:1:", "socketpair:5:"];
    let items: Vec<&str> = connects
        .iter()
        .map(String::as_str)
        .chain([send.as_str()])
        .chain(pairs)
        .collect();
    let outside = project.probe_bare(&items);
    receiver.set_nonblocking(true).unwrap();
    assert!(receiver.recv(&mut [0; 8]).is_ok(), "the control arrives");
    for flags in [
        &[][..],
        &["--allow-net"],
        &["--allow-read", "--allow-write"],
    ] {
        let inside = project.probe(flags, &items);
        for item in &connects {
            let accepted: &[i32] = if flags == ["--allow-net"] {
                &[EACCES, EPERM]
            } else {
                &[EACCES]
            };
            expect_errno(&inside, item, accepted);
            expect_errno(&outside, item, &[0]);
        }
        expect_errno(
            &inside,
            &send,
            &[
                EACCES,
                EPERM,
                EAFNOSUPPORT,
                ESOCKTNOSUPPORT,
                EPROTONOSUPPORT,
            ],
        );
        for item in pairs {
            expect_errno(&inside, item, &[0]);
        }
    }
    let child = project.probe_child(&["--allow-net"], &items);
    for item in connects.iter().map(String::as_str).chain([send.as_str()]) {
        expect_not_errno(&child, item, &[0]);
    }
    assert!(receiver.recv(&mut [0; 8]).is_err(), "a datagram got out");
    // A kernel that can tell paths apart opens them by write grants; an older one keeps them shut.
    let answers = project.probe(&["--allow-net", "--allow-write"], &connects[..1]);
    let accepted = if landlock_abi() >= 9 { 0 } else { EACCES };
    expect_errno(&answers, &connects[0], &[accepted]);
}

#[test]
fn other_families_are_closed_even_with_the_bare_grant() {
    let project = Project::new();
    let families = [
        "socket:2:1,262", // MPTCP
        "socket:2:3,1",   // raw ICMP
        "socket:2:3,255",
        "socket:2:2,1",   // ping
        "socket:2:1,132", // SCTP
        "socket:2:2,136", // UDP-Lite
        "socket:10:3,58",
        "socket:17:3,768", // packet
        "socket:17:2,768",
        "socket:40:1,0",  // VSOCK
        "socket:38:5,0",  // ALG
        "socket:15:3,2",  // KEY
        "socket:30:1,0",  // TIPC
        "socket:31:3,1",  // Bluetooth
        "socket:44:3,0",  // XDP
        "socket:21:5,0",  // RDS
        "socket:16:3,2",  // NETLINK of another protocol
        "socket:16:3,15", // NETLINK uevent
    ];
    // Stray bits of the type are no way around.
    let odd = ["socket:2:2049,262", "socket:2:526337,262"];
    let items: Vec<&str> = families.into_iter().chain(odd).collect();
    let outside = project.probe_bare(&items);
    let refusals = [
        EACCES,
        EPERM,
        EAFNOSUPPORT,
        EPROTONOSUPPORT,
        ESOCKTNOSUPPORT,
    ];
    let mut controls = 0;
    for flags in [&[][..], &["--allow-net"], &["-A"]] {
        let inside = project.probe(flags, &items);
        for item in &items {
            expect_errno(&inside, item, &refusals);
        }
    }
    for item in &items {
        controls += usize::from(outside[*item] == 0);
    }
    // Which of them this kernel has differs; MPTCP and netlink are everywhere.
    expect_errno(&outside, "socket:16:3,15", &[0]);
    assert!(controls >= 2, "{outside:?}");
    let allowed = project.probe(
        &["--allow-net"],
        &["socket:2:1,0", "socket:2:2049,6", "socket:16:3,0"],
    );
    assert!(allowed.values().all(|errno| *errno == 0), "{allowed:?}");
}
