//! `pg-backup serve`.

use crate::cli::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};

/// To be written.
pub async fn serve(file: &ConfigFile) -> Result<()> {
    Config::load(Purpose::Backup, file.path.as_deref())?;
    Err(Error::usage("not wired up yet"))
}
