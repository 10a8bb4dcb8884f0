//! The events of alerts and their formats: a title and a text for people, JSON for programs. docs/alerts.md
//! specifies the JSON; a change in the meaning of a field increases [`FORMAT_VERSION`].
//!
//! An event contains names of databases, causes and numbers, and no secrets.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::quantity::human;
use crate::sidecar::state::FailureStage;

/// Version of the JSON format.
pub const FORMAT_VERSION: u32 = 1;

/// An event to report to the operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A backup failed.
    Failed {
        /// Configured name of the database.
        database: String,
        /// The stage that failed.
        stage: FailureStage,
        /// The chain of causes, in one line.
        cause: String,
        /// The hints of the errors.
        hints: Vec<String>,
        /// Start of the first failed attempt.
        since: Timestamp,
        /// Number of failed attempts since the last successful one.
        failures: u64,
    },
    /// The newest backup is too old, whether or not rounds run.
    Overdue {
        /// Configured name of the database.
        database: String,
        /// Start of the newest backup's dump; `None` if the sidecar has created none since its start.
        newest: Option<Timestamp>,
        /// Age of the newest backup, or the uptime of the sidecar.
        age: Duration,
        /// Maximum allowed age.
        allowed: Duration,
    },
    /// A backup succeeded, and the newest backup is recent enough again.
    Recovered {
        /// Configured name of the database.
        database: String,
        /// Start of the condition.
        since: Timestamp,
        /// Number of failed attempts during the condition.
        failures: u64,
        /// Whether the newest backup was overdue.
        overdue: bool,
    },
    /// A backup is much smaller than the backups before it.
    Shrunk {
        /// Configured name of the database.
        database: String,
        /// The measure that decreased.
        measure: Measure,
        /// Current value.
        now: u64,
        /// Median of the earlier values.
        median: u64,
        /// Decrease in percent that causes an alert.
        threshold: u8,
    },
    /// A drill found a difference, or failed.
    DrillFailed {
        /// Configured name of the database.
        database: String,
        /// What is wrong.
        cause: String,
        /// End of the drill.
        ended: Timestamp,
    },
    /// A drill succeeded after a failed one.
    DrillRecovered {
        /// Configured name of the database.
        database: String,
        /// End of the drill.
        ended: Timestamp,
    },
    /// A backup was saved to the store but not copied to the replica.
    ReplicaFailed {
        /// Configured name of the database.
        database: String,
        /// The chain of causes, in one line.
        cause: String,
    },
    /// A backup was copied to the replica again.
    ReplicaRecovered {
        /// Configured name of the database.
        database: String,
    },
    /// Sessions wait for the locks of a dump: a migration, and everything queued behind it.
    Blocked {
        /// Configured name of the database.
        database: String,
        /// The session and the lock it waits for, in one line, without the values of its statement.
        waiting: String,
        /// Whether the dump was aborted because of it.
        aborted: bool,
    },
    /// A test message; nothing happened.
    Test,
}

/// A measure of a backup that can decrease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Size of the dump object in bytes.
    Size,
    /// Number of rows in all tables.
    Rows,
}

impl Measure {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Size => "size",
            Measure::Rows => "rows",
        }
    }

    fn human(self, number: u64) -> String {
        match self {
            Measure::Size => format!("{number} bytes"),
            Measure::Rows => format!("{number} rows"),
        }
    }
}

/// Whether a condition began or ended, or a single event occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The condition lasts until [`Status::Resolved`] follows with the same key.
    Firing,
    /// The condition ended.
    Resolved,
    /// A single event; nothing follows.
    QueuedEvent,
}

impl Status {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
            Status::QueuedEvent => "notice",
        }
    }
}

impl Event {
    /// Returns the kind of the event, as JSON names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Failed { .. } => "backup_failed",
            Event::Overdue { .. } => "backup_overdue",
            Event::Recovered { .. } => "backup_recovered",
            Event::Shrunk { .. } => "backup_shrunk",
            Event::DrillFailed { .. } => "drill_failed",
            Event::DrillRecovered { .. } => "drill_recovered",
            Event::ReplicaFailed { .. } => "replica_failed",
            Event::ReplicaRecovered { .. } => "replica_recovered",
            Event::Blocked { .. } => "dump_blocked",
            Event::Test => "test",
        }
    }

    /// Returns whether the event begins or ends a condition.
    pub fn status(&self) -> Status {
        match self {
            Event::Failed { .. }
            | Event::Overdue { .. }
            | Event::DrillFailed { .. }
            | Event::ReplicaFailed { .. } => Status::Firing,
            Event::Recovered { .. } | Event::DrillRecovered { .. } | Event::ReplicaRecovered { .. } => {
                Status::Resolved
            }
            Event::Shrunk { .. } | Event::Blocked { .. } | Event::Test => Status::QueuedEvent,
        }
    }

    /// Returns `critical` if a good backup may be missing, `warning` if one exists, and `info` for good news.
    pub fn severity(&self) -> &'static str {
        match self {
            Event::Failed { .. } | Event::Overdue { .. } | Event::DrillFailed { .. } => "critical",
            Event::Shrunk { .. } | Event::ReplicaFailed { .. } | Event::Blocked { .. } => "warning",
            Event::Recovered { .. }
            | Event::DrillRecovered { .. }
            | Event::ReplicaRecovered { .. }
            | Event::Test => "info",
        }
    }

    /// Returns the database of the event.
    pub fn database(&self) -> Option<&str> {
        match self {
            Event::Failed { database, .. }
            | Event::Overdue { database, .. }
            | Event::Recovered { database, .. }
            | Event::Shrunk { database, .. }
            | Event::DrillFailed { database, .. }
            | Event::DrillRecovered { database, .. }
            | Event::ReplicaFailed { database, .. }
            | Event::ReplicaRecovered { database }
            | Event::Blocked { database, .. } => Some(database),
            Event::Test => None,
        }
    }

    /// Returns the key of the condition, which is the same in the event that resolves it: `backup/metadata`,
    /// `drill/metadata`.
    pub fn key(&self) -> String {
        let subject = match self {
            Event::Failed { .. } | Event::Overdue { .. } | Event::Recovered { .. } => "backup",
            Event::Shrunk { measure, .. } => measure.as_str(),
            Event::DrillFailed { .. } | Event::DrillRecovered { .. } => "drill",
            Event::ReplicaFailed { .. } | Event::ReplicaRecovered { .. } => "replica",
            Event::Blocked { .. } => "locks",
            Event::Test => "test",
        };
        format!("{subject}/{}", self.database().unwrap_or("-"))
    }

    /// Returns a short title.
    pub fn title(&self) -> String {
        match self {
            Event::Failed { database, .. } => format!("{database}: the backup failed"),
            Event::Overdue { database, newest: Some(_), age, .. } => {
                format!("{database}: the newest backup is {} old", human(*age))
            }
            Event::Overdue { database, newest: None, age, .. } => {
                format!("{database}: no backup since the start {} ago", human(*age))
            }
            Event::Recovered { database, .. } => format!("{database}: backed up again"),
            Event::Shrunk { database, measure, now, median, .. } => {
                let share = median.saturating_sub(*now).saturating_mul(100) / (*median).max(1);
                format!("{database}: the backup's {} fell by {share}%", measure.as_str())
            }
            Event::DrillFailed { database, .. } => format!("{database}: the drill failed"),
            Event::DrillRecovered { database, .. } => format!("{database}: the drill succeeded again"),
            Event::ReplicaFailed { database, .. } => format!("{database}: copying to the replica failed"),
            Event::ReplicaRecovered { database } => {
                format!("{database}: copying to the replica succeeded again")
            }
            Event::Blocked { database, aborted: false, .. } => {
                format!("{database}: the dump blocks other sessions")
            }
            Event::Blocked { database, aborted: true, .. } => {
                format!("{database}: the dump was aborted because it blocked other sessions")
            }
            Event::Test => "a test message".to_owned(),
        }
    }

    /// Returns the details, one per line.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Event::Failed { stage, cause, hints, since, failures, .. } => {
                let mut lines = vec![cause.clone()];
                lines.extend(hints.iter().map(|hint| format!("HINT: {hint}")));
                lines.push(format!("What failed: {}. {}", stage.as_str(), attempts(*failures, *since)));
                lines
            }
            Event::Overdue { newest, allowed, .. } => {
                let newest = newest.map(|newest| format!(" It started at {newest}.")).unwrap_or_default();
                vec![format!("The limit is {}.{newest}", human(*allowed))]
            }
            Event::Recovered { since, failures: 0, .. } => {
                vec![format!("It had been overdue since {since}.")]
            }
            Event::Recovered { since, failures, .. } => vec![attempts(*failures, *since)],
            Event::Shrunk { measure, now, median, threshold, .. } => vec![
                format!(
                    "It is {} now; the median of recent backups is {}.",
                    measure.human(*now),
                    measure.human(*median)
                ),
                format!("The threshold is {threshold}%. The backup itself succeeded."),
            ],
            Event::DrillFailed { cause, .. } => vec![cause.clone()],
            Event::ReplicaFailed { cause, .. } => {
                vec![cause.clone(), "The backup itself succeeded.".to_owned()]
            }
            Event::Blocked { waiting, .. } => vec![waiting.clone()],
            Event::DrillRecovered { .. } | Event::ReplicaRecovered { .. } => Vec::new(),
            Event::Test => vec!["This channel receives the alerts of this sidecar.".to_owned()],
        }
    }

    /// Returns the fields of the JSON that are specific to the kind.
    fn details(&self) -> Value {
        match self {
            Event::Failed { stage, cause, hints, since, failures, .. } => json!({
                "stage": stage.as_str(), "cause": cause, "hints": hints, "since": since, "failures": failures,
            }),
            Event::Overdue { newest, age, allowed, .. } => json!({
                "newest": newest, "age_seconds": age.as_secs(), "allowed_seconds": allowed.as_secs(),
            }),
            Event::Recovered { since, failures, overdue, .. } => json!({
                "since": since, "failures": failures, "overdue": overdue,
            }),
            Event::Shrunk { measure, now, median, threshold, .. } => json!({
                "measure": measure.as_str(), "now": now, "median": median, "threshold_percent": threshold,
            }),
            Event::DrillFailed { cause, ended, .. } => json!({ "cause": cause, "ended": ended }),
            Event::DrillRecovered { ended, .. } => json!({ "ended": ended }),
            Event::ReplicaFailed { cause, .. } => json!({ "cause": cause }),
            Event::Blocked { waiting, aborted, .. } => json!({ "waiting": waiting, "aborted": aborted }),
            Event::ReplicaRecovered { .. } | Event::Test => Value::Object(Map::new()),
        }
    }
}

fn attempts(failures: u64, since: Timestamp) -> String {
    match failures {
        1 => format!("One attempt failed, at {since}."),
        _ => format!("{failures} attempts failed since {since}."),
    }
}

/// An event in the queue of a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedEvent {
    /// The event.
    pub event: Event,
    /// Whether it repeats an earlier alert for a condition that lasts.
    pub reminder: bool,
    /// When the condition was detected.
    pub moment: Timestamp,
    /// Name of the sidecar.
    pub source: String,
}

impl QueuedEvent {
    /// Returns the subject: `[pg-backup host] metadata: the backup failed`.
    pub fn subject(&self) -> String {
        let still = if self.reminder { "still: " } else { "" };
        format!("[pg-backup {}] {still}{}", self.source, self.event.title())
    }

    /// Returns the text below the subject.
    pub fn text(&self) -> String {
        self.event.lines().join("\n")
    }

    /// Returns the JSON for programs.
    pub fn to_json(&self) -> Value {
        let event = &self.event;
        json!({
            "version": FORMAT_VERSION,
            "kind": event.kind(),
            "status": event.status().as_str(),
            "severity": event.severity(),
            "key": event.key(),
            "reminder": self.reminder,
            "source": self.source,
            "database": event.database(),
            "moment": self.moment,
            "title": event.title(),
            "text": self.text(),
            "details": event.details(),
            "tool": tool(),
        })
    }
}

/// Returns the sender of the JSON.
pub(super) fn tool() -> Value {
    json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sidecar::alert) fn failed() -> Event {
        Event::Failed {
            database: "metadata".to_owned(),
            stage: FailureStage::Connect,
            cause: "server db:5432 refused the connection: Connection refused".to_owned(),
            hints: vec!["start it".to_owned()],
            since: "2026-04-26T16:29:58Z".parse().unwrap(),
            failures: 1,
        }
    }

    pub(in crate::sidecar::alert) fn notice(event: Event) -> QueuedEvent {
        let moment = "2026-04-26T16:30:00Z".parse().unwrap();
        QueuedEvent { event, reminder: false, moment, source: "prod".to_owned() }
    }

    fn overdue(newest: Option<Timestamp>) -> Event {
        let [age, allowed] = [36_000, 32_400].map(Duration::from_secs);
        Event::Overdue { database: "metadata".to_owned(), newest, age, allowed }
    }

    fn every() -> Vec<Event> {
        let (database, moment) = ("metadata".to_owned(), "2026-04-26T16:29:58Z".parse().unwrap());
        let cause = "2 differences".to_owned();
        vec![
            failed(),
            overdue(Some(moment)),
            overdue(None),
            Event::Recovered { database: database.clone(), since: moment, failures: 3, overdue: false },
            Event::Recovered { database: database.clone(), since: moment, failures: 0, overdue: true },
            Event::Shrunk {
                database: database.clone(),
                measure: Measure::Rows,
                now: 10,
                median: 1000,
                threshold: 50,
            },
            Event::DrillFailed { database: database.clone(), cause: cause.clone(), ended: moment },
            Event::DrillRecovered { database: database.clone(), ended: moment },
            Event::ReplicaFailed { database: database.clone(), cause },
            Event::ReplicaRecovered { database: database.clone() },
            Event::Blocked { database, waiting: "pid 7 waits".to_owned(), aborted: true },
            Event::Test,
        ]
    }

    #[test]
    fn people_read_a_subject_and_a_text() {
        let told = notice(failed());
        assert_eq!(told.subject(), "[pg-backup prod] metadata: the backup failed");
        assert_eq!(
            told.text(),
            "server db:5432 refused the connection: Connection refused\nHINT: start it\n\
             What failed: connect. One attempt failed, at 2026-04-26T16:29:58Z."
        );
        let reminder = QueuedEvent { reminder: true, ..told };
        assert_eq!(reminder.subject(), "[pg-backup prod] still: metadata: the backup failed");
        let subjects: Vec<String> = every().into_iter().map(|event| event.title()).collect();
        assert_eq!(
            subjects,
            [
                "metadata: the backup failed",
                "metadata: the newest backup is 10h old",
                "metadata: no backup since the start 10h ago",
                "metadata: backed up again",
                "metadata: backed up again",
                "metadata: the backup's rows fell by 99%",
                "metadata: the drill failed",
                "metadata: the drill succeeded again",
                "metadata: copying to the replica failed",
                "metadata: copying to the replica succeeded again",
                "metadata: the dump was aborted because it blocked other sessions",
                "a test message",
            ]
        );
    }

    #[test]
    fn what_resolves_has_the_key_of_what_fired() {
        let events = every();
        let firing: Vec<String> =
            events.iter().filter(|e| e.status() == Status::Firing).map(Event::key).collect();
        for resolved in events.iter().filter(|event| event.status() == Status::Resolved) {
            assert!(firing.contains(&resolved.key()), "{}", resolved.key());
            assert_eq!(resolved.severity(), "info");
        }
    }

    /// docs/alerts.md contains the complete JSON of this event.
    #[test]
    fn the_json_is_that_of_the_document() {
        let document = include_str!("../../../docs/alerts.md");
        let shown = document.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shown = shown.replace("\"0.1.0\"", &format!("\"{}\"", env!("CARGO_PKG_VERSION")));
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(notice(failed()).to_json(), shown);
    }

    #[test]
    fn the_document_names_every_kind_and_its_details() {
        let document = include_str!("../../../docs/alerts.md");
        for event in every() {
            let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", event.kind())));
            let row = row.unwrap_or_else(|| panic!("{} is not in the document", event.kind()));
            assert!(row.contains(event.status().as_str()) && row.contains(event.severity()), "{row}");
            for (name, _) in event.details().as_object().unwrap() {
                assert!(row.contains(&format!("`{name}`")), "{name} is not in {row}");
            }
        }
    }
}
