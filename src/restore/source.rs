//! The sources of a dump: a file, standard input, or an object in a store.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RestoreError;
use super::verify::{Description, Problem, Problems, describe};
use crate::archive::encryption::Identities;
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::pipeline::download::{DownloadError, DownloadOptions, FetchedRange};
use crate::pipeline::object::Object;
use crate::report::chain;
use crate::storage::local::LocalStore;
use crate::storage::{Store, StoreError};

/// A dump to restore.
pub enum DumpSource {
    /// A dump without a table of contents.
    Plain(PlainDump),
    /// A dump with its table of contents.
    Backup(Arc<Backup>),
}

/// A backup whose manifest and table of contents have been read and agree.
pub struct Backup {
    /// The dump.
    pub(super) object: Object,
    pub(super) manifest: Manifest,
    pub(super) toc: Arc<TocFile>,
}

impl DumpSource {
    /// Opens a file. A file in the directory layout of a store, next to its manifest and table of contents,
    /// is a backup; any other file is a plain dump.
    pub async fn file(path: &Path, identities: Option<&Identities>) -> Result<DumpSource, RestoreError> {
        let plain = PlainDump::file(path)?.with_identities(identities);
        let Some((root, key)) = within_store(path) else { return Ok(DumpSource::Plain(plain)) };
        let Some((id, _)) = BackupId::parse("", &key) else { return Ok(DumpSource::Plain(plain)) };
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(root)?);
        DumpSource::backup(&store, "", &id, identities).await
    }

    /// Opens a backup. A dump without a manifest and without a table of contents, as other programs write it,
    /// is a plain dump. If only one of the two is missing, the backup is incomplete or damaged.
    pub async fn backup(
        store: &Arc<dyn Store>,
        prefix: &str,
        id: &BackupId,
        identities: Option<&Identities>,
    ) -> Result<DumpSource, RestoreError> {
        let stem = id.stem(prefix);
        let keys = store.list(&stem).await?;
        if keys.is_empty() {
            return Err(StoreError::NotFound { object: store.url(&stem) }.into());
        }
        let find = |part| {
            let key = id.key(prefix, part);
            keys.iter().any(|object| object.key == key).then_some(key)
        };
        if find(Part::Manifest).is_none() && Part::TOCS.into_iter().all(|part| find(part).is_none()) {
            let key = Part::DUMPS.into_iter().find_map(find);
            let key = key.ok_or_else(|| StoreError::NotFound { object: store.url(&id.stem(prefix)) })?;
            let plain = PlainDump::object(Arc::clone(store), key).await?;
            return Ok(DumpSource::Plain(plain.with_identities(identities)));
        }
        Ok(DumpSource::Backup(Arc::new(Backup::open(store, prefix, id, identities).await?)))
    }
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
    pub(super) fn damaged(&self, what: String) -> RestoreError {
        RestoreError::Damaged { object: self.object.url(), what }
    }

    pub(super) fn misplaced(&self) -> DownloadError {
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

/// Returns the directory that would be the store, and the key that the file would have in it: its name and
/// the two directories above.
fn within_store(path: &Path) -> Option<(PathBuf, String)> {
    let path = std::fs::canonicalize(path).ok()?;
    let root = path.ancestors().nth(3)?;
    let key = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    Some((root.to_owned(), key))
}

/// A dump that is read from beginning to end, with any supported compression.
pub struct PlainDump {
    /// The name for messages.
    pub(super) name: String,
    /// The compressed size in bytes, if known.
    pub(super) size: Option<u64>,
    pub(super) packed: Box<dyn Read + Send>,
    /// The identities that decrypt it, if it is encrypted.
    pub(super) identities: Option<Identities>,
}

impl PlainDump {
    /// Reads standard input.
    pub fn stdin() -> PlainDump {
        PlainDump::new("standard input".to_owned(), None, io::stdin())
    }

    fn new(name: String, size: Option<u64>, packed: impl Read + Send + 'static) -> PlainDump {
        PlainDump { name, size, packed: Box::new(packed), identities: None }
    }

    /// Returns the same dump, decrypted with these identities if it is encrypted.
    pub fn with_identities(self, identities: Option<&Identities>) -> PlainDump {
        PlainDump { identities: identities.cloned(), ..self }
    }

    /// Opens a file, or anything that opens like one.
    pub fn file(path: &Path) -> Result<PlainDump, RestoreError> {
        let failed = |source| RestoreError::Open { path: path.display().to_string(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(PlainDump::new(path.display().to_string(), size, file))
    }

    /// Opens an object. Must be called within a tokio runtime.
    pub async fn object(store: Arc<dyn Store>, key: String) -> Result<PlainDump, StoreError> {
        let listed = store.list(&key).await?.into_iter().find(|object| object.key == key);
        let name = store.url(&key);
        let size = listed.ok_or_else(|| StoreError::NotFound { object: name.clone() })?.size;
        let packed = FetchedRange::open(&Object::stored(store, key), 0..size, DownloadOptions::default());
        Ok(PlainDump::new(name, Some(size), packed))
    }
}
