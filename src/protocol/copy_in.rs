//! Implements COPY into a table. See "COPY Operations" in PostgreSQL's manual, in the chapter on the
//! frontend/backend protocol.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::connect::Link;
use super::error::ProtocolError;
use super::session::Session;

/// Number of bytes of rows in one message. The driver and the server each keep a whole message in memory.
pub(super) const MESSAGE: usize = 256 << 10;

/// A running `COPY … FROM STDIN`. Dropping it before [`CopyIn::finish`] makes the server roll it back.
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
        Ok(CopyIn { sink: Box::pin(sink), errors_before: link.events.errors(), link: Arc::clone(link) })
    }
}

impl CopyIn {
    /// Sends rows; pieces may begin and end anywhere. Waits until the server accepts them, so that the driver
    /// holds only a few messages of [`MESSAGE`] bytes.
    pub async fn send(&mut self, mut rows: Bytes) -> Result<(), ProtocolError> {
        while !rows.is_empty() {
            let message = rows.split_to(rows.len().min(MESSAGE));
            self.sink.feed(message).await.map_err(|error| self.link.error(error))?;
        }
        Ok(())
    }

    /// Returns whether the server has rejected a row and waits for the end of the data. [`CopyIn::finish`]
    /// then returns the reason.
    pub fn is_refused(&self) -> bool {
        self.link.events.errors() > self.errors_before
    }

    /// Ends the rows and returns the number of rows that the server counted.
    pub async fn finish(mut self) -> Result<u64, ProtocolError> {
        self.sink.as_mut().finish().await.map_err(|error| self.link.error(error))
    }
}
