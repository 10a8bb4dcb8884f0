//! The report of a drill: the output of `drill`, and the object `….drill.json` next to the backup.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::super::StatementError;
use super::super::compare::Compared;
use super::super::findings::MAX_LISTED;
use super::sandbox::{Causes, Lack};
use crate::archive::FORMAT_VERSION;
use crate::archive::key::BackupId;
use crate::archive::manifest::Tool;
use crate::clock;
use crate::report::chain;

/// The result of a drill.
#[derive(Clone, Debug, Serialize)]
pub struct DrillReport {
    /// The format version of this file, numbered like the manifest's.
    pub format_version: u32,
    /// The program that ran the drill.
    pub tool: Tool,
    /// The database's configured name.
    pub database: String,
    /// Whether the backup is encrypted. If so, the stored report names nothing from the backup.
    pub encrypted: bool,
    /// When the backup started.
    pub started: Timestamp,
    /// When the drill started.
    pub drilled: Timestamp,
    /// The sandbox server's version string.
    pub sandbox_version: String,
    /// Databases that earlier drills left on the sandbox.
    pub left_over: Vec<String>,
    /// Whether everything was restored and nothing differs.
    pub ok: bool,
    /// Seconds until the copy was restored: the measured value for the restore-time objective (RTO).
    pub restore_seconds: f64,
    /// Seconds of all phases.
    pub total_seconds: f64,
    /// The phases in order: `describe` and `create`, those of the restore, `compare`, `drop`.
    pub phases: Vec<DrillPhase>,
    /// Tables whose rows were compared.
    pub tables: u64,
    /// Rows of the copy.
    pub rows: u64,
    /// Objects that were compared.
    pub objects: u64,
    /// What the sandbox lacks, and the number of objects that each lack affected.
    pub lacking: Vec<Lacking>,
    /// The first statements that failed for other reasons.
    pub failures: Vec<String>,
    /// The total number of these statements.
    pub failure_count: u64,
    /// The first differences.
    pub differences: Vec<String>,
    /// The total number of differences.
    pub difference_count: u64,
}

/// The duration of a phase of a drill.
#[derive(Clone, Debug, Serialize)]
pub struct DrillPhase {
    /// The phase's name.
    pub name: String,
    /// The duration in seconds.
    pub seconds: f64,
}

/// Something that the sandbox lacks, and its effect.
#[derive(Clone, Debug, Serialize)]
pub struct Lacking {
    /// What is missing.
    #[serde(flatten)]
    pub lack: Lack,
    /// The number of objects that could not be restored correctly because of it.
    pub objects: u64,
}

impl DrillReport {
    pub(super) fn begin(id: &BackupId) -> DrillReport {
        DrillReport {
            format_version: FORMAT_VERSION,
            tool: Tool::this(),
            database: id.database.clone(),
            encrypted: false,
            started: id.started,
            drilled: clock::now(),
            sandbox_version: String::new(),
            left_over: Vec::new(),
            ok: false,
            restore_seconds: 0.0,
            total_seconds: 0.0,
            phases: Vec::new(),
            tables: 0,
            rows: 0,
            objects: 0,
            lacking: Vec::new(),
            failures: Vec::new(),
            failure_count: 0,
            differences: Vec::new(),
            difference_count: 0,
        }
    }

    fn add_phase(&mut self, name: String, time: Duration) {
        let seconds = (time.as_secs_f64() * 1000.0).round() / 1000.0;
        self.total_seconds += seconds;
        self.phases.push(DrillPhase { name, seconds });
    }

    pub(super) fn end_phase(&mut self, name: &str, since: Instant) {
        self.add_phase(name.to_owned(), since.elapsed());
    }

    /// Records that the copy is restored.
    pub(super) fn restored(&mut self, phases: Vec<(&'static str, Duration)>) {
        for (name, time) in phases {
            self.add_phase(name.to_owned(), time);
        }
        self.restore_seconds = self.total_seconds;
    }

    pub(super) fn failed(&mut self, failures: &[StatementError], causes: &Causes) {
        let lacking = causes.lacking.iter();
        self.lacking = lacking.map(|(lack, n)| Lacking { lack: lack.clone(), objects: *n }).collect();
        let listed = causes.unexplained.iter().take(MAX_LISTED).filter_map(|place| failures.get(*place));
        self.failures = listed.map(|failure| chain(failure).line).collect();
        self.failure_count = causes.unexplained.len() as u64;
    }

    pub(super) fn compared(&mut self, compared: &Compared) {
        (self.tables, self.rows, self.objects) = (compared.tables, compared.rows, compared.objects);
        self.differences = compared.differences.first().iter().map(|d| chain(d).line).collect();
        self.difference_count = compared.differences.number();
        self.ok = self.lacking.is_empty() && self.failure_count == 0 && self.difference_count == 0;
    }

    /// Returns what is missing, failed or different, one line each.
    pub fn findings(&self) -> Vec<String> {
        let more = |shown: &[String], number: u64, what: &str| {
            let more = number - shown.len() as u64;
            (more > 0).then(|| format!("and {more} more {what}"))
        };
        let lacking = self.lacking.iter().map(|Lacking { lack, objects }| {
            let objects = if *objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") };
            format!("the sandbox lacks {lack}: {objects} could not be restored unchanged")
        });
        lacking
            .chain(self.failures.clone())
            .chain(more(&self.failures, self.failure_count, "statements that failed"))
            .chain(self.differences.clone())
            .chain(more(&self.differences, self.difference_count, "differences"))
            .collect()
    }

    /// Returns the result in a few words: `equal`, `3 differences`.
    pub fn verdict(&self) -> String {
        let count = |number: u64, one: &str, several: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {several}")),
        };
        let lacking = self.lacking.len() as u64;
        let parts = [
            count(lacking, "thing missing", "things missing"),
            count(self.failure_count, "statement failed", "statements failed"),
            count(self.difference_count, "difference", "differences"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "equal".to_owned() } else { parts.join(", ") }
    }

    /// Returns the file's bytes: indented JSON with a trailing newline. For an encrypted backup it has only
    /// the numbers of failures and differences, because the file itself is not encrypted.
    pub fn to_json(&self) -> Vec<u8> {
        let mut report = self.clone();
        if self.encrypted {
            report.failures.clear();
            report.differences.clear();
            report.lacking.iter_mut().for_each(|lacking| lacking.lack.name.clear());
        }
        let mut json = serde_json::to_vec_pretty(&report).expect("a report has only string keys");
        json.push(b'\n');
        json
    }
}
