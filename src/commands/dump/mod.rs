//! `pg-backup dump`: one database as plain SQL, with pg_dump's options and its bytes.
//!
//! [`args`] is what was typed, [`request`] turns it into what is meant and complains where
//! pg_dump would, [`filter`] reads `--filter` files, [`misuse`](misuse()) answers a command line
//! that does not parse.

mod args;
mod filter;
mod misuse;
mod request;

pub use args::DumpArgs;
pub(crate) use misuse::misuse;
pub use request::{Connection, DumpCommand, Output, PasswordPrompt};

use crate::error::{Error, Result};
use crate::protocol::Session;

/// Dumps one database.
pub async fn dump(args: DumpArgs) -> Result<()> {
    let command = DumpCommand::from_args(args)?;
    let session = Session::connect(&conninfo(&command.connection))
        .await
        .map_err(|error| Error::Connect(Box::new(error)))?;
    session
        .execute("SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(|error| Error::Connect(Box::new(error)))?;
    crate::dump::to_writer(&session, &command.options, &mut std::io::stdout().lock())
        .await
        .map_err(|error| Error::usage(format!("{error}: {:?}", error.source())))
}

fn conninfo(connection: &Connection) -> String {
    let database = connection.database.as_deref().unwrap_or_default();
    if database.contains("://") || database.contains('=') {
        return database.to_owned();
    }
    let mut text = format!("dbname={database}");
    for (name, value) in
        [("host", &connection.host), ("port", &connection.port), ("user", &connection.username)]
    {
        if let Some(value) = value {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    text
}
