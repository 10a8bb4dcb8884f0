//! Proving a restored copy equal to its backup: every table's rows are read again and digested ([`rows`]), and
//! every object of the table of contents is compared with what a dump of the copy would write ([`objects`]).
//!
//! The copy is dumped as the backup was, into nothing: the dump's own reading counts and digests the rows, over
//! several connections, and its own script gives each object's text. Of the backup only the text is read, without
//! the rows, whose sums are in the manifest.
//!
//! What belongs to the database itself (its settings, privileges and comment) is not compared: a copy has a name
//! of its own and is not made by the backup's `CREATE DATABASE`.
//!
//! Memory: what a dump takes ([`crate::pipeline`], [`ReadOptions`]), the pieces of a download, the text of one
//! entry, and a few hundred bytes for each entry of either side.

mod difference;
mod objects;
mod rows;
mod texts;

use std::collections::HashSet;
use std::io;

use tokio_util::sync::CancellationToken;

use super::findings::CappedList;
use super::source::Backup;
use crate::archive::compression::Compression;
use crate::dump::progress::DumpProgress;
use crate::dump::{Dump, DumpError, DumpRequest, ReadOptions, Written};
use crate::pipeline::download::{DownloadError, fetch_text};
use crate::pipeline::{DumpWriter, PipelineOptions, Sink};
use crate::protocol::{ConnectOptions, Isolation, ProtocolError, SessionSetup};
use crate::sql::DumpOptions;

pub use difference::Difference;

/// The encoding of a dump's text and rows: what its first lines set.
pub(super) async fn encoding(original: &Backup) -> Result<Option<String>, DownloadError> {
    let Some(head) = original.toc.frame.first() else { return Ok(None) };
    let head = fetch_text(&original.object, &original.toc, *head).await?;
    Ok(texts::encoding_of(&head))
}

/// What a copy need not have like the original, because it was restored without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// Objects belong to whoever restored them. Privileges, which refer to the owner, are not compared either.
    pub no_owner: bool,
    /// Privileges were left out.
    pub no_privileges: bool,
    /// Everything lies in the database's own tablespace.
    pub no_tablespaces: bool,
    /// Security labels were left out.
    pub no_security_labels: bool,
    /// Publications were left out.
    pub no_publications: bool,
    /// Subscriptions were left out.
    pub no_subscriptions: bool,
}

/// What to compare with, and how.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The copy.
    pub copy: ConnectOptions,
    /// What it need not have.
    pub exceptions: Exceptions,
    /// Dump ids of entries that are known not to have been restored as they were; what they stand for may be
    /// missing, or otherwise.
    pub failed: HashSet<u32>,
    /// How rows are read, and over how many connections at a time.
    pub reading: ReadOptions,
    /// The program's memory limit in bytes.
    pub memory: u64,
    /// Ends the comparison early.
    pub cancel: CancellationToken,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// Tables whose rows were compared.
    pub tables: u64,
    /// Rows of the copy.
    pub rows: u64,
    /// Entries of the table of contents that were compared.
    pub objects: u64,
    /// What differs.
    pub differences: CappedList<Difference>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The backup's text could not be read.
    #[error("cannot read the backup")]
    Backup(#[from] DownloadError),
    /// The copy could not be read.
    #[error("cannot read the restored copy")]
    Copy(#[from] DumpError),
    /// A session of the comparison's own failed.
    #[error("cannot read the restored copy")]
    Session(#[from] ProtocolError),
}

impl CompareError {
    /// Whether it ended because it was told to.
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
    let (copy, plan) = dump_into_nothing(request, &setup).await?;
    let mut compared = Compared::default();
    let copy = objects::Copy::of(&plan, &copy.places, &setup, request.exceptions);
    objects::compare(original, &copy, &texts, request, &mut compared).await?;
    rows::compare(original, &copy, &texts, request, &setup, &mut compared).await?;
    Ok(compared)
}

/// Dumps the copy as rounds do, and throws the text away: what stays is the plan, and how many rows with which
/// digest there were.
async fn dump_into_nothing(
    request: &CompareRequest,
    setup: &SessionSetup,
) -> Result<(Written, crate::sql::DumpPlan), DumpError> {
    let dump = Dump::prepare(DumpRequest {
        connection: request.copy.clone(),
        setup: setup.clone(),
        isolation: Isolation::default(),
        snapshot: None,
        options: DumpOptions::default(),
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

/// A writer that digests what comes and keeps nothing.
fn nowhere(request: &CompareRequest) -> Result<DumpWriter, crate::pipeline::PipelineError> {
    let options = PipelineOptions {
        compression: Compression::None,
        cancel: request.cancel.clone(),
        ..PipelineOptions::within(request.memory)
    };
    DumpWriter::start(Sink::writer("nowhere", io::sink()), options)
}
