//! Namespaces: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// Whether `CREATE SCHEMA` is written; false for `public`, of which only owner and comment are.
    pub create: bool,
}

/// Identifies the namespaces.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one namespace.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _namespace: &Namespace) {}
