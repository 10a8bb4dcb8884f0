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

use crate::dump::{Dump, DumpError, DumpRequest};
use crate::error::{Error, Result};
use crate::pipeline::{DumpWriter, PipelineOptions, Sink};
use crate::protocol::conninfo::{ConnInfo, Environment};
use crate::protocol::setup::SessionSetup;
use crate::protocol::snapshot::{Isolation, SnapshotId};

/// Dumps one database.
pub async fn dump(args: DumpArgs) -> Result<()> {
    let command = DumpCommand::from_args(args)?;
    run(command).await.map_err(|error| Error::Dump(Box::new(error)))
}

async fn run(command: DumpCommand) -> Result<(), DumpError> {
    let connection = ConnInfo::parse(&conninfo(&command.connection))
        .and_then(|info| info.resolve(&Environment::of_process()))
        .map_err(|error| DumpError::Connect(error.into()))?;
    let request = DumpRequest {
        connection,
        setup: SessionSetup {
            encoding: command.encoding,
            role: command.role,
            extra_float_digits: command.extra_float_digits,
            quote_all_identifiers: command.options.quote_all_identifiers,
            enable_row_security: command.options.enable_row_security,
        },
        isolation: if command.serializable_deferrable {
            Isolation::SerializableDeferrable
        } else {
            Isolation::RepeatableRead
        },
        snapshot: command.snapshot.map(|s| SnapshotId::parse(&s)).transpose().map_err(DumpError::Connect)?,
        options: command.options,
        cancel: tokio_util::sync::CancellationToken::new(),
    };
    let dump = Dump::prepare(request).await?;
    let sink = match command.output {
        Output::File(path) | Output::CompleteFile(path) => Sink::file(&path)?,
        Output::Stdout | Output::S3 { .. } => Sink::stdout(),
    };
    let options =
        PipelineOptions { compression: command.compression, checksums: false, ..PipelineOptions::default() };
    let (_, pending) = dump.write(DumpWriter::start(sink, options)?).await?;
    Ok(pending.complete().await?)
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
