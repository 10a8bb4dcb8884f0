//! The producer side of a dump: [`DumpWriter`] cuts text and rows into chunks, and [`OrderedWriter`] puts the
//! compressed chunks back in order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::chunk::{Chunk, ChunkBuffers, ChunkSegment, Raw, RowFormat, SegmentContent};
use super::compress::{CompressedChunk, CompressionJob, CompressionPool, PackedBytes, UNIT, packed_bound};
use super::digest::ObjectDigest;
use super::layout::LayoutBuilder;
use super::seal::{self, Sealing};
use super::sink::{Sink, UnpublishedObject};
use super::{Finished, PipelineError, PipelineOptions};
use crate::archive::compression::Compression;
use crate::archive::toc::DumpId;
use crate::archive::toc::TextRole;

/// Maximum number of chunks in flight, in addition to the window's limit: with many small tables, chunks are
/// small.
const QUEUE: usize = 128;

/// The minimum weight of a chunk in the window. It accounts for memory other than the chunk's bytes.
const LEAST_WEIGHT: usize = 4 * UNIT;

/// Accepts a dump's text and rows in order. An error aborts the object, and so does dropping the writer.
///
/// ```text
/// text … begin_data row row … end_data text … finish → complete or abort
/// ```
#[derive(Debug)]
pub struct DumpWriter {
    options: PipelineOptions,
    buffers: Arc<ChunkBuffers>,
    /// The chunk being filled.
    raw: Vec<u8>,
    segments: Vec<ChunkSegment>,
    data: Option<DataInProgress>,
    chunks_sent: u64,
    /// `None` after a failure.
    channels: Option<Channels>,
}

/// The state between `begin_data` and `end_data`.
#[derive(Clone, Copy, Debug)]
struct DataInProgress {
    entry: DumpId,
    format: RowFormat,
    /// Whether a row has been written. The first row starts a new chunk.
    any: bool,
}

/// The channels to the compression threads and, in order, to the task that writes to the sink.
#[derive(Debug)]
struct Channels {
    jobs: SyncSender<CompressionJob>,
    order: mpsc::Sender<oneshot::Receiver<io::Result<CompressedChunk>>>,
    window: Arc<Semaphore>,
    window_units: u32,
    compression: Compression,
    cancel: CancellationToken,
    ordered_writer: JoinHandle<Result<Drained, PipelineError>>,
}

impl DumpWriter {
    /// Starts a dump into `sink`. Must be called within a tokio runtime.
    pub fn start(sink: Sink, options: PipelineOptions) -> Result<DumpWriter, PipelineError> {
        let checksums = options.checksums || sink.is_store();
        let chunk_size = options.chunk_size.max(1);
        let packed_size = packed_bound(options.compression, chunk_size);
        let buffers = Arc::new(ChunkBuffers::new(chunk_size, packed_size));
        let pool = CompressionPool {
            compression: options.compression,
            digest_rows: checksums,
            buffers: Arc::clone(&buffers),
            #[cfg(test)]
            delay: tests::delay(),
        };
        let jobs =
            pool.start(options.workers, QUEUE + 2).map_err(|source| PipelineError::Compress { source })?;
        let (order, receiver) = mpsc::channel(QUEUE);
        // A window of less than two chunks would allow only one thread to work at a time.
        let window_units = (options.window.max(2 * (chunk_size + packed_size)) / UNIT)
            .min(Semaphore::MAX_PERMITS.min(1 << 30));
        let window = Arc::new(Semaphore::new(window_units));
        let cancel = options.cancel.child_token();
        let sealing = options.recipients.as_ref().map(Sealing::begin).transpose();
        let ordered_writer = OrderedWriter {
            sink,
            sealing: sealing.map_err(|source| PipelineError::Encrypt { source })?,
            stored: 0,
            compression: options.compression,
            digest: checksums.then(ObjectDigest::default),
            layout: match options.layout {
                true => LayoutBuilder::new(options.max_members, chunk_size, checksums),
                false => LayoutBuilder::of_sizes(),
            },
            seek_table: Vec::new(),
            buffers: Arc::clone(&buffers),
        };
        let ordered_writer = tokio::spawn(ordered_writer.run(receiver, cancel.clone(), Arc::clone(&window)));
        let window_units = u32::try_from(window_units).unwrap_or(u32::MAX);
        let compression = options.compression;
        Ok(DumpWriter {
            raw: buffers.take_raw(),
            buffers,
            segments: Vec::new(),
            data: None,
            chunks_sent: 0,
            channels: Some(Channels {
                jobs,
                order,
                window,
                window_units,
                compression,
                cancel,
                ordered_writer,
            }),
            options,
        })
    }

    /// Writes text of an entry, or of the frame around the entries if `entry` is `None`.
    pub async fn text(&mut self, entry: Option<DumpId>, text: &[u8]) -> Result<(), PipelineError> {
        self.text_as(TextRole::Body, entry, text).await
    }

    /// Writes text of an entry in the given role. The table of contents uses the role to locate drop and copy
    /// statements.
    pub async fn text_as(
        &mut self,
        role: TextRole,
        entry: Option<DumpId>,
        text: &[u8],
    ) -> Result<(), PipelineError> {
        debug_assert!(self.channels.is_none() || self.data.is_none(), "text stands outside of data");
        let mut rest = text;
        while !rest.is_empty() {
            if self.raw.len() >= self.options.chunk_size {
                self.flush().await?;
            }
            // Text can be cut anywhere; only a row must not span two chunks.
            let room = (self.options.chunk_size - self.raw.len()).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.raw.extend_from_slice(now);
            self.note(SegmentContent::Text { entry, role }, now.len());
            rest = later;
        }
        self.check()
    }

    /// Begins the rows of an entry. An entry has at most one range of rows.
    pub async fn begin_data(&mut self, entry: DumpId, format: RowFormat) -> Result<(), PipelineError> {
        debug_assert!(self.channels.is_none() || self.data.is_none(), "data does not nest");
        self.data = Some(DataInProgress { entry, format, any: false });
        self.check()
    }

    /// Writes one whole row including its newline, or one whole statement.
    pub async fn row(&mut self, row: Bytes) -> Result<(), PipelineError> {
        self.rows(row, 1).await
    }

    /// Writes a block of whole rows. For [`RowFormat::Copy`], `rows` may be inexact, because those rows are
    /// counted when they are digested. A block of half a chunk or more becomes a chunk of its own without
    /// being copied, so blocks of about the size of a chunk are most efficient.
    pub async fn rows(&mut self, block: Bytes, rows: u64) -> Result<(), PipelineError> {
        let Some(data) = &mut self.data else {
            debug_assert!(false, "rows stand between begin_data and end_data");
            return Err(PipelineError::Stopped);
        };
        if block.is_empty() {
            return Ok(());
        }
        let content = SegmentContent::Data { entry: data.entry, format: data.format, rows };
        let begins = !std::mem::replace(&mut data.any, true);
        let fits = self.raw.len() + block.len() <= self.options.chunk_size;
        if !self.raw.is_empty() && (begins || !fits) {
            self.flush().await?;
        }
        if block.len() >= self.options.chunk_size / 2 && self.raw.is_empty() {
            self.note(content, block.len());
            return self.submit(Raw::Shared(block)).await;
        }
        self.raw.extend_from_slice(&block);
        self.note(content, block.len());
        Ok(())
    }

    /// Ends the rows of an entry. The terminator (`\.`) is written as text.
    pub async fn end_data(&mut self) -> Result<(), PipelineError> {
        if let Some(DataInProgress { entry, format, any: false }) = self.data.take() {
            // Records the position of a table without rows.
            self.segments
                .push(ChunkSegment { content: SegmentContent::Data { entry, format, rows: 0 }, length: 0 });
        }
        self.check()
    }

    /// Writes everything that is left. The object is then complete but not visible: call complete or abort on
    /// [`Finished::pending`].
    pub async fn finish(mut self) -> Result<Finished, PipelineError> {
        debug_assert!(self.channels.is_none() || self.data.is_none(), "data has been ended");
        // An empty dump still needs one gzip member or zstd frame.
        if !self.raw.is_empty() || !self.segments.is_empty() || self.chunks_sent == 0 {
            self.flush().await?;
        }
        let Some(Channels { jobs, order, ordered_writer, .. }) = self.channels.take() else {
            return Err(PipelineError::Stopped);
        };
        drop((jobs, order));
        let Drained { sink, layout, digest, size, header_size } =
            ordered_writer.await.unwrap_or(Err(PipelineError::Died("the pipeline's task")))?;
        let (raw_size, packed_size) = (layout.raw_size(), layout.object_size());
        let sums = digest.map(ObjectDigest::finish);
        Ok(Finished {
            raw_size,
            packed_size,
            size,
            header_size,
            sums,
            layout: layout.finish(),
            pending: UnpublishedObject::new(sink, size, sums),
        })
    }

    /// Aborts the dump and waits until the uploaded bytes have been removed, as far as the store allows.
    pub async fn abort(mut self) {
        if let Some(Channels { cancel, ordered_writer, .. }) = self.channels.take() {
            cancel.cancel();
            // The result is either `Cancelled` or the error for which the caller aborts.
            let _ = ordered_writer.await;
        }
    }

    fn note(&mut self, content: SegmentContent, length: usize) {
        let length = length as u64;
        match (self.segments.last_mut(), content) {
            (
                Some(ChunkSegment { content: SegmentContent::Text { entry, role }, length: total }),
                SegmentContent::Text { entry: same_entry, role: same_role },
            ) if *entry == same_entry && *role == same_role => *total += length,
            (
                Some(ChunkSegment { content: SegmentContent::Data { rows: sum, .. }, length: total }),
                SegmentContent::Data { rows, .. },
            ) if *total > 0 => {
                *sum += rows;
                *total += length;
            }
            _ => self.segments.push(ChunkSegment { content, length }),
        }
    }

    /// Sends the chunk being filled.
    async fn flush(&mut self) -> Result<(), PipelineError> {
        let raw = std::mem::replace(&mut self.raw, self.buffers.take_raw());
        self.submit(Raw::Buffer(raw)).await
    }

    async fn submit(&mut self, raw: Raw) -> Result<(), PipelineError> {
        let chunk = Chunk { raw, segments: std::mem::take(&mut self.segments) };
        let Some(channels) = &self.channels else { return Err(PipelineError::Stopped) };
        let sent = channels.send(chunk).await;
        self.chunks_sent += 1;
        if sent.is_none() { Err(self.failure().await) } else { Ok(()) }
    }

    /// Reports a failure of the sink even if nothing is sent.
    fn check(&self) -> Result<(), PipelineError> {
        if self.channels.is_some() { Ok(()) } else { Err(PipelineError::Stopped) }
    }

    /// Returns the error that closed the channels.
    async fn failure(&mut self) -> PipelineError {
        let Some(channels) = self.channels.take() else { return PipelineError::Stopped };
        drop((channels.jobs, channels.order));
        match channels.ordered_writer.await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => PipelineError::Stopped,
            Err(_) => PipelineError::Died("the pipeline's task"),
        }
    }
}

impl Drop for DumpWriter {
    fn drop(&mut self) {
        if let Some(channels) = &self.channels {
            channels.cancel.cancel();
        }
    }
}

impl Channels {
    /// Sends a chunk. Returns `None` if the pipeline has failed or was cancelled.
    async fn send(&self, chunk: Chunk) -> Option<()> {
        let raw_length = chunk.raw.len();
        let weight = (raw_length + packed_bound(self.compression, raw_length)).max(LEAST_WEIGHT) / UNIT;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let oversized = weight > self.window_units;
        let permit = self.acquire(weight.min(self.window_units)).await?;
        let (done, packed) = oneshot::channel();
        // The place in the order is reserved first, which bounds the number of waiting jobs by the capacity
        // of the job queue.
        let place = self.order.reserve().await.ok()?;
        self.jobs.try_send(CompressionJob { chunk, permit, done }).ok()?;
        place.send(packed);
        if oversized {
            // A single row exceeds the window: nothing else is read until the row has been written.
            drop(self.acquire(self.window_units).await?);
        }
        Some(())
    }

    async fn acquire(&self, weight: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.window).acquire_many_owned(weight).await.ok()
    }
}

/// The result of [`OrderedWriter::run`] after all chunks have been written.
#[derive(Debug)]
struct Drained {
    sink: Sink,
    layout: LayoutBuilder,
    digest: Option<ObjectDigest>,
    size: u64,
    header_size: Option<u64>,
}

/// Puts compressed chunks in order and passes them to the sink.
struct OrderedWriter {
    sink: Sink,
    /// Encrypts the bytes before the sink gets them.
    sealing: Option<Sealing>,
    /// Number of bytes written to the sink.
    stored: u64,
    compression: Compression,
    digest: Option<ObjectDigest>,
    layout: LayoutBuilder,
    /// For zstd: compressed and uncompressed length of each frame, as two little-endian `u32`.
    seek_table: Vec<u8>,
    buffers: Arc<ChunkBuffers>,
}

impl OrderedWriter {
    async fn run(
        mut self,
        mut order: mpsc::Receiver<oneshot::Receiver<io::Result<CompressedChunk>>>,
        cancel: CancellationToken,
        window: Arc<Semaphore>,
    ) -> Result<Drained, PipelineError> {
        let header_size = self.sealing.as_ref().map(Sealing::header_size);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(PipelineError::Cancelled),
            result = self.pass_all(&mut order) => result,
        };
        // Wakes a writer that is waiting for room in the window.
        window.close();
        drop(order);
        match result {
            Ok(()) => {
                let OrderedWriter { sink, layout, digest, stored: size, .. } = self;
                Ok(Drained { sink, layout, digest, size, header_size })
            }
            Err(error) => {
                self.sink.abort().await;
                Err(error)
            }
        }
    }

    async fn pass_all(
        &mut self,
        order: &mut mpsc::Receiver<oneshot::Receiver<io::Result<CompressedChunk>>>,
    ) -> Result<(), PipelineError> {
        while let Some(packed) = order.recv().await {
            let packed = packed
                .await
                .map_err(|_| PipelineError::Died("a compression thread"))?
                .map_err(|source| PipelineError::Compress { source })?;
            self.pass(packed).await?;
        }
        self.end_seek_table().await?;
        if let Some(sealing) = self.sealing.take() {
            let end = sealing.finish().map_err(|source| PipelineError::Encrypt { source })?;
            self.store(PackedBytes::Uncompressed(Raw::Buffer(end))).await?;
        }
        self.sink.close().await
    }

    async fn pass(&mut self, packed: CompressedChunk) -> Result<(), PipelineError> {
        let CompressedChunk { bytes, raw_length, segments, sums, checksum, permit } = packed;
        let length = bytes.as_ref().len() as u64;
        self.layout.add(length, raw_length, &segments, sums, checksum);
        if matches!(self.compression, Compression::Zstd { .. }) {
            for length in [length, raw_length] {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                self.seek_table.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.hand_over(bytes).await?.give_back(&self.buffers);
        drop(permit);
        Ok(())
    }

    /// Writes compressed bytes to the sink, encrypted if requested, and returns their buffer.
    async fn hand_over(&mut self, bytes: PackedBytes) -> Result<PackedBytes, PipelineError> {
        let Some(mut sealing) = self.sealing.take() else { return self.store(bytes).await };
        let mut empty = Vec::new();
        for piece in bytes.as_ref().chunks(seal::AT_ONCE) {
            let sealed = sealing.seal(piece, empty).map_err(|source| PipelineError::Encrypt { source })?;
            if sealed.is_empty() {
                empty = sealed;
                continue;
            }
            empty = match self.store(PackedBytes::Uncompressed(Raw::Buffer(sealed))).await? {
                PackedBytes::Uncompressed(Raw::Buffer(mut buffer)) => {
                    buffer.clear();
                    buffer
                }
                _ => Vec::new(),
            };
        }
        self.sealing = Some(sealing);
        Ok(bytes)
    }

    /// Writes the object's next bytes to the sink.
    async fn store(&mut self, bytes: PackedBytes) -> Result<PackedBytes, PipelineError> {
        self.stored += bytes.as_ref().len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes.as_ref());
        }
        self.sink.write(bytes).await
    }

    /// Writes the seek table of zstd's seekable format, in a skippable frame at the end.
    async fn end_seek_table(&mut self) -> Result<(), PipelineError> {
        let entries = std::mem::take(&mut self.seek_table);
        if entries.is_empty() {
            return Ok(());
        }
        const SKIPPABLE: u32 = 0x184d_2a5e;
        const SEEKABLE: u32 = 0x8f92_eab1;
        let number = u32::try_from(entries.len() / 8).unwrap_or(u32::MAX);
        let mut table = Vec::with_capacity(entries.len() + 17);
        table.extend_from_slice(&SKIPPABLE.to_le_bytes());
        table.extend_from_slice(&(u32::try_from(entries.len()).unwrap_or(u32::MAX) + 9).to_le_bytes());
        table.extend_from_slice(&entries);
        table.extend_from_slice(&number.to_le_bytes());
        // Descriptor: the table has no checksums, because each frame has its own.
        table.push(0);
        table.extend_from_slice(&SEEKABLE.to_le_bytes());
        self.layout.add_trailer(table.len() as u64);
        self.hand_over(PackedBytes::Uncompressed(Raw::Buffer(table))).await.map(drop)
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
