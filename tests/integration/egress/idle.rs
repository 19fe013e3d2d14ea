// SPDX-License-Identifier: MIT
//! Connections on which nothing is said for a while.

use std::io::{BufReader, Write};
use std::time::Duration;

use crate::egress::servers::{Server, head};
use crate::egress::world::{World, low_port};

/// Long for an impatient relay, short for a test.
const PAUSE: Duration = Duration::from_secs(3);

/// Answers each request of a connection late, and in two parts with a pause between.
fn patient(address: std::net::SocketAddr) -> Server {
    Server::start(address, |stream, say| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(lines) = head(&mut reader) {
            let host = lines
                .iter()
                .find(|line| line.to_ascii_lowercase().starts_with("host:"));
            say(host.cloned().unwrap_or_default().to_ascii_lowercase());
            std::thread::sleep(PAUSE);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nlate ");
            std::thread::sleep(PAUSE);
            if stream.write_all(b"news").is_err() {
                break;
            }
        }
    })
}

#[test]
fn long_polls_by_name_pass_the_relay() {
    let Some(address) = low_port(80) else {
        return;
    };
    let server = patient(address);
    let world = World::new();
    world
        .name("good.test", server.ip())
        .name("evil.test", server.ip());
    // Twice on one connection, with a pause of the client's own between.
    let script = |host: &str| {
        format!(
            "const poll = async () => console.log(await (await fetch('http://{host}/poll')).text());
             await poll();
             await new Promise((done) => setTimeout(done, {}));
             await poll();",
            PAUSE.as_millis()
        )
    };
    let twice = "late news\nlate news\n";
    world
        .bare(&script(&server.ip().to_string()))
        .expect_output(twice);
    let before = server.hits();
    world
        .run(&["--allow-net=good.test"], &script("good.test"))
        .expect_output(twice);
    assert_eq!(server.hits(), before + 1);
    let said = server.said();
    assert_eq!(
        said[said.len() - 2..],
        ["host: good.test", "host: good.test"]
    );
    world
        .run(&["--allow-net=good.test"], &script("evil.test"))
        .expect_code(1);
    assert_eq!(
        (server.hits(), server.said().len()),
        (before + 1, said.len())
    );
}
