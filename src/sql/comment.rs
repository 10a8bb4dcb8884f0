//! `COMMENT ON`: all comments of the database, read at once.

use std::collections::HashMap;

use super::collect::Collector;
use super::error::Result;
use super::object::CatalogId;
use super::query::CatalogQuery;
use crate::protocol::version::PG13;

/// Comments by object; each with the column number it belongs to, 0 for the object itself,
/// in ascending order.
pub type Comments = HashMap<CatalogId, Vec<(i32, String)>>;

const QUERY: CatalogQuery = CatalogQuery {
    what: "comments",
    since: PG13,
    text: "
SELECT d.classoid, d.objoid, d.objsubid, d.description
  FROM pg_catalog.pg_description d
 WHERE d.objoid >= 16384
    OR d.classoid IN ('pg_catalog.pg_namespace'::pg_catalog.regclass, 'pg_catalog.pg_largeobject'::pg_catalog.regclass)
 ORDER BY d.classoid, d.objoid, d.objsubid",
    gates: &[],
};

/// Reads the comments on everything that initdb did not make, on namespaces and on large objects
/// (which may have any OID).
pub(super) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let id = CatalogId::new(row.oid("classoid")?, row.oid("objoid")?);
        let comment = (row.int4("objsubid")?, row.text("description")?);
        cx.catalog.comments.entry(id).or_default().push(comment);
    }
    Ok(())
}
