//! `BACKUP_DRILL_*`: the sandbox server of drills, their schedule, and what they omit.

use std::num::NonZeroUsize;

use super::DatabaseConfig;
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
        let (url, password) = (vars.get(URL), vars.get(password_name));
        let schedule = vars.get(SCHEDULE);
        let number = value::number(vars, "BACKUP_DRILL_JOBS", 1..=64, jobs.get() as u64);
        let switch = |name: &str| value::switch(vars, name).map(Option::unwrap_or_default);
        let without = [
            switch("BACKUP_DRILL_NO_OWNER"),
            switch("BACKUP_DRILL_NO_PRIVILEGES"),
            switch("BACKUP_DRILL_NO_TABLESPACES"),
            switch("BACKUP_DRILL_NO_SECURITY_LABELS"),
            switch("BACKUP_DRILL_NO_PUBLICATIONS"),
            switch("BACKUP_DRILL_NO_SUBSCRIPTIONS"),
        ];
        let [owner, privileges, tablespaces, security_labels, publications, subscriptions] = without;
        let password = password?;
        let connection = |url: String| value::connection(URL, &url, password_name, password.as_deref());
        let sandbox = url?.map(connection).transpose()?;
        let zone = vars.time_zone.as_deref();
        let schedule = schedule?.map(|text| Schedule::parse(SCHEDULE, &text, zone)).transpose()?;
        if schedule.is_some() && sandbox.is_none() {
            return Err(missing_url("is not set, but BACKUP_DRILL_SCHEDULE is"));
        }
        let number = usize::try_from(number?).ok();
        Ok(DrillConfig {
            sandbox,
            schedule,
            jobs: number.and_then(NonZeroUsize::new).unwrap_or(jobs),
            without: Without {
                owner: owner?,
                privileges: privileges?,
                tablespaces: tablespaces?,
                security_labels: security_labels?,
                publications: publications?,
                subscriptions: subscriptions?,
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
        "set it to postgres://user@sandbox:5432/postgres, a server that may hold copies of your data",
    )
}

/// Refuses a database whose variables would have the names of drill settings.
pub(super) fn refuse_name(databases: &[DatabaseConfig]) -> Result<(), ConfigError> {
    match databases.iter().find(|database| DatabaseConfig::variable_stem(&database.name) == "DRILL") {
        Some(database) => Err(ConfigError::new(
            "BACKUP_DATABASES",
            format!("lists {}, and {URL} is the server for drills", database.name),
            "give the database another name in BACKUP_DATABASES and in its variables",
        )),
        None => Ok(()),
    }
}
