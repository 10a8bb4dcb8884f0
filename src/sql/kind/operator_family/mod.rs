//! Operator families. Their loose members are in [`member`], together with those of classes.

pub(super) mod member;

use self::member::{Members, SEPARATOR};
use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::kind::function::oids_to_describe;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

/// Includes built-in families, because classes may belong to them.
const QUERY: CatalogQuery = CatalogQuery {
    what: "operator families",
    since: PG13,
    text: "
SELECT f.oid, f.opfname::text AS name, f.opfnamespace AS namespace, f.opfowner AS owner, f.opfmethod AS method
  FROM pg_catalog.pg_opfamily f",
    gates: &[],
};

/// An operator family.
#[derive(Debug, Default)]
pub struct OperatorFamily {
    /// OID of the access method.
    pub method: u32,
    /// The members that belong to no operator class.
    members: Members,
}

/// Identifies the operator families.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let family = OperatorFamily { method: row.oid("method")?, members: Members::default() };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_OPFAMILY, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let detail = Detail::OperatorFamily(family);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Reads the DDL details of the operator families to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::OperatorFamily);
    if oids.is_empty() {
        return Ok(());
    }
    member::describe(cx, class::PG_OPFAMILY, &oids, &oids).await
}

/// Returns the quoted name of an access method.
pub(super) fn method_name(em: &mut Emitter<'_>, oid: u32) -> String {
    match em.catalog.by_oid(class::PG_AM, oid) {
        Some(id) => em.quoting.id(&em.catalog[id].name).to_string(),
        None => {
            let text = format!("access method with OID {oid} does not exist");
            em.fail(crate::sql::error::SqlError::Inconsistent(text));
            String::new()
        }
    }
}

/// Writes the DDL of one operator family.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, family: &OperatorFamily) {
    if em.options.data_only {
        return;
    }
    let method = method_name(em, family.method);
    if object.dumps(Components::DEFINITION) {
        let name = format!("{} USING {method}", em.catalog.qualified(object));
        let mut definition = format!("CREATE OPERATOR FAMILY {name};\n");
        let members = family.members.clauses(em.quoting);
        if !members.is_empty() {
            put!(definition, "ALTER OPERATOR FAMILY {name} ADD\n    {};\n", members.join(SEPARATOR));
        }
        let entry = TocEntry {
            definition,
            drop: format!("DROP OPERATOR FAMILY {name};\n"),
            ..em.entry_for(object, EntryKind::OperatorFamily, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = format!("{} USING {method}", em.quoting.id(&object.name));
        let namespace = em.catalog.namespace_name(object);
        let target = CommentTarget {
            object_type: "OPERATOR FAMILY",
            name: &name,
            namespace,
            owner: object.owner_name(),
        };
        em.comment(object, &target);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::member::tests::members;
    use super::*;
    use crate::sql::kind::access_method::{AccessMethod, AccessMethodKind};
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::object::Catalog;

    pub(in crate::sql::kind) fn add_method(catalog: &mut Catalog) {
        let method =
            Detail::AccessMethod(AccessMethod { kind: Ok(AccessMethodKind::Index), handler: "h".to_owned() });
        let id = catalog.add(CatalogId::new(class::PG_AM, 403), "btree".to_owned(), None, method);
        catalog[id].dump = Components::empty();
    }

    #[test]
    fn loose_members_are_added_to_the_family() {
        let (mut catalog, namespace) = catalog();
        add_method(&mut catalog);
        for (oid, members) in [(1, Members::default()), (2, members())] {
            let family = Detail::OperatorFamily(OperatorFamily { method: 403, members });
            let catalog_id = CatalogId::new(class::PG_OPFAMILY, oid);
            catalog.add(catalog_id, "F".to_owned(), Some(namespace), family);
        }
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].definition, "CREATE OPERATOR FAMILY s.\"F\" USING btree;\n");
        assert_eq!(
            entries[1].definition,
            "CREATE OPERATOR FAMILY s.\"F\" USING btree;\nALTER OPERATOR FAMILY s.\"F\" USING btree ADD\n    \
             OPERATOR 1 s.<(integer,integer) ,\n    \
             OPERATOR 15 s.<(integer,integer) FOR ORDER BY s.\"F\" ,\n    \
             FUNCTION 1 (integer, bigint) btint4cmp(integer,integer);\n"
        );
        assert_eq!(entries[1].drop, "DROP OPERATOR FAMILY s.\"F\" USING btree;\n");
    }
}
