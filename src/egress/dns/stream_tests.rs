// SPDX-License-Identifier: MIT
//! Queries over TCP: several in a row, cut at the end, too many, too long.

use hickory_proto::rr::RecordType;
use tokio::io::{DuplexStream, duplex, split};
use tokio::task::JoinHandle;

use super::super::filter::tests::{query, run, simple, text};
use super::*;

fn start(filter: &Rc<Filter>) -> (DuplexStream, JoinHandle<()>) {
    let (here, there) = duplex(1 << 20);
    let (reader, writer) = split(there);
    let serving = serve(Rc::clone(filter), reader, writer, Asker::default());
    (here, spawn_local(serving))
}

fn framed(query: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    framed
}

async fn reply(stream: &mut DuplexStream) -> Option<String> {
    let length = stream.read_u16().await.ok()?;
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await.ok()?;
    Some(text(&reply))
}

#[test]
fn queries_in_a_row_are_answered() {
    run(async {
        let (mut stream, serving) = start(&simple(Some(Duration::from_millis(5))));
        let mut all = Vec::new();
        for _ in 0..100 {
            all.extend(framed(&query("a.example", RecordType::A)));
        }
        // In pieces, so that a length is cut in two.
        for piece in all.chunks(7) {
            stream.write_all(piece).await.unwrap();
        }
        for _ in 0..100 {
            assert_eq!(reply(&mut stream).await.as_deref(), Some("ok 1.1.1.1"));
        }
        stream.shutdown().await.unwrap();
        serving.await.unwrap();
        assert_eq!(reply(&mut stream).await, None);
    });
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    run(async {
        let (mut stream, serving) = start(&simple(Some(Duration::from_millis(20))));
        let query = framed(&query("a.example", RecordType::A));
        stream.write_all(&query).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(reply(&mut stream).await.as_deref(), Some("ok 1.1.1.1"));
        serving.await.unwrap();
    });
}

#[test]
fn a_stream_ends_when_it_asked_enough() {
    run(async {
        let (mut stream, serving) = start(&simple(None));
        let query = framed(&query("b.example", RecordType::A));
        let mut answered = 0;
        for _ in 0..QUERIES + 10 {
            if stream.write_all(&query).await.is_err() {
                break;
            }
            match reply(&mut stream).await {
                Some(text) => assert_eq!(text, "none"),
                None => break,
            }
            answered += 1;
        }
        assert_eq!(answered, QUERIES);
        serving.await.unwrap();
    });
}

#[test]
fn no_query_has_that_length() {
    run(async {
        let (mut stream, serving) = start(&simple(None));
        stream.write_all(&[0xff, 0xff, 0, 0]).await.unwrap();
        assert_eq!(reply(&mut stream).await, None);
        serving.await.unwrap();
    });
}
