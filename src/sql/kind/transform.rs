//! Transforms: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A transform.
#[derive(Debug, Default)]
pub struct Transform {
    /// OID of the type.
    pub type_oid: u32,
    /// OID of the language.
    pub language: u32,
}

/// Identifies the transforms.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the transforms to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one transform.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _transform: &Transform) {}
