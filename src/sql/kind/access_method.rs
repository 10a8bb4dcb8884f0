//! Index and table access methods.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::code::{UnknownCode, codes};
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpObject, EntryKind, LAST_BUILTIN_OID, Section, class,
};
use crate::sql::query::CatalogQuery;
use crate::sql::select::{everything_or_nothing, select_by_extension};

/// Includes built-in methods, because operator classes and tables refer to them.
const QUERY: CatalogQuery = CatalogQuery {
    what: "access methods",
    since: PG13,
    text: "
SELECT a.oid, a.amname::text AS name, a.amtype AS kind,
       pg_catalog.textin(pg_catalog.regprocout(a.amhandler)) AS handler
  FROM pg_catalog.pg_am a",
    gates: &[],
};

codes! {
    /// What an access method is for.
    AccessMethodKind("amtype") {
        Index = 'i',
        Table = 't',
    }
}

/// An access method.
#[derive(Debug)]
pub struct AccessMethod {
    /// What it is for. pg_dump omits a method with an unknown code.
    pub kind: Result<AccessMethodKind, UnknownCode>,
    /// The handler function, qualified and quoted.
    pub handler: String,
}

/// Identifies the access methods.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let method = AccessMethod { kind: row.try_code("kind")?, handler: row.text("handler")? };
        let catalog_id = CatalogId::new(class::PG_AM, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, Detail::AccessMethod(method));
        if !select_by_extension(cx, id) {
            let is_builtin = catalog_id.oid <= LAST_BUILTIN_OID;
            cx.catalog[id].dump = if is_builtin { Components::empty() } else { everything_or_nothing(cx) };
        }
    }
    Ok(())
}

/// Writes the DDL of one access method.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, access_method: &AccessMethod) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    let kind = match access_method.kind {
        Ok(AccessMethodKind::Index) => "INDEX",
        Ok(AccessMethodKind::Table) => "TABLE",
        Err(UnknownCode { code, .. }) => {
            em.warn(format!("invalid type \"{code}\" of access method \"{name}\""));
            return;
        }
    };
    if object.dumps(Components::DEFINITION) {
        let entry = TocEntry {
            definition: format!(
                "CREATE ACCESS METHOD {name} TYPE {kind} HANDLER {};\n",
                access_method.handler
            ),
            drop: format!("DROP ACCESS METHOD {name};\n"),
            ..em.entry_for(object, EntryKind::AccessMethod, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        em.comment(
            object,
            &CommentTarget { object_type: "ACCESS METHOD", name: &name, namespace: None, owner: "" },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn both_types_of_access_methods_are_written() {
        let (mut catalog, _) = catalog();
        for (oid, kind) in [(1, AccessMethodKind::Index), (2, AccessMethodKind::Table)] {
            let method = AccessMethod { kind: Ok(kind), handler: "s.\"H\"".to_owned() };
            let catalog_id = CatalogId::new(class::PG_AM, oid);
            catalog.add(catalog_id, "Am".to_owned(), None, Detail::AccessMethod(method));
        }
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].definition, "CREATE ACCESS METHOD \"Am\" TYPE INDEX HANDLER s.\"H\";\n");
        assert_eq!(entries[1].definition, "CREATE ACCESS METHOD \"Am\" TYPE TABLE HANDLER s.\"H\";\n");
        assert_eq!(entries[1].drop, "DROP ACCESS METHOD \"Am\";\n");
    }
}
