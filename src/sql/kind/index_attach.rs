//! Index attachments: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// An index attachment.
#[derive(Debug)]
pub struct IndexAttach {
    /// The index on the partitioned table.
    pub parent: DumpId,
    /// The index on the partition.
    pub partition: DumpId,
}

/// Identifies the index attachments.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one index attachment.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _index_attach: &IndexAttach) {}
