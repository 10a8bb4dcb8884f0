//! Extended statistics: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// An extended statistics object.
#[derive(Debug)]
pub struct Statistics {
    /// The table, if it is known.
    pub table: Option<DumpId>,
    /// The statistics target, -1 for the default.
    pub target: i32,
}

/// Identifies the extended statistics.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the extended statistics to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one extended statistics object.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _statistics: &Statistics) {}
