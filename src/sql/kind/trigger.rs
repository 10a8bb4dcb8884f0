//! Triggers: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    /// The table or view.
    pub table: DumpId,
}

/// Identifies the triggers.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one trigger.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _trigger: &Trigger) {}
