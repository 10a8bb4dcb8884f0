//! `pg-backup verify`: verifies that backups are complete, without a database, by reading every byte of the
//! dump. `--deep` also restores them and compares the copies. Exit code 6 if something is wrong, 5 if the
//! store cannot be read.

use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::connection::{connecting, resolve};
use super::identity::IdentityArgs;
use super::signals::stop_on_signal;
use super::stores::databases;
use super::table::{print_json, print_lines, print_table, table};
use crate::archive::key::BackupId;
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};
use crate::protocol::{ConnInfo, ConnectOptions};
use crate::quantity::size;
use crate::report::chain;
use crate::restore::backup::Problems;
use crate::restore::choose::{BackupSelector, ChooseError};
use crate::restore::drill::DrillReport;
use crate::restore::verify::{Verified, verify as verify_backup};
use crate::sidecar::drill::Drills;
use crate::sidecar::shutdown;
use crate::storage::Store;

/// Options of `verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Database whose backup is verified [default: each of BACKUP_DATABASES, or of the store].
    #[arg(short, long, value_name = "NAME")]
    database: Option<String>,
    /// Also restore the backup into a scratch database, compare the copy, and drop it.
    #[arg(long)]
    deep: bool,
    /// Server for scratch databases, as a connection string or URI [default: BACKUP_DRILL_URL].
    #[arg(long, value_name = "URL", requires = "deep")]
    to: Option<String>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
    /// What to verify: `latest`, a time (2026-04-26T06:00Z: the newest backup that started at or before it), or a
    /// URL or key from `pg-backup list`.
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
}

/// Output for one backup.
#[derive(Debug, Serialize)]
struct VerifyRow {
    database: String,
    #[serde(skip)]
    id: Option<BackupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    ok: bool,
    /// Whether the content was checked; that of an encrypted backup cannot be checked without an identity.
    opened: bool,
    size: u64,
    raw_size: u64,
    tables: u64,
    rows: u64,
    seconds: f64,
    /// The first problems.
    problems: Vec<String>,
    problem_count: u64,
    /// Result of the restore, with `--deep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<DrillReport>,
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct VerifyOutput {
    ok: bool,
    backups: Vec<VerifyRow>,
}

/// Verifies the backups.
pub async fn verify(args: &VerifyArgs) -> Result<()> {
    let mut config = Config::load(Purpose::ReadStore, args.config.path.as_deref())?;
    config.encryption.identities = args.identity.or(config.encryption.identities.take())?;
    let store = config.store.open().await?;
    let Ok(choice) = args.backup.parse::<BackupSelector>();
    let mut rows = Vec::new();
    if let Some(id) = choice.named(&*store, &config.prefix)? {
        rows.push(row(&store, &config, &id).await?);
    } else {
        for database in databases(&config, &*store, args.database.as_deref()).await? {
            rows.push(match choice.find(&*store, &config.prefix, &database).await {
                Ok(id) => row(&store, &config, &id).await?,
                Err(error @ ChooseError::None { .. }) => without_backup(database, &error),
                Err(error) => return Err(error.into()),
            });
        }
    }
    if args.deep {
        deepen(args, &config, store, &mut rows).await?;
    }
    let verdict = verdict(&rows);
    if args.json {
        print_json(&VerifyOutput { ok: verdict.is_ok(), backups: rows })?;
    } else {
        print_table(&shown(&rows))?;
        let problems = rows.iter().flat_map(lines).collect::<Vec<_>>();
        if !problems.is_empty() {
            print_lines(&problems.join("\n"))?;
        }
    }
    verdict
}

/// Restores the backups that passed the verification, and adds the differences that it finds.
async fn deepen(
    args: &VerifyArgs,
    config: &Config,
    store: std::sync::Arc<dyn Store>,
    rows: &mut [VerifyRow],
) -> Result<()> {
    let cancel = stop_on_signal()?;
    let drills = match &args.to {
        Some(url) => Drills::on(config, store, sandbox(url)?),
        None => Drills::new(config, store)?,
    };
    for row in rows.iter_mut().filter(|row| row.ok) {
        let Some(id) = row.id.clone() else { continue };
        let drilled = shutdown::within_grace(&cancel, drills.drill(&id, &cancel)).await.flatten();
        let Some(drilled) = drilled else { return Err(Error::Restore("interrupted".into())) };
        let Some(report) = drilled.outcome? else { continue };
        row.problems = report.findings();
        row.problem_count = row.problems.len() as u64;
        row.ok = report.ok;
        row.seconds += report.total_seconds;
        row.drill = Some(report);
    }
    Ok(())
}

/// Parses the server from the command line.
fn sandbox(url: &str) -> Result<ConnectOptions> {
    let mut info = ConnInfo::new();
    info.set_database(url).map_err(connecting)?;
    resolve(&info)
}

async fn row(store: &std::sync::Arc<dyn Store>, config: &Config, id: &BackupId) -> Result<VerifyRow> {
    let begun = Instant::now();
    let verified = verify_backup(store, &config.prefix, id, config.encryption.identities.as_ref()).await?;
    let Verified { size, raw_size, tables, rows, is_locked, problems } = verified;
    Ok(VerifyRow {
        database: id.database.clone(),
        id: Some(id.clone()),
        started: Some(id.started),
        ok: problems.is_empty(),
        opened: !is_locked,
        size,
        raw_size,
        tables,
        rows,
        seconds: begun.elapsed().as_secs_f64(),
        problem_count: problems.number(),
        problems: listed(&problems),
        drill: None,
    })
}

fn listed(problems: &Problems) -> Vec<String> {
    problems.first().iter().map(|problem| chain(problem).line).collect()
}

fn without_backup(database: String, error: &ChooseError) -> VerifyRow {
    VerifyRow {
        database,
        id: None,
        started: None,
        ok: false,
        opened: false,
        size: 0,
        raw_size: 0,
        tables: 0,
        rows: 0,
        seconds: 0.0,
        problems: vec![error.to_string()],
        problem_count: 1,
        drill: None,
    }
}

fn shown(rows: &[VerifyRow]) -> comfy_table::Table {
    let mut table = table(&["DATABASE", "STARTED", "SIZE>", "TABLES>", "ROWS>", "TIME>", "RESULT"]);
    for row in rows {
        let result = match row.problem_count {
            0 if row.drill.is_some() => "intact, copy equal".to_owned(),
            0 if !row.opened => "intact as stored, not opened".to_owned(),
            0 => "intact".to_owned(),
            1 => "1 problem".to_owned(),
            number => format!("{number} problems"),
        };
        table.add_row([
            row.database.clone(),
            row.started.map_or_else(|| "-".to_owned(), |started| started.to_string()),
            size(row.size),
            row.tables.to_string(),
            row.rows.to_string(),
            format!("{:.1}s", row.seconds),
            result,
        ]);
    }
    table
}

/// The note about an encrypted backup without an identity.
const NOT_OPENED: &str = "it is encrypted and no identity was given: the sizes and checksums of its objects are correct, but its contents were not opened (use --identity FILE)";

/// Returns the problems, one per line.
fn lines(row: &VerifyRow) -> Vec<String> {
    let mut lines: Vec<String> =
        row.problems.iter().map(|problem| format!("{}: {problem}", row.database)).collect();
    let more = row.problem_count - row.problems.len() as u64;
    if more > 0 {
        lines.push(format!("{}: and {more} more", row.database));
    }
    if row.problem_count == 0 && !row.opened {
        lines.push(format!("{}: {NOT_OPENED}", row.database));
    }
    lines
}

fn verdict(rows: &[VerifyRow]) -> Result<()> {
    let damaged: Vec<&str> = rows.iter().filter(|row| !row.ok).map(|row| row.database.as_str()).collect();
    match damaged.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::Difference(format!("the backup of {one} is incomplete or damaged"))),
        several => {
            Err(Error::Difference(format!("the backups of {} are incomplete or damaged", several.join(", "))))
        }
    }
}
