//! Getting a backup back: [`choose`] finds the one that is meant, [`verify`] proves that it is whole, [`restore`]
//! writes it into a database, or what of it was [selected](select), and [`compare`] proves the copy equal; [`drill`]
//! does both in a database of its own.
//!
//! A plain dump is read by [`script`] as psql does, over one connection (`stream`). A backup's table of contents makes
//! a plan, which is carried out over several (`plan`, `schedule`, `parallel`). A server's roles and tablespaces have
//! neither (`globals`).

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

/// How a restore is made.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Connections; 0 counts as 1. A plain dump takes one, whatever this says.
    pub jobs: usize,
    /// What of a backup is restored. A plain dump is restored whole.
    pub selection: RestoreSelection,
    /// The role that runs the statements.
    pub role: Option<String>,
    /// All or nothing, in one transaction.
    pub single_transaction: bool,
    /// Statements that fail are told and counted, and the restore goes on.
    pub keep_going: bool,
    /// A plain dump may lack its last comment, by which one that was cut shows.
    pub allow_incomplete: bool,
    /// A database that has objects already is not refused.
    pub into_existing: bool,
    /// The database is created first, as the dumped one was, under the name that the target says.
    pub create: bool,
    /// What is restored is dropped first.
    pub clean: bool,
    /// What is not there need not be dropped.
    pub if_exists: bool,
    /// Namespaces that are restored into are dropped first, with all that is in them.
    pub recreate_schema: bool,
}

impl RestoreOptions {
    /// Whether a target that has objects is refused: nothing was said about them.
    fn refuses_objects(&self) -> bool {
        let expects_tables = self.selection.switches.data_only || !self.selection.switches.sections.pre_data;
        !(self.into_existing || self.clean || self.recreate_schema || expects_tables)
    }
}

/// Restores into the database that `target` names. `progress` tells what has been done, also after a failure.
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
