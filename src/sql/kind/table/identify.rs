//! Finds the relations, and selects those to be dumped.

use super::{RelationKind, Table};
use crate::protocol::version::PG13;
use crate::sql::acl::Acl;
use crate::sql::collect::Collector;
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, class};
use crate::sql::query::{CatalogQuery, CatalogRow};
use crate::sql::select;
use crate::sql::shared::SharedTexts;

/// All relations except indexes and TOAST tables. It includes system relations, because a user's table may
/// inherit from a catalog. No lock is held yet, so the query must not call functions that read the newest
/// catalogs.
///
/// The default privileges are read only if the relation has privileges to compare with them.
const RELATIONS: CatalogQuery = CatalogQuery {
    what: "tables",
    since: PG13,
    text: "
SELECT c.oid, c.relname::text AS name, c.relnamespace AS namespace, c.relowner AS owner,
       c.relkind AS kind, c.relpersistence AS persistence, c.relispopulated AS populated,
       c.relreplident AS replica_identity, c.relhasindex AS has_indexes, c.relhasrules AS has_rules,
       c.relhastriggers AS has_triggers, c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS force_row_security, c.relispartition AS is_partition,
       c.relchecks AS checks, c.reltype AS row_type, c.reloftype AS of_type, c.relpages AS pages,
       f.ftserver AS foreign_server, s.spcname::text AS tablespace, m.amname::text AS access_method,
       pg_catalog.array_remove(pg_catalog.array_remove(
           c.reloptions, 'check_option=local'), 'check_option=cascaded') AS options,
       CASE WHEN 'check_option=local' = ANY (c.reloptions) THEN 'LOCAL'
            WHEN 'check_option=cascaded' = ANY (c.reloptions) THEN 'CASCADED'
       END AS check_option,
       t.reloptions AS toast_options,
       d.refobjid AS owning_table, COALESCE(d.refobjsubid, 0) AS owning_column,
       d.deptype = 'i' AS is_identity_sequence,
       pg_catalog.textin(pg_catalog.array_out(c.relacl)) AS acl,
       CASE WHEN c.relacl IS NOT NULL OR i.objoid IS NOT NULL
            THEN pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault(
                     CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner)))
       END AS acl_default
  FROM pg_catalog.pg_class c
       LEFT JOIN pg_catalog.pg_depend d
              ON c.relkind = 'S'
             AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.objid = c.oid
             AND d.objsubid = 0
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.deptype IN ('a', 'i')
       LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
       LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
       LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
       LEFT JOIN pg_catalog.pg_class t
              ON t.oid = c.reltoastrelid
             AND t.relkind = 't'
             AND c.relkind <> 'p'
       LEFT JOIN pg_catalog.pg_init_privs i
              ON i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND i.objoid = c.oid
             AND i.objsubid = 0
 WHERE c.relkind IN ('r', 'S', 'v', 'c', 'm', 'f', 'p')
 ORDER BY c.oid",
    gates: &[],
};

/// Identifies the relations. Returns those to be locked; the caller locks them as soon as possible.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<Vec<DumpId>> {
    let mut access_methods = SharedTexts::default();
    let mut to_lock = Vec::new();
    cx.each(&RELATIONS, &[], |cx, row| {
        let id = add(cx, &row, &mut access_methods)?;
        let object = &cx.catalog[id];
        let lockable = cx
            .catalog
            .table(id)
            .is_some_and(|t| matches!(t.kind, RelationKind::Table | RelationKind::PartitionedTable));
        if lockable && object.dump.intersects(Components::REQUIRING_LOCK) {
            to_lock.push(id);
        }
        Ok(())
    })
    .await?;
    Ok(to_lock)
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow, access_methods: &mut SharedTexts) -> Result<DumpId> {
    let mut table = from_row(row)?;
    table.access_method = row.opt_text("access_method")?.map(|name| access_methods.share(name));
    let kind = table.kind;
    let namespace = cx.namespace(row.oid("namespace")?)?;
    let catalog_id = CatalogId::new(class::PG_CLASS, row.oid("oid")?);
    let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), Detail::Table(Box::new(table)));

    let owner = cx.role(row.oid("owner")?)?;
    let items = row.opt_texts("acl")?;
    let default = row.opt_texts("acl_default")?;
    let object = &mut cx.catalog[id];
    object.owner = Some(owner);
    object.components |= Components::DATA;
    if items.is_some() {
        object.components |= Components::ACL;
    }
    object.acl = default.map(|default| Box::new(Acl::new(items, default)));
    // A composite type's relation only has dependencies; the type itself is the object to be dumped.
    if kind == RelationKind::CompositeType {
        object.dump = Components::empty();
    } else {
        select_table(cx, id);
    }
    let interesting = cx.catalog[id].dump.intersects(Components::DEFINITION | Components::DATA);
    if let Some(table) = cx.catalog.table_mut(id) {
        table.interesting = interesting;
    }
    Ok(id)
}

fn from_row(row: &CatalogRow) -> Result<Table> {
    Ok(Table {
        kind: row.code("kind")?,
        persistence: row.code("persistence")?,
        populated: row.bool("populated")?,
        replica_identity: row.code("replica_identity")?,
        tablespace: row.opt_text("tablespace")?.unwrap_or_default(),
        options: row.texts("options")?,
        check_option: row.opt_text("check_option")?,
        toast_options: row.texts("toast_options")?,
        has_indexes: row.bool("has_indexes")?,
        has_rules: row.bool("has_rules")?,
        has_triggers: row.bool("has_triggers")?,
        row_security: row.bool("row_security")?,
        force_row_security: row.bool("force_row_security")?,
        checks: row.int2("checks")?,
        row_type: row.oid("row_type")?,
        of_type: row.oid("of_type")?,
        foreign_server: row.oid("foreign_server")?,
        owning_table: row.oid("owning_table")?,
        owning_column: row.int4("owning_column")?,
        is_identity_sequence: row.bool("is_identity_sequence")?,
        pages: row.int4("pages")?,
        is_partition: row.bool("is_partition")?,
        ..Table::default()
    })
}

/// Selects a table if `--table` names it or, without that option, if the contents of its namespace are
/// dumped. `--exclude-table` takes precedence.
fn select_table(cx: &mut Collector<'_>, id: DumpId) {
    if select::select_by_extension(cx, id) {
        return;
    }
    let object = &cx.catalog[id];
    let oid = object.catalog_id.oid;
    let contains = object.namespace.map_or(Components::empty(), |n| cx.catalog[n].dump_contains);
    let selection = &cx.selection;
    let wanted = match selection.tables.is_empty() {
        true => contains,
        false if selection.tables.contains(&oid) => Components::all(),
        false => Components::empty(),
    };
    let excluded = selection.excluded_tables.contains(&oid);
    cx.catalog[id].dump = if excluded { Components::empty() } else { wanted };
}
