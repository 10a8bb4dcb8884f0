//! Checks whether the next round, the next drill and their alerts would succeed. Every check returns a
//! [`Finding`], also a successful one.
//!
//! The only change is one small object that is written to the store, always under the same key.

mod alerts;
mod database;
mod sandbox;
mod schedule;
mod store;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::clock;
use crate::config::Config;
use crate::protocol::ConnectOptions;
use crate::report::chain;
use crate::storage::Store;
use crate::storage::mirror::Replica;
use database::Examined;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Subject: a database's configured name, `store`, `schedule`, `drill`.
    pub subject: String,
    /// Severity.
    pub level: Level,
    /// What was found, without secrets.
    pub what: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The check passed.
    Ok,
    /// Backups are created, but possibly not as expected.
    Warning,
    /// A backup or a drill would fail.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "ERROR",
        })
    }
}

/// Collects the findings about one subject.
#[derive(Debug)]
struct Findings {
    subject: String,
    found: Vec<Finding>,
}

impl Findings {
    fn about(subject: impl Into<String>) -> Self {
        Findings { subject: subject.into(), found: Vec::new() }
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.add(Level::Ok, what.into(), None);
    }

    fn warn(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Level::Warning, what.into(), Some(hint.into()));
    }

    fn error(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Level::Error, what.into(), Some(hint.into()));
    }

    /// Adds an error with its causes and its hints.
    fn failed(&mut self, error: &dyn std::error::Error) {
        let chain = chain(error);
        let hint = Some(chain.hints.join("; ")).filter(|hint| !hint.is_empty());
        self.add(Level::Error, chain.line, hint);
    }

    /// The same, prefixed with the place of the error.
    fn failed_at(&mut self, place: &str, error: &dyn std::error::Error) {
        self.failed(error);
        if let Some(finding) = self.found.last_mut() {
            finding.what.insert_str(0, &format!("{place}: "));
        }
    }

    fn add(&mut self, level: Level, what: String, hint: Option<String>) {
        self.found.push(Finding { subject: self.subject.clone(), level, what, hint });
    }

    fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.level == Level::Error)
    }
}

/// The destinations of backups.
#[derive(Debug)]
pub struct BackupStores {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The replica, if there is one.
    pub replica: Option<Replica>,
}

/// Checks the whole configuration: the schedules, the alert channels, the stores, each database and the
/// globals of each server, and the sandbox of drills. `sends_test`: whether to send a test message to every
/// channel.
pub async fn check(config: &Config, places: &BackupStores, sends_test: bool) -> Vec<Finding> {
    let mut all = schedule::check(config, clock::now());
    all.extend(alerts::check(&config.alerts, sends_test).await);
    let names = config.backup_names();
    all.extend(store::check("store", &*places.store, &config.prefix, &names).await);
    if let Some(replica) = &places.replica {
        all.extend(store::check("replica", &*replica.store, &replica.prefix, &names).await);
    }
    for configured in &config.databases {
        let Some(connection) = &configured.connection else { continue };
        let examined =
            Examined { name: &configured.name, connection, jobs: config.jobs, memory: config.memory };
        all.extend(examined.check().await);
    }
    for globals in &config.globals {
        all.extend(database::check_globals(globals).await);
    }
    if let Some(sandbox) = &config.drill.sandbox {
        let sources: Vec<&ConnectOptions> =
            config.databases.iter().filter_map(|d| d.connection.as_ref()).collect();
        all.extend(sandbox::check(sandbox, &sources).await);
    }
    all
}

/// Formats the first names of a list and the number of the others.
fn some_of(names: &[String], number: usize) -> String {
    const NAMED: usize = 5;
    let named = names.get(..NAMED.min(names.len())).unwrap_or_default().join(", ");
    match number.saturating_sub(NAMED.min(names.len())) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (1..=7).map(|n| format!("t{n}")).collect();
        assert_eq!(some_of(&names[..2], 2), "t1, t2");
        assert_eq!(some_of(&names, 7), "t1, t2, t3, t4, t5 and 2 more");
        assert_eq!(some_of(&names[..5], 9), "t1, t2, t3, t4, t5 and 4 more");
    }

    #[test]
    fn an_error_brings_its_own_advice() {
        let mut findings = Findings::about("store");
        findings.failed(&std::io::Error::other("it is away\nHINT: call it back"));
        assert!(findings.has_errors());
        assert_eq!(findings.found[0].what, "it is away");
        assert_eq!(findings.found[0].hint.as_deref(), Some("call it back"));
    }
}
