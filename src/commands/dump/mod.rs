//! `pg-backup dump`: writes one database as plain SQL, with pg_dump's options and the same bytes.
//!
//! [`args`] parses the options, and [`mod@request`] checks them as pg_dump does and converts them to a
//! request.

mod args;
mod request;

pub use args::DumpArgs;
pub use request::{ConnectionArgs, DumpCommand};

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use super::connection::{connecting, in_libpq_words, resolve, with_password};
use super::output::{DumpOutput, packing, warn};
use super::signals::cancel_on_signal;
use crate::dump::progress::DumpProgress;
use crate::dump::{Dump, DumpError, DumpRequest, ReadOptions};
use crate::error::Result;
use crate::pipeline::DumpWriter;
use crate::protocol::{ConnInfo, ConnectOptions, Isolation, SnapshotId};
use crate::sidecar::shutdown;
use crate::storage::settle;

/// Dumps one database.
pub async fn dump(args: DumpArgs) -> Result<()> {
    let cancel = cancel_on_signal()?;
    let command = DumpCommand::from_args(args)?;
    let memory = command.output.memory_limit()?;
    let (options, upload) = packing(memory, command.compression, &cancel);
    let (store, cleanup_deadline) = (OnceLock::new(), shutdown::cleanup_deadline(&cancel));
    let work = async {
        // The output is opened last: an earlier failure does not change an existing file.
        let dump = prepare(&command, memory, &cancel).await?;
        warn(dump.warnings());
        let upload = match command.output {
            DumpOutput::S3 { .. } => upload.for_database(dump.database_size().await?),
            DumpOutput::Stdout | DumpOutput::File { .. } => upload,
        };
        let sink = command.output.open(command.compression, upload, &store).await?;
        let writer = DumpWriter::start(sink, options).map_err(DumpError::from)?;
        let (_, pending) = dump.write(writer).await?;
        pending.complete().await.map_err(DumpError::from)?;
        Ok(())
    };
    let ended = shutdown::within_grace(&cancel, work).await;
    settle(store.get().map(|store| &**store), &cleanup_deadline).await;
    ended.unwrap_or_else(|| Err(DumpError::Cancelled.into())).map_err(in_libpq_words)
}

/// Connects and plans the dump.
async fn prepare(command: &DumpCommand, memory: u64, cancel: &CancellationToken) -> Result<Dump> {
    with_password(command.connection.server.prompt(), async |password| {
        let request = DumpRequest { cancel: cancel.clone(), ..request(command, memory, password)? };
        Ok(Dump::prepare(request).await?)
    })
    .await
}

/// Returns the options of the dump's session and transaction.
fn request(command: &DumpCommand, memory: u64, password: Option<&str>) -> Result<DumpRequest> {
    let snapshot = command.snapshot.as_deref().map(SnapshotId::parse).transpose();
    let isolation = if command.serializable_deferrable {
        Isolation::SerializableDeferrable
    } else {
        Isolation::RepeatableRead
    };
    Ok(DumpRequest {
        connection: connect_options(&command.connection, password)?,
        setup: command.setup.clone(),
        isolation,
        snapshot: snapshot.map_err(connecting)?,
        options: command.options.clone(),
        reading: ReadOptions::within(memory, command.jobs),
        progress: DumpProgress::default(),
        cancel: Default::default(),
    })
}

/// Adds defaults from the environment to the given options, as libpq does. A connection string in place of
/// the database name overrides the other options.
fn connect_options(typed: &ConnectionArgs, password: Option<&str>) -> Result<ConnectOptions> {
    let mut info = ConnInfo::new();
    typed.server.set(&mut info)?;
    info.set_database(typed.database.as_deref().unwrap_or_default()).map_err(connecting)?;
    // A password that the user entered overrides the one in the connection string.
    info.set("password", password.unwrap_or_default()).map_err(connecting)?;
    resolve(&info)
}
