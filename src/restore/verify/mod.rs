//! Verifies a backup without a database. First the three objects are checked against each other
//! ([`agreement`]). Then every byte of the dump is read ([`content`]): its checksums are compared, each
//! member is decompressed, and each table's rows are counted and digested.
//!
//! Every problem is reported, not only the first, except problems that follow from a reported one. For an
//! encrypted backup without an identity, only the stored bytes can be verified: sizes and checksums.
//!
//! Memory: the pieces of the download, see [`download`](crate::pipeline::download), 512 KiB, and the table of
//! contents.

mod agreement;
mod content;
mod places;
mod reading;
mod seek_table;

use std::sync::Arc;

use super::findings::CappedList;
use crate::archive::ArchiveError;
use crate::archive::encryption::{Identities, SealError};
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::pipeline::backups::{self, BackupError};
use crate::pipeline::download::DownloadError;
use crate::pipeline::object::Object;
use crate::storage::{Store, StoreError};

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    /// The size of the dump object in bytes.
    pub size: u64,
    /// The size of its text in bytes.
    pub raw_size: u64,
    /// The number of tables, with or without rows.
    pub tables: u64,
    /// The number of rows.
    pub rows: u64,
    /// The backup is encrypted, and no given identity decrypts it.
    pub is_locked: bool,
    /// The problems that were found.
    pub problems: Problems,
}

/// The problems of a backup.
pub type Problems = CappedList<Problem>;

/// A problem of a backup.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The manifest is missing: the dump was never completed, or the manifest was removed.
    #[error("the manifest {object} is missing, so this is not a backup")]
    ManifestMissing {
        /// The manifest's URL.
        object: String,
    },
    /// An object cannot be parsed.
    #[error("{object} cannot be read")]
    Unreadable {
        /// Its URL.
        object: String,
        /// The cause.
        source: ArchiveError,
    },
    /// The manifest belongs to another backup.
    #[error("the manifest belongs to another backup: it has {said} instead of {expected}")]
    ForeignManifest {
        /// The value in the manifest.
        said: String,
        /// The expected value.
        expected: String,
    },
    /// The table of contents is missing.
    #[error("the table of contents {object} is missing")]
    TocMissing {
        /// Its URL.
        object: String,
    },
    /// The table of contents is not the one that the manifest describes.
    #[error("{object} does not match its manifest: {difference}")]
    TocDiffers {
        /// Its URL.
        object: String,
        /// The difference.
        difference: String,
    },
    /// The manifest and the table of contents contradict each other, or the table of contents contradicts
    /// itself.
    #[error("the table of contents contradicts {with}: {what}")]
    Contradiction {
        /// `the manifest` or `itself`.
        with: &'static str,
        /// The contradiction.
        what: String,
    },
    /// The dump object is missing.
    #[error("the dump {object} is missing")]
    DumpMissing {
        /// Its URL.
        object: String,
    },
    /// The dump object is shorter or longer than the manifest says.
    #[error("the dump {object} {}", sizes(*.found, *.expected))]
    DumpSize {
        /// Its URL.
        object: String,
        /// Its size in bytes.
        found: u64,
        /// The size in the manifest.
        expected: u64,
    },
    /// The dump object is encrypted and cannot be decrypted.
    #[error("the dump {object} cannot be opened")]
    DumpSealed {
        /// Its URL.
        object: String,
        /// The cause.
        source: SealError,
    },
    /// The dump object has different bytes than were written.
    #[error("the dump's {sum} is {found} instead of {expected}")]
    Checksum {
        /// `SHA-256` or `CRC-64/NVME`.
        sum: &'static str,
        /// The checksum found, in hexadecimal.
        found: String,
        /// The checksum in the manifest.
        expected: String,
    },
    /// A member of the dump does not decompress to its text.
    #[error("member {index} (bytes {from} to {to} of the dump, {holding}) {what}")]
    Member {
        /// Its index in the table of contents, from 0.
        index: usize,
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
        /// The content of the member.
        holding: String,
        /// `does not unpack: …` or `unpacks to … bytes instead of …`.
        what: String,
    },
    /// The bytes after the members are not the seek table.
    #[error("the seek table (bytes {from} to {to} of the dump) does not list the members")]
    SeekTable {
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// The text at an offset of the table of contents is not the expected one.
    #[error("{what}")]
    Text {
        /// The problem.
        what: String,
    },
    /// A table has a different number of rows.
    #[error("{table} has {found} rows instead of {expected}")]
    Rows {
        /// The table, or a description of the entry.
        table: String,
        /// The number found.
        found: u64,
        /// The expected number.
        expected: u64,
    },
    /// A table has different rows.
    #[error("the digest of the rows of {table} differs from the table of contents")]
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

/// A backup's metadata, and its dump.
pub(super) struct Description {
    pub(super) manifest: Manifest,
    /// Why the backup cannot be decrypted.
    pub(super) locked: Option<SealError>,
    /// `None` when it cannot be read; this is reported, unless the backup is locked.
    pub(super) toc: Option<TocFile>,
    /// Whether the table of contents is consistent; contradictions are reported.
    pub(super) is_coherent: bool,
    /// The stored dump and its size in bytes; `None` when it is missing, which is reported.
    pub(super) stored: Option<(Object, u64)>,
    /// The readable dump; also `None` when it cannot be decrypted, which is reported unless the backup is
    /// locked.
    pub(super) object: Option<Object>,
}

/// Reads the manifest and the table of contents, and reports their problems; `None` without a manifest.
pub(super) async fn describe(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    identities: Option<&Identities>,
    problems: &mut Problems,
) -> Result<Option<Description>, StoreError> {
    let Some(mut manifest) = read_manifest(store, prefix, id, problems).await? else { return Ok(None) };
    agreement::manifest_is_of(&manifest, id, problems);
    let locked = match manifest.open(identities) {
        Ok(()) => None,
        Err(ArchiveError::Sealed { source, .. }) if source.is_about_identity() => Some(source),
        Err(source) => {
            let object = store.url(&id.key(prefix, Part::Manifest));
            problems.push(Problem::Unreadable { object, source });
            None
        }
    };
    let identities = identities.filter(|_| locked.is_none());
    let toc = match &locked {
        None => backups::read_toc(&**store, prefix, id, &manifest, identities).await.map(Some),
        Some(_) => backups::read_stored_toc(&**store, prefix, id, &manifest).await.map(|_| None),
    };
    let toc = toc_or_problem(toc, problems)?;
    let is_coherent = toc.as_ref().is_some_and(|toc| agreement::toc_agrees(toc, &manifest, problems));
    let key = id.key(prefix, Part::Dump(manifest.dump.compression.into(), manifest.cipher()));
    let listed = store.list(&key).await?.into_iter().find(|object| object.key == key);
    let (size, expected) = (listed.map(|object| object.size), manifest.dump.size);
    match size {
        None => problems.push(Problem::DumpMissing { object: store.url(&key) }),
        Some(found) if found != expected => {
            problems.push(Problem::DumpSize { object: store.url(&key), found, expected });
        }
        Some(_) => {}
    }
    let stored = size.map(|size| (Object::stored(Arc::clone(store), key), size));
    let object = match &stored {
        Some((stored, size)) if locked.is_none() => {
            opened(stored, *size, &manifest, identities, problems).await?
        }
        _ => None,
    };
    Ok(Some(Description { manifest, locked, toc, is_coherent, stored, object }))
}

/// Opens the dump for reading. A dump that was cut within its header is not opened; its size has been
/// reported already.
async fn opened(
    stored: &Object,
    size: u64,
    manifest: &Manifest,
    identities: Option<&Identities>,
    problems: &mut Problems,
) -> Result<Option<Object>, StoreError> {
    let Some(encryption) = &manifest.encryption else { return Ok(Some(stored.clone())) };
    if size < encryption.header_size {
        return Ok(None);
    }
    match stored.open(manifest.dump.size, encryption.header_size, identities).await {
        Ok(object) => Ok(Some(object)),
        Err(DownloadError::Store(error)) => Err(error),
        Err(DownloadError::Sealed { object, source }) => {
            // An identity that decrypts the manifest would also decrypt the dump.
            let source = if source.is_about_identity() { SealError::Header } else { source };
            problems.push(Problem::DumpSealed { object, source });
            Ok(None)
        }
        Err(DownloadError::Unpack { .. } | DownloadError::Misplaced { .. }) => Ok(None),
    }
}

/// Verifies one backup. Fails only if the store fails.
pub async fn verify(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    identities: Option<&Identities>,
) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let described = describe(store, prefix, id, identities, &mut verified.problems).await?;
    let Some(Description { manifest, locked, toc, is_coherent, stored, object }) = described else {
        return Ok(verified);
    };
    verified.size = manifest.dump.size;
    verified.raw_size = manifest.dump.raw_size;
    verified.tables = manifest.totals().tables;
    verified.rows = manifest.totals().rows;
    verified.is_locked = locked.is_some();
    if let Some(source @ SealError::WrongIdentity) = locked {
        let object = store.url(&id.stem(prefix));
        verified
            .problems
            .push(Problem::Unreadable { object, source: ArchiveError::Sealed { what: "manifest", source } });
    }
    if let Some((stored, size)) = stored.filter(|(_, size)| *size > 0) {
        let toc = toc.filter(|_| is_coherent && object.is_some()).unwrap_or_else(|| without_toc(&manifest));
        let opened = object.and_then(|object| object.opened().cloned());
        let problems = content::check(&stored, opened, size, &manifest, toc).await?;
        verified.problems.append(problems);
    }
    Ok(verified)
}

/// Without a consistent table of contents, only the dump's checksums can be compared.
fn without_toc(manifest: &Manifest) -> TocFile {
    TocFile {
        format_version: manifest.format_version,
        file: manifest.dump.file.clone(),
        compression: manifest.dump.compression,
        size: manifest.dump.size,
        raw_size: manifest.dump.raw_size,
        members: Vec::new(),
        checksums: Vec::new(),
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
            problems.push(Problem::ManifestMissing { object });
        }
        Err(error) => problems.push(problem_of(error)?),
    }
    Ok(None)
}

fn toc_or_problem(
    read: Result<Option<TocFile>, BackupError>,
    problems: &mut Problems,
) -> Result<Option<TocFile>, StoreError> {
    match read {
        Ok(toc) => return Ok(toc),
        Err(BackupError::Store(StoreError::NotFound { object, .. })) => {
            problems.push(Problem::TocMissing { object });
        }
        Err(error) => problems.push(problem_of(error)?),
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
