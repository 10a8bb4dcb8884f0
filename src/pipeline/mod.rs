//! The only path that a dump's bytes take: text and rows in, one packed object out.
//!
//! ```text
//! DumpWriter  → chunks of about 1 MiB that end where a row ends
//!   → compression threads (pack, count rows, digest rows)
//!     → put back in order: offsets, encryption where it is wanted, SHA-256, CRC-64/NVME
//!       → Sink: standard output, a file, or a store's upload in parts
//! ```
//! A slow sink fills the window, a full window stops the writer, and so the reading from the
//! server: nothing is ever kept but what the formula below allows.
//!
//! # Memory
//! `chunk + window + workers × codec + (parallel + 1) × part`, beside what the connections need to read
//! rows (see [`crate::dump::ReadOptions`]), where
//! - `chunk` is [`PipelineOptions::chunk_size`], the chunk that is being filled;
//! - `window` is [`PipelineOptions::window`], raw and packed bytes of the chunks under way; a chunk
//!   counts with its raw and its greatest packed size until it is packed, with its packed size
//!   until the sink took it;
//! - `codec` is the state of a compressor: 1 MiB for gzip up to level 9, 4 MiB for zstd level 3;
//! - `(parallel + 1) × part` are the parts of an upload, see [`upload`]; with a replica no more, since both stores are given
//!   the same bytes (see [`crate::storage::mirror`]).
//!
//! Encryption adds 256 KiB.
//!
//! A row that is larger than a chunk makes its own chunk. One whose weight passes the window is let
//! in when all others are out, and the writer waits until it is gone: such a row adds its own size
//! and its packed size, once.

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

/// How a dump is packed and how much memory that may take.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// How the object is packed.
    pub compression: Compression,
    /// To whom the object is encrypted, if it is.
    pub recipients: Option<Recipients>,
    /// Raw bytes that a chunk holds at most, unless one row is larger.
    pub chunk_size: usize,
    /// Compression threads.
    pub workers: usize,
    /// Bytes of chunks under way.
    pub window: usize,
    /// Whether rows are digested and the object's checksums computed. Always done for a store.
    pub checksums: bool,
    /// Whether it is noted where entries lie. Without it several dumps may be written one after the
    /// other, whose entries would be mistaken for each other's.
    pub layout: bool,
    /// Members that are noted one by one; beyond that neighbours are noted as one stretch, so that
    /// the table of contents of any dump stays small.
    pub max_members: usize,
    /// Ends the dump: the next call fails with [`PipelineError::Cancelled`] and the sink is aborted.
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
    /// Options that keep the whole program under `limit` bytes, together with
    /// [`UploadOptions::within`]: at most a quarter for the window and three eighths for parts. An
    /// eighth is for rows that wait, the rest for the program itself, the compressors and the connections.
    pub fn within(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let chunk_size = (limit / 64).clamp(64 << 10, 1 << 20);
        let options = PipelineOptions::default();
        // More than keeps the compressors busy would only take memory.
        PipelineOptions { chunk_size, window: options.window.min(limit / 4), ..options }
    }
}

/// What is known of a dump when its last byte has been handed over.
#[derive(Debug)]
pub struct Finished {
    /// The size of the SQL.
    pub raw_size: u64,
    /// The size of the packed SQL, in which the layout's members lie.
    pub packed_size: u64,
    /// The size of the object: the same, unless it is encrypted.
    pub size: u64,
    /// What of that stands before the first chunk, where it is encrypted.
    pub header_size: Option<u64>,
    /// The object's checksums, unless [`PipelineOptions::checksums`] was off.
    pub sums: Option<ObjectSums>,
    /// Where text and rows lie, and the rows' digests.
    pub layout: Layout,
    /// The object, not visible yet: complete it when the dump's transaction has ended well.
    pub pending: UnpublishedObject,
}

/// Why a dump's bytes did not arrive.
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
        /// What the system said.
        source: io::Error,
    },
    /// The compressor failed, which it does only for want of memory.
    #[error("compression failed")]
    Compress {
        /// What it said.
        source: io::Error,
    },
    /// Encryption failed, which it does only for want of memory or of random numbers.
    #[error("encryption failed")]
    Encrypt {
        /// What it said.
        source: io::Error,
    },
    /// The dump was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A call after an error was returned.
    #[error("the dump has already failed")]
    Stopped,
    /// A thread or task of the pipeline ended by a panic.
    #[error("{0} ended unexpectedly")]
    Died(&'static str),
}
