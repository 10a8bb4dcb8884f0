//! `pg-backup drill`: restores the latest backups into scratch databases on a sandbox server, compares them,
//! and drops them. Exit code 6 if anything differs, 3 if the sandbox cannot be reached, 5 if the store cannot
//! be read.

use clap::Args;
use serde::Serialize;

use super::identity::IdentityArgs;
use super::signals::stop_on_signal;
use super::stores::databases;
use super::table::{print_json, print_lines, print_table, table};
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};
use crate::report::chain;
use crate::restore::drill::DrillReport;
use crate::sidecar::drill::{DrillResult, Drills};
use crate::sidecar::shutdown;

/// Options of `drill`.
#[derive(Args, Clone, Debug)]
pub struct DrillArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Database whose backup is drilled [default: each of BACKUP_DATABASES, or of the store].
    #[arg(value_name = "DATABASE")]
    database: Option<String>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// Output for one database, also with `--json`.
#[derive(Debug, Serialize)]
struct DrillRow {
    database: String,
    ok: bool,
    /// Why the drill failed without a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// URL of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    /// Why the report could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_written: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<DrillReport>,
}

#[derive(Debug, Serialize)]
struct DrillOutput<'a> {
    ok: bool,
    drills: &'a [DrillRow],
}

/// Drills the backups.
pub async fn drill(args: &DrillArgs) -> Result<()> {
    let cancel = stop_on_signal()?;
    let mut config = Config::load(Purpose::ReadStore, args.config.path.as_deref())?;
    config.encryption.identities = args.identity.or(config.encryption.identities.take())?;
    let store = config.store.open().await?;
    let names = match (&args.database, config.databases.as_slice()) {
        (None, [_, ..]) => config.databases.iter().map(|database| database.name.clone()).collect(),
        (named, _) => databases(&config, &*store, named.as_deref()).await?,
    };
    let drills = Drills::new(&config, store)?;
    let Some(Some(drilled)) = shutdown::within_grace(&cancel, drills.run(&names, &cancel)).await else {
        return Err(Error::Restore("interrupted".into()));
    };
    let (rows, verdict) = summarize(drilled);
    if rows.is_empty() {
        return Err(Error::Difference(format!("there is no backup of a database in {}", names.join(", "))));
    }
    if args.json {
        print_json(&DrillOutput { ok: verdict.is_ok(), drills: &rows })?;
    } else {
        print_table(&shown(&rows))?;
        print_phases(&rows)?;
        let lines: Vec<String> = rows.iter().flat_map(lines).collect();
        if !lines.is_empty() {
            print_lines(&lines.join("\n"))?;
        }
    }
    verdict
}

/// Returns the output for each drill, and the overall result.
fn summarize(drilled: Vec<DrillResult>) -> (Vec<DrillRow>, Result<()>) {
    let (mut rows, mut errors, mut different) = (Vec::new(), Vec::new(), Vec::new());
    for DrillResult { database, outcome, report } in drilled {
        let (written, not_written) = match report {
            Some(Ok(address)) => (Some(address), None),
            Some(Err(error)) => (None, Some(chain(&error).line)),
            None => (None, None),
        };
        let (drill, error) = match outcome {
            Ok(None) => continue,
            Ok(report) => (report, None),
            Err(error) => {
                let line = chain(&error).line;
                errors.push(error.into());
                (None, Some(line))
            }
        };
        let ok = drill.as_ref().is_some_and(|report| report.ok);
        if drill.is_some() && !ok {
            different.push(database.clone());
        }
        rows.push(DrillRow { database, ok, error, written, not_written, drill });
    }
    // A difference takes precedence over a drill that could not run.
    let verdict = match (different.as_slice(), errors.into_iter().next()) {
        ([], None) => Ok(()),
        ([], Some(error)) => Err(error),
        ([one], _) => Err(Error::Difference(format!("the restored copy of {one} differs from the backup"))),
        (several, _) => {
            let names = several.join(", ");
            Err(Error::Difference(format!("the restored copies of {names} differ from the backups")))
        }
    };
    (rows, verdict)
}

fn shown(rows: &[DrillRow]) -> comfy_table::Table {
    let mut table =
        table(&["DATABASE", "STARTED", "TABLES>", "ROWS>", "OBJECTS>", "RESTORED IN>", "TOTAL>", "RESULT"]);
    for row in rows {
        let dash = || "-".to_owned();
        let cells = match &row.drill {
            Some(report) => [
                report.started.to_string(),
                report.tables.to_string(),
                report.rows.to_string(),
                report.objects.to_string(),
                format!("{:.1}s", report.restore_seconds),
                format!("{:.1}s", report.total_seconds),
                report.verdict(),
            ],
            None => [dash(), dash(), dash(), dash(), dash(), dash(), "failed".to_owned()],
        };
        table.add_row(std::iter::once(row.database.clone()).chain(cells));
    }
    table
}

/// Prints the duration of each phase.
fn print_phases(rows: &[DrillRow]) -> Result<()> {
    let reports = || rows.iter().filter_map(|row| row.drill.as_ref());
    let mut names: Vec<&str> = Vec::new();
    for phase in reports().flat_map(|report| &report.phases) {
        if !names.contains(&phase.name.as_str()) {
            names.push(&phase.name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let headings: Vec<String> = names.iter().map(|name| format!("{}>", name.to_uppercase())).collect();
    let headings: Vec<&str> =
        std::iter::once("DATABASE").chain(headings.iter().map(String::as_str)).collect();
    let mut phases = table(&headings);
    for report in reports() {
        let time = |name: &&str| {
            let phase = report.phases.iter().find(|phase| phase.name == *name);
            phase.map_or_else(|| "-".to_owned(), |phase| format!("{:.2}s", phase.seconds))
        };
        phases.add_row(std::iter::once(report.database.clone()).chain(names.iter().map(time)));
    }
    print_lines("")?;
    print_table(&phases)
}

/// Returns the details of a drill, one per line.
fn lines(row: &DrillRow) -> Vec<String> {
    let error = row.error.iter().cloned();
    let findings = row.drill.iter().flat_map(DrillReport::findings);
    let refused = row
        .not_written
        .iter()
        .map(|why| format!("the report could not be written next to the backup: {why}"));
    let left = row.drill.iter().flat_map(left_over);
    error.chain(findings).chain(refused).chain(left).map(|line| format!("{}: {line}", row.database)).collect()
}

/// Reports scratch databases of drills that were killed.
fn left_over(report: &DrillReport) -> Option<String> {
    let names = report.left_over.join(", ");
    (!names.is_empty())
        .then(|| format!("the sandbox still has databases from earlier drills; drop them manually: {names}"))
}
