//! Runs the drills of all databases, one after the other, writes their log lines, and stores the report next
//! to each backup.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::panic::{Panicked, caught};
use crate::archive::encryption::Identities;
use crate::archive::key::{BackupId, Part};
use crate::config::{Config, ConfigError, Without};
use crate::dump::ReadOptions;
use crate::log::DRILL;
use crate::protocol::ConnectOptions;
use crate::quantity::Seconds;
use crate::report::chain;
use crate::restore::choose::{BackupSelector, ChooseError};
use crate::restore::compare::Exceptions;
use crate::restore::drill::{DrillError, DrillReport, DrillRequest, drill};
use crate::storage::{Store, StoreError};

/// The configuration of the drills.
#[derive(Debug)]
pub struct Drills {
    store: Arc<dyn Store>,
    prefix: String,
    sandbox: ConnectOptions,
    identities: Option<Identities>,
    without: Exceptions,
    reading: ReadOptions,
    memory: u64,
}

/// Why the drill of one database has no result.
#[derive(Debug, thiserror::Error)]
pub enum DrillFailure {
    /// No backup exists, or the store cannot be read.
    #[error(transparent)]
    NoBackup(#[from] ChooseError),
    /// The drill failed.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The drill panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The result of one database's drill.
#[derive(Debug)]
pub struct DrillResult {
    /// Configured name of the database.
    pub database: String,
    /// The report, or the failure. `None` for globals (roles and tablespaces), which are not drilled.
    pub outcome: Result<Option<DrillReport>, DrillFailure>,
    /// URL of the stored report, or why it could not be stored; `None` without a report.
    pub report: Option<Result<String, StoreError>>,
}

impl Drills {
    /// Creates drills on the configured sandbox server.
    pub fn new(config: &Config, store: Arc<dyn Store>) -> Result<Drills, ConfigError> {
        Ok(Self::on(config, store, config.drill.require_sandbox()?.clone()))
    }

    /// Creates drills on the given server.
    pub fn on(config: &Config, store: Arc<dyn Store>, sandbox: ConnectOptions) -> Drills {
        Drills {
            store,
            prefix: config.prefix.clone(),
            sandbox: sandbox.unattended(),
            identities: config.encryption.identities.clone(),
            without: exceptions(config.drill.without),
            reading: ReadOptions::within(config.memory, config.drill.jobs),
            memory: config.memory,
        }
    }

    /// Drills the latest backup of each database. Returns `None` if it was cancelled before its end.
    pub async fn run(&self, databases: &[String], cancel: &CancellationToken) -> Option<Vec<DrillResult>> {
        let mut all = Vec::new();
        for database in databases {
            let id = BackupSelector::Latest.find(&*self.store, &self.prefix, database).await;
            let drilled = match id {
                Ok(id) => {
                    let since = Instant::now();
                    let mut drilled = match caught(self.drill(&id, cancel)).await {
                        Ok(drilled) => drilled?,
                        Err(panicked) => failed(database, panicked.into(), since),
                    };
                    if let Ok(Some(report)) = &drilled.outcome {
                        drilled.report = Some(self.write(&id, report).await);
                    }
                    drilled
                }
                Err(error) => no_backup(database, error),
            };
            all.push(drilled);
        }
        Some(all)
    }

    /// Drills one backup without writing a report. Returns `None` if it was cancelled.
    pub async fn drill(&self, id: &BackupId, cancel: &CancellationToken) -> Option<DrillResult> {
        let database = id.database.clone();
        let since = Instant::now();
        tracing::info!(target: DRILL, %database, "{database}: restoring {id} → {}", self.sandbox);
        let outcome = drill(&DrillRequest {
            store: Arc::clone(&self.store),
            prefix: self.prefix.clone(),
            id: id.clone(),
            identities: self.identities.clone(),
            sandbox: self.sandbox.clone(),
            without: self.without,
            reading: self.reading.clone(),
            memory: self.memory,
            cancel: cancel.clone(),
        })
        .await;
        let took = Seconds(since.elapsed());
        let report = match outcome {
            Ok(report) => report,
            Err(DrillError::NoDatabase) => {
                return Some(DrillResult { database, outcome: Ok(None), report: None });
            }
            Err(error) if error.is_cancellation() => {
                tracing::warn!(target: DRILL, %database, "{database}: stopped after {took}");
                return None;
            }
            Err(error) => return Some(failed(&database, error.into(), since)),
        };
        log(&report, took);
        Some(DrillResult { database, outcome: Ok(Some(report)), report: None })
    }

    /// Writes the report next to the backup. A key without permission for that does not fail the drill.
    async fn write(&self, id: &BackupId, report: &DrillReport) -> Result<String, StoreError> {
        let key = id.key(&self.prefix, Part::Drill);
        let written = self.store.put(&key, report.to_json().into(), Part::Drill.content_type()).await;
        if let Err(error) = &written {
            let line = chain(error).line;
            tracing::warn!(target: DRILL, database = %id.database, "{}: the report could not be written: {line}", id.database);
        }
        written.map(|()| self.store.url(&key))
    }
}

/// Returns the result of a drill without a backup.
fn no_backup(database: &str, error: ChooseError) -> DrillResult {
    tracing::error!(target: DRILL, database, "{database}: FAILED: {}", chain(&error).line);
    DrillResult { database: database.to_owned(), outcome: Err(error.into()), report: None }
}

/// Returns the result of a failed drill.
fn failed(database: &str, error: DrillFailure, since: Instant) -> DrillResult {
    let (line, took) = (chain(&error).line, Seconds(since.elapsed()));
    tracing::error!(target: DRILL, database, error = %line, "{database}: FAILED in {took}: {line}");
    DrillResult { database: database.to_owned(), outcome: Err(error), report: None }
}

fn exceptions(without: Without) -> Exceptions {
    Exceptions {
        no_owner: without.owner,
        no_privileges: without.privileges,
        no_tablespaces: without.tablespaces,
        no_security_labels: without.security_labels,
        no_publications: without.publications,
        no_subscriptions: without.subscriptions,
    }
}

fn log(report: &DrillReport, took: Seconds) {
    let DrillReport { database, restore_seconds, tables, rows, .. } = report;
    let verdict = report.verdict();
    if report.ok {
        tracing::info!(
            target: DRILL,
            %database,
            restore_seconds,
            seconds = took.exact(),
            tables,
            rows,
            "{database}: OK in {took}; restored in {restore_seconds:.1}s, {tables} tables with {rows} rows compared"
        );
        return;
    }
    tracing::error!(target: DRILL, %database, seconds = took.exact(), "{database}: FAILED in {took}: {verdict}");
    for finding in report.findings() {
        tracing::error!(target: DRILL, %database, "{database}: {finding}");
    }
}
