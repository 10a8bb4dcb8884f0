//! Large objects: definitions, owners and contents.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A large object's definition.
#[derive(Debug, Default)]
pub struct LargeObject {}

/// The contents of all large objects.
#[derive(Debug, Default)]
pub struct LargeObjectData {}

/// Identifies the large objects.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one large object.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _large_object: &LargeObject) {}

/// Writes the entry that carries the contents.
pub(in crate::sql) fn emit_data(_em: &mut Emitter<'_>, _object: &DumpObject, _data: &LargeObjectData) {}
