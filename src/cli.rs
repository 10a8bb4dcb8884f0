//! The command line: verbs and their options, and from a verb's result to the exit code.
//!
//! `dump` and `dumpall` take pg_dump's and pg_dumpall's options and answer misuse in their words; the
//! arguments and that answer live in [`crate::commands::dump`] and [`crate::commands::dumpall`].

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing::Level;

use crate::commands;
use crate::error::{Error, ExitCode, Result};
use crate::log::{self, Destination};
use crate::sql::query::to_bytes;

/// Back up PostgreSQL databases to S3, natively.
///
/// Without a verb it is `serve`: a round of backups at once, and then at every interval.
#[derive(Debug, Parser)]
#[command(name = "pg-backup", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a round of backups at once and then at every interval (the default).
    Serve(ConfigFile),
    /// Make one round of backups and exit.
    Run(ConfigFile),
    /// Write one database as plain SQL, as pg_dump does.
    Dump(Box<commands::dump::DumpArgs>),
    /// Write all databases of a server, its roles and its tablespaces as plain SQL, as pg_dumpall does.
    Dumpall(Box<commands::dumpall::DumpallArgs>),
    /// List the backups in the store.
    List(commands::list::ListArgs),
    /// Say whether the newest backup of each database is recent enough.
    Status(commands::status::StatusArgs),
    /// Prove that backups are whole, without a database.
    Verify(commands::verify::VerifyArgs),
    /// Restore a backup, or any plain dump, into a database.
    Restore(Box<commands::restore::RestoreArgs>),
    /// Restore the latest backups on a sandbox server, compare the copies and drop them.
    Drill(commands::drill::DrillArgs),
    /// Say whether the next round and drill can do their work, before it matters.
    Check(commands::check::CheckArgs),
    /// Show, apply or check the bucket's rule that removes backups which have served their time.
    Lifecycle(commands::lifecycle::LifecycleArgs),
    /// Print the version and what it supports.
    Version(commands::version::VersionArgs),
}

/// Where settings are, besides the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// TOML file with settings of the same names as the environment's; the environment wins.
    #[arg(long = "config", value_name = "FILE")]
    pub path: Option<PathBuf>,
}

impl ConfigFile {
    /// The verb's own option, or the one before the verb.
    fn or(self, other: ConfigFile) -> ConfigFile {
        ConfigFile { path: self.path.or(other.path) }
    }

    /// For a verb that prints its result: decides which file holds, and has nothing but warnings logged beside it.
    fn settle(&mut self, before: ConfigFile) -> Result<()> {
        *self = std::mem::take(self).or(before);
        log::start(Destination::Stderr, Level::WARN, self.path.as_deref())?;
        Ok(())
    }
}

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&arguments, error),
    };
    let is_dump = matches!(cli.verb, Some(Verb::Dump(_) | Verb::Dumpall(_)));
    match run(cli) {
        Ok(()) => ExitCode::Ok.into(),
        Err(error) => {
            tell(&error);
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
        tell(&commands::dump::misuse(verb, &error, arguments));
        return ExitCode::Other.into();
    }
    if !error.use_stderr() {
        // Help and version; nothing is left to be told if nobody listens.
        let _ = error.print();
        return ExitCode::Ok.into();
    }
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let hint = Some("Try \"pg-backup --help\" for more information.".to_owned());
    tell(&Error::Usage { message: message.to_owned(), hint });
    ExitCode::Usage.into()
}

/// Writes an error to standard error; a name that is not UTF-8 keeps its bytes.
fn tell(error: &Error) {
    // Nothing is left to be told if nobody listens.
    let _ = std::io::stderr().write_all(&to_bytes(&error.report()));
}

fn run(cli: Cli) -> Result<()> {
    let Cli { verb, config } = cli;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { context: "cannot start the runtime".to_owned(), source })?;
    let result = runtime.block_on(async {
        match verb.unwrap_or_else(|| Verb::Serve(ConfigFile::default())) {
            Verb::Serve(own) => {
                let config = own.or(config);
                let tail = log::start(Destination::Stdout, Level::INFO, config.path.as_deref())?;
                commands::serve::serve(&config, tail).await
            }
            Verb::Run(own) => {
                let config = own.or(config);
                let tail = log::start(Destination::Stdout, Level::INFO, config.path.as_deref())?;
                commands::run::run(&config, tail).await
            }
            Verb::Dump(args) => {
                let level = if args.is_verbose() { Level::INFO } else { Level::WARN };
                log::start(Destination::Stderr, level, None)?;
                commands::dump::dump(*args).await
            }
            Verb::Dumpall(args) => {
                let level = if args.is_verbose() { Level::INFO } else { Level::WARN };
                log::start(Destination::Stderr, level, None)?;
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
        }
    });
    // A blocked read of standard input or a name lookup must not hold the exit up.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

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
