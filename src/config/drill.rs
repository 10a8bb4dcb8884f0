//! `BACKUP_DRILL_*`: the sandbox server of drills, their schedule, and what they omit.

use std::num::NonZeroUsize;

use super::error::ConfigError;
use super::schedule::Schedule;
use super::value;
use super::vars::Vars;
use crate::protocol::ConnectOptions;

const URL: &str = "BACKUP_DRILL_URL";
const SCHEDULE: &str = "BACKUP_DRILL_SCHEDULE";

/// Options of drills.
#[derive(Clone, Debug)]
pub struct DrillConfig {
    /// The sandbox server, with the database to connect to while scratch databases are created and dropped.
    pub sandbox: Option<ConnectOptions>,
    /// Schedule of drills in `serve`; `None` for no drills.
    pub schedule: Option<Schedule>,
    /// Number of connections to the sandbox.
    pub jobs: NonZeroUsize,
    /// Properties that drills omit.
    pub without: Without,
}

/// Properties that a sandbox may lack, so that drills do not restore them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Owners.
    pub owner: bool,
    /// Privileges.
    pub privileges: bool,
    /// Tablespaces.
    pub tablespaces: bool,
    /// Security labels.
    pub security_labels: bool,
    /// Publications.
    pub publications: bool,
    /// Subscriptions.
    pub subscriptions: bool,
}

impl DrillConfig {
    /// Reads the settings of drills. `jobs` is the default number of connections.
    pub(super) fn read(vars: &Vars, jobs: NonZeroUsize) -> Result<DrillConfig, ConfigError> {
        let password_name = "BACKUP_DRILL_PASSWORD";
        let password = vars.get(password_name)?;
        let connection = |url: String| value::connection(URL, &url, password_name, password.as_deref());
        let sandbox = vars.get(URL)?.map(connection).transpose()?;
        let schedule = vars.get(SCHEDULE)?;
        let schedule = schedule.map(|text| Schedule::parse(SCHEDULE, &text, vars.time_zone())).transpose()?;
        if schedule.is_some() && sandbox.is_none() {
            return Err(missing_url("is not set, but BACKUP_DRILL_SCHEDULE is"));
        }
        let omits = |name: &str| value::boolean(vars, name).map(Option::unwrap_or_default);
        Ok(DrillConfig {
            sandbox,
            schedule,
            jobs: value::jobs(vars, "BACKUP_DRILL_JOBS")?.unwrap_or(jobs),
            without: Without {
                owner: omits("BACKUP_DRILL_NO_OWNER")?,
                privileges: omits("BACKUP_DRILL_NO_PRIVILEGES")?,
                tablespaces: omits("BACKUP_DRILL_NO_TABLESPACES")?,
                security_labels: omits("BACKUP_DRILL_NO_SECURITY_LABELS")?,
                publications: omits("BACKUP_DRILL_NO_PUBLICATIONS")?,
                subscriptions: omits("BACKUP_DRILL_NO_SUBSCRIPTIONS")?,
            },
        })
    }

    /// Returns the sandbox, which a drill requires.
    pub fn require_sandbox(&self) -> Result<&ConnectOptions, ConfigError> {
        self.sandbox.as_ref().ok_or_else(|| missing_url("is not set"))
    }
}

fn missing_url(problem: &str) -> ConfigError {
    ConfigError::new(
        URL,
        problem,
        "set it to postgres://user@sandbox:5432/postgres, a server that may contain copies of your data",
    )
}
