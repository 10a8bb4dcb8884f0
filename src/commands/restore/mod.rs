//! `pg-backup restore`: restores a backup, or any plain dump, into a database.
//!
//! Exit code 1 if the target reports an error, 3 if it cannot be reached, 5 if the store fails, 6 if the
//! backup is damaged.

mod display;
mod preview;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::connection::{PasswordPrompt, connecting, resolve, with_password};
use super::identity::IdentityArgs;
use super::output::tell;
use super::selection::SelectionArgs;
use super::signals::cancel_on_signal;
use super::table::{print_json, print_lines};
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};
use crate::protocol::{ConnInfo, ConnectOptions, Session};
use crate::restore::choose::BackupSelector;
use crate::restore::source::PlainDump;
use crate::restore::{DumpSource, RestoreOptions, RestoreProgress, Transaction, restore as restore_dump};
use display::{Display, done};

const TARGET: &str = "Target";

/// Options of `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// What to restore: `latest`, a time (2026-04-26T06:00Z: the newest backup that started at or before it), a URL
    /// or key from `pg-backup list`, the path of a file, or `-` for standard input.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Database to restore into, as a connection string or URI, which PG* variables and ~/.pgpass complete.
    #[arg(long, value_name = "URL", required_unless_present_any = ["list", "dry_run"], help_heading = TARGET)]
    to: Option<String>,
    /// Database whose backup is restored [default: the only configured one].
    #[arg(short, long, value_name = "NAME")]
    database: Option<String>,
    /// Number of connections [default: 2, or 1 for a plain dump or a single transaction].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Restore everything or nothing, in one transaction.
    #[arg(short = '1', long, conflicts_with = "keep_going", help_heading = TARGET)]
    single_transaction: bool,
    /// Stop at the first error (the default).
    #[arg(short = 'e', long, hide = true, conflicts_with = "keep_going")]
    exit_on_error: bool,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Run SET ROLE before restoring.
    #[arg(long, value_name = "ROLE", help_heading = TARGET)]
    role: Option<String>,
    /// Continue after errors; they are counted and change the exit code.
    #[arg(long)]
    keep_going: bool,
    /// Restore a plain dump that is truncated at its end.
    #[arg(long)]
    allow_incomplete: bool,
    /// Restore into a database that already contains objects.
    #[arg(long, help_heading = TARGET)]
    into_existing: bool,
    /// Create the database of --to, with the properties of the dumped one.
    #[arg(short = 'C', long, help_heading = TARGET)]
    create: bool,
    /// Drop each restored object first.
    #[arg(short, long, help_heading = TARGET)]
    clean: bool,
    /// Use IF EXISTS when dropping objects (requires --clean).
    #[arg(long, help_heading = TARGET)]
    if_exists: bool,
    /// Drop the restored schemas with everything in them, and create them again.
    #[arg(long, conflicts_with_all = ["clean", "data_only"], help_heading = TARGET)]
    recreate_schema: bool,
    /// Print what would be done, in order, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Never ask for a password.
    #[arg(short = 'w', long, conflicts_with = "password", help_heading = TARGET)]
    no_password: bool,
    /// Ask for a password before connecting.
    #[arg(short = 'W', long, help_heading = TARGET)]
    password: bool,
    /// Print the result as JSON for programs.
    #[arg(long)]
    json: bool,
    // Last, because its help heading would also apply to the options after it.
    #[command(flatten)]
    selection: SelectionArgs,
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct RestoreOutput {
    ok: bool,
    statements: u64,
    tables: u64,
    rows: u64,
    failures: u64,
    seconds: f64,
    phases: Vec<RestorePhase>,
}

/// Duration of a phase of a restore.
#[derive(Debug, Serialize)]
struct RestorePhase {
    name: &'static str,
    seconds: f64,
}

/// Restores a dump.
pub async fn restore(args: RestoreArgs) -> Result<()> {
    let options = options(&args)?;
    let cancel = cancel_on_signal()?;
    let source = source(&args).await?;
    if args.selection.list {
        return preview::list(&source, &options.selection);
    }
    if args.dry_run {
        return preview::plan(&source, &options, args.json);
    }
    let target = target(&args).await?;
    let began = Instant::now();
    let progress = RestoreProgress::default();
    let display = Display::start(&progress);
    // A spawned task runs on the same thread as the task of its connection. For each statement of a plain
    // dump, one task wakes the other twice, which between threads takes as long as the server takes for the
    // statement.
    let restoring = {
        let progress = progress.clone();
        tokio::spawn(async move { restore_dump(source, &target, &options, &progress, &cancel).await })
    };
    let result = restoring.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    display.stop().await;
    let snapshot = progress.snapshot();
    if args.json {
        print_json(&RestoreOutput {
            ok: result.is_ok(),
            statements: snapshot.statements,
            tables: snapshot.tables,
            rows: snapshot.rows,
            failures: snapshot.failures,
            seconds: began.elapsed().as_secs_f64(),
            phases: phases(&progress),
        })?;
    } else if result.is_ok() {
        print_lines(&format!("restored {} in {:.1}s", done(&snapshot), began.elapsed().as_secs_f64()))?;
    } else {
        let kept = if args.single_transaction { undone(snapshot.transaction, args.create) } else { "" };
        tell(&format!("before the failure: {}{kept}", done(&snapshot)));
    }
    Ok(result?)
}

/// Describes the state of the single transaction after a failed restore.
fn undone(transaction: Transaction, created: bool) -> &'static str {
    match transaction {
        Transaction::Open if created => {
            "; everything was rolled back, except the database itself if it was created"
        }
        Transaction::Open => "; everything was rolled back",
        Transaction::EndedByScript => {
            "; the script itself ended the transaction of --single-transaction, and committed changes remain"
        }
        Transaction::Ending => "; it is unknown whether it was committed, because the server did not answer",
        Transaction::Committed => "; everything was committed",
    }
}

/// Converts the arguments to the options of a restore.
fn options(args: &RestoreArgs) -> Result<RestoreOptions> {
    if args.if_exists && !args.clean {
        return Err(Error::usage("option --if-exists requires option -c/--clean"));
    }
    Ok(RestoreOptions {
        jobs: jobs(args)?,
        selection: args.selection.selection(false, args.clean)?,
        role: args.role.clone(),
        single_transaction: args.single_transaction,
        keep_going: args.keep_going,
        allow_incomplete: args.allow_incomplete,
        into_existing: args.into_existing,
        create: args.create,
        clean: args.clean,
        if_exists: args.if_exists,
        recreate_schema: args.recreate_schema,
    })
}

/// Number of connections without `--jobs`.
const JOBS: u16 = 2;

fn jobs(args: &RestoreArgs) -> Result<usize> {
    match args.jobs {
        Some(2..) if args.single_transaction => {
            Err(Error::usage("cannot specify both --single-transaction and multiple jobs"))
        }
        _ if args.single_transaction => Ok(1),
        jobs => Ok(jobs.unwrap_or(JOBS).into()),
    }
}

fn phases(progress: &RestoreProgress) -> Vec<RestorePhase> {
    let phases = progress.phases().into_iter();
    phases.map(|(name, time)| RestorePhase { name, seconds: time.as_secs_f64() }).collect()
}

/// Returns the target database. Connects once to check that it can be reached and whether a password is
/// needed.
async fn target(args: &RestoreArgs) -> Result<ConnectOptions> {
    with_password(PasswordPrompt::new(args.no_password, args.password), async |password| {
        let mut info = ConnInfo::new();
        info.set_database(args.to.as_deref().unwrap_or_default()).map_err(connecting)?;
        info.set("password", password.unwrap_or_default()).map_err(connecting)?;
        let options = resolve(&info)?;
        // A database that `--create` creates does not exist yet.
        if !args.create {
            Session::open(&options).await.map_err(connecting)?.close().await;
        }
        Ok(options)
    })
    .await
}

/// Finds the backup or dump to restore.
async fn source(args: &RestoreArgs) -> Result<DumpSource> {
    let of_environment = || args.identity.or_of_environment(args.config.path.as_deref());
    if args.source == "-" {
        return Ok(DumpSource::Plain(PlainDump::stdin().with_identities(of_environment()?.as_ref())));
    }
    if let Some(path) = path(&args.source) {
        return Ok(DumpSource::file(&path, of_environment()?.as_ref()).await?);
    }
    let Ok(choice) = args.source.parse::<BackupSelector>();
    let config = Config::load(Purpose::ReadStore, args.config.path.as_deref());
    let config = config.map_err(|error| match &choice {
        // Without a store, the argument is more likely a file than a key.
        BackupSelector::Key(name) => Error::Usage {
            message: format!(
                "file {name} does not exist, and no store is configured in which it could be a key: {error}"
            ),
            hint: Some(error.hint),
        },
        BackupSelector::Latest | BackupSelector::At(_) => error.into(),
    })?;
    let identities = args.identity.or(config.encryption.identities.clone())?;
    let identities = identities.as_ref();
    let store = config.store.open().await?;
    let id = match choice.named(&*store, &config.prefix) {
        Ok(Some(id)) => id,
        Ok(None) => {
            let database = database(args, &config)?;
            choice.find(&*store, &config.prefix, &database).await?
        }
        // Any object in the bucket may be a plain dump.
        Err(error) => match choice.key(&*store) {
            Some(key) if !store.list(&key).await?.is_empty() => {
                let plain = PlainDump::object(store, key).await?;
                return Ok(DumpSource::Plain(plain.with_identities(identities)));
            }
            _ => return Err(error.into()),
        },
    };
    Ok(DumpSource::backup(&store, &config.prefix, &id, identities).await?)
}

/// Returns the argument as a path if it looks like one or if such a file exists.
fn path(argument: &str) -> Option<PathBuf> {
    let looks = ["/", "./", "../"].iter().any(|start| argument.starts_with(start));
    let path = Path::new(argument);
    (looks || path.exists()).then(|| path.to_owned())
}

/// Returns the database whose backup is restored.
fn database(args: &RestoreArgs, config: &Config) -> Result<String> {
    if let Some(name) = &args.database {
        return Ok(name.clone());
    }
    match config.backup_names().as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::usage("specify the database with --database NAME, as `pg-backup list` shows it")),
        several => Err(Error::usage(format!(
            "specify the database with --database NAME, which is one of {}",
            several.join(", ")
        ))),
    }
}
