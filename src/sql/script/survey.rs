//! What has to be known of all entries before the first is written.

use super::wanted::{PASSES, Pass, Wanted, pass_of, wanted_of};
use crate::archive::toc::{Section, TocEntry};
use crate::sql::DumpOptions;
use crate::sql::entries::{Entries, Marks};
use crate::sql::error::Result;
use crate::sql::object::{Catalog, DumpId};
use crate::sql::warning::Warning;

/// A first walk over all entries, on which none is kept.
#[derive(Debug)]
pub struct Survey {
    /// How many entries there are, wanted or not.
    pub(in crate::sql) entries: u64,
    /// Whether any definition is wanted.
    pub(super) writes_definitions: bool,
    /// For the walk back.
    pub(super) marks: Marks,
    has_pass: [bool; PASSES.len()],
}

impl Survey {
    /// Has every entry written once. Fails if one cannot be, which is thus known before the first byte
    /// of the dump. Returns what the user should know beside it.
    pub(in crate::sql) fn of(
        catalog: &Catalog,
        options: &DumpOptions,
        order: &[DumpId],
    ) -> Result<(Survey, Vec<Warning>)> {
        let (mut entries, mut writes_definitions, mut has_pass) = (0, false, [false; PASSES.len()]);
        let mut sections = Sections::default();
        let (marks, mut warnings) = Entries::new(catalog, options, order).survey(|entry: &TocEntry| {
            entries += 1;
            let wanted = sections.wanted(entry, options);
            writes_definitions |= wanted.schema;
            if wanted.any() {
                has_pass[pass_of(entry) as usize] = true;
            }
        })?;
        let late = Warning::new("archive items not in correct section order");
        warnings.extend(std::iter::repeat_n(late, sections.late));
        Ok((Survey { entries, writes_definitions, marks, has_pass }, warnings))
    }

    /// Whether any entry is written in this pass.
    pub(super) fn has(&self, pass: Pass) -> bool {
        self.has_pass[pass as usize]
    }
}

/// Follows the sections along a walk over the entries: an entry of no section belongs to the section of
/// those before it.
#[derive(Debug)]
pub(super) struct Sections {
    current: Section,
    /// Entries that came after a later section had begun, as happens where a loop's repair moves an
    /// object behind the data but not what depends on it.
    late: usize,
}

impl Default for Sections {
    fn default() -> Self {
        Sections { current: Section::PreData, late: 0 }
    }
}

impl Sections {
    /// Which parts of the next entry are written.
    pub(super) fn wanted(&mut self, entry: &TocEntry, options: &DumpOptions) -> Wanted {
        let is_late = match entry.section {
            Section::None | Section::PostData => false,
            Section::PreData => self.current != Section::PreData,
            Section::Data => self.current == Section::PostData,
        };
        self.late += usize::from(is_late);
        if entry.section != Section::None {
            self.current = entry.section;
        }
        wanted_of(entry, self.current, options)
    }
}
