//! A stored backup: reads its manifest and its table of contents, checks that they belong together
//! ([`agreement`]), and opens its dump. Restoring, verifying, comparing and drilling build on it.
//!
//! Memory: the manifest and the table of contents.

mod agreement;
mod problem;

use std::sync::Arc;

pub use problem::{Problem, Problems};

use super::error::RestoreError;
use crate::archive::ArchiveError;
use crate::archive::encryption::{Identities, SealError};
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::pipeline::backups::{self, BackupError};
use crate::pipeline::download::DownloadError;
use crate::pipeline::object::Object;
use crate::report::chain;
use crate::storage::{Store, StoreError};

/// A backup whose manifest and table of contents have been read and agree.
pub struct Backup {
    /// The dump.
    pub(in crate::restore) object: Object,
    pub(in crate::restore) manifest: Manifest,
    pub(in crate::restore) toc: Arc<TocFile>,
}

impl Backup {
    /// Reads a backup's manifest and table of contents; fails if they are invalid, disagree or cannot be
    /// decrypted.
    pub async fn open(
        store: &Arc<dyn Store>,
        prefix: &str,
        id: &BackupId,
        identities: Option<&Identities>,
    ) -> Result<Backup, RestoreError> {
        let mut problems = Problems::default();
        let described = describe(store, prefix, id, identities, &mut problems).await?;
        let damaged = |problem: Option<&Problem>| RestoreError::Damaged {
            object: store.url(&id.stem(prefix)),
            what: problem.map_or_else(String::new, |problem| chain(problem).line),
        };
        match described {
            Some(Description { locked: Some(source), .. }) => {
                Err(RestoreError::NoIdentity { object: store.url(&id.stem(prefix)), source })
            }
            Some(Description { manifest, toc: Some(toc), object: Some(object), .. })
                if problems.is_empty() =>
            {
                Ok(Backup { object, manifest, toc: Arc::new(toc) })
            }
            _ => Err(damaged(problems.first().first())),
        }
    }

    /// Returns the error for a dump that does not match its table of contents.
    pub(in crate::restore) fn damaged(&self, what: String) -> RestoreError {
        RestoreError::Damaged { object: self.object.url(), what }
    }

    pub(in crate::restore) fn misplaced(&self) -> DownloadError {
        DownloadError::Misplaced { object: self.object.url() }
    }

    /// Returns the table of contents.
    pub fn toc(&self) -> &TocFile {
        &self.toc
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// A backup's metadata, and its dump.
pub(in crate::restore) struct Description {
    pub(in crate::restore) manifest: Manifest,
    /// Why the backup cannot be decrypted.
    pub(in crate::restore) locked: Option<SealError>,
    /// `None` when it cannot be read; this is reported, unless the backup is locked.
    pub(in crate::restore) toc: Option<TocFile>,
    /// Whether the table of contents is consistent; contradictions are reported.
    pub(in crate::restore) is_coherent: bool,
    /// The stored dump and its size in bytes; `None` when it is missing, which is reported.
    pub(in crate::restore) stored: Option<(Object, u64)>,
    /// The readable dump; also `None` when it cannot be decrypted, which is reported unless the backup is
    /// locked.
    pub(in crate::restore) object: Option<Object>,
}

/// Reads the manifest and the table of contents, and reports their problems; `None` without a manifest.
pub(in crate::restore) async fn describe(
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
