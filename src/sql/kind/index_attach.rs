//! Attachments of partitions' indexes to the partitioned index. They are derived from the collected indexes,
//! without a query. PostgreSQL manual: ALTER INDEX … ATTACH PARTITION.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{
    Catalog, CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section, class,
};

/// An index attachment.
#[derive(Debug)]
pub struct IndexAttach {
    /// The index on the partitioned table.
    pub parent: DumpId,
    /// The index on the partition.
    pub partition: DumpId,
}

/// Creates an attachment for each partition's index whose parent index was also collected.
#[expect(clippy::unused_async, reason = "all kinds collect alike")]
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for table in cx.catalog.ids_of(ObjectKind::Table) {
        for (parent, partition) in attachable(&cx.catalog, table) {
            add(&mut cx.catalog, parent, partition);
        }
    }
    Ok(())
}

/// Returns pairs of parent index and partition index for the indexes of a partition.
fn attachable(catalog: &Catalog, table: DumpId) -> Vec<(DumpId, DumpId)> {
    let Some(table) = catalog.table(table) else { return Vec::new() };
    if !table.is_partition || table.parents.is_empty() {
        return Vec::new();
    }
    let pair = |id: &DumpId| {
        let parent = catalog.index(*id)?.parent;
        let parent = catalog.by_oid(class::PG_CLASS, parent)?;
        catalog.index(parent).map(|_| (parent, *id))
    };
    table.indexes.iter().filter_map(pair).collect()
}

fn add(catalog: &mut Catalog, parent: DumpId, partition: DumpId) {
    let tables = [partition, parent].map(|id| catalog.index(id).map(|index| index.table));
    let (name, namespace) = (catalog[partition].name.clone(), catalog[partition].namespace);
    let detail = Detail::IndexAttach(IndexAttach { parent, partition });
    let id = catalog.add(CatalogId::default(), name, namespace, detail);
    // pg_depend has no rows for attachments. Both indexes must exist. The dependencies on the tables prevent
    // a parallel restore from running other statements on them at the same time.
    let object = &mut catalog[id];
    object.depend_on(partition);
    object.depend_on(parent);
    for table in tables.into_iter().flatten() {
        object.depend_on(table);
    }
    if let Some(parent) = catalog.index_mut(parent) {
        parent.partition_attaches.push(id);
    }
}

/// Writes the DDL of one index attachment.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, attach: &IndexAttach) {
    let (parent, partition) = (&em.catalog[attach.parent], &em.catalog[attach.partition]);
    if em.options.data_only || !partition.dumps(Components::DEFINITION) {
        return;
    }
    let mut entry = em.entry_for(object, EntryKind::IndexAttach, Section::PostData);
    // Attachments have no owner. The partitioned table's owner must run the command.
    let table = em.catalog.index(attach.parent).map(|index| &em.catalog[index.table]);
    entry.owner = table.and_then(|table| table.owner.as_deref()).map(str::to_owned);
    let (parent, partition) = (em.catalog.qualified(parent), em.catalog.qualified(partition));
    entry.definition = format!("ALTER INDEX {parent} ATTACH PARTITION {partition};\n");
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::Index;
    use crate::sql::kind::index::tests::{add_index, catalog_with, plain};
    use crate::sql::kind::table::RelationKind;

    #[test]
    fn an_attachment_follows_both_indexes_and_is_run_by_the_tables_owner() {
        let (mut catalog, table) = catalog_with(RelationKind::PartitionedTable);
        let parent = add_index(&mut catalog, "up", plain(table));
        let oid = catalog[parent].catalog_id.oid;
        let partition = add_index(&mut catalog, "Down", Index { parent: oid, ..plain(table) });
        let detail = catalog.table_mut(table).unwrap();
        (detail.is_partition, detail.parents, detail.indexes) = (true, vec![table], vec![parent, partition]);

        let pairs = attachable(&catalog, table);
        assert_eq!(pairs, [(parent, partition)]);
        add(&mut catalog, parent, partition);
        let entry = entries(&mut catalog).pop().unwrap();
        assert_eq!(entry.definition, "ALTER INDEX s.up ATTACH PARTITION s.\"Down\";\n");
        assert_eq!((entry.desc, entry.owner.as_deref()), (EntryKind::IndexAttach, Some("own")));
        assert_eq!(catalog[entry.id].dependencies, [partition, parent, table, table]);
        assert_eq!(catalog.index(parent).unwrap().partition_attaches, [entry.id]);
    }
}
