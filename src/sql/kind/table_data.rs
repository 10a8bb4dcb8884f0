//! The rows of tables and the values of sequences: which are dumped, and in which form.

use super::matview_refresh::MatviewRefresh;
use super::table::{Persistence, RelationKind, Table};
use crate::archive::toc::{CopyData, EntryData, HeapExtent, InsertColumn, InsertData};
use crate::protocol::version::PG14;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{
    Catalog, CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section,
};
use crate::sql::query::CatalogQuery;
use crate::sql::{AmountOfData, put};

/// A table's data.
#[derive(Debug)]
pub struct TableData {
    /// The table or sequence.
    pub table: DumpId,
    /// The `WHERE` clause of an extension's configuration table.
    pub filter: Option<String>,
    /// Size of a heap table; read only for tables that may be large.
    size: Option<HeapSize>,
}

#[derive(Clone, Copy, Debug)]
struct HeapSize {
    blocks: u32,
    bytes: u64,
}

impl TableData {
    /// Describes all rows of a table, or the value of a sequence.
    pub fn of(table: DumpId) -> Self {
        TableData { table, filter: None, size: None }
    }
}

/// Reads the sizes of heap tables that may be large, in order to dump them in parts. Reading a size costs a
/// system call, so the statistics select the tables: `relpages` of the last ANALYZE or, for a table that was
/// small then, the live row count of the cumulative statistics. Servers before 14 cannot scan a range of a
/// table's blocks.
const SIZES: CatalogQuery = CatalogQuery {
    what: "sizes of tables",
    since: PG14,
    text: "
SELECT c.oid,
       pg_catalog.pg_relation_size(c.oid)
       / pg_catalog.int8in(pg_catalog.textout(pg_catalog.current_setting('block_size'))) AS blocks,
       pg_catalog.pg_relation_size(c.oid)
       + COALESCE(pg_catalog.pg_relation_size(NULLIF(c.reltoastrelid, 0)), 0) AS bytes
  FROM pg_catalog.unnest($1::oid[]) t (oid)
       JOIN pg_catalog.pg_class c ON c.oid = t.oid
       JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'heap'
 WHERE c.relkind = 'r'
   AND (c.relpages >= 8
        OR c.relpages = 0
        OR pg_catalog.pg_stat_get_live_tuples(c.oid) > 1000)
 ORDER BY c.oid",
    gates: &[],
};

/// Creates the objects for the rows and sequence values to be dumped.
pub(in crate::sql) fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for id in cx.catalog.ids_of(ObjectKind::Table) {
        if cx.catalog[id].dump.contains(Components::DATA) {
            make(cx, id, None);
        }
    }
    Ok(())
}

/// Creates the object for a relation's rows, value or refresh, unless it exists or an option excludes it.
/// `filter` is an extension's condition on the rows of its configuration table.
pub(in crate::sql) fn make(cx: &mut Collector<'_>, id: DumpId, filter: Option<String>) {
    let known = cx.catalog.table(id).and_then(|t| t.data);
    let data = known.or_else(|| add(cx, id));
    if let (Some(filter), Some(rows)) = (filter, data.and_then(|data| cx.catalog.table_data_mut(data))) {
        rows.filter = Some(filter);
    }
}

fn add(cx: &mut Collector<'_>, id: DumpId) -> Option<DumpId> {
    let object = &cx.catalog[id];
    let table = cx.catalog.table(id)?;
    let oid = object.catalog_id.oid;
    let skipped = match table.kind {
        // A view has no rows. The rows of a partitioned table belong to its partitions.
        RelationKind::View | RelationKind::PartitionedTable | RelationKind::CompositeType => true,
        RelationKind::ForeignTable => !cx.selection.foreign_servers.contains(&table.foreign_server),
        RelationKind::Table
        | RelationKind::MaterializedView
        | RelationKind::Sequence
        | RelationKind::ToastTable
        | RelationKind::Index
        | RelationKind::PartitionedIndex => false,
    };
    let unwanted_unlogged = table.persistence == Persistence::Unlogged && cx.options.no_unlogged_table_data;
    if skipped || unwanted_unlogged || cx.selection.excluded_table_data.contains(&oid) {
        return None;
    }
    let detail = match table.kind {
        RelationKind::MaterializedView => Detail::MatviewRefresh(MatviewRefresh { table: id }),
        RelationKind::Sequence => Detail::SequenceSet(TableData::of(id)),
        _ => Detail::TableData(TableData::of(id)),
    };
    let (name, namespace) = (object.name.clone(), object.namespace);
    // The catalog id has no class, so that no catalog dependency is assigned to the rows.
    let data = cx.catalog.add(CatalogId::new(0, oid), name, namespace, detail);
    cx.catalog[data].components |= Components::DATA;
    cx.catalog[data].depend_on(id);
    let table = cx.catalog.table_mut(id)?;
    table.data = Some(data);
    table.interesting = true;
    Some(data)
}

/// Reads the sizes of the tables whose rows are dumped. The tables must be locked.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.schema_only || cx.options.rows_per_insert.is_some() {
        return Ok(());
    }
    let mut oids = Vec::new();
    for object in cx.catalog.iter() {
        let Detail::TableData(_) = &object.detail else { continue };
        if cx.dumps(object.id, Components::DATA) {
            oids.push(object.catalog_id.oid);
        }
    }
    for row in cx.rows_with(&SIZES, &[&oids]).await? {
        let data = cx.catalog.table_by_oid(row.oid("oid")?).and_then(|id| cx.catalog.table(id)?.data);
        let (blocks, bytes) = (row.int8("blocks")?, row.int8("bytes")?);
        let size = HeapSize {
            // A table has at most 2^32 - 1 blocks.
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
            bytes: bytes.unsigned_abs(),
        };
        if let Some(rows) = data.and_then(|data| cx.catalog.table_data_mut(data))
            && size.blocks > 0
        {
            rows.size = Some(size);
        }
    }
    Ok(())
}

/// Returns the number of tables whose rows are dumped, and the total of the known sizes.
pub(in crate::sql) fn amount(catalog: &Catalog) -> AmountOfData {
    let mut amount = AmountOfData::default();
    for object in catalog.iter() {
        if let Detail::TableData(data) = &object.detail
            && object.dumps(Components::DATA)
        {
            amount.tables += 1;
            amount.bytes += data.size.map_or(0, |size| size.bytes);
        }
    }
    amount
}

/// Makes the rows of tables depend on the rows that their foreign keys reference, for a data-only dump.
pub(in crate::sql) fn depend_on_foreign_keys(cx: &mut Collector<'_>) {
    for id in cx.catalog.ids_of(ObjectKind::ForeignKey) {
        let Some(key) = cx.catalog.foreign_key(id) else { continue };
        let data = |table: Option<DumpId>| table.and_then(|t| cx.catalog.table(t)).and_then(|t| t.data);
        let referencing = data(key.table);
        let referenced = data(cx.catalog.table_by_oid(key.referenced_table));
        if let (Some(referencing), Some(referenced)) = (referencing, referenced) {
            cx.catalog[referencing].depend_on(referenced);
        }
    }
}

/// Writes the entry for the rows of one table.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, table_data: &TableData) {
    if !object.dumps(Components::DATA) {
        return;
    }
    let relation = &em.catalog[table_data.table];
    let Some(table) = em.catalog.table(table_data.table) else { return };
    let root = match root_to_load(em, relation, table) {
        Ok(root) => root,
        Err(error) => return em.fail(error),
    };
    let source = em.catalog.qualified(relation);
    let target = root.map_or_else(|| source.clone(), |root| em.catalog.qualified(root));

    let mut entry = em.entry_for(object, EntryKind::TableData, Section::Data);
    entry.owner = Some(relation.owner_name().to_owned());
    entry.dependencies = vec![relation.id];
    if root.is_some() {
        entry.definition = format!("-- load via partition root {}", target.replace(['\n', '\r'], " "));
    }
    let filter = table_data.filter.as_deref();
    entry.data = Some(match em.options.rows_per_insert {
        None => EntryData::Copy(Box::new(copy(em, table, table_data, source, &target))),
        Some(rows) => EntryData::Inserts(Box::new(inserts(em, table, &source, &target, filter, rows))),
    });
    em.push(entry);
}

/// Returns the topmost partitioned table if rows must be loaded through it or an option requires it.
fn root_to_load<'a>(
    em: &Emitter<'a>,
    relation: &DumpObject,
    table: &Table,
) -> Result<Option<&'a DumpObject>> {
    if !table.is_partition {
        return Ok(None);
    }
    let mut forced = em.options.load_via_partition_root;
    let mut parents = &table.parents;
    loop {
        let parent = parents.first().and_then(|id| Some((*id, em.catalog.table(*id)?)));
        let Some((id, parent)) = parent else {
            return Err(SqlError::Inconsistent(format!(
                "partition \"{}\" has no partitioned table above it",
                relation.name
            )));
        };
        forced |= parent.unsafe_partitions;
        if !parent.is_partition {
            return Ok(forced.then(|| &em.catalog[id]));
        }
        parents = &parent.parents;
    }
}

fn copy(em: &Emitter<'_>, table: &Table, table_data: &TableData, source: String, target: &str) -> CopyData {
    let filter = table_data.filter.as_deref();
    let names: Vec<_> = table
        .attributes
        .iter()
        .filter(|a| !a.dropped && !a.is_generated())
        .map(|a| em.quoting.id(&a.name).to_string())
        .collect();
    let names = names.join(", ");
    // COPY does not accept an empty list of columns.
    let list = if names.is_empty() { String::new() } else { format!("({names})") };
    let query = if filter.is_some() || table.kind == RelationKind::ForeignTable {
        let selected = if names.is_empty() { "*" } else { &names };
        format!("COPY (SELECT {selected} FROM {source} {}) TO stdout;", filter.unwrap_or(""))
    } else {
        format!("COPY {source} {list} TO stdout;")
    };
    // With row security, policies may read any other table and wait for its lock.
    let is_plain = filter.is_none() && table.kind == RelationKind::Table && !em.options.enable_row_security;
    let size = table_data.size.filter(|_| is_plain && !names.is_empty());
    CopyData {
        query,
        statement: format!("COPY {target} {list} FROM stdin;\n"),
        foreign: table.kind == RelationKind::ForeignTable,
        extent: size.map(|HeapSize { blocks, bytes }| HeapExtent {
            select: format!("SELECT {names} FROM ONLY {source}"),
            blocks,
            bytes,
        }),
        table: is_plain.then_some(source),
    }
}

/// Returns the query and the statement for INSERTs. With column names, generated columns are omitted. Without
/// column names, they are read as NULL and written as `DEFAULT`.
fn inserts(
    em: &Emitter<'_>,
    table: &Table,
    source: &str,
    target: &str,
    filter: Option<&str>,
    rows_per_statement: u64,
) -> InsertData {
    let with_names = em.options.column_inserts;
    let attributes: Vec<_> =
        table.attributes.iter().filter(|a| !(a.dropped || a.is_generated() && with_names)).collect();
    let names: Vec<_> = attributes.iter().map(|a| em.quoting.id(&a.name).to_string()).collect();
    let selected: Vec<_> = attributes
        .iter()
        .zip(&names)
        .map(|(a, name)| if a.is_generated() { "NULL" } else { name.as_str() })
        .collect();
    let selected = if selected.is_empty() { "NULL".to_owned() } else { selected.join(", ") };
    let mut query = format!("SELECT {selected} FROM ONLY {source}");
    if let Some(filter) = filter {
        put!(query, " {filter}");
    }
    let mut prefix = format!("INSERT INTO {target} ");
    if attributes.is_empty() {
        prefix.push_str("DEFAULT VALUES;\n");
    } else {
        if with_names {
            put!(prefix, "({}) ", names.join(", "));
        }
        if table.needs_override {
            prefix.push_str("OVERRIDING SYSTEM VALUE ");
        }
        prefix.push_str("VALUES");
    }
    let suffix = if em.options.on_conflict_do_nothing { " ON CONFLICT DO NOTHING;\n" } else { ";\n" };
    InsertData {
        query,
        prefix,
        columns: attributes
            .iter()
            .map(|a| InsertColumn { type_oid: a.type_oid, generated: a.is_generated() })
            .collect(),
        suffix: suffix.to_owned(),
        foreign: table.kind == RelationKind::ForeignTable,
        rows_per_statement,
    }
}
