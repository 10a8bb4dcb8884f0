//! Proves a backup by restoring it: restores into a [`scratch`] database on a [`sandbox`] server, compares
//! the copy with the backup, and drops it. The time that this takes is the measured value for
//! the restore-time objective (RTO).

mod report;
mod sandbox;
pub mod scratch;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::backup::Backup;
use super::compare::{self, CompareError, CompareRequest, Compared, Exceptions};
use super::select::RestoreSelection;
use super::{DumpSource, RestoreError, RestoreOptions, RestoreProgress, restore};
use crate::archive::encryption::Identities;
use crate::archive::key::{BackupId, Cipher};
use crate::archive::required::EntryFilter;
use crate::dump::ReadOptions;
use crate::pipeline::download::DownloadError;
use crate::protocol::{ConnectOptions, ProtocolError};
use crate::storage::Store;
pub use report::{DrillPhase, DrillReport};
pub use sandbox::Lack;
use sandbox::Sandbox;
use scratch::{Scratch, ScratchError};

/// The backup to drill, and the sandbox.
#[derive(Clone, Debug)]
pub struct DrillRequest {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The prefix of its keys.
    pub prefix: String,
    /// The backup.
    pub id: BackupId,
    /// The identities that decrypt it, if it is encrypted.
    pub identities: Option<Identities>,
    /// The sandbox, and the database to connect to while the scratch database is created and dropped.
    pub sandbox: ConnectOptions,
    /// The properties that are not restored.
    pub without: Exceptions,
    /// The number of connections to the sandbox, and how rows are read there.
    pub reading: ReadOptions,
    /// The program's memory limit in bytes.
    pub memory: u64,
    /// Cancels the drill. The scratch database is still dropped.
    pub cancel: CancellationToken,
}

/// Why a drill failed.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The sandbox cannot be reached.
    #[error("cannot reach the sandbox")]
    Connect(#[source] ProtocolError),
    /// The sandbox failed.
    #[error("the sandbox failed")]
    Sandbox(#[source] ProtocolError),
    /// The backup's text cannot be read.
    #[error("cannot read the backup")]
    Backup(#[from] DownloadError),
    /// The scratch database could not be created or dropped.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The restore stopped.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The copy could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The backup has only roles and tablespaces, which would not stay within a scratch database.
    #[error("it does not contain a database")]
    NoDatabase,
    /// A signal interrupted the drill.
    #[error("interrupted")]
    Cancelled,
}

impl DrillError {
    /// Returns whether the drill was cancelled.
    pub fn is_cancellation(&self) -> bool {
        match self {
            DrillError::Cancelled | DrillError::Restore(RestoreError::Cancelled) => true,
            DrillError::Compare(error) => error.is_cancellation(),
            DrillError::Connect(_)
            | DrillError::Sandbox(_)
            | DrillError::Backup(_)
            | DrillError::Scratch(_)
            | DrillError::Restore(_)
            | DrillError::NoDatabase => false,
        }
    }
}

/// Restores a backup into a scratch database, compares the copy, and drops it, even after an error.
pub async fn drill(request: &DrillRequest) -> Result<DrillReport, DrillError> {
    let mut report = DrillReport::begin(&request.id);
    let clock = Instant::now();
    let identities = request.identities.as_ref();
    let backup = Backup::open(&request.store, &request.prefix, &request.id, identities).await?;
    report.encrypted = backup.manifest.cipher() == Cipher::Age;
    if backup.toc.is_of_globals() {
        return Err(DrillError::NoDatabase);
    }
    let encoding = compare::encoding(&backup).await?;
    report.end_phase("describe", clock);

    let clock = Instant::now();
    let session = scratch::open(&request.sandbox).await.map_err(DrillError::Connect)?;
    let sandbox = Sandbox::of(&session).await.map_err(DrillError::Sandbox)?;
    report.left_over = scratch::left_over(&session).await.map_err(DrillError::Sandbox)?;
    session.close().await;
    report.sandbox_version.clone_from(&sandbox.version);
    if request.cancel.is_cancelled() {
        return Err(DrillError::Cancelled);
    }
    let name = scratch::new_name().map_err(ScratchError::from)?;
    let scratch = Scratch::create(&request.sandbox, &name, &backup.toc, encoding.as_deref()).await?;
    report.end_phase("create", clock);

    let worked = work(request, Arc::new(backup), &sandbox, &scratch.connection(), &mut report).await;
    let clock = Instant::now();
    let dropped = scratch.drop().await;
    report.end_phase("drop", clock);
    worked?;
    dropped?;
    Ok(report)
}

async fn work(
    request: &DrillRequest,
    backup: Arc<Backup>,
    sandbox: &Sandbox,
    copy: &ConnectOptions,
    report: &mut DrillReport,
) -> Result<(), DrillError> {
    let progress = RestoreProgress::keeping_failures();
    let options = RestoreOptions {
        jobs: request.reading.jobs.get(),
        selection: selection(request.without),
        keep_going: true,
        ..RestoreOptions::default()
    };
    let source = DumpSource::Backup(Arc::clone(&backup));
    match restore(source, copy, &options, &progress, &request.cancel).await {
        // The report lists the statements that failed.
        Ok(()) | Err(RestoreError::SomeFailed(_)) => {}
        Err(error) => return Err(error.into()),
    }
    report.restored(progress.phases());
    let failures = progress.take_failures();
    let causes = sandbox::causes(&backup.toc, &failures, sandbox);
    report.failed(&failures, &causes);

    let clock = Instant::now();
    let compared = CompareRequest {
        copy: copy.clone(),
        exceptions: request.without,
        failed: causes.failed,
        reading: request.reading.clone(),
        memory: request.memory,
        cancel: request.cancel.clone(),
    };
    let compared: Compared = tokio::select! {
        biased;
        () = request.cancel.cancelled() => return Err(DrillError::Cancelled),
        compared = compare::compare(&backup, &compared) => compared?,
    };
    report.end_phase("compare", clock);
    report.compared(&compared);
    Ok(())
}

fn selection(without: Exceptions) -> RestoreSelection {
    let switches = EntryFilter {
        no_privileges: without.no_privileges,
        no_security_labels: without.no_security_labels,
        no_publications: without.no_publications,
        no_subscriptions: without.no_subscriptions,
        ..EntryFilter::default()
    };
    RestoreSelection {
        switches,
        no_owner: without.no_owner,
        no_tablespaces: without.no_tablespaces,
        ..RestoreSelection::default()
    }
}
