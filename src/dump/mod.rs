//! One database, from connecting to the last byte of its dump: the place where [`protocol`],
//! [`sql`] and [`pipeline`] meet. Where the bytes go is the caller's; [`backup`] makes them a backup
//! in a store, [`cluster`] joins those of all databases of a server, [`globals`] saves what is in none.
//!
//! Invariant: nothing becomes visible before the dump's transaction has ended well.
//!
//! [`protocol`]: crate::protocol
//! [`sql`]: crate::sql
//! [`pipeline`]: crate::pipeline

pub mod backup;
pub mod cluster;
mod data;
pub mod globals;

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::archive::toc::{DumpId, EntryData, Piece};
use crate::archive::toc_file::Places;
use crate::pipeline::{DumpWriter, Finished, Pending, PipelineError};
use crate::protocol::companion::Companions;
use crate::protocol::conninfo::ConnectOptions;
use crate::protocol::setup::SessionSetup;
use crate::protocol::snapshot::{Isolation, SnapshotId, SnapshotPosition};
use crate::protocol::{ProtocolError, ServerVersion, Session};
use crate::sql::script::{Frame, Script, timestamp};
use crate::sql::{self, DumpOptions, Plan, SqlError};
use crate::storage::ObjectSums;

/// How long a cancelled statement may take to end on the server before the connection is just closed.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What to dump, and how.
#[derive(Clone, Debug)]
pub struct DumpRequest {
    /// The server, the database and the role.
    pub connection: ConnectOptions,
    /// What the options say about the session.
    pub setup: SessionSetup,
    /// How the transaction is isolated.
    pub isolation: Isolation,
    /// `--snapshot`: a snapshot that another session has exported.
    pub snapshot: Option<SnapshotId>,
    /// pg_dump's options.
    pub options: DumpOptions,
    /// Connections to the database at a time, 1 or more.
    pub jobs: NonZeroUsize,
    /// Ends the dump early, and whatever the server is doing for it.
    pub cancel: CancellationToken,
}

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
    /// The dump was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl DumpError {
    /// Whether the dump ended because it was told to.
    pub fn is_cancellation(&self) -> bool {
        matches!(self, DumpError::Cancelled | DumpError::Pipeline(PipelineError::Cancelled))
    }
}

/// A dump whose objects are known and whose tables are locked, before its first byte.
pub struct Dump {
    session: Session,
    plan: Plan,
    frame: Frame,
    position: Option<SnapshotPosition>,
    cancel: CancellationToken,
    clock: Clock,
}

/// What is known when the last byte is through and the transaction has ended well.
#[derive(Debug)]
pub struct Written {
    /// The size of the SQL in bytes.
    pub raw_size: u64,
    /// The size of the object in bytes.
    pub size: u64,
    /// The object's checksums, unless they were not wanted.
    pub sums: Option<ObjectSums>,
    /// Where text and rows lie, and the rows' digests.
    pub places: Places,
    /// What was dumped; absent for globals, which have no entries.
    pub plan: Option<Plan>,
    /// The name of the database that the session was in.
    pub database: String,
    /// The server's version.
    pub server_version: ServerVersion,
    /// The server's version in its own words.
    pub server_version_text: String,
    /// Where and when the snapshot was taken; unknown for an imported one.
    pub position: Option<SnapshotPosition>,
    /// Seconds that each phase took, by its name.
    pub durations: BTreeMap<String, f64>,
}

/// Measures the phases.
#[derive(Debug)]
struct Clock {
    since: Instant,
    durations: BTreeMap<String, f64>,
}

impl Clock {
    fn start() -> Self {
        Clock { since: Instant::now(), durations: BTreeMap::new() }
    }

    fn end_phase(&mut self, phase: &str) {
        self.durations.insert(phase.to_owned(), self.since.elapsed().as_secs_f64());
        self.since = Instant::now();
    }
}

impl Dump {
    /// Connects, takes the snapshot, reads the catalogs and locks the tables.
    pub async fn prepare(request: DumpRequest) -> Result<Dump, DumpError> {
        let mut clock = Clock::start();
        let DumpRequest { connection, setup, isolation, snapshot, mut options, jobs, cancel } = request;
        let session = open(&connection, &cancel).await?;
        clock.end_phase("connect");
        let prepared = or_cancelled(&cancel, async {
            let state = session.set_up(&setup).await.map_err(DumpError::Session)?;
            // A standby has no rows of unlogged tables.
            options.no_unlogged_table_data |= state.standby;
            let position =
                session.begin_snapshot(isolation, snapshot.as_ref()).await.map_err(DumpError::Session)?;
            let companions = Companions { connection, setup, most: jobs.get() - 1 };
            let plan = sql::plan(&session, &companions, options).await?;
            Ok((state, position, plan))
        });
        let (state, position, plan) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return Err(give_up(&session, error).await),
        };
        clock.end_phase("catalog");
        let frame = Frame {
            server_version: session.server_version().to_owned(),
            dumped_by: format!("pg-backup version {}", env!("CARGO_PKG_VERSION")),
            encoding: state.encoding,
            quoting: plan.quoting().clone(),
            started: timestamp(),
        };
        Ok(Dump { session, plan, frame, position, cancel, clock })
    }

    /// What the user should know about the dump.
    pub fn warnings(&self) -> &[sql::Warning] {
        &self.plan.warnings
    }

    /// How many bytes the database takes on the server; `None` if the role may not know.
    pub async fn database_size(&self) -> Result<Option<u64>, DumpError> {
        or_cancelled(&self.cancel, async { Ok(sql::database_size(&self.session).await?) }).await
    }

    /// Writes everything and ends the transaction. The object that is returned beside what is known
    /// of it waits to be completed; on failure it has been aborted.
    pub async fn write(mut self, mut writer: DumpWriter) -> Result<(Written, Pending), DumpError> {
        if let Err(error) = self.write_all(&mut writer).await {
            writer.abort().await;
            return Err(error);
        }
        self.clock.end_phase("data");
        let Finished { raw_size, size, sums, layout, pending } = writer.finish().await?;
        if let Err(error) = self.session.commit().await {
            pending.abort().await;
            return Err(DumpError::Session(error));
        }
        self.clock.end_phase("flush");
        let server_version = self.session.version();
        let server_version_text = self.session.server_version().to_owned();
        self.session.close().await;
        let written = Written {
            raw_size,
            size,
            sums,
            places: layout.into_places(),
            database: self.plan.database().to_owned(),
            plan: Some(self.plan),
            server_version,
            server_version_text,
            position: self.position,
            durations: self.clock.durations,
        };
        Ok((written, pending))
    }

    /// Writes everything after what is in the writer already, and ends the transaction. On failure
    /// the writer is to be aborted.
    pub async fn append(self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        self.write_all(writer).await?;
        self.session.commit().await.map_err(DumpError::Session)?;
        self.session.close().await;
        Ok(())
    }

    async fn write_all(&self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        match or_cancelled(&self.cancel, self.write_pieces(writer)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(give_up(&self.session, error).await),
        }
    }

    async fn write_pieces(&self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        for piece in Script::new(&self.plan, self.frame.clone()) {
            match piece {
                Piece::Text { entry, role, text } => {
                    writer.text_as(role, entry, &sql::query::to_bytes(&text)).await?;
                }
                Piece::Data { entry, name, data } => self.write_data(entry, name, &data, writer).await?,
            }
        }
        Ok(())
    }

    async fn write_data(
        &self,
        entry: DumpId,
        name: String,
        data: &EntryData,
        writer: &mut DumpWriter,
    ) -> Result<(), DumpError> {
        data::write(&self.session, entry, data, &self.frame.quoting, writer).await.map_err(
            |error| match error {
                data::DataError::Pipeline(error) => DumpError::Pipeline(error),
                data::DataError::Read(source) => DumpError::Data { table: name, source },
            },
        )
    }
}

/// Opens a dump's session.
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

/// Stops what the server is still doing for a dump that has failed; a broken connection needs nothing.
async fn give_up(session: &Session, error: DumpError) -> DumpError {
    if !matches!(error, DumpError::Session(_)) {
        // The server may be away already, and then there is nothing to cancel.
        let _ = tokio::time::timeout(CANCEL_GRACE, session.canceller().cancel()).await;
    }
    error
}
