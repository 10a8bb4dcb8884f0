//! Published namespaces: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A published namespace.
#[derive(Debug)]
pub struct PublicationNamespace {
    /// The publication.
    pub publication: DumpId,
    /// The namespace.
    pub namespace: DumpId,
}

/// Identifies the published namespaces.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one published namespace.
pub(in crate::sql) fn emit(
    _em: &mut Emitter<'_>,
    _object: &DumpObject,
    _publication_namespace: &PublicationNamespace,
) {
}
