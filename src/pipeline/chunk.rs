//! Chunks, the unit of compression, and the description of their bytes.
//!
//! Invariants: a chunk contains rows of at most one table, the rows are at its beginning, and no row spans
//! two chunks.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::archive::toc::DumpId;
use crate::archive::toc::TextRole;
use crate::archive::toc_file::DataFormat;

/// The format of an entry's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// COPY's text format, in which a newline occurs only at the end of a row. Rows are digested.
    Copy,
    /// Statements: INSERTs, or statements that write large objects. The caller counts the rows, and they are
    /// not digested.
    Statements,
}

impl From<RowFormat> for DataFormat {
    fn from(format: RowFormat) -> Self {
        match format {
            RowFormat::Copy => DataFormat::Copy,
            RowFormat::Statements => DataFormat::Statements,
        }
    }
}

/// A range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSegment {
    pub(super) content: SegmentContent,
    pub(super) length: u64,
}

/// The content of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentContent {
    Text {
        entry: Option<DumpId>,
        role: TextRole,
    },
    /// For COPY, the compression threads count the rows, and `rows` is not used.
    Data {
        entry: DumpId,
        format: RowFormat,
        rows: u64,
    },
}

/// The unit of compression.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) raw: Raw,
    pub(super) segments: Vec<ChunkSegment>,
}

/// A chunk's bytes: a buffer that is returned to [`ChunkBuffers`], or a large row or block that was not
/// copied.
#[derive(Debug)]
pub(super) enum Raw {
    Buffer(Vec<u8>),
    Shared(Bytes),
}

impl Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Raw::Buffer(buffer) => buffer,
            Raw::Shared(bytes) => bytes,
        }
    }
}

/// Unused buffers. Their number is bounded by the maximum number of chunks in flight so far, and their size
/// by that of an ordinary chunk.
#[derive(Debug)]
pub(super) struct ChunkBuffers {
    chunk_size: usize,
    packed_size: usize,
    raw: Mutex<Vec<Vec<u8>>>,
    packed: Mutex<Vec<Vec<u8>>>,
}

impl ChunkBuffers {
    pub(super) fn new(chunk_size: usize, packed_size: usize) -> Self {
        ChunkBuffers { chunk_size, packed_size, raw: Mutex::default(), packed: Mutex::default() }
    }

    /// Returns an empty buffer with room for an ordinary chunk.
    pub(super) fn take_raw(&self) -> Vec<u8> {
        pop(&self.raw).unwrap_or_else(|| Vec::with_capacity(self.chunk_size))
    }

    pub(super) fn give_raw(&self, raw: Raw) {
        if let Raw::Buffer(mut buffer) = raw
            && buffer.capacity() >= self.chunk_size
            && buffer.capacity() <= 2 * self.chunk_size
        {
            buffer.clear();
            push(&self.raw, buffer);
        }
    }

    /// Returns a buffer of at least `size` bytes. The system provides zeroed pages on demand, so that only
    /// the pages that the compressor writes become resident.
    pub(super) fn take_packed(&self, size: usize) -> Vec<u8> {
        if size > self.packed_size {
            return vec![0; size];
        }
        pop(&self.packed).unwrap_or_else(|| vec![0; self.packed_size])
    }

    pub(super) fn give_packed(&self, buffer: Vec<u8>) {
        if buffer.len() == self.packed_size {
            push(&self.packed, buffer);
        }
    }
}

fn pop(list: &Mutex<Vec<Vec<u8>>>) -> Option<Vec<u8>> {
    list.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn push(list: &Mutex<Vec<Vec<u8>>>, buffer: Vec<u8>) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
}
