//! Records the transfers on a connection and which side must act next.
//!
//! A connection is stalled if the server owes an answer (or does not accept what is sent) and no byte has
//! been transferred for a while. It is not stalled if this side does not read, for example because a store is
//! slow, or if no request is pending.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The transfers on one connection. The wire updates it, and the connection's task reads it.
#[derive(Debug)]
pub(in crate::protocol) struct Activity(Mutex<ActivityState>);

#[derive(Debug)]
struct ActivityState {
    /// When bytes were last transferred, or this side last began to wait for them.
    moved: Instant,
    /// Number of requests that the server has not completed.
    owed: u32,
    /// Whether the last read returned no bytes.
    is_reading: bool,
    /// Whether the last write would have blocked.
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

    /// Records a request to the server.
    pub(in crate::protocol) fn asked(&self) {
        let mut state = self.lock();
        (state.owed, state.moved) = (state.owed.saturating_add(1), Instant::now());
    }

    /// Records that the server has completed a request, or will not answer one.
    pub(in crate::protocol) fn answered(&self) {
        let mut state = self.lock();
        state.owed = state.owed.saturating_sub(1);
    }

    /// Records received bytes.
    pub(in crate::protocol) fn received(&self) {
        let mut state = self.lock();
        (state.is_reading, state.moved) = (false, Instant::now());
    }

    /// Records a read that returned no bytes.
    pub(in crate::protocol) fn awaits_bytes(&self) {
        let mut state = self.lock();
        if !state.is_reading {
            (state.is_reading, state.moved) = (true, Instant::now());
        }
    }

    /// Records sent bytes.
    pub(in crate::protocol) fn sent(&self) {
        let mut state = self.lock();
        (state.is_writing, state.moved) = (false, Instant::now());
    }

    /// Records a write that would have blocked.
    pub(in crate::protocol) fn awaits_room(&self) {
        self.lock().is_writing = true;
    }

    /// Returns the time since which this side has been waiting for the server; `None` if it is not waiting.
    pub(in crate::protocol) fn silent_since(&self) -> Option<Instant> {
        let state = self.lock();
        let waits = state.is_writing || (state.is_reading && state.owed > 0);
        waits.then_some(state.moved)
    }
}
