//! Large objects: definitions, owners, privileges, and the entry with the contents of all large objects.
//! `sql::large_object_script` writes the contents as text. PostgreSQL manual, chapter 35.

use crate::archive::toc::EntryData;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::query::{CatalogQuery, CatalogRow};

const QUERY: CatalogQuery = CatalogQuery {
    what: "large objects",
    since: PG13,
    text: "
SELECT l.oid,
       l.lomowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(l.lomacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('L', l.lomowner))) AS acl_default
  FROM pg_catalog.pg_largeobject_metadata l",
    gates: &[],
};

/// A large object's definition. The catalog object holds all of its properties.
#[derive(Debug, Default)]
pub struct LargeObject {}

/// The contents of all large objects.
#[derive(Debug, Default)]
pub struct LargeObjectData {}

/// Identifies the large objects. Individual large objects cannot be selected.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let before = cx.catalog.len();
    cx.each(&QUERY, &[], |cx, row| add(cx, &row)).await?;
    if cx.catalog.len() > before {
        let detail = Detail::LargeObjectData(LargeObjectData {});
        let id = cx.catalog.add(CatalogId::default(), "BLOBS".to_owned(), None, detail);
        cx.catalog[id].components |= Components::DATA;
    }
    Ok(())
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let oid = row.oid("oid")?;
    let catalog_id = CatalogId::new(class::PG_LARGEOBJECT, oid);
    let detail = Detail::LargeObject(LargeObject {});
    let id = cx.catalog.add(catalog_id, oid.to_string(), None, detail);
    cx.catalog[id].components |= Components::DATA;
    cx.set_owner_and_acl(id, row)
}

/// Writes the DDL of one large object.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, _large_object: &LargeObject) {
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Blob, Section::PreData);
        entry.definition = format!("SELECT pg_catalog.lo_create('{}');\n", object.name);
        entry.drop = format!("SELECT pg_catalog.lo_unlink('{}');\n", object.name);
        em.push(entry);
    }
    let target = CommentTarget {
        object_type: "LARGE OBJECT",
        name: &object.name,
        namespace: None,
        owner: object.owner_name(),
    };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

/// Writes the entry with the contents.
pub(in crate::sql) fn emit_data(em: &mut Emitter<'_>, object: &DumpObject, _data: &LargeObjectData) {
    if !object.dumps(Components::DATA) {
        return;
    }
    let objects = em.catalog.iter().filter(|o| o.kind() == ObjectKind::LargeObject);
    let mut oids: Vec<u32> = objects.map(|o| o.catalog_id.oid).collect();
    oids.sort_unstable();
    let mut entry = em.entry_for(object, EntryKind::Blobs, Section::Data);
    entry.data = Some(EntryData::LargeObjects(oids));
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn contents_come_in_the_order_of_oids_as_numbers() {
        let (mut catalog, _) = catalog();
        for oid in [10_000, 999] {
            let detail = Detail::LargeObject(LargeObject {});
            catalog.add(CatalogId::new(class::PG_LARGEOBJECT, oid), oid.to_string(), None, detail);
        }
        let detail = Detail::LargeObjectData(LargeObjectData {});
        let data = catalog.add(CatalogId::default(), "BLOBS".to_owned(), None, detail);
        catalog[data].components |= Components::DATA;
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].definition, "SELECT pg_catalog.lo_create('10000');\n");
        assert_eq!(entries[0].drop, "SELECT pg_catalog.lo_unlink('10000');\n");
        let Some(EntryData::LargeObjects(oids)) = &entries[2].data else { panic!("BLOBS carries data") };
        assert_eq!(oids, &[999, 10_000]);
    }
}
