//! Tables, views, materialized views, sequences and foreign tables as relations: identification,
//! locks, columns, and the DDL of all but sequences.

use std::sync::Arc;

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{DumpId, DumpObject};

/// A relation that is not an index.
#[derive(Debug, Default)]
pub struct Table {
    /// `relkind`: `r` table, `p` partitioned table, `v` view, `m` materialized view, `S` sequence,
    /// `f` foreign table, `c` composite type, `t` TOAST table.
    pub kind: char,
    /// `relpersistence`: `p` permanent, `u` unlogged.
    pub persistence: char,
    /// Whether a materialized view holds data.
    pub populated: bool,
    /// Replica identity: `d` default, `n` nothing, `f` full, `i` index.
    pub replica_identity: char,
    /// Tablespace; empty for the database's default.
    pub tablespace: String,
    /// Storage parameters, `name=value` each.
    pub options: Vec<String>,
    /// A view's `LOCAL` or `CASCADED` check option.
    pub check_option: Option<String>,
    /// Storage parameters of the TOAST table.
    pub toast_options: Vec<String>,
    /// Whether it has, or had, indexes.
    pub has_indexes: bool,
    /// Whether it has rules.
    pub has_rules: bool,
    /// Whether it has triggers.
    pub has_triggers: bool,
    /// Whether any column has privileges of its own.
    pub has_column_acls: bool,
    /// Row security is enabled.
    pub row_security: bool,
    /// Row security is forced on the owner.
    pub force_row_security: bool,
    /// Number of check constraints, inherited ones included.
    pub checks: i16,
    /// OID of the composite type of its rows, 0 if none.
    pub row_type: u32,
    /// OID of the type of a typed table (`OF`), 0 if none.
    pub of_type: u32,
    /// OID of a foreign table's server, 0 if none.
    pub foreign_server: u32,
    /// For a sequence owned by a column: the table's OID, else 0.
    pub owning_table: u32,
    /// For a sequence owned by a column: the column's number.
    pub owning_column: i32,
    /// Whether the sequence belongs to an identity column.
    pub is_identity_sequence: bool,
    /// Size of the table in pages, as `pg_class` estimates it.
    pub pages: i32,
    /// Whether its columns are needed: it is dumped, or a parent of a dumped table.
    pub interesting: bool,
    /// Set by loop repair: the view is first written with dummy columns.
    pub dummy_view: bool,
    /// Set by loop repair: the materialized view goes to the post-data section.
    pub postponed: bool,
    /// Whether it is a partition.
    pub is_partition: bool,
    /// Whether rows must be loaded through the root, because partitioning depends on hashes of enum values.
    pub unsafe_partitions: bool,
    /// Columns by number from 1, dropped ones included; empty unless `interesting`.
    pub attributes: Vec<Attribute>,
    /// Check constraints, in order of name.
    pub check_constraints: Vec<DumpId>,
    /// Whether any column is `GENERATED ALWAYS AS IDENTITY`.
    pub needs_override: bool,
    /// Table access method.
    pub access_method: Option<Arc<str>>,
    /// Immediate parents, in inheritance order.
    pub parents: Vec<DumpId>,
    /// Its indexes.
    pub indexes: Vec<DumpId>,
    /// The object of its rows, if they are dumped.
    pub data: Option<DumpId>,
    /// Its triggers.
    pub triggers: Vec<DumpId>,
}

/// A column.
#[derive(Debug, Default)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// `format_type()` of its type and modifier.
    pub type_name: String,
    /// OID of its type.
    pub type_oid: u32,
    /// Statistics target, -1 for the default.
    pub statistics_target: i32,
    /// Storage: `p` plain, `e` external, `m` main, `x` extended.
    pub storage: char,
    /// The type's own storage.
    pub type_storage: char,
    /// Whether it has been dropped.
    pub dropped: bool,
    /// `a` GENERATED ALWAYS AS IDENTITY, `d` BY DEFAULT, `\0` none.
    pub identity: char,
    /// `s` for a stored generated column, `\0` none.
    pub generated: char,
    /// Whether it is defined here and not only inherited.
    pub local: bool,
    /// `SET (…)` options, formatted.
    pub options: String,
    /// OID of the collation when it is not the type's, else 0.
    pub collation: u32,
    /// Compression method: `p` pglz, `l` lz4, `\0` default.
    pub compression: char,
    /// Foreign-data wrapper options, formatted.
    pub fdw_options: String,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Whether `NOT NULL` is inherited.
    pub inherited_not_null: bool,
    /// Its default or generation expression.
    pub default: Option<DumpId>,
}

/// Identifies the relations and locks those to be dumped.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Links tables to their parents, marks interesting ones and makes attachment objects.
pub(in crate::sql) async fn collect_inheritance(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads the columns, defaults and check constraints of interesting tables.
pub(in crate::sql) async fn collect_attributes(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Finds partitioned tables whose rows must be loaded through the root.
pub(in crate::sql) async fn collect_partitioning(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Reads what else the DDL of the tables to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one table, view or sequence, with its privileges, comments and labels.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _table: &Table) {}
