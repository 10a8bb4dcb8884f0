//! Constraints of tables and domains: the query for foreign keys, and the DDL of all kinds.
//!
//! Primary keys, unique and exclusion constraints are read together with their indexes. Check constraints are
//! read with their table's columns or with their domain. PostgreSQL manual: ALTER TABLE, ALTER DOMAIN,
//! catalog `pg_constraint`.

use super::index;
use super::index::Index;
use super::table::{RelationKind, Table};
use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{Catalog, CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

/// Omits a partition's copy of its parent's foreign key (`conparentid`), which attaching the partition
/// creates.
const FOREIGN_KEYS: CatalogQuery = CatalogQuery {
    what: "foreign keys",
    since: PG13,
    text: "
SELECT c.oid,
       c.conrelid,
       c.conname::pg_catalog.text AS name,
       c.confrelid AS referenced_table,
       c.conindid AS referenced_index,
       pg_catalog.pg_get_constraintdef(c.oid) AS definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted (oid)
  JOIN pg_catalog.pg_constraint c ON c.conrelid = wanted.oid
 WHERE c.contype = 'f'
   AND c.conparentid = 0
 ORDER BY c.conrelid, c.conname",
    gates: &[],
};

codes! {
    /// The kind of a constraint. Constraint triggers are collected as triggers.
    ConstraintKind("contype", "unrecognized constraint type: {code}") {
        Check = 'c',
        /// NOT NULL, of a domain.
        NotNull = 'n',
        ForeignKey = 'f',
        PrimaryKey = 'p',
        Unique = 'u',
        Exclusion = 'x',
    }
}

/// A constraint.
#[derive(Debug)]
pub struct Constraint {
    /// The table, for a table constraint.
    pub table: Option<DumpId>,
    /// The domain, for a domain constraint.
    pub domain: Option<DumpId>,
    /// Its kind.
    pub kind: ConstraintKind,
    /// `pg_get_constraintdef()`, for check and exclusion constraints and foreign keys.
    pub definition: String,
    /// OID of the table that a foreign key references, else 0.
    pub referenced_table: u32,
    /// The index of a primary key, unique or exclusion constraint.
    pub index: Option<DumpId>,
    /// `DEFERRABLE`.
    pub deferrable: bool,
    /// `INITIALLY DEFERRED`.
    pub deferred: bool,
    /// Whether this table defines it, and does not only inherit it.
    pub local: bool,
    /// Whether it is written as a separate statement.
    pub separate: bool,
}

/// A row of [`FOREIGN_KEYS`].
pub(in crate::sql) struct ForeignKey {
    oid: u32,
    relation: u32,
    name: String,
    referenced_table: u32,
    referenced_index: u32,
    definition: String,
}

impl ForeignKey {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(ForeignKey {
            oid: row.oid("oid")?,
            relation: row.oid("conrelid")?,
            name: row.text("name")?,
            referenced_table: row.oid("referenced_table")?,
            referenced_index: row.oid("referenced_index")?,
            definition: row.text("definition")?,
        })
    }
}

/// Reads the foreign keys of the tables to be dumped. This runs before [`collect`], while a worker session
/// may read the indexes.
pub(in crate::sql) async fn read_foreign_keys(cx: &mut Collector<'_>) -> Result<Vec<ForeignKey>> {
    // A table with foreign keys has triggers that check them, unless the table is partitioned.
    let tables = cx.catalog.table_oids(|object, table| {
        (table.has_triggers || table.kind == RelationKind::PartitionedTable)
            && object.dumps(Components::DEFINITION)
    });
    let mut keys = Vec::new();
    if tables.is_empty() {
        return Ok(keys);
    }
    cx.each(&FOREIGN_KEYS, &[&tables], |_, row| {
        keys.push(ForeignKey::from_row(&row)?);
        Ok(())
    })
    .await?;
    Ok(keys)
}

/// Creates the objects of the foreign keys.
pub(in crate::sql) fn collect(cx: &mut Collector<'_>, keys: Vec<ForeignKey>) -> Result<()> {
    keys.into_iter().try_for_each(|key| add_foreign_key(cx, key))
}

fn add_foreign_key(cx: &mut Collector<'_>, key: ForeignKey) -> Result<()> {
    let ForeignKey { oid, relation, name, referenced_table, referenced_index, definition } = key;
    let Some(table) = cx.catalog.table_by_oid(relation) else {
        return Err(SqlError::Inconsistent(format!("unrecognized table OID {relation}")));
    };
    let detail = Detail::ForeignKey(Constraint {
        table: Some(table),
        domain: None,
        kind: ConstraintKind::ForeignKey,
        definition,
        referenced_table,
        index: None,
        deferrable: false,
        deferred: false,
        local: true,
        separate: true,
    });
    let catalog_id = CatalogId::new(class::PG_CONSTRAINT, oid);
    let namespace = cx.catalog[table].namespace;
    let id = cx.catalog.add(catalog_id, name, namespace, detail);

    // A foreign key to a partitioned table requires a valid index there, so the indexes of all partitions
    // must be attached first.
    let referenced = cx.catalog.table_by_oid(referenced_table).and_then(|id| cx.catalog.table(id));
    if referenced.is_some_and(|table| table.kind == RelationKind::PartitionedTable) {
        let mut attaches = Vec::new();
        if let Some(index) = cx.catalog.by_oid(class::PG_CLASS, referenced_index) {
            attaches_below(&cx.catalog, index, &mut attaches);
        }
        attaches.into_iter().for_each(|attach| cx.catalog[id].depend_on(attach));
    }
    Ok(())
}

/// Collects the attachments to an index and, recursively, to the indexes attached to it.
fn attaches_below(catalog: &Catalog, index: DumpId, found: &mut Vec<DumpId>) {
    let Some(index) = catalog.index(index) else { return };
    for id in &index.partition_attaches {
        found.push(*id);
        if let Some(attach) = catalog.index_attach(*id) {
            attaches_below(catalog, attach.partition, found);
        }
    }
}

/// Writes the DDL of one constraint and its comment, unless they are part of its table or domain.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, constraint: &Constraint) {
    if em.options.data_only {
        return;
    }
    let parent = match (constraint.table, constraint.domain) {
        (Some(table), _) => &em.catalog[table],
        (None, Some(domain)) => &em.catalog[domain],
        (None, None) => {
            let name = em.quoting.id(&object.name);
            return em.fail(SqlError::Inconsistent(format!("constraint {name} has no table or domain")));
        }
    };
    let is_inline = match constraint.kind {
        ConstraintKind::Check | ConstraintKind::NotNull => !(constraint.separate && constraint.local),
        _ => false,
    };
    let written = !is_inline;
    if written
        && object.dumps(Components::DEFINITION)
        && let Err(error) = emit_definition(em, object, constraint, parent)
    {
        return em.fail(error);
    }
    if constraint.separate && object.dumps(Components::COMMENT) {
        emit_comment(em, object, constraint);
    }
}

/// Writes the comment on a constraint. It depends on the table's or domain's entry if the constraint is part
/// of that entry.
pub(super) fn emit_comment(em: &mut Emitter<'_>, object: &DumpObject, constraint: &Constraint) {
    let Some(parent) = constraint.table.or(constraint.domain) else { return };
    let on = if constraint.table.is_some() { "ON" } else { "ON DOMAIN" };
    let words = format!("CONSTRAINT {} {on}", em.quoting.id(&object.name));
    let to = if constraint.separate { object.id } else { parent };
    em.comment_on_member(object, &words, &em.catalog[parent], to);
}

fn emit_definition(
    em: &mut Emitter<'_>,
    object: &DumpObject,
    constraint: &Constraint,
    parent: &DumpObject,
) -> Result<()> {
    let desc = match constraint.kind {
        ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclusion => {
            EntryKind::Constraint
        }
        ConstraintKind::ForeignKey => EntryKind::FkConstraint,
        ConstraintKind::Check | ConstraintKind::NotNull => EntryKind::CheckConstraint,
    };
    let mut entry = em.entry_on(object, parent, desc);
    let alter = alter(em, constraint, parent);
    let name = em.quoting.id(&object.name);
    entry.drop = format!("{alter} DROP CONSTRAINT {name};\n");
    entry.definition = format!("{alter}\n    ADD CONSTRAINT {name} ");
    if desc == EntryKind::Constraint {
        let (of_index, index) = index_behind(em, object, constraint)?;
        if constraint.kind == ConstraintKind::Exclusion {
            entry.definition += &constraint.definition;
        } else {
            let table = em.catalog.table(parent.id);
            put_key(em, &mut entry.definition, constraint, index, (parent, table))?;
        }
        entry.definition += ";\n";
        entry.definition += &index::clustered(em, of_index, index);
        entry.definition += &index::replica_identity(em, of_index, index);
        let index_name = em.catalog.qualified(of_index);
        entry.definition += &em.depends_on_extension(of_index, "INDEX", &index_name);
        entry.tablespace = Some(index.tablespace.clone());
    } else {
        put!(entry.definition, "{};\n", constraint.definition);
    }
    em.push(entry);
    Ok(())
}

/// Returns `ALTER TABLE [ONLY] …` or `ALTER DOMAIN …`. Check constraints and foreign keys of partitioned
/// tables apply to the children too; all others apply only to the table.
fn alter(em: &Emitter<'_>, constraint: &Constraint, parent: &DumpObject) -> String {
    let name = em.catalog.qualified(parent);
    let Some(table) = em.catalog.table(parent.id) else { return format!("ALTER DOMAIN {name}") };
    let foreign = table.foreign();
    let inherited = constraint.kind == ConstraintKind::Check
        || (constraint.kind == ConstraintKind::ForeignKey && table.kind == RelationKind::PartitionedTable);
    let only = if inherited { "" } else { "ONLY " };
    format!("ALTER {foreign}TABLE {only}{name}")
}

fn index_behind<'a>(
    em: &Emitter<'a>,
    object: &DumpObject,
    constraint: &Constraint,
) -> Result<(&'a DumpObject, &'a Index)> {
    let found = constraint.index.and_then(|id| Some((&em.catalog[id], em.catalog.index(id)?)));
    found.ok_or_else(|| SqlError::Inconsistent(format!("missing index for constraint \"{}\"", object.name)))
}

/// Writes `PRIMARY KEY (…) INCLUDE (…) WITH (…) DEFERRABLE` and similar clauses.
fn put_key(
    em: &Emitter<'_>,
    sql: &mut String,
    constraint: &Constraint,
    index: &Index,
    (object, table): (&DumpObject, Option<&Table>),
) -> Result<()> {
    sql.push_str(if constraint.kind == ConstraintKind::PrimaryKey { "PRIMARY KEY" } else { "UNIQUE" });
    if index.nulls_not_distinct {
        sql.push_str(" NULLS NOT DISTINCT");
    }
    let list = |columns: &[i16]| -> Result<String> {
        let names = columns.iter().map_while(|number| match number {
            0 => None,
            number => Some(column_name(*number, table).ok_or_else(|| {
                SqlError::Inconsistent(format!(
                    "invalid column number {number} for table \"{}\"",
                    object.name
                ))
            })),
        });
        let quoted = names.map(|name| Ok(em.quoting.id(name?).to_string()));
        Ok(quoted.collect::<Result<Vec<_>>>()?.join(", "))
    };
    let (keys, included) = index.columns.split_at(index.key_columns.min(index.columns.len()));
    put!(sql, " ({}", list(keys)?);
    if !included.is_empty() {
        put!(sql, ") INCLUDE ({}", list(included)?);
    }
    sql.push(')');
    if !index.options.is_empty() {
        put!(sql, " WITH ({})", em.quoting.storage_options(&index.options, ""));
    }
    if constraint.deferrable {
        sql.push_str(" DEFERRABLE");
        if constraint.deferred {
            sql.push_str(" INITIALLY DEFERRED");
        }
    }
    Ok(())
}

/// Returns the column's name. System columns have negative numbers.
fn column_name(number: i16, table: Option<&Table>) -> Option<&str> {
    match number {
        1.. => {
            let at = usize::from(number.unsigned_abs()) - 1;
            table?.attributes.get(at).map(|attribute| attribute.name.as_str())
        }
        -1 => Some("ctid"),
        -2 => Some("xmin"),
        -3 => Some("cmin"),
        -4 => Some("xmax"),
        -5 => Some("cmax"),
        -6 => Some("tableoid"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc::TocEntry;
    use crate::sql::kind::data_type::tests::entries;
    use crate::sql::kind::index::tests::{add_index, catalog_with, plain};

    fn constraint(kind: ConstraintKind, definition: &str) -> Constraint {
        Constraint {
            table: None,
            domain: None,
            kind,
            definition: definition.to_owned(),
            referenced_table: 0,
            index: None,
            deferrable: false,
            deferred: false,
            local: true,
            separate: true,
        }
    }

    /// Returns the entries of the constraint `C` on a relation of this kind, with an index if it needs one.
    fn written(
        relation: RelationKind,
        constraint: Constraint,
        index: impl FnOnce(Index) -> Index,
    ) -> Vec<TocEntry> {
        let (mut catalog, table) = catalog_with(relation);
        let index = index(plain(table));
        let index = add_index(&mut catalog, "C", index);
        catalog[index].dump = Components::empty();
        let constraint = Constraint { table: Some(table), index: Some(index), ..constraint };
        let detail = match constraint.kind {
            ConstraintKind::ForeignKey => Detail::ForeignKey(constraint),
            _ => Detail::Constraint(constraint),
        };
        let namespace = catalog[table].namespace;
        catalog.add(CatalogId::new(class::PG_CONSTRAINT, 500), "C".to_owned(), namespace, detail);
        entries(&mut catalog)
    }

    #[test]
    fn a_key_lists_its_columns_and_its_indexs_properties() {
        let key = Constraint { deferrable: true, deferred: true, ..constraint(ConstraintKind::Unique, "") };
        let entry = &written(RelationKind::Table, key, |index| Index {
            columns: vec![2, 1, 3],
            key_columns: 2,
            nulls_not_distinct: true,
            options: vec!["fillfactor=70".to_owned()],
            replica_identity: true,
            clustered: true,
            ..index
        })[0];
        assert_eq!(
            entry.definition,
            "ALTER TABLE ONLY s.\"T\"\n    ADD CONSTRAINT \"C\" UNIQUE NULLS NOT DISTINCT (\"B\", a) \
             INCLUDE (c) WITH (fillfactor='70') DEFERRABLE INITIALLY DEFERRED;\n\
             \nALTER TABLE s.\"T\" CLUSTER ON \"C\";\n\
             \nALTER TABLE ONLY s.\"T\" REPLICA IDENTITY USING INDEX \"C\";\n"
        );
        assert_eq!(entry.drop, "ALTER TABLE ONLY s.\"T\" DROP CONSTRAINT \"C\";\n");
        assert_eq!((entry.tag.as_str(), entry.desc), ("T C", EntryKind::Constraint));
        assert_eq!(entry.tablespace.as_deref(), Some(""));
    }

    #[test]
    fn only_a_partitioned_tables_foreign_key_goes_down_to_children() {
        let alter = |relation| {
            let key = constraint(ConstraintKind::ForeignKey, "FOREIGN KEY (a) REFERENCES s.o(a)");
            let entry = written(relation, key, |index| index).remove(0);
            assert_eq!((entry.desc, entry.tablespace), (EntryKind::FkConstraint, None));
            entry.definition.lines().next().map(str::to_owned)
        };
        assert_eq!(alter(RelationKind::Table).as_deref(), Some("ALTER TABLE ONLY s.\"T\""));
        assert_eq!(alter(RelationKind::PartitionedTable).as_deref(), Some("ALTER TABLE s.\"T\""));
    }

    #[test]
    fn checks_inside_their_table_or_inherited_are_not_written_apart() {
        let inside = Constraint { separate: false, ..constraint(ConstraintKind::Check, "CHECK (a > 0)") };
        assert!(written(RelationKind::Table, inside, |index| index).is_empty());
        let inherited = Constraint { local: false, ..constraint(ConstraintKind::Check, "CHECK (a > 0)") };
        assert!(written(RelationKind::Table, inherited, |index| index).is_empty());
        let apart = constraint(ConstraintKind::Check, "CHECK (a > 0) NOT VALID");
        let entry = written(RelationKind::ForeignTable, apart, |index| index).remove(0);
        assert_eq!(
            entry.definition,
            "ALTER FOREIGN TABLE s.\"T\"\n    ADD CONSTRAINT \"C\" CHECK (a > 0) NOT VALID;\n"
        );
    }

    #[test]
    fn columns_are_named_by_number_and_system_columns_too() {
        let (catalog, table) = catalog_with(RelationKind::Table);
        let table = catalog.table(table);
        assert_eq!(column_name(2, table), Some("B"));
        assert_eq!(column_name(-6, table), Some("tableoid"));
        assert_eq!(column_name(4, table), None);
        assert_eq!(column_name(-7, table), None);
    }
}
