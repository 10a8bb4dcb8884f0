//! The dependencies of TOC entries, the same as in pg_dump's archives. The plain text lists only the
//! dependencies that an entry has in addition to those of its object.

use std::collections::HashSet;

use super::object::{Catalog, DumpId, ObjectKind};
use crate::archive::toc::TocEntry;

/// The ids of the objects that have an entry of their own.
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

/// Adds the dependencies of the entry's object. A dependency without an entry is replaced by its own
/// dependencies. An entry that already has dependencies, or that has no object, is not changed.
pub(super) fn complete(mut entry: TocEntry, catalog: &Catalog, have: &HaveEntries) -> TocEntry {
    let is_object = entry.id.0 as usize <= catalog.len();
    if !entry.dependencies.is_empty() || !is_object {
        return entry;
    }
    // Pushed from the last to the first, so that they are popped in order.
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

/// A boundary is not replaced by its dependencies: everything after it depends on everything before it.
fn is_boundary(catalog: &Catalog, id: DumpId) -> bool {
    matches!(catalog[id].kind(), ObjectKind::PreDataBoundary | ObjectKind::PostDataBoundary)
}
