//! Conversions between encodings.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

const QUERY: CatalogQuery = CatalogQuery {
    what: "conversions",
    since: PG13,
    text: "
SELECT c.oid, c.conname::text AS name, c.connamespace AS namespace, c.conowner AS owner,
       c.condefault AS is_default, pg_catalog.textin(pg_catalog.regprocout(c.conproc)) AS function,
       pg_catalog.pg_encoding_to_char(c.conforencoding)::text AS source,
       pg_catalog.pg_encoding_to_char(c.contoencoding)::text AS target
  FROM pg_catalog.pg_conversion c",
    gates: &[],
};

/// A conversion.
#[derive(Debug, Default)]
pub struct Conversion {
    /// `DEFAULT` for its pair of encodings.
    is_default: bool,
    /// The source encoding.
    source: String,
    /// The target encoding.
    target: String,
    /// The function, qualified and quoted.
    function: String,
}

/// Identifies the conversions.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let conversion = Conversion {
            is_default: row.bool("is_default")?,
            source: row.text("source")?,
            target: row.text("target")?,
            function: row.text("function")?,
        };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_CONVERSION, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let detail = Detail::Conversion(Box::new(conversion));
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one conversion.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, conversion: &Conversion) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let qualified = em.catalog.qualified(object);
        let entry = TocEntry {
            definition: format!(
                "CREATE {}CONVERSION {qualified} FOR {} TO {} FROM {};\n",
                if conversion.is_default { "DEFAULT " } else { "" },
                em.quoting.literal(&conversion.source),
                em.quoting.literal(&conversion.target),
                conversion.function
            ),
            drop: format!("DROP CONVERSION {qualified};\n"),
            ..em.entry_for(object, EntryKind::Conversion, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        let target =
            CommentTarget { object_type: "CONVERSION", name: &name, namespace, owner: object.owner_name() };
        em.comment(object, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn a_conversion_names_encodings_and_function() {
        let (mut catalog, namespace) = catalog();
        let conversion = Conversion {
            is_default: true,
            source: "LATIN1".to_owned(),
            target: "UTF8".to_owned(),
            function: "iso8859_1_to_utf8".to_owned(),
        };
        let catalog_id = CatalogId::new(class::PG_CONVERSION, 1);
        catalog.add(catalog_id, "C".to_owned(), Some(namespace), Detail::Conversion(Box::new(conversion)));
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(
            entry.definition,
            "CREATE DEFAULT CONVERSION s.\"C\" FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;\n"
        );
        assert_eq!(entry.drop, "DROP CONVERSION s.\"C\";\n");
    }
}
