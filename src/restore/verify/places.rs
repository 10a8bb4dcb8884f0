//! Checks the text at the offsets in the table of contents: each entry's banner, each COPY statement, and the
//! frame of settings and comments around them.
//!
//! Memory: 32 bytes for each region, and the text of one region.

use super::super::backup::{Problem, Problems};
use super::super::form;
use crate::archive::toc_check::entry_name;
use crate::archive::toc_file::{FileEntry, RawSpan, TocFile};
use crate::protocol::encoding::to_bytes;

/// The regions of a dump, in its order.
pub(super) struct DumpRegions<'a> {
    toc: &'a TocFile,
    places: Vec<DumpRegion>,
    /// The first region whose end has not been reached.
    current: usize,
    /// The text of this region so far.
    text: Vec<u8>,
}

#[derive(Clone, Copy)]
struct DumpRegion {
    raw: RawSpan,
    kind: PlaceKind,
}

/// The expected text; an entry is given by its index.
#[derive(Clone, Copy)]
enum PlaceKind {
    Frame,
    Banner(u32),
    Copy(u32),
}

impl<'a> DumpRegions<'a> {
    /// Collects the regions of a consistent table of contents, in which they do not overlap.
    pub(super) fn of(toc: &'a TocFile) -> Self {
        let frame = toc.frame.iter().filter(|_| !toc.is_of_globals());
        let mut places: Vec<DumpRegion> =
            frame.map(|span| DumpRegion { raw: *span, kind: PlaceKind::Frame }).collect();
        for (index, entry) in (0u32..).zip(&toc.entries) {
            if let Some(text) = entry.text.first() {
                let length = text.length.min(form::head_length(entry));
                places.push(DumpRegion { raw: RawSpan { length, ..*text }, kind: PlaceKind::Banner(index) });
            }
            places.extend(entry.copy.map(|raw| DumpRegion { raw, kind: PlaceKind::Copy(index) }));
        }
        places.sort_by_key(|place| place.raw.offset);
        DumpRegions { toc, places, current: 0, text: Vec::new() }
    }

    /// Takes the text at this offset; offsets must increase.
    pub(super) fn feed(&mut self, offset: u64, text: &[u8], problems: &mut Problems) {
        let end = offset + text.len() as u64;
        while let Some(place) = self.places.get(self.current).copied() {
            let (from, to) = (place.raw.offset.max(offset), place.raw.end().min(end));
            // Both are within the text.
            if from < to
                && let Some(part) = text.get((from - offset) as usize..(to - offset) as usize)
            {
                self.text.extend_from_slice(part);
            }
            if place.raw.end() > end {
                return;
            }
            // A region that was not read completely is in a damaged member, which is reported.
            if self.text.len() as u64 == place.raw.length
                && let Some(what) = self.fault(place.kind)
            {
                problems.push(Problem::Text { what });
            }
            self.text.clear();
            self.current += 1;
        }
    }

    fn entry(&self, index: u32) -> Option<&'a FileEntry> {
        self.toc.entries.get(usize::try_from(index).ok()?)
    }

    fn fault(&self, kind: PlaceKind) -> Option<String> {
        match kind {
            PlaceKind::Frame => form::foreign_line(&self.text).map(form::foreign_frame),
            PlaceKind::Banner(index) => {
                let entry = self.entry(index).filter(|entry| !form::is_of(entry, &self.text))?;
                Some(format!("the text of {} is not at its offset", entry_name(entry)))
            }
            PlaceKind::Copy(index) => {
                let entry = self.entry(index)?;
                let statement = to_bytes(entry.copy_statement.as_deref().unwrap_or_default());
                (statement != self.text)
                    .then(|| format!("the COPY statement of {} is not at its offset", entry_name(entry)))
            }
        }
    }
}
