//! Rules: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// The table or view.
    pub table: DumpId,
    /// The event: `1` SELECT, `2` UPDATE, `3` INSERT, `4` DELETE.
    pub event: char,
    /// `INSTEAD` or `ALSO`.
    pub instead: bool,
    /// When it fires: `O` origin, `D` disabled, `R` replica, `A` always.
    pub enabled: char,
    /// Whether it is written by itself; false only for a view's `ON SELECT` rule.
    pub separate: bool,
}

/// Identifies the rules.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what the DDL of the rules to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one rule.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _rule: &Rule) {}
