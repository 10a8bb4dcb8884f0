//! `CREATE TABLE`, `CREATE VIEW` and similar statements, and the `ALTER` statements that complete them.

use super::{
    Attribute, Compression, Generated, Persistence, RelationKind, ReplicaIdentity, Specifics, Table, attached,
};
use crate::sql::emit::Emitter;
use crate::sql::error::SqlError;
use crate::sql::ident::Quoting;
use crate::sql::kind::{sequence, view};
use crate::sql::object::{Components, DumpObject, EntryKind, Section};
use crate::sql::put;

/// Writes the DDL of one table, view or sequence, with its privileges, comments and labels.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, table: &Table) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        if table.kind == RelationKind::Sequence {
            sequence::emit(em, object, table);
        } else {
            emit_definition(em, object, table);
        }
    }
    if object.dumps(Components::ACL) {
        attached::emit_acls(em, object, table);
    }
}

fn emit_definition(em: &mut Emitter<'_>, object: &DumpObject, table: &Table) {
    let kind = entry_kind(table);
    let name = em.catalog.qualified(object);
    let created = if table.kind == RelationKind::View {
        create_view(em, object, table, &name)
    } else {
        create_table(em, object, table, &name)
    };
    let mut definition = match created {
        Ok(definition) => definition,
        Err(error) => return em.fail(error),
    };
    alter_whole(&mut definition, table, &name);

    let section = if table.postponed { Section::PostData } else { Section::PreData };
    let mut entry = em.entry_for(object, kind, section);
    entry.tablespace = matches!(
        table.kind,
        RelationKind::Table | RelationKind::MaterializedView | RelationKind::PartitionedTable
    )
    .then(|| table.tablespace.clone());
    if matches!(table.kind, RelationKind::Table | RelationKind::MaterializedView) {
        entry.table_am = table.access_method.as_deref().map(str::to_owned);
    }
    // Majors that do not write it have no partitioned table with an access method.
    if table.kind == RelationKind::PartitionedTable {
        entry.altered_table_am = table.access_method.as_deref().map(str::to_owned);
    }
    entry.definition = definition;
    entry.drop = format!("DROP {kind} {name};\n");
    em.push(entry);

    if object.dumps(Components::COMMENT) {
        attached::emit_comments(em, object, table, kind.as_str());
    }
    if object.dumps(Components::SECLABEL) {
        attached::emit_labels(em, object, table, kind.as_str());
    }
    attached::emit_check_comments(em, object, table);
}

fn entry_kind(table: &Table) -> EntryKind {
    match table.kind {
        RelationKind::View => EntryKind::View,
        RelationKind::MaterializedView => EntryKind::MaterializedView,
        RelationKind::ForeignTable => EntryKind::ForeignTable,
        RelationKind::Sequence => EntryKind::Sequence,
        RelationKind::Table
        | RelationKind::PartitionedTable
        | RelationKind::Index
        | RelationKind::PartitionedIndex
        | RelationKind::ToastTable
        | RelationKind::CompositeType => EntryKind::Table,
    }
}

fn create_view(em: &Emitter<'_>, object: &DumpObject, table: &Table, name: &str) -> Result<String, SqlError> {
    let mut sql = format!("CREATE VIEW {name}");
    if table.dummy_view {
        put!(sql, " AS\n{};\n", view::dummy_query(em, object, table));
        return Ok(sql);
    }
    if !table.options.is_empty() {
        put!(sql, " WITH ({})", options_list(em.quoting, &table.options, ""));
    }
    put!(sql, " AS\n{}", view::query(em, object, table));
    if let Some(check_option) = &table.check_option {
        put!(sql, "\n  WITH {check_option} CHECK OPTION");
    }
    sql.push_str(";\n");
    Ok(sql)
}

fn create_table(
    em: &Emitter<'_>,
    object: &DumpObject,
    table: &Table,
    name: &str,
) -> Result<String, SqlError> {
    let missing =
        |what: &str| SqlError::Inconsistent(format!("{what} of table \"{}\" was not read", object.name));
    let unlogged = if table.persistence == Persistence::Unlogged { "UNLOGGED " } else { "" };
    let mut sql = format!("CREATE {unlogged}{} {name}", entry_kind(table));
    if table.of_type != 0 {
        let type_name = table.of_type_name.as_deref().ok_or_else(|| missing("type"))?;
        put!(sql, " OF {type_name}");
    }
    if table.kind != RelationKind::MaterializedView {
        put_elements(em, table, &mut sql);
        if !table.parents.is_empty() && !table.is_partition {
            let parents: Vec<_> =
                table.parents.iter().map(|p| em.catalog.qualified(&em.catalog[*p])).collect();
            put!(sql, "\nINHERITS ({})", parents.join(", "));
        }
    }
    let mut fdw_options = "";
    match (table.kind, table.specifics.as_deref()) {
        (RelationKind::PartitionedTable, Some(Specifics::PartitionKey(key))) => {
            put!(sql, "\nPARTITION BY {key}")
        }
        (RelationKind::PartitionedTable, _) => return Err(missing("partition key")),
        (RelationKind::ForeignTable, Some(Specifics::Foreign { server, options })) => {
            put!(sql, "\nSERVER {}", em.quoting.id(server));
            fdw_options = options;
        }
        (RelationKind::ForeignTable, _) => return Err(missing("foreign server")),
        _ => {}
    }
    if !table.options.is_empty() || !table.toast_options.is_empty() {
        let own = options_list(em.quoting, &table.options, "");
        let toast = options_list(em.quoting, &table.toast_options, "toast.");
        let comma = if own.is_empty() || toast.is_empty() { "" } else { ", " };
        put!(sql, "\nWITH ({own}{comma}{toast})");
    }
    if !fdw_options.is_empty() {
        put!(sql, "\nOPTIONS (\n    {fdw_options}\n)");
    }
    if table.kind == RelationKind::MaterializedView {
        put!(sql, " AS\n{}\n  WITH NO DATA;\n", view::query(em, object, table));
        sql.push_str(&em.depends_on_extension(object, "MATERIALIZED VIEW", name));
    } else {
        sql.push_str(";\n");
    }
    for attribute in table.attributes.iter().filter(|a| !a.dropped) {
        alter_column(em, table, attribute, name, &mut sql);
    }
    Ok(sql)
}

/// Writes the columns and check constraints in parentheses.
fn put_elements(em: &Emitter<'_>, table: &Table, sql: &mut String) {
    let mut count = 0_usize;
    let mut next = |sql: &mut String| {
        sql.push_str(if count == 0 { " (\n    " } else { ",\n    " });
        count += 1;
    };
    for attribute in table.attributes.iter().filter(|a| table.prints_column(a)) {
        let default = attribute
            .default
            .and_then(|id| em.catalog.attribute_default(id))
            .filter(|default| !default.separate);
        // A partition is created separately, with the constraints that it inherits when it is attached.
        let not_null = attribute.not_null && (!attribute.inherited_not_null || table.is_partition);
        if table.of_type != 0 && default.is_none() && !not_null {
            continue;
        }
        next(sql);
        put!(sql, "{}", em.quoting.id(&attribute.name));
        if table.of_type == 0 {
            put!(sql, " {}", attribute.type_name);
        }
        match (default, attribute.generated) {
            (Some(default), Some(Generated::Stored)) => {
                put!(sql, " GENERATED ALWAYS AS ({}) STORED", default.expression);
            }
            (Some(default), None) => put!(sql, " DEFAULT {}", default.expression),
            (None, _) => {}
        }
        if not_null {
            sql.push_str(" NOT NULL");
        }
        view::put_collation(em, attribute, sql);
    }
    for id in &table.check_constraints {
        let Some(check) = em.catalog.constraint(*id) else { continue };
        if check.separate || !(check.local || table.is_partition) {
            continue;
        }
        next(sql);
        put!(sql, "CONSTRAINT {} {}", em.quoting.id(&em.catalog[*id].name), check.definition);
    }
    if count > 0 {
        sql.push_str("\n)");
    } else if table.of_type == 0 {
        sql.push_str(" (\n)");
    }
}

/// Writes the properties of a column that the table's own statement cannot set.
fn alter_column(em: &Emitter<'_>, table: &Table, attribute: &Attribute, name: &str, sql: &mut String) {
    let column = em.quoting.id(&attribute.name);
    let alter = format!("ALTER {}TABLE ONLY {name} ALTER COLUMN {column}", table.foreign());
    if attribute.not_null && !attribute.inherited_not_null && !table.prints_column(attribute) {
        put!(sql, "{alter} SET NOT NULL;\n");
    }
    if attribute.statistics_target >= 0 {
        put!(sql, "{alter} SET STATISTICS {};\n", attribute.statistics_target);
    }
    if Some(attribute.storage) != attribute.type_storage {
        put!(sql, "{alter} SET STORAGE {};\n", attribute.storage.keyword());
    }
    if let Some(compression) = attribute.compression.filter(|_| !em.options.no_toast_compression) {
        let method = match compression {
            Compression::Pglz => "pglz",
            Compression::Lz4 => "lz4",
        };
        put!(sql, "{alter} SET COMPRESSION {method};\n");
    }
    if let Some(options) = &attribute.options {
        put!(sql, "{alter} SET ({options});\n");
    }
    if let (Some(options), RelationKind::ForeignTable) = (&attribute.fdw_options, table.kind) {
        let alter = em.catalog.dialect.alter_foreign_column;
        put!(sql, "{alter} {name} ALTER COLUMN {column} OPTIONS (\n    {options}\n);\n");
    }
}

/// Writes the table properties that only `ALTER TABLE` can set. The index of a replica identity is set where
/// the index is written.
fn alter_whole(sql: &mut String, table: &Table, name: &str) {
    if matches!(
        table.kind,
        RelationKind::Table | RelationKind::PartitionedTable | RelationKind::MaterializedView
    ) {
        match table.replica_identity {
            ReplicaIdentity::Nothing => {
                put!(sql, "\nALTER TABLE ONLY {name} REPLICA IDENTITY NOTHING;\n");
            }
            ReplicaIdentity::Full => put!(sql, "\nALTER TABLE ONLY {name} REPLICA IDENTITY FULL;\n"),
            ReplicaIdentity::Default | ReplicaIdentity::Index => {}
        }
    }
    if table.force_row_security {
        put!(sql, "\nALTER TABLE ONLY {name} FORCE ROW LEVEL SECURITY;\n");
    }
}

/// Returns the `name=value` pairs of `reloptions`, separated by commas. Values are quoted unless they look
/// like identifiers. Indexes use the same format.
pub(in crate::sql::kind) fn options_list(quoting: &Quoting, options: &[String], prefix: &str) -> String {
    let mut list = String::new();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !list.is_empty() {
            list.push_str(", ");
        }
        put!(list, "{prefix}{}=", quoting.id(name));
        if quoting.id(value).to_string() == value {
            list.push_str(value);
        } else {
            put!(list, "{}", quoting.literal(value));
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::attribute_default::AttributeDefault;
    use crate::sql::kind::constraint::{Constraint, ConstraintKind};
    use crate::sql::kind::namespace::Namespace;
    use crate::sql::kind::table::Storage;
    use crate::sql::object::{Catalog, CatalogId, Detail, DumpId};
    use crate::sql::options::DumpOptions;

    fn column(name: &str, type_name: &str) -> Attribute {
        Attribute {
            name: name.to_owned(),
            type_name: type_name.into(),
            statistics_target: -1,
            storage: Storage::Plain,
            type_storage: Some(Storage::Plain),
            local: true,
            ..Attribute::default()
        }
    }

    fn catalog() -> (Catalog, DumpId) {
        let mut catalog = Catalog::default();
        let id = catalog.add(
            CatalogId::new(2615, 2200),
            "s".to_owned(),
            None,
            Detail::Namespace(Namespace::default()),
        );
        (catalog, id)
    }

    fn definition(catalog: &Catalog, id: DumpId) -> String {
        let options = DumpOptions::default();
        let em = Emitter::new(catalog, &options);
        let object = &catalog[id];
        create_table(&em, object, catalog.table(id).unwrap(), &catalog.qualified(object)).unwrap()
    }

    fn add(catalog: &mut Catalog, namespace: DumpId, name: &str, table: Table) -> DumpId {
        catalog.add(CatalogId::new(1259, 1), name.to_owned(), Some(namespace), Detail::Table(Box::new(table)))
    }

    #[test]
    fn a_table_lists_columns_defaults_and_checks() {
        let (mut catalog, namespace) = catalog();
        let table = Table {
            kind: RelationKind::Table,
            persistence: Persistence::Unlogged,
            options: vec!["fillfactor=70".to_owned(), "autovacuum_enabled=false".to_owned()],
            toast_options: vec!["autovacuum_enabled=off".to_owned()],
            attributes: vec![
                Attribute { not_null: true, ..column("id", "integer") },
                Attribute { dropped: true, ..column("gone", "") },
                Attribute {
                    statistics_target: 7,
                    storage: Storage::External,
                    type_storage: Some(Storage::Extended),
                    ..column("B", "text")
                },
            ],
            ..Table::default()
        };
        let id = add(&mut catalog, namespace, "t", table);
        let default = catalog.add(
            CatalogId::default(),
            "t".to_owned(),
            Some(namespace),
            Detail::AttributeDefault(AttributeDefault {
                table: id,
                number: 1,
                expression: "42".to_owned(),
                separate: false,
            }),
        );
        let check = |catalog: &mut Catalog, name: &str, local| {
            let detail = Constraint {
                table: Some(id),
                domain: None,
                kind: ConstraintKind::Check,
                definition: "CHECK ((id > 0))".to_owned(),
                referenced_table: 0,
                index: None,
                deferrable: false,
                deferred: false,
                local,
                separate: false,
            };
            catalog.add(CatalogId::default(), name.to_owned(), Some(namespace), Detail::Constraint(detail))
        };
        let checks = vec![check(&mut catalog, "own", true), check(&mut catalog, "inherited", false)];
        let table = catalog.table_mut(id).unwrap();
        table.attributes[0].default = Some(default);
        table.check_constraints = checks;
        assert_eq!(
            definition(&catalog, id),
            "CREATE UNLOGGED TABLE s.t (\n    id integer DEFAULT 42 NOT NULL,\n    \"B\" text,\n    \
             CONSTRAINT own CHECK ((id > 0))\n)\n\
             WITH (fillfactor='70', autovacuum_enabled=false, toast.autovacuum_enabled=off);\n\
             ALTER TABLE ONLY s.t ALTER COLUMN \"B\" SET STATISTICS 7;\n\
             ALTER TABLE ONLY s.t ALTER COLUMN \"B\" SET STORAGE EXTERNAL;\n"
        );
    }

    #[test]
    fn a_child_lists_only_its_own_columns() {
        let (mut catalog, namespace) = catalog();
        let parent =
            add(&mut catalog, namespace, "parent", Table { kind: RelationKind::Table, ..Table::default() });
        let table = Table {
            kind: RelationKind::Table,
            parents: vec![parent],
            attributes: vec![Attribute { local: false, not_null: true, ..column("a", "integer") }],
            ..Table::default()
        };
        let id = add(&mut catalog, namespace, "child", table);
        assert_eq!(
            definition(&catalog, id),
            "CREATE TABLE s.child (\n)\nINHERITS (s.parent);\n\
             ALTER TABLE ONLY s.child ALTER COLUMN a SET NOT NULL;\n"
        );
    }

    #[test]
    fn a_typed_table_without_additions_has_no_list() {
        let (mut catalog, namespace) = catalog();
        let table = Table {
            kind: RelationKind::Table,
            of_type: 5,
            of_type_name: Some("s.ty".to_owned()),
            attributes: vec![column("a", "integer")],
            ..Table::default()
        };
        let id = add(&mut catalog, namespace, "t", table);
        assert_eq!(definition(&catalog, id), "CREATE TABLE s.t OF s.ty;\n");
    }
}
