//! How far a dump has come, for those who watch it from outside: what it is doing, which process of the server
//! holds its locks, and what it waits for there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far a dump has come. The dump writes it and others read; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DumpProgress(Arc<Mutex<ProgressState>>);

#[derive(Debug, Default)]
struct ProgressState {
    phase: DumpPhase,
    process: Option<i32>,
    wait: Option<String>,
}

/// What a dump is doing; reads as the rest of "while …".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DumpPhase {
    /// Until the key of the backup is this writer's own.
    Claiming,
    /// Until the server has let the session in.
    #[default]
    Connecting,
    /// Until everything but the rows is known.
    Catalogs,
    /// The rows of a table, or the large objects.
    Contents(String),
    /// All is read, and some of it has yet to reach the store.
    Flushing,
    /// The object is made visible, and what stands beside it is written.
    Publishing,
    /// What belongs to no database.
    Globals,
}

impl fmt::Display for DumpPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpPhase::Claiming => f.write_str("claiming a key in the store"),
            DumpPhase::Connecting => f.write_str("connecting"),
            DumpPhase::Catalogs => f.write_str("reading the catalogs and locking the tables"),
            DumpPhase::Contents(name) => write!(f, "copying the contents of {name}"),
            DumpPhase::Flushing => f.write_str("sending the last of the dump to the store"),
            DumpPhase::Publishing => f.write_str("writing what makes the dump a backup"),
            DumpPhase::Globals => f.write_str("saving roles and tablespaces"),
        }
    }
}

/// What the dump is doing, and what it waits for as far as that is known.
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

    /// Something else begins.
    pub fn enter(&self, phase: DumpPhase) {
        self.lock().phase = phase;
    }

    /// What is being done.
    pub fn phase(&self) -> DumpPhase {
        self.lock().phase.clone()
    }

    /// From now on a process of the server holds the dump's locks.
    pub(super) fn hold_locks(&self, process: i32) {
        self.lock().process = Some(process);
    }

    /// The locks are released.
    pub(super) fn release_locks(&self) {
        let mut state = self.lock();
        (state.process, state.wait) = (None, None);
    }

    /// The process of the server that holds the dump's locks, while it does.
    pub fn process(&self) -> Option<i32> {
        self.lock().process
    }

    /// What that process waits for, as somebody else has seen it.
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
