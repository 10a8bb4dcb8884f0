//! Compression threads. They take chunks in any order, compress each chunk as a separate gzip member or zstd
//! frame, count and digest its rows, and send the result to the chunk's own channel.
//! [`OrderedWriter`](super::writer) puts the results in order.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use libdeflater::{CompressionLvl, Compressor};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use zstd::zstd_safe::CParameter;

use super::chunk::{Chunk, ChunkBuffers, ChunkSegment, Raw, RowFormat, SegmentContent};
use super::digest::{RowSums, text_checksum};
use crate::archive::compression::Compression;

/// Bytes of the window per permit.
pub(super) const UNIT: usize = 1024;

/// A chunk to be compressed.
pub(super) struct CompressionJob {
    pub(super) chunk: Chunk,
    /// The chunk's permits of the window.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) done: oneshot::Sender<io::Result<CompressedChunk>>,
}

/// A compressed chunk.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    pub(super) bytes: PackedBytes,
    pub(super) raw_length: u64,
    pub(super) segments: Vec<ChunkSegment>,
    /// Count and digest of the rows in it; zero if it has none.
    pub(super) sums: RowSums,
    /// Checksum of its text, if it is not compressed: a gzip member or zstd frame has its own.
    pub(super) checksum: Option<u32>,
    /// Held until the sink has taken the bytes.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A compressed chunk's bytes.
#[derive(Debug)]
pub(super) enum PackedBytes {
    /// The first `length` bytes of a buffer that is returned to [`ChunkBuffers`].
    Buffer { buffer: Vec<u8>, length: usize },
    /// Text of an uncompressed dump.
    Uncompressed(Raw),
}

impl PackedBytes {
    pub(super) fn give_back(self, buffers: &ChunkBuffers) {
        match self {
            PackedBytes::Buffer { buffer, .. } => buffers.give_packed(buffer),
            PackedBytes::Uncompressed(raw) => buffers.give_raw(raw),
        }
    }
}

impl AsRef<[u8]> for PackedBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            PackedBytes::Buffer { buffer, length } => &buffer[..*length],
            PackedBytes::Uncompressed(raw) => raw,
        }
    }
}

/// Returns the maximum compressed size of `length` bytes; 0 for uncompressed text, which is not copied.
pub(super) fn packed_bound(compression: Compression, length: usize) -> usize {
    match compression {
        Compression::None => 0,
        // libdeflate's bound: stored blocks of at least 5,000 bytes with a header of 5 bytes each, and gzip's
        // header and trailer. This estimate is slightly higher.
        Compression::Gzip { .. } => length + 5 * (length / 5000 + 2) + 64,
        Compression::Zstd { .. } => zstd::zstd_safe::compress_bound(length),
    }
}

/// Compresses one chunk after another.
enum ChunkEncoder {
    None,
    Gzip(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl ChunkEncoder {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => ChunkEncoder::None,
            Compression::Gzip { level } => {
                let level = CompressionLvl::new(i32::from(level))
                    .map_err(|_| io::Error::other("invalid gzip level"))?;
                ChunkEncoder::Gzip(Compressor::new(level))
            }
            Compression::Zstd { level } => {
                let mut compressor = zstd::bulk::Compressor::new(i32::from(level))?;
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
                ChunkEncoder::Zstd(compressor)
            }
        })
    }

    /// Compresses `raw` into `packed` and returns the number of bytes used.
    fn pack(&mut self, raw: &[u8], packed: &mut [u8]) -> io::Result<usize> {
        match self {
            ChunkEncoder::None => Ok(0),
            ChunkEncoder::Gzip(compressor) => {
                compressor.gzip_compress(raw, packed).map_err(|error| io::Error::other(error.to_string()))
            }
            ChunkEncoder::Zstd(compressor) => compressor.compress_to_buffer(raw, packed),
        }
    }
}

/// The state shared by all compression threads.
#[derive(Clone, Debug)]
pub(super) struct CompressionPool {
    pub(super) compression: Compression,
    pub(super) digest_rows: bool,
    pub(super) buffers: Arc<ChunkBuffers>,
    /// Delay for each chunk, with which tests shuffle the order of work.
    #[cfg(test)]
    pub(super) delay: Option<fn() -> std::time::Duration>,
}

impl CompressionPool {
    /// Starts the threads, which end when the sender is dropped. `queue` is the capacity of the job queue.
    pub(super) fn start(self, workers: usize, queue: usize) -> io::Result<SyncSender<CompressionJob>> {
        let (jobs, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..workers.max(1) {
            let (pool, receiver) = (self.clone(), Arc::clone(&receiver));
            let mut codec = ChunkEncoder::new(self.compression)?;
            std::thread::Builder::new()
                .name(format!("compress-{number}"))
                .spawn(move || pool.work(&mut codec, &receiver))?;
        }
        Ok(jobs)
    }

    fn work(&self, codec: &mut ChunkEncoder, jobs: &Mutex<Receiver<CompressionJob>>) {
        loop {
            // One thread waits for a job, and the others wait for the lock.
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(CompressionJob { chunk, permit, done }) = job else { return };
            #[cfg(test)]
            if let Some(delay) = self.delay {
                std::thread::sleep(delay());
            }
            // The receiver is gone if the dump was aborted.
            let _ = done.send(self.pack(codec, chunk, permit));
        }
    }

    fn pack(
        &self,
        codec: &mut ChunkEncoder,
        chunk: Chunk,
        mut permit: OwnedSemaphorePermit,
    ) -> io::Result<CompressedChunk> {
        let Chunk { raw, segments } = chunk;
        let raw_length = raw.len() as u64;
        let sums = self.sum_rows(&raw, &segments);
        let is_bare = self.compression == Compression::None;
        let checksum = (is_bare && self.digest_rows).then(|| text_checksum(&raw));
        let bytes = if is_bare {
            PackedBytes::Uncompressed(raw)
        } else {
            let mut buffer = self.buffers.take_packed(packed_bound(self.compression, raw.len()));
            let length = codec.pack(&raw, &mut buffer)?;
            self.buffers.give_raw(raw);
            PackedBytes::Buffer { buffer, length }
        };
        // The chunk now counts with its compressed size.
        let kept = bytes.as_ref().len().div_ceil(UNIT).min(permit.num_permits());
        drop(permit.split(permit.num_permits() - kept));
        Ok(CompressedChunk { bytes, raw_length, segments, sums, checksum, permit })
    }

    /// Returns the count and digest of the rows, which are at the beginning of the chunk.
    fn sum_rows(&self, raw: &[u8], segments: &[ChunkSegment]) -> RowSums {
        let Some(ChunkSegment { content: SegmentContent::Data { format, rows, .. }, length }) =
            segments.first()
        else {
            return RowSums::default();
        };
        match format {
            RowFormat::Statements => RowSums { rows: *rows, digest: 0 },
            RowFormat::Copy => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                let data = raw.get(..length).unwrap_or(raw);
                if self.digest_rows { RowSums::of_copy(data) } else { RowSums::count_copy(data) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incompressible_bytes_stay_under_the_bound() {
        for compression in ["gzip:1", "gzip:4", "gzip:12", "zstd:1", "zstd:3"] {
            let compression: Compression = compression.parse().unwrap();
            let mut codec = ChunkEncoder::new(compression).unwrap();
            for length in [0, 1, 4999, 5001, 1 << 20, (3 << 20) + 7] {
                let mut raw = vec![0; length];
                getrandom::fill(&mut raw).unwrap();
                let mut packed = vec![0; packed_bound(compression, length)];
                assert!(codec.pack(&raw, &mut packed).unwrap() > 0, "{compression} {length}");
            }
        }
    }
}
