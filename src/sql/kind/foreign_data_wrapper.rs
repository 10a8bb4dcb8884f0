//! Foreign-data wrappers: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A foreign-data wrapper.
#[derive(Debug, Default)]
pub struct ForeignDataWrapper {}

/// Identifies the foreign-data wrappers.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one foreign-data wrapper.
pub(in crate::sql) fn emit(
    _em: &mut Emitter<'_>,
    _object: &DumpObject,
    _foreign_data_wrapper: &ForeignDataWrapper,
) {
}
