//! Queries whose text the session passes to the wire directly, because the driver would make two more copies
//! of it, and the rows for their `COPY … FROM STDIN`. The driver supports such a COPY only if it is the whole
//! query.
//!
//! The driver sends [`MARKER`] instead of the text and receives the answers to the text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A query that is replaced by the first of the [`Scripts`]. If there is none, it is sent unchanged.
pub(in crate::protocol) const MARKER: &str = "\u{1}pg-backup: the next script";

/// A query with any number of statements.
pub(in crate::protocol) struct QueuedScript {
    /// The text, without a NUL, in the session's encoding.
    pub(in crate::protocol) text: Bytes,
    /// Rows for its COPYs; `None` cancels a COPY.
    pub(in crate::protocol) rows: Option<mpsc::Receiver<FedRows>>,
}

/// Some of the rows for a COPY, or their end.
pub(in crate::protocol) enum FedRows {
    Some(Bytes),
    /// The end of the rows.
    End,
}

/// The scripts whose markers have not been sent yet, shared with the session.
#[derive(Clone, Default)]
pub(in crate::protocol) struct Scripts(Arc<Mutex<VecDeque<QueuedScript>>>);

impl Scripts {
    pub(in crate::protocol) fn push(&self, script: QueuedScript) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(script);
    }

    /// Returns the script for a query of the driver, if the query is the marker.
    pub(super) fn take(&self, query: &[u8]) -> Option<QueuedScript> {
        let is_marker = query.strip_suffix(b"\0") == Some(MARKER.as_bytes());
        if is_marker { self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front() } else { None }
    }
}

/// The state of a script's COPY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Feeding {
    /// No script is running.
    #[default]
    None,
    /// A script is running, and no COPY waits for rows.
    Ready,
    /// A COPY waits for rows.
    Wanted,
}
