//! Namespaces in publications: the query, the row, the DDL. PostgreSQL manual: ALTER PUBLICATION …
//! ADD TABLES IN SCHEMA.

use super::publication::select_member;
use crate::protocol::version::PG15;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, Section, class};
use crate::sql::query::{CatalogQuery, CatalogRow};

const QUERY: CatalogQuery = CatalogQuery {
    what: "schemas in publications",
    since: PG15,
    text: "
SELECT n.oid, n.pnpubid AS publication, n.pnnspid AS namespace
  FROM pg_catalog.pg_publication_namespace n",
    gates: &[],
};

/// A published namespace.
#[derive(Debug)]
pub struct PublicationNamespace {
    /// The publication.
    pub publication: DumpId,
    /// The namespace.
    pub namespace: DumpId,
}

/// Identifies the published namespaces of which any component is dumped.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.no_publications {
        return Ok(());
    }
    for row in cx.rows(&QUERY).await? {
        add(cx, &row)?;
    }
    Ok(())
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let publication = cx.catalog.by_oid(class::PG_PUBLICATION, row.oid("publication")?);
    let namespace = cx.catalog.by_oid(class::PG_NAMESPACE, row.oid("namespace")?);
    let (Some(publication), Some(namespace)) = (publication, namespace) else { return Ok(()) };
    if cx.catalog[namespace].dump.is_empty() {
        return Ok(());
    }
    let detail = Detail::PublicationNamespace(PublicationNamespace { publication, namespace });
    let catalog_id = CatalogId::new(class::PG_PUBLICATION_NAMESPACE, row.oid("oid")?);
    let name = cx.catalog[namespace].name.clone();
    let id = cx.catalog.add(catalog_id, name, None, detail);
    select_member(cx, id);
    Ok(())
}

/// Writes the DDL of one published namespace.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, member: &PublicationNamespace) {
    if em.options.data_only || !object.dumps(Components::DEFINITION) {
        return;
    }
    let (publication, namespace) = (&em.catalog[member.publication], &em.catalog[member.namespace]);
    let mut entry = em.entry_for(object, EntryKind::PublicationTablesInSchema, Section::PostData);
    entry.tag = format!("{} {}", publication.name, namespace.name);
    entry.namespace = Some(namespace.name.clone());
    // Membership has no owner. The publication's owner must run the command.
    entry.owner = publication.owner.as_deref().map(str::to_owned);
    let (publication, namespace) = (em.quoting.id(&publication.name), em.quoting.id(&namespace.name));
    entry.definition = format!("ALTER PUBLICATION {publication} ADD TABLES IN SCHEMA {namespace};\n");
    em.push(entry);
}
