//! Walks the script ahead and queues data that can be read already.

use std::collections::VecDeque;

use super::super::data::DataError;
use super::DumpWorkers;
use super::task::{Parts, ReadTask};
use crate::archive::toc::TextRole;
use crate::archive::toc::{CopyData, DumpId, EntryData, Piece};
use crate::pipeline::DumpWriter;
use crate::sql::script::Script;

/// The size limit in bytes of the buffered text while the script is searched for data.
pub(super) const TEXT: usize = 1 << 20;

/// The maximum number of tables in one task.
const TABLES_AT_ONCE: usize = 32;

/// The pieces of a script whose data is read ahead.
pub(in crate::dump) struct Prefetcher<'a> {
    script: Script<'a>,
    has_ended: bool,
    /// Pieces that were found and not yet returned.
    pieces: VecDeque<PlannedPiece>,
    /// Bytes of text in `pieces`.
    text: usize,
    /// Small tables for the next task.
    group: ReadTask,
    /// The parts of the large table that is being queued.
    parts: Option<Parts>,
    part_size: u64,
    workers: DumpWorkers,
    /// Whether the leader must read something before any worker may use its session again.
    waits_for_leader: bool,
}

/// A piece of the script, and how its data is read.
pub(in crate::dump) enum PlannedPiece {
    Text {
        entry: Option<DumpId>,
        role: TextRole,
        text: String,
    },
    /// The leader reads it.
    OnLeader {
        entry: DumpId,
        name: String,
        data: EntryData,
    },
    /// Workers read it, as this number of COPYs.
    Parallel {
        entry: DumpId,
        name: String,
        shares: usize,
    },
}

impl<'a> Prefetcher<'a> {
    pub(in crate::dump) fn new(script: Script<'a>, workers: DumpWorkers, part_size: u64) -> Self {
        Prefetcher {
            script,
            has_ended: false,
            pieces: VecDeque::new(),
            text: 0,
            group: ReadTask::default(),
            parts: None,
            part_size,
            workers,
            waits_for_leader: false,
        }
    }

    /// Returns the next piece. The rows of a [`PlannedPiece::Parallel`] must be written before the next call.
    pub(in crate::dump) fn next(&mut self) -> Option<PlannedPiece> {
        self.hand_out();
        let piece = self.pieces.pop_front();
        match &piece {
            Some(PlannedPiece::Text { text, .. }) => self.text -= text.len(),
            Some(PlannedPiece::OnLeader { .. }) => self.waits_for_leader = false,
            Some(PlannedPiece::Parallel { .. }) | None => {}
        }
        piece
    }

    /// Writes the rows of the next COPY of the current table.
    pub(in crate::dump) async fn write_share(&mut self, writer: &mut DumpWriter) -> Result<(), DataError> {
        self.hand_out();
        self.workers.write_share(writer).await
    }

    /// Waits until the workers have ended. To be called after the last piece.
    pub(in crate::dump) async fn close(self) -> Result<(), DataError> {
        self.workers.close().await
    }

    /// Queues tasks while the channel has room, and finds at least one piece.
    fn hand_out(&mut self) {
        while self.workers.tasks.capacity() > 0 {
            let Some(task) = self.next_task() else { return };
            // The channel has room. A worker that has ended is detected when its rows are needed.
            let _ = self.workers.tasks.try_send(task);
        }
    }

    fn next_task(&mut self) -> Option<ReadTask> {
        loop {
            if let Some(task) = self.parts.as_mut().and_then(Iterator::next) {
                return Some(task);
            }
            self.parts = None;
            let is_full = self.group.shares() >= TABLES_AT_ONCE || self.group.bytes() >= self.part_size;
            if is_full || !self.read_piece() {
                let task = std::mem::take(&mut self.group);
                return (task.shares() > 0).then_some(task);
            }
            if self.parts.is_some() && self.group.shares() > 0 {
                return Some(std::mem::take(&mut self.group));
            }
        }
    }

    /// Takes the next piece of the script; returns false if there is none, or if enough text is buffered.
    fn read_piece(&mut self) -> bool {
        if self.has_ended || self.text >= TEXT || self.waits_for_leader {
            return false;
        }
        let piece = match self.script.next() {
            None => {
                self.has_ended = true;
                return false;
            }
            Some(Piece::Text { entry, role, text }) => {
                self.text += text.len();
                PlannedPiece::Text { entry, role, text }
            }
            Some(Piece::Data { entry, name, data }) => match self.plan(&data) {
                Some(shares) => PlannedPiece::Parallel { entry, name, shares },
                None => {
                    self.waits_for_leader = self.workers.leader_reads;
                    PlannedPiece::OnLeader { entry, name, data }
                }
            },
        };
        self.pieces.push_back(piece);
        true
    }

    /// Plans how workers read an entry's data, if they can; returns the number of COPYs.
    fn plan(&mut self, data: &EntryData) -> Option<usize> {
        let EntryData::Copy(copy) = data else { return None };
        let CopyData { query, table: Some(table), extent, .. } = copy.as_ref() else { return None };
        // Splitting into parts has no benefit for one session.
        let extent = extent.as_ref().filter(|_| !self.workers.leader_reads);
        if let Some(parts) = extent.and_then(|extent| Parts::of(table, extent, self.part_size)) {
            let shares = parts.number();
            self.parts = Some(parts);
            return Some(shares);
        }
        self.group.add(table, query, extent.map_or(0, |extent| extent.bytes));
        Some(1)
    }
}
