//! The options of pg_dump as clap parses them, without further checks.
//!
//! Values stay text here, because [`mod@super::request`] reports errors in them with pg_dump's messages. The
//! order is that of pg_dump's own list, which is visible in its error message about an ambiguous
//! abbreviation.

use clap::{ArgAction, Args};

/// Options of `dump`: those of pg_dump 15 for plain output, and `--filter`, `--exclude-extension`
/// and the `…-and-children` patterns of pg_dump 17.
#[derive(Args, Clone, Debug, Default)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    override_usage = "pg-backup dump [OPTION]... [DBNAME]",
    display_name = "pg-backup"
)]
pub struct DumpArgs {
    /// Dump only the data, not the schema.
    #[arg(short = 'a', long, help_heading = WHAT)]
    pub(super) data_only: bool,
    /// Include large objects in the dump.
    #[arg(short = 'b', long, help_heading = WHAT)]
    pub(super) blobs: bool,
    /// Exclude large objects from the dump.
    #[arg(short = 'B', long, help_heading = WHAT)]
    pub(super) no_blobs: bool,
    /// Clean (drop) database objects before recreating.
    #[arg(short = 'c', long, help_heading = FORM)]
    pub(super) clean: bool,
    /// Include commands to create the database in the dump.
    #[arg(short = 'C', long, help_heading = FORM)]
    pub(super) create: bool,
    /// Database to dump: a name, a connection string or a URI.
    #[arg(short = 'd', long, value_name = "DBNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) dbname: Option<String>,
    /// Dump the specified extensions only.
    #[arg(short = 'e', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) extension: Vec<String>,
    /// Where the dump goes: a file, s3://bucket/key or file:///path; standard output without it.
    #[arg(short = 'f', long, value_name = "FILENAME", allow_hyphen_values = true)]
    pub(super) file: Option<String>,
    /// Output format: p (plain) is the only one.
    #[arg(short = 'F', long, value_name = "p", allow_hyphen_values = true)]
    pub(super) format: Option<String>,
    /// Host or socket directory of the server, PGHOST without this.
    #[arg(short = 'h', long, value_name = "HOSTNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) host: Option<String>,
    /// Connections that read at a time, 1 or more; 2 without this.
    #[arg(short = 'j', long, value_name = "NUM", allow_hyphen_values = true)]
    pub(super) jobs: Option<String>,
    /// Accepted and without effect, as in pg_dump.
    #[arg(short = 'R', long, hide = true)]
    pub(super) no_reconnect: bool,
    /// Leave the restoration of object ownership out.
    #[arg(short = 'O', long, help_heading = WHAT)]
    pub(super) no_owner: bool,
    /// Port of the server, 1 to 65535; PGPORT or 5432 without this.
    #[arg(short = 'p', long, value_name = "PORT", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) port: Option<String>,
    /// Dump the specified schemas only.
    #[arg(short = 'n', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) schema: Vec<String>,
    /// Do NOT dump the specified schemas.
    #[arg(short = 'N', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_schema: Vec<String>,
    /// Dump only the schema, no data.
    #[arg(short = 's', long, help_heading = WHAT)]
    pub(super) schema_only: bool,
    /// Superuser user name to use for disabling triggers.
    #[arg(short = 'S', long, value_name = "NAME", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) superuser: Option<String>,
    /// Dump the specified tables only.
    #[arg(short = 't', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) table: Vec<String>,
    /// Do NOT dump the specified tables.
    #[arg(short = 'T', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table: Vec<String>,
    /// Never prompt for a password.
    #[arg(short = 'w', long, overrides_with = "password", help_heading = CONNECTION)]
    pub(super) no_password: bool,
    /// Force a password prompt.
    #[arg(short = 'W', long, overrides_with = "no_password", help_heading = CONNECTION)]
    pub(super) password: bool,
    /// Role to log in as; PGUSER or the system's user without this.
    #[arg(short = 'U', long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) username: Option<String>,
    /// Say what is going on, and write ids and dependencies into the dump's comments.
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// Do not dump privileges (GRANT, REVOKE).
    #[arg(short = 'x', long, alias = "no-acl", help_heading = WHAT)]
    pub(super) no_privileges: bool,
    /// Compression: 0 to 9, gzip[:1-12], zstd[:1-19] or none; none without this.
    #[arg(short = 'Z', long, value_name = "METHOD", allow_hyphen_values = true)]
    pub(super) compress: Option<String>,
    /// Dump in this encoding, and not in the database's own.
    #[arg(short = 'E', long, value_name = "ENCODING", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) encoding: Option<String>,
    /// Show this help, then exit.
    #[arg(short = '?', long, action = ArgAction::Help)]
    pub(super) help: Option<bool>,
    /// Print the version, then exit.
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(super) version: Option<bool>,
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
    /// Dump only those rows that the role may see.
    #[arg(long, help_heading = WHAT)]
    pub(super) enable_row_security: bool,
    /// Do NOT dump data for the specified tables.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table_data: Vec<String>,
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
    /// Do not dump tablespace assignments.
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
    /// Dump this section: pre-data, data or post-data.
    #[arg(long, value_name = "SECTION", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) section: Vec<String>,
    /// Wait until the dump can run without anomalies.
    #[arg(long)]
    pub(super) serializable_deferrable: bool,
    /// Dump this snapshot, which another session has exported.
    #[arg(long, value_name = "SNAPSHOT", allow_hyphen_values = true)]
    pub(super) snapshot: Option<String>,
    /// Require each pattern of -e, -n and -t to match.
    #[arg(long, help_heading = WHAT)]
    pub(super) strict_names: bool,
    /// Use SET SESSION AUTHORIZATION instead of ALTER OWNER to set ownership.
    #[arg(long, help_heading = FORM)]
    pub(super) use_set_session_authorization: bool,
    /// Do not dump comments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_comments: bool,
    /// Do not dump publications.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_publications: bool,
    /// Do not dump security label assignments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_security_labels: bool,
    /// Do not dump subscriptions.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_subscriptions: bool,
    /// Do not dump TOAST compression methods.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_toast_compression: bool,
    /// Do not dump unlogged table data.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_unlogged_table_data: bool,
    /// Do not wait for changes to be written safely to disk.
    #[arg(long)]
    pub(super) no_sync: bool,
    /// Add ON CONFLICT DO NOTHING to INSERT commands.
    #[arg(long, help_heading = FORM)]
    pub(super) on_conflict_do_nothing: bool,
    /// Number of rows per INSERT, 1 or more; implies --inserts.
    #[arg(long, value_name = "NROWS", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) rows_per_insert: Option<String>,
    /// Include data of foreign tables on these servers.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) include_foreign_data: Vec<String>,
    /// Key of psql's \restrict, letters and digits; a random one without this.
    #[arg(long, value_name = "RESTRICT_KEY", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) restrict_key: Option<String>,
    /// As -t, with partitions and inheritance children.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) table_and_children: Vec<String>,
    /// As -T, with partitions and inheritance children.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table_and_children: Vec<String>,
    /// As --exclude-table-data, with their children.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table_data_and_children: Vec<String>,
    /// Do NOT dump the specified extensions.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_extension: Vec<String>,
    /// Include and exclude what a file says (-: stdin).
    #[arg(long, value_name = "FILENAME", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) filter: Vec<String>,
    /// Database to dump, unless --dbname names it.
    #[arg(value_name = "DBNAME")]
    pub(super) arguments: Vec<String>,
}

const WHAT: &str = "What is dumped";
const FORM: &str = "How it is written";
const CONNECTION: &str = "Connection";

impl DumpArgs {
    /// Returns whether `--verbose` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }
}
