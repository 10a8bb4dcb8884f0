//! What pg_dump and pg_dumpall of each major print, as data: one [`Dialect`] for each major, in one file each.
//!
//! A server of major N is dumped as pg_dump N dumps it. Rendering asks the dialect and never compares version
//! numbers; queries adapt to the server with the gates of `sql::query`. To add a major, add its constant, its
//! line in [`DIALECTS`] and the gates' steps; the comparisons with its pg_dump show what is missing.
//!
//! A field belongs here only if the majors differ in it.

mod order;
mod pg15;
mod pg16;
mod pg17;

use crate::protocol::ServerVersion;

use super::error::{Result, SqlError};
pub use order::KindOrder;

/// What the pg_dump and pg_dumpall of one major print.
#[derive(Debug, PartialEq)]
pub struct Dialect {
    /// The major version.
    pub major: u32,
    /// The settings that a script sets to 0 first, so that no timeout ends a restore.
    pub timeouts: &'static [&'static str],
    /// The order of the kinds, before dependencies are considered.
    pub kind_order: KindOrder,
    /// The entries that hold large objects.
    pub large_objects: LargeObjectLayout,
    /// The name of views, materialized views and sequences in `ALTER … OWNER TO`.
    pub relation_in_alter_owner: RelationInAlterOwner,
    /// The privileges on tables, with their letters in `aclitem`, in the order in which GRANT lists them. Source:
    /// PostgreSQL manual, table 5.1 (ACL Privilege Abbreviations).
    pub table_privileges: &'static [(char, &'static str)],
    /// The words between `ON <type>` and `TO` in default privileges, where other GRANT commands name the object.
    pub default_acl_gap: &'static str,
    /// The settings whose values are lists, which are written as one literal for each element
    /// (`GUC_LIST_QUOTE` in `src/backend/utils/misc/guc.c`; extensions cannot define such settings).
    pub list_settings: &'static [&'static str],
    /// The text before and after each `ALTER … DEPENDS ON EXTENSION …;`.
    pub around_extension_dependency: (&'static str, &'static str),
    /// The words before the name in `ALTER … ALTER COLUMN … OPTIONS` of a foreign table.
    pub alter_foreign_column: &'static str,
    /// Whether a column without a default gets `DEFAULT NULL` also where the parent's default is NULL.
    pub overrides_null_defaults: bool,
    /// Whether a child's generation expression is written where it is another one than that of a parent. Before 16
    /// the server did not allow that.
    pub writes_own_generation: bool,
    /// Whether the location of a tablespace inside the data directory is written, and not an empty one.
    pub writes_relative_locations: bool,
    /// The progress messages that not every major writes.
    pub messages: Messages,
}

/// The entries that hold large objects, their owners and privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeObjectLayout {
    /// A `BLOB` entry for each, and one `BLOBS` entry with the contents of all.
    Single,
    /// A `BLOB METADATA` entry and a `BLOBS` entry for each group of large objects with the same owner and
    /// privileges, with at most this many objects in a group.
    Groups(usize),
}

/// The progress messages of `--verbose` in which the majors differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Whether the settings that the script makes are quoted.
    pub quotes_settings: bool,
    /// Whether the tables of subscriptions are mentioned.
    pub mentions_tables_of_subscriptions: bool,
    /// Whether warnings about memberships tell missing roles, members and grantors apart.
    pub names_missing_roles: bool,
}

/// How `ALTER … OWNER TO` names a view, a materialized view or a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationInAlterOwner {
    /// `ALTER TABLE`.
    Table,
    /// `ALTER VIEW`, `ALTER MATERIALIZED VIEW`, `ALTER SEQUENCE`.
    OwnKind,
}

/// The majors that can be dumped: for each, tests have compared the dumps with those of its pg_dump. The only
/// list of majors of the program.
pub const DIALECTS: &[&Dialect] = &[&pg15::DIALECT, &pg16::DIALECT, &pg17::DIALECT];

impl Dialect {
    /// Returns the dialect of a server.
    ///
    /// # Errors
    /// [`SqlError::Server`] if dumps of its major have not been compared with those of its pg_dump.
    pub fn of(version: ServerVersion) -> Result<&'static Dialect> {
        let known = DIALECTS.iter().find(|dialect| dialect.major == version.major_number());
        known.copied().ok_or(SqlError::Server { version, majors: majors() })
    }
}

/// The dialect of objects that were not read from a server, in unit tests.
impl Default for &'static Dialect {
    fn default() -> Self {
        &pg15::DIALECT
    }
}

/// The majors that can be dumped, as words: "15", "15 and 16", "14, 15 and 16".
pub fn majors() -> String {
    let majors: Vec<String> = DIALECTS.iter().map(|dialect| dialect.major.to_string()).collect();
    match majors.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_major_has_one_dialect_in_order() {
        assert!(DIALECTS.windows(2).all(|pair| pair[0].major < pair[1].major));
        for dialect in DIALECTS {
            let version = ServerVersion::major(dialect.major);
            assert_eq!(Dialect::of(version).unwrap().major, dialect.major);
        }
    }

    #[test]
    fn other_majors_are_refused_by_name_with_the_way_out() {
        let error = Dialect::of(ServerVersion(990_001)).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 99.1") && error.contains("pg_dump of PostgreSQL 99"), "{error}");
        let error = Dialect::of(ServerVersion(130_002)).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13.2"), "{error}");
    }
}
