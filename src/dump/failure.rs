//! Errors of a dump, and whether a retry may succeed.

use std::time::Duration;

use crate::exit_code::ExitCode;
use crate::pipeline::PipelineError;
use crate::protocol::{ProtocolError, Session};
use crate::sql::SqlError;

/// Why a dump failed.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The server cannot be reached or refuses the session.
    #[error(transparent)]
    Connect(ProtocolError),
    /// The session broke, or one of the dump's own statements failed.
    #[error(transparent)]
    Session(ProtocolError),
    /// The catalogs could not be read, or contain something that cannot be dumped.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A table's rows could not be read.
    #[error("dumping the contents of {table} failed")]
    Data {
        /// The table, qualified, or the large objects.
        table: String,
        /// The cause.
        source: ProtocolError,
    },
    /// A standby cancelled the dump: the primary removed rows that the dump was reading, or locked a table
    /// exclusively.
    #[error(
        "the standby cancelled the dump because of a conflict with its recovery\nHINT: raise max_standby_streaming_delay on the standby, or set hot_standby_feedback = on there"
    )]
    Conflict {
        /// The error that the conflict caused.
        source: Box<DumpError>,
    },
    /// One database of a cluster could not be dumped.
    #[error("dumping database \"{name}\" failed")]
    Database {
        /// The database's name.
        name: String,
        /// The cause.
        source: Box<DumpError>,
    },
    /// The bytes could not be compressed, encrypted or stored.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The dump was aborted because a session waited for its locks.
    #[error("aborted: {waiter}")]
    Blocked {
        /// A sentence that names the waiting session, the lock, and the start of the wait.
        waiter: String,
    },
    /// The dump exceeded its time limit.
    #[error("timed out after {} s (BACKUP_TIMEOUT) while {progress}", after.as_secs())]
    Overdue {
        /// The time limit.
        after: Duration,
        /// What the dump was doing.
        progress: String,
    },
    /// The dump was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl From<&DumpError> for ExitCode {
    fn from(error: &DumpError) -> Self {
        match error {
            DumpError::Connect(_) => ExitCode::Connect,
            DumpError::Pipeline(PipelineError::Store(_)) => ExitCode::Store,
            DumpError::Session(_)
            | DumpError::Sql(_)
            | DumpError::Data { .. }
            | DumpError::Conflict { .. }
            | DumpError::Database { .. }
            | DumpError::Pipeline(_)
            | DumpError::Blocked { .. }
            | DumpError::Overdue { .. }
            | DumpError::Cancelled => ExitCode::Dump,
        }
    }
}

impl DumpError {
    /// Returns whether the dump was cancelled.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, DumpError::Cancelled | DumpError::Pipeline(PipelineError::Cancelled))
    }

    /// Returns whether a retry may succeed without any change by the operator.
    pub fn is_transient(&self) -> bool {
        match self {
            DumpError::Connect(error) | DumpError::Session(error) => error.is_transient(),
            DumpError::Data { source: error, .. } => error.is_transient() || error.is_missing_object(),
            DumpError::Sql(error) if error.is_stale() => true,
            DumpError::Sql(SqlError::Catalog { source, .. } | SqlError::Statement { source, .. }) => {
                source.is_transient()
            }
            DumpError::Pipeline(PipelineError::Store(error)) => error.is_transient(),
            DumpError::Database { source, .. } => source.is_transient(),
            // The waiting session has finished by then.
            DumpError::Conflict { .. } | DumpError::Blocked { .. } => true,
            DumpError::Sql(_) | DumpError::Pipeline(_) | DumpError::Overdue { .. } | DumpError::Cancelled => {
                false
            }
        }
    }

    /// Returns the server's SQLSTATE, if it sent one.
    fn sqlstate(&self) -> Option<&str> {
        match self {
            DumpError::Connect(error) | DumpError::Session(error) | DumpError::Data { source: error, .. } => {
                error.sqlstate()
            }
            DumpError::Sql(SqlError::Catalog { source, .. } | SqlError::Statement { source, .. }) => {
                source.sqlstate()
            }
            _ => None,
        }
    }

    /// Returns the root cause. A worker on the session's snapshot fails when that session is lost; then the
    /// loss is the cause, unless this side closed the session because of this very error. On a standby, a
    /// conflict with recovery becomes [`DumpError::Conflict`].
    pub(super) fn explained(self, session: &Session, is_standby: bool) -> DumpError {
        let is_cause = self.is_transient() || self.is_cancellation();
        let lost = if is_cause { None } else { session.end().filter(ProtocolError::is_transient) };
        let error = lost.map_or(self, DumpError::Session);
        match error.sqlstate() {
            Some(code) if is_standby && CONFLICT.contains(&code) => {
                DumpError::Conflict { source: Box::new(error) }
            }
            _ => error,
        }
    }
}

/// The SQLSTATEs with which a standby cancels a query or a session that conflicts with its recovery, and a
/// session that pins a page.
const CONFLICT: [&str; 2] = ["40001", "40P01"];
