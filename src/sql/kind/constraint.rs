//! Constraints: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A constraint.
#[derive(Debug)]
pub struct Constraint {
    /// The table, for a table constraint.
    pub table: Option<DumpId>,
    /// The domain, for a domain constraint.
    pub domain: Option<DumpId>,
    /// `c` check, `p` primary key, `u` unique, `x` exclusion, `f` foreign key, `t` constraint trigger.
    pub kind: char,
    /// `pg_get_constraintdef()`, for check constraints and foreign keys.
    pub definition: String,
    /// OID of the table that a foreign key refers to, else 0.
    pub referenced_table: u32,
    /// The index behind a primary key, unique or exclusion constraint.
    pub index: Option<DumpId>,
    /// `DEFERRABLE`.
    pub deferrable: bool,
    /// `INITIALLY DEFERRED`.
    pub deferred: bool,
    /// Whether it is defined on this table and not only inherited.
    pub local: bool,
    /// Whether it is written as a statement of its own.
    pub separate: bool,
}

/// Identifies the constraints.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one constraint.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _constraint: &Constraint) {}
