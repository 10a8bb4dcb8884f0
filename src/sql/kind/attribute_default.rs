//! Column defaults that are separate statements: `ALTER TABLE … SET DEFAULT`. They are read together with the
//! columns (`table::attributes`).

use crate::sql::emit::Emitter;
use crate::sql::error::SqlError;
use crate::sql::object::{Components, DumpId, DumpObject, EntryKind, Section};

/// A column default.
#[derive(Debug)]
pub struct AttributeDefault {
    /// The table.
    pub table: DumpId,
    /// The column's number, from 1.
    pub number: i16,
    /// The expression.
    pub expression: String,
    /// Whether it is a separate statement and not part of the table's statement.
    pub separate: bool,
}

/// Writes the DDL of one column default.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, default: &AttributeDefault) {
    if em.options.data_only || !default.separate || !object.dumps(Components::DEFINITION) {
        return;
    }
    let relation = &em.catalog[default.table];
    let found = em.catalog.table(default.table);
    let Some((table, column)) = found.and_then(|t| Some((t, t.column(default.number.into())?))) else {
        let error = format!("invalid column number {} for table \"{}\"", default.number, relation.name);
        return em.fail(SqlError::Inconsistent(error));
    };
    let foreign = table.foreign();
    let name = em.catalog.qualified(relation);
    let quoted = em.quoting.id(&column.name);

    let mut entry = em.entry_for(object, EntryKind::Default, Section::PreData);
    entry.tag = format!("{} {}", relation.name, column.name);
    entry.owner = Some(relation.owner_name().to_owned());
    entry.definition = format!(
        "ALTER {foreign}TABLE ONLY {name} ALTER COLUMN {quoted} SET DEFAULT {};\n",
        default.expression
    );
    entry.drop = format!("ALTER {foreign}TABLE {name} ALTER COLUMN {quoted} DROP DEFAULT;\n");
    em.push(entry);
}
