// SPDX-License-Identifier: MIT
//! Listeners of Deno under rules for their address and port, by both ways to the target's sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::egress::world::World;
use crate::support_life::start;

const ROUTES: [&str; 2] = ["getfd", "inject"];

/// A port that nobody uses.
fn port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn listeners_are_granted_by_every_form_of_a_rule() {
    let world = World::new();
    let script = "
        for (const place of Deno.args) {
          const [hostname, port] = place.split(' ');
          try {
            const listener = Deno.listen({ hostname, port: Number(port) });
            console.log(port === '0' ? listener.addr.port > 0 : listener.addr.port === Number(port));
            listener.close();
          } catch (error) {
            console.log(error.name);
          }
        }
    ";
    world.project.write("main.ts", script);
    let (mine, other) = (port().to_string(), port().to_string());
    let places = |listed: &[(&str, &str)]| -> Vec<String> {
        let all = listed.iter().map(|(host, port)| format!("{host} {port}"));
        std::iter::once("main.ts".to_owned()).chain(all).collect()
    };
    let cases = [
        (
            "127.0.0.1:0".to_owned(),
            places(&[("127.0.0.1", "0"), ("127.0.0.1", &mine), ("0.0.0.0", "0")]),
            "true\nNotCapable\nNotCapable\n",
        ),
        (
            "0.0.0.0:0".to_owned(),
            places(&[("0.0.0.0", "0"), ("127.0.0.1", "0")]),
            "true\nNotCapable\n",
        ),
        (
            format!("localhost:{mine}"),
            places(&[("localhost", &mine), ("localhost", &other)]),
            "true\nNotCapable\n",
        ),
        (
            format!(":{mine}"),
            places(&[
                ("127.0.0.1", &mine),
                ("0.0.0.0", &mine),
                ("localhost", &mine),
                ("127.0.0.1", &other),
            ]),
            "true\ntrue\ntrue\nNotCapable\n",
        ),
    ];
    for route in ROUTES {
        for (rule, words, expected) in &cases {
            let grant = format!("--allow-net={rule}");
            let outcome = world
                .stockade(&[&grant], words)
                .env("STOCKADE_SOCKET_ROUTE", route)
                .run();
            outcome.expect_output(expected);
        }
    }
}

#[test]
fn serve_listens_without_a_rule() {
    let world = World::new();
    let script = "export default {
        fetch: () => new Response('served'),
        onListen: ({ port }) => console.log(port),
    };";
    world.project.write("serve.ts", script);
    for route in ROUTES {
        let chosen = port().to_string();
        for flags in [
            &["--port", "0"][..],
            &["--host", "127.0.0.1", "--port", &chosen],
        ] {
            let words = [&["serve"], flags, &["serve.ts"]].concat();
            let launch = world
                .project
                .stockade(&words)
                .env("STOCKADE_SOCKET_ROUTE", route);
            let mut running = start(launch);
            let port = u16::try_from(running.number()).unwrap();
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("served"), "{route} {flags:?}: {answer}");
        }
    }
}
