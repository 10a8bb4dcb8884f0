//! What has to be known of all entries before the first is written.

use crate::archive::required::{RestorePass, SectionTracker};
use crate::archive::toc::TocEntry;
use crate::sql::DumpOptions;
use crate::sql::archive_dependencies::HaveEntries;
use crate::sql::entries::{Entries, IdMarks};
use crate::sql::error::Result;
use crate::sql::object::{Catalog, DumpId};
use crate::sql::warning::Warning;

/// A first walk over all entries, on which none is kept.
#[derive(Debug)]
pub struct Survey {
    /// How many entries there are, wanted or not.
    pub(in crate::sql) entries: u64,
    /// Whose entries are wanted.
    pub(in crate::sql) have_entries: HaveEntries,
    /// Whether any definition is wanted.
    pub(super) writes_definitions: bool,
    /// For the walk back.
    pub(super) marks: IdMarks,
    has_pass: [bool; RestorePass::ALL.len()],
}

impl Survey {
    /// Has every entry written once. Fails if one cannot be, which is thus known before the first byte
    /// of the dump. Returns what the user should know beside it.
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

    /// Whether any entry is written in this pass.
    pub(super) fn has(&self, pass: RestorePass) -> bool {
        self.has_pass[pass as usize]
    }
}
