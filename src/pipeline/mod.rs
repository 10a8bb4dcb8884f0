//! The path of every dump's bytes: text and rows in, one compressed object out.
//!
//! ```text
//! DumpWriter  → chunks of about 1 MiB that end at a row boundary
//!   → compression threads (compress, count rows, digest rows)
//!     → restore the order: offsets, encryption if requested, SHA-256, CRC-64/NVME
//!       → Sink: standard output, a file, or a multipart upload to a store
//! ```
//! A slow sink fills the window. A full window blocks the writer, which stops the reads from the server.
//! Memory is therefore bounded by the formula below.
//!
//! # Memory
//! `chunk + window + workers × codec + (parallel + 1) × part`, in addition to the memory with which the
//! connections read rows (see [`crate::dump::ReadOptions`]), where
//! - `chunk` is [`PipelineOptions::chunk_size`], the size of the chunk being filled;
//! - `window` is [`PipelineOptions::window`], the uncompressed and compressed bytes of the chunks in flight;
//!   until a chunk is compressed it counts with its uncompressed size plus the maximum compressed size, and
//!   after that with its compressed size until the sink has taken it;
//! - `codec` is the state of one compressor: 1 MiB for gzip up to level 9, 4 MiB for zstd level 3;
//! - `(parallel + 1) × part` is the size of the parts of an upload, see [`upload`]; a replica adds nothing,
//!   because both stores are given the same bytes (see [`crate::storage::mirror`]).
//!
//! Encryption adds 256 KiB.
//!
//! A row larger than a chunk becomes a chunk of its own. A row whose weight exceeds the window is admitted
//! after all other chunks have left, and the writer waits until it has left, too. Such a row adds its own
//! size and its compressed size, once.

pub mod backups;
mod chunk;
mod compress;
pub mod digest;
pub mod download;
mod layout;
pub mod object;
mod output_file;
mod seal;
mod sink;
mod standard_output;
mod unpack;
pub mod upload;
mod writer;

use std::io;

use tokio_util::sync::CancellationToken;

use crate::archive::compression::Compression;
use crate::archive::encryption::Recipients;
use crate::archive::toc_layout::Layout;
use crate::storage::{ObjectSums, StoreError};

pub use chunk::RowFormat;
pub use sink::{Sink, UnpublishedObject};
pub use upload::UploadOptions;
pub use writer::DumpWriter;

/// How a dump is compressed and encrypted, and how much memory that may use.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// The compression of the object.
    pub compression: Compression,
    /// The recipients of an encrypted object; `None` writes it unencrypted.
    pub recipients: Option<Recipients>,
    /// Maximum number of uncompressed bytes in a chunk. A larger row still makes one chunk.
    pub chunk_size: usize,
    /// Number of compression threads.
    pub workers: usize,
    /// Maximum number of bytes of the chunks in flight.
    pub window: usize,
    /// Whether to digest the rows and compute the object's checksums. Always on for a store.
    pub checksums: bool,
    /// Whether to record the positions of the entries. If off, several dumps can be written one after the
    /// other; otherwise their entries would be confused, because they use the same dump ids.
    pub layout: bool,
    /// Maximum number of members that are recorded individually. Beyond it, neighboring members are merged,
    /// so that the table of contents stays small for any dump.
    pub max_members: usize,
    /// Cancels the dump: the next call fails with [`PipelineError::Cancelled`], and the sink is aborted.
    pub cancel: CancellationToken,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4);
        PipelineOptions {
            compression: Compression::default(),
            recipients: None,
            chunk_size: 1 << 20,
            workers,
            window: (2 * workers + 2) << 20,
            checksums: true,
            layout: true,
            max_members: 1 << 16,
            cancel: CancellationToken::new(),
        }
    }
}

impl PipelineOptions {
    /// Returns options that, together with [`UploadOptions::within`], keep the whole program below `limit`
    /// bytes. The window gets at most a quarter and the parts three eighths. One eighth is for queued rows,
    /// and the rest is for the program itself, the compressors and the connections.
    pub fn within(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let chunk_size = (limit / 64).clamp(64 << 10, 1 << 20);
        let options = PipelineOptions::default();
        // The default window keeps the compressors busy; a larger one only uses memory.
        PipelineOptions { chunk_size, window: options.window.min(limit / 4), ..options }
    }
}

/// The result of a dump after its last byte has been written.
#[derive(Debug)]
pub struct Finished {
    /// The size of the uncompressed SQL.
    pub raw_size: u64,
    /// The size of the compressed SQL. The offsets of the layout's members refer to it.
    pub packed_size: u64,
    /// The size of the object. It differs from `packed_size` only if the object is encrypted.
    pub size: u64,
    /// The number of bytes before the first chunk, if the object is encrypted.
    pub header_size: Option<u64>,
    /// The object's checksums; `None` if [`PipelineOptions::checksums`] was off.
    pub sums: Option<ObjectSums>,
    /// The positions of text and rows, and the digests of the rows.
    pub layout: Layout,
    /// The object, which is not visible yet. Complete it after the dump's transaction has committed.
    pub pending: UnpublishedObject,
}

/// An error that prevents a dump from being written.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard output or a file failed.
    #[error("cannot write to {target}")]
    Write {
        /// `standard output` or the file's name.
        target: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The compressor failed, which happens only if memory is exhausted.
    #[error("compression failed")]
    Compress {
        /// The cause.
        source: io::Error,
    },
    /// Encryption failed, which happens only if memory or random numbers are unavailable.
    #[error("encryption failed")]
    Encrypt {
        /// The cause.
        source: io::Error,
    },
    /// The dump was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A method was called after an earlier call had failed.
    #[error("the dump has already failed")]
    Stopped,
    /// A thread or task of the pipeline panicked.
    #[error("{0} ended unexpectedly")]
    Died(&'static str),
}
