//! Proving a backup whole without a database: the three objects against each other ([`agreement`]), then every
//! byte of the dump ([`content`]): its checksums, each member unpacked, each table's rows counted and digested.
//!
//! Everything that is wrong is told, not only the first; what follows from something told is not.
//!
//! Memory: the pieces of the download, see [`DownloadOptions`], and 512 KiB; the table of contents beside it.

mod agreement;
mod content;

use std::sync::Arc;

use super::told::Told;
use crate::archive::ArchiveError;
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::pipeline::backups::{self, BackupError};
use crate::pipeline::download::DownloadOptions;
use crate::storage::{Store, StoreError};

/// What a verification came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// The size of the dump object in bytes.
    pub size: u64,
    /// The size of its text in bytes.
    pub raw_size: u64,
    /// Tables with rows or without.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// What is wrong.
    pub problems: Problems,
}

/// What is wrong with a backup.
pub type Problems = Told<Problem>;

/// Something wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The dump was never finished, or its manifest was removed.
    #[error("the manifest {object} is missing, without which this is no backup")]
    ManifestMissing {
        /// The manifest's address.
        object: String,
    },
    /// An object cannot be understood.
    #[error("{object} cannot be read")]
    Unreadable {
        /// Its address.
        object: String,
        /// Why not.
        source: ArchiveError,
    },
    /// The manifest belongs to another backup.
    #[error("the manifest is that of another backup: it says {said} where {expected} is expected")]
    ForeignManifest {
        /// What it says.
        said: String,
        /// What it should say.
        expected: String,
    },
    /// The table of contents is gone.
    #[error("the table of contents {object} is missing")]
    TocMissing {
        /// Its address.
        object: String,
    },
    /// The table of contents is not the one that the manifest describes.
    #[error("{object} is not what its manifest says: {difference}")]
    TocDiffers {
        /// Its address.
        object: String,
        /// In what.
        difference: String,
    },
    /// Manifest and table of contents contradict each other, or the latter itself.
    #[error("the table of contents contradicts {with}: {what}")]
    Contradiction {
        /// `the manifest` or `itself`.
        with: &'static str,
        /// In what.
        what: String,
    },
    /// The dump object is gone.
    #[error("the dump {object} is missing")]
    DumpMissing {
        /// Its address.
        object: String,
    },
    /// The dump object was cut or has grown.
    #[error("the dump {object} {}", sizes(*.found, *.expected))]
    DumpSize {
        /// Its address.
        object: String,
        /// Its size in bytes.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// The dump object holds other bytes than were written.
    #[error("the dump's {sum} is {found} instead of {expected}")]
    Checksum {
        /// `SHA-256` or `CRC-64/NVME`.
        sum: &'static str,
        /// In hexadecimal digits.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A stretch of the dump does not give its text.
    #[error("member {index} (bytes {from} to {to} of the dump, {holding}) {what}")]
    Member {
        /// Its place in the table of contents, from 0.
        index: usize,
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
        /// What lies in it.
        holding: String,
        /// `does not unpack: …` or `unpacks to … bytes instead of …`.
        what: String,
    },
    /// A table has another number of rows.
    #[error("{table} has {found} rows instead of {expected}")]
    Rows {
        /// The table, or what the entry is.
        table: String,
        /// What is there.
        found: u64,
        /// What should be there.
        expected: u64,
    },
    /// A table has other rows.
    #[error("the rows of {table} have another digest than the one in the table of contents")]
    Digest {
        /// The table.
        table: String,
    },
}

fn sizes(found: u64, expected: u64) -> String {
    match found {
        0 => format!("is empty instead of {expected} bytes long"),
        found => format!("has {found} bytes instead of {expected}"),
    }
}

/// What a backup says of itself, and how large its dump is in truth.
pub(super) struct Description {
    pub(super) manifest: Manifest,
    /// Absent when it cannot be read; that is told.
    pub(super) toc: Option<TocFile>,
    /// The dump's key.
    pub(super) key: String,
    /// The dump's size in bytes; absent when it is missing, which is told.
    pub(super) size: Option<u64>,
}

/// Reads manifest and table of contents, and tells what is wrong with them; `None` without a manifest.
pub(super) async fn describe(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    problems: &mut Problems,
) -> Result<Option<Description>, StoreError> {
    let Some(manifest) = read_manifest(store, prefix, id, problems).await? else { return Ok(None) };
    agreement::manifest_is_of(&manifest, id, problems);
    let toc = read_toc(store, prefix, id, &manifest, problems).await?;
    if let Some(toc) = &toc {
        agreement::toc_agrees(toc, &manifest, problems);
    }
    let key = id.key(prefix, Part::Dump(manifest.dump.compression.into()));
    let listed = store.list(&key).await?.into_iter().find(|object| object.key == key);
    let (size, expected) = (listed.map(|object| object.size), manifest.dump.size);
    match size {
        None => problems.tell(Problem::DumpMissing { object: store.url(&key) }),
        Some(found) if found != expected => {
            problems.tell(Problem::DumpSize { object: store.url(&key), found, expected });
        }
        Some(_) => {}
    }
    Ok(Some(Description { manifest, toc, key, size }))
}

/// Verifies one backup. Fails only if the store does.
pub async fn verify(store: &Arc<dyn Store>, prefix: &str, id: &BackupId) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let Some(described) = describe(store, prefix, id, &mut verified.problems).await? else {
        return Ok(verified);
    };
    let Description { manifest, toc, key, size } = described;
    verified.size = manifest.dump.size;
    verified.raw_size = manifest.dump.raw_size;
    verified.tables = manifest.tables.len() as u64;
    verified.rows = manifest.tables.iter().map(|table| table.rows).sum();
    if let Some(found) = size.filter(|found| *found > 0) {
        let toc = toc.unwrap_or_else(|| without_toc(&manifest));
        let problems = content::check(store, key, found, &manifest, toc, DownloadOptions::default()).await?;
        verified.problems.tell_all(problems);
    }
    Ok(verified)
}

/// Without a table of contents only the dump's checksums can be compared.
fn without_toc(manifest: &Manifest) -> TocFile {
    TocFile {
        format_version: manifest.format_version,
        file: manifest.dump.file.clone(),
        compression: manifest.dump.compression,
        size: manifest.dump.size,
        raw_size: manifest.dump.raw_size,
        members: Vec::new(),
        frame: Vec::new(),
        database: Vec::new(),
        entries: Vec::new(),
    }
}

async fn read_manifest(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    problems: &mut Problems,
) -> Result<Option<Manifest>, StoreError> {
    match backups::read_manifest(&**store, prefix, id).await {
        Ok(manifest) => return Ok(Some(manifest)),
        Err(BackupError::Store(StoreError::NotFound { object, .. })) => {
            problems.tell(Problem::ManifestMissing { object });
        }
        Err(error) => problems.tell(problem_of(error)?),
    }
    Ok(None)
}

async fn read_toc(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    manifest: &Manifest,
    problems: &mut Problems,
) -> Result<Option<TocFile>, StoreError> {
    match backups::read_toc(&**store, prefix, id, manifest).await {
        Ok(toc) => return Ok(Some(toc)),
        Err(BackupError::Store(StoreError::NotFound { object, .. })) => {
            problems.tell(Problem::TocMissing { object });
        }
        Err(error) => problems.tell(problem_of(error)?),
    }
    Ok(None)
}

fn problem_of(error: BackupError) -> Result<Problem, StoreError> {
    match error {
        BackupError::Store(error) => Err(error),
        BackupError::Unreadable { object, source } => Ok(Problem::Unreadable { object, source }),
        BackupError::Differs { object, difference } => Ok(Problem::TocDiffers { object, difference }),
    }
}
