//! One connection to the target, on which statements and COPYs of a dump are run.
//!
//! Commits do not wait for the disk one by one: until [`Runner::close`], which waits for all of them, a crash of the
//! server may undo the end of what was done, and a restore that has not ended is to be made again anyway.

use super::error::{RestoreError, StatementError};
use super::progress::Progress;
use super::script::Statement;
use super::target::Target;
use crate::protocol::copy_in::CopyIn;
use crate::protocol::{ProtocolError, Session};

/// Writes something that a commit has to wait for, and with it for everything that was committed before.
/// An empty transaction would not.
const FLUSH: &str = "
SET synchronous_commit = on;
SELECT pg_catalog.pg_logical_emit_message(true, 'pg-backup', 'restored')";

/// A connection that runs a dump's statements.
pub(super) struct Runner {
    session: Session,
    progress: Progress,
    keep_going: bool,
}

impl Runner {
    /// Connects to a database of the target's server.
    pub(super) async fn open(
        target: &Target,
        database: &str,
        keep_going: bool,
        progress: &Progress,
    ) -> Result<Runner, RestoreError> {
        let session = target.connect(database).await?;
        Ok(Runner { session, progress: progress.clone(), keep_going })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Runs a statement; false if it failed and is passed over.
    pub(super) async fn run(&self, statement: &Statement) -> Result<bool, RestoreError> {
        match self.session.execute(&statement.sql()).await {
            Ok(()) => {
                self.progress.add_statement();
                Ok(true)
            }
            Err(error) => self.pass_over(statement, error).map(|()| false),
        }
    }

    /// Starts a COPY; `None` if that failed and is passed over.
    pub(super) async fn copy(&self, statement: &Statement) -> Result<Option<CopyIn>, RestoreError> {
        match self.session.copy_in(&statement.sql()).await {
            Ok(copy) => Ok(Some(copy)),
            Err(error) => self.pass_over(statement, error).map(|()| None),
        }
    }

    /// Ends a COPY and gives its rows; `None` if it failed and is passed over.
    pub(super) async fn finish(
        &self,
        statement: &Statement,
        copy: CopyIn,
    ) -> Result<Option<u64>, RestoreError> {
        match copy.finish().await {
            Ok(rows) => {
                self.progress.add_statement();
                Ok(Some(rows))
            }
            Err(error) => self.pass_over(statement, error).map(|()| None),
        }
    }

    /// Counts and tells a failure with `--keep-going`, otherwise makes it the restore's.
    fn pass_over(&self, statement: &Statement, error: ProtocolError) -> Result<(), RestoreError> {
        let is_statement = matches!(error, ProtocolError::Server(_));
        let error = StatementError::new(statement, error);
        if !self.keep_going || !is_statement {
            return Err(RestoreError::Statement(error));
        }
        self.progress.add_failure(*error);
        Ok(())
    }

    /// Waits until everything that this connection has committed is on the server's disk, and hangs up.
    pub(super) async fn close(self) -> Result<(), RestoreError> {
        self.session.execute(FLUSH).await.map_err(|error| error.during("waiting for the server's disk"))?;
        self.session.close().await;
        Ok(())
    }
}
