//! Asking for a password, as pg_dump does: on the terminal, without showing it.

use std::io::{self, BufRead as _, Write as _};

use crate::error::{Error, Result};

const PROMPT: &str = "Password: ";

/// Asks on the terminal; `None` when there is none.
pub(super) async fn ask_on_terminal() -> Option<String> {
    tokio::task::spawn_blocking(|| rpassword::prompt_password(PROMPT).ok()).await.ok().flatten()
}

/// Asks on the terminal, or on standard input where there is none (`--password`).
pub(super) async fn ask() -> Result<String> {
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
