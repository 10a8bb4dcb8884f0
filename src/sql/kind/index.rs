//! Indexes: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// An index.
#[derive(Debug)]
pub struct Index {
    /// The table or materialized view it is on.
    pub table: DumpId,
    /// OID of the parent index if the index is one of a partition, else 0.
    pub parent: u32,
    /// `ATTACH PARTITION` objects that attach other indexes to this one.
    pub partition_attaches: Vec<DumpId>,
    /// The constraint that it stands behind.
    pub constraint: Option<DumpId>,
}

/// Identifies the indexes.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one index.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _index: &Index) {}
