//! Text search parsers: the query, the row, the DDL.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

/// `regproc` prints a function's name in the form that the statement needs: qualified, because the search
/// path is empty, and quoted.
const QUERY: CatalogQuery = CatalogQuery {
    what: "text search parsers",
    since: PG13,
    text: "
SELECT p.oid, p.prsname::text AS name, p.prsnamespace AS namespace,
       pg_catalog.textin(pg_catalog.regprocout(p.prsstart)) AS start,
       pg_catalog.textin(pg_catalog.regprocout(p.prstoken)) AS token,
       pg_catalog.textin(pg_catalog.regprocout(p.prsend)) AS finish,
       CASE WHEN p.prsheadline::oid <> 0
            THEN pg_catalog.textin(pg_catalog.regprocout(p.prsheadline)) END AS headline,
       pg_catalog.textin(pg_catalog.regprocout(p.prslextype)) AS lextype
  FROM pg_catalog.pg_ts_parser p",
    gates: &[],
};

/// A text search parser; functions are qualified and quoted.
#[derive(Debug, Default)]
pub struct TsParser {
    /// `START`.
    pub start: String,
    /// `GETTOKEN`.
    pub token: String,
    /// `END`.
    pub end: String,
    /// `HEADLINE`.
    pub headline: Option<String>,
    /// `LEXTYPES`.
    pub lextype: String,
}

/// Identifies the text search parsers.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let detail = Detail::TsParser(Box::new(TsParser {
            start: row.text("start")?,
            token: row.text("token")?,
            end: row.text("finish")?,
            headline: row.opt_text("headline")?,
            lextype: row.text("lextype")?,
        }));
        let catalog_id = CatalogId::new(class::PG_TS_PARSER, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        select::select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one text search parser.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, parser: &TsParser) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::TextSearchParser, Section::PreData);
        let name = em.catalog.qualified(object);
        entry.definition = definition(parser, &name);
        entry.drop = format!("DROP TEXT SEARCH PARSER {name};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        em.comment(
            object,
            &CommentTarget { object_type: "TEXT SEARCH PARSER", name: &name, namespace, owner: "" },
        );
    }
}

fn definition(parser: &TsParser, name: &str) -> String {
    let mut sql = format!("CREATE TEXT SEARCH PARSER {name} (\n");
    put!(sql, "    START = {},\n", parser.start);
    put!(sql, "    GETTOKEN = {},\n", parser.token);
    put!(sql, "    END = {},\n", parser.end);
    if let Some(headline) = &parser.headline {
        put!(sql, "    HEADLINE = {headline},\n");
    }
    put!(sql, "    LEXTYPES = {} );\n", parser.lextype);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_function_is_optional() {
        let mut parser = TsParser {
            start: "prsd_start".to_owned(),
            token: "prsd_nexttoken".to_owned(),
            end: "prsd_end".to_owned(),
            headline: None,
            lextype: "prsd_lextype".to_owned(),
        };
        let want = "CREATE TEXT SEARCH PARSER s.p (\n    START = prsd_start,\n    GETTOKEN = prsd_nexttoken,\n    \
                    END = prsd_end,\n    LEXTYPES = prsd_lextype );\n";
        assert_eq!(definition(&parser, "s.p"), want);
        parser.headline = Some("prsd_headline".to_owned());
        assert!(definition(&parser, "s.p").contains("    HEADLINE = prsd_headline,\n    LEXTYPES"));
    }
}
