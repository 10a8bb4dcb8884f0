//! The options of pg_dumpall as clap parses them, without further checks.
//!
//! Values stay text here, because [`super::request`] reports errors in them.

use clap::{ArgAction, Args};

use crate::commands::connection::{CONNECTION, ServerArgs};
use crate::commands::input::{ContentArgs, FORM, WHAT};
use crate::commands::output::OutputArgs;

/// Options of `dumpall`: those of pg_dumpall 15, and `-Z` as `dump` has it.
#[derive(Args, Clone, Debug, Default)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    // The help lists the options alphabetically: those that are flattened come first here.
    next_display_order = None,
    override_usage = "pg-backup dumpall [OPTION]...",
    display_name = "pg-backup"
)]
pub struct DumpallArgs {
    #[command(flatten)]
    pub(super) content: ContentArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Clean (drop) databases before recreating.
    #[arg(short = 'c', long, help_heading = FORM)]
    pub(super) clean: bool,
    /// Dump only global objects, no databases.
    #[arg(short = 'g', long, help_heading = WHAT)]
    pub(super) globals_only: bool,
    /// Connection string or URI; the database in it is ignored.
    #[arg(short = 'd', long, value_name = "CONNSTR", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) dbname: Option<String>,
    /// Database in which the globals are read.
    #[arg(short = 'l', long, value_name = "DBNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) database: Option<String>,
    /// Dump only roles, no databases or tablespaces.
    #[arg(short = 'r', long, help_heading = WHAT)]
    pub(super) roles_only: bool,
    /// Dump only tablespaces, no databases or roles.
    #[arg(short = 't', long, help_heading = WHAT)]
    pub(super) tablespaces_only: bool,
    /// Exclude databases whose name matches PATTERN.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = WHAT)]
    pub(super) exclude_database: Vec<String>,
    /// Do not dump passwords for roles.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_role_passwords: bool,
    // pg_dumpall has no long name for it, and a new one would make an abbreviation ambiguous.
    /// Compression: 0 to 9, gzip[:1-12], zstd[:1-19] or none; the default is none.
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

impl DumpallArgs {
    /// Returns whether `--verbose` was given.
    pub fn is_verbose(&self) -> bool {
        self.content.verbose
    }
}
