//! Publication members: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A publication member.
#[derive(Debug)]
pub struct PublicationTable {
    /// The publication.
    pub publication: DumpId,
    /// The table.
    pub table: DumpId,
}

/// Identifies the publication members.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one publication member.
pub(in crate::sql) fn emit(
    _em: &mut Emitter<'_>,
    _object: &DumpObject,
    _publication_table: &PublicationTable,
) {
}
