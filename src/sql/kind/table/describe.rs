//! The fields that only the DDL of dumped tables needs: partition keys, foreign servers, types of typed
//! tables, and privileges on columns.

use super::{ColumnAcl, RelationKind, Specifics, Table};
use crate::protocol::version::PG13;
use crate::sql::acl::Acl;
use crate::sql::collect::Collector;
use crate::sql::error::Result;
use crate::sql::object::{Components, Detail, DumpObject};
use crate::sql::query::CatalogQuery;

const PARTITION_KEYS: CatalogQuery = CatalogQuery {
    what: "partition keys",
    since: PG13,
    text: "
SELECT r.oid AS relation, pg_catalog.pg_get_partkeydef(r.oid) AS key
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid)
 ORDER BY r.oid",
    gates: &[],
};

const FOREIGN_TABLES: CatalogQuery = CatalogQuery {
    what: "foreign tables",
    since: PG13,
    text: "
SELECT t.ftrelid AS relation, s.srvname::text AS server,
       pg_catalog.array_to_string(ARRAY(
           SELECT pg_catalog.quote_ident(o.option_name) || ' ' || pg_catalog.quote_literal(o.option_value)
             FROM pg_catalog.pg_options_to_table(t.ftoptions) o
            ORDER BY o.option_name), E',\\n    ') AS options
  FROM pg_catalog.pg_foreign_table t
       JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
 WHERE t.ftrelid = ANY ($1::pg_catalog.oid[])
 ORDER BY t.ftrelid",
    gates: &[],
};

const TYPED_TABLES: CatalogQuery = CatalogQuery {
    what: "typed tables",
    since: PG13,
    text: "
SELECT c.oid AS relation, pg_catalog.format_type(c.reloftype, NULL) AS type_name
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY c.oid",
    gates: &[],
};

/// System columns can have privileges too, so these are not read together with the columns.
const COLUMN_ACLS: CatalogQuery = CatalogQuery {
    what: "column privileges",
    since: PG13,
    text: "
SELECT a.attrelid AS relation, a.attname::text AS name, pg_catalog.textin(pg_catalog.array_out(a.attacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(i.initprivs)) AS initial
  FROM pg_catalog.pg_attribute a
       LEFT JOIN pg_catalog.pg_init_privs i
              ON i.objoid = a.attrelid
             AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND i.objsubid = a.attnum
 WHERE a.attrelid = ANY ($1::pg_catalog.oid[])
   AND NOT a.attisdropped
   AND (a.attacl IS NOT NULL OR i.initprivs IS NOT NULL)
 ORDER BY a.attrelid, a.attnum",
    gates: &[],
};

/// Reads the remaining DDL details of the tables to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.data_only {
        return Ok(());
    }
    let partitioned = oids(cx, Components::DEFINITION, |t| t.kind == RelationKind::PartitionedTable);
    if !partitioned.is_empty() {
        for row in cx.rows_with(&PARTITION_KEYS, &[&partitioned]).await? {
            set_specifics(cx, row.oid("relation")?, Specifics::PartitionKey(row.text("key")?));
        }
    }
    let foreign = oids(cx, Components::DEFINITION, |t| t.kind == RelationKind::ForeignTable);
    if !foreign.is_empty() {
        for row in cx.rows_with(&FOREIGN_TABLES, &[&foreign]).await? {
            let specifics = Specifics::Foreign { server: row.text("server")?, options: row.text("options")? };
            set_specifics(cx, row.oid("relation")?, specifics);
        }
    }
    let typed = oids(cx, Components::DEFINITION, |t| t.of_type != 0);
    if !typed.is_empty() {
        for row in cx.rows_with(&TYPED_TABLES, &[&typed]).await? {
            let name = row.text("type_name")?;
            if let Some(table) = table_mut(cx, row.oid("relation")?) {
                table.of_type_name = Some(name);
            }
        }
    }
    let with_column_acls = oids(cx, Components::ACL, |t| t.has_column_acls);
    if !with_column_acls.is_empty() && !cx.options.no_privileges {
        describe_column_acls(cx, &with_column_acls).await?;
    }
    Ok(())
}

async fn describe_column_acls(cx: &mut Collector<'_>, relations: &Vec<u32>) -> Result<()> {
    for row in cx.rows_with(&COLUMN_ACLS, &[relations]).await? {
        // A new column has no privileges by default.
        let mut acl = Acl::new(row.opt_texts("acl")?, Vec::new());
        acl.initial = row.opt_texts("initial")?;
        let column_acl = ColumnAcl { column: row.text("name")?, acl };
        if let Some(table) = table_mut(cx, row.oid("relation")?) {
            table.column_acls.push(column_acl);
        }
    }
    Ok(())
}

/// Returns the OIDs of the relations that satisfy a condition and of which any of `components` is dumped.
pub(in crate::sql::kind) fn oids(
    cx: &Collector<'_>,
    components: Components,
    wanted: impl Fn(&Table) -> bool,
) -> Vec<u32> {
    let is_wanted = |object: &&DumpObject| match &object.detail {
        Detail::Table(table) => wanted(table) && cx.dumps(object.id, components),
        _ => false,
    };
    cx.catalog.iter().filter(is_wanted).map(|o| o.catalog_id.oid).collect()
}

/// Returns the relation with this OID.
pub(in crate::sql::kind) fn table_mut<'a>(cx: &'a mut Collector<'_>, oid: u32) -> Option<&'a mut Table> {
    let id = cx.catalog.table_by_oid(oid)?;
    cx.catalog.table_mut(id)
}

/// Stores the fields that only this kind of relation has.
pub(in crate::sql::kind) fn set_specifics(cx: &mut Collector<'_>, oid: u32, specifics: Specifics) {
    if let Some(table) = table_mut(cx, oid) {
        table.specifics = Some(Box::new(specifics));
    }
}
