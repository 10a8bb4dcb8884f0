//! Foreign-data wrappers: the query, the row, the DDL.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

/// Handler and validator are `regproc`s, which are printed qualified and quoted.
const QUERY: CatalogQuery = CatalogQuery {
    what: "foreign-data wrappers",
    since: PG13,
    text: "
SELECT w.oid, w.fdwname::text AS name, w.fdwowner AS owner,
       CASE WHEN w.fdwhandler <> 0 THEN pg_catalog.textin(pg_catalog.regprocout(w.fdwhandler)) END AS handler,
       CASE WHEN w.fdwvalidator <> 0 THEN pg_catalog.textin(pg_catalog.regprocout(w.fdwvalidator)) END AS validator,
       pg_catalog.textin(pg_catalog.array_out(w.fdwacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('F', w.fdwowner))) AS acl_default,
       pg_catalog.array_to_string(ARRAY(
           SELECT pg_catalog.quote_ident(o.option_name) || ' ' || pg_catalog.quote_literal(o.option_value)
             FROM pg_catalog.pg_options_to_table(w.fdwoptions) o
            ORDER BY o.option_name), E',\\n    ') AS options
  FROM pg_catalog.pg_foreign_data_wrapper w",
    gates: &[],
};

/// A foreign-data wrapper.
#[derive(Debug, Default)]
pub struct ForeignDataWrapper {
    /// The handler function, qualified and quoted.
    pub handler: Option<String>,
    /// The validator function, qualified and quoted.
    pub validator: Option<String>,
    /// The options in the syntax of the command, empty if there are none.
    pub options: String,
}

/// Identifies the foreign-data wrappers.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let detail = Detail::ForeignDataWrapper(Box::new(ForeignDataWrapper {
            handler: row.opt_text("handler")?,
            validator: row.opt_text("validator")?,
            options: row.text("options")?,
        }));
        let catalog_id = CatalogId::new(class::PG_FOREIGN_DATA_WRAPPER, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, detail);
        cx.set_owner_and_acl(id, &row)?;
        select::select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one foreign-data wrapper.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, wrapper: &ForeignDataWrapper) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::ForeignDataWrapper, Section::PreData);
        entry.definition = definition(wrapper, &name);
        entry.drop = format!("DROP FOREIGN DATA WRAPPER {name};\n");
        em.push(entry);
    }
    let owner = object.owner_name();
    let target = CommentTarget { object_type: "FOREIGN DATA WRAPPER", name: &name, namespace: None, owner };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

fn definition(wrapper: &ForeignDataWrapper, name: &str) -> String {
    let mut sql = format!("CREATE FOREIGN DATA WRAPPER {name}");
    if let Some(handler) = &wrapper.handler {
        put!(sql, " HANDLER {handler}");
    }
    if let Some(validator) = &wrapper.validator {
        put!(sql, " VALIDATOR {validator}");
    }
    sql.push_str(&options_clause(&wrapper.options));
    sql.push_str(";\n");
    sql
}

/// Returns ` OPTIONS (…)` with one option per line; empty if there are no options.
pub(super) fn options_clause(options: &str) -> String {
    if options.is_empty() { String::new() } else { format!(" OPTIONS (\n    {options}\n)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_is_optional() {
        let mut wrapper = ForeignDataWrapper::default();
        assert_eq!(definition(&wrapper, "w"), "CREATE FOREIGN DATA WRAPPER w;\n");
        wrapper.handler = Some("s.h".to_owned());
        wrapper.validator = Some("postgresql_fdw_validator".to_owned());
        wrapper.options = "a '1',\n    b '2'".to_owned();
        let want = "CREATE FOREIGN DATA WRAPPER w HANDLER s.h VALIDATOR postgresql_fdw_validator OPTIONS (\n    \
                    a '1',\n    b '2'\n);\n";
        assert_eq!(definition(&wrapper, "w"), want);
    }
}
