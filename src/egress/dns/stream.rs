// SPDX-License-Identifier: MIT
//! DNS over TCP, RFC 7766: length-prefixed queries, several at once, replies in any order.
//!
//! Invariant: a stream holds at most a few queries and replies in memory, and ends when it is idle,
//! broken, or has asked enough.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::filter::{Asker, Filter, Transport};
use super::message::QUERY_LIMIT;

/// Longest time between two queries, for a query to arrive, and for a reply to be taken.
const IDLE: Duration = Duration::from_secs(30);
/// Most queries on one stream.
const QUERIES: usize = 1000;
/// Most queries of one stream under way at once.
const AT_ONCE: usize = 16;

/// Serves one connection until its end. Has to run inside a `LocalSet` or a
/// `LocalRuntime`.
pub async fn serve_stream(filter: Rc<Filter>, stream: TcpStream, asker: Asker) {
    let (reader, writer) = stream.into_split();
    serve(filter, reader, writer, asker).await;
}

/// As [`serve_stream`], over any pair of halves.
pub(super) async fn serve(
    filter: Rc<Filter>,
    mut reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + 'static,
    asker: Asker,
) {
    let (replies, taken) = mpsc::channel(AT_ONCE);
    let writing = spawn_local(write_replies(writer, taken));
    let room = Arc::new(Semaphore::new(AT_ONCE));
    for _ in 0..QUERIES {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            break;
        };
        let Ok(Ok(Some(query))) = timeout(IDLE, read_query(&mut reader)).await else {
            break;
        };
        // The other side takes no replies any more.
        if replies.is_closed() {
            break;
        }
        let (filter, asker, replies) = (Rc::clone(&filter), asker.clone(), replies.clone());
        spawn_local(async move {
            if let Some(reply) = filter.answer(&query, &asker, Transport::Tcp).await {
                // A closed channel: nobody is there to be told.
                let _ = replies.send(reply).await;
            }
            drop(place);
        });
    }
    drop(replies);
    // Ends when the last query under way has its reply written, or one cannot be. An error would be
    // a panic or a cancellation, and means the same: over.
    let _ = writing.await;
}

/// The next query; none at the end of the stream and for lengths no query has.
async fn read_query(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    reader.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > QUERY_LIMIT {
        return Ok(None);
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query).await?;
    Ok(Some(query))
}

async fn write_replies(mut writer: impl AsyncWrite + Unpin, mut replies: mpsc::Receiver<Vec<u8>>) {
    while let Some(reply) = replies.recv().await {
        let Ok(length) = u16::try_from(reply.len()) else {
            continue;
        };
        // One write: some clients expect length and message in one segment.
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        if !matches!(timeout(IDLE, writer.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
