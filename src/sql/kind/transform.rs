//! Transforms between types and procedural languages.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::kind::cast::type_name;
use crate::sql::kind::{data_type, function};
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

const QUERY: CatalogQuery = CatalogQuery {
    what: "transforms",
    since: PG13,
    text: "
SELECT t.oid, t.trftype AS type, t.trflang AS language, l.lanname::text AS language_name,
       t.trffromsql::oid AS from_sql, t.trftosql::oid AS to_sql
  FROM pg_catalog.pg_transform t
       JOIN pg_catalog.pg_language l ON l.oid = t.trflang
 ORDER BY t.trftype, t.trflang",
    gates: &[],
};

/// A transform.
#[derive(Debug, Default)]
pub struct Transform {
    /// OID of the type.
    pub type_oid: u32,
    /// OID of the language.
    pub language: u32,
    /// Name of the language.
    language_name: String,
    /// OID of the function from SQL to the language, 0 if there is none.
    from_sql: u32,
    /// OID of the function from the language to SQL, 0 if there is none.
    to_sql: u32,
}

/// Identifies the transforms.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let transform = Transform {
            type_oid: row.oid("type")?,
            language: row.oid("language")?,
            language_name: row.text("language_name")?,
            from_sql: row.oid("from_sql")?,
            to_sql: row.oid("to_sql")?,
        };
        // The name is used only to sort transforms. The language's name in it is quoted.
        let name = match type_name(&cx.catalog, transform.type_oid) {
            Some(name) => format!("{name} {}", cx.catalog.quoting.id(&transform.language_name)),
            None => String::new(),
        };
        let catalog_id = CatalogId::new(class::PG_TRANSFORM, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, name, None, Detail::Transform(transform));
        select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one transform.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, transform: &Transform) {
    if em.options.data_only {
        return;
    }
    let type_name = data_type::formatted(em, transform.type_oid, "NONE");
    let identity = format!("FOR {type_name} LANGUAGE {}", em.quoting.id(&transform.language_name));
    if object.dumps(Components::DEFINITION) {
        let mut definition = format!("CREATE TRANSFORM {identity} (");
        if transform.from_sql == 0 && transform.to_sql == 0 {
            em.warn("bogus transform definition, at least one of trffromsql and trftosql should be nonzero");
        }
        if transform.from_sql != 0 {
            let signature = function::qualified_signature(em, transform.from_sql);
            put!(definition, "FROM SQL WITH FUNCTION {signature}");
        }
        if transform.to_sql != 0 {
            let comma = if transform.from_sql != 0 { ", " } else { "" };
            let signature = function::qualified_signature(em, transform.to_sql);
            put!(definition, "{comma}TO SQL WITH FUNCTION {signature}");
        }
        definition.push_str(");\n");
        let entry = TocEntry {
            tag: format!("TRANSFORM {identity}"),
            definition,
            drop: format!("DROP TRANSFORM {identity};\n"),
            dependencies: object.dependencies.clone(),
            ..em.entry_for(object, EntryKind::Transform, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        em.comment(
            object,
            &CommentTarget { object_type: "TRANSFORM", name: &identity, namespace: None, owner: "" },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{add_type, catalog, entries};
    use crate::sql::kind::function::Function;

    #[test]
    fn either_direction_may_be_missing() {
        for (from_sql, to_sql, expected) in [
            (7, 7, "FROM SQL WITH FUNCTION s.f(internal), TO SQL WITH FUNCTION s.f(internal)"),
            (0, 7, "TO SQL WITH FUNCTION s.f(internal)"),
            (7, 0, "FROM SQL WITH FUNCTION s.f(internal)"),
        ] {
            let (mut catalog, namespace) = catalog();
            add_type(&mut catalog, 2281, "internal");
            let f = Function { argument_types: vec![2281], ..Function::default() };
            let f = catalog.add(
                CatalogId::new(class::PG_PROC, 7),
                "f".to_owned(),
                Some(namespace),
                Detail::Function(f),
            );
            catalog[f].dump = Components::empty();
            let language_name = "Pl".to_owned();
            let transform = Transform { type_oid: 2281, language: 1, language_name, from_sql, to_sql };
            let catalog_id = CatalogId::new(class::PG_TRANSFORM, 1);
            catalog.add(catalog_id, String::new(), None, Detail::Transform(transform));
            let entry = entries(&mut catalog).remove(0);
            assert_eq!(entry.tag, "TRANSFORM FOR internal LANGUAGE \"Pl\"");
            assert_eq!(
                entry.definition,
                format!("CREATE TRANSFORM FOR internal LANGUAGE \"Pl\" ({expected});\n")
            );
        }
    }
}
