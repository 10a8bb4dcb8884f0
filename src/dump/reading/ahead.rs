//! Looking ahead in the script for data that can be read already.

use std::collections::VecDeque;

use super::super::data::DataError;
use super::Readers;
use super::task::{Parts, Task};
use crate::archive::toc::TextRole;
use crate::archive::toc::{CopyData, DumpId, EntryData, Piece};
use crate::pipeline::DumpWriter;
use crate::sql::script::Script;

/// Text that may wait while data is looked for behind it.
pub(super) const TEXT: usize = 1 << 20;

/// Tables that are read in one go, at most.
const TABLES_AT_ONCE: usize = 32;

/// The pieces of a script, whose data is being read ahead.
pub(in crate::dump) struct Ahead<'a> {
    script: Script<'a>,
    has_ended: bool,
    /// What was found and not handed over.
    pieces: VecDeque<Planned>,
    /// Bytes of text in it.
    text: usize,
    /// Small tables for the next task.
    group: Task,
    /// The large table that is being handed out.
    parts: Option<Parts>,
    part_size: u64,
    readers: Readers,
    /// Whether the dump's own session is needed for something before any reader may use it again.
    is_owner_awaited: bool,
}

/// A piece of the script, and how its data is read.
pub(in crate::dump) enum Planned {
    Text {
        entry: Option<DumpId>,
        role: TextRole,
        text: String,
    },
    /// The dump's own session reads it.
    Here {
        entry: DumpId,
        name: String,
        data: EntryData,
    },
    /// Readers read it, in so many shares.
    Shares {
        entry: DumpId,
        name: String,
        shares: usize,
    },
}

impl<'a> Ahead<'a> {
    pub(in crate::dump) fn new(script: Script<'a>, readers: Readers, part_size: u64) -> Self {
        Ahead {
            script,
            has_ended: false,
            pieces: VecDeque::new(),
            text: 0,
            group: Task::default(),
            parts: None,
            part_size,
            readers,
            is_owner_awaited: false,
        }
    }

    /// The next piece. What [`Planned::Shares`] are told of must be written before the next call.
    pub(in crate::dump) fn next(&mut self) -> Option<Planned> {
        self.hand_out();
        let piece = self.pieces.pop_front();
        match &piece {
            Some(Planned::Text { text, .. }) => self.text -= text.len(),
            Some(Planned::Here { .. }) => self.is_owner_awaited = false,
            Some(Planned::Shares { .. }) | None => {}
        }
        piece
    }

    /// Writes one share of the present table's rows.
    pub(in crate::dump) async fn write_share(&mut self, writer: &mut DumpWriter) -> Result<(), DataError> {
        self.hand_out();
        self.readers.write_share(writer).await
    }

    /// Waits for the readers' end. To be called when there are no more pieces.
    pub(in crate::dump) async fn close(self) -> Result<(), DataError> {
        self.readers.close().await
    }

    /// Hands out tasks as long as there is room for them, and finds at least one piece.
    fn hand_out(&mut self) {
        while self.readers.tasks.capacity() > 0 {
            let Some(task) = self.next_task() else { return };
            // There is room, and readers that have ended are noticed when their rows are wanted.
            let _ = self.readers.tasks.try_send(task);
        }
    }

    fn next_task(&mut self) -> Option<Task> {
        loop {
            if let Some(task) = self.parts.as_mut().and_then(Iterator::next) {
                return Some(task);
            }
            self.parts = None;
            let is_full = self.group.shares() >= TABLES_AT_ONCE || self.group.bytes() >= self.part_size;
            if is_full || !self.look_further() {
                let task = std::mem::take(&mut self.group);
                return (task.shares() > 0).then_some(task);
            }
            if self.parts.is_some() && self.group.shares() > 0 {
                return Some(std::mem::take(&mut self.group));
            }
        }
    }

    /// Takes the next piece of the script; false if there is none, or enough waits already.
    fn look_further(&mut self) -> bool {
        if self.has_ended || self.text >= TEXT || self.is_owner_awaited {
            return false;
        }
        let piece = match self.script.next() {
            None => {
                self.has_ended = true;
                return false;
            }
            Some(Piece::Text { entry, role, text }) => {
                self.text += text.len();
                Planned::Text { entry, role, text }
            }
            Some(Piece::Data { entry, name, data }) => match self.plan(&data) {
                Some(shares) => Planned::Shares { entry, name, shares },
                None => {
                    self.is_owner_awaited = self.readers.owner_reads;
                    Planned::Here { entry, name, data }
                }
            },
        };
        self.pieces.push_back(piece);
        true
    }

    /// Plans the reading of an entry's data, if readers can do it; returns the number of shares.
    fn plan(&mut self, data: &EntryData) -> Option<usize> {
        let EntryData::Copy(copy) = data else { return None };
        let CopyData { query, table: Some(table), extent, .. } = copy.as_ref() else { return None };
        // One session alone gains nothing from parts.
        let extent = extent.as_ref().filter(|_| !self.readers.owner_reads);
        if let Some(parts) = extent.and_then(|extent| Parts::of(table, extent, self.part_size)) {
            let shares = parts.number();
            self.parts = Some(parts);
            return Some(shares);
        }
        self.group.add(table, query, extent.map_or(0, |extent| extent.bytes));
        Some(1)
    }
}
