//! Facts about all entries that must be known before the first one is written.

use crate::archive::required::{RestorePass, SectionTracker};
use crate::archive::toc::TocEntry;
use crate::sql::DumpOptions;
use crate::sql::archive_dependencies::HaveEntries;
use crate::sql::entries::{Entries, IdMarks};
use crate::sql::error::Result;
use crate::sql::object::{Catalog, DumpId};
use crate::sql::warning::Warning;

/// The result of a first walk over all entries, which keeps none of them.
#[derive(Debug)]
pub struct Survey {
    /// The number of entries, including those that are not selected.
    pub(in crate::sql) entries: u64,
    /// The objects with a selected entry.
    pub(in crate::sql) have_entries: HaveEntries,
    /// Whether any definition is selected.
    pub(super) writes_definitions: bool,
    /// The id marks for the backward walk.
    pub(super) marks: IdMarks,
    has_pass: [bool; RestorePass::ALL.len()],
}

impl Survey {
    /// Writes every entry once and returns the survey and the warnings. Fails if an entry cannot be written,
    /// so that the error is reported before the first byte of the dump.
    pub(in crate::sql) fn of(
        catalog: &Catalog,
        options: &DumpOptions,
        order: &[DumpId],
    ) -> Result<(Survey, Vec<Warning>)> {
        let (mut entries, mut writes_definitions, mut has_pass) = (0, false, [false; RestorePass::ALL.len()]);
        let (mut sections, switches) = (SectionTracker::default(), options.switches());
        let mut have_entries = HaveEntries::default();
        let (marks, mut warnings) = Entries::new(catalog, options, order).survey(|entry: &TocEntry| {
            entries += 1;
            let key = entry.key();
            let wanted = key.wanted(sections.step(entry.section), &switches);
            writes_definitions |= wanted.schema;
            if wanted.any() {
                has_pass[key.pass() as usize] = true;
                have_entries.note(entry.id);
            }
        })?;
        let late = Warning::new("archive items not in correct section order");
        warnings.extend(std::iter::repeat_n(late, sections.late()));
        Ok((Survey { entries, have_entries, writes_definitions, marks, has_pass }, warnings))
    }

    /// Whether an entry is written in this pass.
    pub(super) fn has(&self, pass: RestorePass) -> bool {
        self.has_pass[pass as usize]
    }
}
