//! `pg-backup list`.

use clap::Args;

use crate::cli::ConfigFile;
use crate::error::{Error, Result};

/// Options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// To be written.
pub async fn list(_args: &ListArgs) -> Result<()> {
    Err(Error::usage("not wired up yet"))
}
