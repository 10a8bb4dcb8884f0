//! The command line: verbs and their options, and from a verb's result to the exit code.
//!
//! `dump` and `dumpall` take pg_dump's and pg_dumpall's options and answer misuse in their words; the
//! arguments and that answer live in [`crate::commands::dump`] and [`crate::commands::dumpall`].
//! Examples and exit codes are in [`appendix`], the layout of help in [`help`].

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
/// A round dumps each database byte for byte as pg_dump does and streams it, compressed, into the bucket; no other
/// program and no local file is needed. The other verbs say what is there, prove it and bring it back. Without a
/// verb it is `serve`. `pg-backup VERB --help` says more about each.
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
    /// Make a round of backups now and at every interval (the default).
    ///
    /// The sidecar's own verb: it goes on until SIGTERM, SIGINT or SIGHUP, which end it within ten seconds. A round
    /// that fails is told, and the next one comes all the same. Health, metrics and the status page are on
    /// BACKUP_HTTP_LISTEN; drills on BACKUP_DRILL_SCHEDULE run between rounds.
    #[command(after_long_help = appendix::SERVE)]
    Serve(ConfigFile),
    /// Make one round of backups and exit.
    ///
    /// For whatever starts programs at their time: cron, a systemd timer, a Kubernetes CronJob. A database that
    /// fails does not keep the others from being saved. The log goes to standard output.
    #[command(after_long_help = appendix::RUN)]
    Run(ConfigFile),
    /// Say what would make the next round or drill fail, before it does.
    ///
    /// Looks at the schedule, the store, each database and the privileges there, the alerts and the sandbox of
    /// drills, and names the way out of what would fail. It needs the settings of the sidecar, and writes no backup,
    /// only a small object to see that the store takes it.
    #[command(after_long_help = appendix::CHECK)]
    Check(commands::check::CheckArgs),
    /// Write one database as plain SQL, as pg_dump does.
    ///
    /// For a dump by hand, or in a script that calls pg_dump: its options for plain output mean the same, and the
    /// text is the same byte for byte. If no database is named, PGDATABASE names it; the other PG* variables,
    /// ~/.pgpass and connection URIs work as in psql. Settings of pg-backup are read for s3:// alone: those of the
    /// store, and BACKUP_MEMORY_LIMIT.
    #[command(after_long_help = appendix::DUMP)]
    Dump(Box<commands::dump::DumpArgs>),
    /// Write a whole server, roles too, as plain SQL, as pg_dumpall does.
    ///
    /// Before a server is replaced, or for its roles and tablespaces alone (-g), which no dump of a database holds.
    /// The options are pg_dumpall's, and the text is the same byte for byte. Without -l roles and tablespaces
    /// are read in the database postgres, or else in template1. Connections and s3:// are as for dump.
    #[command(after_long_help = appendix::DUMPALL)]
    Dumpall(Box<commands::dumpall::DumpallArgs>),
    /// List the backups in the store.
    ///
    /// Oldest first, with their sizes and addresses. The key must be one that may list, so not the sidecar's.
    #[command(after_long_help = appendix::LIST)]
    List(commands::list::ListArgs),
    /// Say whether the newest backup of each database is recent enough.
    ///
    /// For monitoring from outside: it asks the store, not the sidecar, unless --probe is given. Databases are those
    /// of BACKUP_DATABASES, or all that the store has backups of.
    #[command(after_long_help = appendix::STATUS)]
    Status(commands::status::StatusArgs),
    /// Prove that backups are whole, without a database.
    ///
    /// Reads the dump to its last byte and compares sizes, checksums, members, and each table's rows with what was
    /// written down when the backup was made. What is wrong is named, with the table whose rows it holds.
    #[command(after_long_help = appendix::VERIFY)]
    Verify(commands::verify::VerifyArgs),
    /// Show, apply or check the bucket's rule that removes old backups.
    ///
    /// pg-backup deletes nothing: the bucket does, after BACKUP_RETENTION_DAYS, by this rule. It takes keys that may
    /// change the bucket's rules, BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID and its secret, where the others may not.
    #[command(after_long_help = appendix::LIFECYCLE)]
    Lifecycle(commands::lifecycle::LifecycleArgs),
    /// Restore a backup, or any plain dump, into a database.
    ///
    /// A backup of pg-backup is restored over several connections, whole or in parts that are chosen as with
    /// pg_restore, and its rows are compared with those that were saved before the server commits them. A plain dump
    /// is run from its beginning to its end. A database that holds something already is refused, unless an option
    /// says what is to become of that.
    #[command(after_long_help = appendix::RESTORE)]
    Restore(Box<commands::restore::RestoreArgs>),
    /// Restore the latest backups on a sandbox and compare the copies.
    ///
    /// The proof that backups can be restored, and how long that takes. Every table's rows and every object of the
    /// copy are compared with the backup; then it is dropped, and no database but the one that the drill has created.
    /// It needs BACKUP_DRILL_URL, a server that may hold your data.
    #[command(after_long_help = appendix::DRILL)]
    Drill(commands::drill::DrillArgs),
    /// Print the version and what it supports.
    ///
    /// What belongs in a report of an error: the version, what the program was built for and from, the majors of
    /// PostgreSQL that it dumps, and the formats of backups that it writes and reads.
    #[command(after_long_help = appendix::VERSION)]
    Version(commands::version::VersionArgs),
    /// Print a script that completes verbs and options in a shell.
    ///
    /// The script goes where the shell looks for such; it is that of this version, so write it anew after an update.
    #[command(after_long_help = appendix::COMPLETIONS)]
    Completions(commands::completions::CompletionsArgs),
    /// Print a manual page, or write all pages into a directory.
    ///
    /// The pages say what --help says, as roff for man(1).
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
                // A log driver that takes nothing of the one output takes nothing of the other.
                log::write_unless_blocked(std::io::stderr(), &to_bytes(&error.report()));
            } else {
                tell(&error);
            }
            // pg_dump and pg_dumpall know no other code than 1.
            if is_dump { ExitCode::Other.into() } else { error.exit_code().into() }
        }
    }
}

/// Answers a command line that could not be parsed, and a request for help.
fn refuse(arguments: &[OsString], error: clap::Error) -> std::process::ExitCode {
    let verb = arguments.iter().skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    let verb = verb.and_then(|verb| verb.to_str()).filter(|verb| matches!(*verb, "dump" | "dumpall"));
    if let Some(verb) = verb.filter(|_| error.use_stderr()) {
        tell(&commands::dump::misuse(verb, &Cli::command(), &error, arguments));
        return ExitCode::Other.into();
    }
    if !error.use_stderr() {
        // Help and version; nothing is left to be told if nobody listens.
        let _ = help::answer(arguments).unwrap_or(error).print();
        return ExitCode::Ok.into();
    }
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let hint = format!("Try \"{} --help\" for more information.", help::whose(arguments));
    tell(&Error::Usage { message: message.to_owned(), hint: Some(hint) });
    ExitCode::Usage.into()
}

/// Writes an error to standard error; a name that is not UTF-8 keeps its bytes.
fn tell(error: &Error) {
    // Nothing is left to be told if nobody listens.
    let _ = std::io::stderr().write_all(&to_bytes(&error.report()));
}

fn run(cli: Cli) -> Result<()> {
    let Cli { verb, config } = cli;
    require_descriptors()?;
    // Dropped at the end, when everything has been said.
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
            Verb::Lifecycle(mut args) => {
                args.config.settle(config)?;
                commands::lifecycle::lifecycle(&args).await
            }
            Verb::Version(args) => commands::version::version(&args),
            Verb::Completions(args) => commands::completions::completions(&args, Cli::command()),
            Verb::Man(args) => commands::man::man(&args, Cli::command()),
        }
    });
    // A blocked read of standard input or a name lookup must not hold the exit up.
    runtime.shutdown_background();
    result
}

/// Descriptors that have to be free at the start: the runtime panics without its own, and a verb needs a few.
const DESCRIPTORS: usize = 16;

/// Refuses to start where the limit of open files is too low for anything.
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
