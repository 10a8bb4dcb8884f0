//! The option that names the file of settings, and which of its two places holds: the verb's own, or before the verb.

use std::path::PathBuf;

use clap::Args;
use tracing::Level;

use crate::error::Result;
use crate::log::{self, LogDestination};

/// Where settings are, besides the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// TOML file of settings, with the same names as in the environment, which wins.
    #[arg(long = "config", value_name = "FILE")]
    pub path: Option<PathBuf>,
}

impl ConfigFile {
    /// The verb's own option, or the one before the verb.
    pub(crate) fn or(self, other: ConfigFile) -> ConfigFile {
        ConfigFile { path: self.path.or(other.path) }
    }

    /// For a verb that prints its result: decides which file holds, and has nothing but warnings logged beside it.
    pub(crate) fn settle(&mut self, before: ConfigFile) -> Result<()> {
        *self = std::mem::take(self).or(before);
        log::start(LogDestination::Stderr, Level::WARN, self.path.as_deref())?;
        Ok(())
    }
}
