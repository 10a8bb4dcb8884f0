//! COPY into a table. PostgreSQL's manual, section "COPY Operations" of the frontend/backend protocol.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::connect::Link;
use super::error::ProtocolError;
use super::session::Session;

/// Bytes of rows in one message, which the driver and the server each keep whole.
pub(super) const MESSAGE: usize = 256 << 10;

/// A `COPY … FROM STDIN` under way. Dropping it before [`CopyIn::finish`] makes the server undo it.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    link: Arc<Link>,
    errors_before: u64,
}

impl Session {
    /// Starts a `COPY … FROM STDIN`.
    pub async fn copy_in(&self, sql: &str) -> Result<CopyIn, ProtocolError> {
        let (client, link) = self.driver();
        let sink = client.copy_in(sql).await.map_err(|error| link.error(error))?;
        Ok(CopyIn { sink: Box::pin(sink), errors_before: link.heard.errors(), link: Arc::clone(link) })
    }
}

impl CopyIn {
    /// Sends rows; pieces may begin and end anywhere. What the server does not take yet waits here, so that
    /// the driver holds a few messages of [`MESSAGE`] bytes at most.
    pub async fn send(&mut self, mut rows: Bytes) -> Result<(), ProtocolError> {
        while !rows.is_empty() {
            let message = rows.split_to(rows.len().min(MESSAGE));
            self.sink.feed(message).await.map_err(|error| self.link.error(error))?;
        }
        Ok(())
    }

    /// Whether the server has refused a row and only waits for the end, to which [`CopyIn::finish`] then gives
    /// its reason.
    pub fn is_refused(&self) -> bool {
        self.link.heard.errors() > self.errors_before
    }

    /// Says that the rows are complete, and gives their number as the server counted.
    pub async fn finish(mut self) -> Result<u64, ProtocolError> {
        self.sink.as_mut().finish().await.map_err(|error| self.link.error(error))
    }
}
