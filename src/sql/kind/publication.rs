//! Publications: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A publication.
#[derive(Debug, Default)]
pub struct Publication {}

/// Identifies the publications.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one publication.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _publication: &Publication) {}
