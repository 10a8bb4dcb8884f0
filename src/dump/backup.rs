//! Stores a dump as a backup: the dump object, then the table of contents, then the manifest.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::claim::ClaimedKey;
use super::{Dump, DumpError, DumpRequest, Written};
use crate::archive::ENCRYPTED_FORMAT_VERSION;
use crate::archive::entry_kind::EntryKind;
use crate::archive::key::{BackupId, Cipher, Part};
use crate::archive::manifest::{
    DumpFile, DumpSnapshot, DumpedServer, Manifest, ManifestNames, TableSum, TocObject, Tool,
};
use crate::archive::toc_file::TocFile;
use crate::clock;
use crate::log::BACKUP;
use crate::pipeline::{
    DumpWriter, PipelineError, PipelineOptions, Sink, UnpublishedObject, UploadOptions, backups,
};
use crate::sql::{DumpPlan, Warning};
use crate::storage::mirror::{MirroredStore, Replica, ReplicaOutcome};
use crate::storage::{PartLimits, Store};

/// Where a backup is stored, and how it is compressed and encrypted.
#[derive(Clone, Debug)]
pub struct BackupDestination {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The prefix of all keys, without a trailing slash; may be empty.
    pub prefix: String,
    /// The part sizes of the upload.
    pub upload: UploadOptions,
    /// Compression and memory.
    pub pipeline: PipelineOptions,
    /// The replica, which gets a copy of each backup.
    pub replica: Option<Replica>,
}

/// A backup that is complete.
#[derive(Debug)]
pub struct CompletedBackup {
    /// The backup's id.
    pub id: BackupId,
    /// The backup's manifest.
    pub manifest: Manifest,
    /// The result of the copy to the replica, if there is one.
    pub copied: Option<ReplicaOutcome>,
}

impl CompletedBackup {
    /// Returns the part that is the dump object.
    pub fn dump_part(&self) -> Part {
        Part::Dump(self.manifest.dump.compression.into(), self.manifest.cipher())
    }
}

impl BackupDestination {
    /// Returns the destination for one backup whose objects also go to the replica, and the result of that
    /// copy.
    pub(super) fn mirrored(&self) -> (BackupDestination, Option<ReplicaOutcome>) {
        let Some(replica) = self.replica.clone() else { return (self.clone(), None) };
        let (store, copied) = MirroredStore::new(Arc::clone(&self.store), &self.prefix, replica);
        (BackupDestination { store: Arc::new(store), replica: None, ..self.clone() }, Some(copied))
    }

    /// Returns the part that is the dump object.
    fn dump_part(&self) -> Part {
        let cipher = if self.pipeline.recipients.is_some() { Cipher::Age } else { Cipher::None };
        Part::Dump(self.pipeline.compression.into(), cipher)
    }

    /// Returns the key of a part of a backup.
    pub(super) fn key(&self, id: &BackupId, part: Part) -> String {
        id.key(&self.prefix, part)
    }

    /// Starts the upload of a backup's dump object.
    pub(super) fn writer(
        &self,
        claimed: &ClaimedKey,
        upload: UploadOptions,
        cancel: &CancellationToken,
    ) -> Result<DumpWriter, PipelineError> {
        let part = self.dump_part();
        let (store, key) = (Arc::clone(&self.store), self.key(claimed.id(), part));
        let sink = Sink::store(store, key, part.content_type(), upload).if_exists(claimed.if_exists());
        DumpWriter::start(sink, PipelineOptions { cancel: cancel.clone(), ..self.pipeline.clone() })
    }

    /// Returns the URL of a backup's dump object, for display.
    pub fn url(&self, id: &BackupId) -> String {
        self.store.url(&self.key(id, self.dump_part()))
    }
}

/// Dumps a database into a store: first the dump object, then the table of contents, and last the manifest.
/// Without the manifest the objects do not count as a backup. Nothing is overwritten.
pub async fn back_up(
    claimed: ClaimedKey,
    mut request: DumpRequest,
    destination: &BackupDestination,
) -> Result<CompletedBackup, DumpError> {
    request.options.describe_creation = true;
    let cancel = request.cancel.clone();
    let dump = Dump::prepare(request).await?;
    let id = claimed.id();
    log_warnings(id, dump.warnings());
    let (destination, copied) = destination.mirrored();
    let mut upload = destination.upload.clone();
    if destination.store.part_limits().are_tight() {
        upload = upload.for_database(dump.database_size().await?);
    }
    warn_of_parts(&id.database, &upload, destination.store.part_limits());
    let writer = destination.writer(&claimed, upload, &cancel)?;
    let (written, pending) = dump.write(writer).await?;
    let backup = super::or_cancelled(&cancel, publish(claimed, written, pending, &destination)).await?;
    Ok(CompletedBackup { copied, ..backup })
}

/// Logs the warnings for the user, in pg_dump's words.
pub(super) fn log_warnings(id: &BackupId, warnings: &[Warning]) {
    for line in warnings.iter().flat_map(Warning::lines) {
        tracing::warn!(target: BACKUP, database = %id.database, "{}: {line}", id.database);
    }
}

/// Warns if the upload's parts are expected to exceed their memory budget. The store limits the number of
/// parts, so the parts of a large object must be large.
pub fn warn_of_parts(name: &str, upload: &UploadOptions, limits: PartLimits) {
    let (Some(parts), Some(expected)) = (upload.beyond_budget(limits), upload.expected_size) else { return };
    let [parts, budget] = [parts, upload.budget].map(|bytes| bytes.div_ceil(1 << 20));
    tracing::warn!(
        target: BACKUP,
        database = name,
        expected,
        "{name}: a dump of about {} GiB is expected; the parts of its upload will take {parts} MiB of memory instead of {budget} MiB",
        expected.div_ceil(1 << 30),
    );
}

/// Makes the dump object visible, and writes the table of contents and the manifest.
pub(super) async fn publish(
    claimed: ClaimedKey,
    mut written: Written,
    pending: UnpublishedObject,
    destination: &BackupDestination,
) -> Result<CompletedBackup, DumpError> {
    let begun = std::time::Instant::now();
    let if_exists = claimed.if_exists();
    let id = claimed.into_id();
    let part = destination.dump_part();
    pending.complete().await?;
    let recipients = destination.pipeline.recipients.as_ref();
    let mut toc = TocFile::new(
        id.file_name(part),
        destination.pipeline.compression,
        written.packed_size,
        written.raw_size,
        &written.places,
        written.plan.as_ref().map(DumpPlan::database_statements).unwrap_or_default(),
        || written.plan.iter().flat_map(DumpPlan::archive_entries),
    );
    if recipients.is_some() {
        toc.format_version = ENCRYPTED_FORMAT_VERSION;
    }
    let (store, prefix) = (destination.store.as_ref(), &destination.prefix);
    let toc_object = backups::write_toc(store, prefix, &id, &toc, recipients, if_exists).await?;
    written.durations.insert("publish".to_owned(), begun.elapsed().as_secs_f64());
    let mut manifest = manifest(&id, &written, destination, toc_object)?;
    let sealed = recipients.zip(written.header_size).map(|(recipients, header_size)| {
        let sealed = manifest.sealed(recipients, header_size);
        sealed.map_err(|source| PipelineError::Encrypt { source })
    });
    let sealed = sealed.transpose()?;
    backups::write_manifest(store, prefix, &id, sealed.as_ref().unwrap_or(&manifest), if_exists).await?;
    if let Some(sealed) = sealed {
        manifest = Manifest { names: manifest.names, ..sealed };
    }
    Ok(CompletedBackup { id, manifest, copied: None })
}

fn manifest(
    id: &BackupId,
    written: &Written,
    destination: &BackupDestination,
    toc_object: TocObject,
) -> Result<Manifest, DumpError> {
    let sums = written.sums.ok_or(DumpError::Pipeline(PipelineError::Stopped))?;
    let position = written.position.as_ref();
    Ok(Manifest {
        format_version: Manifest::format_version(),
        tool: Tool::this(),
        server: DumpedServer {
            version: written.server_version_text.clone(),
            version_num: written.server_version.0,
        },
        database: id.database.clone(),
        snapshot: DumpSnapshot {
            lsn: position.map(|p| p.lsn.clone()),
            time: position.and_then(|p| p.time.parse().ok()).unwrap_or(id.started),
        },
        started: id.started,
        // The clock may have been set back in the meantime.
        finished: clock::now().max(id.started),
        dump: DumpFile {
            file: id.file_name(destination.dump_part()),
            compression: destination.pipeline.compression,
            size: written.size,
            raw_size: written.raw_size,
            sha256: sums.sha256,
            crc64nvme: sums.crc64nvme.to_be_bytes(),
        },
        toc: toc_object,
        entries: written.plan.as_ref().map_or(0, DumpPlan::number_of_entries),
        names: Some(ManifestNames {
            source_database: written.database.clone(),
            tables: table_sums(written),
            settings: written.settings.clone(),
        }),
        encryption: None,
        durations: written.durations.clone(),
    })
}

/// Returns the row count and the digest of each dumped table.
fn table_sums(written: &Written) -> Vec<TableSum> {
    let tables =
        written.plan.iter().flat_map(DumpPlan::entries).filter(|entry| entry.desc == EntryKind::TableData);
    tables
        .filter_map(|entry| {
            let data = written.places.data(entry.id)?;
            Some(TableSum {
                dump_id: entry.id.get(),
                namespace: entry.namespace.unwrap_or_default(),
                name: entry.tag,
                rows: data.rows,
                digest: data.digest,
            })
        })
        .collect()
}
