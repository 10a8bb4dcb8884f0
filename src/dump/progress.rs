//! The progress of a dump, for other tasks: its phase, the server process that holds its locks, and what that
//! process waits for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The progress of a dump. The dump writes it and other tasks read it; clones share one state.
#[derive(Clone, Debug, Default)]
pub struct DumpProgress(Arc<Mutex<ProgressState>>);

#[derive(Debug, Default)]
struct ProgressState {
    phase: DumpPhase,
    process: Option<i32>,
    wait: Option<String>,
}

/// The phase of a dump; displayed as the rest of "while …".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DumpPhase {
    /// Until the backup's key is claimed.
    Claiming,
    /// Until the session is established.
    #[default]
    Connecting,
    /// Until everything except the rows is read.
    Catalogs,
    /// Reading the rows of a table, or the large objects.
    Contents(String),
    /// Everything is read; part of it has not reached the store yet.
    Flushing,
    /// The object is made visible, and the table of contents and the manifest are written.
    Publishing,
    /// Reading the globals.
    Globals,
}

impl fmt::Display for DumpPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpPhase::Claiming => f.write_str("claiming a key in the store"),
            DumpPhase::Connecting => f.write_str("connecting"),
            DumpPhase::Catalogs => f.write_str("reading the catalogs and locking the tables"),
            DumpPhase::Contents(name) => write!(f, "copying the contents of {name}"),
            DumpPhase::Flushing => f.write_str("sending the end of the dump to the store"),
            DumpPhase::Publishing => f.write_str("writing the table of contents and the manifest"),
            DumpPhase::Globals => f.write_str("saving roles and tablespaces"),
        }
    }
}

/// Shows the phase, and the wait if one is known.
impl fmt::Display for DumpProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        match &state.wait {
            Some(wait) => write!(f, "{}, waiting for {wait}", state.phase),
            None => write!(f, "{}", state.phase),
        }
    }
}

impl DumpProgress {
    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the next phase.
    pub fn enter(&self, phase: DumpPhase) {
        self.lock().phase = phase;
    }

    /// Returns the current phase.
    pub fn phase(&self) -> DumpPhase {
        self.lock().phase.clone()
    }

    /// Records the server process that now holds the dump's locks.
    pub(super) fn hold_locks(&self, process: i32) {
        self.lock().process = Some(process);
    }

    /// Records that the locks are released.
    pub(super) fn release_locks(&self) {
        let mut state = self.lock();
        (state.process, state.wait) = (None, None);
    }

    /// Returns the server process that holds the dump's locks, if any.
    pub fn process(&self) -> Option<i32> {
        self.lock().process
    }

    /// Sets what that process waits for, as another session observed it.
    pub fn waits_for(&self, wait: Option<String>) {
        let mut state = self.lock();
        state.wait = wait.filter(|_| state.process.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_sentence_goes_on() {
        let progress = DumpProgress::default();
        assert_eq!(progress.to_string(), "connecting");
        progress.waits_for(Some("nothing, as it holds no locks".to_owned()));
        progress.hold_locks(7);
        progress.enter(DumpPhase::Catalogs);
        progress.waits_for(Some("table public.t".to_owned()));
        assert_eq!(
            progress.to_string(),
            "reading the catalogs and locking the tables, waiting for table public.t"
        );
        progress.release_locks();
        progress.enter(DumpPhase::Contents("table public.t".to_owned()));
        assert_eq!(
            (progress.to_string().as_str(), progress.process()),
            ("copying the contents of table public.t", None)
        );
    }
}
