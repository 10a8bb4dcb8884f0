//! Text search dictionaries: the query, the row, the DDL.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

const QUERY: CatalogQuery = CatalogQuery {
    what: "text search dictionaries",
    since: PG13,
    text: "
SELECT d.oid, d.dictname::text AS name, d.dictnamespace AS namespace, d.dictowner AS owner,
       n.nspname::text AS template_namespace, t.tmplname::text AS template, d.dictinitoption AS options
  FROM (SELECT d.oid, d.dictname, d.dictnamespace, d.dictowner, d.dicttemplate, d.dictinitoption,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_ts_dict d) d
  LEFT JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
 ORDER BY d.place",
    gates: &[],
};

/// A text search dictionary.
#[derive(Debug, Default)]
pub struct TsDictionary {
    /// The template's namespace.
    pub template_namespace: String,
    /// The template.
    pub template: String,
    /// The template's options, in the syntax of the command.
    pub options: Option<String>,
}

/// Identifies the text search dictionaries.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let detail = Detail::TsDictionary(Box::new(TsDictionary {
            template_namespace: row.text("template_namespace")?,
            template: row.text("template")?,
            options: row.opt_text("options")?,
        }));
        let catalog_id = CatalogId::new(class::PG_TS_DICT, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select::select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one text search dictionary.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, dictionary: &TsDictionary) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::TextSearchDictionary, Section::PreData);
        let name = em.catalog.qualified(object);
        entry.definition = definition(em.quoting, dictionary, &name);
        entry.drop = format!("DROP TEXT SEARCH DICTIONARY {name};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        let owner = object.owner_name();
        em.comment(
            object,
            &CommentTarget { object_type: "TEXT SEARCH DICTIONARY", name: &name, namespace, owner },
        );
    }
}

fn definition(quoting: &Quoting, dictionary: &TsDictionary, name: &str) -> String {
    let template = quoting.qualified(&dictionary.template_namespace, &dictionary.template);
    let mut sql = format!("CREATE TEXT SEARCH DICTIONARY {name} (\n    TEMPLATE = {template}");
    // The server stores the options in the syntax of the command.
    if let Some(options) = &dictionary.options {
        put!(sql, ",\n    {options}");
    }
    sql.push_str(" );\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_template() {
        let mut dictionary = TsDictionary {
            template_namespace: "pg_catalog".to_owned(),
            template: "Simple".to_owned(),
            options: None,
        };
        let quoting = Quoting::default();
        let start = "CREATE TEXT SEARCH DICTIONARY s.d (\n    TEMPLATE = pg_catalog.\"Simple\"";
        assert_eq!(definition(&quoting, &dictionary, "s.d"), format!("{start} );\n"));
        dictionary.options = Some("stopwords = 'english'".to_owned());
        let want = format!("{start},\n    stopwords = 'english' );\n");
        assert_eq!(definition(&quoting, &dictionary, "s.d"), want);
    }
}
