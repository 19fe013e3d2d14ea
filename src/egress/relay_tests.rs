// SPDX-License-Identifier: MIT
//! The relay between real loopback sockets: what one side does the other sees, after the check.

use std::future::poll_fn;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

fn http() -> Expect {
    Expect::HttpHost {
        names: vec!["example.com".to_owned()],
        port: 80,
    }
}

fn tls() -> Expect {
    Expect::ServerName(vec!["example.com".to_owned()])
}

/// Runs on one thread, as the supervisor does, and never hangs.
fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let whole = LocalSet::new();
    runtime
        .block_on(whole.run_until(async { timeout(Duration::from_secs(20), test).await }))
        .unwrap();
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// The target's and the server's sockets, and the relay between them.
async fn relayed(expect: Expect) -> (TcpStream, TcpStream, JoinHandle<End>) {
    let ((target, client), (upstream, server)) = (pair().await, pair().await);
    let task = spawn_local(async move {
        relay(
            client,
            upstream,
            &expect,
            &Scratch::new(),
            &Traffic::default(),
        )
        .await
    });
    (target, server, task)
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn pause() {
    sleep(Duration::from_millis(20)).await;
}

#[test]
fn half_closed_connections_go_on_both_ways() {
    run(async {
        let (mut target, mut server, task) = relayed(Expect::Nothing).await;
        target.write_all(b"question").await.unwrap();
        target.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await, b"question");
        server.write_all(b"answer").await.unwrap();
        pause().await;
        assert!(!task.is_finished());
        drop(server);
        assert_eq!(read_all(&mut target).await, b"answer");
        assert!(matches!(task.await.unwrap(), End::Closed));

        let (mut target, mut server, task) = relayed(Expect::Nothing).await;
        server.write_all(b"banner").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(read_all(&mut target).await, b"banner");
        target.write_all(b"late").await.unwrap();
        drop(target);
        assert_eq!(read_all(&mut server).await, b"late");
        assert!(matches!(task.await.unwrap(), End::Closed));
    });
}

#[test]
fn a_refusal_resets_both_sides_and_sends_nothing() {
    run(async {
        let evil = &b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"[..];
        for (expect, said) in [(http(), evil), (tls(), GET), (tls(), b"x")] {
            let (mut target, mut server, task) = relayed(expect).await;
            target.write_all(said).await.unwrap();
            assert_reset(&mut target).await;
            assert_reset(&mut server).await;
            assert!(matches!(task.await.unwrap(), End::Refused(_)));
        }
        let (mut target, mut server, task) = relayed(http()).await;
        target.write_all(GET).await.unwrap();
        assert_eq!(read(&mut server, GET.len()).await, GET);
        target.write_all(evil).await.unwrap();
        assert_reset(&mut server).await;
        let refused = Refused::OtherHost("evil.example".to_owned());
        assert!(matches!(task.await.unwrap(), End::Refused(why) if why == refused));
    });
}

#[test]
fn a_head_in_pieces_goes_upstream_whole() {
    run(async {
        let (mut target, mut server, task) = relayed(http()).await;
        for byte in GET.chunks(7) {
            target.write_all(byte).await.unwrap();
            pause().await;
        }
        assert_eq!(read(&mut server, GET.len()).await, GET);
        target.write_all(&GET[..9]).await.unwrap();
        pause().await;
        let nothing = server.try_read(&mut [0; 16]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        target.shutdown().await.unwrap();
        assert!(matches!(
            task.await.unwrap(),
            End::Refused(Refused::Malformed(_))
        ));
    });
}

#[test]
fn resets_are_passed_on() {
    run(async {
        for _ in 0..2 {
            let (mut target, server, task) = relayed(Expect::Nothing).await;
            reset(&server);
            drop(server);
            assert_reset(&mut target).await;
            assert!(matches!(task.await.unwrap(), End::Closed));
            let (target, mut server, task) = relayed(http()).await;
            reset(&target);
            drop(target);
            assert_reset(&mut server).await;
            assert!(matches!(task.await.unwrap(), End::Closed));
            // also when the server may not speak yet
            let (mut target, server, task) = relayed(tls()).await;
            reset(&server);
            drop(server);
            assert_reset(&mut target).await;
            assert!(matches!(task.await.unwrap(), End::Closed));
        }
    });
}

#[test]
fn an_answer_before_a_reset_arrives() {
    run(async {
        let (mut target, mut server, task) = relayed(Expect::Nothing).await;
        target.write_all(&[1; 1000]).await.unwrap();
        pause().await;
        // closing with unread bytes resets
        server.write_all(b"413").await.unwrap();
        drop(server);
        pause().await;
        assert_eq!(read(&mut target, 3).await, b"413");
        assert_reset(&mut target).await;
        assert!(matches!(task.await.unwrap(), End::Closed));
    });
}

#[test]
fn silence_is_no_offence_and_its_end_is_seen() {
    run(async {
        for expect in [tls(), http()] {
            let (mut target, server, task) = relayed(expect.clone()).await;
            pause().await;
            assert!(!task.is_finished());
            drop(server);
            assert_eq!(read_all(&mut target).await, b"");
            drop(target);
            assert!(matches!(task.await.unwrap(), End::Closed));
            let (target, mut server, task) = relayed(expect).await;
            drop(target);
            assert_eq!(read_all(&mut server).await, b"");
            drop(server);
            assert!(matches!(task.await.unwrap(), End::Closed));
        }
    });
}

#[test]
fn a_server_that_speaks_first_is_not_heard() {
    run(async {
        for expect in [tls(), http()] {
            let (mut target, mut server, task) = relayed(expect).await;
            server.write_all(b"220 mail").await.unwrap();
            assert_reset(&mut target).await;
            assert!(matches!(
                task.await.unwrap(),
                End::Refused(Refused::ServerFirst)
            ));
        }
        let (mut target, mut server, task) = relayed(http()).await;
        server
            .write_all(b"HTTP/1.0 408 Timeout\r\n\r\n")
            .await
            .unwrap();
        drop(server);
        assert_eq!(read_all(&mut target).await.len(), 24);
        drop(target);
        assert!(matches!(task.await.unwrap(), End::Closed));
    });
}

#[test]
fn an_incomplete_message_has_limited_time() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let whole = LocalSet::new();
    runtime.block_on(whole.run_until(async {
        for (said, in_time) in [(&GET[..9], false), (GET, true)] {
            let ((mut target, client), (upstream, mut server)) = (pair().await, pair().await);
            let mut pump = Pump::new(client, upstream, &http());
            target.write_all(said).await.unwrap();
            pause().await;
            let scratch = Scratch::new();
            let mut begun = poll_fn(|context| Poll::Ready(pump.poll(context, &http(), &scratch)));
            assert!((&mut begun).await.is_pending());
            assert_eq!(pump.clock.is_none(), in_time, "{said:?}");
            if let Some(clock) = &mut pump.clock {
                clock.as_mut().reset(tokio::time::Instant::now());
                let stop = poll_fn(|context| pump.poll(context, &http(), &scratch)).await;
                assert!(matches!(stop, Stop::Refused(Refused::TimedOut)));
            } else {
                assert_eq!(read(&mut server, GET.len()).await, GET);
            }
        }
    }));
}

/// `length` bytes that differ from place to place.
fn pattern(from: usize, length: usize) -> Vec<u8> {
    (0..=250).cycle().skip(from).take(length).collect()
}

#[test]
fn much_goes_through_unchanged_both_ways() {
    const WHOLE: usize = 32 << 20;
    const PIECE: usize = 1 << 20;
    run(async {
        let (target, server, task) = relayed(Expect::Nothing).await;
        let mut tasks = Vec::new();
        for stream in [target, server] {
            let (mut reading, mut writing) = stream.into_split();
            tasks.push(spawn_local(async move {
                let block = pattern(0, 251 * 4096);
                let mut left = WHOLE;
                while left > 0 {
                    let part = left.min(block.len());
                    writing.write_all(&block[..part]).await.unwrap();
                    left -= part;
                }
            }));
            tasks.push(spawn_local(async move {
                let mut bytes = vec![0; PIECE];
                let block = pattern(0, PIECE + 251);
                for at in 0..WHOLE / PIECE {
                    reading.read_exact(&mut bytes).await.unwrap();
                    let from = at * PIECE % 251;
                    assert!(bytes == block[from..from + PIECE], "megabyte {at}");
                }
                assert_eq!(reading.read(&mut bytes).await.unwrap(), 0);
            }));
        }
        for each in tasks {
            each.await.unwrap();
        }
        assert!(matches!(task.await.unwrap(), End::Closed));
    });
}

#[test]
fn a_slow_reader_slows_the_writer_down() {
    run(async {
        let ((mut target, client), (upstream, mut server)) = (pair().await, pair().await);
        let mut pump = Pump::new(client, upstream, &Expect::Nothing);
        let scratch = Scratch::new();
        let block = vec![7; 1 << 20];
        let mut sent = 0;
        // the target writes until nothing moves any more
        let mut still = 0;
        while still < 20 {
            let stop =
                poll_fn(|context| Poll::Ready(pump.poll(context, &Expect::Nothing, &scratch)));
            assert!(stop.await.is_pending());
            assert!(pump.out.held.capacity() <= 2 * Scratch::LENGTH);
            match timeout(Duration::from_millis(5), target.write(&block)).await {
                Ok(written) => (sent, still) = (sent + written.unwrap(), 0),
                Err(_) => still += 1,
            }
        }
        assert!(!pump.out.held.is_empty() && sent < 64 << 20, "{sent} bytes");
        // and everything arrives once the reader reads
        let expect = Expect::Nothing;
        let task =
            spawn_local(
                async move { poll_fn(|context| pump.poll(context, &expect, &scratch)).await },
            );
        target.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.len(), sent);
        drop((target, server));
        task.await.unwrap();
    });
}

#[test]
fn websockets_open_and_other_answers_do_not() {
    let ask = [
        &GET[..GET.len() - 2],
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]
    .concat();
    run(async move {
        for (answer, opens) in [
            (&b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"[..], true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ] {
            let (mut target, mut server, task) = relayed(http()).await;
            target.write_all(&ask).await.unwrap();
            target.write_all(b"\x81early").await.unwrap();
            assert_eq!(read(&mut server, ask.len()).await, ask);
            pause().await;
            assert!(
                server.try_read(&mut [0; 16]).is_err(),
                "frames before the answer"
            );
            server.write_all(answer).await.unwrap();
            if opens {
                assert_eq!(read(&mut target, answer.len()).await, answer);
                assert_eq!(read(&mut server, 6).await, b"\x81early");
                server.write_all(b"\x81frame").await.unwrap();
                assert_eq!(read(&mut target, 6).await, b"\x81frame");
                drop((target, server));
                assert!(matches!(task.await.unwrap(), End::Closed));
            } else {
                assert_reset(&mut server).await;
                assert!(matches!(
                    task.await.unwrap(),
                    End::Refused(Refused::NotHttp)
                ));
            }
        }
    });
}

#[test]
fn an_idle_connection_is_small() {
    run(async {
        let ((_target, client), (upstream, _server)) = (pair().await, pair().await);
        let (expect, scratch) = (http(), Scratch::new());
        let traffic = Traffic::default();
        let future = relay(client, upstream, &expect, &scratch, &traffic);
        let size = size_of_val(&future);
        assert!(size <= 320, "{size} bytes");
        drop(future);
    });
}
