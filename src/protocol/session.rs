//! One connection to one database, set up as pg_dump sets its own up.

use std::pin::Pin;

use futures_util::Stream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, RowStream};

use super::copy::CopyOut;
use super::version::ServerVersion;

/// A failure in speaking to the server.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProtocolError(#[from] pub tokio_postgres::Error);

/// An open connection.
pub struct Session {
    client: Client,
    version: ServerVersion,
}

impl Session {
    /// Connects with a connection string.
    pub async fn connect(conninfo: &str) -> Result<Session, ProtocolError> {
        let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
        tokio::spawn(connection);
        let row =
            client.query_one("SELECT pg_catalog.current_setting('server_version_num')::int4", &[]).await?;
        let version = ServerVersion(row.get::<_, i32>(0).unsigned_abs());
        Ok(Session { client, version })
    }

    /// The server's version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// `server_version`, in full, as the server reports it.
    pub async fn server_version(&self) -> Result<String, ProtocolError> {
        let row = self.client.query_one("SELECT pg_catalog.current_setting('server_version')", &[]).await?;
        Ok(row.try_get(0)?)
    }

    /// Runs one query and collects its rows.
    pub async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ProtocolError> {
        Ok(self.client.query(sql, params).await?)
    }

    /// Runs one query and hands its rows over as they arrive.
    pub async fn query_stream(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Pin<Box<RowStream>>, ProtocolError> {
        let params = params.iter().map(|p| *p as &dyn ToSql);
        Ok(Box::pin(self.client.query_raw(sql, params.collect::<Vec<_>>()).await?))
    }

    /// Runs statements that return no rows.
    pub async fn execute(&self, sql: &str) -> Result<(), ProtocolError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Starts a `COPY … TO STDOUT`.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOut, ProtocolError> {
        Ok(CopyOut::new(self.client.copy_out(sql).await?))
    }
}

fn _assert_stream(s: RowStream) -> impl Stream {
    s
}
