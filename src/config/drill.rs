//! `BACKUP_DRILL_*`: where drills restore to, when, and what the sandbox need not have.

use std::num::NonZeroUsize;

use super::DatabaseConfig;
use super::error::ConfigError;
use super::schedule::Schedule;
use super::value;
use super::vars::Vars;
use crate::protocol::ConnectOptions;

const URL: &str = "BACKUP_DRILL_URL";
const SCHEDULE: &str = "BACKUP_DRILL_SCHEDULE";

/// How backups are drilled.
#[derive(Clone, Debug)]
pub struct DrillConfig {
    /// The sandbox server, and a database of it to be connected to while others are created and dropped.
    pub sandbox: Option<ConnectOptions>,
    /// When `serve` drills; never without it.
    pub schedule: Option<Schedule>,
    /// Connections to the sandbox.
    pub jobs: NonZeroUsize,
    /// What is left out.
    pub without: Without,
}

/// What a sandbox need not have, so that it is not restored there.
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
    /// `jobs` is what holds where nothing is said of drills.
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

    /// The sandbox, which a drill cannot do without.
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

/// Refuses a database whose variables would be the drill's.
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
