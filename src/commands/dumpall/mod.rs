//! `pg-backup dumpall`: writes all databases of a server, its roles and its tablespaces as plain SQL, with
//! pg_dumpall's options and the same bytes.
//!
//! [`args`] parses the options, and [`request`] checks them as pg_dumpall does and converts them to a
//! request.

mod args;
mod request;

pub use args::DumpallArgs;
pub use request::{DumpallCommand, ServerConnection};

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use crate::commands::connection::{connecting, in_libpq_words, is_password_missing, resolve, with_password};
use crate::commands::output::{self, packing, warn};
use crate::commands::signals::cancel_on_signal;
use crate::config::DEFAULT_JOBS;
use crate::dump::DumpError;
use crate::dump::ReadOptions;
use crate::dump::cluster::{Cluster, ClusterEvent, ClusterRequest};
use crate::error::{Error, Result};
use crate::pipeline::DumpWriter;
use crate::protocol::{ConnInfo, ConnectOptions};
use crate::sidecar::shutdown;
use crate::storage::settle;

/// Default databases in which the globals are read.
const DATABASES: [&str; 2] = ["postgres", "template1"];

/// Dumps a cluster.
pub async fn dumpall(args: DumpallArgs) -> Result<()> {
    let cancel = cancel_on_signal()?;
    let verbose = args.is_verbose();
    let command = DumpallCommand::from_args(args)?;
    let memory = command.output.memory_limit()?;
    let (options, upload) = packing(memory, command.compression, &cancel);
    let reading = ReadOptions::within(memory, DEFAULT_JOBS);
    let (store, cleanup_deadline) = (OnceLock::new(), shutdown::cleanup_deadline(&cancel));
    let work = async {
        // The output is opened last: an earlier failure does not change an existing file.
        let cluster = prepare(&command, &reading, &cancel).await?;
        warn(cluster.warnings());
        let sink = command.output.open(command.compression, upload, &store).await?;
        let writer = DumpWriter::start(sink, options).map_err(DumpError::from)?;
        let pending = cluster.write(writer, |notice| tell(notice, verbose)).await?;
        pending.complete().await.map_err(DumpError::from)?;
        Ok(())
    };
    let ended = shutdown::within_grace(&cancel, work).await;
    settle(store.get().map(|store| &**store), &cleanup_deadline).await;
    ended.unwrap_or_else(|| Err(DumpError::Cancelled.into())).map_err(in_libpq_words)
}

/// Connects and reads the globals.
async fn prepare(
    command: &DumpallCommand,
    reading: &ReadOptions,
    cancel: &CancellationToken,
) -> Result<Cluster> {
    let typed = &command.connection;
    with_password(typed.server.prompt(), async |password| {
        if let Some(database) = &typed.database {
            return read_in(database, command, password, reading, cancel).await;
        }
        let [first, second] = DATABASES;
        match read_in(first, command, password, reading, cancel).await {
            // A cluster may have no database `postgres`, or may not permit all roles to connect to it.
            Err(error @ Error::Connect(_)) if !is_password_missing(&error) => {
                read_in(second, command, password, reading, cancel).await
            }
            result => result,
        }
    })
    .await
}

async fn read_in(
    database: &str,
    command: &DumpallCommand,
    password: Option<&str>,
    reading: &ReadOptions,
    cancel: &CancellationToken,
) -> Result<Cluster> {
    let request = ClusterRequest {
        connection: connect_options(&command.connection, database, password)?,
        setup: command.setup.clone(),
        globals: command.globals.clone(),
        databases: command.databases.clone(),
        reading: reading.clone(),
        cancel: cancel.clone(),
    };
    Ok(Cluster::prepare(request).await?)
}

/// Adds defaults from the environment to the given options, as libpq does. The other options override the
/// connection string, and `--database` overrides its database.
fn connect_options(
    typed: &ServerConnection,
    database: &str,
    password: Option<&str>,
) -> Result<ConnectOptions> {
    let string = typed.string.as_deref().unwrap_or_default();
    let mut info = ConnInfo::parse(string).map_err(connecting)?;
    typed.server.set(&mut info)?;
    info.set("password", password.unwrap_or_default()).map_err(connecting)?;
    info.set_database(database).map_err(connecting)?;
    resolve(&info)
}

/// Prints progress in pg_dumpall's format.
fn tell(notice: ClusterEvent<'_>, verbose: bool) {
    match notice {
        ClusterEvent::Excluding(name) if verbose => output::tell(&format!("excluding database \"{name}\"")),
        ClusterEvent::Dumping(name) if verbose => output::tell(&format!("dumping database \"{name}\"")),
        ClusterEvent::Excluding(_) | ClusterEvent::Dumping(_) => {}
        ClusterEvent::Warnings(warnings) => warn(warnings),
    }
}
