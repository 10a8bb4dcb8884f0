//! Security labels of roles and tablespaces.

use std::collections::HashMap;

use super::GlobalReader;
use crate::protocol::version::PG13;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::CatalogId;
use crate::sql::put;
use crate::sql::query::CatalogQuery;

/// An object's labels are in catalog scan order, like those of databases.
const QUERY: CatalogQuery = CatalogQuery {
    what: "security labels of roles and tablespaces",
    since: PG13,
    text: "
SELECT l.classoid, l.objoid, l.provider, l.label
  FROM pg_catalog.pg_shseclabel l
 WHERE l.classoid IN ('pg_catalog.pg_authid'::pg_catalog.regclass,
                      'pg_catalog.pg_tablespace'::pg_catalog.regclass)",
    gates: &[],
};

/// The labels by object, each with its provider.
#[derive(Debug, Default)]
pub(super) struct SharedLabels(HashMap<CatalogId, Vec<(String, String)>>);

/// Reads the labels, unless they are excluded.
pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<SharedLabels> {
    let mut labels = SharedLabels::default();
    if reader.options.no_security_labels {
        return Ok(labels);
    }
    for row in reader.rows(&QUERY).await? {
        let id = CatalogId::new(row.oid("classoid")?, row.oid("objoid")?);
        labels.0.entry(id).or_default().push((row.text("provider")?, row.text("label")?));
    }
    Ok(labels)
}

impl SharedLabels {
    /// Returns `SECURITY LABEL` for each label of an object; `name` is quoted.
    pub(super) fn statements(&self, id: CatalogId, kind: &str, name: &str, quoting: &Quoting) -> String {
        let mut sql = String::new();
        for (provider, label) in self.0.get(&id).into_iter().flatten() {
            let (provider, label) = (quoting.id(provider), quoting.portable_literal(label));
            put!(sql, "SECURITY LABEL FOR {provider} ON {kind} {name} IS {label};\n");
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_objects_own_labels_are_written() {
        let id = CatalogId::new(1, 2);
        let labels = SharedLabels([(id, vec![("dummy".to_owned(), "it's secret".to_owned())])].into());
        let quoting = Quoting::default();
        let want = "SECURITY LABEL FOR dummy ON ROLE bob IS 'it''s secret';\n";
        assert_eq!(labels.statements(id, "ROLE", "bob", &quoting), want);
        assert_eq!(labels.statements(CatalogId::new(1, 3), "ROLE", "bob", &quoting), "");
    }
}
