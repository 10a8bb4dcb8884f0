//! Limits the size of the server's answers, because rows that are collected use memory.
//!
//! The limit on catalog queries applies to all of a transaction together, because a dump keeps all of their
//! results.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::super::error::AnswerLimit;

/// Default limit on the answers to catalog queries in bytes (`BACKUP_CATALOG_LIMIT`). It suffices for a
/// million tables; one with ten columns uses 2.4 KiB.
pub const CATALOG_LIMIT: u64 = 4 << 30;

/// Limit on the answer to one of the program's own queries that return few rows (settings, names), in bytes.
const SHORT: u64 = 16 << 20;

/// The driver's overhead per row in bytes.
const ROW: u64 = 64;

/// The kind of the current request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::protocol) enum AnswerKind {
    /// A query that returns few rows.
    #[default]
    Short,
    /// A catalog query.
    Catalog,
    /// A query whose rows are not collected.
    Passing,
}

/// An [`AnswerKind`] that the connection's task reads and its sessions set.
#[derive(Debug, Default)]
struct CurrentKind(AtomicU8);

impl CurrentKind {
    fn set(&self, kind: AnswerKind) {
        self.0.store(kind as u8, Ordering::Relaxed);
    }

    fn get(&self) -> AnswerKind {
        let kinds = [AnswerKind::Short, AnswerKind::Catalog, AnswerKind::Passing];
        let code = self.0.load(Ordering::Relaxed);
        kinds.into_iter().find(|kind| *kind as u8 == code).unwrap_or_default()
    }
}

/// The size of the answers so far, and their limits.
#[derive(Debug)]
pub(in crate::protocol) struct Answers {
    request: CurrentKind,
    catalog_limit: AtomicU64,
    /// Bytes of the current answer.
    bytes: AtomicU64,
    /// Bytes of answers to catalog queries since the transaction began.
    catalog_bytes: AtomicU64,
    exceeded: OnceLock<AnswerLimit>,
}

impl Default for Answers {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let catalog_limit = AtomicU64::new(CATALOG_LIMIT);
        Answers {
            request: CurrentKind::default(),
            catalog_limit,
            bytes: zero(),
            catalog_bytes: zero(),
            exceeded: OnceLock::new(),
        }
    }
}

impl Answers {
    /// Sets the limit on the answers to catalog queries.
    pub(in crate::protocol) fn limit_catalogs(&self, bytes: u64) {
        self.catalog_limit.store(bytes, Ordering::Relaxed);
    }

    /// Sets the kind of the next request.
    pub(in crate::protocol) fn expect(&self, request: AnswerKind) {
        self.request.set(request);
    }

    /// Returns the limit that was exceeded, if any. The connection is unusable after that.
    pub(in crate::protocol) fn exceeded(&self) -> Option<AnswerLimit> {
        self.exceeded.get().copied()
    }

    /// Counts a row. Returns false if the limit is exceeded.
    pub(super) fn add_row(&self, length: usize) -> bool {
        let cost = length as u64 + ROW;
        let add = |sum: &AtomicU64| sum.fetch_add(cost, Ordering::Relaxed).saturating_add(cost);
        let (sum, limit) = match self.request.get() {
            AnswerKind::Short => (add(&self.bytes), AnswerLimit::Question(SHORT)),
            AnswerKind::Catalog => {
                let limit = self.catalog_limit.load(Ordering::Relaxed);
                (add(&self.catalog_bytes), AnswerLimit::Catalogs(limit))
            }
            AnswerKind::Passing => return true,
        };
        let fits = sum <= limit.bytes();
        if !fits {
            let _ = self.exceeded.set(limit);
        }
        fits
    }

    /// Ends an answer: the server is ready for the next request.
    pub(super) fn end(&self, is_in_transaction: bool) {
        self.bytes.store(0, Ordering::Relaxed);
        if !is_in_transaction {
            self.catalog_bytes.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_limited_alone_and_catalogs_over_a_transaction() {
        let answers = Answers::default();
        let most = usize::try_from(SHORT - ROW).unwrap();
        assert!(answers.add_row(most) && !answers.add_row(1));
        assert_eq!(answers.exceeded(), Some(AnswerLimit::Question(SHORT)));
        answers.end(true);
        assert!(answers.add_row(most), "another answer");

        let answers = Answers::default();
        answers.limit_catalogs(1000);
        answers.expect(AnswerKind::Catalog);
        assert!(answers.add_row(500));
        answers.end(true);
        assert!(!answers.add_row(500), "the same transaction");
        assert_eq!(answers.exceeded(), Some(AnswerLimit::Catalogs(1000)));
        answers.end(false);
        assert!(answers.add_row(500), "another transaction");
        answers.expect(AnswerKind::Passing);
        assert!(answers.add_row(usize::MAX / 2), "nothing is kept");
    }
}
