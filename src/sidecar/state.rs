//! What the sidecar has done since it started, for whoever asks: the metrics, the health pages, the status page. It
//! asks no store; a sidecar's key may only write.
//!
//! Texts are kept as they can be shown ([`printable`]): alerts, the page and the health page take them from here.
//!
//! Memory: the last [`MAX_ATTEMPTS`] attempts of each database.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::freshness::allowed_age;
use crate::clock;
use crate::exit_code::ExitCode;
use crate::log::LostLines;
use crate::quantity::human;
use crate::report::printable;

/// Attempts that are kept of each database: a week of one every six hours, twice.
pub const MAX_ATTEMPTS: usize = 56;

/// The record, which the sidecar writes and others read. Clones are the same record.
#[derive(Clone, Debug, Default)]
pub struct SidecarState(Arc<SharedState>);

#[derive(Debug, Default)]
struct SharedState {
    kept: Mutex<StateSnapshot>,
    changed: Notify,
}

/// What is on record.
#[derive(Clone, Debug, Default)]
pub struct StateSnapshot {
    /// By the configured name.
    pub databases: BTreeMap<String, History>,
    /// When the next round starts; absent while one runs.
    pub next_run: Option<Timestamp>,
    /// The longest time between the starts of two rounds.
    pub interval: Duration,
    /// When the record was begun; absent in the record of a single round.
    pub started: Option<Timestamp>,
    /// The longest time between two drills; absent where none is scheduled.
    pub drill_interval: Option<Duration>,
    /// When the next drill is due; absent where none is scheduled.
    pub next_drill: Option<Timestamp>,
    /// Messages that each alert channel took, and those that it did not.
    pub channels: BTreeMap<&'static str, (u64, u64)>,
    /// Log lines that standard output did not take.
    pub lost_lines: LostLines,
}

/// One database's attempts.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last of them, oldest first.
    pub attempts: VecDeque<Attempt>,
    /// When the dump began that was saved last.
    pub last_success: Option<Timestamp>,
    /// What was saved then.
    pub last_saved: Option<BackupStats>,
    /// When the attempt began that is under way.
    pub in_progress: Option<Timestamp>,
    /// Failures since the start, by what failed.
    pub failures: BTreeMap<FailureStage, u64>,
    /// Attempts since the start that failed and were followed by another in the same round, by what failed.
    pub retries: BTreeMap<FailureStage, u64>,
    /// Sessions since the start that have waited for the locks of a dump for longer than is allowed.
    pub blocked_sessions: u64,
    /// The last of them.
    pub last_blocked: Option<BlockedSession>,
    /// Bytes of all dumps that were saved since the start.
    pub bytes_total: u64,
    /// The last drill.
    pub drill: Option<Drill>,
    /// When the last drill was made that found nothing wrong.
    pub last_good_drill: Option<Timestamp>,
    /// Whether it is no database but a server's roles and tablespaces, which no drill restores.
    pub is_globals: bool,
    /// The second place of its backups; absent without one, and before the first backup.
    pub replica: Option<Replication>,
}

/// A session that waits for a dump's locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedSession {
    /// When it had waited for as long as is allowed.
    pub moment: Timestamp,
    /// Who waits for what, as a sentence.
    pub waiting: String,
    /// Whether the dump was given up for it.
    pub aborted: bool,
}

/// What became of a database's backups at the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// When the dump began that was saved there last.
    pub last_success: Option<Timestamp>,
    /// Why the last backup is not there, in one line, if it is not.
    pub failure: Option<String>,
    /// Backups that are not there, since the start.
    pub failures: u64,
}

/// An attempt to save a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What was saved, or why nothing was.
    pub outcome: Result<BackupStats, Failure>,
}

/// What was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupStats {
    /// Bytes of the dump object.
    pub size: u64,
    /// Bytes of its text.
    pub raw_size: u64,
    /// Rows of all tables.
    pub rows: u64,
}

/// Why nothing was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub stage: FailureStage,
    /// The chain of causes, in one line, without secrets.
    pub cause: String,
    /// Advice.
    pub hints: Vec<String>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureStage {
    /// The database could not be reached.
    Connect,
    /// Reading it failed.
    Dump,
    /// The store failed.
    Store,
    /// Anything else.
    Other,
}

impl FailureStage {
    /// All of them.
    pub const ALL: [FailureStage; 4] =
        [FailureStage::Connect, FailureStage::Dump, FailureStage::Store, FailureStage::Other];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureStage::Connect => "connect",
            FailureStage::Dump => "dump",
            FailureStage::Store => "store",
            FailureStage::Other => "other",
        }
    }
}

impl From<ExitCode> for FailureStage {
    fn from(code: ExitCode) -> Self {
        match code {
            ExitCode::Connect => FailureStage::Connect,
            ExitCode::Dump => FailureStage::Dump,
            ExitCode::Store => FailureStage::Store,
            ExitCode::Ok
            | ExitCode::Other
            | ExitCode::Usage
            | ExitCode::Difference
            | ExitCode::SomeFailed => FailureStage::Other,
        }
    }
}

/// A drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took until the copy was there; absent when it did not come to that.
    pub restored_in: Option<Duration>,
    /// Seconds of each phase.
    pub phases: Vec<(String, f64)>,
    /// What is wrong; absent when nothing is.
    pub verdict: Option<String>,
}

impl SidecarState {
    /// Begins a record of these databases.
    pub fn of(databases: impl IntoIterator<Item = String>, interval: Duration) -> Self {
        let databases = databases.into_iter().map(|name| (name, History::default())).collect();
        let started = Some(clock::now());
        let kept = Mutex::new(StateSnapshot { databases, interval, started, ..StateSnapshot::default() });
        SidecarState(Arc::new(SharedState { kept, changed: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, StateSnapshot> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on record now.
    pub fn read(&self) -> StateSnapshot {
        self.lock().clone()
    }

    /// The log counts here what it loses.
    pub fn counts_lost_lines(&self, lost: LostLines) {
        self.lock().lost_lines = lost;
    }

    /// An attempt begins.
    pub fn begin(&self, database: &str, started: Timestamp) {
        let mut kept = self.lock();
        kept.next_run = None;
        kept.databases.entry(database.to_owned()).or_default().in_progress = Some(started);
    }

    /// The attempt that was begun has ended.
    pub fn end(&self, database: &str, duration: Duration, outcome: Result<BackupStats, Failure>) {
        let mut kept = self.lock();
        let history = kept.databases.entry(database.to_owned()).or_default();
        let Some(started) = history.in_progress.take() else { return };
        let outcome = outcome.map_err(|Failure { stage, cause, hints }| Failure {
            stage,
            cause: printable(&cause),
            hints: hints.iter().map(|hint| printable(hint)).collect(),
        });
        match &outcome {
            Ok(saved) => {
                history.last_success = Some(started);
                history.last_saved = Some(*saved);
                history.bytes_total += saved.size;
            }
            Err(failure) => *history.failures.entry(failure.stage).or_default() += 1,
        }
        if history.attempts.len() == MAX_ATTEMPTS {
            history.attempts.pop_front();
        }
        history.attempts.push_back(Attempt { started, duration, outcome });
        self.0.changed.notify_one();
    }

    /// What was begun has failed, and will be tried again.
    pub fn retried(&self, database: &str, stage: FailureStage) {
        let mut kept = self.lock();
        *kept.databases.entry(database.to_owned()).or_default().retries.entry(stage).or_default() += 1;
    }

    /// Somebody waits for the dump's locks, and the dump is given up for it or not.
    pub fn blocked(&self, database: &str, waiting: String, aborted: bool) {
        let mut kept = self.lock();
        let history = kept.databases.entry(database.to_owned()).or_default();
        history.blocked_sessions += 1;
        let waiting = printable(&waiting);
        history.last_blocked = Some(BlockedSession { moment: clock::now(), waiting, aborted });
        self.0.changed.notify_one();
    }

    /// The backup that is being saved is at the replica, or why it is not.
    pub fn replicated(&self, database: &str, started: Timestamp, outcome: Result<(), String>) {
        let mut kept = self.lock();
        let history = kept.databases.entry(database.to_owned()).or_default();
        let replica = history.replica.get_or_insert_default();
        match outcome {
            Ok(()) => (replica.last_success, replica.failure) = (Some(started), None),
            Err(cause) => {
                replica.failures += 1;
                replica.failure = Some(printable(&cause));
            }
        }
        self.0.changed.notify_one();
    }

    /// The attempt that was begun has been told to stop, which is no failure.
    pub fn stop(&self, database: &str) {
        if let Some(history) = self.lock().databases.get_mut(database) {
            history.in_progress = None;
        }
    }

    /// A round has ended, and this is when the next starts.
    pub fn plan(&self, next_run: Timestamp) {
        self.lock().next_run = Some(next_run);
    }

    /// This name is one of roles and tablespaces.
    pub fn holds_globals(&self, name: &str) {
        self.lock().databases.entry(name.to_owned()).or_default().is_globals = true;
    }

    /// Drills are scheduled, with so long between two at most.
    pub fn schedule_drills(&self, interval: Duration) {
        self.lock().drill_interval = Some(interval);
    }

    /// This is when the next drill is due.
    pub fn plan_drill(&self, due: Timestamp) {
        self.lock().next_drill = Some(due);
    }

    /// A drill has ended.
    pub fn drilled(&self, database: &str, drill: Drill) {
        let mut kept = self.lock();
        let history = kept.databases.entry(database.to_owned()).or_default();
        if drill.verdict.is_none() {
            history.last_good_drill = Some(drill.ended);
        }
        history.drill = Some(Drill { verdict: drill.verdict.as_deref().map(printable), ..drill });
        self.0.changed.notify_one();
    }

    /// Waits until there is something new since it was asked last. One may wait at a time.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// There is an alert channel of this name.
    pub fn has_channel(&self, name: &'static str) {
        self.lock().channels.entry(name).or_default();
    }

    /// An alert channel took a message, or did not.
    pub fn told(&self, channel: &'static str, taken: bool) {
        let mut kept = self.lock();
        let (told, failed) = kept.channels.entry(channel).or_default();
        *if taken { told } else { failed } += 1;
    }
}

/// Why a database is not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhealthy<'a> {
    /// No backup of it was made yet.
    NotSaved,
    /// The last attempt failed.
    Failed(&'a Failure),
    /// The newest backup is too old.
    Overdue {
        /// How old it is.
        age: Duration,
        /// How old it may be.
        allowed: Duration,
    },
}

impl fmt::Display for Unhealthy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhealthy::NotSaved => f.write_str("not saved yet"),
            Unhealthy::Failed(failure) => write!(f, "the last backup failed: {}", failure.cause),
            Unhealthy::Overdue { age, allowed } => {
                write!(f, "the newest backup is {} old, and {} are allowed", human(*age), human(*allowed))
            }
        }
    }
}

impl StateSnapshot {
    /// Why the sidecar is not in order at a moment, if it is not: the first database's trouble.
    pub fn unready_reason(&self, now: Timestamp) -> Option<String> {
        self.databases
            .iter()
            .find_map(|(name, history)| Some(format!("{name}: {}", self.trouble(history, now)?)))
    }

    /// What is wrong with a database at a moment: it was not saved yet, its last attempt failed, or its newest backup
    /// is overdue.
    pub fn trouble<'a>(&self, history: &'a History, now: Timestamp) -> Option<Unhealthy<'a>> {
        if let Some(Attempt { outcome: Err(failure), .. }) = history.attempts.back() {
            return Some(Unhealthy::Failed(failure));
        }
        let Some(saved) = history.last_success else { return Some(Unhealthy::NotSaved) };
        let allowed = allowed_age(self.interval);
        let age = Duration::try_from(now.duration_since(saved)).unwrap_or_default();
        (age > allowed).then_some(Unhealthy::Overdue { age, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_777_000_000 + seconds).unwrap()
    }

    fn state() -> SidecarState {
        SidecarState::of(["a".to_owned(), "b".to_owned()], Duration::from_secs(3600))
    }

    fn save(state: &SidecarState, database: &str, moment: i64) {
        state.begin(database, at(moment));
        state.end(database, Duration::from_secs(2), Ok(BackupStats { size: 10, raw_size: 100, rows: 5 }));
    }

    #[test]
    fn it_complains_until_every_database_is_saved_well_and_recently() {
        let state = state();
        let unready_reason = |now| state.read().unready_reason(at(now));
        assert_eq!(unready_reason(0).unwrap(), "a: not saved yet");
        save(&state, "a", 0);
        assert_eq!(unready_reason(0).unwrap(), "b: not saved yet");
        save(&state, "b", 1);
        assert_eq!(unready_reason(5400), None);
        assert_eq!(
            unready_reason(5401).unwrap(),
            "a: the newest backup is 1h 30m old, and 1h 30m are allowed"
        );
        state.begin("b", at(3600));
        // While it runs, what was saved before counts.
        assert_eq!(unready_reason(3600), None);
        let failure =
            Failure { stage: FailureStage::Store, cause: "the bucket is gone".to_owned(), hints: Vec::new() };
        state.end("b", Duration::from_secs(1), Err(failure));
        assert_eq!(unready_reason(3600).unwrap(), "b: the last backup failed: the bucket is gone");
        save(&state, "a", 7200);
        save(&state, "b", 7200);
        assert_eq!(unready_reason(7200), None);
        let kept = state.read();
        assert_eq!(kept.databases["b"].failures[&FailureStage::Store], 1);
        assert_eq!(kept.databases["b"].bytes_total, 20);
    }

    #[test]
    fn texts_are_kept_without_control_characters() {
        let state = state();
        let (hostile, shown) = ("a\u{202e}b\u{9b}c\nd", "a\u{fffd}b\u{fffd}c\u{fffd}d");
        state.begin("a", at(0));
        let failure = Failure {
            stage: FailureStage::Store,
            cause: hostile.to_owned(),
            hints: vec![hostile.to_owned()],
        };
        state.end("a", Duration::from_secs(1), Err(failure));
        state.blocked("a", hostile.to_owned(), false);
        state.replicated("a", at(0), Err(hostile.to_owned()));
        let verdict = Some(hostile.to_owned());
        state.drilled("a", Drill { ended: at(0), restored_in: None, phases: Vec::new(), verdict });
        let kept = state.read();
        let history = &kept.databases["a"];
        let failure = history.attempts[0].outcome.as_ref().unwrap_err();
        assert_eq!((failure.cause.as_str(), failure.hints[0].as_str()), (shown, shown));
        assert_eq!(history.last_blocked.as_ref().unwrap().waiting, shown);
        assert_eq!(history.replica.as_ref().unwrap().failure.as_deref(), Some(shown));
        assert_eq!(history.drill.as_ref().unwrap().verdict.as_deref(), Some(shown));
    }

    #[test]
    fn only_the_last_attempts_are_kept() {
        let state = state();
        for moment in 0..100 {
            save(&state, "a", moment);
        }
        let attempts = &state.read().databases["a"].attempts;
        assert_eq!((attempts.len(), attempts[0].started), (MAX_ATTEMPTS, at(100 - 56)));
    }

    #[test]
    fn a_replica_fails_beside_the_backup_and_recovers() {
        let state = state();
        let replicate = |moment, outcome: Result<(), &str>| {
            state.begin("a", at(moment));
            state.replicated("a", at(moment), outcome.map_err(str::to_owned));
            state.end("a", Duration::ZERO, Ok(BackupStats::default()));
            state.read().databases["a"].replica.clone().unwrap()
        };
        let failures = || -> Vec<(String, String)> {
            let failure = |history: &History| history.replica.as_ref()?.failure.clone();
            let kept = state.read();
            kept.databases
                .iter()
                .filter_map(|(name, history)| Some((name.clone(), failure(history)?)))
                .collect()
        };
        assert_eq!(failures(), []);
        assert_eq!(replicate(0, Ok(())).last_success, Some(at(0)));
        let failed = replicate(60, Err("gone"));
        assert_eq!((failed.last_success, failed.failures), (Some(at(0)), 1));
        assert_eq!(failures(), [("a".to_owned(), "gone".to_owned())]);
        assert_eq!(state.read().databases["a"].last_success, Some(at(60)));
        let again = replicate(120, Ok(()));
        assert_eq!(again, Replication { last_success: Some(at(120)), failure: None, failures: 1 });
        assert_eq!(failures(), []);
    }

    #[test]
    fn a_stopped_attempt_leaves_no_trace() {
        let state = state();
        state.begin("a", at(0));
        state.stop("a");
        state.end("a", Duration::ZERO, Ok(BackupStats::default()));
        let kept = state.read();
        assert!(kept.databases["a"].attempts.is_empty() && kept.databases["a"].in_progress.is_none());
    }
}
