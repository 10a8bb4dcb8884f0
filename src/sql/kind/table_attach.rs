//! Partition attachments: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A partition attachment.
#[derive(Debug)]
pub struct TableAttach {
    /// The partitioned table.
    pub parent: DumpId,
    /// The partition.
    pub partition: DumpId,
    /// The partition's bound: `FOR VALUES …` or `DEFAULT`.
    pub bound: String,
}

/// Reads what the DDL of the partition attachments to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one partition attachment.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _table_attach: &TableAttach) {}
