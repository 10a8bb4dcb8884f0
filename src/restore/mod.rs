//! Restores a backup. [`choose`] finds the requested backup, [`backup`] opens it, [`verify`] proves that it is intact, [`restore`]
//! writes all of it or the [selected](select) part into a database, and [`compare`] proves that the copy is
//! equal. [`drill`] restores into a scratch database and compares.
//!
//! [`script`] reads a plain dump as psql does, and one connection runs it (`stream`). A backup's table of
//! contents gives a plan (`plan`, `job_queue`), which several connections run (`parallel`). A server's roles
//! and tablespaces have no entries (`globals`).

pub mod backup;
pub mod choose;
pub mod compare;
pub mod drill;
mod entry;
mod error;
pub mod findings;
mod form;
mod globals;
mod job_queue;
mod options;
mod own_statement;
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

pub use backup::Backup;
pub use error::{NotEmpty, RestoreError, StatementError};
pub use options::RestoreOptions;
pub use plan::{PlannedEntry, planned};
pub use progress::{ProgressSnapshot, RestoreProgress, Transaction};
pub use source::DumpSource;

use crate::protocol::ConnectOptions;
use target::RestoreTarget;

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
