//! A connection to one database.

use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::buffers::BufferPool;
pub use super::connect::Canceller;
use super::connect::{self, Connected, Link};
use super::conninfo::{ConnInfo, ConnectOptions, Environment};
use super::copy::{CHUNK_SIZE, CopyGate, CopyOut, Delivery, RowReader};
pub use super::error::ProtocolError;
use super::error::Server;
use super::version::{OLDEST, ServerVersion};
pub use super::wire::SqlSettings;
use super::wire::{AnswerKind, CopySink, NextSink, Scripts};

/// An open connection.
///
/// It runs one statement at a time: while a stream of rows or a COPY is open, the next statement waits for
/// its end.
pub struct Session {
    client: Client,
    link: Arc<Link>,
    next_sink: NextSink,
    scripts: Scripts,
    copies: CopyGate,
    buffers: BufferPool,
    canceller: Canceller,
    version: ServerVersion,
    server_version: String,
    /// Set by [`Session::set_up`].
    pub(super) client_encoding: OnceLock<String>,
    pub(super) lock_timeout: OnceLock<Option<Duration>>,
    task: JoinHandle<()>,
}

/// Maximum number of idle buffers for the next COPY. During a COPY, one buffer is being filled, one is queued
/// and one is in use by the consumer.
const IDLE_BUFFERS: usize = 3;

/// A stream of a query's rows.
pub type Rows = Pin<Box<dyn Stream<Item = Result<Row, ProtocolError>> + Send>>;

impl Session {
    /// Connects with a connection string or URI, with defaults from the process's environment.
    pub async fn connect(conninfo: &str) -> Result<Session, ProtocolError> {
        let options = ConnInfo::parse(conninfo)?.resolve(&Environment::of_process())?;
        Session::open(&options).await
    }

    /// Connects to a server of PostgreSQL 13 or later.
    pub async fn open(options: &ConnectOptions) -> Result<Session, ProtocolError> {
        let Connected { client, link, next_sink, scripts, canceller, server_version, task } =
            connect::connect(options).await?;
        let asked = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_backend_pid()";
        let read = async {
            let row = client.query_one(asked, &[]).await?;
            Ok::<_, tokio_postgres::Error>((row.try_get::<_, String>(0)?, row.try_get::<_, i32>(1)?))
        };
        let (number, process) =
            read.await.map_err(|e| link.error(e).during("asking for the server's version"))?;
        link.events.set_process(process);
        let version = ServerVersion(number.parse().map_err(|_| {
            ProtocolError::Unexpected(format!("{} says that its version is \"{number}\"", link.server))
        })?);
        if version < OLDEST {
            return Err(ProtocolError::UnsupportedVersion { server: link.server.clone(), version });
        }
        Ok(Session {
            client,
            buffers: BufferPool::new(IDLE_BUFFERS, 2 * CHUNK_SIZE),
            link,
            next_sink,
            scripts,
            copies: CopyGate::default(),
            canceller,
            version,
            server_version,
            client_encoding: OnceLock::new(),
            lock_timeout: OnceLock::new(),
            task,
        })
    }

    /// Returns the server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// Returns the version as the server reports it: `15.18 (Debian 15.18-1.pgdg12+1)`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// Returns the server for use in messages.
    pub fn server(&self) -> &Server {
        &self.link.server
    }

    /// Returns a handle that cancels this session's current statement.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Runs a query that returns few rows, and collects them.
    pub async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ProtocolError> {
        self.collect(AnswerKind::Short, sql, params).await
    }

    /// Runs a catalog query and collects its rows, subject to the limit on the answers to catalog queries.
    pub async fn catalog_query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ProtocolError> {
        self.collect(AnswerKind::Catalog, sql, params).await
    }

    async fn collect(
        &self,
        request: AnswerKind,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ProtocolError> {
        self.link.events.answers.expect(request);
        self.client.query(sql, params).await.map_err(|e| self.link.error(e))
    }

    /// Runs a query and returns its rows as they arrive. Their number is unlimited, because they are not
    /// collected.
    pub async fn query_stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows, ProtocolError> {
        self.stream(AnswerKind::Passing, sql, params).await
    }

    /// Runs a catalog query and returns its rows as they arrive, subject to the limit on the answers to
    /// catalog queries.
    pub async fn catalog_stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows, ProtocolError> {
        self.stream(AnswerKind::Catalog, sql, params).await
    }

    async fn stream(
        &self,
        request: AnswerKind,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows, ProtocolError> {
        self.link.events.answers.expect(request);
        let rows =
            self.client.query_raw(sql, params.iter().copied()).await.map_err(|e| self.link.error(e))?;
        let link = Arc::clone(&self.link);
        Ok(Box::pin(rows.map(move |row| row.map_err(|e| link.error(e)))))
    }

    /// Runs statements that return no rows.
    pub async fn execute(&self, sql: &str) -> Result<(), ProtocolError> {
        self.run(AnswerKind::Short, sql).await
    }

    /// Runs a statement of a script. It may return any number of rows, which are discarded.
    pub async fn execute_any(&self, sql: &str) -> Result<(), ProtocolError> {
        self.run(AnswerKind::Passing, sql).await
    }

    async fn run(&self, request: AnswerKind, sql: &str) -> Result<(), ProtocolError> {
        self.link.events.answers.expect(request);
        self.client.batch_execute(sql).await.map_err(|e| self.link.error(e))
    }

    /// Runs a statement and returns the number of rows in its command tag.
    pub async fn execute_counted(&self, sql: &str) -> Result<u64, ProtocolError> {
        self.link.events.answers.expect(AnswerKind::Passing);
        let answers = self.client.simple_query_raw(sql).await.map_err(|e| self.link.error(e))?;
        let mut answers = pin!(answers);
        let mut counted = 0;
        while let Some(answer) = answers.next().await {
            if let SimpleQueryMessage::CommandComplete(rows) = answer.map_err(|e| self.link.error(e))? {
                counted += rows;
            }
        }
        Ok(counted)
    }

    /// Returns whether a transaction was open after the last statement.
    pub fn is_in_transaction(&self) -> bool {
        self.link.events.is_in_transaction()
    }

    /// Returns the settings that affect how the server parses SQL, as reported last. After an error they may
    /// be outdated until another statement has completed.
    pub fn sql_settings(&self) -> SqlSettings {
        self.link.events.sql_settings()
    }

    /// Starts a `COPY … TO STDOUT`.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut, ProtocolError> {
        self.copy_out_in_chunks(sql, CHUNK_SIZE).await
    }

    /// Starts a `COPY … TO STDOUT` whose chunks have at least `chunk_size` bytes, except for the last one.
    ///
    /// Up to three chunks are in memory at a time: one being filled, one queued, and one in use by the
    /// caller. The buffer of a dropped chunk is reused for the next rows, and after the end of the COPY for
    /// the next COPY.
    pub async fn copy_out_in_chunks(&self, sql: &str, chunk_size: usize) -> Result<CopyOut, ProtocolError> {
        let buffers = self.buffers.clone();
        self.copies(sql, Delivery { chunk_size, most: 1, window: None, gate: None, buffers }).await
    }

    /// Runs statements without parameters in one round trip. Only `COPY … TO STDOUT` may return rows. Stops
    /// at the first statement that fails.
    ///
    /// If the last COPY was abandoned, waits for its end.
    pub async fn copies(&self, sql: &str, delivery: Delivery) -> Result<CopyOut, ProtocolError> {
        let unfinished = self.copies.take().await;
        let Delivery { chunk_size, most, window, gate, buffers } = delivery;
        let (sender, chunks) = mpsc::channel(most);
        self.next_sink.set(CopySink { sender, chunk_size, buffers, window, gate });
        // Rows of statements other than COPY are discarded.
        self.link.events.answers.expect(AnswerKind::Passing);
        let end = self.client.simple_query_raw(sql).await.map_err(|e| self.link.error(e))?;
        Ok(CopyOut::new(chunks, end, Arc::clone(&self.link), self.next_sink.clone(), unfinished))
    }

    /// Runs a SELECT and returns its rows as text while they arrive.
    pub async fn text_rows(&self, select: &str) -> Result<RowReader, ProtocolError> {
        let select = select.trim_end().trim_end_matches(';');
        let encoding = match self.client_encoding.get() {
            Some(encoding) => encoding.clone(),
            None => self.state().await?.encoding,
        };
        let copy = self.copy_out(&format!("COPY ({select}) TO STDOUT")).await?;
        Ok(RowReader::new(copy, &encoding))
    }

    /// Returns the reason why the connection ended, if it has.
    pub fn end(&self) -> Option<ProtocolError> {
        self.client.is_closed().then(|| self.link.lost())
    }

    /// Returns the queue through which scripts are passed to the wire.
    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Returns the driver and the context of its errors.
    pub(super) fn driver(&self) -> (&Client, &Arc<Link>) {
        (&self.client, &self.link)
    }

    /// Terminates the session and waits until the connection is closed.
    pub async fn close(self) {
        drop(self.client);
        // The task ends with the connection; its error is of no use after the session has ended.
        let _ = self.task.await;
    }
}
