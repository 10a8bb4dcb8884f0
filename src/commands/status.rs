//! `pg-backup status`: reports whether the newest backup of each database is recent enough, as defined in
//! [`freshness`]. Exit code 6 if one is not, 5 if the store cannot be read.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::archive::key::BackupId;
use crate::archive::manifest::Manifest;
use crate::clock;
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose, parse_duration};
use crate::error::{Error, Result};
use crate::pipeline::backups;
use crate::quantity::{human, size};
use crate::sidecar::freshness::{self, Freshness, FreshnessStatus};
use crate::sidecar::http;
use crate::storage::Store;

use super::table::{print_json, print_lines, print_table, table};

/// Options of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
    /// Age beyond which a backup is overdue, such as 26h, 90m or 1d12h [default: one and a half intervals].
    #[arg(long, value_name = "AGE", value_parser = age)]
    max_age: Option<Duration>,
    /// Query the running sidecar on BACKUP_HTTP_LISTEN instead of the store, as a container's health check.
    #[arg(long, conflicts_with_all = ["json", "max_age"])]
    probe: bool,
}

fn age(text: &str) -> std::result::Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "use a number followed by s, m, h or d, such as 26h".to_owned())
}

/// Output for one database.
#[derive(Debug, Serialize)]
struct StatusRow {
    database: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<NewestView>,
    /// Timestamps of the backups that are in the future and therefore do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    future: Vec<Timestamp>,
}

/// Output for the newest backup.
#[derive(Debug, Serialize)]
struct NewestView {
    started: Timestamp,
    age_seconds: u64,
    dump: String,
    size: u64,
    raw_size: u64,
    duration_seconds: f64,
    tables: u64,
    rows: u64,
    server_version: String,
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct StatusOutput {
    ok: bool,
    max_age_seconds: u64,
    databases: Vec<StatusRow>,
}

/// Asks the sidecar whether it is ready.
async fn probe(config: &Config) -> Result<()> {
    let Some(address) = config.http_listen else {
        return Err(Error::usage("BACKUP_HTTP_LISTEN is off: there is nothing to probe"));
    };
    match http::ask(address, "/readyz").await {
        Ok((true, text)) => print_lines(text.trim_end()),
        Ok((false, text)) => Err(Error::Difference(text.trim_end().to_owned())),
        Err(source) => {
            Err(Error::Io { context: format!("the sidecar on {address} does not answer"), source })
        }
    }
}

/// Reports the freshness of the backups.
pub async fn status(args: &StatusArgs) -> Result<()> {
    let config = Config::load(Purpose::ReadStore, args.config.path.as_deref())?;
    if args.probe {
        return probe(&config).await;
    }
    let store = config.store.open().await?;
    let names = config.backup_names();
    let allowed =
        args.max_age.unwrap_or_else(|| freshness::allowed_age(config.schedule.longest_gap(clock::now())));
    let found = backups::list(&*store, &config.prefix, None).await.map_err(store_failed)?;
    let databases = freshness::evaluate(&names, found, clock::now(), allowed);
    let mut rows = Vec::new();
    for freshness in &databases {
        rows.push(row(&*store, &config.prefix, freshness).await?);
        if let Some(future) = freshness.newest.future_notice() {
            tracing::warn!("{future}");
        }
    }
    let verdict = verdict(&databases, allowed, &store.url(&BackupId::prefix(&config.prefix)));
    if args.json {
        print_json(&StatusOutput {
            ok: verdict.is_ok(),
            max_age_seconds: allowed.as_secs(),
            databases: rows,
        })?;
    } else {
        print_table(&rendered(&rows))?;
    }
    verdict
}

fn store_failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Store(Box::new(error))
}

/// Reads the newest backup's manifest, which also proves that it is readable.
async fn row(store: &dyn Store, prefix: &str, freshness: &Freshness) -> Result<StatusRow> {
    let newest = match (&freshness.newest.backup, freshness.age) {
        (Some(backup), Some(age)) => {
            let manifest = backups::read_manifest(store, prefix, &backup.id).await.map_err(store_failed)?;
            let address = backup.dump.as_ref().map(|dump| store.url(&dump.key)).unwrap_or_default();
            Some(newest(&manifest, age, address))
        }
        _ => None,
    };
    let future = freshness.newest.future.iter().map(|id| id.started).collect();
    Ok(StatusRow { database: freshness.database.clone(), state: freshness.state.as_str(), newest, future })
}

fn newest(manifest: &Manifest, age: Duration, dump: String) -> NewestView {
    NewestView {
        started: manifest.started,
        age_seconds: age.as_secs(),
        dump,
        size: manifest.dump.size,
        raw_size: manifest.dump.raw_size,
        duration_seconds: manifest.finished.duration_since(manifest.started).as_secs_f64(),
        tables: manifest.totals().tables,
        rows: manifest.totals().rows,
        server_version: manifest.server.version.clone(),
    }
}

fn rendered(rows: &[StatusRow]) -> comfy_table::Table {
    let mut table = table(&["DATABASE", "STATE", "NEWEST", "AGE>", "SIZE>", "ROWS>", "TOOK>"]);
    for row in rows {
        let dash = || "-".to_owned();
        let cells = match &row.newest {
            Some(newest) => [
                newest.started.to_string(),
                human(Duration::from_secs(newest.age_seconds)),
                size(newest.size),
                newest.rows.to_string(),
                human(Duration::from_secs_f64(newest.duration_seconds.max(0.0))),
            ],
            None => [dash(), dash(), dash(), dash(), dash()],
        };
        table.add_row([row.database.clone(), row.state.to_owned()].into_iter().chain(cells));
    }
    table
}

fn verdict(databases: &[Freshness], allowed: Duration, place: &str) -> Result<()> {
    if databases.is_empty() {
        return Err(Error::Difference(format!("there is no backup under {place}")));
    }
    let problem = |freshness: &Freshness| match (freshness.state, freshness.age) {
        (FreshnessStatus::Fresh, _) => None,
        (FreshnessStatus::Overdue, Some(age)) => {
            Some(format!("{} is {} old", freshness.database, human(age)))
        }
        (FreshnessStatus::Overdue | FreshnessStatus::Missing, _) => {
            Some(match freshness.newest.future.len() {
                0 => format!("{} has none", freshness.database),
                future => format!("{} has only {future} dated in the future", freshness.database),
            })
        }
    };
    let problems: Vec<String> = databases.iter().filter_map(problem).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let (late, total) = (problems.len(), databases.len());
    Err(Error::Difference(format!(
        "{late} of {total} databases have no backup younger than {}: {}",
        human(allowed),
        problems.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;

    fn freshness(database: &str, state: FreshnessStatus, age: Option<u64>) -> Freshness {
        Freshness {
            database: database.to_owned(),
            newest: Default::default(),
            age: age.map(Duration::from_secs),
            state,
        }
    }

    #[test]
    fn the_error_names_late_databases_and_exits_with_6() {
        let allowed = Duration::from_secs(32_400);
        let good = freshness("a", FreshnessStatus::Fresh, Some(60));
        assert!(verdict(std::slice::from_ref(&good), allowed, "s3://b/p/").is_ok());
        let late = [
            good,
            freshness("b", FreshnessStatus::Overdue, Some(36_000)),
            freshness("c", FreshnessStatus::Missing, None),
        ];
        let error = verdict(&late, allowed, "s3://b/p/").unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of 3 databases have no backup younger than 9h: b is 10h old, c has none"
        );
        assert_eq!(error.exit_code(), ExitCode::Difference);
        let error = verdict(&[], allowed, "s3://b/p/").unwrap_err();
        assert_eq!(error.to_string(), "there is no backup under s3://b/p/");
    }

    #[test]
    fn the_table_shows_the_newest_backup() {
        let manifest = crate::archive::manifest::tests::sample();
        let newest = newest(&manifest, Duration::from_secs(21_900), String::new());
        let rows = [
            StatusRow { database: "metadata".into(), state: "ok", newest: Some(newest), future: Vec::new() },
            StatusRow { database: "demo".into(), state: "missing", newest: None, future: Vec::new() },
        ];
        let text = rendered(&rows).trim_fmt();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("metadata  ok       2026-04-26T16:29:58Z  6h 5m"), "{text}");
        assert!(lines[2].starts_with("demo      missing  -"), "{text}");
    }
}
