//! One connection to one database.

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
use super::version::{ServerVersion, check_supported};
pub use super::wire::SqlSettings;
use super::wire::{AnswerKind, CopySink, NextSink, Scripts};

/// An open connection.
///
/// It does one thing at a time: while a stream of rows or a COPY is open, the next statement waits
/// for its end.
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
    /// Known once the session is set up.
    pub(super) client_encoding: OnceLock<String>,
    pub(super) lock_timeout: OnceLock<Option<Duration>>,
    task: JoinHandle<()>,
}

/// Buffers that wait to be used for the next COPY: in one, one is being filled, one waits and one is
/// with the reader.
const IDLE_BUFFERS: usize = 3;

/// A query's rows as they arrive.
pub type Rows = Pin<Box<dyn Stream<Item = Result<Row, ProtocolError>> + Send>>;

impl Session {
    /// Connects with a connection string or URI, completed from the process's environment.
    pub async fn connect(conninfo: &str) -> Result<Session, ProtocolError> {
        let options = ConnInfo::parse(conninfo)?.resolve(&Environment::of_process())?;
        Session::open(&options).await
    }

    /// Connects, and refuses a server of a major that is not supported.
    pub async fn open(options: &ConnectOptions) -> Result<Session, ProtocolError> {
        let session = Session::open_any_version(options).await?;
        check_supported(session.version, session.server())?;
        Ok(session)
    }

    /// Connects to a server of any version.
    pub async fn open_any_version(options: &ConnectOptions) -> Result<Session, ProtocolError> {
        let Connected { client, link, next_sink, scripts, canceller, server_version, task } =
            connect::connect(options).await?;
        let asked = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_backend_pid()";
        let read = async {
            let row = client.query_one(asked, &[]).await?;
            Ok::<_, tokio_postgres::Error>((row.try_get::<_, String>(0)?, row.try_get::<_, i32>(1)?))
        };
        let (number, process) =
            read.await.map_err(|e| link.error(e).during("asking for the server's version"))?;
        link.heard.set_process(process);
        let version = ServerVersion(number.parse().map_err(|_| {
            ProtocolError::Unexpected(format!("{} says that its version is \"{number}\"", link.server))
        })?);
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

    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// The server's version in its own words: `15.18 (Debian 15.18-1.pgdg12+1)`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// The server, as messages name it.
    pub fn server(&self) -> &Server {
        &self.link.server
    }

    /// A handle that cancels what this session is doing.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Runs a query that some rows answer, and collects them.
    pub async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ProtocolError> {
        self.collect(AnswerKind::Short, sql, params).await
    }

    /// Runs a catalog query and collects its rows, within the limit on the answers to such queries.
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
        self.link.heard.answers.expect(request);
        self.client.query(sql, params).await.map_err(|e| self.link.error(e))
    }

    /// Runs a query and hands its rows over as they arrive. There may be any number of them: the caller keeps none.
    pub async fn query_stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows, ProtocolError> {
        self.stream(AnswerKind::Passing, sql, params).await
    }

    /// Runs a catalog query and hands its rows over as they arrive, within the limit on the answers to such queries.
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
        self.link.heard.answers.expect(request);
        let rows =
            self.client.query_raw(sql, params.iter().copied()).await.map_err(|e| self.link.error(e))?;
        let link = Arc::clone(&self.link);
        Ok(Box::pin(rows.map(move |row| row.map_err(|e| link.error(e)))))
    }

    /// Runs statements that return no rows.
    pub async fn execute(&self, sql: &str) -> Result<(), ProtocolError> {
        self.run(AnswerKind::Short, sql).await
    }

    /// Runs a statement of a script, which may return any number of rows; they are dropped.
    pub async fn execute_any(&self, sql: &str) -> Result<(), ProtocolError> {
        self.run(AnswerKind::Passing, sql).await
    }

    async fn run(&self, request: AnswerKind, sql: &str) -> Result<(), ProtocolError> {
        self.link.heard.answers.expect(request);
        self.client.batch_execute(sql).await.map_err(|e| self.link.error(e))
    }

    /// Runs a statement and gives the rows that its command tag counts.
    pub async fn execute_counted(&self, sql: &str) -> Result<u64, ProtocolError> {
        self.link.heard.answers.expect(AnswerKind::Passing);
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

    /// Whether the server said after the last statement that a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.link.heard.is_in_transaction()
    }

    /// The settings that decide how the server reads SQL, as it reported them last. After an error they may be those
    /// from before it, until another statement has been answered.
    pub fn sql_settings(&self) -> SqlSettings {
        self.link.heard.sql_settings()
    }

    /// Starts a `COPY … TO STDOUT`.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut, ProtocolError> {
        self.copy_out_in_chunks(sql, CHUNK_SIZE).await
    }

    /// Starts a `COPY … TO STDOUT` whose chunks hold at least `chunk_size` bytes, but for the last.
    ///
    /// Up to three chunks are in memory at a time: one filling, one waiting, one with the caller. A
    /// chunk that the caller drops is used for the next rows, and beyond the COPY's end for the next COPY.
    pub async fn copy_out_in_chunks(&self, sql: &str, chunk_size: usize) -> Result<CopyOut, ProtocolError> {
        let buffers = self.buffers.clone();
        self.copies(sql, Delivery { chunk_size, most: 1, window: None, turn: None, buffers }).await
    }

    /// Runs statements without parameters, none of which returns rows but by `COPY … TO STDOUT`, in one
    /// round trip. The first that fails is the last that is run.
    ///
    /// Waits for the end of the last COPY, should that have been given up before.
    pub async fn copies(&self, sql: &str, delivery: Delivery) -> Result<CopyOut, ProtocolError> {
        let unfinished = self.copies.take().await;
        let Delivery { chunk_size, most, window, turn, buffers } = delivery;
        let (sender, chunks) = mpsc::channel(most);
        self.next_sink.set(CopySink { sender, chunk_size, buffers, window, turn });
        // Rows that statements beside a COPY return are not kept.
        self.link.heard.answers.expect(AnswerKind::Passing);
        let end = self.client.simple_query_raw(sql).await.map_err(|e| self.link.error(e))?;
        Ok(CopyOut::new(chunks, end, Arc::clone(&self.link), self.next_sink.clone(), unfinished))
    }

    /// Runs a SELECT and hands its rows over as text while they arrive.
    pub async fn text_rows(&self, select: &str) -> Result<RowReader, ProtocolError> {
        let select = select.trim_end().trim_end_matches(';');
        let encoding = match self.client_encoding.get() {
            Some(encoding) => encoding.clone(),
            None => self.state().await?.encoding,
        };
        let copy = self.copy_out(&format!("COPY ({select}) TO STDOUT")).await?;
        Ok(RowReader::new(copy, &encoding))
    }

    /// Why the connection ended, if it has.
    pub fn end(&self) -> Option<ProtocolError> {
        self.client.is_closed().then(|| self.link.lost())
    }

    /// Where scripts are handed to the wire.
    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// The driver, and what its errors need to know.
    pub(super) fn driver(&self) -> (&Client, &Arc<Link>) {
        (&self.client, &self.link)
    }

    /// Says goodbye to the server and waits until the connection is closed.
    pub async fn close(self) {
        drop(self.client);
        // The task ends with the connection; its failure would only repeat what is over.
        let _ = self.task.await;
    }
}
