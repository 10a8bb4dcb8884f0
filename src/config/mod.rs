//! Reads the environment and an optional TOML file, and returns a validated [`Config`].
//!
//! [`variables`] is the registry of all variables, [`vars`] collects what is set, and the other files
//! interpret it. [`mod@effective`] shows the result. Every error is a [`ConfigError`] that names the variable and
//! the fix. No secret appears in a message or in `Debug` output.

mod alert;
mod database;
mod drill;
mod effective;
mod encryption;
mod endpoint;
mod error;
mod globals;
mod lifecycle;
mod object;
mod replica;
mod round_policy;
mod schedule;
mod secret;
mod store;
mod value;
pub mod variables;
mod vars;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

pub use alert::{AlertConfig, MailConfig, MailTls, RoundHooks};
pub use database::DatabaseConfig;
pub use drill::{DrillConfig, Without};
pub use effective::{EffectiveConfig, EffectiveSetting, ValueSource, effective};
pub use encryption::EncryptionConfig;
pub use endpoint::{WebhookConfig, WebhookEndpoint};
pub use error::ConfigError;
pub use globals::GlobalsConfig;
pub use lifecycle::LifecycleConfig;
pub use replica::ReplicaConfig;
pub use round_policy::{OnBlocked, RoundPolicy};
pub use schedule::{CronSchedule, Schedule};
pub use secret::Secret;
pub use store::{Checksums, Credentials, S3Access, StoreLocation};
pub use value::DEFAULT_MEMORY;
pub(crate) use value::parse_duration;

use crate::archive::compression::Compression;
use crate::archive::encryption::Identities;
use crate::protocol::ConnectOptions;

use globals::GlobalsMode;
use store::StoreVars;
use vars::Vars;

/// Default number of connections to one database at a time.
pub const DEFAULT_JOBS: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");

/// Purpose of the configuration; it decides which settings are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `serve` and `run`: the store, and at least one database with its URL.
    Backup,
    /// `list` and `status`: the store. Databases and their URLs are optional.
    ReadStore,
}

/// The configuration of the sidecar and of the commands that read the store.
#[derive(Clone, Debug)]
pub struct Config {
    /// Destination of backups.
    pub store: StoreLocation,
    /// Prefix of every key; without leading and trailing slashes, may be empty.
    pub prefix: String,
    /// Second destination of every backup.
    pub replica: Option<ReplicaConfig>,
    /// Retention of backups in the bucket.
    pub lifecycle: LifecycleConfig,
    /// The databases, in the order of a round.
    pub databases: Vec<DatabaseConfig>,
    /// The servers whose globals are saved after the databases.
    pub globals: Vec<GlobalsConfig>,
    /// Schedule of rounds.
    pub schedule: Schedule,
    /// Retries and timeouts of rounds.
    pub round_policy: RoundPolicy,
    /// Options of drills.
    pub drill: DrillConfig,
    /// Alert channels and thresholds.
    pub alerts: AlertConfig,
    /// Compression of dumps.
    pub compression: Compression,
    /// Keys for encryption and decryption of backups.
    pub encryption: EncryptionConfig,
    /// Number of connections per database.
    pub jobs: NonZeroUsize,
    /// Memory limit in bytes, not including what is kept of each object of a catalog.
    pub memory: u64,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Address of the status page, health and metrics; `None` for `off`.
    pub http_listen: Option<SocketAddr>,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `[backup] metadata: OK in 1s`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Returns the names of the backups: first those of the databases, then those of the servers' globals.
    pub fn backup_names(&self) -> Vec<String> {
        let databases = self.databases.iter().map(|database| &database.name);
        databases.chain(self.globals.iter().map(|globals| &globals.name)).cloned().collect()
    }

    /// Reads the configuration of this process; `file` is the value of `--config`.
    pub fn load(purpose: Purpose, file: Option<&Path>) -> Result<Config, ConfigError> {
        Config::from_environment(purpose, std::env::vars_os(), file)
    }

    /// Reads a configuration from the given environment.
    pub fn from_environment(
        purpose: Purpose,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
    ) -> Result<Config, ConfigError> {
        Config::read(&Vars::load(environment, file)?, purpose)
    }

    fn read(vars: &Vars, purpose: Purpose) -> Result<Config, ConfigError> {
        // First, so that a misspelled name is reported before the missing value that it causes.
        vars.refuse_unknown()?;
        log_filter(vars)?;
        let databases = database::read(vars, purpose)?;
        let store = StoreLocation::read(vars)?;
        let prefix = store::prefix(StoreVars::primary(vars))?.unwrap_or_default();
        let replica = ReplicaConfig::read(vars)?;
        if let Some(replica) = &replica {
            replica.refuse_same_place(&store, &prefix)?;
        }
        let round_policy = RoundPolicy::read(vars)?;
        let catalog_limit = value::catalog_limit(vars)?;
        let limited = |connection: ConnectOptions| {
            connection.with_stall_timeout(round_policy.stall_timeout).with_catalog_limit(catalog_limit)
        };
        let databases: Vec<_> = databases
            .into_iter()
            .map(|it| DatabaseConfig { connection: it.connection.map(limited), ..it })
            .collect();
        let jobs = value::jobs(vars, "BACKUP_JOBS")?.unwrap_or(DEFAULT_JOBS);
        let drill = DrillConfig::read(vars, jobs)?;
        let drill = DrillConfig { sandbox: drill.sandbox.map(limited), ..drill };
        let encryption = EncryptionConfig::read(vars)?;
        if purpose == Purpose::Backup {
            encryption.refuse_blind_drills(&drill)?;
        }
        Ok(Config {
            store,
            prefix,
            replica,
            lifecycle: LifecycleConfig::read(vars)?,
            globals: GlobalsMode::read(vars)?.servers(&databases)?,
            databases,
            schedule: Schedule::read(vars)?,
            round_policy,
            compression: value::compression(vars)?,
            jobs,
            drill,
            alerts: AlertConfig::read(vars)?,
            encryption,
            memory: value::memory(vars)?,
            log_format: log_format(vars)?,
            http_listen: value::listen_address(vars)?,
        })
    }
}

/// Reads the S3 settings for a key that the command line names (`dump -f s3://bucket/key`). The variables are
/// the same, and only the required ones of the access must be set.
pub fn s3_access() -> Result<S3Access, ConfigError> {
    S3Access::read(StoreVars::primary(&Vars::load(std::env::vars_os(), None)?))
}

/// Reads `BACKUP_MEMORY_LIMIT`, for a dump to a key that the command line names.
pub fn memory() -> Result<u64, ConfigError> {
    value::memory(&Vars::load(std::env::vars_os(), None)?)
}

/// Reads `BACKUP_STALL_TIMEOUT`, for a database that the command line names.
pub fn stall_timeout() -> Result<Option<Duration>, ConfigError> {
    round_policy::stall_timeout(&Vars::load(std::env::vars_os(), None)?)
}

/// Reads `BACKUP_CATALOG_LIMIT`, for a database that the command line names.
pub fn catalog_limit() -> Result<u64, ConfigError> {
    value::catalog_limit(&Vars::load(std::env::vars_os(), None)?)
}

/// Reads `BACKUP_AGE_IDENTITY`, for a backup that the command line names; `file` is the value of `--config`.
pub fn identities(file: Option<&Path>) -> Result<Option<Identities>, ConfigError> {
    encryption::identities(&Vars::load(std::env::vars_os(), file)?)
}

/// Reads the settings of the log, which are needed before any other setting can be read or refused.
pub fn log_settings(file: Option<&Path>) -> Result<(LogFormat, Option<String>), ConfigError> {
    let vars = Vars::load(std::env::vars_os(), file)?;
    Ok((log_format(&vars)?, log_filter(&vars)?))
}

fn log_format(vars: &Vars) -> Result<LogFormat, ConfigError> {
    value::choice(vars, "BACKUP_LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        .map(Option::unwrap_or_default)
}

/// Returns the filter of `BACKUP_LOG`: a level, or tracing's `target=level` list.
fn log_filter(vars: &Vars) -> Result<Option<String>, ConfigError> {
    let name = "BACKUP_LOG";
    let Some(filter) = vars.get(name)? else { return Ok(None) };
    let is_level = |word: &str| word.trim().parse::<tracing::level_filters::LevelFilter>().is_ok();
    let is_directive = |part: &str| is_level(part.rsplit_once('=').map_or(part, |(_, level)| level));
    match filter.split(',').all(is_directive) {
        true => Ok(Some(filter)),
        false => Err(ConfigError::new(
            name,
            format!("is not a log level: \"{filter}\""),
            "use error, warn, info, debug or trace",
        )),
    }
}

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
