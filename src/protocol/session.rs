//! One connection to one database.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::buffers::Buffers;
pub use super::connect::Canceller;
use super::connect::{self, Connected, Link};
use super::conninfo::{ConnInfo, ConnectOptions, Environment};
use super::copy::{CHUNK_SIZE, CopyOut, RowReader};
pub use super::error::ProtocolError;
use super::error::Server;
use super::version::{ServerVersion, check_supported};
use super::wire::{CopySink, CopySinks};

/// An open connection.
///
/// It does one thing at a time: while a stream of rows or a COPY is open, the next statement waits
/// for its end.
pub struct Session {
    client: Client,
    link: Arc<Link>,
    sinks: CopySinks,
    buffers: Buffers,
    canceller: Canceller,
    version: ServerVersion,
    server_version: String,
    /// Known once the session is set up.
    pub(super) client_encoding: OnceLock<String>,
    task: JoinHandle<()>,
}

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
        let Connected { client, link, sinks, canceller, server_version, task } =
            connect::connect(options).await?;
        let number = "SELECT pg_catalog.current_setting('server_version_num')::int4";
        let read = async { client.query_one(number, &[]).await?.try_get::<_, i32>(0) };
        let number = read.await.map_err(|e| link.error(e).during("asking for the server's version"))?;
        let version = ServerVersion(number.unsigned_abs());
        Ok(Session {
            client,
            buffers: Buffers::default(),
            link,
            sinks,
            canceller,
            version,
            server_version,
            client_encoding: OnceLock::new(),
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

    /// Runs one query and collects its rows.
    pub async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ProtocolError> {
        self.client.query(sql, params).await.map_err(|e| self.link.error(e))
    }

    /// Runs one query and hands its rows over as they arrive.
    pub async fn query_stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Rows, ProtocolError> {
        let rows =
            self.client.query_raw(sql, params.iter().copied()).await.map_err(|e| self.link.error(e))?;
        let link = Arc::clone(&self.link);
        Ok(Box::pin(rows.map(move |row| row.map_err(|e| link.error(e)))))
    }

    /// Runs statements that return no rows.
    pub async fn execute(&self, sql: &str) -> Result<(), ProtocolError> {
        self.client.batch_execute(sql).await.map_err(|e| self.link.error(e))
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
        let statement = self.client.prepare(sql).await.map_err(|e| self.link.error(e))?;
        let (sender, receiver) = mpsc::channel(1);
        self.sinks.push(CopySink { sender, chunk_size, buffers: self.buffers.clone() });
        match self.client.copy_out(&statement).await {
            Ok(end) => Ok(CopyOut::new(receiver, end, Arc::clone(&self.link))),
            Err(error) => {
                // The COPY never began, so that its sink still waits.
                self.sinks.take();
                Err(self.link.error(error))
            }
        }
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

    /// Says goodbye to the server and waits until the connection is closed.
    pub async fn close(self) {
        drop(self.client);
        // The task ends with the connection; its failure would only repeat what is over.
        let _ = self.task.await;
    }
}
