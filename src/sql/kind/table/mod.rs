//! Tables, views, materialized views, sequences and foreign tables as relations: identification, locks,
//! columns, and the DDL of all of them except sequences.
//!
//! This file defines the structs. `identify` finds the relations, `lock` locks them, `stable` checks that
//! they are still as the snapshot shows them, `attributes` reads columns, defaults and checks, `inheritance`
//! links parents, `describe` reads the fields that only the DDL needs, and `ddl` writes the DDL.

mod attached;
mod attributes;
mod codes;
mod ddl;
mod describe;
mod identify;
mod inheritance;
mod lock;
mod stable;

use std::sync::Arc;

use crate::sql::acl::Acl;
use crate::sql::object::DumpId;

use super::sequence::Sequence;

pub(in crate::sql) use attributes::collect_attributes;
pub use codes::{Compression, Generated, Identity, Persistence, RelationKind, ReplicaIdentity, Storage};
pub(in crate::sql) use ddl::emit;
pub(in crate::sql) use describe::describe;
pub(in crate::sql) use identify::collect;
pub(in crate::sql) use inheritance::{collect_inheritance, collect_partitioning};
pub use lock::TableLocks;
pub(in crate::sql) use lock::lock;

/// A relation that is not an index.
#[derive(Debug, Default)]
pub struct Table {
    /// Its kind, which is neither an index nor a TOAST table.
    pub kind: RelationKind,
    /// Whether it is logged.
    pub persistence: Persistence,
    /// Whether a materialized view and all materialized views that it reads are populated.
    pub populated: bool,
    /// Replica identity.
    pub replica_identity: ReplicaIdentity,
    /// Tablespace; empty for the database's default.
    pub tablespace: String,
    /// Storage parameters, each as `name=value`.
    pub options: Vec<String>,
    /// A view's `LOCAL` or `CASCADED` check option.
    pub check_option: Option<String>,
    /// Storage parameters of the TOAST table.
    pub toast_options: Vec<String>,
    /// Whether it has or had indexes.
    pub has_indexes: bool,
    /// Whether it has rules.
    pub has_rules: bool,
    /// Whether it has triggers.
    pub has_triggers: bool,
    /// Whether any column has its own privileges.
    pub has_column_acls: bool,
    /// Whether row security is enabled.
    pub row_security: bool,
    /// Whether row security is forced on the owner.
    pub force_row_security: bool,
    /// Number of check constraints, including inherited ones.
    pub checks: i16,
    /// OID of the composite type of its rows, 0 if there is none.
    pub row_type: u32,
    /// OID of the type of a typed table (`OF`), 0 if there is none.
    pub of_type: u32,
    /// `format_type()` of that type, if the table's definition is dumped.
    pub of_type_name: Option<String>,
    /// OID of the server of a foreign table, 0 if there is none.
    pub foreign_server: u32,
    /// OID of the table whose column owns this sequence, 0 if there is none.
    pub owning_table: u32,
    /// Number of the column that owns this sequence.
    pub owning_column: i32,
    /// Whether the sequence belongs to an identity column.
    pub is_identity_sequence: bool,
    /// Size in pages, as `pg_class` estimates it.
    pub pages: i32,
    /// Whether its columns are needed: it is dumped, or it is a parent of a dumped table.
    pub interesting: bool,
    /// Set by loop repair: the view is first created with dummy columns.
    pub dummy_view: bool,
    /// Set by loop repair: the materialized view moves to the post-data section.
    pub postponed: bool,
    /// Whether it is a partition.
    pub is_partition: bool,
    /// Whether rows must be loaded through the root, because the partitioning hashes enum values.
    pub unsafe_partitions: bool,
    /// Columns by number from 1, including dropped ones; empty unless `interesting`.
    pub attributes: Vec<Attribute>,
    /// Check constraints, ordered by name.
    pub check_constraints: Vec<DumpId>,
    /// Whether any column is `GENERATED ALWAYS AS IDENTITY`.
    pub needs_override: bool,
    /// Table access method.
    pub access_method: Option<Arc<str>>,
    /// Immediate parents, in inheritance order.
    pub parents: Vec<DumpId>,
    /// Its indexes.
    pub indexes: Vec<DumpId>,
    /// The object for its rows, if they are dumped.
    pub data: Option<DumpId>,
    /// Its triggers.
    pub triggers: Vec<DumpId>,
    /// Privileges on columns, by column number, if the table's privileges are dumped.
    pub column_acls: Vec<ColumnAcl>,
    /// Fields that only some kinds of relations have, if the definition or data is dumped.
    pub specifics: Option<Box<Specifics>>,
}

/// The fields that the DDL needs only for some kinds of relations.
#[derive(Debug)]
pub enum Specifics {
    /// `pg_get_partkeydef()` of a partitioned table.
    PartitionKey(String),
    /// A foreign table's server and options.
    Foreign {
        /// Name of the server.
        server: String,
        /// `OPTIONS`, formatted with one option per line; empty if there are none.
        options: String,
    },
    /// The query of a view or materialized view, without its semicolon.
    Query(String),
    /// The parameters and value of a sequence.
    Sequence(Sequence),
}

/// Privileges on one column.
#[derive(Debug)]
pub struct ColumnAcl {
    /// The column's name; it may be a system column.
    pub column: String,
    /// The privileges.
    pub acl: Acl,
}

/// A column.
#[derive(Debug, Default)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// `format_type()` of its type and modifier; shared, because most columns have one of a few types.
    pub type_name: Arc<str>,
    /// OID of its type. In a dump of INSERT statements, a domain is replaced by its base type, because the
    /// server reports the base type to a client that reads the column.
    pub type_oid: u32,
    /// Statistics target, -1 for the default.
    pub statistics_target: i32,
    /// Storage.
    pub storage: Storage,
    /// The type's own storage; `None` for a dropped column, which has no type.
    pub type_storage: Option<Storage>,
    /// Whether it has been dropped.
    pub dropped: bool,
    /// Set for an identity column.
    pub identity: Option<Identity>,
    /// Set for a generated column.
    pub generated: Option<Generated>,
    /// Whether this table defines it, and does not only inherit it.
    pub local: bool,
    /// `SET (…)` options, formatted.
    pub options: Option<Box<str>>,
    /// OID of the collation if it differs from the type's, else 0.
    pub collation: u32,
    /// OID of the collation, 0 if the type has none.
    pub collation_in_use: u32,
    /// Compression method, if it is not the default.
    pub compression: Option<Compression>,
    /// Foreign-data wrapper options, formatted with one option per line.
    pub fdw_options: Option<Box<str>>,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Whether `NOT NULL` is inherited.
    pub inherited_not_null: bool,
    /// Its default or generation expression.
    pub default: Option<DumpId>,
}

impl Attribute {
    /// Returns whether it is a generated column, whose values are not dumped.
    pub fn is_generated(&self) -> bool {
        self.generated.is_some()
    }
}

impl Table {
    /// Returns whether the table's own statement lists the column. It omits dropped and inherited columns,
    /// except in partitions: they are created separately and attached later, so they list all columns.
    pub fn prints_column(&self, attribute: &Attribute) -> bool {
        !attribute.dropped && (attribute.local || self.is_partition)
    }

    /// Returns the column with this number, counted from 1.
    pub fn column(&self, number: i32) -> Option<&Attribute> {
        self.attributes.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Returns whether relations of its kind can inherit.
    pub(in crate::sql) fn may_have_parents(&self) -> bool {
        !matches!(self.kind, RelationKind::Sequence | RelationKind::View | RelationKind::MaterializedView)
    }

    /// Returns `FOREIGN ` for a foreign table, for `ALTER … TABLE`.
    pub(in crate::sql) fn foreign(&self) -> &'static str {
        if self.kind == RelationKind::ForeignTable { "FOREIGN " } else { "" }
    }
}
