//! Access methods: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// An access method.
#[derive(Debug, Default)]
pub struct AccessMethod {
    /// `i` for index, `t` for table access methods.
    pub kind: char,
    /// The handler function, qualified and quoted.
    pub handler: String,
}

/// Identifies the access methods.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one access method.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _access_method: &AccessMethod) {}
