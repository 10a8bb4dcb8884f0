//! Extracts the rows of a query's COPYs from their messages into chunks.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio_util::sync::{PollSemaphore, PollSender};

use super::super::buffers::{Buffer, BufferPool};
use super::{CopyChunk, CopySink, frame};

/// The error for a row that does not end with a newline, which means that bytes were lost or added in
/// transit.
const ROW_WITHOUT_END: &str =
    "lost synchronization with server: got a row of COPY that does not end with its newline";

/// The buffer for a row with a larger stated length grows as the row arrives.
const LARGE_ROW: usize = 1 << 20;

/// Collects the rows of a query's COPYs.
pub(super) struct CopyDemux {
    sender: PollSender<CopyChunk>,
    window: Option<(PollSemaphore, u32)>,
    gate: Option<PollSemaphore>,
    chunk_size: usize,
    buffers: BufferPool,
    chunk: CopyChunk,
    /// Bytes of the current row that have not arrived.
    missing: usize,
    /// Whether a COPY is in progress.
    is_inside: bool,
    /// Number of rows of the current COPY, or of the last one until it has been compared with the server's
    /// number.
    rows: Option<u64>,
    /// The receiver has been dropped; rows are read and discarded.
    abandoned: bool,
}

impl CopyDemux {
    pub(super) fn new(sink: CopySink) -> Self {
        CopyDemux {
            sender: PollSender::new(sink.sender),
            window: sink.window.map(|window| (PollSemaphore::new(window.free), window.size)),
            gate: sink.gate.map(PollSemaphore::new),
            chunk_size: sink.chunk_size,
            chunk: CopyChunk::default(),
            buffers: sink.buffers,
            missing: 0,
            is_inside: false,
            rows: None,
            abandoned: false,
        }
    }

    /// Whether a COPY is in progress.
    pub(super) fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Returns whether a row is incomplete.
    pub(super) fn is_in_row(&self) -> bool {
        self.missing > 0
    }

    /// Begins a COPY.
    pub(super) fn begin(&mut self) {
        (self.is_inside, self.rows) = (true, Some(0));
    }

    /// Ends a COPY that has succeeded, and sends its last chunk.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.send(cx, true));
        self.is_inside = false;
        Poll::Ready(())
    }

    /// Ends a COPY that has failed, and sends the rows received so far.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.chunk.rows > 0 {
            ready!(self.send(cx, false));
        }
        self.is_inside = false;
        Poll::Ready(())
    }

    /// Compares the number of rows in the command tag with the number received.
    pub(super) fn check_end(&mut self, tag: &[u8]) -> io::Result<()> {
        let (Some(came), Some(sent)) = (self.rows.take(), frame::copied_rows(tag)) else { return Ok(()) };
        if came == sent {
            return Ok(());
        }
        Err(frame::broken(format!("the server sent {sent} rows, but {came} arrived")))
    }

    /// Takes the rows from the front of the input.
    pub(super) fn extract_rows(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.missing == 0 {
                if self.chunk.data.len() >= self.chunk_size {
                    ready!(self.send(cx, false));
                }
                match frame::length(input) {
                    Some((b'd', length)) if self.is_inside => {
                        let row = frame::check(b'd', length, true)? - 4;
                        // A row in text format has at least its newline.
                        if row == 0 {
                            return Poll::Ready(Err(frame::lost(b'd', length)));
                        }
                        if row > self.chunk_size && self.window.is_some() && !self.abandoned {
                            ready!(self.poll_large(cx, row));
                        }
                        input.advance(5);
                        self.missing = row;
                        self.chunk.rows += 1;
                        self.rows = self.rows.map(|rows| rows + 1);
                    }
                    _ => return Poll::Ready(Ok(())),
                }
            }
            let length = self.missing.min(input.len());
            let bytes = input.get(..length).unwrap_or_default();
            if length == self.missing && bytes.last() != Some(&b'\n') {
                return Poll::Ready(Err(frame::broken(ROW_WITHOUT_END.to_owned())));
            }
            if !self.abandoned {
                self.make_room(length);
                self.chunk.data.extend_from_slice(bytes);
            }
            input.advance(length);
            self.missing -= length;
            if self.missing > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reserves room for the next `coming` bytes of the current row. For small rows, the chunk grows to its
    /// full size at once. A large row ends up with exactly the size it needs, because doubling would use
    /// twice its size. Until then it gets no more than has arrived, because the rest of the stated length may
    /// never arrive.
    fn make_room(&mut self, coming: usize) {
        if self.chunk.data.capacity() == 0 {
            self.chunk.data = self.buffers.take();
        }
        let held = self.chunk.data.len();
        if self.chunk.data.capacity() - held < coming {
            let full = (self.chunk_size + self.chunk_size / 8).saturating_sub(held);
            let row = self.missing.min(held.max(LARGE_ROW)).max(coming);
            self.chunk.data.reserve_exact(row.max(full));
        }
    }

    /// Sends the chunk when there is room for it, and begins a new one.
    fn send(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<()> {
        if self.abandoned || !ready!(self.poll_room(cx)) {
            self.abandoned = true;
            self.chunk = CopyChunk::default();
            return Poll::Ready(());
        }
        let CopyChunk { data, rows, share, .. } = std::mem::take(&mut self.chunk);
        let data = match data.len() < data.capacity() / 2 {
            // Keeps a large buffer out of the queue if it holds only a few rows of a small table.
            true => {
                let small = Buffer::from(data.to_vec());
                self.chunk.data = data;
                self.chunk.data.clear();
                small
            }
            false => data,
        };
        self.abandoned = self.sender.send_item(CopyChunk { data, rows, is_last, share }).is_err();
        Poll::Ready(())
    }

    /// Prepares for a row that makes a chunk of its own. It waits for room in the window before it uses
    /// memory. A row larger than the window also waits for its permit, so that only one such row is in
    /// memory.
    fn poll_large(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        if !self.chunk.data.is_empty() {
            ready!(self.send(cx, false));
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some((_, size)) = &self.window
            && length > *size
            && let Some(gate) = &mut self.gate
        {
            // Dropping the permit returns it. If the semaphore is closed, nothing receives the rows.
            drop(ready!(gate.poll_acquire(cx)));
        }
        self.poll_share(cx, length)
    }

    /// Waits for a chunk's permits of the window.
    fn poll_share(&mut self, cx: &mut Context<'_>, length: u32) -> Poll<()> {
        if let Some((free, size)) = &mut self.window
            && self.chunk.share.is_none()
        {
            self.chunk.share = ready!(free.poll_acquire_many(cx, length.min(*size)));
        }
        Poll::Ready(())
    }

    /// Waits for room in the window and in the channel. Returns false if the receiver has been dropped.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let length = u32::try_from(self.chunk.data.len()).unwrap_or(u32::MAX);
        ready!(self.poll_share(cx, length));
        self.sender.poll_reserve(cx).map(|room| room.is_ok())
    }
}
