//! What was typed: pg_dumpall's options as clap sees them, before anything is checked.
//!
//! Values stay text here, because the complaints about them are made by [`super::request`]. The order
//! is that of pg_dumpall's own list, which its complaint about an ambiguous abbreviation shows.

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
    display_name = "pg-backup",
    after_help = "Without -l the globals are read in the database postgres, or else in template1.\n\
                  The PG* variables, ~/.pgpass and connection URIs work as in psql."
)]
pub struct DumpallArgs {
    /// Dump only the data, not the schema.
    #[arg(short = 'a', long)]
    pub(super) data_only: bool,
    /// Clean (drop) databases before recreating.
    #[arg(short = 'c', long)]
    pub(super) clean: bool,
    /// Dump the data in the specified encoding.
    #[arg(short = 'E', long, value_name = "ENCODING", allow_hyphen_values = true)]
    pub(super) encoding: Option<String>,
    /// Where the dump goes: a file, s3://bucket/key or file:///path; standard output without it.
    #[arg(short = 'f', long, value_name = "FILENAME", allow_hyphen_values = true)]
    pub(super) file: Option<String>,
    /// Dump only global objects, no databases.
    #[arg(short = 'g', long)]
    pub(super) globals_only: bool,
    /// Database server host or socket directory.
    #[arg(short = 'h', long, value_name = "HOSTNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) host: Option<String>,
    /// Connect using a connection string or URI; the database in it is ignored.
    #[arg(short = 'd', long, value_name = "CONNSTR", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) dbname: Option<String>,
    /// Database in which the globals are read.
    #[arg(short = 'l', long, value_name = "DBNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) database: Option<String>,
    /// Leave the restoration of object ownership out.
    #[arg(short = 'O', long)]
    pub(super) no_owner: bool,
    /// Database server port number.
    #[arg(short = 'p', long, value_name = "PORT", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) port: Option<String>,
    /// Dump only roles, no databases or tablespaces.
    #[arg(short = 'r', long)]
    pub(super) roles_only: bool,
    /// Dump only the schema, no data.
    #[arg(short = 's', long)]
    pub(super) schema_only: bool,
    /// Superuser user name to use for disabling triggers.
    #[arg(short = 'S', long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) superuser: Option<String>,
    /// Dump only tablespaces, no databases or roles.
    #[arg(short = 't', long)]
    pub(super) tablespaces_only: bool,
    /// Connect as the specified database user.
    #[arg(short = 'U', long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) username: Option<String>,
    /// Say what is going on, and write ids and dependencies into the dump's comments.
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// Never prompt for a password.
    #[arg(short = 'w', long, help_heading = CONNECTION, overrides_with = "password")]
    pub(super) no_password: bool,
    /// Force a password prompt.
    #[arg(short = 'W', long, help_heading = CONNECTION, overrides_with = "no_password")]
    pub(super) password: bool,
    /// Do not dump privileges (GRANT, REVOKE).
    #[arg(short = 'x', long, alias = "no-acl")]
    pub(super) no_privileges: bool,
    /// For use by upgrade utilities only, and so not here.
    #[arg(long, hide = true)]
    pub(super) binary_upgrade: bool,
    /// Dump data as INSERT commands with column names.
    #[arg(long, alias = "attribute-inserts")]
    pub(super) column_inserts: bool,
    /// Disable dollar quoting, use SQL standard quoting.
    #[arg(long)]
    pub(super) disable_dollar_quoting: bool,
    /// Disable triggers during a data-only restore.
    #[arg(long)]
    pub(super) disable_triggers: bool,
    /// Exclude databases whose name matches PATTERN.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, action = ArgAction::Append)]
    pub(super) exclude_database: Vec<String>,
    /// Override the default setting for extra_float_digits.
    #[arg(long, value_name = "NUM", allow_hyphen_values = true)]
    pub(super) extra_float_digits: Option<String>,
    /// Use IF EXISTS when dropping objects.
    #[arg(long)]
    pub(super) if_exists: bool,
    /// Dump data as INSERT commands, rather than COPY.
    #[arg(long)]
    pub(super) inserts: bool,
    /// Fail after waiting TIMEOUT for a table lock.
    #[arg(long, value_name = "TIMEOUT", allow_hyphen_values = true)]
    pub(super) lock_wait_timeout: Option<String>,
    /// Do not dump table access methods.
    #[arg(long)]
    pub(super) no_table_access_method: bool,
    /// Do not dump tablespaces, nor what is in which.
    #[arg(long)]
    pub(super) no_tablespaces: bool,
    /// Quote all identifiers, even if not key words.
    #[arg(long)]
    pub(super) quote_all_identifiers: bool,
    /// Load partitions via the root table.
    #[arg(long)]
    pub(super) load_via_partition_root: bool,
    /// Do SET ROLE before the dump.
    #[arg(long, value_name = "ROLENAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) role: Option<String>,
    /// Use SET SESSION AUTHORIZATION instead of ALTER OWNER to set ownership.
    #[arg(long)]
    pub(super) use_set_session_authorization: bool,
    /// Do not dump comments.
    #[arg(long)]
    pub(super) no_comments: bool,
    /// Do not dump publications.
    #[arg(long)]
    pub(super) no_publications: bool,
    /// Do not dump passwords for roles.
    #[arg(long)]
    pub(super) no_role_passwords: bool,
    /// Do not dump security label assignments.
    #[arg(long)]
    pub(super) no_security_labels: bool,
    /// Do not dump subscriptions.
    #[arg(long)]
    pub(super) no_subscriptions: bool,
    /// Do not wait for changes to be written safely to disk.
    #[arg(long)]
    pub(super) no_sync: bool,
    /// Do not dump TOAST compression methods.
    #[arg(long)]
    pub(super) no_toast_compression: bool,
    /// Do not dump unlogged table data.
    #[arg(long)]
    pub(super) no_unlogged_table_data: bool,
    /// Add ON CONFLICT DO NOTHING to INSERT commands.
    #[arg(long)]
    pub(super) on_conflict_do_nothing: bool,
    /// Number of rows per INSERT; implies --inserts.
    #[arg(long, value_name = "NROWS", allow_hyphen_values = true)]
    pub(super) rows_per_insert: Option<String>,
    /// Use the provided string as psql's \restrict key.
    #[arg(long, value_name = "RESTRICT_KEY", allow_hyphen_values = true)]
    pub(super) restrict_key: Option<String>,
    // pg_dumpall has no long name for it, and a new one would make an abbreviation ambiguous.
    /// Compression: 0 to 9, gzip[:level], zstd[:level] or none.
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

const CONNECTION: &str = "Connection options";

impl DumpallArgs {
    /// Whether `--verbose` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }
}
