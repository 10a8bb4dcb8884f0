//! Operator families: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An operator family.
#[derive(Debug, Default)]
pub struct OperatorFamily {
    /// OID of the access method.
    pub method: u32,
}

/// Identifies the operator families.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the operator families to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one operator family.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _operator_family: &OperatorFamily) {}
