//! Casts: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A cast.
#[derive(Debug, Default)]
pub struct Cast {
    /// OID of the source type.
    pub source: u32,
    /// OID of the target type.
    pub target: u32,
}

/// Identifies the casts.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the casts to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one cast.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _cast: &Cast) {}
