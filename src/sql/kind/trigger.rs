//! Triggers on tables and views: the query, the row, the DDL. PostgreSQL manual: CREATE TRIGGER,
//! ALTER TABLE … ENABLE TRIGGER.

use crate::protocol::version::{PG13, PG15};
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::firing::Firing;
use crate::sql::kind::table::Table;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

/// Attaching a partition copies the parent's triggers. A copy is read only if it is enabled or disabled
/// differently from the parent's trigger. Before PostgreSQL 15, copies were marked as internal.
const QUERY: CatalogQuery = CatalogQuery {
    what: "triggers",
    since: PG13,
    text: "
SELECT t.oid,
       t.tgrelid,
       t.tgname::pg_catalog.text AS name,
       pg_catalog.pg_get_triggerdef(t.oid, false) AS definition,
       t.tgenabled AS enabled,
       {cloned} AS cloned
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted (oid)
  JOIN pg_catalog.pg_trigger t ON t.tgrelid = wanted.oid
  LEFT JOIN pg_catalog.pg_trigger u ON u.oid = t.tgparentid
 WHERE {own}
    OR t.tgenabled <> u.tgenabled
 ORDER BY t.tgrelid, t.tgname",
    gates: &[
        Gate { column: "cloned", before: "t.tgisinternal", steps: &[(PG15, "t.tgparentid <> 0")] },
        Gate {
            column: "own",
            before: "NOT t.tgisinternal",
            steps: &[(PG15, "(NOT t.tgisinternal AND t.tgparentid = 0)")],
        },
    ],
};

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    /// The table or view.
    pub table: DumpId,
    /// `pg_get_triggerdef()`.
    pub definition: String,
    /// When it fires.
    pub firing: Firing,
    /// Whether attaching the partition creates it, so that the dump only sets whether it fires.
    pub cloned: bool,
}

/// Identifies the triggers of the tables to be dumped.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let tables =
        cx.catalog.table_oids(|object, table| table.has_triggers && object.dumps(Components::DEFINITION));
    if tables.is_empty() {
        return Ok(());
    }
    cx.each(&QUERY, &[&tables], |cx, row| add(cx, &row)).await
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let relation = row.oid("tgrelid")?;
    let Some(table) = cx.catalog.table_by_oid(relation) else {
        return Err(SqlError::Inconsistent(format!("unrecognized table OID {relation}")));
    };
    let detail = Detail::Trigger(Trigger {
        table,
        definition: row.text("definition")?,
        firing: row.code("enabled")?,
        cloned: row.bool("cloned")?,
    });
    let catalog_id = CatalogId::new(class::PG_TRIGGER, row.oid("oid")?);
    let namespace = cx.catalog[table].namespace;
    let id = cx.catalog.add(catalog_id, row.text("name")?, namespace, detail);
    if let Some(table) = cx.catalog.table_mut(table) {
        table.triggers.push(id);
    }
    Ok(())
}

/// Writes the DDL of one trigger.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, trigger: &Trigger) {
    if em.options.data_only {
        return;
    }
    let table = &em.catalog[trigger.table];
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_on(object, table, EntryKind::Trigger);
        if !trigger.cloned {
            let identity = format!("{} ON {}", em.quoting.id(&object.name), em.catalog.qualified(table));
            put!(entry.definition, "{};\n", trigger.definition);
            entry.definition += &em.depends_on_extension(object, "TRIGGER", &identity);
            put!(entry.drop, "DROP TRIGGER {identity};\n");
        }
        if trigger.cloned || trigger.firing != Firing::Origin {
            entry.definition += &firing(em, object, trigger, table);
        }
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let words = format!("TRIGGER {} ON", em.quoting.id(&object.name));
        em.comment_on_member(object, &words, table, object.id);
    }
}

/// Returns `ALTER TABLE … ENABLE/DISABLE TRIGGER`.
fn firing(em: &Emitter<'_>, object: &DumpObject, trigger: &Trigger, table: &DumpObject) -> String {
    let foreign = em.catalog.table(trigger.table).map_or("", Table::foreign);
    let how = trigger.firing.action();
    let (on, name) = (em.catalog.qualified(table), em.quoting.id(&object.name));
    format!("\nALTER {foreign}TABLE {on} {how} TRIGGER {name};\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::tests::catalog_with;
    use crate::sql::kind::table::RelationKind;

    fn written(relation: RelationKind, firing: Firing, cloned: bool) -> (String, String) {
        let (mut catalog, table) = catalog_with(relation);
        let trigger = Trigger { table, definition: "CREATE TRIGGER …".to_owned(), firing, cloned };
        let namespace = catalog[table].namespace;
        let catalog_id = CatalogId::new(class::PG_TRIGGER, 300);
        let id = catalog.add(catalog_id, "Tg".to_owned(), namespace, Detail::Trigger(trigger));
        let extension =
            catalog.add(CatalogId::default(), "Ext".to_owned(), None, Detail::PreDataBoundary(()));
        catalog[extension].dump = Components::empty();
        catalog.add_explicit_extension(id, extension);
        let entry = entries(&mut catalog).remove(0);
        assert_eq!((entry.tag.as_str(), entry.owner.as_deref()), ("T Tg", Some("own")));
        (entry.definition, entry.drop)
    }

    #[test]
    fn extension_and_firing_follow_the_definition() {
        let (definition, drop) = written(RelationKind::Table, Firing::Disabled, false);
        assert_eq!(
            definition,
            "CREATE TRIGGER …;\nALTER TRIGGER \"Tg\" ON s.\"T\" DEPENDS ON EXTENSION \"Ext\";\n\
             \nALTER TABLE s.\"T\" DISABLE TRIGGER \"Tg\";\n"
        );
        assert_eq!(drop, "DROP TRIGGER \"Tg\" ON s.\"T\";\n");
        assert!(!written(RelationKind::Table, Firing::Origin, false).0.contains("ENABLE"));
    }

    #[test]
    fn of_a_partitions_copy_only_the_firing_is_written() {
        let (definition, drop) = written(RelationKind::ForeignTable, Firing::Origin, true);
        assert_eq!(definition, "\nALTER FOREIGN TABLE s.\"T\" ENABLE TRIGGER \"Tg\";\n");
        assert_eq!(drop, "");
    }
}
