//! The positions of each entry's text and rows in a finished dump, as recorded by the pipeline. They are
//! looked up by entry while the table of contents is written.

use super::toc::{DumpId, TextRole};
use super::toc_file::{FileData, Member, RawSpan};

/// The position of a range of text in the dump, as recorded by the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPlace {
    /// The entry of the text; `None` for the frame.
    pub entry: Option<DumpId>,
    /// The role of the text.
    pub role: TextRole,
    /// The position of the text.
    pub raw: RawSpan,
}

/// The position of an entry's rows in the dump, as recorded by the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPlace {
    /// The entry of the rows.
    pub entry: DumpId,
    /// The position, the number and the digest of the rows.
    pub data: FileData,
}

/// The description of a finished dump by the pipeline, from which the table of contents is made.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The members of the object.
    pub members: Vec<Member>,
    /// The CRC-32 of each member; empty if members have their own checksums.
    pub checksums: Vec<u32>,
    /// The text, in order.
    pub text: Vec<TextPlace>,
    /// The rows, in order.
    pub data: Vec<DataPlace>,
}

impl Layout {
    /// Sorts the positions for lookup by entry.
    pub fn into_index(mut self) -> LayoutIndex {
        // The sort is stable, so an entry's text stays in the order of the dump.
        self.text.sort_by_key(|place| place.entry);
        self.data.sort_by_key(|place| place.entry);
        LayoutIndex(self)
    }
}

/// A [`Layout`] in the order of the entries' ids.
#[derive(Clone, Debug)]
pub struct LayoutIndex(Layout);

impl LayoutIndex {
    /// Returns the positions of an entry's text, or of the frame's text for `None`.
    pub(super) fn text(&self, entry: Option<DumpId>) -> &[TextPlace] {
        let text = &self.0.text;
        let (from, to) =
            (text.partition_point(|p| p.entry < entry), text.partition_point(|p| p.entry <= entry));
        text.get(from..to).unwrap_or_default()
    }

    /// Returns the position of an entry's rows, if it has any.
    pub fn data(&self, entry: DumpId) -> Option<FileData> {
        let found = self.0.data.binary_search_by_key(&entry, |place| place.entry).ok()?;
        self.0.data.get(found).map(|place| place.data)
    }

    /// The members of the object.
    pub(super) fn members(&self) -> &[Member] {
        &self.0.members
    }

    /// Returns the CRC-32 of each member; empty if members have their own checksums.
    pub(super) fn checksums(&self) -> &[u32] {
        &self.0.checksums
    }
}
