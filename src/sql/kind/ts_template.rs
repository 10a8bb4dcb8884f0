//! Text search templates: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A text search template.
#[derive(Debug, Default)]
pub struct TsTemplate {}

/// Identifies the text search templates.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the text search templates to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one text search template.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _ts_template: &TsTemplate) {}
