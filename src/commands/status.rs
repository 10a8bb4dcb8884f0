//! `pg-backup status`.

use clap::Args;

use crate::cli::ConfigFile;
use crate::error::{Error, Result};

/// Options of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// To be written.
pub async fn status(_args: &StatusArgs) -> Result<()> {
    Err(Error::usage("not wired up yet"))
}
