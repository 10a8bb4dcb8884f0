//! The status page: shows the sidecar's state to people.
//!
//! [`View`] is the content of the page at a moment, without markup. [`html`] renders it with the charts of
//! [`chart`]. The page is a single file; its policy forbids scripts and all styles except its own.
//!
//! Memory: the page, which is bounded by the number of attempts in the state: about 50 KiB per database.
//! Texts from outside are cut at [`LONGEST_TEXT`].

mod chart;
mod html;
mod relative_time;

use std::time::Duration;

use jiff::Timestamp;

pub use self::html::policy;
pub use self::relative_time::RelativeTime;
use self::relative_time::elapsed;
use super::freshness::allowed_age;
use super::state::{Attempt, Drill, Failure, History, StateSnapshot, Unhealthy};
use crate::report::printable;

/// Maximum number of characters shown of a name or a message.
const LONGEST_TEXT: usize = 500;

/// Maximum number of distinct failures shown per database.
const FAILURES: usize = 4;

/// Maximum number of phases shown of a drill.
const PHASES: usize = 12;

/// Renders the page. The query `attempts=2` selects only the third database, with a table of its attempts.
pub fn render(snapshot: &StateSnapshot, query: Option<&str>, now: Timestamp) -> String {
    let view = View::of(snapshot, now);
    let number = query.and_then(|query| query.strip_prefix("attempts=")?.parse::<usize>().ok());
    let chosen = view.databases.iter().find(|section| Some(section.number) == number);
    html::page(&view, chosen).into_string()
}

/// The content of the page.
#[derive(Clone, Debug)]
pub struct View {
    /// Time of rendering.
    pub rendered: Timestamp,
    /// The overall status.
    pub verdict: OverallStatus,
    /// Start of the next round; `None` while one runs.
    pub next_run: Option<RelativeTime>,
    /// Time of the next drill.
    pub next_drill: Option<RelativeTime>,
    /// Age beyond which a backup is overdue.
    pub allowed_age: Duration,
    /// The databases, unhealthy ones first.
    pub databases: Vec<DatabaseView>,
}

/// How good or bad a status is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Needs attention.
    Bad,
    /// Not known yet.
    Waiting,
    /// Healthy.
    Good,
}

/// The overall status: the same as `/readyz`, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverallStatus {
    /// Tone of the status.
    pub tone: Tone,
    /// Short description.
    pub headline: &'static str,
    /// Reason of the status.
    pub reason: String,
    /// A notice that does not affect the status.
    pub notice: Option<String>,
}

/// The view of one database.
#[derive(Clone, Debug)]
pub struct DatabaseView {
    /// Index in the order of the names, which does not change.
    pub number: usize,
    /// Configured name.
    pub name: String,
    /// Whether it is the globals of a server (roles and tablespaces).
    pub is_globals: bool,
    /// Tone of the status.
    pub tone: Tone,
    /// Status as a word.
    pub state: &'static str,
    /// What is wrong, if anything.
    pub unhealthy: Option<String>,
    /// Duration of the running attempt.
    pub saving_for: Option<Duration>,
    /// Start time of the last successful dump.
    pub last_success: Option<RelativeTime>,
    /// Total size in bytes of all dumps saved since the start.
    pub bytes_total: u64,
    /// The last attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// The last distinct failures, newest first.
    pub failures: Vec<FailureShown>,
    /// Number of failures since the start, shown or not.
    pub failure_count: u64,
    /// The view of the drills; `None` if none has run and none is scheduled.
    pub drill: Option<DrillShown>,
}

/// The view of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// Start time.
    pub started: RelativeTime,
    /// The attempt in the state.
    pub attempt: Attempt,
}

/// A failure and its number of occurrences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureShown {
    /// Time of the last occurrence.
    pub last: RelativeTime,
    /// Number of occurrences among the kept attempts.
    pub times: usize,
    /// The stage that failed.
    pub stage: &'static str,
    /// The cause.
    pub cause: String,
}

/// The view of a database's drills.
#[derive(Clone, Debug, PartialEq)]
pub enum DrillShown {
    /// No drill has run since the start.
    Awaited,
    /// The last drill.
    Made(DrillView),
}

/// The view of a drill.
#[derive(Clone, Debug, PartialEq)]
pub struct DrillView {
    /// End of the drill.
    pub ended: RelativeTime,
    /// Time until the database was restored.
    pub restored_in: Option<Duration>,
    /// Duration of each phase.
    pub phases: Vec<(String, Duration)>,
    /// What is wrong; `None` if the copy is equal.
    pub verdict: Option<String>,
    /// Time of the last successful drill, if it is not this one.
    pub last_good: Option<RelativeTime>,
}

impl View {
    /// Creates the view of a state.
    pub fn of(snapshot: &StateSnapshot, now: Timestamp) -> View {
        let numbered = snapshot.databases.iter().enumerate();
        let mut databases: Vec<DatabaseView> = numbered
            .map(|(number, (name, history))| DatabaseView {
                number,
                ..DatabaseView::of(snapshot, name, history, now)
            })
            .collect();
        databases.sort_by_key(|section| section.tone);
        View {
            rendered: now,
            verdict: OverallStatus::of(snapshot, now, &databases),
            next_run: snapshot.next_run.map(|at| RelativeTime::future(at, now)),
            next_drill: snapshot.next_drill.map(|at| RelativeTime::future(at, now)),
            allowed_age: allowed_age(snapshot.interval),
            databases,
        }
    }
}

impl OverallStatus {
    fn of(snapshot: &StateSnapshot, now: Timestamp, sections: &[DatabaseView]) -> OverallStatus {
        let bad_drill = |section: &&DatabaseView| matches!(&section.drill, Some(drill) if drill.is_bad());
        let names: Vec<&str> =
            sections.iter().filter(bad_drill).map(|section| section.name.as_str()).collect();
        let notice =
            (!names.is_empty()).then(|| shown(&format!("The last drill failed: {}", names.join(", "))));
        let Some(unready_reason) = snapshot.unready_reason(now) else {
            let reason = "The last backup of every database succeeded, and none is overdue.".to_owned();
            return OverallStatus {
                tone: Tone::Good,
                headline: "All backups are up to date",
                reason,
                notice,
            };
        };
        // The first section has the worst tone, because the sections are sorted by it.
        let tone = sections.first().map_or(Tone::Waiting, |section| section.tone);
        let headline = if tone == Tone::Bad {
            "Backups have failed or are overdue"
        } else {
            "Waiting for the first backups"
        };
        let others = sections.iter().filter(|section| section.tone != Tone::Good).count().saturating_sub(1);
        let mut reason = shown(&unready_reason);
        match others {
            0 => {}
            1 => reason.push_str("; 1 more is affected"),
            others => reason.push_str(&format!("; {others} more are affected")),
        }
        OverallStatus { tone, headline, reason, notice }
    }
}

impl DatabaseView {
    fn of(snapshot: &StateSnapshot, name: &str, history: &History, now: Timestamp) -> DatabaseView {
        let unhealthy = snapshot.unhealthy(history, now);
        let (tone, state) = match unhealthy {
            None => (Tone::Good, "saved"),
            Some(Unhealthy::NotSaved) => (Tone::Waiting, "no backup yet"),
            Some(Unhealthy::Failed(_)) => (Tone::Bad, "failed"),
            Some(Unhealthy::Overdue { .. }) => (Tone::Bad, "overdue"),
        };
        // A failure is shown in the list of failures, and the status word describes the other cases.
        let overdue = unhealthy.filter(|unhealthy| matches!(unhealthy, Unhealthy::Overdue { .. }));
        let attempt = |attempt: &Attempt| AttemptView {
            started: RelativeTime::past(attempt.started, now),
            attempt: attempt.clone(),
        };
        DatabaseView {
            number: 0,
            name: shown(name),
            is_globals: history.is_globals,
            tone,
            state,
            unhealthy: overdue.map(|unhealthy| unhealthy.to_string()),
            saving_for: history.in_progress.map(|since| elapsed(since, now)),
            last_success: history.last_success.map(|at| RelativeTime::past(at, now)),
            bytes_total: history.bytes_total,
            attempts: history.attempts.iter().map(attempt).collect(),
            failures: failures(history, now),
            failure_count: history.failures.values().sum(),
            drill: DrillShown::of(snapshot, history, now),
        }
    }
}

/// Returns the last distinct failures, newest first.
fn failures(history: &History, now: Timestamp) -> Vec<FailureShown> {
    let mut found: Vec<(&Failure, FailureShown)> = Vec::new();
    for Attempt { started, outcome, .. } in history.attempts.iter().rev() {
        let Err(failure) = outcome else { continue };
        match found.iter_mut().find(|(known, _)| *known == failure) {
            Some((_, shown)) => shown.times += 1,
            None => {
                let last = RelativeTime::past(*started, now);
                let (stage, cause) = (failure.stage.as_str(), shown(&failure.cause));
                found.push((failure, FailureShown { last, times: 1, stage, cause }));
            }
        }
    }
    found.into_iter().map(|(_, shown)| shown).take(FAILURES).collect()
}

impl DrillShown {
    fn of(snapshot: &StateSnapshot, history: &History, now: Timestamp) -> Option<DrillShown> {
        let Some(Drill { ended, restored_in, phases, verdict }) = &history.drill else {
            return (snapshot.next_drill.is_some() && !history.is_globals).then_some(DrillShown::Awaited);
        };
        let phase = |(name, seconds): &(String, f64)| {
            (shown(name), Duration::try_from_secs_f64(*seconds).unwrap_or_default())
        };
        let earlier = history.last_good_drill.filter(|_| verdict.is_some());
        Some(DrillShown::Made(DrillView {
            ended: RelativeTime::past(*ended, now),
            restored_in: *restored_in,
            phases: phases.iter().take(PHASES).map(phase).collect(),
            verdict: verdict.as_deref().map(shown),
            last_good: earlier.map(|at| RelativeTime::past(at, now)),
        }))
    }

    /// Returns whether the last drill failed.
    fn is_bad(&self) -> bool {
        matches!(self, DrillShown::Made(DrillView { verdict: Some(_), .. }))
    }
}

/// Prepares a text from outside for display: limits its length, and removes control characters and those that
/// change the direction of the following text.
fn shown(text: &str) -> String {
    let (text, rest) = match text.char_indices().nth(LONGEST_TEXT) {
        None => (text, ""),
        Some((end, _)) => (&text[..end], "…"),
    };
    printable(text) + rest
}

#[cfg(test)]
mod tests;
