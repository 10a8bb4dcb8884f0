//! `ALTER TABLE … ATTACH PARTITION`. Partitions are created separately and attached later, which preserves
//! differences in the column layout. `table::inheritance` creates the objects.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{Components, Detail, DumpId, DumpObject, EntryKind, Section};
use crate::sql::query::CatalogQuery;

/// A partition attachment.
#[derive(Debug)]
pub struct TableAttach {
    /// The partitioned table.
    pub parent: DumpId,
    /// The partition.
    pub partition: DumpId,
    /// The partition's bound: `FOR VALUES …` or `DEFAULT`.
    pub bound: String,
}

const BOUNDS: CatalogQuery = CatalogQuery {
    what: "partition bounds",
    since: PG13,
    text: "
SELECT c.oid AS relation, pg_catalog.pg_get_expr(c.relpartbound, 0) AS bound
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY c.oid",
    gates: &[],
};

/// Reads the bounds of the partitions to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.data_only {
        return Ok(());
    }
    let wanted = |object: &DumpObject| match &object.detail {
        Detail::TableAttach(attach) if cx.dumps(attach.partition, Components::DEFINITION) => {
            Some((cx.catalog[attach.partition].catalog_id.oid, object.id))
        }
        _ => None,
    };
    let attaches: std::collections::HashMap<u32, DumpId> = cx.catalog.iter().filter_map(wanted).collect();
    if attaches.is_empty() {
        return Ok(());
    }
    let partitions: Vec<u32> = attaches.keys().copied().collect();
    cx.each(&BOUNDS, &[&partitions], |cx, row| {
        let attach = attaches.get(&row.oid("relation")?).and_then(|id| cx.catalog.table_attach_mut(*id));
        if let Some(attach) = attach {
            attach.bound = row.opt_text("bound")?.unwrap_or_default();
        }
        Ok(())
    })
    .await
}

/// Writes the DDL of one partition attachment.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, attach: &TableAttach) {
    let partition = &em.catalog[attach.partition];
    if em.options.data_only || !partition.dumps(Components::DEFINITION) {
        return;
    }
    let parent = em.catalog.qualified(&em.catalog[attach.parent]);
    // The attachment has no owner, but the partition's owner must run the statement. It has no DROP, because
    // dropping the partition drops the attachment.
    let mut entry = em.entry_for(object, EntryKind::TableAttach, Section::PreData);
    entry.owner = Some(partition.owner_name().to_owned());
    entry.definition = format!(
        "ALTER TABLE ONLY {parent} ATTACH PARTITION {} {};\n",
        em.catalog.qualified(partition),
        attach.bound
    );
    em.push(entry);
}
