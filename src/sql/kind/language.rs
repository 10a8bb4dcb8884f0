//! Procedural languages.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, LAST_BUILTIN_OID, ObjectKind, Section,
    class,
};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_by_extension;

const QUERY: CatalogQuery = CatalogQuery {
    what: "procedural languages",
    since: PG13,
    text: "
SELECT l.oid, l.lanname::text AS name, l.lanowner AS owner, l.lanpltrusted AS trusted,
       l.lanplcallfoid AS call_handler, l.laninline AS inline_handler, l.lanvalidator AS validator,
       pg_catalog.textin(pg_catalog.array_out(l.lanacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('l', l.lanowner))) AS acl_default
  FROM pg_catalog.pg_language l
 WHERE l.lanispl
 ORDER BY l.oid",
    gates: &[],
};

/// A procedural language.
#[derive(Debug, Default)]
pub struct Language {
    /// `TRUSTED`.
    pub trusted: bool,
    /// OID of the call handler function.
    pub call_handler: u32,
    /// OID of the inline handler function, 0 if there is none.
    pub inline_handler: u32,
    /// OID of the validator function, 0 if there is none.
    pub validator: u32,
}

/// Identifies the procedural languages.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let language = Language {
            trusted: row.bool("trusted")?,
            call_handler: row.oid("call_handler")?,
            inline_handler: row.oid("inline_handler")?,
            validator: row.oid("validator")?,
        };
        let catalog_id = CatalogId::new(class::PG_LANGUAGE, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, Detail::Language(language));
        select_language(cx, id);
        cx.set_owner_and_acl(id, &row)?;
    }
    Ok(())
}

/// Selects languages only in a dump of everything. For initdb's own languages, only changed privileges are
/// dumped.
fn select_language(cx: &mut Collector<'_>, id: DumpId) {
    if select_by_extension(cx, id) {
        return;
    }
    let object = &mut cx.catalog[id];
    object.dump = if !cx.options.include_everything() {
        Components::empty()
    } else if object.catalog_id.oid <= LAST_BUILTIN_OID {
        Components::ACL
    } else {
        Components::all()
    };
}

/// Writes the DDL of one procedural language.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, language: &Language) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let entry = TocEntry {
            definition: definition(em, &name, language),
            drop: format!("DROP PROCEDURAL LANGUAGE {name};\n"),
            ..em.entry_for(object, EntryKind::ProceduralLanguage, Section::PreData)
        };
        em.push(entry);
    }
    let target =
        CommentTarget { object_type: "LANGUAGE", name: &name, namespace: None, owner: object.owner_name() };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    // USAGE on an untrusted language cannot be granted.
    if language.trusted && object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

/// Returns `CREATE LANGUAGE` with its functions if all of them are dumped. Otherwise the functions belong to
/// the server or to an extension, and the statement without them has the effect of `CREATE EXTENSION`.
fn definition(em: &Emitter<'_>, name: &str, language: &Language) -> String {
    let clauses = || {
        let mut sql = format!(" HANDLER {}", dumped_function(em, language.call_handler)?);
        for (keyword, oid) in [("INLINE", language.inline_handler), ("VALIDATOR", language.validator)] {
            if oid != 0 {
                put!(sql, " {keyword} {}", dumped_function(em, oid)?);
            }
        }
        Some(sql)
    };
    match clauses() {
        Some(clauses) => {
            let trusted = if language.trusted { "TRUSTED " } else { "" };
            format!("CREATE {trusted}PROCEDURAL LANGUAGE {name}{clauses};\n")
        }
        None => format!("CREATE OR REPLACE PROCEDURAL LANGUAGE {name};\n"),
    }
}

/// Returns the qualified name of the function, if any component of it is dumped.
fn dumped_function(em: &Emitter<'_>, oid: u32) -> Option<String> {
    let object = &em.catalog[em.catalog.by_oid(class::PG_PROC, oid)?];
    let dumped = object.kind() == ObjectKind::Function && !object.dump.is_empty();
    dumped.then(|| em.catalog.qualified(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::acl::Acl;
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::options::DumpOptions;

    #[test]
    fn handlers_are_named_only_if_they_are_dumped() {
        let (mut catalog, namespace) = catalog();
        let handler = catalog.add(
            CatalogId::new(class::PG_PROC, 7),
            "Call".to_owned(),
            Some(namespace),
            Detail::Function(Default::default()),
        );
        let options = DumpOptions::default();
        let language = Language { trusted: true, call_handler: 7, inline_handler: 7, validator: 0 };
        assert_eq!(
            definition(&Emitter::new(&catalog, &options), "pl", &language),
            "CREATE TRUSTED PROCEDURAL LANGUAGE pl HANDLER s.\"Call\" INLINE s.\"Call\";\n"
        );
        catalog[handler].dump = Components::empty();
        assert_eq!(
            definition(&Emitter::new(&catalog, &options), "pl", &language),
            "CREATE OR REPLACE PROCEDURAL LANGUAGE pl;\n"
        );
    }

    #[test]
    fn an_untrusted_language_has_no_privileges() {
        for (trusted, expected) in [(true, 2), (false, 1)] {
            let (mut catalog, _) = catalog();
            let id = catalog.add(
                CatalogId::new(class::PG_LANGUAGE, 7),
                "pl".to_owned(),
                None,
                Detail::Language(Language { trusted, ..Language::default() }),
            );
            catalog[id].components |= Components::ACL;
            catalog[id].acl = Some(Box::new(Acl::new(Some(vec!["bob=U/own".to_owned()]), vec![])));
            assert_eq!(entries(&mut catalog).len(), expected);
        }
    }
}
