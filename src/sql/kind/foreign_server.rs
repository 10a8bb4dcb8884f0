//! Foreign servers: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A foreign server.
#[derive(Debug, Default)]
pub struct ForeignServer {}

/// Identifies the foreign servers.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the foreign servers to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one foreign server.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _foreign_server: &ForeignServer) {}
