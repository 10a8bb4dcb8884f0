//! Text search templates: the query, the row, the DDL.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

const QUERY: CatalogQuery = CatalogQuery {
    what: "text search templates",
    since: PG13,
    text: "
SELECT t.oid, t.tmplname::text AS name, t.tmplnamespace AS namespace,
       CASE WHEN t.tmplinit::oid <> 0 THEN pg_catalog.textin(pg_catalog.regprocout(t.tmplinit)) END AS init,
       pg_catalog.textin(pg_catalog.regprocout(t.tmpllexize)) AS lexize
  FROM pg_catalog.pg_ts_template t",
    gates: &[],
};

/// A text search template; functions are qualified and quoted.
#[derive(Debug, Default)]
pub struct TsTemplate {
    /// `INIT`.
    pub init: Option<String>,
    /// `LEXIZE`.
    pub lexize: String,
}

/// Identifies the text search templates.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let detail =
            Detail::TsTemplate(TsTemplate { init: row.opt_text("init")?, lexize: row.text("lexize")? });
        let catalog_id = CatalogId::new(class::PG_TS_TEMPLATE, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        select::select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one text search template.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, template: &TsTemplate) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::TextSearchTemplate, Section::PreData);
        let name = em.catalog.qualified(object);
        entry.definition = definition(template, &name);
        entry.drop = format!("DROP TEXT SEARCH TEMPLATE {name};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        em.comment(
            object,
            &CommentTarget { object_type: "TEXT SEARCH TEMPLATE", name: &name, namespace, owner: "" },
        );
    }
}

fn definition(template: &TsTemplate, name: &str) -> String {
    let mut sql = format!("CREATE TEXT SEARCH TEMPLATE {name} (\n");
    if let Some(init) = &template.init {
        put!(sql, "    INIT = {init},\n");
    }
    put!(sql, "    LEXIZE = {} );\n", template.lexize);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_function_is_optional() {
        let mut template = TsTemplate { init: None, lexize: "dsimple_lexize".to_owned() };
        let want = "CREATE TEXT SEARCH TEMPLATE s.t (\n    LEXIZE = dsimple_lexize );\n";
        assert_eq!(definition(&template, "s.t"), want);
        template.init = Some("dsimple_init".to_owned());
        assert!(definition(&template, "s.t").contains("(\n    INIT = dsimple_init,\n    LEXIZE"));
    }
}
