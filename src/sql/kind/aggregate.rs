//! Aggregates: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An aggregate.
#[derive(Debug, Default)]
pub struct Aggregate {
    /// OIDs of the input argument types (`proargtypes`).
    pub argument_types: Vec<u32>,
}

/// Identifies the aggregates.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the aggregates to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one aggregate.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _aggregate: &Aggregate) {}
