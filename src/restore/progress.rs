//! The progress of a restore, for display.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::StatementError;
use crate::report::chain;

/// Counters of a restore. Any task may update or read them; clones share the same counters.
#[derive(Clone, Debug, Default)]
pub struct RestoreProgress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// Bytes read, of `total`.
    bytes: Arc<AtomicU64>,
    /// 0 while it is unknown.
    total: AtomicU64,
    statements: AtomicU64,
    entries: AtomicU64,
    entries_total: AtomicU64,
    tables: AtomicU64,
    rows: AtomicU64,
    failures: AtomicU64,
    /// Failures to return at the end, if requested; otherwise each failure is logged immediately.
    kept: Option<Mutex<Vec<StatementError>>>,
    present: Mutex<Present>,
}

/// The state of the transaction of `--single-transaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transaction {
    /// The transaction has not begun or is open: a failure now rolls it back.
    #[default]
    Open,
    /// A statement of the script ended the transaction.
    EndedByScript,
    /// COMMIT was sent, and the server has not answered yet.
    Ending,
    /// The transaction is committed.
    Committed,
}

/// The current activity.
#[derive(Debug, Default)]
struct Present {
    transaction: Transaction,
    phase: &'static str,
    began: Option<Instant>,
    phases: Vec<(&'static str, Duration)>,
    /// Tables whose rows are being loaded, with the number of connections that load them.
    tables: BTreeMap<String, usize>,
}

/// The counters at one point in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// The current phase: `pre-data`, `data`, …
    pub phase: &'static str,
    /// Bytes read.
    pub bytes: u64,
    /// The total number of bytes to read; `None` while it is unknown.
    pub total: Option<u64>,
    /// Statements that succeeded.
    pub statements: u64,
    /// Entries of the table of contents that are done.
    pub entries: u64,
    /// The number of entries to restore; 0 without a table of contents.
    pub entries_total: u64,
    /// Tables whose rows are loaded.
    pub tables: u64,
    /// Rows loaded.
    pub rows: u64,
    /// Statements that failed and were skipped.
    pub failures: u64,
    /// Tables that are being loaded.
    pub loading: Vec<String>,
    /// The state of the single transaction, if there is one.
    pub transaction: Transaction,
}

/// The maximum number of failures that are kept.
const MAX_FAILURES: usize = 10_000;

impl RestoreProgress {
    /// Creates a progress that keeps skipped failures for [`RestoreProgress::take_failures`] instead of
    /// logging them.
    pub fn keeping_failures() -> Self {
        RestoreProgress(Arc::new(Counters { kept: Some(Mutex::default()), ..Counters::default() }))
    }

    /// Returns the byte counter, for the code that reads the bytes.
    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.bytes)
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn expect(&self, bytes: u64, entries: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
        self.0.entries_total.store(entries, Ordering::Relaxed);
    }

    pub(super) fn add_statement(&self) {
        self.0.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_entry(&self) {
        self.0.entries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn add_table(&self) {
        self.0.tables.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the state of the single transaction.
    pub(super) fn set_transaction(&self, transaction: Transaction) {
        self.present().transaction = transaction;
    }

    /// Counts a failure that was skipped.
    pub(super) fn add_failure(&self, error: StatementError) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let Some(kept) = &self.0.kept else { return tracing::error!("{}", chain(&error).line) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_FAILURES {
            kept.push(error);
        }
    }

    /// Takes the failures that were skipped, the first 10,000 of them.
    pub fn take_failures(&self) -> Vec<StatementError> {
        let kept = self.0.kept.as_ref();
        kept.map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a phase and ends the current one.
    pub(super) fn begin_phase(&self, phase: &'static str) {
        let mut present = self.present();
        if present.phase == phase {
            return;
        }
        end_phase(&mut present);
        present.phase = phase;
        present.began = Some(Instant::now());
    }

    /// Returns the duration of each phase, in the order of their starts; the current phase counts until now.
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        let present = self.present();
        let mut phases = present.phases.clone();
        phases.extend(present.began.map(|began| (present.phase, began.elapsed())));
        phases
    }

    /// Ends the current phase.
    pub(super) fn end(&self) {
        end_phase(&mut self.present());
    }

    /// Marks a table as being loaded until the guard is dropped.
    pub(super) fn loading(&self, table: &str) -> Loading {
        *self.present().tables.entry(table.to_owned()).or_default() += 1;
        Loading { progress: self.clone(), table: table.to_owned() }
    }

    /// Returns the current counters.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let present = self.present();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0;
        ProgressSnapshot {
            phase: present.phase,
            bytes: get(&counters.bytes),
            total: Some(get(&counters.total)).filter(|total| *total > 0),
            statements: get(&counters.statements),
            entries: get(&counters.entries),
            entries_total: get(&counters.entries_total),
            tables: get(&counters.tables),
            rows: get(&counters.rows),
            failures: get(&counters.failures),
            loading: present.tables.keys().cloned().collect(),
            transaction: present.transaction,
        }
    }
}

fn end_phase(present: &mut Present) {
    if let Some(began) = present.began.take() {
        present.phases.push((present.phase, began.elapsed()));
    }
}

/// The guard of [`RestoreProgress::loading`].
pub(super) struct Loading {
    progress: RestoreProgress,
    table: String,
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut present = self.progress.present();
        if let Some(connections) = present.tables.get_mut(&self.table) {
            *connections -= 1;
            if *connections == 0 {
                present.tables.remove(&self.table);
            }
        }
    }
}
