//! Publications: the query, the row, the DDL. Their members are separate objects (`kind::publication_table`,
//! `kind::publication_namespace`). PostgreSQL manual: CREATE PUBLICATION.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::{everything_or_nothing, select_by_extension, select_object};

const QUERY: CatalogQuery = CatalogQuery {
    what: "publications",
    since: PG13,
    text: "
SELECT p.oid,
       p.pubname::pg_catalog.text AS name,
       p.pubowner AS owner,
       p.puballtables AS all_tables,
       p.pubinsert AS publishes_insert,
       p.pubupdate AS publishes_update,
       p.pubdelete AS publishes_delete,
       p.pubtruncate AS publishes_truncate,
       p.pubviaroot AS via_root
  FROM pg_catalog.pg_publication p",
    gates: &[],
};

/// A publication.
#[derive(Debug, Default)]
pub struct Publication {
    /// `FOR ALL TABLES`.
    pub all_tables: bool,
    /// The published operations: `insert`, `update`, `delete`, `truncate`, in this order.
    pub operations: Vec<&'static str>,
    /// `publish_via_partition_root`.
    pub via_root: bool,
}

/// Identifies the publications.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.no_publications {
        return Ok(());
    }
    for row in cx.rows(&QUERY).await? {
        let mut operations = Vec::new();
        for (column, operation) in [
            ("publishes_insert", "insert"),
            ("publishes_update", "update"),
            ("publishes_delete", "delete"),
            ("publishes_truncate", "truncate"),
        ] {
            if row.bool(column)? {
                operations.push(operation);
            }
        }
        let detail = Detail::Publication(Publication {
            all_tables: row.bool("all_tables")?,
            operations,
            via_root: row.bool("via_root")?,
        });
        let catalog_id = CatalogId::new(class::PG_PUBLICATION, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select_object(cx, id);
    }
    Ok(())
}

/// Selects a member of a publication. Like the publication itself, it is dumped only in a dump of everything,
/// and its namespace does not matter.
pub(super) fn select_member(cx: &mut Collector<'_>, id: DumpId) {
    if !select_by_extension(cx, id) {
        cx.catalog[id].dump = everything_or_nothing(cx);
    }
}

/// Writes the DDL of one publication.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, publication: &Publication) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Publication, Section::PostData);
        entry.definition = create(&name, publication);
        entry.drop = format!("DROP PUBLICATION {name};\n");
        em.push(entry);
    }
    let target = CommentTarget {
        object_type: "PUBLICATION",
        name: &name,
        namespace: None,
        owner: object.owner_name(),
    };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
}

fn create(name: &str, publication: &Publication) -> String {
    let mut sql = format!("CREATE PUBLICATION {name}");
    if publication.all_tables {
        sql.push_str(" FOR ALL TABLES");
    }
    put!(sql, " WITH (publish = '{}'", publication.operations.join(", "));
    if publication.via_root {
        sql.push_str(", publish_via_partition_root = true");
    }
    sql.push_str(");\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_listed_even_when_there_are_none() {
        let mut publication =
            Publication { all_tables: true, operations: vec!["insert", "truncate"], via_root: true };
        assert_eq!(
            create("p", &publication),
            "CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert, truncate', \
             publish_via_partition_root = true);\n"
        );
        publication = Publication::default();
        assert_eq!(create("p", &publication), "CREATE PUBLICATION p WITH (publish = '');\n");
    }
}
