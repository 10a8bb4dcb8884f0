//! Data types: base, composite, domain, enum, range; shell types; and the dummy types of tables and arrays.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A data type, dumped or dummy.
#[derive(Debug, Default)]
pub struct DataType {
    /// `format_type()`: quoted and qualified where needed.
    pub formatted: String,
    /// OID of the element type, 0 if it is not subscriptable.
    pub element: u32,
    /// OID of the relation behind a composite type, 0 if none.
    pub relation: u32,
    /// `relkind` of that relation, or a space.
    pub relation_kind: char,
    /// `b` base, `c` composite, `d` domain, `e` enum, `m` multirange, `p` pseudo, `r` range.
    pub kind: char,
    /// Whether it is the automatic array type of another.
    pub is_array: bool,
    /// Whether it is the automatic multirange type of a range.
    pub is_multirange: bool,
    /// False for a mere shell.
    pub is_defined: bool,
    /// The shell-type object that goes before its functions.
    pub shell: Option<DumpId>,
    /// A domain's check constraints.
    pub domain_checks: Vec<DumpId>,
}

/// The shell of a base or range type.
#[derive(Debug)]
pub struct ShellType {
    /// The type it will become.
    pub base: DumpId,
}

/// Identifies the types.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the types to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one type.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _data_type: &DataType) {}

/// Writes the shell of a type.
pub(in crate::sql) fn emit_shell(_em: &mut Emitter<'_>, _object: &DumpObject, _shell: &ShellType) {}
