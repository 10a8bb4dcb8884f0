//! Composite types: their attributes and the comments on them.

use super::{DataType, TypeForm, TypeKind, collation, described, oids_to_describe};
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, DumpObject, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;

/// Reads no dropped attributes, because a dump omits them. The collation is read only if it differs from the
/// type's.
const QUERY: CatalogQuery = CatalogQuery {
    what: "composite types",
    since: PG13,
    text: "
SELECT ct.oid, a.attname::text AS name, a.attnum::int4 AS number,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name,
       CASE WHEN a.attcollation <> at.typcollation THEN a.attcollation ELSE 0 END AS collation
  FROM pg_catalog.pg_type ct
       JOIN pg_catalog.pg_attribute a ON a.attrelid = ct.typrelid AND NOT a.attisdropped
       LEFT JOIN pg_catalog.pg_type at ON at.oid = a.atttypid
 WHERE ct.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY ct.oid, a.attnum",
    gates: &[],
};

/// An attribute of a composite type.
#[derive(Debug)]
pub(in crate::sql::kind) struct CompositeAttribute {
    /// Its name.
    pub name: String,
    /// Its number, which comments refer to.
    pub number: i32,
    /// `format_type()` of its type and modifier.
    pub type_name: String,
    /// OID of its collation if it differs from the type's, else 0.
    pub collation: u32,
}

/// Reads the attributes of the composite types to be dumped.
pub(super) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, TypeKind::Composite, Components::DEFINITION | Components::COMMENT);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&oids]).await? {
        let attribute = CompositeAttribute {
            name: row.text("name")?,
            number: row.int4("number")?,
            type_name: row.text("type_name")?,
            collation: row.oid("collation")?,
        };
        let data_type = described(cx, row.oid("oid")?)?;
        match &mut data_type.form {
            TypeForm::Composite(attributes) => attributes.push(attribute),
            form => *form = TypeForm::Composite(vec![attribute]),
        }
    }
    Ok(())
}

/// Returns `CREATE TYPE … AS (…)`.
pub(super) fn definition(em: &Emitter<'_>, name: &str, attributes: &[CompositeAttribute]) -> String {
    let mut sql = format!("CREATE TYPE {name} AS (");
    for (i, attribute) in attributes.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        put!(sql, "{comma}\n\t{} {}", em.quoting.id(&attribute.name), attribute.type_name);
        if let Some(collation) = collation(em, attribute.collation) {
            put!(sql, " COLLATE {collation}");
        }
    }
    sql.push_str("\n);\n");
    sql
}

/// Writes the comments on the attributes. They are attached to the type's relation.
pub(super) fn emit_comments(
    em: &mut Emitter<'_>,
    object: &DumpObject,
    data_type: &DataType,
    attributes: &[CompositeAttribute],
) {
    let relation = CatalogId::new(class::PG_CLASS, data_type.relation);
    let namespace = em.catalog.namespace_name(object);
    for attribute in attributes {
        let name = format!("{}.{}", em.quoting.id(&object.name), em.quoting.id(&attribute.name));
        let target =
            CommentTarget { object_type: "COLUMN", name: &name, namespace, owner: object.owner_name() };
        em.comment_on(relation, attribute.number, object.id, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{catalog, entries};
    use super::*;
    use crate::sql::object::Detail;

    #[test]
    fn attributes_keep_their_comments_and_collations() {
        let (mut catalog, namespace) = catalog();
        let coll = catalog.add(
            CatalogId::new(class::PG_COLLATION, 50),
            "Coll".to_owned(),
            Some(namespace),
            Detail::Collation(Default::default()),
        );
        catalog[coll].dump = Components::empty();
        let attribute = |name: &str, number, collation| CompositeAttribute {
            name: name.to_owned(),
            number,
            type_name: "text".to_owned(),
            collation,
        };
        let form = TypeForm::Composite(vec![attribute("select", 1, 0), attribute("b", 3, 50)]);
        let data_type =
            DataType { kind: Some(TypeKind::Composite), relation: 77, form, ..DataType::default() };
        let id = catalog.add(
            CatalogId::new(class::PG_TYPE, 100),
            "pair".to_owned(),
            Some(namespace),
            Detail::Type(Box::new(data_type)),
        );
        catalog[id].components |= Components::COMMENT;
        catalog.comments.insert(CatalogId::new(class::PG_CLASS, 77), vec![(3, "it's b".to_owned())]);
        let entries = entries(&mut catalog);
        assert_eq!(
            entries[0].definition,
            "CREATE TYPE s.pair AS (\n\t\"select\" text,\n\tb text COLLATE s.\"Coll\"\n);\n"
        );
        assert_eq!(entries[1].tag, "COLUMN pair.b");
        assert_eq!(entries[1].definition, "COMMENT ON COLUMN s.pair.b IS 'it''s b';\n");
    }
}
