//! Whether anything moves on a connection, and whose turn it is.
//!
//! A connection stands still when the server owes an answer (or does not take what is sent) and no byte has moved for
//! a while. It does not when it is this side that takes nothing, as behind a slow store, or when nothing was asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// What moves on one connection. The wire writes it, and the connection's task reads it.
#[derive(Debug)]
pub(in crate::protocol) struct Activity(Mutex<ActivityState>);

#[derive(Debug)]
struct ActivityState {
    /// When bytes last moved, or this side last came to wait for them.
    moved: Instant,
    /// Requests that the server has not finished.
    owed: u32,
    /// The last attempt to read found nothing.
    is_reading: bool,
    /// The last attempt to write found no room.
    is_writing: bool,
}

impl Default for Activity {
    fn default() -> Self {
        let state = ActivityState { moved: Instant::now(), owed: 0, is_reading: false, is_writing: false };
        Activity(Mutex::new(state))
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, ActivityState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is on its way to the server.
    pub(in crate::protocol) fn asked(&self) {
        let mut state = self.lock();
        (state.owed, state.moved) = (state.owed.saturating_add(1), Instant::now());
    }

    /// The server has finished a request, or will not answer one.
    pub(in crate::protocol) fn answered(&self) {
        let mut state = self.lock();
        state.owed = state.owed.saturating_sub(1);
    }

    /// Bytes have come.
    pub(in crate::protocol) fn received(&self) {
        let mut state = self.lock();
        (state.is_reading, state.moved) = (false, Instant::now());
    }

    /// Bytes were wanted, and there were none.
    pub(in crate::protocol) fn awaits_bytes(&self) {
        let mut state = self.lock();
        if !state.is_reading {
            (state.is_reading, state.moved) = (true, Instant::now());
        }
    }

    /// Bytes have left.
    pub(in crate::protocol) fn sent(&self) {
        let mut state = self.lock();
        (state.is_writing, state.moved) = (false, Instant::now());
    }

    /// Bytes were to leave, and there was no room.
    pub(in crate::protocol) fn awaits_room(&self) {
        self.lock().is_writing = true;
    }

    /// Since when the server has been waited for; `None` while it is not.
    pub(in crate::protocol) fn silent_since(&self) -> Option<Instant> {
        let state = self.lock();
        let waits = state.is_writing || (state.is_reading && state.owed > 0);
        waits.then_some(state.moved)
    }
}
