//! `REFRESH MATERIALIZED VIEW`: the order among refreshes, and the statement. The objects are made by
//! `table_data`.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{Components, DumpId, DumpObject, Section};
use crate::sql::query::CatalogQuery;

/// A materialized view refresh.
#[derive(Debug)]
pub struct MatviewRefresh {
    /// The materialized view.
    pub table: DumpId,
}

/// Which materialized views read which others, directly or through views. Views may read each other in a
/// circle, so nothing may stand in a row of the recursion that differs from one round to the next.
const READS: CatalogQuery = CatalogQuery {
    what: "materialized views",
    since: PG13,
    text: "
  WITH RECURSIVE reads AS (
       SELECT v.oid AS reader, d.refobjid AS read, c.relkind AS kind
         FROM pg_catalog.pg_class v
              JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
              JOIN pg_catalog.pg_depend d
                ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
               AND d.objid = r.oid
               AND d.refobjid <> v.oid
              JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('m', 'v')
        WHERE v.relkind = 'm'
        UNION
       SELECT w.reader, d.refobjid, c.relkind
         FROM reads w
              JOIN pg_catalog.pg_rewrite r ON r.ev_class = w.read
              JOIN pg_catalog.pg_depend d
                ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
               AND d.objid = r.oid
               AND d.refobjid <> w.read
              JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('m', 'v'))
SELECT w.reader, w.read
  FROM reads w
 WHERE w.kind = 'm'
 ORDER BY w.reader, w.read",
    gates: &[],
};

/// Makes refreshes depend on those of the materialized views that they read. One that reads an
/// unpopulated one counts as unpopulated itself, as its refresh would fail.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&READS).await? {
        let reader = cx.catalog.table_by_oid(row.oid("reader")?);
        let read = cx.catalog.table_by_oid(row.oid("read")?);
        let (Some(reader), Some(read)) = (reader, read) else { continue };
        let data = |id| cx.catalog.table(id).and_then(|t| t.data);
        let (Some(refresh), Some(first)) = (data(reader), data(read)) else { continue };
        let read_is_populated = cx.catalog.table(read).is_some_and(|t| t.populated);
        cx.catalog[refresh].depend_on(first);
        if let Some(table) = cx.catalog.table_mut(reader).filter(|_| !read_is_populated) {
            table.populated = false;
        }
    }
    Ok(())
}

/// Writes the refresh of one materialized view, unless it is unpopulated.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, refresh: &MatviewRefresh) {
    let populated = em.catalog.table(refresh.table).is_some_and(|t| t.populated);
    if !populated || !object.dumps(Components::DATA) {
        return;
    }
    let view = &em.catalog[refresh.table];
    let mut entry = em.entry_for(object, "MATERIALIZED VIEW DATA", Section::PostData);
    entry.owner = Some(view.owner_name().to_owned());
    entry.definition = format!("REFRESH MATERIALIZED VIEW {};\n", em.catalog.qualified(view));
    entry.dependencies = object.dependencies.clone();
    em.push(entry);
}
