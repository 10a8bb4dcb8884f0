//! Row security: policies, and the statement that enables it on a table. The table's DDL contains FORCE ROW
//! LEVEL SECURITY. PostgreSQL manual: CREATE POLICY, chapter 5.8.

use std::collections::HashSet;

use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::table::RelationKind;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

/// `{0}` as the list of roles is PUBLIC. Like pg_dump, the query does not sort the roles or the policies, so
/// that their order, and the numbers in a verbose dump, are the same.
const QUERY: CatalogQuery = CatalogQuery {
    what: "row-level security policies",
    since: PG13,
    text: "
SELECT p.oid,
       p.polrelid,
       p.polname::pg_catalog.text AS name,
       p.polcmd AS command,
       p.polpermissive AS permissive,
       CASE WHEN p.polroles <> '{0}'
            THEN pg_catalog.array_to_string(
                     ARRAY(SELECT pg_catalog.quote_ident(r.rolname)
                             FROM pg_catalog.pg_roles r
                            WHERE r.oid = ANY (p.polroles)), ', ')
       END AS roles,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS qualification,
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS with_check
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted (oid)
  JOIN pg_catalog.pg_policy p ON p.polrelid = wanted.oid",
    gates: &[],
};

/// A policy, or the object that enables row security.
#[derive(Debug)]
pub struct Policy {
    /// The table.
    pub table: DumpId,
    /// The policy; `None` in the object that enables row security.
    pub rule: Option<PolicyRule>,
}

codes! {
    /// The commands to which a policy applies.
    PolicyCommand("polcmd", "unexpected policy command type: {code}") {
        All = '*',
        Select = 'r',
        Insert = 'a',
        Update = 'w',
        Delete = 'd',
    }
}

/// The definition of a policy.
#[derive(Debug)]
pub struct PolicyRule {
    /// The commands to which it applies.
    pub command: PolicyCommand,
    /// `PERMISSIVE` or `RESTRICTIVE`.
    pub permissive: bool,
    /// The roles, quoted and separated by commas; `None` for PUBLIC.
    pub roles: Option<String>,
    /// `USING`.
    pub qualification: Option<String>,
    /// `WITH CHECK`.
    pub with_check: Option<String>,
}

/// Creates an object for each table with row security, and identifies the policies of the tables to be
/// dumped. Other policies are not read, because reading an expression requires a lock on the table.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let tables = cx.catalog.table_oids(|object, table| {
        object.dumps(Components::POLICY)
            && matches!(table.kind, RelationKind::Table | RelationKind::PartitionedTable)
    });
    if tables.is_empty() {
        return Ok(());
    }
    let secured = cx.catalog.table_oids(|_, table| table.row_security);
    let secured: HashSet<u32> = secured.into_iter().collect();
    for oid in tables.iter().filter(|oid| secured.contains(oid)) {
        add_enabled(cx, *oid);
    }
    for row in cx.rows_with(&QUERY, &[&tables]).await? {
        add(cx, &row)?;
    }
    Ok(())
}

fn add_enabled(cx: &mut Collector<'_>, oid: u32) {
    let Some(table) = cx.catalog.table_by_oid(oid) else { return };
    cx.catalog[table].components |= Components::POLICY;
    let (name, namespace) = (cx.catalog[table].name.clone(), cx.catalog[table].namespace);
    let detail = Detail::Policy(Box::new(Policy { table, rule: None }));
    // The catalog id has no class, so that no row of pg_depend is assigned to it.
    cx.catalog.add(CatalogId::new(0, oid), name, namespace, detail);
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
    let relation = row.oid("polrelid")?;
    let Some(table) = cx.catalog.table_by_oid(relation) else {
        return Err(SqlError::Inconsistent(format!("unrecognized table OID {relation}")));
    };
    cx.catalog[table].components |= Components::POLICY;
    let rule = PolicyRule {
        command: row.code("command")?,
        permissive: row.bool("permissive")?,
        roles: row.opt_text("roles")?,
        qualification: row.opt_text("qualification")?,
        with_check: row.opt_text("with_check")?,
    };
    let detail = Detail::Policy(Box::new(Policy { table, rule: Some(rule) }));
    let catalog_id = CatalogId::new(class::PG_POLICY, row.oid("oid")?);
    let namespace = cx.catalog[table].namespace;
    cx.catalog.add(catalog_id, row.text("name")?, namespace, detail);
    Ok(())
}

/// Writes the DDL of one policy, or the statement that enables row security.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, policy: &Policy) {
    if em.options.data_only {
        return;
    }
    let table = &em.catalog[policy.table];
    let Some(rule) = &policy.rule else { return emit_enabled(em, object, table) };
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_on(object, table, EntryKind::Policy);
        entry.definition = create(em, object, rule, table);
        let (name, on) = (em.quoting.id(&object.name), em.catalog.qualified(table));
        entry.drop = format!("DROP POLICY {name} ON {on};\n");
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let words = format!("POLICY {} ON", em.quoting.id(&object.name));
        em.comment_on_member(object, &words, table, object.id);
    }
}

fn emit_enabled(em: &mut Emitter<'_>, object: &DumpObject, table: &DumpObject) {
    if !object.dumps(Components::DEFINITION) {
        return;
    }
    let mut entry = em.entry_on(object, table, EntryKind::RowSecurity);
    entry.tag.clone_from(&object.name);
    entry.definition = format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;", em.catalog.qualified(table));
    // pg_depend has no row for it.
    entry.dependencies = vec![table.id];
    em.push(entry);
}

fn create(em: &Emitter<'_>, object: &DumpObject, rule: &PolicyRule, table: &DumpObject) -> String {
    let (name, on) = (em.quoting.id(&object.name), em.catalog.qualified(table));
    let command = match rule.command {
        PolicyCommand::All => "",
        PolicyCommand::Select => " FOR SELECT",
        PolicyCommand::Insert => " FOR INSERT",
        PolicyCommand::Update => " FOR UPDATE",
        PolicyCommand::Delete => " FOR DELETE",
    };
    let restrictive = if rule.permissive { "" } else { " AS RESTRICTIVE" };
    let mut sql = format!("CREATE POLICY {name} ON {on}{restrictive}{command}");
    if let Some(roles) = &rule.roles {
        put!(sql, " TO {roles}");
    }
    if let Some(qualification) = &rule.qualification {
        put!(sql, " USING ({qualification})");
    }
    if let Some(with_check) = &rule.with_check {
        put!(sql, " WITH CHECK ({with_check})");
    }
    sql.push_str(";\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc::TocEntry;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::tests::catalog_with;

    fn written(name: &str, rule: Option<PolicyRule>) -> TocEntry {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let namespace = catalog[table].namespace;
        let detail = Detail::Policy(Box::new(Policy { table, rule }));
        catalog.add(CatalogId::new(0, 10), name.to_owned(), namespace, detail);
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(entry.owner.as_deref(), Some("own"));
        entry
    }

    #[test]
    fn row_security_ends_without_a_newline_and_depends_on_its_table() {
        let entry = written("T", None);
        assert_eq!(entry.definition, "ALTER TABLE s.\"T\" ENABLE ROW LEVEL SECURITY;");
        assert_eq!((entry.desc, entry.tag.as_str(), entry.drop.as_str()), (EntryKind::RowSecurity, "T", ""));
        assert_eq!(entry.dependencies.len(), 1);
    }

    #[test]
    fn every_clause_of_a_policy_has_its_place() {
        let rule = PolicyRule {
            command: PolicyCommand::Update,
            permissive: false,
            roles: Some("a, \"B\"".to_owned()),
            qualification: Some("(a > 0)".to_owned()),
            with_check: Some("true".to_owned()),
        };
        let entry = written("P", Some(rule));
        assert_eq!(
            entry.definition,
            "CREATE POLICY \"P\" ON s.\"T\" AS RESTRICTIVE FOR UPDATE TO a, \"B\" USING ((a > 0)) WITH CHECK (true);\n"
        );
        assert_eq!((entry.tag.as_str(), entry.drop.as_str()), ("T P", "DROP POLICY \"P\" ON s.\"T\";\n"));
    }
}
