//! The options of a dump: pg_dump's own options, after parsing and checking.

use super::dialect::Dialect;
use super::error::SqlError;
use super::verbose_log::VerboseLog;
use crate::archive::required::EntryFilter;
use crate::archive::section::Sections;

/// The options of one dump, named after pg_dump's long options. [`Default`] is `pg_dump` without any switch.
#[derive(Clone, Debug, Default)]
pub struct DumpOptions {
    /// `--data-only`.
    pub data_only: bool,
    /// `--schema-only`.
    pub schema_only: bool,
    /// `--section`: which sections are written; all three by default.
    pub sections: Sections,
    /// `--blobs`: include large objects even if a selection switch is given.
    pub blobs: bool,
    /// `--no-blobs`.
    pub no_blobs: bool,
    /// `--clean`.
    pub clean: bool,
    /// `--create`.
    pub create: bool,
    /// `--if-exists`.
    pub if_exists: bool,
    /// `--no-owner`.
    pub no_owner: bool,
    /// `--no-privileges`, `--no-acl`.
    pub no_privileges: bool,
    /// `--superuser`.
    pub superuser: Option<String>,
    /// `--column-inserts`, `--attribute-inserts`.
    pub column_inserts: bool,
    /// `--inserts` and `--rows-per-insert`: the number of rows in one INSERT; `None` means COPY.
    pub rows_per_insert: Option<u64>,
    /// `--on-conflict-do-nothing`.
    pub on_conflict_do_nothing: bool,
    /// `--disable-dollar-quoting`.
    pub disable_dollar_quoting: bool,
    /// `--disable-triggers`.
    pub disable_triggers: bool,
    /// `--enable-row-security`.
    pub enable_row_security: bool,
    /// `--load-via-partition-root`.
    pub load_via_partition_root: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-publications`.
    pub no_publications: bool,
    /// `--no-security-labels`.
    pub no_security_labels: bool,
    /// `--no-subscriptions`.
    pub no_subscriptions: bool,
    /// `--no-table-access-method`.
    pub no_table_access_method: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--no-toast-compression`.
    pub no_toast_compression: bool,
    /// `--no-unlogged-table-data`.
    pub no_unlogged_table_data: bool,
    /// `--quote-all-identifiers`.
    pub quote_all_identifiers: bool,
    /// `--use-set-session-authorization`.
    pub use_set_session_authorization: bool,
    /// `--verbose`: TOC ids and dependencies in the banners.
    pub verbose: bool,
    /// Receives the progress messages of `--verbose`.
    pub progress: VerboseLog,
    /// `--strict-names`.
    pub strict_names: bool,
    /// `--schema` patterns.
    pub schemas: Vec<String>,
    /// `--exclude-schema` patterns.
    pub exclude_schemas: Vec<String>,
    /// `--table` patterns.
    pub tables: Vec<TablePattern>,
    /// `--exclude-table` patterns.
    pub exclude_tables: Vec<TablePattern>,
    /// `--exclude-table-data` patterns.
    pub exclude_table_data: Vec<TablePattern>,
    /// `--extension` patterns.
    pub extensions: Vec<String>,
    /// Patterns of `include extension` lines in `--filter` files. Unlike the switch, they do not exclude
    /// large objects and objects outside namespaces from the dump, as in pg_dump 17.
    pub filtered_extensions: Vec<String>,
    /// `--exclude-extension` patterns (pg_dump 17).
    pub exclude_extensions: Vec<String>,
    /// `--include-foreign-data` patterns.
    pub include_foreign_data: Vec<String>,
    /// `--lock-wait-timeout`, unparsed.
    pub lock_wait_timeout: Option<String>,
    /// Not a switch: collect how the database is created even if the dump does not contain it.
    pub describe_creation: bool,
    /// Not a switch: write as the pg_dump of this major, and not as that of the server's own.
    pub dialect: Option<&'static Dialect>,
    /// `--restrict-key`, or a random key: letters and digits only.
    pub restrict_key: String,
}

/// A table pattern, and whether it includes partitions and inheritance children (pg_dump 17's
/// `--table-and-children` family).
#[derive(Clone, Debug)]
pub struct TablePattern {
    /// The pattern as given.
    pub pattern: String,
    /// Whether descendants are included.
    pub with_children: bool,
}

impl DumpOptions {
    /// Whether the dump includes everything in the database: no switch selects what to include. Objects
    /// outside namespaces (languages, casts, publications, …) are dumped only then.
    pub fn include_everything(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty() && self.extensions.is_empty()
    }

    /// The options that select entries by kind.
    pub fn switches(&self) -> EntryFilter {
        EntryFilter {
            create: self.create,
            data_only: self.data_only,
            schema_only: self.schema_only,
            sections: self.sections,
            no_privileges: self.no_privileges,
            no_comments: self.no_comments,
            no_publications: self.no_publications,
            no_security_labels: self.no_security_labels,
            no_subscriptions: self.no_subscriptions,
        }
    }

    /// Returns a random `\restrict` key that the author of the data cannot guess: 63 letters and digits, as
    /// in pg_dump.
    pub fn random_restrict_key() -> Result<String, getrandom::Error> {
        const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut key = String::new();
        let mut bytes = [0_u8; 96];
        while key.len() < 63 {
            getrandom::fill(&mut bytes)?;
            // Values from 248 (4 × 62) on are skipped, so that every letter is equally likely.
            let letters =
                bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)]);
            key.extend(letters.map(char::from));
        }
        key.truncate(63);
        Ok(key)
    }

    /// Returns [`DumpOptions::random_restrict_key`], or pg_dump's error message.
    pub fn new_restrict_key() -> Result<String, SqlError> {
        Self::random_restrict_key()
            .map_err(|_| SqlError::Inconsistent("could not generate restrict key".to_owned()))
    }

    /// Returns pg_dump's message for the first pair of options that cannot be used together.
    pub fn contradiction(&self) -> Option<&'static str> {
        let complaints = [
            (
                self.data_only && self.schema_only,
                "options -s/--schema-only and -a/--data-only cannot be used together",
            ),
            (
                self.schema_only && !self.include_foreign_data.is_empty(),
                "options -s/--schema-only and --include-foreign-data cannot be used together",
            ),
            (self.data_only && self.clean, "options -c/--clean and -a/--data-only cannot be used together"),
            (self.if_exists && !self.clean, "option --if-exists requires option -c/--clean"),
            (
                self.on_conflict_do_nothing && !self.inserts(),
                "option --on-conflict-do-nothing requires option --inserts, --rows-per-insert, or --column-inserts",
            ),
        ];
        complaints.iter().find(|(holds, _)| *holds).map(|(_, complaint)| *complaint)
    }

    /// Whether large objects are dumped.
    pub fn wants_large_objects(&self) -> bool {
        self.blobs || (self.include_everything() && !self.schema_only && !self.no_blobs)
    }

    /// Whether rows are written as INSERT statements instead of COPY.
    pub fn inserts(&self) -> bool {
        self.rows_per_insert.is_some()
    }
}
