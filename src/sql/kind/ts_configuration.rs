//! Text search configurations: the queries, the row, the DDL.

use std::collections::HashMap;

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section, class,
};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

const QUERY: CatalogQuery = CatalogQuery {
    what: "text search configurations",
    since: PG13,
    text: "
SELECT c.oid, c.cfgname::text AS name, c.cfgnamespace AS namespace, c.cfgowner AS owner,
       n.nspname::text AS parser_namespace, p.prsname::text AS parser
  FROM (SELECT c.oid, c.cfgname, c.cfgnamespace, c.cfgowner, c.cfgparser,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_ts_config c) c
  LEFT JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
 ORDER BY c.place",
    gates: &[],
};

/// `regdictionary` prints a dictionary's name qualified and quoted. The token's name is raw.
const MAPPINGS: CatalogQuery = CatalogQuery {
    what: "mappings of text search configurations",
    since: PG13,
    text: "
SELECT m.mapcfg AS configuration,
       (SELECT t.alias
          FROM pg_catalog.ts_token_type(c.cfgparser) AS t
         WHERE t.tokid = m.maptokentype) AS token,
       pg_catalog.textin(pg_catalog.regdictionaryout(m.mapdict)) AS dictionary
  FROM pg_catalog.pg_ts_config_map m
  JOIN pg_catalog.pg_ts_config c ON c.oid = m.mapcfg
 WHERE m.mapcfg = ANY($1::pg_catalog.oid[])
 ORDER BY m.mapcfg, m.maptokentype, m.mapseqno",
    gates: &[],
};

/// A text search configuration.
#[derive(Debug, Default)]
pub struct TsConfiguration {
    /// The parser's namespace.
    pub parser_namespace: String,
    /// The parser.
    pub parser: String,
    /// Pairs of a token type and a dictionary, qualified and quoted, in lookup order.
    pub mappings: Vec<(String, String)>,
}

/// Identifies the text search configurations.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let detail = Detail::TsConfiguration(Box::new(TsConfiguration {
            parser_namespace: row.text("parser_namespace")?,
            parser: row.text("parser")?,
            mappings: Vec::new(),
        }));
        let catalog_id = CatalogId::new(class::PG_TS_CONFIG, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select::select_object(cx, id);
    }
    Ok(())
}

/// Reads the mappings of the text search configurations to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let ids = cx.catalog.ids_of(ObjectKind::TsConfiguration);
    let wanted: HashMap<u32, DumpId> = ids
        .into_iter()
        .filter(|id| cx.dumps(*id, Components::DEFINITION))
        .map(|id| (cx.catalog[id].catalog_id.oid, id))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> = wanted.keys().copied().collect();
    for row in cx.rows_with(&MAPPINGS, &[&oids]).await? {
        let token = row.opt_text("token")?.unwrap_or_default();
        let mapping = (token, row.text("dictionary")?);
        let id = wanted.get(&row.oid("configuration")?);
        if let Some(configuration) = id.and_then(|id| cx.catalog.ts_configuration_mut(*id)) {
            configuration.mappings.push(mapping);
        }
    }
    Ok(())
}

/// Writes the DDL of one text search configuration.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, configuration: &TsConfiguration) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::TextSearchConfiguration, Section::PreData);
        let name = em.catalog.qualified(object);
        entry.definition = definition(em.quoting, configuration, &name);
        entry.drop = format!("DROP TEXT SEARCH CONFIGURATION {name};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        let owner = object.owner_name();
        em.comment(
            object,
            &CommentTarget { object_type: "TEXT SEARCH CONFIGURATION", name: &name, namespace, owner },
        );
    }
}

/// Returns the statements: `CREATE`, and one `ALTER … ADD MAPPING` for each token type, with its dictionaries
/// in order.
fn definition(quoting: &Quoting, configuration: &TsConfiguration, name: &str) -> String {
    let parser = quoting.qualified(&configuration.parser_namespace, &configuration.parser);
    let mut sql = format!("CREATE TEXT SEARCH CONFIGURATION {name} (\n    PARSER = {parser} );\n");
    for run in configuration.mappings.chunk_by(|a, b| a.0 == b.0) {
        let Some((token, _)) = run.first() else { continue };
        let dictionaries: Vec<&str> = run.iter().map(|(_, dictionary)| dictionary.as_str()).collect();
        put!(
            sql,
            "\nALTER TEXT SEARCH CONFIGURATION {name}\n    ADD MAPPING FOR {} WITH {};\n",
            quoting.id(token),
            dictionaries.join(", ")
        );
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_of_a_token_type_share_a_statement() {
        let mapping = |token: &str, dictionary: &str| (token.to_owned(), dictionary.to_owned());
        let configuration = TsConfiguration {
            parser_namespace: "pg_catalog".to_owned(),
            parser: "default".to_owned(),
            mappings: vec![
                mapping("asciiword", "s.\"D\""),
                mapping("asciiword", "simple"),
                mapping("Word", "simple"),
            ],
        };
        let want = "CREATE TEXT SEARCH CONFIGURATION s.c (\n    PARSER = pg_catalog.default );\n\n\
                    ALTER TEXT SEARCH CONFIGURATION s.c\n    ADD MAPPING FOR asciiword WITH s.\"D\", simple;\n\n\
                    ALTER TEXT SEARCH CONFIGURATION s.c\n    ADD MAPPING FOR \"Word\" WITH simple;\n";
        assert_eq!(definition(&Quoting::default(), &configuration, "s.c"), want);
    }
}
