//! COPY as a stream of bytes.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_postgres::CopyOutStream;

use super::session::ProtocolError;

/// The data of a `COPY … TO STDOUT`; in text format each item is one row with its newline.
pub struct CopyOut {
    stream: std::pin::Pin<Box<CopyOutStream>>,
}

impl CopyOut {
    pub(super) fn new(stream: CopyOutStream) -> Self {
        CopyOut { stream: Box::pin(stream) }
    }

    /// The next row, or `None` when the server has ended the COPY without error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        Ok(self.stream.next().await.transpose()?)
    }
}
