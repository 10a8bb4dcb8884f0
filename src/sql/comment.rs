//! `COMMENT ON`: all comments of the database, read with one query.

use super::collect::Collector;
use super::error::Result;
use super::object::{ByCatalogId, Catalog, CatalogId, Components, class};
use super::query::CatalogQuery;
use crate::protocol::version::PG13;
use crate::sql::kind::table::RelationKind;

/// Comments by object. Each has a column number, or 0 for the object itself; they are in ascending order of
/// it.
pub type Comments = ByCatalogId<Vec<(i32, String)>>;

const QUERY: CatalogQuery = CatalogQuery {
    what: "comments",
    since: PG13,
    text: "
SELECT d.classoid, d.objoid, d.objsubid, d.description
  FROM pg_catalog.pg_description d
 WHERE $1
    OR d.objoid >= 16384
    OR d.classoid IN ('pg_catalog.pg_namespace'::pg_catalog.regclass,
                      'pg_catalog.pg_largeobject'::pg_catalog.regclass)
 ORDER BY d.classoid, d.objoid, d.objsubid",
    gates: &[],
};

/// Reads the comments on user objects, on namespaces and on large objects (which may have any OID). Objects
/// of initdb are dumped only if a switch selects them; their comments are read only then.
pub(super) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let system_too = !cx.options.include_everything();
    for row in cx.rows_with(&QUERY, &[&system_too]).await? {
        let id = CatalogId::new(row.oid("classoid")?, row.oid("objoid")?);
        let comment = (row.int4("objsubid")?, row.text("description")?);
        mark(&mut cx.catalog, id, comment.0, Components::COMMENT);
        cx.catalog.comments.entry(id).or_default().push(comment);
    }
    Ok(())
}

/// Records that an object or one of its columns has a comment or security label. A comment or label on a
/// column of a composite type belongs to the type's relation, but is dumped with the type.
pub(super) fn mark(catalog: &mut Catalog, catalog_id: CatalogId, subid: i32, component: Components) {
    let Some(id) = catalog.find(catalog_id) else { return };
    let composite = catalog.table(id).filter(|table| subid != 0 && table.kind == RelationKind::CompositeType);
    let id = match composite {
        Some(table) => match catalog.by_oid(class::PG_TYPE, table.row_type) {
            Some(row_type) => row_type,
            None => return,
        },
        None => id,
    };
    catalog[id].components |= component;
}
