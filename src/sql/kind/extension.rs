//! Extensions: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An extension.
#[derive(Debug, Default)]
pub struct Extension {
    /// Name of the namespace that contains its objects.
    pub namespace: String,
    /// Whether it can be moved to another namespace.
    pub relocatable: bool,
    /// Installed version.
    pub version: String,
    /// OIDs of its configuration tables.
    pub config: Vec<u32>,
    /// The `WHERE` clauses that go with `config`, one each, possibly empty.
    pub condition: Vec<String>,
}

/// Identifies the extensions.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Marks the extensions' configuration tables, whose rows are dumped.
pub(in crate::sql) async fn collect_configuration_tables(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one extension.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _extension: &Extension) {}
