//! Prepares a dump: from the connection to a plan whose tables are locked, before the first byte.
//!
//! The commits of other sessions between the snapshot and the locks can make the two disagree (see
//! [`SqlError::is_stale`]). Then the transaction is rolled back and started again. From the second attempt
//! on, the known tables are locked before the snapshot is taken and cannot change between the two. Only
//! tables created in the meantime can then cost another attempt.

use std::sync::Arc;

use super::{Dump, DumpError, DumpRequest, PhaseTimer, give_up, open, or_cancelled};
use crate::dump::progress::DumpPhase;
use crate::protocol::Session;
use crate::protocol::snapshot::{Isolation, SnapshotId, SnapshotPosition};
use crate::protocol::worker_sessions::WorkerSessions;
use crate::report::chain;
use crate::sql::script::{Frame, timestamp};
use crate::sql::{self, DumpOptions, DumpPlan, SqlError, TableLocks};

/// The maximum number of attempts at a snapshot whose tables can be locked as it shows them. The second
/// attempt succeeds unless tables are created or dropped continuously.
const SNAPSHOT_ATTEMPTS: u32 = 5;

/// Makes a dump's plan, with retries.
struct Preparation<'a> {
    session: &'a Session,
    worker_sessions: &'a WorkerSessions,
    isolation: Isolation,
    /// An imported snapshot, which cannot be replaced by a newer one.
    snapshot: Option<&'a SnapshotId>,
    options: DumpOptions,
    locks: TableLocks,
}

impl Dump {
    /// Connects, takes the snapshot, reads the catalogs and locks the tables.
    ///
    /// # Errors
    /// [`SqlError::Changed`] if, after several snapshots, a table was still rewritten, truncated, renamed or
    /// dropped before it could be locked.
    pub async fn prepare(request: DumpRequest) -> Result<Dump, DumpError> {
        let mut clock = PhaseTimer::start();
        let DumpRequest { connection, setup, isolation, snapshot, mut options, reading, progress, cancel } =
            request;
        progress.enter(DumpPhase::Connecting);
        let session = open(&connection, &cancel).await?;
        clock.end_phase("connect");
        progress.enter(DumpPhase::Catalogs);
        let mut is_standby = false;
        let prepared = or_cancelled(&cancel, async {
            let state = session.set_up(&setup).await.map_err(DumpError::Session)?;
            is_standby = state.standby;
            progress.hold_locks(state.process);
            // A standby does not have the rows of unlogged tables.
            options.no_unlogged_table_data |= state.standby;
            let worker_sessions = WorkerSessions { connection, setup, most: reading.jobs.get() - 1 };
            let mut preparation = Preparation {
                session: &session,
                worker_sessions: &worker_sessions,
                isolation,
                snapshot: snapshot.as_ref(),
                options,
                locks: TableLocks::default(),
            };
            let (position, plan) = preparation.run().await?;
            let locks = preparation.locks;
            Ok((state, position, worker_sessions, plan, locks))
        });
        let (state, position, worker_sessions, plan, locks) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => {
                let error = give_up(&[session.canceller()], error).await.explained(&session, is_standby);
                progress.release_locks();
                return Err(error);
            }
        };
        clock.end_phase("catalog");
        let frame = Frame {
            server_version: session.server_version().to_owned(),
            dumped_by: format!("pg-backup version {}", env!("CARGO_PKG_VERSION")),
            encoding: state.encoding,
            quoting: plan.quoting().clone(),
            started: timestamp(),
        };
        let (session, settings) = (Arc::new(session), state.shown);
        Ok(Dump {
            session,
            worker_sessions,
            reading,
            plan,
            locks,
            frame,
            position,
            settings,
            is_standby,
            progress,
            cancel,
            clock,
        })
    }
}

impl Preparation<'_> {
    async fn run(&mut self) -> Result<(Option<SnapshotPosition>, DumpPlan), DumpError> {
        let mut attempt = 1;
        let mut inconsistency = None;
        loop {
            let error = match self.attempt().await {
                Ok(planned) => return Ok(planned),
                Err(DumpError::Sql(error)) if error.is_stale() => error,
                Err(error) => return Err(error),
            };
            // Damaged catalogs give the same error again.
            let persists = match &error {
                SqlError::Inconsistent(text) => inconsistency.replace(text.clone()).as_ref() == Some(text),
                _ => false,
            };
            if self.snapshot.is_some() || attempt == SNAPSHOT_ATTEMPTS || persists {
                return Err(error.into());
            }
            let cause = chain(&error).line;
            tracing::info!(attempt, %cause, "taking a new snapshot, because objects changed after the previous one");
            self.session.execute("ROLLBACK").await.map_err(DumpError::Session)?;
            attempt += 1;
        }
    }

    async fn attempt(&mut self) -> Result<(Option<SnapshotPosition>, DumpPlan), DumpError> {
        let position = match self.snapshot {
            Some(_) => {
                let begun = self.session.begin_snapshot(self.isolation, self.snapshot).await;
                begun.map_err(DumpError::Session)?
            }
            None => {
                let begun = self.session.begin(self.isolation, false).await.map_err(DumpError::Session)?;
                self.locks.lock_before_snapshot(self.session, &self.options).await?;
                Some(self.session.take_snapshot(begun).await.map_err(DumpError::Session)?)
            }
        };
        let options = self.options.clone();
        let plan = sql::plan(self.session, self.worker_sessions, options, &mut self.locks).await?;
        Ok((position, plan))
    }
}
