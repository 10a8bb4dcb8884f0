//! How the commands connect to a database: the options for it, the defaults from the environment, the password
//! prompt, and a failed connection in the words of libpq.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;

use crate::config;
use crate::dump::DumpError;
use crate::error::{Error, Result};
use crate::protocol::{ConnInfo, ConnectOptions, Environment, ProtocolError};

/// Options of `dump` and `dumpall` about the server and the role.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerArgs {
    /// Host or socket directory of the server; the default is PGHOST.
    #[arg(short = 'h', long, value_name = "HOSTNAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) host: Option<String>,
    /// Port of the server, 1 to 65535; the default is PGPORT, or else 5432.
    #[arg(short = 'p', long, value_name = "PORT", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) port: Option<String>,
    /// Never prompt for a password.
    #[arg(short = 'w', long, overrides_with = "password", help_heading = CONNECTION)]
    pub(super) no_password: bool,
    /// Force a password prompt.
    #[arg(short = 'W', long, overrides_with = "no_password", help_heading = CONNECTION)]
    pub(super) password: bool,
    /// Role to log in as; the default is PGUSER, or else the name of the operating system's user.
    #[arg(short = 'U', long, value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) username: Option<String>,
    /// Do SET ROLE before the dump.
    #[arg(long, value_name = "ROLENAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub(super) role: Option<String>,
}

/// The heading of these options in the help.
pub(super) const CONNECTION: &str = "Connection";

impl ServerArgs {
    /// Returns when to ask for a password.
    pub(super) fn prompt(&self) -> PasswordPrompt {
        PasswordPrompt::new(self.no_password, self.password)
    }

    /// Sets `--host`, `--port` and `--username` as parameters of the connection.
    pub(super) fn set(&self, info: &mut ConnInfo) -> Result<()> {
        for (name, value) in [("host", &self.host), ("port", &self.port), ("user", &self.username)] {
            info.set(name, value.as_deref().unwrap_or_default()).map_err(connecting)?;
        }
        Ok(())
    }
}

/// When to ask for a password on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PasswordPrompt {
    /// If the server requires one and none is known.
    WhenNeeded,
    /// `--no-password`.
    Never,
    /// `--password`.
    Always,
}

impl PasswordPrompt {
    /// Converts `--no-password` and `--password`.
    pub(super) fn new(no_password: bool, password: bool) -> Self {
        match (no_password, password) {
            (_, true) => PasswordPrompt::Always,
            (true, false) => PasswordPrompt::Never,
            (false, false) => PasswordPrompt::WhenNeeded,
        }
    }
}

/// Adds defaults from the environment to connection parameters, as libpq does, and sets the stall timeout and
/// the catalog limit.
pub(super) fn resolve(info: &ConnInfo) -> Result<ConnectOptions> {
    let options = info.resolve(&Environment::of_process()).map_err(connecting)?;
    Ok(options.with_stall_timeout(config::stall_timeout()?).with_catalog_limit(config::catalog_limit()?))
}

/// Wraps an error about a connection or its parameters.
pub(super) fn connecting(error: impl Into<ProtocolError>) -> Error {
    Error::Connect(Box::new(error.into()))
}

/// A connection failure with the message of pg_dump.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ConnectionFailure(String);

/// Converts a connection failure to libpq's message.
pub(super) fn in_libpq_words(error: Error) -> Error {
    let (Error::Connect(cause) | Error::Dump(cause)) = &error else { return error };
    let words = match cause.downcast_ref() {
        Some(DumpError::Connect(error)) => error.in_libpq_words(),
        // pg_dump's message, followed by pg_dumpall's.
        Some(DumpError::Database { name, source }) => match &**source {
            DumpError::Connect(error) => error
                .in_libpq_words()
                .map(|words| format!("{words}\ndump failed on database \"{name}\", exiting")),
            _ => None,
        },
        _ => cause.downcast_ref().and_then(ProtocolError::in_libpq_words),
    };
    words.map_or(error, |words| Error::Connect(Box::new(ConnectionFailure(words))))
}

const PROMPT: &str = "Password: ";

/// Connects. Asks for a password before connecting (`--password`), or when the server requires one and none
/// is known.
pub(super) async fn with_password<T>(
    prompt: PasswordPrompt,
    connect: impl AsyncFn(Option<&str>) -> Result<T>,
) -> Result<T> {
    let mut password = match prompt {
        PasswordPrompt::Always => Some(ask().await?),
        PasswordPrompt::WhenNeeded | PasswordPrompt::Never => None,
    };
    loop {
        let error = match connect(password.as_deref()).await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        if prompt == PasswordPrompt::WhenNeeded && password.is_none() && is_password_missing(&error) {
            password = ask_on_terminal().await;
            if password.is_some() {
                continue;
            }
        }
        return Err(error);
    }
}

/// Returns whether the error is only a missing password.
pub(super) fn is_password_missing(error: &Error) -> bool {
    let Error::Connect(cause) = error else { return false };
    let missing = match cause.downcast_ref() {
        Some(DumpError::Connect(error)) => Some(error),
        _ => cause.downcast_ref(),
    };
    matches!(missing, Some(ProtocolError::PasswordMissing { .. }))
}

/// Asks on the terminal; returns `None` if there is none.
async fn ask_on_terminal() -> Option<String> {
    tokio::task::spawn_blocking(|| rpassword::prompt_password(PROMPT).ok()).await.ok().flatten()
}

/// Asks on the terminal, or on standard input if there is none (`--password`).
async fn ask() -> Result<String> {
    if let Some(password) = ask_on_terminal().await {
        return Ok(password);
    }
    let line = tokio::task::spawn_blocking(|| {
        write!(io::stderr(), "{PROMPT}")?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        writeln!(io::stderr())?;
        Ok(line)
    });
    let line = line.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    match line {
        Ok(line) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        Err(source) => Err(Error::Io { context: "cannot read the password".to_owned(), source }),
    }
}
