//! `BACKUP_RETRIES` and related settings: how a round handles an unreachable database or store, timeouts, and
//! sessions that wait for the dump's locks.

use std::time::Duration;

use super::error::ConfigError;
use super::value::{choice, number, parse_duration};
use super::vars::Vars;
use crate::protocol::STALL_TIMEOUT;

/// A year; a larger value is probably in the wrong unit.
const MOST: Duration = Duration::from_secs(366 * 86_400);

/// Retries and timeouts of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundPolicy {
    /// Maximum number of retries of one database in a round, after transient failures.
    pub retries: u32,
    /// Approximate wait before the first retry; later waits are longer.
    pub retry_wait: Duration,
    /// Maximum time for one database in a round, for all attempts together.
    pub timeout: Option<Duration>,
    /// Time without data from a server after which the program checks whether the server still works on the
    /// dump.
    pub stall_timeout: Option<Duration>,
    /// Maximum time that a dump waits for each of its locks.
    pub lock_timeout: Option<Duration>,
    /// Action if sessions wait for a dump's locks.
    pub on_blocked: OnBlocked,
    /// How long a session must wait before that action.
    pub blocked_after: Duration,
}

/// Action if sessions wait for a dump's locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBlocked {
    /// Log the sessions.
    #[default]
    Warn,
    /// Log the sessions and abort the dump, so that they can continue.
    Abort,
    /// Do not check for waiting sessions.
    Ignore,
}

impl Default for RoundPolicy {
    fn default() -> Self {
        RoundPolicy {
            retries: 5,
            retry_wait: Duration::from_secs(5),
            timeout: None,
            stall_timeout: Some(STALL_TIMEOUT),
            lock_timeout: None,
            on_blocked: OnBlocked::default(),
            blocked_after: Duration::from_secs(30),
        }
    }
}

impl RoundPolicy {
    pub(super) fn read(vars: &Vars) -> Result<RoundPolicy, ConfigError> {
        const ON_BLOCKED: &[(&str, OnBlocked)] =
            &[("warn", OnBlocked::Warn), ("abort", OnBlocked::Abort), ("ignore", OnBlocked::Ignore)];
        let usual = RoundPolicy::default();
        let retries = number(vars, "BACKUP_RETRIES")?.and_then(|retries| u32::try_from(retries).ok());
        Ok(RoundPolicy {
            retries: retries.unwrap_or(usual.retries),
            retry_wait: duration(vars, "BACKUP_RETRY_WAIT")?.unwrap_or(usual.retry_wait),
            timeout: limit(vars, "BACKUP_TIMEOUT")?,
            stall_timeout: stall_timeout(vars)?,
            lock_timeout: limit(vars, "BACKUP_LOCK_TIMEOUT")?,
            on_blocked: choice(vars, "BACKUP_ON_BLOCKED", ON_BLOCKED)?.unwrap_or_default(),
            blocked_after: duration(vars, "BACKUP_ON_BLOCKED_AFTER")?.unwrap_or(usual.blocked_after),
        })
    }
}

/// Reads `BACKUP_STALL_TIMEOUT`, which also takes `0` for `off`.
pub(super) fn stall_timeout(vars: &Vars) -> Result<Option<Duration>, ConfigError> {
    const NAME: &str = "BACKUP_STALL_TIMEOUT";
    match vars.get(NAME)?.as_deref().map(str::trim) {
        Some("0") => Ok(None),
        _ => limit(vars, NAME),
    }
}

/// Parses a duration of a second or more, or `off`.
fn limit(vars: &Vars, name: &str) -> Result<Option<Duration>, ConfigError> {
    if vars.get_or_default(name)?.is_some_and(|text| text.trim() == "off") {
        return Ok(None);
    }
    duration(vars, name).map_err(|error| ConfigError { hint: format!("{}, or off", error.hint), ..error })
}

fn duration(vars: &Vars, name: &str) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = vars.get_or_default(name)? else { return Ok(None) };
    match parse_duration(text.trim()).filter(|time| (Duration::from_secs(1)..=MOST).contains(time)) {
        Some(time) => Ok(Some(time)),
        None => Err(ConfigError::new(
            name,
            format!("is not a duration from a second to a year: \"{text}\""),
            "use e.g. 30s, 10m or 1h30m",
        )),
    }
}
