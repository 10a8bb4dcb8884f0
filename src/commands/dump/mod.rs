//! `pg-backup dump`: writes one database as plain SQL, with pg_dump's options and the same bytes.
//!
//! [`args`] parses the options, [`mod@request`] checks them as pg_dump does and converts them to a request,
//! and [`misuse`](misuse()) reports a command line that cannot be parsed.

mod args;
mod misuse;
mod password;
mod request;

pub use args::DumpArgs;
pub(crate) use misuse::misuse;
pub(super) use misuse::try_help;
pub(super) use password::{is_password_missing, with_password};
pub use request::{ConnectionArgs, DumpCommand, DumpOutput, PasswordPrompt};
pub(super) use request::{
    compression, float_digits, output, progress, read_whole, refuse_binary_upgrade, restrict_key,
    rows_per_insert, sections,
};

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::archive::compression::Compression;
use crate::archive::key::{Cipher, Part};
use crate::config;
use crate::dump::backup::warn_of_parts;
use crate::dump::progress::DumpProgress;
use crate::dump::{Dump, DumpError, DumpRequest, ReadOptions};
use crate::error::{Error, Result};
use crate::pipeline::{DumpWriter, PipelineOptions, Sink, UploadOptions};
use crate::protocol::{
    ConnInfo, ConnectOptions, Environment, Isolation, ProtocolError, SessionSetup, SnapshotId,
};
use crate::sidecar::shutdown;
use crate::sql::Warning;
use crate::sql::query::to_bytes;
use crate::storage::{Store, settle};

/// Dumps one database.
pub async fn dump(args: DumpArgs) -> Result<()> {
    let cancel = shutdown::on_signal(|_| ())
        .map_err(|source| Error::Io { context: "cannot install signal handlers".to_owned(), source })?;
    let command = DumpCommand::from_args(args)?;
    let memory = memory_limit(&command.output)?;
    let (options, upload) = packing(memory, command.compression, &cancel);
    let (store, cleanup_deadline) = (OnceLock::new(), shutdown::cleanup_deadline(&cancel));
    let work = async {
        // The output is opened last: an earlier failure does not change an existing file.
        let dump = prepare(&command, memory, &cancel).await?;
        warn(dump.warnings());
        let upload = match command.output {
            DumpOutput::S3 { .. } => upload.for_database(dump.database_size().await?),
            DumpOutput::Stdout | DumpOutput::File(_) => upload,
        };
        let sink = sink(&command.output, command.compression, command.sync, upload, &store).await?;
        let writer = DumpWriter::start(sink, options).map_err(DumpError::from)?;
        let (_, pending) = dump.write(writer).await?;
        pending.complete().await.map_err(DumpError::from)?;
        Ok(())
    };
    let ended = shutdown::within_grace(&cancel, work).await;
    settle(store.get().map(|store| &**store), &cleanup_deadline).await;
    ended.unwrap_or_else(|| Err(DumpError::Cancelled.into())).map_err(in_libpq_words)
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

/// Connects and plans the dump.
async fn prepare(command: &DumpCommand, memory: u64, cancel: &CancellationToken) -> Result<Dump> {
    with_password(command.connection.prompt, async |password| {
        let request = DumpRequest { cancel: cancel.clone(), ..request(command, memory, password)? };
        Ok(Dump::prepare(request).await?)
    })
    .await
}

/// Returns the options of the dump's session and transaction.
fn request(command: &DumpCommand, memory: u64, password: Option<&str>) -> Result<DumpRequest> {
    let options = command.options.clone();
    let setup = SessionSetup {
        encoding: command.encoding.clone(),
        role: command.role.clone(),
        extra_float_digits: command.extra_float_digits,
        quote_all_identifiers: options.quote_all_identifiers,
        enable_row_security: options.enable_row_security,
        ..SessionSetup::default()
    };
    let snapshot = command.snapshot.as_deref().map(SnapshotId::parse).transpose();
    let isolation = if command.serializable_deferrable {
        Isolation::SerializableDeferrable
    } else {
        Isolation::RepeatableRead
    };
    Ok(DumpRequest {
        connection: connect_options(&command.connection, password)?,
        setup,
        isolation,
        snapshot: snapshot.map_err(connecting)?,
        options,
        reading: ReadOptions::within(memory, command.jobs),
        progress: DumpProgress::default(),
        cancel: Default::default(),
    })
}

pub(super) fn connecting(error: impl Into<ProtocolError>) -> Error {
    Error::Connect(Box::new(error.into()))
}

/// Sets `--host`, `--port` and `--username`.
pub(super) fn set_server(
    info: &mut ConnInfo,
    host: &Option<String>,
    port: &Option<String>,
    username: &Option<String>,
) -> Result<()> {
    for (name, value) in [("host", host), ("port", port), ("user", username)] {
        info.set(name, value.as_deref().unwrap_or_default()).map_err(connecting)?;
    }
    Ok(())
}

/// Adds defaults from the environment to the given options, as libpq does. A connection string in place of
/// the database name overrides the other options.
fn connect_options(typed: &ConnectionArgs, password: Option<&str>) -> Result<ConnectOptions> {
    let mut info = ConnInfo::new();
    set_server(&mut info, &typed.host, &typed.port, &typed.username)?;
    info.set_database(typed.database.as_deref().unwrap_or_default()).map_err(connecting)?;
    // A password that the user entered overrides the one in the connection string.
    info.set("password", password.unwrap_or_default()).map_err(connecting)?;
    resolve(&info)
}

/// Adds defaults from the environment to connection parameters, as libpq does, and sets the stall timeout and
/// the catalog limit.
pub(super) fn resolve(info: &ConnInfo) -> Result<ConnectOptions> {
    let options = info.resolve(&Environment::of_process()).map_err(connecting)?;
    Ok(options.with_stall_timeout(config::stall_timeout()?).with_catalog_limit(config::catalog_limit()?))
}

/// Returns the memory limit of a dump: the configured one if the output is on S3, as in a round.
pub(super) fn memory_limit(output: &DumpOutput) -> Result<u64> {
    Ok(match output {
        DumpOutput::S3 { .. } => config::memory()?,
        DumpOutput::Stdout | DumpOutput::File(_) => config::DEFAULT_MEMORY,
    })
}

/// Returns the options of compression and upload within a memory limit.
pub(super) fn packing(
    memory: u64,
    compression: Compression,
    cancel: &CancellationToken,
) -> (PipelineOptions, UploadOptions) {
    let options = PipelineOptions {
        compression,
        cancel: cancel.clone(),
        // Only a store uses checksums, and only the table of contents of a backup uses the layout.
        checksums: false,
        layout: false,
        ..PipelineOptions::within(memory)
    };
    (options, UploadOptions::within(memory))
}

/// Opens the output. Earlier failures do not change an existing file. `opened` receives the store, if the
/// output is in one.
pub(super) async fn sink(
    output: &DumpOutput,
    compression: Compression,
    sync: bool,
    upload: UploadOptions,
    opened: &OnceLock<Arc<dyn Store>>,
) -> Result<Sink> {
    Ok(match output {
        DumpOutput::Stdout => Sink::stdout().map_err(DumpError::from)?,
        DumpOutput::File(path) => Sink::file(path, sync).map_err(DumpError::from)?,
        DumpOutput::S3 { bucket, key } => {
            let store = config::s3_access()?.open(bucket).await?;
            let store = Arc::clone(opened.get_or_init(|| store));
            warn_of_parts(key, &upload, store.part_limits());
            let part = Part::Dump(compression.into(), Cipher::None);
            Sink::store(store, key.clone(), part.content_type(), upload)
        }
    })
}

/// Prints the warnings, as pg_dump does; names stay in the dump's encoding.
pub(super) fn warn(warnings: &[Warning]) {
    warnings.iter().flat_map(Warning::lines).for_each(|line| tell(&line));
}

/// Writes a line to standard error, in pg_dump's format.
pub(super) fn tell(line: &str) {
    let line = [b"pg-backup: ", &to_bytes(line)[..], b"\n"].concat();
    // A write error is ignored, because it cannot be reported.
    let _ = std::io::stderr().write_all(&line);
}
