//! Operators: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An operator.
#[derive(Debug, Default)]
pub struct Operator {
    /// `l` for prefix, `b` for infix.
    pub kind: char,
    /// OID of the left operand's type, 0 if none.
    pub left: u32,
    /// OID of the right operand's type.
    pub right: u32,
    /// OID of the function behind it.
    pub code: u32,
}

/// Identifies the operators.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the operators to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one operator.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _operator: &Operator) {}
