//! The entries of a dump, created on demand and not kept: a database has hundreds of thousands, and keeping
//! them in addition to the catalog would double the memory of a dump.
//!
//! Writing an entry is cheap and has no side effects, so each walk (a pass of the script, the table of
//! contents) writes the entries again. Invariant: an entry has the same id on every walk.

use std::collections::VecDeque;

use super::emit::{Emitter, emit_database, emit_object};
use super::error::Result;
use super::object::{Catalog, DumpId};
use super::options::DumpOptions;
use super::warning::Warning;
use crate::archive::toc::TocEntry;

/// The last id before each object's entries were written, so that a backward walk assigns the same ids.
pub(super) type IdMarks = Vec<u32>;

/// An iterator over the entries in dump order.
#[derive(Debug)]
pub struct Entries<'a> {
    em: Emitter<'a>,
    order: &'a [DumpId],
    /// The number of objects of `order` already written; the database precedes the first.
    written: usize,
    has_begun: bool,
    ready: VecDeque<TocEntry>,
}

impl<'a> Entries<'a> {
    /// Walks the objects in the given order. The requested components of each object must be a subset of the
    /// components it has.
    pub(super) fn new(catalog: &'a Catalog, options: &'a DumpOptions, order: &'a [DumpId]) -> Self {
        let em = Emitter::new(catalog, options);
        Entries { em, order, written: 0, has_begun: false, ready: VecDeque::new() }
    }

    /// Walks all entries and passes each to `see`. Returns the id marks and the warnings. Fails if an entry
    /// could not be written.
    pub(super) fn survey(mut self, mut see: impl FnMut(&TocEntry)) -> Result<(IdMarks, Vec<Warning>)> {
        let mut marks = IdMarks::with_capacity(self.order.len());
        loop {
            self.ready.drain(..).for_each(|entry| see(&entry));
            marks.push(self.em.last_id());
            if !self.write_next() {
                break;
            }
        }
        // The first mark is from before the database's entries, the second from before the first object's.
        marks.remove(0);
        Ok((marks, self.em.finish()?))
    }

    /// Writes the entries of the next object; returns false if none is left.
    fn write_next(&mut self) -> bool {
        if self.has_begun {
            let Some(id) = self.order.get(self.written) else { return false };
            self.written += 1;
            emit_object(&mut self.em, *id);
        } else {
            self.has_begun = true;
            emit_database(&mut self.em);
        }
        self.ready.extend(self.em.take());
        true
    }
}

impl Iterator for Entries<'_> {
    type Item = TocEntry;

    fn next(&mut self) -> Option<TocEntry> {
        while self.ready.is_empty() && self.write_next() {}
        self.ready.pop_front()
    }
}

/// An iterator over the entries from the last to the first.
#[derive(Debug)]
pub(super) struct Backwards<'a> {
    em: Emitter<'a>,
    order: &'a [DumpId],
    marks: &'a [u32],
    is_done: bool,
    ready: Vec<TocEntry>,
}

impl<'a> Backwards<'a> {
    /// Walks the same objects as [`Entries::new`], with the marks that [`Entries::survey`] returned.
    pub(super) fn new(
        catalog: &'a Catalog,
        options: &'a DumpOptions,
        order: &'a [DumpId],
        marks: &'a [u32],
    ) -> Self {
        Backwards { em: Emitter::new(catalog, options), order, marks, is_done: false, ready: Vec::new() }
    }

    fn write_next(&mut self) -> bool {
        if let Some((id, before)) = self.order.split_last() {
            self.order = before;
            self.em.go_on_from(self.marks.get(before.len()).copied().unwrap_or_default());
            emit_object(&mut self.em, *id);
        } else if !self.is_done {
            self.is_done = true;
            self.em.start_over();
            emit_database(&mut self.em);
        } else {
            return false;
        }
        self.ready.extend(self.em.take());
        true
    }
}

impl Iterator for Backwards<'_> {
    type Item = TocEntry;

    fn next(&mut self) -> Option<TocEntry> {
        while self.ready.is_empty() && self.write_next() {}
        self.ready.pop()
    }
}
