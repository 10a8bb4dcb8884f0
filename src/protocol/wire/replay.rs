//! Runs the wire on a server's bytes without a server, for the fuzzer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc};

use super::super::buffers::BufferPool;
use super::{ConnectionEvents, CopySink, NextSink, Scripts, Startup, Window, Wire};

/// The result of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The bytes passed to the driver.
    pub passed: Vec<u8>,
    /// The extracted rows of COPY.
    pub rows: Vec<u8>,
    /// For each COPY that ended, the total number of rows until then.
    pub ends: Vec<u64>,
    /// The error with which the stream was aborted.
    pub error: Option<String>,
    /// Whether the wire was pending although there was input and room.
    pub is_stuck: bool,
}

/// Reads a server's answers to one query of COPYs, which arrive in the given pieces. The driver accepts
/// `room` bytes at a time, at least 1.
pub fn replay<'a>(
    pieces: impl Iterator<Item = &'a [u8]> + Unpin,
    room: usize,
    chunk_size: usize,
) -> Replayed {
    let (sender, mut receiver) = mpsc::channel(1);
    let next_sink = NextSink::default();
    next_sink.set(CopySink {
        sender,
        chunk_size,
        buffers: BufferPool::new(2, 2 * chunk_size),
        window: Some(Window::new(2 * chunk_size)),
        gate: Some(Arc::new(Semaphore::new(1))),
    });
    let mut wire = Wire::new(
        ReplayTransport { pieces, rest: &[] },
        Startup::default(),
        next_sink,
        Scripts::default(),
        Arc::<ConnectionEvents>::default(),
    );
    let mut replayed = Replayed::default();
    let mut buffer = vec![0; room.max(1)];
    let mut count = 0;
    let mut take = |replayed: &mut Replayed| {
        let mut has_come = false;
        while let Ok(chunk) = receiver.try_recv() {
            has_come = true;
            count += chunk.rows;
            replayed.rows.extend_from_slice(&chunk.data);
            if chunk.is_last {
                replayed.ends.push(count);
            }
        }
        has_come
    };
    loop {
        let mut out = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut wire).poll_read(&mut Context::from_waker(Waker::noop()), &mut out);
        let has_come = take(&mut replayed);
        match polled {
            Poll::Ready(Ok(())) if out.filled().is_empty() => break,
            Poll::Ready(Ok(())) => replayed.passed.extend_from_slice(out.filled()),
            Poll::Ready(Err(error)) => {
                replayed.error = Some(error.to_string());
                break;
            }
            Poll::Pending if has_come => {}
            Poll::Pending => {
                replayed.is_stuck = true;
                break;
            }
        }
    }
    drop(wire);
    take(&mut replayed);
    replayed
}

/// A transport that never blocks.
struct ReplayTransport<'a, I> {
    pieces: I,
    rest: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]> + Unpin> AsyncRead for ReplayTransport<'a, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            let Some(piece) = self.pieces.next() else { return Poll::Ready(Ok(())) };
            self.rest = piece;
        }
        let (now, rest) = self.rest.split_at(self.rest.len().min(out.remaining()));
        out.put_slice(now);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// Discards what is written, because the answers already exist.
impl<'a, I: Iterator<Item = &'a [u8]> + Unpin> AsyncWrite for ReplayTransport<'a, I> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
