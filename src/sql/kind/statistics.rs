//! Extended statistics: the query, the row, the DDL. PostgreSQL manual: CREATE STATISTICS.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section, class,
};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_by_extension;

/// Since PostgreSQL 17, the default target is NULL; before, it was -1.
const QUERY: CatalogQuery = CatalogQuery {
    what: "extended statistics",
    since: PG13,
    text: "
SELECT s.oid,
       s.stxname::pg_catalog.text AS name,
       s.stxnamespace AS namespace,
       s.stxowner AS owner,
       s.stxrelid AS relation,
       COALESCE(s.stxstattarget, -1)::pg_catalog.int4 AS target
  FROM pg_catalog.pg_statistic_ext s",
    gates: &[],
};

const DEFINITIONS: CatalogQuery = CatalogQuery {
    what: "definitions of extended statistics",
    since: PG13,
    text: "
SELECT s.oid, pg_catalog.pg_get_statisticsobjdef(s.oid) AS definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS s (oid)
 ORDER BY s.oid",
    gates: &[],
};

/// An extended statistics object.
#[derive(Debug)]
pub struct Statistics {
    /// The table, if it was collected.
    pub table: Option<DumpId>,
    /// The statistics target, -1 for the default.
    pub target: i32,
    /// `pg_get_statisticsobjdef()`.
    pub definition: Option<String>,
}

/// Identifies the extended statistics.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let table = cx.catalog.table_by_oid(row.oid("relation")?);
        let detail = Detail::Statistics(Statistics { table, target: row.int4("target")?, definition: None });
        let catalog_id = CatalogId::new(class::PG_STATISTIC_EXT, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select(cx, id, namespace, table);
    }
    Ok(())
}

/// Selects statistics if both their namespace and their table are dumped.
fn select(cx: &mut Collector<'_>, id: DumpId, namespace: DumpId, table: Option<DumpId>) {
    if select_by_extension(cx, id) {
        return;
    }
    let with_table = table.is_some_and(|table| cx.catalog[table].dumps(Components::DEFINITION));
    let wanted = if with_table { cx.catalog[namespace].dump_contains } else { Components::empty() };
    cx.catalog[id].dump = wanted;
}

/// Reads the definitions of the extended statistics to be dumped.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let ids = cx.catalog.ids_of(ObjectKind::Statistics);
    let wanted = ids.into_iter().filter(|id| cx.dumps(*id, Components::DEFINITION));
    let oids: Vec<u32> = wanted.map(|id| cx.catalog[id].catalog_id.oid).collect();
    if oids.is_empty() || cx.options.data_only {
        return Ok(());
    }
    for row in cx.rows_with(&DEFINITIONS, &[&oids]).await? {
        let id = cx.catalog.by_oid(class::PG_STATISTIC_EXT, row.oid("oid")?);
        if let Some(statistics) = id.and_then(|id| cx.catalog.statistics_mut(id)) {
            statistics.definition = row.opt_text("definition")?;
        }
    }
    Ok(())
}

/// Writes the DDL of one extended statistics object.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, statistics: &Statistics) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let name = em.catalog.qualified(object);
        let Some(definition) = &statistics.definition else {
            return em.fail(SqlError::Inconsistent(format!("statistics object {name} has no definition")));
        };
        let mut entry = em.entry_for(object, EntryKind::Statistics, Section::PostData);
        put!(entry.definition, "{definition};\n");
        if statistics.target >= 0 {
            put!(entry.definition, "ALTER STATISTICS {name} SET STATISTICS {};\n", statistics.target);
        }
        put!(entry.drop, "DROP STATISTICS {name};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let target = CommentTarget {
            object_type: "STATISTICS",
            name: &name,
            namespace: em.catalog.namespace_name(object),
            owner: object.owner_name(),
        };
        em.comment(object, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn a_target_of_zero_is_a_target() {
        let (mut catalog, namespace) = catalog();
        let mut written = |target| {
            let definition = Some("CREATE STATISTICS s.\"X\" ON a, b FROM s.t".to_owned());
            let detail = Detail::Statistics(Statistics { table: None, target, definition });
            let catalog_id = CatalogId::new(class::PG_STATISTIC_EXT, 30);
            catalog.add(catalog_id, "X".to_owned(), Some(namespace), detail);
            entries(&mut catalog).pop().map(|entry| entry.definition)
        };
        let create = "CREATE STATISTICS s.\"X\" ON a, b FROM s.t;\n";
        assert_eq!(written(-1).as_deref(), Some(create));
        let with_target = format!("{create}ALTER STATISTICS s.\"X\" SET STATISTICS 0;\n");
        assert_eq!(written(0), Some(with_target));
    }
}
