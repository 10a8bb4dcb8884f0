//! Dumps one database, from the connection to the last byte. This module joins [`protocol`], [`sql`] and
//! [`pipeline`]. The caller decides where the bytes go: [`backup`] stores them as a backup, [`cluster`] joins
//! the dumps of all databases of a server, and [`globals`] saves the objects that belong to no database.
//!
//! Invariant: nothing becomes visible before the dump's transaction has committed.
//!
//! [`protocol`]: crate::protocol
//! [`sql`]: crate::sql
//! [`pipeline`]: crate::pipeline

pub mod backup;
pub mod claim;
pub mod cluster;
mod data;
mod failure;
pub mod globals;
mod prepare;
pub mod progress;
mod reading;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::archive::toc::{DumpId, EntryData};
use crate::archive::toc_layout::LayoutIndex;
use crate::pipeline::{DumpWriter, Finished, PipelineError, UnpublishedObject};
use crate::protocol::conninfo::ConnectOptions;
use crate::protocol::setup::SessionSetup;
use crate::protocol::snapshot::{Isolation, SnapshotId, SnapshotPosition};
use crate::protocol::worker_sessions::WorkerSessions;
use crate::protocol::{Canceller, ProtocolError, ServerVersion, Session};
use crate::sql::ident::Quoting;
use crate::sql::script::{Frame, Script};
use crate::sql::{self, DumpOptions, DumpPlan, TableLocks};
use crate::storage::ObjectSums;
use data::DataError;
pub use failure::DumpError;
use progress::{DumpPhase, DumpProgress};
pub use reading::ReadOptions;
use reading::{DumpWorkers, PlannedPiece, Prefetcher};

/// How long the server may take to end a cancelled statement before the connection is closed.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What to dump, and how.
#[derive(Clone, Debug)]
pub struct DumpRequest {
    /// The server, the database and the role.
    pub connection: ConnectOptions,
    /// Settings that the options make for the session.
    pub setup: SessionSetup,
    /// The transaction's isolation level.
    pub isolation: Isolation,
    /// `--snapshot`: a snapshot that another session exported.
    pub snapshot: Option<SnapshotId>,
    /// pg_dump's options.
    pub options: DumpOptions,
    /// How rows are read, and over how many connections.
    pub reading: ReadOptions,
    /// Where the dump reports its progress.
    pub progress: DumpProgress,
    /// Cancels the dump and the statements that the server runs for it.
    pub cancel: CancellationToken,
}

/// A dump whose catalogs are read and whose tables are locked, before its first byte.
pub struct Dump {
    session: Arc<Session>,
    worker_sessions: WorkerSessions,
    reading: ReadOptions,
    plan: DumpPlan,
    locks: TableLocks,
    frame: Frame,
    position: Option<SnapshotPosition>,
    settings: BTreeMap<String, String>,
    is_standby: bool,
    progress: DumpProgress,
    cancel: CancellationToken,
    clock: PhaseTimer,
}

/// The facts of a complete dump, known after the last byte and the commit.
#[derive(Debug)]
pub struct Written {
    /// The size of the SQL in bytes.
    pub raw_size: u64,
    /// The size of the compressed SQL in bytes. The offsets in `places` refer to it.
    pub packed_size: u64,
    /// The size of the object in bytes. It differs from `packed_size` only when the object is encrypted.
    pub size: u64,
    /// The number of bytes before the first chunk, if the object is encrypted.
    pub header_size: Option<u64>,
    /// The object's checksums, if they were requested.
    pub sums: Option<ObjectSums>,
    /// The positions of text and rows, and the rows' digests.
    pub places: LayoutIndex,
    /// The dump's plan; `None` for globals, which have no entries.
    pub plan: Option<DumpPlan>,
    /// The name of the database that the session was connected to.
    pub database: String,
    /// The server's version.
    pub server_version: ServerVersion,
    /// The server's version string.
    pub server_version_text: String,
    /// Where and when the snapshot was taken; `None` for an imported one.
    pub position: Option<SnapshotPosition>,
    /// The server's settings that affect the text and the rows.
    pub settings: BTreeMap<String, String>,
    /// The duration of each phase in seconds, by name.
    pub durations: BTreeMap<String, f64>,
}

/// Measures the duration of each phase.
#[derive(Debug)]
struct PhaseTimer {
    since: Instant,
    durations: BTreeMap<String, f64>,
}

impl PhaseTimer {
    fn start() -> Self {
        PhaseTimer { since: Instant::now(), durations: BTreeMap::new() }
    }

    fn end_phase(&mut self, phase: &str) {
        self.durations.insert(phase.to_owned(), self.since.elapsed().as_secs_f64());
        self.since = Instant::now();
    }
}

impl Dump {
    /// Returns the warnings for the user.
    pub fn warnings(&self) -> &[sql::Warning] {
        &self.plan.warnings
    }

    /// Returns the number of entries and the amount of data.
    pub fn contents(&self) -> (u64, sql::AmountOfData) {
        (self.plan.number_of_entries(), self.plan.amount_of_data())
    }

    /// Ends the dump before its first byte and releases the locks.
    pub async fn abandon(self) {
        // The transaction has only read, so the result of ROLLBACK does not matter.
        let _ = self.session.execute("ROLLBACK").await;
        close(self.session).await;
    }

    /// Returns the size of the database on the server in bytes; `None` if the role may not read it.
    pub async fn database_size(&self) -> Result<Option<u64>, DumpError> {
        or_cancelled(&self.cancel, async { Ok(sql::database_size(&self.session).await?) }).await
    }

    /// Writes the whole dump and ends the transaction. The returned object still has to be completed; on
    /// failure it is aborted.
    ///
    /// The transaction ends, and its locks are released, as soon as everything is read. A store that is slow
    /// to accept the remaining bytes, or to abort the upload, does not keep the locks held.
    pub async fn write(mut self, mut writer: DumpWriter) -> Result<(Written, UnpublishedObject), DumpError> {
        if let Err(error) = self.write_and_commit(&mut writer).await {
            let Dump { session, progress, .. } = self;
            // Release the locks before the store aborts the upload, which may be slow.
            drop(session);
            progress.release_locks();
            writer.abort().await;
            return Err(error);
        }
        self.clock.end_phase("data");
        self.progress.release_locks();
        self.progress.enter(DumpPhase::Flushing);
        let server_version = self.session.version();
        let server_version_text = self.session.server_version().to_owned();
        close(self.session).await;
        let Finished { raw_size, packed_size, size, header_size, sums, layout, pending } =
            writer.finish().await?;
        self.clock.end_phase("flush");
        self.progress.enter(DumpPhase::Publishing);
        let written = Written {
            raw_size,
            packed_size,
            size,
            header_size,
            sums,
            places: layout.into_index(),
            database: self.plan.database().to_owned(),
            plan: Some(self.plan),
            server_version,
            server_version_text,
            position: self.position,
            settings: self.settings,
            durations: self.clock.durations,
        };
        Ok((written, pending))
    }

    /// Appends the whole dump to the writer and ends the transaction. On failure the caller must abort the
    /// writer.
    pub async fn append(self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        self.write_and_commit(writer).await?;
        close(self.session).await;
        Ok(())
    }

    async fn write_and_commit(&self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        let written = async {
            self.write_all(writer).await?;
            or_cancelled(&self.cancel, async { Ok(sql::verify_names(&self.session, &self.locks).await?) })
                .await?;
            let commit = async { self.session.commit().await.map_err(DumpError::Session) };
            or_cancelled(&self.cancel, commit).await
        };
        written.await.map_err(|error| error.explained(&self.session, self.is_standby))
    }

    async fn write_all(&self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        let open = async {
            let workers =
                DumpWorkers::open(&self.session, &self.worker_sessions, &self.reading, &self.plan).await;
            workers.map_err(DumpError::Session)
        };
        let mut cancellers = vec![self.session.canceller()];
        let workers = match or_cancelled(&self.cancel, open).await {
            Ok(workers) => workers,
            Err(error) => return Err(give_up(&cancellers, error).await),
        };
        cancellers.extend(workers.cancellers());
        let script = Script::new(&self.plan, self.frame.clone());
        let pieces = Prefetcher::new(script, workers, self.reading.part_size());
        match or_cancelled(&self.cancel, self.write_pieces(pieces, writer)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(give_up(&cancellers, error).await),
        }
    }

    async fn write_pieces(
        &self,
        mut pieces: Prefetcher<'_>,
        writer: &mut DumpWriter,
    ) -> Result<(), DumpError> {
        while let Some(piece) = pieces.next() {
            match piece {
                PlannedPiece::Text { entry, role, text } => {
                    writer.text_as(role, entry, &sql::query::to_bytes(&text)).await?;
                }
                PlannedPiece::OnLeader { entry, name, data } => {
                    self.progress.enter(DumpPhase::Contents(name.clone()));
                    let written = data::write(&self.session, entry, &data, &self.frame.quoting, writer);
                    written.await.map_err(|error| data_error(error, name))?;
                }
                PlannedPiece::Parallel { entry, name, shares } => {
                    self.progress.enter(DumpPhase::Contents(name.clone()));
                    let written = data::write_shares(&mut pieces, entry, shares, writer);
                    written.await.map_err(|error| data_error(error, name))?;
                }
            }
        }
        pieces.close().await.map_err(|error| data_error(error, "the tables".to_owned()))
    }
}

/// Writes only the statements for a database's large objects, in its own transaction.
pub(crate) async fn write_large_objects(
    connection: &ConnectOptions,
    setup: &SessionSetup,
    mut writer: DumpWriter,
    cancel: &CancellationToken,
) -> Result<Finished, DumpError> {
    let session = open(connection, cancel).await?;
    let work = async {
        let state = session.set_up(setup).await.map_err(DumpError::Session)?;
        session.begin_snapshot(Isolation::default(), None).await.map_err(DumpError::Session)?;
        let quoting = Quoting::new(HashSet::new(), false, state.standard_conforming_strings);
        let data = EntryData::LargeObjects(None);
        let written = data::write(&session, DumpId(1), &data, &quoting, &mut writer).await;
        written.map_err(|error| data_error(error, "the large objects".to_owned()))?;
        session.commit().await.map_err(DumpError::Session)
    };
    match or_cancelled(cancel, work).await {
        Ok(()) => {
            session.close().await;
            Ok(writer.finish().await?)
        }
        Err(error) => {
            writer.abort().await;
            Err(give_up(&[session.canceller()], error).await)
        }
    }
}

fn data_error(error: DataError, table: String) -> DumpError {
    let source = match error {
        DataError::Pipeline(error) => return DumpError::Pipeline(error),
        DataError::WorkerDied => return DumpError::Pipeline(PipelineError::Died("a connection's task")),
        DataError::Read(source) => source,
        DataError::Incomplete => {
            ProtocolError::Unexpected("the server ended COPY without all of its rows".to_owned())
        }
    };
    DumpError::Data { table, source }
}

/// Closes the session, unless something else still uses it.
async fn close(session: Arc<Session>) {
    if let Some(session) = Arc::into_inner(session) {
        session.close().await;
    }
}

/// Opens the dump's session.
async fn open(connection: &ConnectOptions, cancel: &CancellationToken) -> Result<Session, DumpError> {
    or_cancelled(cancel, async { Session::open(connection).await.map_err(DumpError::Connect) }).await
}

/// Runs `work` unless the dump is cancelled first.
async fn or_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, DumpError>>,
) -> Result<T, DumpError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(DumpError::Cancelled),
        result = work => result,
    }
}

/// Cancels the statements that the server still runs for a failed dump. A broken connection needs no cancel.
async fn give_up(cancellers: &[Canceller], error: DumpError) -> DumpError {
    if !matches!(error, DumpError::Session(_)) {
        let cancel = futures_util::future::join_all(cancellers.iter().map(Canceller::cancel));
        // The server may be unreachable; then there is nothing to cancel.
        let _ = tokio::time::timeout(CANCEL_GRACE, cancel).await;
    }
    error
}
