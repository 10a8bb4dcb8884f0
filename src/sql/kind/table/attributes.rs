//! Columns, defaults and check constraints of the interesting tables.
//!
//! A database can have hundreds of thousands of columns, so rows are processed one at a time and type names
//! are shared.

use std::collections::HashMap;

use super::{Attribute, Identity, RelationKind, Table, inheritance};
use crate::protocol::version::{PG13, PG14};
use crate::sql::collect::Collector;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::attribute_default::AttributeDefault;
use crate::sql::kind::constraint::{Constraint, ConstraintKind};
use crate::sql::object::{CatalogId, Detail, DumpId, ObjectKind, class};
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::shared::SharedTexts;

/// Reads only tables that are locked or are parents of locked tables, because `format_type()` and similar
/// functions read the newest catalogs.
///
/// Since 15.20 the server stores a number of its own, `pg_attver`, among a column's options. pg_dump omits
/// it, and users cannot set it.
const COLUMNS: CatalogQuery = CatalogQuery {
    what: "columns",
    since: PG13,
    text: "
SELECT a.attrelid AS relation, a.attnum AS number, a.attname::text AS name, a.atttypid AS type,
       pg_catalog.format_type(t.oid, a.atttypmod) AS type_name,
       COALESCE(a.attstattarget, -1)::int4 AS statistics_target,
       a.attstorage AS storage, t.typstorage AS type_storage, {compression} AS compression,
       a.attidentity AS identity, a.attgenerated AS generated,
       a.attisdropped AS dropped, a.attislocal AS local, a.attnotnull AS not_null,
       a.atthasdef AS has_default,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation END AS collation,
       a.attcollation AS collation_in_use,
       CASE WHEN pg_catalog.cardinality(a.attoptions) > 1
                 OR NOT pg_catalog.starts_with(a.attoptions[1], 'pg_attver=')
            THEN pg_catalog.array_to_string(ARRAY(SELECT o FROM pg_catalog.unnest(a.attoptions) o
                                                   WHERE NOT pg_catalog.starts_with(o, 'pg_attver=')), ', ')
       END AS options,
       CASE WHEN a.attfdwoptions IS NOT NULL
            THEN pg_catalog.array_to_string(ARRAY(
                     SELECT pg_catalog.quote_ident(o.option_name) || ' '
                            || pg_catalog.quote_literal(o.option_value)
                       FROM pg_catalog.pg_options_to_table(a.attfdwoptions) o
                      ORDER BY o.option_name), E',\\n    ')
       END AS fdw_options
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
       LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attnum > 0::pg_catalog.int2
 ORDER BY a.attrelid, a.attnum",
    gates: &[Gate { column: "compression", before: "''::\"char\"", steps: &[(PG14, "a.attcompression")] }],
};

/// Passes the table only for expressions that have variables, which only those of generated columns have.
/// With the table, the server reads the table's columns, which takes fifteen times as long as the rest of the
/// query. `{VAR ` cannot match in a name or a string, because the stored tree escapes braces in both.
const DEFAULTS: CatalogQuery = CatalogQuery {
    what: "column defaults",
    since: PG13,
    text: "
SELECT d.oid, d.adrelid AS relation, d.adnum AS number,
       pg_catalog.pg_get_expr(d.adbin,
           CASE WHEN pg_catalog.strpos(d.adbin::pg_catalog.text, '{VAR ') > 0
                THEN d.adrelid ELSE 0::pg_catalog.oid END) AS expression
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid)
       JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid
 ORDER BY d.adrelid, d.adnum",
    gates: &[],
};

const CHECKS: CatalogQuery = CatalogQuery {
    what: "check constraints",
    since: PG13,
    text: "
SELECT c.oid, c.conrelid AS relation, c.conname::text AS name, c.conislocal AS local,
       c.convalidated AS validated, pg_catalog.pg_get_constraintdef(c.oid) AS definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid)
       JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid
 WHERE c.contype = 'c'
 ORDER BY c.conrelid, c.conname",
    gates: &[],
};

const DOMAINS: CatalogQuery = CatalogQuery {
    what: "domains",
    since: PG13,
    text: "
SELECT t.oid, t.typbasetype AS base
  FROM pg_catalog.pg_type t
 WHERE t.typtype = 'd'
 ORDER BY t.oid",
    gates: &[],
};

/// Reads the columns, defaults and check constraints of interesting tables, and flags inherited properties.
pub(in crate::sql) async fn collect_attributes(cx: &mut Collector<'_>) -> Result<()> {
    let with_columns = oids_where(cx, |t| t.interesting && t.kind != RelationKind::Sequence);
    let with_defaults = collect_columns(cx, &with_columns).await?;
    if cx.options.inserts() {
        resolve_domains(cx).await?;
    }
    if !cx.options.data_only {
        if !with_defaults.is_empty() {
            cx.begin("finding table default expressions");
            cx.each(&DEFAULTS, &[&with_defaults], |cx, row| add_default(cx, &row)).await?;
        }
        let with_checks =
            oids_where(cx, |t| t.interesting && t.kind != RelationKind::Sequence && t.checks > 0);
        if !with_checks.is_empty() {
            cx.begin("finding table check constraints");
            collect_checks(cx, &with_checks).await?;
        }
    }
    cx.begin("flagging inherited columns in subtables");
    inheritance::inherit_attributes(cx);
    Ok(())
}

fn oids_where(cx: &Collector<'_>, wanted: impl Fn(&Table) -> bool) -> Vec<u32> {
    let is_wanted = |object: &&crate::sql::object::DumpObject| match &object.detail {
        Detail::Table(table) => wanted(table),
        _ => false,
    };
    cx.catalog.iter().filter(is_wanted).map(|o| o.catalog_id.oid).collect()
}

/// Reads the columns of these tables. Returns the tables that have defaults.
async fn collect_columns(cx: &mut Collector<'_>, oids: &[u32]) -> Result<Vec<u32>> {
    let mut type_names = SharedTexts::default();
    let mut with_defaults: Vec<u32> = Vec::new();
    let mut current: Option<(u32, DumpId)> = None;
    cx.each(&COLUMNS, &[&oids], |cx, row| {
        let relation = row.oid("relation")?;
        let id = match current {
            Some((oid, id)) if oid == relation => id,
            previous => {
                if let Some(table) = previous.and_then(|(_, id)| cx.catalog.table_mut(id)) {
                    table.attributes.shrink_to_fit();
                }
                let id = find(cx, relation)?;
                current = Some((relation, id));
                id
            }
        };
        let attribute = from_row(&row, &mut type_names)?;
        if row.bool("has_default")? && with_defaults.last() != Some(&relation) {
            with_defaults.push(relation);
        }
        let number = usize::try_from(row.int2("number")?).unwrap_or(0);
        let Some(table) = cx.catalog.table_mut(id) else { return Ok(()) };
        if number != table.attributes.len() + 1 {
            let name = &cx.catalog[id].name;
            return Err(SqlError::Inconsistent(format!("invalid column numbering in table \"{name}\"")));
        }
        table.needs_override |= attribute.identity == Some(Identity::Always);
        table.attributes.push(attribute);
        Ok(())
    })
    .await?;
    Ok(with_defaults)
}

fn from_row(row: &CatalogRow, type_names: &mut SharedTexts) -> Result<Attribute> {
    let filled = |text: Option<String>| text.filter(|t| !t.is_empty()).map(String::into_boxed_str);
    let type_name = type_names.share(row.opt_text("type_name")?.unwrap_or_default());
    Ok(Attribute {
        name: row.text("name")?,
        type_name,
        type_oid: row.oid("type")?,
        statistics_target: row.int4("statistics_target")?,
        storage: row.code("storage")?,
        type_storage: row.opt_code("type_storage")?,
        dropped: row.bool("dropped")?,
        identity: row.opt_code("identity")?,
        generated: row.opt_code("generated")?,
        local: row.bool("local")?,
        options: filled(row.opt_text("options")?),
        collation: row.oid("collation")?,
        collation_in_use: row.oid("collation_in_use")?,
        compression: row.opt_code("compression")?,
        fdw_options: filled(row.opt_text("fdw_options")?),
        not_null: row.bool("not_null")?,
        inherited_not_null: false,
        default: None,
    })
}

fn find(cx: &Collector<'_>, relation: u32) -> Result<DumpId> {
    let id = cx.catalog.table_by_oid(relation);
    id.ok_or_else(|| SqlError::Inconsistent(format!("unrecognized table OID {relation}")))
}

/// Replaces the type of each column of a domain type by the domain's base type.
async fn resolve_domains(cx: &mut Collector<'_>) -> Result<()> {
    let mut bases = HashMap::new();
    for row in cx.rows(&DOMAINS).await? {
        bases.insert(row.oid("oid")?, row.oid("base")?);
    }
    for object in cx.catalog.iter_mut() {
        let Detail::Table(table) = &mut object.detail else { continue };
        for attribute in &mut table.attributes {
            // A domain is created after its base type, so the chain ends.
            while let Some(base) = bases.get(&attribute.type_oid).filter(|b| **b != attribute.type_oid) {
                attribute.type_oid = *base;
            }
        }
    }
    Ok(())
}

fn add_default(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let id = find(cx, row.oid("relation")?)?;
    let number = row.int2("number")?;
    let object = &cx.catalog[id];
    let (name, namespace, dump) = (object.name.clone(), object.namespace, object.dump);
    let Some(table) = cx.catalog.table(id) else { return Ok(()) };
    let Some(attribute) = table.column(number.into()) else {
        return Err(SqlError::Inconsistent(format!("invalid adnum value {number} for table \"{name}\"")));
    };
    if attribute.dropped {
        return Ok(());
    }
    // A generation expression cannot be added later, and a view's default cannot be part of CREATE VIEW.
    let separate =
        !attribute.is_generated() && (table.kind == RelationKind::View || !table.prints_column(attribute));
    let detail = AttributeDefault { table: id, number, expression: row.text("expression")?, separate };
    let catalog_id = CatalogId::new(class::PG_ATTRDEF, row.oid("oid")?);
    let default = cx.catalog.add(catalog_id, name, namespace, Detail::AttributeDefault(detail));
    cx.catalog[default].dump = dump;
    if !separate {
        // The objects that the expression uses must precede the table. The sort separates the default from
        // the table if this creates a loop.
        cx.catalog[id].depend_on(default);
    }
    let index = usize::try_from(number - 1).unwrap_or_default();
    if let Some(attribute) = cx.catalog.table_mut(id).and_then(|t| t.attributes.get_mut(index)) {
        attribute.default = Some(default);
    }
    Ok(())
}

async fn collect_checks(cx: &mut Collector<'_>, oids: &[u32]) -> Result<()> {
    cx.each(&CHECKS, &[&oids], |cx, row| add_check(cx, &row)).await?;
    for id in cx.catalog.ids_of(ObjectKind::Table) {
        let Some(table) = cx.catalog.table(id) else { continue };
        let found = table.check_constraints.len();
        // Like pg_dump, this accepts a table for which no check constraint was found although it has some.
        if found != 0 && usize::try_from(table.checks) != Ok(found) {
            return Err(SqlError::Inconsistent(format!(
                "expected {} check constraint{} on table \"{}\" but found {found}\n\
                 HINT: The system catalogs might be corrupted.",
                table.checks,
                if table.checks == 1 { "" } else { "s" },
                cx.catalog[id].name
            )));
        }
    }
    Ok(())
}

fn add_check(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let id = find(cx, row.oid("relation")?)?;
    let (namespace, dump) = (cx.catalog[id].namespace, cx.catalog[id].dump);
    // A constraint that is not validated is created after the data, because some rows may violate it.
    let separate = !row.bool("validated")?;
    let detail = Constraint {
        table: Some(id),
        domain: None,
        kind: ConstraintKind::Check,
        definition: row.text("definition")?,
        referenced_table: 0,
        index: None,
        deferrable: false,
        deferred: false,
        local: row.bool("local")?,
        separate,
    };
    let catalog_id = CatalogId::new(class::PG_CONSTRAINT, row.oid("oid")?);
    let check = cx.catalog.add(catalog_id, row.text("name")?, namespace, Detail::Constraint(detail));
    cx.catalog[check].dump = dump;
    if !separate {
        cx.catalog[id].depend_on(check);
    }
    if let Some(table) = cx.catalog.table_mut(id) {
        table.check_constraints.push(check);
    }
    Ok(())
}
