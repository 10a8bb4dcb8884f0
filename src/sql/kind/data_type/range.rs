//! Range types.

use super::{TypeForm, TypeKind, collation, described, oids_to_describe};
use crate::protocol::version::{PG13, PG14};
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::Components;
use crate::sql::put;
use crate::sql::query::{CatalogQuery, Gate};

const QUERY: CatalogQuery = CatalogQuery {
    what: "range types",
    since: PG13,
    text: "
SELECT r.rngtypid AS oid, {multirange} AS multirange, pg_catalog.format_type(r.rngsubtype, NULL) AS subtype,
       opc.opcname::text AS opclass, nsp.nspname::text AS opclass_namespace, opc.opcdefault AS default_opclass,
       CASE WHEN r.rngcollation = st.typcollation THEN 0 ELSE r.rngcollation END AS collation,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(r.rngcanonical)), '-') AS canonical,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(r.rngsubdiff)), '-') AS subtype_diff
  FROM pg_catalog.pg_range r
       JOIN pg_catalog.pg_type st ON st.oid = r.rngsubtype
       JOIN pg_catalog.pg_opclass opc ON opc.oid = r.rngsubopc
       JOIN pg_catalog.pg_namespace nsp ON nsp.oid = opc.opcnamespace
 WHERE r.rngtypid = ANY ($1::pg_catalog.oid[])
 ORDER BY r.rngtypid",
    gates: &[Gate {
        column: "multirange",
        before: "NULL::text",
        steps: &[(PG14, "pg_catalog.format_type(r.rngmultitypid, NULL)")],
    }],
};

/// The fields that are specific to a range type.
#[derive(Debug, Default)]
pub(in crate::sql::kind) struct Range {
    /// The element type, formatted.
    pub subtype: String,
    /// The multirange type, formatted.
    pub multirange: Option<String>,
    /// Namespace and name of the operator class, if it is not the subtype's default.
    pub opclass: Option<(String, String)>,
    /// OID of the collation if it differs from the subtype's, else 0.
    pub collation: u32,
    /// The canonicalization function, qualified and quoted.
    pub canonical: Option<String>,
    /// The subtype's difference function, qualified and quoted.
    pub subtype_diff: Option<String>,
}

/// Reads the DDL details of the range types to be dumped.
pub(super) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, TypeKind::Range, Components::DEFINITION);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&oids]).await? {
        let range = Range {
            subtype: row.text("subtype")?,
            multirange: row.opt_text("multirange")?,
            opclass: if row.bool("default_opclass")? {
                None
            } else {
                Some((row.text("opclass_namespace")?, row.text("opclass")?))
            },
            collation: row.oid("collation")?,
            canonical: row.opt_text("canonical")?,
            subtype_diff: row.opt_text("subtype_diff")?,
        };
        described(cx, row.oid("oid")?)?.form = TypeForm::Range(Box::new(range));
    }
    Ok(())
}

impl Range {
    /// Returns `CREATE TYPE … AS RANGE`.
    pub(super) fn definition(&self, em: &Emitter<'_>, name: &str) -> String {
        let mut sql = format!("CREATE TYPE {name} AS RANGE (\n    subtype = {}", self.subtype);
        if let Some(multirange) = &self.multirange {
            put!(sql, ",\n    multirange_type_name = {multirange}");
        }
        if let Some((namespace, opclass)) = &self.opclass {
            put!(sql, ",\n    subtype_opclass = {}", em.quoting.qualified(namespace, opclass));
        }
        if let Some(collation) = collation(em, self.collation) {
            put!(sql, ",\n    collation = {collation}");
        }
        if let Some(canonical) = &self.canonical {
            put!(sql, ",\n    canonical = {canonical}");
        }
        if let Some(subtype_diff) = &self.subtype_diff {
            put!(sql, ",\n    subtype_diff = {subtype_diff}");
        }
        sql.push_str("\n);\n");
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::super::DataType;
    use super::super::tests::{catalog, entries};
    use super::*;
    use crate::sql::object::{CatalogId, Detail, class};

    #[test]
    fn a_range_names_what_is_not_default() {
        let (mut catalog, namespace) = catalog();
        let form = TypeForm::Range(Box::new(Range {
            subtype: "text".to_owned(),
            multirange: Some("s.\"MR\"".to_owned()),
            opclass: Some(("s".to_owned(), "table".to_owned())),
            canonical: Some("s.canon".to_owned()),
            ..Range::default()
        }));
        catalog.add(
            CatalogId::new(class::PG_TYPE, 100),
            "r".to_owned(),
            Some(namespace),
            Detail::Type(Box::new(DataType { kind: Some(TypeKind::Range), form, ..DataType::default() })),
        );
        assert_eq!(
            entries(&mut catalog)[0].definition,
            "CREATE TYPE s.r AS RANGE (\n    subtype = text,\n    multirange_type_name = s.\"MR\",\n    \
             subtype_opclass = s.\"table\",\n    canonical = s.canon\n);\n"
        );
    }
}
