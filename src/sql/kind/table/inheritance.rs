//! Inheritance: parents, attachments of partitions, and the properties that columns inherit.

use std::collections::HashMap;

use super::RelationKind;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::attribute_default::AttributeDefault;
use crate::sql::kind::table_attach::TableAttach;
use crate::sql::object::{CatalogId, Detail, DumpId, ObjectKind};
use crate::sql::query::CatalogQuery;

/// pg_dump reads this catalog in the order of its rows on disk, which determines the order of `INHERITS`.
const INHERITS: CatalogQuery = CatalogQuery {
    what: "inheritance",
    since: PG13,
    text: "
SELECT i.inhrelid AS child, i.inhparent AS parent
  FROM pg_catalog.pg_inherits i",
    gates: &[],
};

/// Finds hash partitioning by an enum. The hash depends on the OIDs of the enum values, which a restore
/// changes.
const UNSAFE_PARTITIONING: CatalogQuery = CatalogQuery {
    what: "partitioned tables",
    since: PG13,
    text: "
SELECT p.partrelid AS relation
  FROM pg_catalog.pg_partitioned_table p
 WHERE EXISTS (SELECT
                 FROM pg_catalog.pg_opclass o
                      JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                WHERE o.opcname = 'enum_ops'
                  AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
                  AND m.amname = 'hash'
                  AND o.oid IN (SELECT pg_catalog.unnest(p.partclass)))
 ORDER BY p.partrelid",
    gates: &[],
};

/// Links tables to their parents, marks the parents of dumped tables as interesting, and creates the objects
/// that attach partitions.
pub(in crate::sql) async fn collect_inheritance(cx: &mut Collector<'_>) -> Result<()> {
    let mut parents: HashMap<DumpId, Vec<u32>> = HashMap::new();
    cx.each(&INHERITS, &[], |cx, row| {
        // Indexes of partitions are in this catalog too. They are linked elsewhere.
        if let Some(child) = cx.catalog.table_by_oid(row.oid("child")?) {
            parents.entry(child).or_default().push(row.oid("parent")?);
        }
        Ok(())
    })
    .await?;
    for id in cx.catalog.ids_of(ObjectKind::Table) {
        link(cx, id, parents.remove(&id).unwrap_or_default())?;
    }
    Ok(())
}

fn link(cx: &mut Collector<'_>, id: DumpId, parent_oids: Vec<u32>) -> Result<()> {
    let object = &cx.catalog[id];
    let dumped = !object.dump.is_empty();
    let Some(table) = cx.catalog.table(id) else { return Ok(()) };
    let is_partition = table.is_partition;
    // A partition whose rows are dumped needs its root even if nothing else of it is dumped.
    let find =
        dumped || (is_partition && (table.kind == RelationKind::PartitionedTable || table.data.is_some()));
    if !table.may_have_parents() || !find {
        return Ok(());
    }
    let name = object.name.clone();
    let own_oid = object.catalog_id.oid;
    let namespace = object.namespace;
    let mut parents = Vec::with_capacity(parent_oids.len());
    for oid in parent_oids {
        let parent = cx.catalog.table_by_oid(oid).ok_or_else(|| {
            SqlError::Inconsistent(format!(
                "failed sanity check, parent OID {oid} of table \"{name}\" (OID {own_oid}) not found"
            ))
        })?;
        parents.push(parent);
    }
    for parent in parents.iter().filter(|_| dumped) {
        if let Some(parent) = cx.catalog.table_mut(*parent) {
            parent.interesting = true;
        }
    }
    if dumped && is_partition {
        let [parent] = parents[..] else {
            return Err(SqlError::Inconsistent(format!(
                "invalid number of parents {} for table \"{name}\"",
                parents.len()
            )));
        };
        let detail = TableAttach { parent, partition: id, bound: String::new() };
        let attach = cx.catalog.add(CatalogId::default(), name, namespace, Detail::TableAttach(detail));
        cx.catalog[attach].depend_on(id);
        cx.catalog[attach].depend_on(parent);
    }
    if let Some(table) = cx.catalog.table_mut(id) {
        table.parents = parents;
    }
    Ok(())
}

/// Finds partitioned tables whose rows must be loaded through the root.
pub(in crate::sql) async fn collect_partitioning(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.schema_only {
        return Ok(());
    }
    for row in cx.rows(&UNSAFE_PARTITIONING).await? {
        let oid = row.oid("relation")?;
        let table = cx.catalog.table_by_oid(oid).and_then(|id| cx.catalog.table_mut(id));
        let Some(table) = table else {
            return Err(SqlError::Inconsistent(format!(
                "failed sanity check, table OID {oid} appearing in pg_partitioned_table not found"
            )));
        };
        table.unsafe_partitions = true;
    }
    Ok(())
}

/// The properties that a column inherits from the columns with the same name in the table's parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Inherited {
    not_null: bool,
    default: bool,
    generated: bool,
}

/// Flags inherited properties of columns. A column without a default gets `DEFAULT NULL` if a parent has a
/// default, because it would otherwise inherit that one. A generation expression is
/// written again in partitions, which are created separately, and, depending on the major, where it is another one
/// than that of a parent.
pub(super) fn inherit_attributes(cx: &mut Collector<'_>) {
    for id in cx.catalog.ids_of(ObjectKind::Table) {
        if cx.catalog[id].dump.is_empty() {
            continue;
        }
        for (index, inherited) in inherited_by(cx, id) {
            apply(cx, id, index, inherited);
        }
    }
}

fn inherited_by(cx: &Collector<'_>, id: DumpId) -> Vec<(usize, Inherited)> {
    let Some(table) = cx.catalog.table(id) else { return Vec::new() };
    if !table.may_have_parents() || table.parents.is_empty() {
        return Vec::new();
    }
    let dialect = cx.catalog.dialect;
    let (counts_null, own_generation) = (dialect.overrides_null_defaults, dialect.writes_own_generation);
    let parents: Vec<_> = table.parents.iter().filter_map(|p| cx.catalog.table(*p)).collect();
    let mut found = Vec::new();
    for (index, attribute) in table.attributes.iter().enumerate().filter(|(_, a)| !a.dropped) {
        let mut inherited = Inherited::default();
        let expression = |id: Option<DumpId>| {
            id.and_then(|id| cx.catalog.attribute_default(id)).map(|default| default.expression.as_str())
        };
        let own = expression(attribute.default);
        let (mut same, mut different) = (false, false);
        for parent in &parents {
            // Children usually have their parents' columns in the same positions.
            let same_place = parent.attributes.get(index).filter(|a| a.name == attribute.name);
            let above = same_place.or_else(|| parent.attributes.iter().find(|a| a.name == attribute.name));
            if let Some(above) = above {
                inherited.not_null |= above.not_null;
                let default = above.default.and_then(|id| cx.catalog.attribute_default(id));
                let counts = |default: &AttributeDefault| counts_null || default.expression != "NULL";
                inherited.default |= default.is_some_and(counts) && !above.is_generated();
                let is_same = own.is_some() && own == expression(above.default);
                same |= above.is_generated() && is_same;
                different |= above.is_generated() && !is_same;
            }
        }
        inherited.generated = same && !different || different && !own_generation;
        if inherited != Inherited::default() {
            found.push((index, inherited));
        }
    }
    found
}

fn apply(cx: &mut Collector<'_>, id: DumpId, index: usize, inherited: Inherited) {
    let Some(table) = cx.catalog.table_mut(id) else { return };
    let is_partition = table.is_partition;
    let Some(attribute) = table.attributes.get_mut(index) else { return };
    attribute.inherited_not_null = inherited.not_null;
    let needs_null = inherited.default && attribute.default.is_none();
    let forget = inherited.generated && !is_partition;
    if needs_null {
        let default = add_null_default(cx, id, index);
        set_default(cx, id, index, default);
    }
    if forget {
        set_default(cx, id, index, None);
    }
}

fn set_default(cx: &mut Collector<'_>, id: DumpId, index: usize, default: Option<DumpId>) {
    if let Some(attribute) = cx.catalog.table_mut(id).and_then(|t| t.attributes.get_mut(index)) {
        attribute.default = default;
    }
}

fn add_null_default(cx: &mut Collector<'_>, id: DumpId, index: usize) -> Option<DumpId> {
    let table = cx.catalog.table(id)?;
    let separate = !table.prints_column(table.attributes.get(index)?);
    let object = &cx.catalog[id];
    let (name, namespace, dump) = (object.name.clone(), object.namespace, object.dump);
    let detail = AttributeDefault {
        table: id,
        number: i16::try_from(index + 1).ok()?,
        expression: "NULL".to_owned(),
        separate,
    };
    let default = cx.catalog.add(CatalogId::default(), name, namespace, Detail::AttributeDefault(detail));
    cx.catalog[default].dump = dump;
    if separate {
        cx.catalog[default].depend_on(id);
    }
    Some(default)
}
