//! The options of pg_dump as clap parses them, without further checks.
//!
//! Values stay text here, because [`mod@super::request`] reports errors in them with pg_dump's messages.

use clap::{ArgAction, Args};

use crate::commands::connection::{CONNECTION, ServerArgs};
use crate::commands::input::{ContentArgs, FORM, WHAT};
use crate::commands::output::OutputArgs;

/// Options of `dump`: those of pg_dump 15 for plain output, and `--filter`, `--exclude-extension`
/// and the `…-and-children` patterns of pg_dump 17.
#[derive(Args, Clone, Debug, Default)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    // The help lists the options alphabetically: those that are flattened come first here.
    next_display_order = None,
    override_usage = "pg-backup dump [OPTION]... [DBNAME]",
    display_name = "pg-backup"
)]
pub struct DumpArgs {
    #[command(flatten)]
    pub(super) content: ContentArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
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
    /// Output format; only p (plain) is supported.
    #[arg(short = 'F', long, value_name = "p", allow_hyphen_values = true)]
    pub(super) format: Option<String>,
    /// Number of parallel connections, 1 or more; the default is 2.
    #[arg(short = 'j', long, value_name = "NUM", allow_hyphen_values = true)]
    pub(super) jobs: Option<String>,
    /// Accepted without effect, as in pg_dump.
    #[arg(short = 'R', long, hide = true)]
    pub(super) no_reconnect: bool,
    /// Dump the specified schemas only.
    #[arg(short = 'n', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) schema: Vec<String>,
    /// Do NOT dump the specified schemas.
    #[arg(short = 'N', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_schema: Vec<String>,
    /// Dump the specified tables only.
    #[arg(short = 't', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) table: Vec<String>,
    /// Do NOT dump the specified tables.
    #[arg(short = 'T', long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table: Vec<String>,
    /// Compression: 0 to 9, gzip[:1-12], zstd[:1-19] or none; the default is none.
    #[arg(short = 'Z', long, value_name = "METHOD", allow_hyphen_values = true)]
    pub(super) compress: Option<String>,
    /// Show this help, then exit.
    #[arg(short = '?', long, action = ArgAction::Help)]
    pub(super) help: Option<bool>,
    /// Print the version, then exit.
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub(super) version: Option<bool>,
    /// Dump only the rows that the role has access to.
    #[arg(long, help_heading = WHAT)]
    pub(super) enable_row_security: bool,
    /// Do NOT dump data for the specified tables.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_table_data: Vec<String>,
    /// Dump this section: pre-data, data or post-data.
    #[arg(long, value_name = "SECTION", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) section: Vec<String>,
    /// Wait until the dump can run without anomalies.
    #[arg(long)]
    pub(super) serializable_deferrable: bool,
    /// Use this snapshot, exported by another session, for the dump.
    #[arg(long, value_name = "SNAPSHOT", allow_hyphen_values = true)]
    pub(super) snapshot: Option<String>,
    /// Require each pattern of -e, -n and -t to match.
    #[arg(long, help_heading = WHAT)]
    pub(super) strict_names: bool,
    /// Include data of foreign tables on these servers.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) include_foreign_data: Vec<String>,
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
    /// Filter by the patterns in a file (- is stdin).
    #[arg(long, value_name = "FILENAME", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) filter: Vec<String>,
    /// Database to dump, unless --dbname names it.
    #[arg(value_name = "DBNAME")]
    pub(super) arguments: Vec<String>,
}

impl DumpArgs {
    /// Returns whether `--verbose` was given.
    pub fn is_verbose(&self) -> bool {
        self.content.verbose
    }
}
