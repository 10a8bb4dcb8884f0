//! Enum types and their labels.

use super::{TypeForm, TypeKind, described, oids_to_describe};
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::Components;
use crate::sql::put;
use crate::sql::query::CatalogQuery;

const QUERY: CatalogQuery = CatalogQuery {
    what: "enum types",
    since: PG13,
    text: "
SELECT e.enumtypid AS oid, e.enumlabel::text AS label
  FROM pg_catalog.pg_enum e
 WHERE e.enumtypid = ANY ($1::pg_catalog.oid[])
 ORDER BY e.enumtypid, e.enumsortorder",
    gates: &[],
};

/// Reads the labels of the enum types to be dumped.
pub(super) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, TypeKind::Enum, Components::DEFINITION);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&oids]).await? {
        let label = row.text("label")?;
        let data_type = described(cx, row.oid("oid")?)?;
        match &mut data_type.form {
            TypeForm::Enum(labels) => labels.push(label),
            form => *form = TypeForm::Enum(vec![label]),
        }
    }
    Ok(())
}

/// Returns `CREATE TYPE … AS ENUM`.
pub(super) fn definition(quoting: &Quoting, name: &str, labels: &[String]) -> String {
    let mut sql = format!("CREATE TYPE {name} AS ENUM (");
    for (i, label) in labels.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        put!(sql, "{comma}\n    {}", quoting.literal(label));
    }
    sql.push_str("\n);\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_literals() {
        let labels = ["sad".to_owned(), "it's".to_owned()];
        assert_eq!(
            definition(&Quoting::default(), "s.mood", &labels),
            "CREATE TYPE s.mood AS ENUM (\n    'sad',\n    'it''s'\n);\n"
        );
    }
}
