//! Asks for a password on the terminal without showing it, as pg_dump does.

use std::io::{self, BufRead as _, Write as _};

use super::PasswordPrompt;
use crate::dump::DumpError;
use crate::error::{Error, Result};
use crate::protocol::ProtocolError;

const PROMPT: &str = "Password: ";

/// Connects. Asks for a password before connecting (`--password`), or when the server requires one and none
/// is known.
pub(in crate::commands) async fn with_password<T>(
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
pub(in crate::commands) fn is_password_missing(error: &Error) -> bool {
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
