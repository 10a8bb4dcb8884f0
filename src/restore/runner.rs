//! One connection to the target, on which statements and COPYs of a dump are run.
//!
//! Commits do not wait for the disk one by one: until [`Runner::close`], which waits for all of them, a crash of the
//! server may undo the end of what was done, and a restore that has not ended is to be made again anyway.

use super::RestoreOptions;
use super::entry::quoted;
use super::error::{RestoreError, StatementError};
use super::progress::{RestoreProgress, Transaction};
use super::script::Statement;
use super::target::RestoreTarget;
use crate::protocol::copy_in::CopyIn;
use crate::protocol::feed::Feed;
use crate::protocol::{ProtocolError, Session};
use crate::report::chain;

/// Writes something that a commit has to wait for, and with it for everything that was committed before.
/// An empty transaction would not.
const FLUSH: &str = "
SET synchronous_commit = on;
SELECT pg_catalog.pg_logical_emit_message(true, 'pg-backup', 'restored')";

/// A connection that runs a dump's statements.
pub(super) struct Runner {
    session: Session,
    progress: RestoreProgress,
    keep_going: bool,
    single_transaction: bool,
    /// How often a statement that fell victim to a deadlock is run again.
    more_attempts: u32,
}

/// The SQLSTATE of a deadlock's victim.
const DEADLOCK_DETECTED: &str = "40P01";

/// The SQLSTATE of a setting that the server does not know.
const UNDEFINED_OBJECT: &str = "42704";

/// Connections side by side avoid each other's locks as far as dependencies tell of them, and applications may
/// hold some in a database that is restored into.
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

    /// Begins the one transaction, where there is to be one; [`Runner::close`] commits it.
    pub(super) async fn begin(&self) -> Result<(), RestoreError> {
        if self.single_transaction {
            self.session.execute("BEGIN").await?;
        }
        Ok(())
    }

    /// Notes a statement that ran, and whether it ended the one transaction.
    fn ran(&self) {
        self.progress.add_statement();
        if self.single_transaction && !self.session.is_in_transaction() {
            self.progress.set_transaction(Transaction::EndedByScript);
        }
    }

    /// Runs a statement that is none of an entry's, and that nothing goes on without.
    pub(super) async fn set(&self, statement: &Statement) -> Result<(), RestoreError> {
        let result = self.session.execute_any(&statement.sql()).await;
        result.map_err(|error| RestoreError::Statement(StatementError::new(statement, error)))
    }

    /// Runs a statement; false if it failed and is passed over.
    pub(super) async fn run(&self, statement: &Statement) -> Result<bool, RestoreError> {
        let mut attempts = 0;
        loop {
            match self.session.run_script(statement.text.clone()).await {
                Ok(()) => {
                    self.ran();
                    return Ok(true);
                }
                // Only what stands alone in its transaction can be run again.
                Err(error)
                    if error.sqlstate() == Some(DEADLOCK_DETECTED) && attempts < self.more_attempts =>
                {
                    attempts += 1;
                }
                Err(error) => return self.pass_over(statement, error).map(|()| false),
            }
        }
    }

    /// Runs a setting of a dump's head. One that the server does not know, as older ones do not know those of newer dumps,
    /// is a warning; false if it failed otherwise and is passed over.
    pub(super) async fn run_head_setting(&self, statement: &Statement) -> Result<bool, RestoreError> {
        // In a transaction an error would be the end of it.
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
            Err(error) => return self.pass_over(statement, error).map(|()| false),
        }
        Ok(true)
    }

    /// Runs a `COPY … TO STDOUT` and drops its rows; false if it failed and is passed over.
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
            Err(error) => self.pass_over(statement, error).map(|()| false),
        }
    }

    /// Waits until the server is ready again after an error: what it reports then has been heard.
    pub(super) async fn settle(&self) -> Result<(), RestoreError> {
        Ok(self.session.execute("").await?)
    }

    /// Runs a statement that loads rows, and gives their number as the server counted; `None` if it failed and is passed
    /// over.
    pub(super) async fn load(&self, statement: &Statement) -> Result<Option<u64>, RestoreError> {
        match self.session.run_script_counted(statement.text.clone()).await {
            Ok(rows) => {
                self.ran();
                Ok(Some(rows))
            }
            Err(error) => self.pass_over(statement, error).map(|()| None),
        }
    }

    /// Compares the rows that were sent with those that the server counted; false if they differ and that is passed over.
    pub(super) fn compare(
        &self,
        statement: &Statement,
        sent: u64,
        counted: u64,
    ) -> Result<bool, RestoreError> {
        if sent == counted {
            return Ok(true);
        }
        self.pass_over(statement, ProtocolError::RowsDiverted { sent, counted }).map(|()| false)
    }

    /// Runs the statements of one definition; false if one failed and is passed over. Then none of them holds, as
    /// with pg_restore, which sends them as one query.
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
                self.pass_over(statement, error)?;
                self.set(&Statement { text: "ROLLBACK;".into(), ..first.clone() }).await?;
                return Ok(false);
            }
        }
        let commit = Statement { text: "COMMIT;".into(), ..first.clone() };
        if let Err(error) = self.session.execute(&commit.sql()).await {
            return self.pass_over(&commit, error).map(|()| false);
        }
        statements.iter().for_each(|_| self.progress.add_statement());
        Ok(true)
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

    /// Starts joined statements, of which some read rows; `None` if that failed and is passed over.
    pub(super) async fn feed(&self, statement: &Statement) -> Result<Option<Feed>, RestoreError> {
        match self.session.feed(statement.text.clone()).await {
            Ok(feed) => Ok(Some(feed)),
            Err(error) => self.pass_over(statement, error).map(|()| None),
        }
    }

    /// Waits for the end of joined statements; false if they failed and are passed over.
    pub(super) async fn finish_feed(&self, statement: &Statement, feed: Feed) -> Result<bool, RestoreError> {
        match feed.finish().await {
            Ok(()) => {
                self.ran();
                Ok(true)
            }
            Err(error) => self.pass_over(statement, error).map(|()| false),
        }
    }

    /// Counts and tells a failure with `--keep-going`, otherwise makes it the restore's.
    fn pass_over(&self, statement: &Statement, error: ProtocolError) -> Result<(), RestoreError> {
        let is_statement = matches!(error, ProtocolError::Server(_) | ProtocolError::RowsDiverted { .. });
        let error = StatementError::new(statement, error);
        if !self.keep_going || !is_statement {
            return Err(RestoreError::Statement(error));
        }
        self.progress.add_failure(*error);
        Ok(())
    }

    /// Commits the one transaction, waits until everything that this connection has committed is on the server's disk, and
    /// hangs up.
    pub(super) async fn close(self) -> Result<(), RestoreError> {
        if self.single_transaction && self.session.is_in_transaction() {
            self.progress.set_transaction(Transaction::Ending);
            if let Err(error) = self.session.execute("COMMIT").await {
                // What the server refuses to commit it has undone.
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
