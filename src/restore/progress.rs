//! What a restore has done so far, for whoever shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::StatementError;
use crate::report::chain;

/// Counters of a restore, which any task may add to and any other read. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct RestoreProgress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// Bytes that were read, of `total`.
    bytes: Arc<AtomicU64>,
    /// 0 while it is not known.
    total: AtomicU64,
    statements: AtomicU64,
    entries: AtomicU64,
    entries_total: AtomicU64,
    tables: AtomicU64,
    rows: AtomicU64,
    failures: AtomicU64,
    /// What failed, where somebody wants to know it in the end; otherwise it is logged as it happens.
    kept: Option<Mutex<Vec<StatementError>>>,
    present: Mutex<Present>,
}

/// How far the one transaction of `--single-transaction` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transaction {
    /// It has not begun, or is open: what fails now undoes it.
    #[default]
    Open,
    /// A statement of the script has ended it.
    EndedByScript,
    /// The server was asked to commit it and has not answered.
    Ending,
    /// It is committed.
    Committed,
}

/// What is being done.
#[derive(Debug, Default)]
struct Present {
    transaction: Transaction,
    phase: &'static str,
    began: Option<Instant>,
    phases: Vec<(&'static str, Duration)>,
    /// Tables whose rows are being loaded, with the number of connections that do it.
    tables: BTreeMap<String, usize>,
}

/// The counters at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// What is being done: `pre-data`, `data`, …
    pub phase: &'static str,
    /// Bytes that were read.
    pub bytes: u64,
    /// How many there are to be read; `None` while that is not known.
    pub total: Option<u64>,
    /// Statements that succeeded.
    pub statements: u64,
    /// Entries of the table of contents that are done.
    pub entries: u64,
    /// How many are to be done; 0 without a table of contents.
    pub entries_total: u64,
    /// Tables whose rows are loaded.
    pub tables: u64,
    /// Rows that were loaded.
    pub rows: u64,
    /// Statements that failed and were passed over.
    pub failures: u64,
    /// Tables that are being loaded.
    pub loading: Vec<String>,
    /// How far the one transaction is, where there is one.
    pub transaction: Transaction,
}

/// Failures that are kept.
const MOST_KEPT: usize = 10_000;

impl RestoreProgress {
    /// One that keeps what failed and was passed over, for [`RestoreProgress::take_failures`], instead of logging it.
    pub fn keeping_failures() -> Self {
        RestoreProgress(Arc::new(Counters { kept: Some(Mutex::default()), ..Counters::default() }))
    }

    /// Counts of bytes, to be added to where they are read.
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

    /// Notes how far the one transaction is.
    pub(super) fn set_transaction(&self, transaction: Transaction) {
        self.present().transaction = transaction;
    }

    /// Counts a failure that is passed over.
    pub(super) fn add_failure(&self, error: StatementError) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let Some(kept) = &self.0.kept else { return tracing::error!("{}", chain(&error).line) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(error);
        }
    }

    /// The failures that were passed over, the first 10,000 of them.
    pub fn take_failures(&self) -> Vec<StatementError> {
        let kept = self.0.kept.as_ref();
        kept.map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.0.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is being done from now on.
    pub(super) fn begin_phase(&self, phase: &'static str) {
        let mut present = self.present();
        if present.phase == phase {
            return;
        }
        end_phase(&mut present);
        present.phase = phase;
        present.began = Some(Instant::now());
    }

    /// How long each phase took, in the order in which they began; the one that goes on counts until now.
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        let present = self.present();
        let mut phases = present.phases.clone();
        phases.extend(present.began.map(|began| (present.phase, began.elapsed())));
        phases
    }

    /// Says that nothing more is done.
    pub(super) fn end(&self) {
        end_phase(&mut self.present());
    }

    /// A table is being loaded until the guard is dropped.
    pub(super) fn loading(&self, table: &str) -> Loading {
        *self.present().tables.entry(table.to_owned()).or_default() += 1;
        Loading { progress: self.clone(), table: table.to_owned() }
    }

    /// The counters now.
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

/// See [`RestoreProgress::loading`].
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
