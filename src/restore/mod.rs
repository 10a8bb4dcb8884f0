//! Restores a backup. [`choose`] finds the requested backup, [`verify`] proves that it is intact, [`restore`]
//! writes all of it or the [selected](select) part into a database, and [`compare`] proves that the copy is
//! equal. [`drill`] restores into a scratch database and compares.
//!
//! [`script`] reads a plain dump as psql does, and one connection runs it (`stream`). A backup's table of
//! contents gives a plan (`plan`, `job_queue`), which several connections run (`parallel`). A server's roles
//! and tablespaces have no entries (`globals`).

pub mod choose;
pub mod compare;
pub mod drill;
mod entry;
mod error;
pub mod findings;
mod form;
mod globals;
mod job_queue;
mod parallel;
mod plan;
mod progress;
mod runner;
pub mod script;
pub mod select;
pub mod source;
mod statement_text;
mod stream;
mod target;
pub mod verify;

use tokio_util::sync::CancellationToken;

pub use error::{RestoreError, StatementError};
pub use plan::{PlannedEntry, planned};
pub use progress::{ProgressSnapshot, RestoreProgress, Transaction};
pub use source::{Backup, DumpSource};
pub use target::NotEmpty;

use crate::protocol::ConnectOptions;
use select::RestoreSelection;
use target::RestoreTarget;

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The number of connections; 0 counts as 1. A plain dump always uses one.
    pub jobs: usize,
    /// The part of a backup to restore. A plain dump is always restored whole.
    pub selection: RestoreSelection,
    /// The role that runs the statements.
    pub role: Option<String>,
    /// Runs everything in one transaction.
    pub single_transaction: bool,
    /// Reports and counts statements that fail, and continues.
    pub keep_going: bool,
    /// Accepts a plain dump without its last comment, which is missing when the dump was cut.
    pub allow_incomplete: bool,
    /// Accepts a database that already has objects.
    pub into_existing: bool,
    /// Creates the database first, with the properties of the dumped one and the name in the target.
    pub create: bool,
    /// Drops the restored objects first.
    pub clean: bool,
    /// Ignores objects that do not exist when dropping.
    pub if_exists: bool,
    /// Drops the restored namespaces first, with everything in them.
    pub recreate_schema: bool,
}

impl RestoreOptions {
    /// Returns whether a target with objects is refused: no option says how to treat them.
    fn refuses_objects(&self) -> bool {
        let expects_tables = self.selection.switches.data_only || !self.selection.switches.sections.pre_data;
        !(self.into_existing || self.clean || self.recreate_schema || expects_tables)
    }
}

/// Restores into the database that `target` names. `progress` shows what has been done, also after a failure.
pub async fn restore(
    source: DumpSource,
    target: &ConnectOptions,
    options: &RestoreOptions,
    progress: &RestoreProgress,
    cancel: &CancellationToken,
) -> Result<(), RestoreError> {
    let target = &RestoreTarget::new(target);
    let work = async {
        match source {
            DumpSource::Plain(plain) => stream::restore(plain, target, options, progress).await,
            DumpSource::Backup(backup) if backup.toc.is_of_globals() => {
                globals::restore(&backup, target, options, progress).await
            }
            DumpSource::Backup(backup) => parallel::restore(&backup, target, options, progress).await,
        }
    };
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RestoreError::Cancelled),
        result = work => result,
    };
    progress.end();
    if result.is_err() {
        target.cancel_all().await;
    }
    result?;
    match progress.snapshot().failures {
        0 => Ok(()),
        1 => Err(RestoreError::SomeFailed("1 statement".to_owned())),
        failures => Err(RestoreError::SomeFailed(format!("{failures} statements"))),
    }
}
