//! Materialized view refreshes: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A materialized view refresh.
#[derive(Debug)]
pub struct MatviewRefresh {
    /// The materialized view.
    pub table: DumpId,
}

/// Identifies the materialized view refreshes.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one materialized view refresh.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _matview_refresh: &MatviewRefresh) {}
