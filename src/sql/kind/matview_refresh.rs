//! `REFRESH MATERIALIZED VIEW`: the order of the refreshes, and the statement. `table_data` creates the
//! objects.

use std::collections::{HashMap, HashSet};

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::kind::table::RelationKind;
use crate::sql::object::{Catalog, Components, DumpId, DumpObject, EntryKind, Section};
use crate::sql::query::CatalogQuery;

/// A materialized view refresh.
#[derive(Debug)]
pub struct MatviewRefresh {
    /// The materialized view.
    pub table: DumpId,
}

/// For each view and materialized view: the views and materialized views that it reads, in the order of the
/// catalogs' rows. pg_dump does not sort its query and finds them in this order.
const READS: CatalogQuery = CatalogQuery {
    what: "materialized views",
    since: PG13,
    text: "
SELECT r.ev_class AS reader, d.refobjid AS read
  FROM (SELECT r.oid, r.ev_class,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_rewrite r) r
       JOIN pg_catalog.pg_depend d
         ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid = r.oid
        AND d.refobjid <> r.ev_class
       JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('m', 'v')
 ORDER BY r.place, d.refobjid DESC",
    gates: &[],
};

/// Makes refreshes depend on those of the materialized views that they read. A materialized view that reads
/// an unpopulated one is marked as unpopulated, because its refresh would fail.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let readers = cx
        .catalog
        .table_oids(|_, table| table.kind == RelationKind::MaterializedView && table.data.is_some());
    if readers.is_empty() {
        return Ok(());
    }
    let mut reads = Reads::default();
    cx.each(&READS, &[], |_, row| {
        reads.add(row.oid("reader")?, row.oid("read")?);
        Ok(())
    })
    .await?;
    for oid in readers {
        for read in reads.of(oid) {
            depend(&mut cx.catalog, oid, read);
        }
    }
    Ok(())
}

/// Makes the refresh of `reader` depend on that of `read`, if both are materialized views with a refresh.
fn depend(catalog: &mut Catalog, reader: u32, read: u32) {
    let (Some(reader), Some(read)) = (catalog.table_by_oid(reader), catalog.table_by_oid(read)) else {
        return;
    };
    let table = |id| catalog.table(id).filter(|table| table.kind == RelationKind::MaterializedView);
    let (Some(reading), Some(first)) = (table(reader), table(read)) else { return };
    let (Some(refresh), Some(first_refresh)) = (reading.data, first.data) else { return };
    let populated = first.populated;
    catalog[refresh].depend_on(first_refresh);
    if let Some(table) = catalog.table_mut(reader) {
        table.populated &= populated;
    }
}

/// The relations that each view reads directly, by OID.
#[derive(Default)]
struct Reads {
    /// The relations that are read, in the order in which they are found.
    read: Vec<u32>,
    /// The positions in `read` for each reader.
    of: HashMap<u32, Vec<usize>>,
}

impl Reads {
    fn add(&mut self, reader: u32, read: u32) {
        self.of.entry(reader).or_default().push(self.read.len());
        self.read.push(read);
    }

    /// Returns all relations that `reader` reads: first those that it reads directly, then those that they
    /// read, and so on. Views may read each other in a cycle.
    fn of(&self, reader: u32) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        let mut seen = HashSet::new();
        let mut newest = vec![reader];
        while !newest.is_empty() {
            let mut places: Vec<usize> =
                newest.iter().filter_map(|oid| self.of.get(oid)).flatten().copied().collect();
            places.sort_unstable();
            newest = places.into_iter().filter_map(|place| self.read.get(place).copied()).collect();
            newest.retain(|oid| seen.insert(*oid));
            found.extend(&newest);
        }
        found
    }
}

/// Writes the refresh of one materialized view, unless it is unpopulated.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, refresh: &MatviewRefresh) {
    let populated = em.catalog.table(refresh.table).is_some_and(|t| t.populated);
    if !populated || !object.dumps(Components::DATA) {
        return;
    }
    let view = &em.catalog[refresh.table];
    let mut entry = em.entry_for(object, EntryKind::MaterializedViewData, Section::PostData);
    entry.owner = Some(view.owner_name().to_owned());
    entry.definition = format!("REFRESH MATERIALIZED VIEW {};\n", em.catalog.qualified(view));
    entry.dependencies = object.dependencies.clone();
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_directly_comes_first_and_circles_end() {
        let mut reads = Reads::default();
        for (reader, read) in [(3, 2), (3, 3), (1, 9), (1, 3), (1, 2), (1, 3), (2, 7), (2, 3), (9, 8)] {
            reads.add(reader, read);
        }
        assert_eq!(reads.of(1), [9, 3, 2, 7, 8]);
        assert_eq!(reads.of(2), [7, 3, 2]);
        assert!(reads.of(8).is_empty());
    }
}
