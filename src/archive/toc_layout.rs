//! Where the text and the rows of each entry lie in a finished dump, as the pipeline recorded it, looked up by entry
//! while the table of contents is written.

use super::toc::{DumpId, TextRole};
use super::toc_file::{FileData, Member, RawSpan};

/// Where a stretch of text lies in the dump, as the pipeline noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPlace {
    /// Whose text it is; `None` for the frame.
    pub entry: Option<DumpId>,
    /// What it is.
    pub role: TextRole,
    /// Where it lies.
    pub raw: RawSpan,
}

/// Where an entry's rows lie in the dump, as the pipeline noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPlace {
    /// Whose rows they are.
    pub entry: DumpId,
    /// Where, how many, and their digest.
    pub data: FileData,
}

/// What the pipeline knows of a finished dump, to be made into a table of contents.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The members of the object.
    pub members: Vec<Member>,
    /// The CRC-32 of each; empty where they have checksums of their own.
    pub checksums: Vec<u32>,
    /// The text, in order.
    pub text: Vec<TextPlace>,
    /// The rows, in order.
    pub data: Vec<DataPlace>,
}

impl Layout {
    /// Sorts the places, to be looked up by entry.
    pub fn into_index(mut self) -> LayoutIndex {
        // Stable: an entry's text stays in the order of the dump.
        self.text.sort_by_key(|place| place.entry);
        self.data.sort_by_key(|place| place.entry);
        LayoutIndex(self)
    }
}

/// A [`Layout`] in the order of the entries' ids.
#[derive(Clone, Debug)]
pub struct LayoutIndex(Layout);

impl LayoutIndex {
    /// Where an entry's text lies; that of the frame for `None`.
    pub(super) fn text(&self, entry: Option<DumpId>) -> &[TextPlace] {
        let text = &self.0.text;
        let (from, to) =
            (text.partition_point(|p| p.entry < entry), text.partition_point(|p| p.entry <= entry));
        text.get(from..to).unwrap_or_default()
    }

    /// Where an entry's rows lie, if it has any.
    pub fn data(&self, entry: DumpId) -> Option<FileData> {
        let found = self.0.data.binary_search_by_key(&entry, |place| place.entry).ok()?;
        self.0.data.get(found).map(|place| place.data)
    }

    /// The members of the object.
    pub(super) fn members(&self) -> &[Member] {
        &self.0.members
    }

    /// The CRC-32 of each member; empty where they have checksums of their own.
    pub(super) fn checksums(&self) -> &[u32] {
        &self.0.checksums
    }
}
