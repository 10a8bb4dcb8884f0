//! The sources of a dump: a file, standard input, or an object in a store.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::Backup;
use super::error::RestoreError;
use crate::archive::encryption::Identities;
use crate::archive::key::{BackupId, Part};
use crate::pipeline::download::{DownloadOptions, FetchedRange};
use crate::pipeline::object::Object;
use crate::storage::local::LocalStore;
use crate::storage::{Store, StoreError};

/// A dump to restore.
pub enum DumpSource {
    /// A dump without a table of contents.
    Plain(PlainDump),
    /// A dump with its table of contents.
    Backup(Arc<Backup>),
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
