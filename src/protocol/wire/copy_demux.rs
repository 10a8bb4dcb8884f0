//! The rows of a query's COPYs, lifted out of their messages into chunks.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio_util::sync::{PollSemaphore, PollSender};

use super::super::buffers::{Buffer, BufferPool};
use super::{CopyChunk, CopySink, frame};

/// Every row ends with its newline, unless bytes were lost or added on the way.
const ROW_WITHOUT_END: &str =
    "lost synchronization with server: got a row of COPY that does not end with its newline";

/// A row that says it is longer takes memory as it comes.
const LARGE_ROW: usize = 1 << 20;

/// A query's COPYs, whose rows are lifted out.
pub(super) struct CopyDemux {
    sender: PollSender<CopyChunk>,
    window: Option<(PollSemaphore, u32)>,
    turn: Option<PollSemaphore>,
    chunk_size: usize,
    buffers: BufferPool,
    chunk: CopyChunk,
    /// Bytes of the present row that have not arrived.
    missing: usize,
    /// Whether a COPY has begun and not ended.
    is_inside: bool,
    /// Rows of the present COPY, or of the last one until the server has said its number.
    rows: Option<u64>,
    /// Nobody takes the rows any more; they are read and dropped.
    abandoned: bool,
}

impl CopyDemux {
    pub(super) fn new(sink: CopySink) -> Self {
        CopyDemux {
            sender: PollSender::new(sink.sender),
            window: sink.window.map(|window| (PollSemaphore::new(window.free), window.size)),
            turn: sink.turn.map(PollSemaphore::new),
            chunk_size: sink.chunk_size,
            chunk: CopyChunk::default(),
            buffers: sink.buffers,
            missing: 0,
            is_inside: false,
            rows: None,
            abandoned: false,
        }
    }

    /// Whether a COPY has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Whether a row has begun and not ended.
    pub(super) fn is_in_row(&self) -> bool {
        self.missing > 0
    }

    /// A COPY begins.
    pub(super) fn begin(&mut self) {
        (self.is_inside, self.rows) = (true, Some(0));
    }

    /// A COPY has ended well; its last chunk leaves.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.send(cx, true));
        self.is_inside = false;
        Poll::Ready(())
    }

    /// A COPY has failed; the rows that came leave.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.chunk.rows > 0 {
            ready!(self.send(cx, false));
        }
        self.is_inside = false;
        Poll::Ready(())
    }

    /// Compares the number of rows that the server says with those that came.
    pub(super) fn check_end(&mut self, tag: &[u8]) -> io::Result<()> {
        let (Some(came), Some(sent)) = (self.rows.take(), frame::copied_rows(tag)) else { return Ok(()) };
        if came == sent {
            return Ok(());
        }
        Err(frame::broken(format!("the server has sent {sent} rows, of which {came} came")))
    }

    /// Takes the rows at the front of the input.
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
                        // Without its newline it is no row in text format.
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

    /// Room for so many bytes of the present row. Small rows grow the chunk to its full size at once; a large one gets
    /// exactly what it needs in the end, since doubling would cost twice its size, and on the way no more than has come:
    /// the rest of what its message says may never come.
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

    /// Sends the chunk when there is room for it on the way; what comes next begins a new one.
    fn send(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<()> {
        if self.abandoned || !ready!(self.poll_room(cx)) {
            self.abandoned = true;
            self.chunk = CopyChunk::default();
            return Poll::Ready(());
        }
        let CopyChunk { data, rows, share, .. } = std::mem::take(&mut self.chunk);
        let data = match data.len() < data.capacity() / 2 {
            // A large buffer is not to wait with a small table's rows in it.
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

    /// Prepares for a row that makes a chunk of its own: there must be room for it before it takes its
    /// memory, and one that is larger than the window must have come to its turn, so that of such rows
    /// there is but one.
    fn poll_large(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        if !self.chunk.data.is_empty() {
            ready!(self.send(cx, false));
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some((_, size)) = &self.window
            && length > *size
            && let Some(turn) = &mut self.turn
        {
            // A permit is back when it is dropped; without any semaphore nobody would take the rows.
            drop(ready!(turn.poll_acquire(cx)));
        }
        self.poll_share(cx, length)
    }

    /// Waits for a chunk's share of the window.
    fn poll_share(&mut self, cx: &mut Context<'_>, length: u32) -> Poll<()> {
        if let Some((free, size)) = &mut self.window
            && self.chunk.share.is_none()
        {
            self.chunk.share = ready!(free.poll_acquire_many(cx, length.min(*size)));
        }
        Poll::Ready(())
    }

    /// Waits for room in the window and in the channel; false if nobody takes chunks any more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let length = u32::try_from(self.chunk.data.len()).unwrap_or(u32::MAX);
        ready!(self.poll_share(cx, length));
        self.sender.poll_reserve(cx).map(|room| room.is_ok())
    }
}
