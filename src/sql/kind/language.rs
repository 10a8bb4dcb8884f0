//! Procedural languages: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A procedural language.
#[derive(Debug, Default)]
pub struct Language {
    /// `TRUSTED`.
    pub trusted: bool,
    /// OID of the call handler.
    pub call_handler: u32,
    /// OID of the inline handler, 0 if none.
    pub inline_handler: u32,
    /// OID of the validator, 0 if none.
    pub validator: u32,
}

/// Identifies the procedural languages.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one procedural language.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _language: &Language) {}
