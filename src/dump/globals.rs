//! Saves a server's globals as a backup: the output of `dumpall --globals-only`.

use std::collections::BTreeMap;
use std::time::Instant;

use super::backup::{BackupDestination, CompletedBackup, log_warnings};
use super::claim::ClaimedKey;
use super::cluster::{Cluster, ClusterRequest, GlobalsSource};
use super::{DumpError, Written};
use crate::pipeline::Finished;

/// Saves the globals of a server. Like any backup it has a table of contents, which has no entries, and a
/// manifest, which lists no tables.
pub async fn back_up(
    claimed: ClaimedKey,
    request: ClusterRequest,
    destination: &BackupDestination,
) -> Result<CompletedBackup, DumpError> {
    let begun = Instant::now();
    let cancel = request.cancel.clone();
    let cluster = Cluster::prepare(request).await?;
    log_warnings(claimed.id(), cluster.warnings());
    let catalog = begun.elapsed().as_secs_f64();
    let (destination, copied) = destination.mirrored();
    let writer = destination.writer(&claimed, destination.upload.clone(), &cancel)?;
    let (source, finished) = cluster.write_globals(writer).await?;
    let GlobalsSource { database, server_version, server_version_text, position, settings } = source;
    let Finished { raw_size, packed_size, size, header_size, sums, layout, pending } = finished;
    let written = Written {
        raw_size,
        packed_size,
        size,
        header_size,
        sums,
        places: layout.into_index(),
        plan: None,
        database,
        server_version,
        server_version_text,
        position,
        settings,
        durations: BTreeMap::from([("catalog".to_owned(), catalog)]),
    };
    let publish = super::backup::publish(claimed, written, pending, &destination);
    Ok(CompletedBackup { copied, ..super::or_cancelled(&cancel, publish).await? })
}
