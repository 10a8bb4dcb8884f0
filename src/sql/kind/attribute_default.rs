//! Column defaults: the query, the row, the DDL.

use crate::sql::emit::Emitter;
use crate::sql::object::{DumpId, DumpObject};

/// A column default.
#[derive(Debug)]
pub struct AttributeDefault {
    /// The table.
    pub table: DumpId,
    /// The column's number, from 1.
    pub number: i16,
    /// The expression.
    pub expression: String,
    /// Whether it is written as a statement of its own instead of inside the table's.
    pub separate: bool,
}

/// Writes the DDL of one column default.
pub(in crate::sql) fn emit(
    _em: &mut Emitter<'_>,
    _object: &DumpObject,
    _attribute_default: &AttributeDefault,
) {
}
