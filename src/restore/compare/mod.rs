//! Compares a restored copy with its backup: reads and digests every table's rows again ([`rows`]), and
//! compares every object of the table of contents with the text that a dump of the copy would write
//! ([`objects`]).
//!
//! The copy is dumped like the backup, but the output is discarded. The dump counts and digests the rows,
//! over several connections, and its script gives each object's text. From the backup only the text is read,
//! without the rows, whose checksums are in the manifest.
//!
//! Properties of the database itself (settings, privileges and comment) are not compared: a copy has its own
//! name and is not created by the backup's `CREATE DATABASE`.
//!
//! Memory: that of a dump ([`crate::pipeline`], [`ReadOptions`]), the pieces of a download, the text of one
//! entry, and a few hundred bytes for each entry of either side.

mod difference;
mod large_objects;
mod objects;
mod rows;
mod texts;

use std::collections::HashSet;
use std::io;

use tokio_util::sync::CancellationToken;

use super::backup::Backup;
use super::findings::CappedList;
use crate::archive::compression::Compression;
use crate::dump::progress::DumpProgress;
use crate::dump::{Dump, DumpError, DumpRequest, ReadOptions, Written};
use crate::pipeline::download::{DownloadError, fetch_text};
use crate::pipeline::{DumpWriter, PipelineOptions, Sink};
use crate::protocol::{ConnectOptions, Isolation, ProtocolError, ServerVersion, SessionSetup};
use crate::sql::DumpOptions;
use crate::sql::dialect::Dialect;

pub use difference::Difference;

/// Returns the encoding of a dump's text and rows, which its first lines set.
pub(super) async fn encoding(original: &Backup) -> Result<Option<String>, DownloadError> {
    let Some(head) = original.toc.frame.first() else { return Ok(None) };
    let head = fetch_text(&original.object, &original.toc, *head).await?;
    Ok(texts::encoding_of(&head))
}

/// Differences to ignore, because the copy was restored without these properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// Objects belong to the role that restored them. Privileges, which refer to the owner, are not compared
    /// either.
    pub no_owner: bool,
    /// Privileges were not restored.
    pub no_privileges: bool,
    /// Everything is in the database's default tablespace.
    pub no_tablespaces: bool,
    /// Security labels were not restored.
    pub no_security_labels: bool,
    /// Publications were not restored.
    pub no_publications: bool,
    /// Subscriptions were not restored.
    pub no_subscriptions: bool,
}

/// What to compare with, and how.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The copy.
    pub copy: ConnectOptions,
    /// Differences to ignore.
    pub exceptions: Exceptions,
    /// Dump ids of entries known not to have been restored correctly; their objects may be missing or differ.
    pub failed: HashSet<u32>,
    /// How rows are read, and over how many connections at a time.
    pub reading: ReadOptions,
    /// The program's memory limit in bytes.
    pub memory: u64,
    /// Ends the comparison early.
    pub cancel: CancellationToken,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// Tables whose rows were compared.
    pub tables: u64,
    /// Rows of the copy.
    pub rows: u64,
    /// Entries of the table of contents that were compared.
    pub objects: u64,
    /// The differences.
    pub differences: CappedList<Difference>,
}

/// Why a comparison failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The backup's text could not be read.
    #[error("cannot read the backup")]
    Backup(#[from] DownloadError),
    /// The copy could not be read.
    #[error("cannot read the restored copy")]
    Copy(#[from] DumpError),
    /// One of the comparison's own sessions failed.
    #[error("cannot read the restored copy")]
    Session(#[from] ProtocolError),
}

impl CompareError {
    /// Returns whether the comparison was cancelled.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, CompareError::Copy(error) if error.is_cancellation())
    }
}

/// Compares a copy with the backup that it was restored from.
pub async fn compare(original: &Backup, request: &CompareRequest) -> Result<Compared, CompareError> {
    let setup = SessionSetup {
        encoding: encoding(original).await?,
        shown: original.manifest.settings(),
        ..SessionSetup::default()
    };
    let texts = texts::of_backup(original, request.exceptions).await?;
    // The copy may be on a server of a later major. Its text is then compared as far as the server writes it.
    let major = ServerVersion(original.manifest.server.version_num);
    let dialect = Dialect::of(major).ok();
    let (copy, plan) = dump_into_nothing(request, &setup, dialect).await?;
    let mut compared = Compared::default();
    let copy = objects::Copy::of(&plan, &copy.places, &setup, request.exceptions);
    objects::compare(original, &copy, &texts, request, &mut compared).await?;
    rows::compare(original, &copy, &texts, request, &setup, &mut compared).await?;
    large_objects::compare(original, &copy, request, &setup, &mut compared).await?;
    Ok(compared)
}

/// Dumps the copy as a scheduled round does, and discards the text. Returns the plan, and each table's row
/// count and digest.
async fn dump_into_nothing(
    request: &CompareRequest,
    setup: &SessionSetup,
    dialect: Option<&'static Dialect>,
) -> Result<(Written, crate::sql::DumpPlan), DumpError> {
    let dump = Dump::prepare(DumpRequest {
        connection: request.copy.clone(),
        setup: setup.clone(),
        isolation: Isolation::default(),
        snapshot: None,
        options: DumpOptions { dialect, ..DumpOptions::default() },
        reading: request.reading.clone(),
        progress: DumpProgress::default(),
        cancel: request.cancel.clone(),
    })
    .await?;
    let (mut written, pending) = dump.write(nowhere(request)?).await?;
    pending.complete().await?;
    match written.plan.take() {
        Some(plan) => Ok((written, plan)),
        None => Err(DumpError::Cancelled),
    }
}

/// Returns a writer that digests its input and discards it.
fn nowhere(request: &CompareRequest) -> Result<DumpWriter, crate::pipeline::PipelineError> {
    writer(request, Sink::writer("nowhere", io::sink()))
}

/// Returns a writer of uncompressed text.
fn writer(request: &CompareRequest, sink: Sink) -> Result<DumpWriter, crate::pipeline::PipelineError> {
    let options = PipelineOptions {
        compression: Compression::None,
        cancel: request.cancel.clone(),
        ..PipelineOptions::within(request.memory)
    };
    DumpWriter::start(sink, options)
}
