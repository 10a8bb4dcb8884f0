//! Sequences: their DDL, ownership by columns, and values.

use super::table::Table;
use super::table_data::TableData;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// Marks the sequences that columns own, and their identity sequences.
pub(in crate::sql) async fn collect_ownership(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads parameters and values of the sequences to be dumped, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one sequence.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _table: &Table) {}

/// Writes the entry that sets a sequence's value.
pub(in crate::sql) fn emit_value(_em: &mut Emitter<'_>, _object: &DumpObject, _data: &TableData) {}
