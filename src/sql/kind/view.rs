//! Views and materialized views: their queries, and dummy views that break dependency loops.

use super::table::{Attribute, RelationKind, Specifics, Table};
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{Components, Detail, DumpObject, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;

const QUERIES: CatalogQuery = CatalogQuery {
    what: "views",
    since: PG13,
    text: "
SELECT r.oid AS relation, pg_catalog.pg_get_viewdef(r.oid) AS query
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid)
 ORDER BY r.oid",
    gates: &[],
};

/// Reads the queries of the views to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.data_only {
        return Ok(());
    }
    let is_view = |object: &&DumpObject| match &object.detail {
        Detail::Table(table) => {
            matches!(table.kind, RelationKind::View | RelationKind::MaterializedView)
                && cx.dumps(object.id, Components::DEFINITION)
        }
        _ => false,
    };
    let views: Vec<u32> = cx.catalog.iter().filter(is_view).map(|o| o.catalog_id.oid).collect();
    if views.is_empty() {
        return Ok(());
    }
    cx.each(&QUERIES, &[&views], |cx, row| {
        let Some(id) = cx.catalog.table_by_oid(row.oid("relation")?) else { return Ok(()) };
        let mut query = row.opt_text("query")?.unwrap_or_default();
        // The caller may append text to the query.
        if query.pop() != Some(';') {
            let name = &cx.catalog[id].name;
            return Err(SqlError::Inconsistent(format!(
                "definition of view \"{name}\" appears to be empty (length zero)"
            )));
        }
        query.shrink_to_fit();
        if let Some(table) = cx.catalog.table_mut(id) {
            table.specifics = Some(Box::new(Specifics::Query(query)));
        }
        Ok(())
    })
    .await
}

/// Returns the query of a view, without the trailing semicolon, as it follows `AS\n`.
pub(in crate::sql) fn query(_em: &Emitter<'_>, _object: &DumpObject, table: &Table) -> String {
    match table.specifics.as_deref() {
        Some(Specifics::Query(query)) => query.clone(),
        _ => String::new(),
    }
}

/// Returns a query with only the view's column names and types, for a view in a dependency loop.
pub(in crate::sql) fn dummy_query(em: &Emitter<'_>, _object: &DumpObject, table: &Table) -> String {
    let mut sql = "SELECT".to_owned();
    for (index, attribute) in table.attributes.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        put!(sql, "{comma}\n    NULL::{}", attribute.type_name);
        // `CREATE OR REPLACE VIEW` cannot change the collation later.
        put_collation(em, attribute, &mut sql);
        put!(sql, " AS {}", em.quoting.id(&attribute.name));
    }
    sql
}

/// Writes ` COLLATE …` for a column whose collation differs from its type's.
pub(in crate::sql) fn put_collation(em: &Emitter<'_>, attribute: &Attribute, sql: &mut String) {
    if attribute.collation == 0 {
        return;
    }
    if let Some(id) = em.catalog.by_oid(class::PG_COLLATION, attribute.collation) {
        put!(sql, " COLLATE {}", em.catalog.qualified(&em.catalog[id]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::object::{Catalog, CatalogId};
    use crate::sql::options::DumpOptions;

    #[test]
    fn a_dummy_view_has_names_and_types_only() {
        let column = |name: &str| Attribute {
            name: name.to_owned(),
            type_name: "character varying(10)".into(),
            ..Attribute::default()
        };
        let table = Table {
            kind: RelationKind::View,
            attributes: vec![column("a"), column("B")],
            ..Table::default()
        };
        let mut catalog = Catalog::default();
        let id = catalog.add(
            CatalogId::new(class::PG_CLASS, 1),
            "v".to_owned(),
            None,
            Detail::Table(Box::new(table)),
        );
        let options = DumpOptions::default();
        let em = Emitter::new(&catalog, &options);
        assert_eq!(
            dummy_query(&em, &catalog[id], catalog.table(id).unwrap()),
            "SELECT\n    NULL::character varying(10) AS a,\n    NULL::character varying(10) AS \"B\""
        );
    }
}
