//! Policies: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// The table.
    pub table: DumpId,
}

/// Identifies the policies.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one policy.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _policy: &Policy) {}
