//! Event triggers: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An event trigger.
#[derive(Debug, Default)]
pub struct EventTrigger {}

/// Identifies the event triggers.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one event trigger.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _event_trigger: &EventTrigger) {}
