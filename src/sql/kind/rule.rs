//! Rewrite rules: the query, the row, the DDL. A view's own rule is normally part of CREATE VIEW. Loop repair
//! can make it a separate statement, which replaces a dummy view. PostgreSQL manual: CREATE RULE, CREATE
//! VIEW.

use super::table::{RelationKind, Table};
use super::view;
use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::firing::Firing;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, LAST_BUILTIN_OID, ObjectKind, class,
};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

const QUERY: CatalogQuery = CatalogQuery {
    what: "rewrite rules",
    since: PG13,
    text: "
SELECT r.oid,
       r.ev_class AS relation,
       r.rulename::pg_catalog.text AS name,
       r.ev_type AS event,
       r.is_instead AS instead,
       r.ev_enabled AS enabled
  FROM pg_catalog.pg_rewrite r
 ORDER BY r.oid",
    gates: &[],
};

const DEFINITIONS: CatalogQuery = CatalogQuery {
    what: "definitions of rewrite rules",
    since: PG13,
    text: "
SELECT r.oid, pg_catalog.pg_get_ruledef(r.oid) AS definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r (oid)
 ORDER BY r.oid",
    gates: &[],
};

codes! {
    /// The command that a rule changes.
    RuleEvent("ev_type") {
        Select = '1',
        Update = '2',
        Insert = '3',
        Delete = '4',
    }
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// The table or view.
    pub table: DumpId,
    /// The event.
    pub event: RuleEvent,
    /// `INSTEAD` or `ALSO`.
    pub instead: bool,
    /// When it fires.
    pub firing: Firing,
    /// Whether it is a separate statement; false only for a view's `ON SELECT` rule.
    pub separate: bool,
    /// `pg_get_ruledef()`; `None` for a view's `ON SELECT` rule.
    pub definition: Option<String>,
}

impl Rule {
    /// Returns whether it is the rule that makes its relation a view.
    fn is_view(&self) -> bool {
        self.event == RuleEvent::Select && self.instead
    }
}

/// Identifies the rules, including those of system views, because other objects may depend on them.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    cx.each(&QUERY, &[], |cx, row| add(cx, &row)).await
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let (oid, relation) = (row.oid("oid")?, row.oid("relation")?);
    let Some(table_id) = cx.catalog.table_by_oid(relation) else {
        if oid <= LAST_BUILTIN_OID {
            return Ok(());
        }
        return Err(SqlError::Inconsistent(format!(
            "failed sanity check, parent table with OID {relation} of pg_rewrite entry with OID {oid} not found"
        )));
    };
    let mut rule = Rule {
        table: table_id,
        event: row.code("event")?,
        instead: row.bool("instead")?,
        firing: row.code("enabled")?,
        separate: true,
        definition: None,
    };
    let of_view = cx
        .catalog
        .table(table_id)
        .is_some_and(|table| matches!(table.kind, RelationKind::View | RelationKind::MaterializedView));
    rule.separate = !(of_view && rule.is_view());
    let separate = rule.separate;
    let (dump, namespace) = (cx.catalog[table_id].dump, cx.catalog[table_id].namespace);
    let catalog_id = CatalogId::new(class::PG_REWRITE, oid);
    let id = cx.catalog.add(catalog_id, row.text("name")?, namespace, Detail::Rule(rule));
    cx.catalog[id].dump = dump;
    // A view depends on the dependencies of its rule, so the rule is sorted before the view. All other rules
    // are sorted after their table.
    if separate {
        cx.catalog[id].depend_on(table_id);
    } else {
        cx.catalog[table_id].depend_on(id);
    }
    Ok(())
}

/// Reads the definitions of the rules to be dumped, except those of views.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let ids = cx.catalog.ids_of(ObjectKind::Rule);
    let wanted = ids.into_iter().filter(|id| {
        let of_view = cx.catalog.rule(*id).is_some_and(Rule::is_view);
        !of_view && cx.dumps(*id, Components::DEFINITION)
    });
    let oids: Vec<u32> = wanted.map(|id| cx.catalog[id].catalog_id.oid).collect();
    if oids.is_empty() || cx.options.data_only {
        return Ok(());
    }
    for row in cx.rows_with(&DEFINITIONS, &[&oids]).await? {
        let id = cx.catalog.by_oid(class::PG_REWRITE, row.oid("oid")?);
        if let Some(rule) = id.and_then(|id| cx.catalog.rule_mut(id)) {
            rule.definition = row.opt_text("definition")?;
        }
    }
    Ok(())
}

/// Writes the DDL of one rule, unless it is part of its view.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, rule: &Rule) {
    if em.options.data_only || !rule.separate {
        return;
    }
    let table = &em.catalog[rule.table];
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_on(object, table, EntryKind::Rule);
        match statements(em, object, rule, table) {
            Ok((create, drop)) => (entry.definition, entry.drop) = (create, drop),
            Err(error) => return em.fail(error),
        }
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let words = format!("RULE {} ON", em.quoting.id(&object.name));
        em.comment_on_member(object, &words, table, object.id);
    }
}

/// Returns the statements that create and drop the rule.
fn statements(
    em: &Emitter<'_>,
    object: &DumpObject,
    rule: &Rule,
    table: &DumpObject,
) -> Result<(String, String)> {
    let name = em.quoting.id(&object.name);
    let on = em.catalog.qualified(table);
    let inconsistent = |what: &str| SqlError::Inconsistent(format!("rule {name} on {on} {what}"));
    let (mut create, drop) = if rule.is_view() {
        let Some(detail) = em.catalog.table(table.id) else {
            return Err(inconsistent("belongs to no relation"));
        };
        // A view's rule cannot be dropped, so a view without dependencies replaces the view.
        let dummy = view::dummy_query(em, table, detail);
        (replace_view(em, table, detail), format!("CREATE OR REPLACE VIEW {on} AS\n{dummy};\n"))
    } else {
        let definition = rule.definition.as_deref().ok_or_else(|| inconsistent("has no definition"))?;
        (format!("{definition}\n"), format!("DROP RULE {name} ON {on};\n"))
    };
    if rule.firing != Firing::Origin {
        put!(create, "ALTER TABLE {on} {} RULE {name};\n", rule.firing.action());
    }
    Ok((create, drop))
}

/// Returns the statement that replaces the dummy view with the real one.
fn replace_view(em: &Emitter<'_>, object: &DumpObject, table: &Table) -> String {
    let mut sql = format!("CREATE OR REPLACE VIEW {}", em.catalog.qualified(object));
    if !table.options.is_empty() {
        put!(sql, " WITH ({})", em.quoting.storage_options(&table.options, ""));
    }
    put!(sql, " AS\n{}", view::query(em, object, table));
    if let Some(check) = &table.check_option {
        put!(sql, "\n  WITH {check} CHECK OPTION");
    }
    sql.push_str(";\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::tests::catalog_with;

    fn written(firing: Firing, separate: bool) -> Vec<(String, String)> {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let definition = Some("CREATE RULE \"R\" AS ON DELETE TO s.\"T\" DO INSTEAD NOTHING;".to_owned());
        let rule = Rule { table, event: RuleEvent::Delete, instead: true, firing, separate, definition };
        let namespace = catalog[table].namespace;
        catalog.add(CatalogId::new(class::PG_REWRITE, 300), "R".to_owned(), namespace, Detail::Rule(rule));
        entries(&mut catalog).into_iter().map(|entry| (entry.definition, entry.drop)).collect()
    }

    #[test]
    fn the_firing_state_follows_unless_it_is_the_usual() {
        let create = "CREATE RULE \"R\" AS ON DELETE TO s.\"T\" DO INSTEAD NOTHING;\n";
        assert_eq!(
            written(Firing::Origin, true),
            [(create.to_owned(), "DROP RULE \"R\" ON s.\"T\";\n".to_owned())]
        );
        for (firing, how) in [
            (Firing::Always, "ENABLE ALWAYS"),
            (Firing::Replica, "ENABLE REPLICA"),
            (Firing::Disabled, "DISABLE"),
        ] {
            let alter = format!("ALTER TABLE s.\"T\" {how} RULE \"R\";\n");
            assert_eq!(written(firing, true)[0].0, format!("{create}{alter}"));
        }
    }

    #[test]
    fn a_views_own_rule_is_written_with_the_view() {
        assert_eq!(written(Firing::Origin, false), []);
    }
}
