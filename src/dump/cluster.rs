//! Dumps a whole cluster into one stream: its globals, then each database. Only one database is open at a
//! time.
//!
//! Invariant: nothing becomes visible before the transaction of every database has committed.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::progress::DumpProgress;
use super::{Dump, DumpError, DumpRequest, ReadOptions, give_up, open, or_cancelled};
use crate::pipeline::{DumpWriter, Finished, UnpublishedObject};
use crate::protocol::ServerVersion;
use crate::protocol::conninfo::ConnectOptions;
use crate::protocol::setup::SessionSetup;
use crate::protocol::snapshot::{Isolation, SnapshotPosition};
use crate::sql::global::script::{GlobalFrame, database_head, tail};
use crate::sql::global::{self, DatabaseName, GlobalOptions, Globals};
use crate::sql::script::timestamp;
use crate::sql::{DumpOptions, SqlError, Warning, query};

/// Which parts of a cluster to dump, and how.
#[derive(Clone, Debug)]
pub struct ClusterRequest {
    /// The server, the role, and the database that the globals are read in.
    pub connection: ConnectOptions,
    /// Settings that the options make for the sessions.
    pub setup: SessionSetup,
    /// pg_dumpall's own options.
    pub globals: GlobalOptions,
    /// The options of each database's dump. Without a restrict key, each database gets its own.
    pub databases: DumpOptions,
    /// How the rows of each database are read.
    pub reading: ReadOptions,
    /// Cancels the dump and the statements that the server runs for it.
    pub cancel: CancellationToken,
}

/// An event to report while a cluster is dumped.
#[derive(Debug)]
pub enum ClusterEvent<'a> {
    /// A database is skipped because of `--exclude-database`.
    Excluding(&'a str),
    /// The dump of a database begins.
    Dumping(&'a str),
    /// The warnings of a database's dump.
    Warnings(&'a [Warning]),
}

/// A cluster whose globals are read, before the first byte of its dump.
pub struct Cluster {
    request: ClusterRequest,
    globals: Globals,
    frame: GlobalFrame,
    source: GlobalsSource,
}

/// Where and when globals were read.
#[derive(Debug)]
pub(super) struct GlobalsSource {
    pub(super) database: String,
    pub(super) server_version: ServerVersion,
    pub(super) server_version_text: String,
    pub(super) position: Option<SnapshotPosition>,
    pub(super) settings: BTreeMap<String, String>,
}

impl Cluster {
    /// Connects and reads the globals in one snapshot.
    pub async fn prepare(request: ClusterRequest) -> Result<Cluster, DumpError> {
        let cancel = request.cancel.clone();
        let started = timestamp();
        let session = open(&request.connection, &cancel).await?;
        let read = or_cancelled(&cancel, async {
            let on_statement = |statement: &str| request.globals.progress.executing(statement);
            let state =
                session.set_up_for_globals(&request.setup, on_statement).await.map_err(DumpError::Session)?;
            let position =
                session.begin_snapshot(Isolation::default(), None).await.map_err(DumpError::Session)?;
            let globals = global::read(&session, &request.globals).await?;
            session.commit().await.map_err(DumpError::Session)?;
            Ok((state, position, globals))
        });
        let (state, position, globals) = match read.await {
            Ok(read) => read,
            Err(error) => return Err(give_up(&[session.canceller()], error).await),
        };
        let source = GlobalsSource {
            database: request.connection.database().to_owned(),
            server_version: session.version(),
            server_version_text: session.server_version().to_owned(),
            position,
            settings: state.shown,
        };
        session.close().await;
        let frame = GlobalFrame {
            encoding: state.encoding,
            standard_strings: state.standard_conforming_strings,
            started,
        };
        Ok(Cluster { request, globals, frame, source })
    }

    /// Returns the warnings about the globals.
    pub fn warnings(&self) -> &[Warning] {
        &self.globals.warnings
    }

    /// Writes the whole dump. The returned object still has to be completed; on failure it is aborted.
    pub async fn write(
        self,
        mut writer: DumpWriter,
        notify: impl Fn(ClusterEvent<'_>),
    ) -> Result<UnpublishedObject, DumpError> {
        match self.write_all(&mut writer, notify).await {
            Ok(()) => Ok(writer.finish().await?.pending),
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    /// Writes only the globals; for the whole cluster see [`Cluster::write`].
    pub(super) async fn write_globals(
        self,
        mut writer: DumpWriter,
    ) -> Result<(GlobalsSource, Finished), DumpError> {
        let written = async {
            self.write_sections(&mut writer).await?;
            text(&mut writer, &tail(&self.request.globals)).await
        };
        match or_cancelled(&self.request.cancel, written).await {
            Ok(()) => Ok((self.source, writer.finish().await?)),
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    async fn write_all(
        &self,
        writer: &mut DumpWriter,
        notify: impl Fn(ClusterEvent<'_>),
    ) -> Result<(), DumpError> {
        let cancel = &self.request.cancel;
        or_cancelled(cancel, self.write_sections(writer)).await?;
        for database in &self.globals.databases {
            if database.is_template0() {
                continue;
            }
            if database.is_excluded {
                notify(ClusterEvent::Excluding(&database.name));
                continue;
            }
            notify(ClusterEvent::Dumping(&database.name));
            self.write_database(database, writer, &notify).await.map_err(|error| match error {
                error if error.is_cancellation() => error,
                error => DumpError::Database { name: database.name.clone(), source: Box::new(error) },
            })?;
        }
        or_cancelled(cancel, text(writer, &tail(&self.request.globals))).await
    }

    async fn write_sections(&self, writer: &mut DumpWriter) -> Result<(), DumpError> {
        for section in self.globals.sections(&self.request.globals, &self.frame)? {
            text(writer, &section).await?;
        }
        Ok(())
    }

    async fn write_database(
        &self,
        database: &DatabaseName,
        writer: &mut DumpWriter,
        notify: impl Fn(ClusterEvent<'_>),
    ) -> Result<(), DumpError> {
        let request = self.database_request(database)?;
        let cancel = &self.request.cancel;
        let head = database_head(database, self.request.globals.clean);
        or_cancelled(cancel, text(writer, &head)).await?;
        let dump = Dump::prepare(request).await?;
        notify(ClusterEvent::Warnings(dump.warnings()));
        dump.append(writer).await
    }

    /// Returns the request for one database. A database that every cluster has is dropped and created only
    /// with `--clean`. Any other database is always created; with `--clean`, the globals have dropped it
    /// already.
    fn database_request(&self, database: &DatabaseName) -> Result<DumpRequest, DumpError> {
        let is_replaced = database.is_in_every_cluster() && self.request.globals.clean;
        let mut options = DumpOptions {
            clean: is_replaced,
            create: is_replaced || !database.is_in_every_cluster(),
            ..self.request.databases.clone()
        };
        if let Some(contradiction) = options.contradiction() {
            return Err(SqlError::Selection(contradiction.to_owned()).into());
        }
        if options.restrict_key.is_empty() {
            options.restrict_key = DumpOptions::new_restrict_key()?;
        }
        Ok(DumpRequest {
            connection: self.request.connection.with_database(&database.name),
            setup: self.request.setup.clone(),
            isolation: Isolation::default(),
            snapshot: None,
            options,
            reading: self.request.reading.clone(),
            progress: DumpProgress::default(),
            cancel: self.request.cancel.clone(),
        })
    }
}

async fn text(writer: &mut DumpWriter, text: &str) -> Result<(), DumpError> {
    Ok(writer.text(None, &query::to_bytes(text)).await?)
}
