//! Views and materialized views: their queries, and dummy views that break dependency loops.

use super::table::Table;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// Reads the queries of the views to be dumped, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// The query behind a view, without the trailing semicolon, as it stands after `AS\n`.
pub(in crate::sql) fn query(_em: &Emitter<'_>, _object: &DumpObject, _table: &Table) -> String {
    String::new()
}

/// A query with the view's column names and types only, for a view in a dependency loop.
pub(in crate::sql) fn dummy_query(_em: &Emitter<'_>, _object: &DumpObject, _table: &Table) -> String {
    String::new()
}
