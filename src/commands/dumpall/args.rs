//! The options of pg_dumpall as clap parses them, without further checks.
//!
//! Values stay text here, because [`super::request`] reports errors in them. The order is that of
//! pg_dumpall's own list, which is visible in its error message about an ambiguous abbreviation.

use clap::{ArgAction, Args};

/// Options of `dumpall`: those of pg_dumpall 15, and `-Z` as `dump` has it.
#[derive(Args, Clone, Debug, Default)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    override_usage = "pg-backup dumpall [OPTION]...",
    display_name = "pg-backup"
)]
pub struct DumpallArgs {
    /// Dump only the data, not the schema.
    #[arg(short = 'a', long, help_heading = WHAT)]
    pub(super) data_only: bool,
    /// Clean (drop) databases before recreating.
    #[arg(short = 'c', long, help_heading = FORM)]
    pub(super) clean: bool,
    /// Dump in this encoding, and not in each database's own.
    #[arg(short = 'E', long, value_name = "ENCODING", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) encoding: Option<String>,
    /// Where the dump goes: a file, s3://bucket/key or file:///path; standard output without it.
    #[arg(short = 'f', long, value_name = "FILENAME", allow_hyphen_values = true)]
    pub(super) file: Option<String>,
    /// Dump only global objects, no databases.
    #[arg(short = 'g', long, help_heading = WHAT)]
    pub(super) globals_only: bool,
    /// Host or socket directory of the server, PGHOST without this.
    #[arg(short = 'h', long, value_name = "HOSTNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) host: Option<String>,
    /// Connection string or URI; the database in it is ignored.
    #[arg(short = 'd', long, value_name = "CONNSTR", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) dbname: Option<String>,
    /// Database in which the globals are read.
    #[arg(short = 'l', long, value_name = "DBNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) database: Option<String>,
    /// Leave the restoration of object ownership out.
    #[arg(short = 'O', long, help_heading = WHAT)]
    pub(super) no_owner: bool,
    /// Port of the server, 1 to 65535; PGPORT or 5432 without this.
    #[arg(short = 'p', long, value_name = "PORT", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) port: Option<String>,
    /// Dump only roles, no databases or tablespaces.
    #[arg(short = 'r', long, help_heading = WHAT)]
    pub(super) roles_only: bool,
    /// Dump only the schema, no data.
    #[arg(short = 's', long, help_heading = WHAT)]
    pub(super) schema_only: bool,
    /// Superuser user name to use for disabling triggers.
    #[arg(short = 'S', long, value_name = "NAME", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) superuser: Option<String>,
    /// Dump only tablespaces, no databases or roles.
    #[arg(short = 't', long, help_heading = WHAT)]
    pub(super) tablespaces_only: bool,
    /// Role to log in as; PGUSER or the system's user without this.
    #[arg(short = 'U', long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) username: Option<String>,
    /// Say what is going on, and write ids and dependencies into the dump's comments.
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// Never prompt for a password.
    #[arg(short = 'w', long, overrides_with = "password", help_heading = CONNECTION)]
    pub(super) no_password: bool,
    /// Force a password prompt.
    #[arg(short = 'W', long, overrides_with = "no_password", help_heading = CONNECTION)]
    pub(super) password: bool,
    /// Do not dump privileges (GRANT, REVOKE).
    #[arg(short = 'x', long, alias = "no-acl", help_heading = WHAT)]
    pub(super) no_privileges: bool,
    /// For use by upgrade utilities only, and so not here.
    #[arg(long, hide = true)]
    pub(super) binary_upgrade: bool,
    /// Dump data as INSERT commands with column names.
    #[arg(long, alias = "attribute-inserts", help_heading = FORM)]
    pub(super) column_inserts: bool,
    /// Disable dollar quoting, use SQL standard quoting.
    #[arg(long, help_heading = FORM)]
    pub(super) disable_dollar_quoting: bool,
    /// Disable triggers during a data-only restore.
    #[arg(long, help_heading = FORM)]
    pub(super) disable_triggers: bool,
    /// Leave out databases whose names match PATTERN.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_database: Vec<String>,
    /// Digits of floating-point numbers, -15 to 3, instead of all.
    #[arg(long, value_name = "NUM", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) extra_float_digits: Option<String>,
    /// Use IF EXISTS when dropping objects.
    #[arg(long, help_heading = FORM)]
    pub(super) if_exists: bool,
    /// Dump data as INSERT commands, rather than COPY.
    #[arg(long, help_heading = FORM)]
    pub(super) inserts: bool,
    /// Fail after waiting so long for a table's lock: milliseconds, or 10s, 5min.
    #[arg(long, value_name = "TIMEOUT", allow_hyphen_values = true)]
    pub(super) lock_wait_timeout: Option<String>,
    /// Do not dump table access methods.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_table_access_method: bool,
    /// Do not dump tablespaces, nor what is in which.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_tablespaces: bool,
    /// Quote all identifiers, even if not key words.
    #[arg(long, help_heading = FORM)]
    pub(super) quote_all_identifiers: bool,
    /// Load partitions via the root table.
    #[arg(long, help_heading = FORM)]
    pub(super) load_via_partition_root: bool,
    /// Do SET ROLE before the dump.
    #[arg(long, value_name = "ROLENAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) role: Option<String>,
    /// Use SET SESSION AUTHORIZATION instead of ALTER OWNER to set ownership.
    #[arg(long, help_heading = FORM)]
    pub(super) use_set_session_authorization: bool,
    /// Do not dump comments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_comments: bool,
    /// Do not dump publications.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_publications: bool,
    /// Do not dump passwords for roles.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_role_passwords: bool,
    /// Do not dump security label assignments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_security_labels: bool,
    /// Do not dump subscriptions.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_subscriptions: bool,
    /// Do not wait for changes to be written safely to disk.
    #[arg(long)]
    pub(super) no_sync: bool,
    /// Do not dump TOAST compression methods.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_toast_compression: bool,
    /// Do not dump unlogged table data.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_unlogged_table_data: bool,
    /// Add ON CONFLICT DO NOTHING to INSERT commands.
    #[arg(long, help_heading = FORM)]
    pub(super) on_conflict_do_nothing: bool,
    /// Number of rows per INSERT, 1 or more; implies --inserts.
    #[arg(long, value_name = "NROWS", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) rows_per_insert: Option<String>,
    /// Key of psql's \restrict, letters and digits; a random one without this.
    #[arg(long, value_name = "RESTRICT_KEY", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) restrict_key: Option<String>,
    // pg_dumpall has no long name for it, and a new one would make an abbreviation ambiguous.
    /// Compression: 0 to 9, gzip[:1-12], zstd[:1-19] or none; none without this.
    #[arg(short = 'Z', value_name = "METHOD", allow_hyphen_values = true)]
    pub(super) compress: Option<String>,
    /// Show this help, then exit.
    #[arg(short = '?', long, action = ArgAction::Help)]
    pub(super) help: Option<bool>,
    /// Print the version, then exit.
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(super) version: Option<bool>,
    /// Refused: a database is named by --database.
    #[arg(hide = true)]
    pub(super) arguments: Vec<String>,
}

const WHAT: &str = "What is dumped";
const FORM: &str = "How it is written";
const CONNECTION: &str = "Connection";

impl DumpallArgs {
    /// Returns whether `--verbose` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }
}
