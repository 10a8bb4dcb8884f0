//! What an entry of a table of contents says must come before it: pg_dump's archives hold the same. In the plain
//! text only those dependencies are told that an entry has beside its object's.

use std::collections::HashSet;

use super::object::{Catalog, DumpId, ObjectKind};
use crate::archive::toc::TocEntry;

/// Which objects have an entry of their own, by their ids.
#[derive(Debug, Default)]
pub(super) struct HaveEntries(Vec<bool>);

impl HaveEntries {
    pub(super) fn note(&mut self, id: DumpId) {
        let at = id.0 as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, false);
        }
        self.0[at] = true;
    }

    fn has(&self, id: DumpId) -> bool {
        self.0.get(id.0 as usize).copied().unwrap_or_default()
    }
}

/// Adds the dependencies of the entry's object: those that have an entry, and in the place of any other those
/// that it depends on itself.
pub(super) fn complete(mut entry: TocEntry, catalog: &Catalog, have: &HaveEntries) -> TocEntry {
    let is_object = entry.id.0 as usize <= catalog.len();
    if !entry.dependencies.is_empty() || !is_object {
        return entry;
    }
    // From the last to the first, so that they come off in their order.
    let mut ahead: Vec<DumpId> = catalog[entry.id].dependencies.iter().rev().copied().collect();
    let mut seen = HashSet::new();
    while let Some(id) = ahead.pop() {
        if !seen.insert(id) {
            continue;
        }
        if have.has(id) {
            entry.dependencies.push(id);
        } else if !is_boundary(catalog, id) {
            ahead.extend(catalog[id].dependencies.iter().rev());
        }
    }
    entry
}

/// Everything after a boundary depends on all that is before it, which says nothing.
fn is_boundary(catalog: &Catalog, id: DumpId) -> bool {
    matches!(catalog[id].kind(), ObjectKind::PreDataBoundary | ObjectKind::PostDataBoundary)
}
