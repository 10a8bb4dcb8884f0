//! Tables' rows and sequences' values: which are dumped, and in what form.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A table's data.
#[derive(Debug)]
pub struct TableData {
    /// The table or sequence.
    pub table: DumpId,
    /// The `WHERE` clause of an extension's configuration table.
    pub filter: Option<String>,
}

/// Makes the object for one table's rows or one sequence's value, unless switches leave it out or it
/// is there already. `filter` is an extension's condition on the rows of its configuration table.
pub(in crate::sql) fn make(_cx: &mut Collector<'_>, _table: DumpId, _filter: Option<String>) {}

/// Creates the objects for rows and sequence values that are dumped.
pub(in crate::sql) fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// In a data-only dump, makes tables' rows depend on those that their foreign keys refer to.
pub(in crate::sql) fn depend_on_foreign_keys(_cx: &mut Collector<'_>) {}

/// Writes the DDL of one table's data.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _table_data: &TableData) {}
