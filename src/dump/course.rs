//! How far a dump has come, for those who watch it from outside: what it is doing, which process of the server
//! holds its locks, and what it waits for there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far a dump has come. The dump writes it and others read; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Course(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    process: Option<i32>,
    wait: Option<String>,
}

/// What a dump is doing; reads as the rest of "it was …".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Claiming => f.write_str("claiming a key in the store"),
            Phase::Connecting => f.write_str("connecting"),
            Phase::Catalogs => f.write_str("reading the catalogs and locking the tables"),
            Phase::Contents(name) => write!(f, "copying the contents of {name}"),
            Phase::Flushing => f.write_str("sending the last of the dump to the store"),
            Phase::Publishing => f.write_str("writing what makes the dump a backup"),
            Phase::Globals => f.write_str("saving roles and tablespaces"),
        }
    }
}

/// What the dump is doing, and what it waits for as far as that is known.
impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        match &state.wait {
            Some(wait) => write!(f, "{}, waiting for {wait}", state.phase),
            None => write!(f, "{}", state.phase),
        }
    }
}

impl Course {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something else begins.
    pub fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// What is being done.
    pub fn phase(&self) -> Phase {
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
        let course = Course::default();
        assert_eq!(course.to_string(), "connecting");
        course.waits_for(Some("nothing, as it holds no locks".to_owned()));
        course.hold_locks(7);
        course.enter(Phase::Catalogs);
        course.waits_for(Some("table public.t".to_owned()));
        assert_eq!(
            course.to_string(),
            "reading the catalogs and locking the tables, waiting for table public.t"
        );
        course.release_locks();
        course.enter(Phase::Contents("table public.t".to_owned()));
        assert_eq!(
            (course.to_string().as_str(), course.process()),
            ("copying the contents of table public.t", None)
        );
    }
}
