//! The option for the configuration file, which can be given before or after the command.

use std::path::PathBuf;

use clap::Args;
use tracing::Level;

use crate::error::Result;
use crate::log::{self, LogDestination};

/// Location of settings besides the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// TOML file with settings of the same names as in the environment, which takes precedence.
    #[arg(long = "config", value_name = "FILE")]
    pub path: Option<PathBuf>,
}

impl ConfigFile {
    /// Returns the option after the command if it is set, otherwise the one before the command.
    pub(crate) fn or(self, other: ConfigFile) -> ConfigFile {
        ConfigFile { path: self.path.or(other.path) }
    }

    /// Selects the configuration file and starts the log, for a command that prints its result: only warnings
    /// are logged.
    pub(crate) fn settle(&mut self, before: ConfigFile) -> Result<()> {
        *self = std::mem::take(self).or(before);
        log::start(LogDestination::Stderr, Level::WARN, self.path.as_deref())?;
        Ok(())
    }
}
