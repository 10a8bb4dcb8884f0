//! Why there is no dump, and whether trying again may help.

use std::time::Duration;

use crate::exit_code::ExitCode;
use crate::pipeline::PipelineError;
use crate::protocol::{ProtocolError, Session};
use crate::sql::SqlError;

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The server cannot be reached or refuses the session.
    #[error(transparent)]
    Connect(ProtocolError),
    /// The session broke, or a statement of the dump's own failed.
    #[error(transparent)]
    Session(ProtocolError),
    /// The catalogs could not be read, or hold what cannot be dumped.
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
    /// A standby cancelled it: the primary has removed what the dump was reading, or locks it exclusively.
    #[error(
        "the standby cancelled the dump because of a conflict with its recovery\nHINT: let it wait for the dump \
         with max_standby_streaming_delay, or have the primary keep what the dump reads with hot_standby_feedback"
    )]
    Conflict {
        /// What failed for it.
        source: Box<DumpError>,
    },
    /// One database of a cluster could not be dumped.
    #[error("dumping database \"{name}\" failed")]
    Database {
        /// Which.
        name: String,
        /// The cause.
        source: Box<DumpError>,
    },
    /// The bytes could not be packed or did not arrive.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// It was given up for those who wait for its locks.
    #[error("aborted: {waiter}")]
    Blocked {
        /// Who waits, for what and since when, as a sentence.
        waiter: String,
    },
    /// It did not end in time.
    #[error("timed out after {} s (BACKUP_TIMEOUT) while {progress}", after.as_secs())]
    Overdue {
        /// The time that it had.
        after: Duration,
        /// What it was doing.
        progress: String,
    },
    /// The dump was told to stop.
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
    /// Whether the dump ended because it was told to.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, DumpError::Cancelled | DumpError::Pipeline(PipelineError::Cancelled))
    }

    /// Whether the same may succeed a little later without anybody having mended anything.
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
            // Who waited is through by then.
            DumpError::Conflict { .. } | DumpError::Blocked { .. } => true,
            DumpError::Sql(_) | DumpError::Pipeline(_) | DumpError::Overdue { .. } | DumpError::Cancelled => {
                false
            }
        }
    }

    /// The SQLSTATE, where the server gave one.
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

    /// What it came from: whoever reads for a session on its snapshot fails when that session is lost, and then
    /// the loss is the cause, but not where this side has ended it, for the very failure. On a standby a conflict with recovery is told as such.
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

/// SQLSTATEs with which a standby ends what is in the way of its recovery: a query or a session, and one that
/// holds a page back.
const CONFLICT: [&str; 2] = ["40001", "40P01"];
