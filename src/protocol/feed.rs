//! Runs scripts: queries of any length and number of statements, which may include `COPY … FROM STDIN`. Their
//! text is not copied within this program.

use std::borrow::Cow;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::copy_in::MESSAGE;
use super::encoding::as_text;
use super::error::ProtocolError;
use super::session::Session;
use super::wire::{FedRows, MARKER, QueuedScript};

/// A running script that receives rows for its COPYs.
pub struct Feed {
    rows: mpsc::Sender<FedRows>,
    answers: JoinHandle<Result<(), ProtocolError>>,
}

impl Session {
    /// Runs a script whose text is in the session's encoding. It must not contain `COPY … FROM STDIN` or
    /// `COPY … TO STDOUT`.
    pub async fn run_script(&self, text: Bytes) -> Result<(), ProtocolError> {
        self.execute_any(&self.queue(text, None)).await
    }

    /// Like [`Session::run_script`], but returns the number of rows in the command tags.
    pub async fn run_script_counted(&self, text: Bytes) -> Result<u64, ProtocolError> {
        self.execute_counted(&self.queue(text, None)).await
    }

    /// Starts a script. Rows are sent to its COPYs one after the other. The rows of a `COPY … TO STDOUT` are
    /// discarded.
    pub async fn feed(&self, text: Bytes) -> Result<Feed, ProtocolError> {
        let (rows, receiver) = mpsc::channel(1);
        let mut copies = self.copy_out(&self.queue(text, Some(receiver))).await?;
        let answers = tokio::spawn(async move {
            while copies.next().await?.is_some() {}
            Ok(())
        });
        Ok(Feed { rows, answers })
    }

    /// Queues a script. Returns the query that runs it: the marker, or the text itself if it contains a NUL, for
    /// which the driver returns an error.
    fn queue(&self, text: Bytes, rows: Option<mpsc::Receiver<FedRows>>) -> Cow<'static, str> {
        if memchr::memchr(0, &text).is_some() {
            return Cow::Owned(as_text(&text).into_owned());
        }
        self.scripts().push(QueuedScript { text, rows });
        Cow::Borrowed(MARKER)
    }
}

impl Feed {
    /// Sends rows; pieces may begin and end anywhere. Returns false if the script has ended and accepts no
    /// more rows.
    pub async fn send(&self, mut rows: Bytes) -> bool {
        while !rows.is_empty() {
            let message = rows.split_to(rows.len().min(MESSAGE));
            if self.rows.send(FedRows::Some(message)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends the rows of one COPY. Returns false in the same case as [`Feed::send`].
    pub async fn end_rows(&self) -> bool {
        self.rows.send(FedRows::End).await.is_ok()
    }

    /// Waits for the end of the script.
    pub async fn finish(self) -> Result<(), ProtocolError> {
        drop(self.rows);
        match self.answers.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
