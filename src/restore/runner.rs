//! A connection to the target that runs the statements and COPYs of a dump.
//!
//! Commits are asynchronous: a crash of the server before [`Runner::close`], which waits for all of them, may
//! lose the latest ones. An interrupted restore must be repeated anyway.

use super::error::{RestoreError, StatementError};
use super::options::RestoreOptions;
use super::own_statement::quoted;
use super::progress::{RestoreProgress, Transaction};
use super::script::Statement;
use super::target::RestoreTarget;
use crate::protocol::copy_in::CopyIn;
use crate::protocol::feed::Feed;
use crate::protocol::{ProtocolError, Session};
use crate::report::chain;

/// Writes a WAL record that a synchronous commit flushes, together with all earlier commits. An empty
/// transaction would not flush.
const FLUSH: &str = "
SET synchronous_commit = on;
SELECT pg_catalog.pg_logical_emit_message(true, 'pg-backup', 'restored')";

/// A connection that runs a dump's statements.
pub(super) struct Runner {
    session: Session,
    progress: RestoreProgress,
    keep_going: bool,
    single_transaction: bool,
    /// How often a statement is retried after a deadlock.
    more_attempts: u32,
}

/// The SQLSTATE that the victim of a deadlock gets.
const DEADLOCK_DETECTED: &str = "40P01";

/// The SQLSTATE for a setting that the server does not know.
const UNDEFINED_OBJECT: &str = "42704";

/// Parallel connections avoid each other's locks only as far as the dependencies show them. In a database
/// with existing objects, applications may also hold locks.
const MORE_ATTEMPTS: u32 = 3;

impl Runner {
    /// Connects to a database of the target's server.
    pub(super) async fn open(
        target: &RestoreTarget,
        database: &str,
        options: &RestoreOptions,
        progress: &RestoreProgress,
    ) -> Result<Runner, RestoreError> {
        let session = target.connect(database).await?;
        if let Some(role) = &options.role {
            let set = session.execute(&format!("SET ROLE {}", quoted(role))).await;
            set.map_err(|error| error.during(format!("changing to role \"{role}\"")))?;
        }
        Ok(Runner {
            session,
            progress: progress.clone(),
            keep_going: options.keep_going,
            single_transaction: options.single_transaction,
            more_attempts: if options.single_transaction { 0 } else { MORE_ATTEMPTS },
        })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Begins the single transaction, if requested; [`Runner::close`] commits it.
    pub(super) async fn begin(&self) -> Result<(), RestoreError> {
        if self.single_transaction {
            self.session.execute("BEGIN").await?;
        }
        Ok(())
    }

    /// Records that a statement succeeded, and whether it ended the single transaction.
    fn ran(&self) {
        self.progress.add_statement();
        if self.single_transaction && !self.session.is_in_transaction() {
            self.progress.set_transaction(Transaction::EndedByScript);
        }
    }

    /// Runs a statement that belongs to no entry. A failure ends the restore.
    pub(super) async fn set(&self, statement: &Statement) -> Result<(), RestoreError> {
        let result = self.session.execute_any(&statement.sql()).await;
        result.map_err(|error| RestoreError::Statement(StatementError::new(statement, error)))
    }

    /// Runs a statement; returns false if it failed and was skipped.
    pub(super) async fn run(&self, statement: &Statement) -> Result<bool, RestoreError> {
        let mut attempts = 0;
        loop {
            match self.session.run_script(statement.text.clone()).await {
                Ok(()) => {
                    self.ran();
                    return Ok(true);
                }
                // Only a statement that is its own transaction can be retried.
                Err(error)
                    if error.sqlstate() == Some(DEADLOCK_DETECTED) && attempts < self.more_attempts =>
                {
                    attempts += 1;
                }
                Err(error) => return self.skip_failed(statement, error).map(|()| false),
            }
        }
    }

    /// Runs a setting from the beginning of a dump. If the server does not know the setting, as older servers
    /// do not know those of newer dumps, a warning is logged. Returns false if the statement failed for
    /// another reason and was skipped.
    pub(super) async fn run_head_setting(&self, statement: &Statement) -> Result<bool, RestoreError> {
        // In a transaction, an error would abort the transaction.
        let in_transaction = self.session.is_in_transaction();
        if in_transaction {
            self.session.execute("SAVEPOINT pg_backup_setting").await?;
        }
        let result = self.session.execute_any(&statement.sql()).await;
        let is_unknown = result.as_ref().is_err_and(|error| error.sqlstate() == Some(UNDEFINED_OBJECT));
        if in_transaction && (result.is_ok() || is_unknown) {
            if is_unknown {
                self.session.execute("ROLLBACK TO SAVEPOINT pg_backup_setting").await?;
            }
            self.session.execute("RELEASE SAVEPOINT pg_backup_setting").await?;
        }
        match result {
            Ok(()) => self.ran(),
            Err(error) if is_unknown => {
                let error = StatementError::new(statement, error);
                tracing::warn!("setting ignored: {}", chain(&*error).line);
            }
            Err(error) => return self.skip_failed(statement, error).map(|()| false),
        }
        Ok(true)
    }

    /// Runs a `COPY … TO STDOUT` and discards its rows; returns false if it failed and was skipped.
    pub(super) async fn discard(&self, statement: &Statement) -> Result<bool, RestoreError> {
        let copy = async {
            let mut copy = self.session.copy_out(&statement.sql()).await?;
            while copy.next().await?.is_some() {}
            Ok(())
        };
        match copy.await {
            Ok(()) => {
                self.ran();
                Ok(true)
            }
            Err(error) => self.skip_failed(statement, error).map(|()| false),
        }
    }

    /// Waits until the server is ready again after an error and has reported all changed settings.
    pub(super) async fn settle(&self) -> Result<(), RestoreError> {
        Ok(self.session.execute("").await?)
    }

    /// Runs a statement that loads rows, and returns the server's row count; `None` if it failed and was
    /// skipped.
    pub(super) async fn load(&self, statement: &Statement) -> Result<Option<u64>, RestoreError> {
        match self.session.run_script_counted(statement.text.clone()).await {
            Ok(rows) => {
                self.ran();
                Ok(Some(rows))
            }
            Err(error) => self.skip_failed(statement, error).map(|()| None),
        }
    }

    /// Compares the number of rows sent with the server's count; returns false if they differ and the
    /// difference was skipped.
    pub(super) fn compare(
        &self,
        statement: &Statement,
        sent: u64,
        counted: u64,
    ) -> Result<bool, RestoreError> {
        if sent == counted {
            return Ok(true);
        }
        self.skip_failed(statement, ProtocolError::RowsDiverted { sent, counted }).map(|()| false)
    }

    /// Runs the statements of one definition; returns false if one failed and was skipped. Then none of them
    /// takes effect, as with pg_restore, which sends them as one query.
    pub(super) async fn run_together(&self, statements: &[Statement]) -> Result<bool, RestoreError> {
        let [first, .., _] = statements else {
            return match statements.first() {
                Some(only) => self.run(only).await,
                None => Ok(true),
            };
        };
        if !self.keep_going {
            for statement in statements {
                self.run(statement).await?;
            }
            return Ok(true);
        }
        self.set(&Statement { text: "BEGIN;".into(), ..first.clone() }).await?;
        for statement in statements {
            if let Err(error) = self.session.execute_any(&statement.sql()).await {
                self.skip_failed(statement, error)?;
                self.set(&Statement { text: "ROLLBACK;".into(), ..first.clone() }).await?;
                return Ok(false);
            }
        }
        let commit = Statement { text: "COMMIT;".into(), ..first.clone() };
        if let Err(error) = self.session.execute(&commit.sql()).await {
            return self.skip_failed(&commit, error).map(|()| false);
        }
        statements.iter().for_each(|_| self.progress.add_statement());
        Ok(true)
    }

    /// Starts a COPY; returns `None` if it failed and was skipped.
    pub(super) async fn copy(&self, statement: &Statement) -> Result<Option<CopyIn>, RestoreError> {
        match self.session.copy_in(&statement.sql()).await {
            Ok(copy) => Ok(Some(copy)),
            Err(error) => self.skip_failed(statement, error).map(|()| None),
        }
    }

    /// Ends a COPY and returns its row count; `None` if it failed and was skipped.
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
            Err(error) => self.skip_failed(statement, error).map(|()| None),
        }
    }

    /// Starts joined statements, some of which read rows; returns `None` if they failed and were skipped.
    pub(super) async fn feed(&self, statement: &Statement) -> Result<Option<Feed>, RestoreError> {
        match self.session.feed(statement.text.clone()).await {
            Ok(feed) => Ok(Some(feed)),
            Err(error) => self.skip_failed(statement, error).map(|()| None),
        }
    }

    /// Waits for the end of joined statements; returns false if they failed and were skipped.
    pub(super) async fn finish_feed(&self, statement: &Statement, feed: Feed) -> Result<bool, RestoreError> {
        match feed.finish().await {
            Ok(()) => {
                self.ran();
                Ok(true)
            }
            Err(error) => self.skip_failed(statement, error).map(|()| false),
        }
    }

    /// Counts and reports a failure with `--keep-going`; otherwise returns it.
    fn skip_failed(&self, statement: &Statement, error: ProtocolError) -> Result<(), RestoreError> {
        let is_statement = matches!(error, ProtocolError::Server(_) | ProtocolError::RowsDiverted { .. });
        let error = StatementError::new(statement, error);
        if !self.keep_going || !is_statement {
            return Err(RestoreError::Statement(error));
        }
        self.progress.add_failure(*error);
        Ok(())
    }

    /// Commits the single transaction, waits until all commits of this connection are on the server's disk,
    /// and closes the connection.
    pub(super) async fn close(self) -> Result<(), RestoreError> {
        if self.single_transaction && self.session.is_in_transaction() {
            self.progress.set_transaction(Transaction::Ending);
            if let Err(error) = self.session.execute("COMMIT").await {
                // If the server refuses the commit, it has rolled the transaction back.
                if error.sqlstate().is_some() && self.session.end().is_none() {
                    self.progress.set_transaction(Transaction::Open);
                }
                return Err(error.during("the COMMIT").into());
            }
            self.progress.set_transaction(Transaction::Committed);
        }
        self.session.execute(FLUSH).await.map_err(|error| error.during("waiting for the server's disk"))?;
        self.session.close().await;
        Ok(())
    }
}
