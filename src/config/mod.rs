//! Reads the environment and an optional TOML file, and returns a validated [`Config`].
//!
//! [`vars`] collects the settings; this file interprets them, with one line for each variable of the
//! documented table. Every error is a [`ConfigError`] that names the variable and the fix. No secret appears
//! in a message or in `Debug` output.

mod alert;
mod drill;
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
mod vars;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

pub use alert::{AlertConfig, MailConfig, MailTls, RoundHooks};
pub use drill::{DrillConfig, Without};
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
    pub running: RoundPolicy,
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

/// One database to back up.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Name used in keys and log lines.
    pub name: String,
    /// Connection options; `None` only for [`Purpose::ReadStore`].
    pub connection: Option<ConnectOptions>,
}

impl DatabaseConfig {
    /// Returns the middle part of the names of its variables: `BACKUP_<this>_URL`.
    pub fn variable_stem(name: &str) -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }
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
        let vars = Vars::load(environment, file)?;
        // Every variable must be read before the check for unknown ones, because a variable that was never
        // read counts as unknown. A misspelled name is reported before the missing value that it causes.
        let listed = vars.get("BACKUP_DATABASES")?.unwrap_or_default();
        let databases = databases(&vars, purpose, &listed);
        let globals = GlobalsMode::read(&vars);
        let store = StoreLocation::read(&vars);
        let prefix = store::prefix(StoreVars::primary(&vars));
        let replica = ReplicaConfig::read(&vars);
        let lifecycle = LifecycleConfig::read(&vars);
        let schedule = Schedule::read(&vars);
        let running = RoundPolicy::read(&vars);
        let compression = value::compression(&vars);
        let jobs = value::number(&vars, "BACKUP_JOBS", 1..=64, DEFAULT_JOBS.get() as u64);
        let number =
            |jobs: u64| usize::try_from(jobs).ok().and_then(NonZeroUsize::new).unwrap_or(DEFAULT_JOBS);
        let drill = DrillConfig::read(&vars, jobs.as_ref().map_or(DEFAULT_JOBS, |jobs| number(*jobs)));
        let alerts = AlertConfig::read(&vars);
        let encryption = EncryptionConfig::read(&vars);
        let memory = value::memory(&vars);
        let catalog_limit = value::catalog_limit(&vars);
        let log_format = log_format(&vars);
        let http_listen = value::listen_address(&vars);
        log_filter(&vars)?;
        vars.refuse_unknown()?;
        let (databases, store) = (databases?, store?);
        drill::refuse_name(&databases)?;
        alert::refuse_name(&databases)?;
        let (prefix, replica) = (prefix?.unwrap_or_default(), replica?);
        if let Some(replica) = &replica {
            replica.refuse_same_place(&store, &prefix)?;
        }
        let (drill, encryption) = (drill?, encryption?);
        if purpose == Purpose::Backup {
            encryption.refuse_blind_drills(&drill)?;
        }
        let (running, catalog_limit) = (running?, catalog_limit?);
        let limited = |connection: ConnectOptions| {
            connection.with_stall_timeout(running.stall_timeout).with_catalog_limit(catalog_limit)
        };
        let databases: Vec<_> = databases
            .into_iter()
            .map(|it| DatabaseConfig { connection: it.connection.map(limited), ..it })
            .collect();
        let drill = DrillConfig { sandbox: drill.sandbox.map(limited), ..drill };
        Ok(Config {
            store,
            prefix,
            replica,
            lifecycle: lifecycle?,
            globals: globals?.servers(&databases)?,
            databases,
            schedule: schedule?,
            running,
            compression: compression?,
            jobs: number(jobs?),
            drill,
            alerts: alerts?,
            encryption,
            memory: memory?,
            log_format: log_format?,
            http_listen: http_listen?,
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

fn databases(vars: &Vars, purpose: Purpose, listed: &str) -> Result<Vec<DatabaseConfig>, ConfigError> {
    let mut databases: Vec<DatabaseConfig> = Vec::new();
    // All databases are read before the first error is returned, so that none of their variables counts as
    // unknown.
    let mut complaint = None;
    for name in listed.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match database(vars, purpose, name, &databases) {
            Ok(database) => databases.push(database),
            Err(error) => complaint = complaint.or(Some(error)),
        }
    }
    if let Some(error) = complaint {
        return Err(error);
    }
    if databases.is_empty() && purpose == Purpose::Backup {
        return Err(ConfigError::new(
            "BACKUP_DATABASES",
            "is not set",
            "list the databases to back up, e.g. metadata,website,demo, and give each its BACKUP_<NAME>_URL",
        ));
    }
    Ok(databases)
}

fn database(
    vars: &Vars,
    purpose: Purpose,
    name: &str,
    earlier: &[DatabaseConfig],
) -> Result<DatabaseConfig, ConfigError> {
    let variable = "BACKUP_DATABASES";
    let stem = DatabaseConfig::variable_stem(name);
    let (url_name, password_name) = (format!("BACKUP_{stem}_URL"), format!("BACKUP_{stem}_PASSWORD"));
    let (url, password) = (vars.get(&url_name), vars.get(&password_name));
    let (url, password) = (url?, password?);
    // The name becomes a part of object keys and of file names.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ConfigError::new(
            variable,
            format!("has a name that cannot be part of a key: \"{name}\""),
            "use letters, digits, _, - and . in the name; the database's real name belongs into its URL",
        ));
    }
    if let Some(other) = earlier.iter().find(|other| DatabaseConfig::variable_stem(&other.name) == stem) {
        let problem = if other.name == name {
            format!("lists {name} twice")
        } else {
            format!("lists {} and {name}, which would both be configured by {url_name}", other.name)
        };
        return Err(ConfigError::new(variable, problem, "give each database a name of its own"));
    }
    if url.is_none() && purpose == Purpose::Backup {
        return Err(ConfigError::new(
            &url_name,
            format!("is not set, but BACKUP_DATABASES lists {name}"),
            "set it to postgres://user@host:5432/database",
        ));
    }
    let connection = url.map(|url| value::connection(&url_name, &url, &password_name, password.as_deref()));
    Ok(DatabaseConfig { name: name.to_owned(), connection: connection.transpose()? })
}

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
