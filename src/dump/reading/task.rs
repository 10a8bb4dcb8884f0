//! One task of a worker, and its statements.

use crate::archive::toc::HeapExtent;
use crate::protocol::SnapshotId;
use crate::sql::put;

/// Settings that make the planner answer a condition on `ctid` with a scan of only those blocks, in their
/// order. Any other plan would read the whole table for each part, and parallel query would change the order
/// of the rows.
pub(super) const RANGE_SCANS: &str = "SET enable_tidscan TO on; \
                                      SET enable_seqscan TO off; \
                                      SET enable_indexscan TO off; \
                                      SET enable_indexonlyscan TO off; \
                                      SET enable_bitmapscan TO off; \
                                      SET max_parallel_workers_per_gather TO 0; ";

const USUAL_SCANS: &str = "RESET enable_tidscan; \
                           RESET enable_seqscan; \
                           RESET enable_indexscan; \
                           RESET enable_indexonlyscan; \
                           RESET enable_bitmapscan; \
                           RESET max_parallel_workers_per_gather";

/// Some small tables, or a part of a large one.
#[derive(Debug, Default)]
pub(super) struct ReadTask {
    /// One COPY for each table or part, in the order of the dump.
    copies: Vec<String>,
    /// The tables to lock, qualified and quoted.
    tables: Vec<String>,
    /// The approximate size in bytes.
    bytes: u64,
    /// Whether this is a part of a table, not whole tables.
    is_part: bool,
}

impl ReadTask {
    /// Creates the task for a part of a large table.
    fn part(table: &str, copy: String) -> Self {
        ReadTask { copies: vec![copy], tables: vec![table.to_owned()], bytes: 0, is_part: true }
    }

    /// Adds a whole table.
    pub(super) fn add(&mut self, table: &str, copy: &str, bytes: u64) {
        self.copies.push(copy.to_owned());
        self.tables.push(table.to_owned());
        self.bytes += bytes;
    }

    /// Returns the number of COPYs.
    pub(super) fn shares(&self) -> usize {
        self.copies.len()
    }

    /// Returns the approximate size in bytes; 0 if it is unknown.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the statements for a worker's session: a transaction on the dump's snapshot that holds only
    /// the locks of this task. The locks are taken with NOWAIT: a session ahead in the lock queue may be
    /// waiting for the dump.
    pub(super) fn script(&self, snapshot: &SnapshotId) -> String {
        let mut sql =
            String::with_capacity(200 + self.copies.iter().map(|copy| 3 * copy.len()).sum::<usize>());
        put!(
            sql,
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'; "
        );
        sql.push_str("LOCK TABLE ");
        for (index, table) in self.tables.iter().enumerate() {
            put!(sql, "{}ONLY {table}", if index == 0 { "" } else { ", " });
        }
        sql.push_str(" IN ACCESS SHARE MODE NOWAIT; ");
        self.copies.iter().for_each(|copy| put!(sql, "{copy} "));
        sql.push_str("COMMIT");
        sql
    }

    /// Returns the statements for the leader's session, which holds the locks already.
    pub(super) fn leader_script(&self) -> String {
        let copies = self.copies.join(" ");
        if self.is_part { format!("{RANGE_SCANS}{copies} {USUAL_SCANS}") } else { copies }
    }
}

/// The parts of a large table, in the order of its blocks.
#[derive(Debug)]
pub(super) struct Parts {
    table: String,
    extent: HeapExtent,
    blocks_in_part: u32,
    /// The first block of the next part.
    block: Option<u32>,
}

impl Parts {
    /// Splits a table into parts of about `part_size` bytes; `None` if the table is too small for that.
    pub(super) fn of(table: &str, extent: &HeapExtent, part_size: u64) -> Option<Self> {
        if extent.bytes < 2 * part_size {
            return None;
        }
        // The number of blocks in a part, in proportion to its size. It is at most half of all blocks.
        let blocks_in_part = f64::from(extent.blocks) * (part_size as f64 / extent.bytes as f64);
        let blocks_in_part = (blocks_in_part as u32).max(1);
        let parts = Parts { table: table.to_owned(), extent: extent.clone(), blocks_in_part, block: Some(0) };
        (parts.number() > 1).then_some(parts)
    }

    /// Returns the number of parts.
    pub(super) fn number(&self) -> usize {
        self.extent.blocks.div_ceil(self.blocks_in_part) as usize
    }
}

impl Iterator for Parts {
    type Item = ReadTask;

    fn next(&mut self) -> Option<ReadTask> {
        let first = self.block?;
        // The last part has no upper bound: the table may have grown since it was measured.
        let end = first.checked_add(self.blocks_in_part).filter(|end| *end < self.extent.blocks);
        self.block = end;
        let mut copy = format!("COPY ({} WHERE ctid ", self.extent.select);
        match (first, end) {
            (0, None) => copy.push_str("IS NOT NULL"),
            (0, Some(end)) => put!(copy, "< '({end},0)'::pg_catalog.tid"),
            (first, None) => put!(copy, ">= '({first},0)'::pg_catalog.tid"),
            (first, Some(end)) => {
                put!(copy, ">= '({first},0)'::pg_catalog.tid AND ctid < '({end},0)'::pg_catalog.tid");
            }
        }
        copy.push_str(") TO stdout;");
        Some(ReadTask::part(&self.table, copy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(blocks: u32, bytes: u64, part_size: u64) -> Vec<String> {
        let extent = HeapExtent { select: "SELECT a FROM ONLY s.t".to_owned(), blocks, bytes };
        let parts = Parts::of("s.t", &extent, part_size);
        let number = parts.as_ref().map_or(0, Parts::number);
        let copies: Vec<_> = parts.into_iter().flatten().flat_map(|task| task.copies).collect();
        assert_eq!(copies.len(), number);
        copies
    }

    #[test]
    fn parts_are_without_gaps_and_the_last_is_open() {
        assert_eq!(
            parts(10, 1000, 400),
            [
                "COPY (SELECT a FROM ONLY s.t WHERE ctid < '(4,0)'::pg_catalog.tid) TO stdout;",
                "COPY (SELECT a FROM ONLY s.t WHERE ctid >= '(4,0)'::pg_catalog.tid \
                 AND ctid < '(8,0)'::pg_catalog.tid) TO stdout;",
                "COPY (SELECT a FROM ONLY s.t WHERE ctid >= '(8,0)'::pg_catalog.tid) TO stdout;",
            ]
        );
        assert_eq!(parts(8, 1000, 500).len(), 2);
        // Most of the data may be out of line (TOAST), and a part has at least one block.
        assert_eq!(parts(3, 1 << 40, 1 << 20).len(), 3);
        assert_eq!(parts(u32::MAX, 35 << 40, 3 << 40).len(), 12);
        assert!(parts(1, 1 << 40, 1 << 20).is_empty() && parts(10, 1000, 501).is_empty());
    }

    #[test]
    fn a_task_locks_without_waiting_before_it_reads() {
        let mut task = ReadTask::default();
        task.add("a", "COPY a TO stdout;", 5);
        task.add("s.b", "COPY s.b TO stdout;", 6);
        let snapshot = SnapshotId::parse("00000003-0000001B-1").expect("it is one");
        assert_eq!(
            task.script(&snapshot),
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '00000003-0000001B-1'; \
             LOCK TABLE ONLY a, ONLY s.b IN ACCESS SHARE MODE NOWAIT; COPY a TO stdout; COPY s.b TO stdout; COMMIT"
        );
        assert_eq!(task.leader_script(), "COPY a TO stdout; COPY s.b TO stdout;");
        assert_eq!((task.shares(), task.bytes()), (2, 11));
    }
}
