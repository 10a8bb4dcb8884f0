//! Functions: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A function.
#[derive(Debug, Default)]
pub struct Function {
    /// OID of the language.
    pub language: u32,
    /// OIDs of the input argument types (`proargtypes`).
    pub argument_types: Vec<u32>,
    /// OID of the result type.
    pub return_type: u32,
    /// Set by loop repair: the definition must go to the post-data section.
    pub postponed: bool,
}

/// Identifies the functions.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the functions to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one function.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _function: &Function) {}
