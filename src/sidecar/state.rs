//! The state of the sidecar since its start, as the metrics, the health pages and the status page show it.
//! Reading it sends no request to the store: the sidecar's key may have write permission only.
//!
//! Texts are stored in printable form ([`printable`]), because alerts, the status page and the health page
//! use them as they are.
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

/// Number of attempts kept per database: two weeks at one attempt every six hours.
pub const MAX_ATTEMPTS: usize = 56;

/// The shared state. The sidecar writes it; the pages read it. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct SidecarState(Arc<SharedState>);

#[derive(Debug, Default)]
struct SharedState {
    snapshot: Mutex<StateSnapshot>,
    changed: Notify,
}

/// A copy of the state at one moment.
#[derive(Clone, Debug, Default)]
pub struct StateSnapshot {
    /// History of each database, by its configured name.
    pub databases: BTreeMap<String, History>,
    /// Start of the next round; `None` while a round runs.
    pub next_run: Option<Timestamp>,
    /// Longest time between the starts of two rounds.
    pub interval: Duration,
    /// Start of the sidecar; `None` in the state of a single round.
    pub started: Option<Timestamp>,
    /// Longest time between two drills; `None` if no drill is scheduled.
    pub drill_interval: Option<Duration>,
    /// Time of the next drill; `None` if no drill is scheduled.
    pub next_drill: Option<Timestamp>,
    /// Numbers of delivered and failed messages of each alert channel.
    pub channels: BTreeMap<&'static str, (u64, u64)>,
    /// Number of log lines that could not be written to standard output.
    pub lost_lines: LostLines,
}

/// The attempts of one database.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last attempts, oldest first.
    pub attempts: VecDeque<Attempt>,
    /// Start time of the last successful dump.
    pub last_success: Option<Timestamp>,
    /// Size and rows of the last successful dump.
    pub last_saved: Option<BackupStats>,
    /// Start time of the running attempt.
    pub in_progress: Option<Timestamp>,
    /// Number of failures since the start, by stage.
    pub failures: BTreeMap<FailureStage, u64>,
    /// Number of failed attempts since the start that were retried in the same round, by stage.
    pub retries: BTreeMap<FailureStage, u64>,
    /// Number of sessions since the start that waited for the locks of a dump longer than the limit.
    pub blocked_sessions: u64,
    /// The last blocked session.
    pub last_blocked: Option<BlockedSession>,
    /// Total size in bytes of all dumps saved since the start.
    pub bytes_total: u64,
    /// The last drill.
    pub drill: Option<Drill>,
    /// Time of the last successful drill.
    pub last_good_drill: Option<Timestamp>,
    /// Whether the entry is the globals of a server (roles and tablespaces), which drills skip.
    pub is_globals: bool,
    /// State of the replica; `None` without a replica, and before the first backup.
    pub replica: Option<Replication>,
}

/// A session that waits for the locks of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedSession {
    /// Time at which the wait exceeded the limit.
    pub moment: Timestamp,
    /// The session and the lock it waits for, as a sentence.
    pub waiting: String,
    /// Whether the dump was aborted because of it.
    pub aborted: bool,
}

/// Result of copying the backups of a database to the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Start time of the last dump that was copied to the replica.
    pub last_success: Option<Timestamp>,
    /// Why the last backup could not be copied, in one line; `None` if it was copied.
    pub failure: Option<String>,
    /// Number of backups since the start that could not be copied.
    pub failures: u64,
}

/// An attempt to back up a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Start time.
    pub started: Timestamp,
    /// Duration of the attempt.
    pub duration: Duration,
    /// The saved backup, or the failure.
    pub outcome: Result<BackupStats, Failure>,
}

/// Size and rows of a saved backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupStats {
    /// Size of the dump object in bytes.
    pub size: u64,
    /// Size of the uncompressed dump in bytes.
    pub raw_size: u64,
    /// Number of rows in all tables.
    pub rows: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stage that failed.
    pub stage: FailureStage,
    /// The chain of causes, in one line, without secrets.
    pub cause: String,
    /// The hints of the errors.
    pub hints: Vec<String>,
}

/// The stage at which an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureStage {
    /// Connecting to the database failed.
    Connect,
    /// Reading the database failed.
    Dump,
    /// Writing to the store failed.
    Store,
    /// Any other failure.
    Other,
}

impl FailureStage {
    /// All stages.
    pub const ALL: [FailureStage; 4] =
        [FailureStage::Connect, FailureStage::Dump, FailureStage::Store, FailureStage::Other];

    /// Name of the stage in the metrics.
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

/// The result of a drill.
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// End of the drill.
    pub ended: Timestamp,
    /// Time until the database was restored; `None` if the drill did not get that far.
    pub restored_in: Option<Duration>,
    /// Duration of each phase in seconds.
    pub phases: Vec<(String, f64)>,
    /// What is wrong; `None` if the drill succeeded.
    pub verdict: Option<String>,
}

impl SidecarState {
    /// Creates the state for these databases.
    pub fn of(databases: impl IntoIterator<Item = String>, interval: Duration) -> Self {
        let databases = databases.into_iter().map(|name| (name, History::default())).collect();
        let started = Some(clock::now());
        let snapshot = Mutex::new(StateSnapshot { databases, interval, started, ..StateSnapshot::default() });
        SidecarState(Arc::new(SharedState { snapshot, changed: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, StateSnapshot> {
        self.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy of the current state.
    pub fn read(&self) -> StateSnapshot {
        self.lock().clone()
    }

    /// Sets the counter of lost log lines.
    pub fn counts_lost_lines(&self, lost: LostLines) {
        self.lock().lost_lines = lost;
    }

    /// Records the start of an attempt.
    pub fn begin(&self, database: &str, started: Timestamp) {
        let mut snapshot = self.lock();
        snapshot.next_run = None;
        snapshot.databases.entry(database.to_owned()).or_default().in_progress = Some(started);
    }

    /// Records the end of the running attempt.
    pub fn end(&self, database: &str, duration: Duration, outcome: Result<BackupStats, Failure>) {
        let mut snapshot = self.lock();
        let history = snapshot.databases.entry(database.to_owned()).or_default();
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

    /// Records that the running attempt failed and is retried.
    pub fn retried(&self, database: &str, stage: FailureStage) {
        let mut snapshot = self.lock();
        *snapshot.databases.entry(database.to_owned()).or_default().retries.entry(stage).or_default() += 1;
    }

    /// Records a session that waits for the locks of the dump, and whether the dump is aborted because of it.
    pub fn blocked(&self, database: &str, waiting: String, aborted: bool) {
        let mut snapshot = self.lock();
        let history = snapshot.databases.entry(database.to_owned()).or_default();
        history.blocked_sessions += 1;
        let waiting = printable(&waiting);
        history.last_blocked = Some(BlockedSession { moment: clock::now(), waiting, aborted });
        self.0.changed.notify_one();
    }

    /// Records whether the backup was copied to the replica, or why not.
    pub fn replicated(&self, database: &str, started: Timestamp, outcome: Result<(), String>) {
        let mut snapshot = self.lock();
        let history = snapshot.databases.entry(database.to_owned()).or_default();
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

    /// Records that the running attempt was cancelled. This does not count as a failure.
    pub fn stop(&self, database: &str) {
        if let Some(history) = self.lock().databases.get_mut(database) {
            history.in_progress = None;
        }
    }

    /// Records the end of a round and the start of the next one.
    pub fn plan(&self, next_run: Timestamp) {
        self.lock().next_run = Some(next_run);
    }

    /// Marks this name as the globals of a server (roles and tablespaces).
    pub fn holds_globals(&self, name: &str) {
        self.lock().databases.entry(name.to_owned()).or_default().is_globals = true;
    }

    /// Records that drills are scheduled, with the longest time between two drills.
    pub fn schedule_drills(&self, interval: Duration) {
        self.lock().drill_interval = Some(interval);
    }

    /// Records the time of the next drill.
    pub fn plan_drill(&self, due: Timestamp) {
        self.lock().next_drill = Some(due);
    }

    /// Records the result of a drill.
    pub fn drilled(&self, database: &str, drill: Drill) {
        let mut snapshot = self.lock();
        let history = snapshot.databases.entry(database.to_owned()).or_default();
        if drill.verdict.is_none() {
            history.last_good_drill = Some(drill.ended);
        }
        history.drill = Some(Drill { verdict: drill.verdict.as_deref().map(printable), ..drill });
        self.0.changed.notify_one();
    }

    /// Waits for a change since the last call. Only one task may wait at a time.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Adds an alert channel.
    pub fn has_channel(&self, name: &'static str) {
        self.lock().channels.entry(name).or_default();
    }

    /// Records whether an alert channel delivered a message.
    pub fn count_message(&self, channel: &'static str, taken: bool) {
        let mut snapshot = self.lock();
        let (delivered, failed) = snapshot.channels.entry(channel).or_default();
        *if taken { delivered } else { failed } += 1;
    }
}

/// Why a database is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhealthy<'a> {
    /// The database has no backup yet.
    NotSaved,
    /// The last attempt failed.
    Failed(&'a Failure),
    /// The newest backup is too old.
    Overdue {
        /// Age of the newest backup.
        age: Duration,
        /// Maximum allowed age.
        allowed: Duration,
    },
}

impl fmt::Display for Unhealthy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhealthy::NotSaved => f.write_str("no backup yet"),
            Unhealthy::Failed(failure) => write!(f, "the last backup failed: {}", failure.cause),
            Unhealthy::Overdue { age, allowed } => {
                write!(f, "the newest backup is {} old; the limit is {}", human(*age), human(*allowed))
            }
        }
    }
}

impl StateSnapshot {
    /// Returns why the sidecar is not ready at `now`, based on the first unhealthy database; `None` if it is
    /// ready.
    pub fn unready_reason(&self, now: Timestamp) -> Option<String> {
        self.databases
            .iter()
            .find_map(|(name, history)| Some(format!("{name}: {}", self.unhealthy(history, now)?)))
    }

    /// Returns why a database is unhealthy at `now`: it has no backup yet, its last attempt failed, or its
    /// newest backup is overdue.
    pub fn unhealthy<'a>(&self, history: &'a History, now: Timestamp) -> Option<Unhealthy<'a>> {
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
        assert_eq!(unready_reason(0).unwrap(), "a: no backup yet");
        save(&state, "a", 0);
        assert_eq!(unready_reason(0).unwrap(), "b: no backup yet");
        save(&state, "b", 1);
        assert_eq!(unready_reason(5400), None);
        assert_eq!(unready_reason(5401).unwrap(), "a: the newest backup is 1h 30m old; the limit is 1h 30m");
        state.begin("b", at(3600));
        // While an attempt runs, the previous result counts.
        assert_eq!(unready_reason(3600), None);
        let failure =
            Failure { stage: FailureStage::Store, cause: "the bucket is gone".to_owned(), hints: Vec::new() };
        state.end("b", Duration::from_secs(1), Err(failure));
        assert_eq!(unready_reason(3600).unwrap(), "b: the last backup failed: the bucket is gone");
        save(&state, "a", 7200);
        save(&state, "b", 7200);
        assert_eq!(unready_reason(7200), None);
        let snapshot = state.read();
        assert_eq!(snapshot.databases["b"].failures[&FailureStage::Store], 1);
        assert_eq!(snapshot.databases["b"].bytes_total, 20);
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
        let snapshot = state.read();
        let history = &snapshot.databases["a"];
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
            let snapshot = state.read();
            snapshot
                .databases
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
        let snapshot = state.read();
        assert!(snapshot.databases["a"].attempts.is_empty() && snapshot.databases["a"].in_progress.is_none());
    }
}
