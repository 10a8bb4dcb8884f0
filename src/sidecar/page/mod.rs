//! The status page: what the record says, for people.
//!
//! [`View`] is what the page shows, made from the record at a moment and without any markup; [`html`] writes it,
//! with the charts of [`chart`]. One file holds everything: its policy forbids scripts, and any style but its own.
//!
//! Memory: the page, which is bounded by the attempts that the record keeps: about 50 KiB for each database. Texts
//! from outside are cut at [`LONGEST_TEXT`].

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

/// Characters of a name or a message that are shown.
const LONGEST_TEXT: usize = 500;

/// Different failures of a database that are shown.
const FAILURES: usize = 4;

/// Phases of a drill that are shown.
const PHASES: usize = 12;

/// Writes the page. The query `attempts=2` asks for the third database alone, with its attempts in figures.
pub fn render(kept: &StateSnapshot, query: Option<&str>, now: Timestamp) -> String {
    let view = View::of(kept, now);
    let number = query.and_then(|query| query.strip_prefix("attempts=")?.parse::<usize>().ok());
    let chosen = view.databases.iter().find(|section| Some(section.number) == number);
    html::page(&view, chosen).into_string()
}

/// What the page shows.
#[derive(Clone, Debug)]
pub struct View {
    /// When it was rendered.
    pub rendered: Timestamp,
    /// Whether all is in order.
    pub verdict: OverallStatus,
    /// When the next round starts; absent while one runs.
    pub next_run: Option<RelativeTime>,
    /// When the next drill is due.
    pub next_drill: Option<RelativeTime>,
    /// The age beyond which a backup is overdue.
    pub allowed_age: Duration,
    /// The databases, those in trouble first.
    pub databases: Vec<DatabaseView>,
}

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Somebody should look.
    Bad,
    /// It is not known yet.
    Waiting,
    /// In order.
    Good,
}

/// Whether all is in order: as `/readyz` says, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverallStatus {
    /// How good it is.
    pub tone: Tone,
    /// In a few words.
    pub headline: &'static str,
    /// The reason.
    pub reason: String,
    /// What is not a part of the verdict, but should be seen beside it.
    pub notice: Option<String>,
}

/// What is shown of one database.
#[derive(Clone, Debug)]
pub struct DatabaseView {
    /// Its place in the order of the names, which stays the same.
    pub number: usize,
    /// Its configured name.
    pub name: String,
    /// Whether it is a server's roles and tablespaces.
    pub is_globals: bool,
    /// How it stands.
    pub tone: Tone,
    /// The same as a word.
    pub state: &'static str,
    /// What is wrong with it, if anything is.
    pub trouble: Option<String>,
    /// For how long it has been being saved.
    pub saving_for: Option<Duration>,
    /// When the dump began that was saved last.
    pub last_success: Option<RelativeTime>,
    /// Bytes of all dumps that were saved since the start.
    pub bytes_total: u64,
    /// The last attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// The last different failures, newest first.
    pub failures: Vec<FailureShown>,
    /// Failures since the start, shown or not.
    pub failure_count: u64,
    /// What is known of drills; absent where none was made and none is to come.
    pub drill: Option<DrillShown>,
}

/// An attempt.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// When it began.
    pub started: RelativeTime,
    /// As it is on record.
    pub attempt: Attempt,
}

/// A failure and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureShown {
    /// When it came last.
    pub last: RelativeTime,
    /// How often, among the attempts that are kept.
    pub times: usize,
    /// What failed.
    pub stage: &'static str,
    /// Why.
    pub cause: String,
}

/// What is known of a database's drills.
#[derive(Clone, Debug, PartialEq)]
pub enum DrillShown {
    /// None was made since the start.
    Awaited,
    /// The last one.
    Made(DrillView),
}

/// A drill.
#[derive(Clone, Debug, PartialEq)]
pub struct DrillView {
    /// When it ended.
    pub ended: RelativeTime,
    /// How long it took until the copy was there.
    pub restored_in: Option<Duration>,
    /// How long each part took.
    pub phases: Vec<(String, Duration)>,
    /// What is wrong; absent when the copy is equal.
    pub verdict: Option<String>,
    /// When the last one was made that found nothing wrong, where that is another one.
    pub last_good: Option<RelativeTime>,
}

impl View {
    /// What is to be shown of a record.
    pub fn of(kept: &StateSnapshot, now: Timestamp) -> View {
        let numbered = kept.databases.iter().enumerate();
        let mut databases: Vec<DatabaseView> = numbered
            .map(|(number, (name, history))| DatabaseView {
                number,
                ..DatabaseView::of(kept, name, history, now)
            })
            .collect();
        databases.sort_by_key(|section| section.tone);
        View {
            rendered: now,
            verdict: OverallStatus::of(kept, now, &databases),
            next_run: kept.next_run.map(|at| RelativeTime::future(at, now)),
            next_drill: kept.next_drill.map(|at| RelativeTime::future(at, now)),
            allowed_age: allowed_age(kept.interval),
            databases,
        }
    }
}

impl OverallStatus {
    fn of(kept: &StateSnapshot, now: Timestamp, sections: &[DatabaseView]) -> OverallStatus {
        let bad_drill = |section: &&DatabaseView| matches!(&section.drill, Some(drill) if drill.is_bad());
        let names: Vec<&str> =
            sections.iter().filter(bad_drill).map(|section| section.name.as_str()).collect();
        let notice =
            (!names.is_empty()).then(|| shown(&format!("The last drill failed: {}", names.join(", "))));
        let Some(unready_reason) = kept.unready_reason(now) else {
            let reason = "Every database's last backup went well, and none is overdue.".to_owned();
            return OverallStatus { tone: Tone::Good, headline: "All backups are in order", reason, notice };
        };
        // The worst of them; the sections are in that order.
        let tone = sections.first().map_or(Tone::Waiting, |section| section.tone);
        let headline = if tone == Tone::Bad { "Not in order" } else { "Not in order yet" };
        let others = sections.iter().filter(|section| section.tone != Tone::Good).count().saturating_sub(1);
        let mut reason = shown(&unready_reason);
        match others {
            0 => {}
            1 => reason.push_str("; one more is not in order"),
            others => reason.push_str(&format!("; {others} more are not in order")),
        }
        OverallStatus { tone, headline, reason, notice }
    }
}

impl DatabaseView {
    fn of(kept: &StateSnapshot, name: &str, history: &History, now: Timestamp) -> DatabaseView {
        let trouble = kept.trouble(history, now);
        let (tone, state) = match trouble {
            None => (Tone::Good, "saved"),
            Some(Unhealthy::NotSaved) => (Tone::Waiting, "not saved yet"),
            Some(Unhealthy::Failed(_)) => (Tone::Bad, "failed"),
            Some(Unhealthy::Overdue { .. }) => (Tone::Bad, "overdue"),
        };
        // That of a failure stands among the failures, and the word says the rest.
        let told = trouble.filter(|trouble| matches!(trouble, Unhealthy::Overdue { .. }));
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
            trouble: told.map(|trouble| trouble.to_string()),
            saving_for: history.in_progress.map(|since| elapsed(since, now)),
            last_success: history.last_success.map(|at| RelativeTime::past(at, now)),
            bytes_total: history.bytes_total,
            attempts: history.attempts.iter().map(attempt).collect(),
            failures: failures(history, now),
            failure_count: history.failures.values().sum(),
            drill: DrillShown::of(kept, history, now),
        }
    }
}

/// The last different failures, newest first.
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
    fn of(kept: &StateSnapshot, history: &History, now: Timestamp) -> Option<DrillShown> {
        let Some(Drill { ended, restored_in, phases, verdict }) = &history.drill else {
            return (kept.next_drill.is_some() && !history.is_globals).then_some(DrillShown::Awaited);
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

    /// Whether the last drill found something wrong.
    fn is_bad(&self) -> bool {
        matches!(self, DrillShown::Made(DrillView { verdict: Some(_), .. }))
    }
}

/// A text from outside as it is shown: not endless, without control characters, and without those that turn the
/// direction of all text that follows them.
fn shown(text: &str) -> String {
    let (text, rest) = match text.char_indices().nth(LONGEST_TEXT) {
        None => (text, ""),
        Some((end, _)) => (&text[..end], "…"),
    };
    printable(text) + rest
}

#[cfg(test)]
mod tests;
