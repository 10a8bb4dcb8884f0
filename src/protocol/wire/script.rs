//! Queries whose text the session hands to the wire beside the driver, which would hold two more copies of it, and the
//! rows for a query's `COPY … FROM STDIN`, which the driver takes only where a query is nothing else.
//!
//! The driver sends [`MARKER`] in the place of the text, and sees the answers to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A query that stands for the first of the [`Scripts`]. While there is none it is what it is.
pub(in crate::protocol) const MARKER: &str = "\u{1}pg-backup: the next script";

/// A query of any statements.
pub(in crate::protocol) struct QueuedScript {
    /// Without a NUL, in the session's encoding.
    pub(in crate::protocol) text: Bytes,
    /// Rows for its COPYs. Without any, a COPY is taken back.
    pub(in crate::protocol) rows: Option<mpsc::Receiver<FedRows>>,
}

/// A part of the rows for a COPY.
pub(in crate::protocol) enum FedRows {
    Some(Bytes),
    /// They are complete.
    End,
}

/// The scripts whose markers are on their way, shared with the session.
#[derive(Clone, Default)]
pub(in crate::protocol) struct Scripts(Arc<Mutex<VecDeque<QueuedScript>>>);

impl Scripts {
    pub(in crate::protocol) fn push(&self, script: QueuedScript) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(script);
    }

    /// The script that a query of the driver's stands for, if it is one.
    pub(super) fn take(&self, query: &[u8]) -> Option<QueuedScript> {
        let is_marker = query.strip_suffix(b"\0") == Some(MARKER.as_bytes());
        if is_marker { self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front() } else { None }
    }
}

/// What a script's COPY waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Feeding {
    /// No script is under way.
    #[default]
    None,
    /// None has begun.
    Ready,
    /// Rows.
    Wanted,
}
