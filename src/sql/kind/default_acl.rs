//! Default privileges: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A default privilege.
#[derive(Debug, Default)]
pub struct DefaultAcl {
    /// The role whose new objects get them.
    pub role: String,
    /// `r` relations, `S` sequences, `f` functions, `T` types, `n` schemas.
    pub object_type: char,
}

/// Identifies the default privileges.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one default privilege.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _default_acl: &DefaultAcl) {}
