//! The command line: commands and their options, and the exit code of a command's result.
//!
//! `dump` and `dumpall` accept the options of pg_dump and pg_dumpall and report usage errors with their
//! messages; see [`crate::commands::dump`] and [`crate::commands::dumpall`]. Examples and exit codes are in
//! [`appendix`], the layout of help is in [`help`].

pub(crate) mod help;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing::Level;

use crate::commands::config_file::ConfigFile;
use crate::commands::{self, appendix};
use crate::error::{Error, Result};
use crate::exit_code::ExitCode;
use crate::log::{self, LogDestination};
use crate::sql::query::to_bytes;

/// Back up PostgreSQL databases to S3, natively.
///
/// A round dumps each database byte for byte as pg_dump does, and streams it, compressed, into the bucket. It needs no
/// other program and no local file. Other commands list, verify and restore backups. Without a command, pg-backup runs
/// `serve`. See `pg-backup COMMAND --help` for each command.
#[derive(Debug, Parser)]
#[command(name = "pg-backup", version, max_term_width = 100, after_long_help = appendix::PG_BACKUP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    config: ConfigFile,
}

// In the order and the groups of `help`.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a round of backups now and at every interval (the default).
    ///
    /// The command of the sidecar. It runs until SIGTERM, SIGINT or SIGHUP, and then stops within ten seconds. A failed
    /// round is reported; the next one still runs on schedule. Health, metrics and the status page are served on
    /// BACKUP_HTTP_LISTEN. Drills on BACKUP_DRILL_SCHEDULE run between rounds.
    #[command(after_long_help = appendix::SERVE)]
    Serve(ConfigFile),
    /// Run one round of backups and exit.
    ///
    /// For cron, a systemd timer or a Kubernetes CronJob. If one database fails, the others are still backed up. The
    /// log is written to standard output.
    #[command(after_long_help = appendix::RUN)]
    Run(ConfigFile),
    /// Check that the next round and drill would succeed.
    ///
    /// Checks the schedule, the store, each database and its privileges, the alert channels and the sandbox of drills,
    /// and reports a solution for each problem. It needs the settings of the sidecar. It writes no backup, only a small
    /// object that tests the store.
    #[command(after_long_help = appendix::CHECK)]
    Check(commands::check::CheckArgs),
    /// Print the effective configuration, or list every variable.
    ///
    /// Each variable with the value that applies and where it comes from: the environment, a file of NAME_FILE, the TOML
    /// file, or the default. Secrets are masked. Connects to nothing; `check` does. Invalid settings are refused as by
    /// the other commands.
    #[command(after_long_help = appendix::CONFIG)]
    Config(commands::config::ConfigArgs),
    /// Write one database as plain SQL, as pg_dump does.
    ///
    /// Use it as you use pg_dump: the options for plain output mean the same, and the text is the same byte for byte.
    /// Without a database name it uses PGDATABASE; the other PG* variables, ~/.pgpass and connection URIs work as in
    /// psql. Settings of pg-backup are read only for s3://: those of the store, and BACKUP_MEMORY_LIMIT.
    #[command(after_long_help = appendix::DUMP)]
    Dump(Box<commands::dump::DumpArgs>),
    /// Write a whole server as plain SQL, as pg_dumpall does.
    ///
    /// All databases, roles and tablespaces. Use it before you replace a server, or with -g for roles and tablespaces
    /// only, which no dump of a database contains. The options are pg_dumpall's, and the text is the same byte for byte.
    /// Without -l, roles and tablespaces are read in the database postgres, or else in template1. Connections and s3://
    /// work as for dump.
    #[command(after_long_help = appendix::DUMPALL)]
    Dumpall(Box<commands::dumpall::DumpallArgs>),
    /// List the backups in the store.
    ///
    /// Oldest first, with sizes and URLs. The S3 key must be permitted to list objects; the sidecar's key is not.
    #[command(after_long_help = appendix::LIST)]
    List(commands::list::ListArgs),
    /// Report whether each database has a recent backup.
    ///
    /// For external monitoring: it asks the store, or with --probe the sidecar. It reports on the databases of
    /// BACKUP_DATABASES, or on all databases that have backups in the store.
    #[command(after_long_help = appendix::STATUS)]
    Status(commands::status::StatusArgs),
    /// Verify that backups are complete and undamaged.
    ///
    /// Needs no database. Reads the whole dump and compares sizes, checksums, members and each table's rows with the
    /// values that were recorded when the backup was created. Reports each problem with the table that it affects.
    #[command(after_long_help = appendix::VERIFY)]
    Verify(commands::verify::VerifyArgs),
    /// Show, apply or check the bucket's rule that removes old backups.
    ///
    /// pg-backup deletes nothing. The bucket removes backups after BACKUP_RETENTION_DAYS by this rule. If the other keys
    /// are not permitted to change the rules of the bucket, set BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID and its secret.
    #[command(after_long_help = appendix::LIFECYCLE)]
    Lifecycle(commands::lifecycle::LifecycleArgs),
    /// Restore a backup, or any plain dump, into a database.
    ///
    /// A backup of pg-backup is restored over several connections, completely or in part, with pg_restore's selection
    /// options. Its rows are compared with the saved ones before they are committed. A plain dump is run from beginning
    /// to end. A database that already contains objects is refused, unless an option says how to treat existing
    /// objects.
    #[command(after_long_help = appendix::RESTORE)]
    Restore(Box<commands::restore::RestoreArgs>),
    /// Restore the latest backups on a sandbox and compare the copies.
    ///
    /// Proves that backups can be restored, and measures how long that takes. Every table's rows and every object of the
    /// copy are compared with the backup. Then the copy is dropped; a drill drops only the database that it created. It
    /// needs BACKUP_DRILL_URL, a server that is permitted to hold your data.
    #[command(after_long_help = appendix::DRILL)]
    Drill(commands::drill::DrillArgs),
    /// Print the version and what it supports.
    ///
    /// What to include in a bug report: the version, the target and commit of the build, the majors of PostgreSQL that it
    /// dumps, and the backup formats that it writes and reads.
    #[command(after_long_help = appendix::VERSION)]
    Version(commands::version::VersionArgs),
    /// Print a script that completes commands and options in a shell.
    ///
    /// Install the script where your shell looks for completions, and again after each update of pg-backup.
    #[command(after_long_help = appendix::COMPLETIONS)]
    Completions(commands::completions::CompletionsArgs),
    /// Print a manual page, or write all pages into a directory.
    ///
    /// The pages contain the text of --help, as roff for man(1).
    #[command(after_long_help = appendix::MAN)]
    Man(commands::man::ManArgs),
}

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&arguments, error),
    };
    let is_dump = matches!(cli.verb, Some(Verb::Dump(_) | Verb::Dumpall(_)));
    let is_sidecar = matches!(cli.verb, None | Some(Verb::Serve(_) | Verb::Run(_)));
    match run(cli) {
        Ok(()) => ExitCode::Ok.into(),
        Err(error) => {
            if is_sidecar {
                // A log driver that blocks standard output also blocks standard error.
                log::write_unless_blocked(std::io::stderr(), &to_bytes(&error.report()));
            } else {
                tell(&error);
            }
            // pg_dump and pg_dumpall use no other exit code than 1.
            if is_dump { ExitCode::Other.into() } else { error.exit_code().into() }
        }
    }
}

/// Handles a command line that could not be parsed, and requests for help.
fn refuse(arguments: &[OsString], error: clap::Error) -> std::process::ExitCode {
    let verb = arguments.iter().skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    let verb = verb.and_then(|verb| verb.to_str()).filter(|verb| matches!(*verb, "dump" | "dumpall"));
    if let Some(verb) = verb.filter(|_| error.use_stderr()) {
        tell(&commands::misuse::misuse(verb, &error, arguments));
        return ExitCode::Other.into();
    }
    if !error.use_stderr() {
        // Help and version. A write error is ignored, because it cannot be reported.
        let _ = help::answer(arguments).unwrap_or(error).print();
        return ExitCode::Ok.into();
    }
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let hint = format!("Try \"{} --help\" for more information.", help::whose(arguments));
    tell(&Error::Usage { message: message.to_owned(), hint: Some(hint) });
    ExitCode::Usage.into()
}

/// Writes an error to standard error. A name that is not UTF-8 keeps its bytes.
fn tell(error: &Error) {
    // A write error is ignored, because it cannot be reported.
    let _ = std::io::stderr().write_all(&to_bytes(&error.report()));
}

fn run(cli: Cli) -> Result<()> {
    let Cli { verb, config } = cli;
    require_descriptors()?;
    // Dropped last, so that every message is written.
    let mut log = None;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { context: "cannot start the runtime".to_owned(), source })?;
    let result = runtime.block_on(async {
        match verb.unwrap_or_else(|| Verb::Serve(ConfigFile::default())) {
            Verb::Serve(own) => {
                let config = own.or(config);
                let log =
                    log.insert(log::start(LogDestination::Stdout, Level::INFO, config.path.as_deref())?);
                commands::serve::serve(&config, log).await
            }
            Verb::Run(own) => {
                let config = own.or(config);
                let tail = log
                    .insert(log::start(LogDestination::Stdout, Level::INFO, config.path.as_deref())?)
                    .tail();
                commands::run::run(&config, tail).await
            }
            Verb::Dump(args) => {
                let level = if args.is_verbose() { Level::INFO } else { Level::WARN };
                log::start(LogDestination::Stderr, level, None)?;
                commands::dump::dump(*args).await
            }
            Verb::Dumpall(args) => {
                let level = if args.is_verbose() { Level::INFO } else { Level::WARN };
                log::start(LogDestination::Stderr, level, None)?;
                commands::dumpall::dumpall(*args).await
            }
            Verb::List(mut args) => {
                args.config.settle(config)?;
                commands::list::list(&args).await
            }
            Verb::Status(mut args) => {
                args.config.settle(config)?;
                commands::status::status(&args).await
            }
            Verb::Verify(mut args) => {
                args.config.settle(config)?;
                commands::verify::verify(&args).await
            }
            Verb::Restore(mut args) => {
                args.config.settle(config)?;
                commands::restore::restore(*args).await
            }
            Verb::Drill(mut args) => {
                args.config.settle(config)?;
                commands::drill::drill(&args).await
            }
            Verb::Check(mut args) => {
                args.config.settle(config)?;
                commands::check::check(&args).await
            }
            // It logs nothing, and `--list` must not depend on the settings of the log.
            Verb::Config(mut args) => {
                args.config = args.config.or(config);
                commands::config::config(&args)
            }
            Verb::Lifecycle(mut args) => {
                args.config.settle(config)?;
                commands::lifecycle::lifecycle(&args).await
            }
            Verb::Version(args) => commands::version::version(&args),
            Verb::Completions(args) => commands::completions::completions(&args, Cli::command()),
            Verb::Man(args) => commands::man::man(&args, Cli::command()),
        }
    });
    // A blocked read of standard input or a name lookup must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Number of file descriptors that must be available at the start: the runtime panics without its own, and a
/// command needs a few.
const DESCRIPTORS: usize = 16;

/// Refuses to start if the limit of open files is too low.
fn require_descriptors() -> Result<()> {
    let pairs = (0..DESCRIPTORS / 2).map(|_| UnixDatagram::pair()).collect::<std::io::Result<Vec<_>>>();
    let too_few = |source| {
        Error::Io {
        context: "cannot start: the limit of open files is too low\nHINT: raise it to 1024 or more: ulimit -n, --ulimit nofile in Docker, LimitNOFILE in systemd".to_owned(),
        source,
    }
    };
    pairs.map(drop).map_err(too_few)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_verb_is_serve_and_takes_a_file() {
        let cli = Cli::try_parse_from(["pg-backup", "--config", "a.toml"]).unwrap();
        assert!(cli.verb.is_none());
        assert_eq!(cli.config.path, Some(PathBuf::from("a.toml")));
    }

    #[test]
    fn the_verbs_own_file_wins() {
        let cli = Cli::try_parse_from(["pg-backup", "--config", "a", "run", "--config", "b"]).unwrap();
        let Some(Verb::Run(own)) = cli.verb else { panic!("not run") };
        assert_eq!(own.or(cli.config).path, Some(PathBuf::from("b")));
    }
}
