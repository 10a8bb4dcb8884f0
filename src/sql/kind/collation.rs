//! Collations: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A collation.
#[derive(Debug, Default)]
pub struct Collation {
    /// The encoding it is for, -1 for any.
    pub encoding: i32,
}

/// Identifies the collations.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the collations to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one collation.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _collation: &Collation) {}
