//! Tables in publications, with their column lists and row filters: the query, the row, the DDL.
//! PostgreSQL manual: ALTER PUBLICATION.

use super::publication::select_member;
use crate::protocol::version::{PG13, PG15};
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

const QUERY: CatalogQuery = CatalogQuery {
    what: "tables in publications",
    since: PG13,
    text: "
SELECT r.oid,
       r.prpubid AS publication,
       r.prrelid AS relation,
       {filter} AS filter,
       {columns} AS columns
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted (oid)
  JOIN (SELECT r.oid, r.prpubid, r.prrelid, {contents}
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_publication_rel r) r
    ON r.prrelid = wanted.oid
 ORDER BY r.place",
    gates: &[
        Gate { column: "contents", before: "", steps: &[(PG15, "r.prqual, r.prattrs,")] },
        Gate {
            column: "filter",
            before: "NULL::pg_catalog.text",
            steps: &[(PG15, "pg_catalog.pg_get_expr(r.prqual, r.prrelid)")],
        },
        Gate {
            column: "columns",
            before: "NULL::pg_catalog.text[]",
            steps: &[(
                PG15,
                "CASE WHEN r.prattrs IS NOT NULL
            THEN (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY c.position)
                    FROM pg_catalog.unnest(r.prattrs) WITH ORDINALITY AS c (number, position)
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = c.number)
       END",
            )],
        },
    ],
};

/// A table in a publication.
#[derive(Debug)]
pub struct PublicationTable {
    /// The publication.
    pub publication: DumpId,
    /// The table.
    pub table: DumpId,
    /// The row filter.
    pub filter: Option<String>,
    /// The published columns; `None` if all are published.
    pub columns: Option<Vec<String>>,
}

/// Identifies the tables in publications whose definitions are dumped.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let tables = cx.catalog.table_oids(|object, _| object.dumps(Components::DEFINITION));
    if cx.options.no_publications || tables.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&tables]).await? {
        add(cx, &row)?;
    }
    Ok(())
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let publication = cx.catalog.by_oid(class::PG_PUBLICATION, row.oid("publication")?);
    let table = cx.catalog.table_by_oid(row.oid("relation")?);
    let (Some(publication), Some(table)) = (publication, table) else { return Ok(()) };
    let detail = Detail::PublicationTable(PublicationTable {
        publication,
        table,
        filter: row.opt_text("filter")?,
        columns: row.opt_texts("columns")?,
    });
    let catalog_id = CatalogId::new(class::PG_PUBLICATION_REL, row.oid("oid")?);
    let (name, namespace) = (cx.catalog[table].name.clone(), cx.catalog[table].namespace);
    let id = cx.catalog.add(catalog_id, name, namespace, detail);
    select_member(cx, id);
    Ok(())
}

/// Writes the DDL of one table in a publication.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, member: &PublicationTable) {
    if em.options.data_only || !object.dumps(Components::DEFINITION) {
        return;
    }
    let publication = &em.catalog[member.publication];
    let mut entry = em.entry_for(object, EntryKind::PublicationTable, Section::PostData);
    entry.tag = format!("{} {}", publication.name, object.name);
    // Membership has no owner. The publication's owner must run the command.
    entry.owner = publication.owner.as_deref().map(str::to_owned);
    entry.definition = add_table(em, publication, member);
    em.push(entry);
}

fn add_table(em: &Emitter<'_>, publication: &DumpObject, member: &PublicationTable) -> String {
    let table = em.catalog.qualified(&em.catalog[member.table]);
    let mut sql = format!("ALTER PUBLICATION {} ADD TABLE ONLY {table}", em.quoting.id(&publication.name));
    if let Some(columns) = &member.columns {
        let columns: Vec<_> = columns.iter().map(|name| em.quoting.id(name).to_string()).collect();
        put!(sql, " ({})", columns.join(", "));
    }
    // The server prints a filter such as `true` without the parentheses that the syntax requires.
    if let Some(filter) = &member.filter {
        put!(sql, " WHERE ({filter})");
    }
    sql.push_str(";\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::tests::catalog_with;
    use crate::sql::kind::publication::Publication;
    use crate::sql::kind::table::RelationKind;

    #[test]
    fn columns_and_filter_are_in_parentheses_and_the_publications_owner_adds_the_table() {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let detail = Detail::Publication(Publication::default());
        let publication = catalog.add(CatalogId::default(), "P".to_owned(), None, detail);
        catalog[publication].dump = Components::empty();
        catalog[publication].owner = Some("publisher".into());
        let member = PublicationTable {
            publication,
            table,
            filter: Some("true".to_owned()),
            columns: Some(["a", "B"].map(str::to_owned).into()),
        };
        let namespace = catalog[table].namespace;
        catalog.add(CatalogId::default(), "T".to_owned(), namespace, Detail::PublicationTable(member));
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(
            entry.definition,
            "ALTER PUBLICATION \"P\" ADD TABLE ONLY s.\"T\" (a, \"B\") WHERE (true);\n"
        );
        assert_eq!((entry.tag.as_str(), entry.namespace.as_deref()), ("P T", Some("s")));
        assert_eq!(entry.owner.as_deref(), Some("publisher"));
    }
}
