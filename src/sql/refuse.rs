//! Rejects objects of unsupported kinds, by name and before any output.

use std::collections::HashSet;

use tokio_postgres::types::ToSql;

use super::collect::Collector;
use super::error::{Result, SqlError};
use super::query::CatalogRow;

/// A kind that is not supported, and the query for its objects.
struct Unwritten {
    /// The words of the command that creates the object.
    kind: &'static str,
    /// Selects `(catalog, oid, namespace, relation, name)`: the OID of the catalog, of the object and of its
    /// namespace (0 if it is in none), and the OID of the relation for objects that `--table` selects.
    sql: &'static str,
}

/// The kinds that are not supported; a later release or a modified server may have them. Remove a kind from
/// this list when the program supports it.
const UNWRITTEN: &[Unwritten] = &[
    Unwritten {
        kind: "relation of an unknown kind",
        sql: "
SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relnamespace, c.oid, c.relname::text
  FROM pg_catalog.pg_class c
 WHERE c.relkind NOT IN ('r', 'i', 'S', 't', 'v', 'm', 'c', 'f', 'p', 'I')",
    },
    Unwritten {
        kind: "type of an unknown kind",
        sql: "
SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typnamespace, 0, t.typname::text
  FROM pg_catalog.pg_type t
 WHERE t.typtype NOT IN ('b', 'c', 'd', 'e', 'p', 'r', 'm')",
    },
    Unwritten {
        kind: "routine of an unknown kind",
        sql: "
SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.pronamespace, 0, p.proname::text
  FROM pg_catalog.pg_proc p
 WHERE p.prokind NOT IN ('f', 'p', 'a', 'w')",
    },
    Unwritten {
        kind: "constraint of an unknown kind",
        sql: "
SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid,
       COALESCE((SELECT r.relnamespace FROM pg_catalog.pg_class r WHERE r.oid = c.conrelid),
                (SELECT t.typnamespace FROM pg_catalog.pg_type t WHERE t.oid = c.contypid), 0),
       c.conrelid, c.conname::text
  FROM pg_catalog.pg_constraint c
 WHERE c.contype NOT IN ('c', 'f', 'n', 'p', 'u', 't', 'x')",
    },
];

/// Fails if the dump would contain an object of an unsupported kind. Objects of initdb and of extensions, and
/// objects that the switches exclude, are not in the dump and are ignored.
pub(super) async fn check_objects(cx: &Collector<'_>) -> Result<()> {
    const WHAT: &str = "objects that cannot be dumped";
    let list = |set: &HashSet<u32>| set.iter().copied().collect::<Vec<_>>();
    let selection = &cx.selection;
    let everything = cx.options.include_everything();
    let included = list(&selection.namespaces);
    let excluded = list(&selection.excluded_namespaces);
    let tables = list(&selection.tables);
    let excluded_tables = list(&selection.excluded_tables);
    let params: [&(dyn ToSql + Sync); 5] = [&everything, &included, &excluded, &tables, &excluded_tables];
    let rows = cx.session.catalog_query(&query_text(), &params).await;
    let rows = rows.map_err(|source| SqlError::Catalog { what: WHAT, source })?;
    match rows.into_iter().next().map(|row| CatalogRow::new(WHAT, row)) {
        Some(row) => Err(SqlError::Unsupported { kind: row.text("kind")?, name: row.text("name")? }),
        None => Ok(()),
    }
}

/// One query for all kinds, so that more kinds need no more round trips.
fn query_text() -> String {
    let branch = |(nth, Unwritten { kind, sql }): (usize, &Unwritten)| {
        format!("SELECT {nth}, '{kind}'::text, b.* FROM ({sql}) AS b")
    };
    let branches: Vec<String> = UNWRITTEN.iter().enumerate().map(branch).collect();
    format!(
        "
SELECT u.kind,
       CASE WHEN n.nspname IS NULL THEN u.name
            WHEN u.name LIKE '%.%' THEN u.name
            ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(u.name) END AS name
  FROM ({}) AS u (nth, kind, catalog, oid, namespace, relation, name)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = u.namespace
 WHERE u.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = u.catalog AND d.objid = u.oid AND d.deptype = 'e')
   AND CASE WHEN u.namespace = 0 THEN $1
            WHEN pg_catalog.cardinality($4::pg_catalog.oid[]) > 0
            THEN u.relation = ANY ($4::pg_catalog.oid[])
            WHEN pg_catalog.cardinality($2::pg_catalog.oid[]) > 0
            THEN u.namespace = ANY ($2::pg_catalog.oid[])
            ELSE $1 END
   AND u.namespace <> ALL ($3::pg_catalog.oid[])
   AND u.relation <> ALL ($5::pg_catalog.oid[])
   AND COALESCE(n.nspname::text, '') !~ '^pg_'
   AND n.nspname IS DISTINCT FROM 'information_schema'
 ORDER BY u.nth, u.oid
 LIMIT 1",
        branches.join("\n UNION ALL\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_one_branch_of_one_query() {
        let text = query_text();
        assert!(UNWRITTEN.iter().all(|u| text.contains(&format!("'{}'::text", u.kind))));
        assert_eq!(text.matches("UNION ALL").count(), UNWRITTEN.len() - 1);
    }
}
