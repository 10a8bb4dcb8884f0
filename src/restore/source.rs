//! Where a dump comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RestoreError;
use super::verify::{Description, Problem, Problems, describe};
use crate::archive::key::{BackupId, Packing, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::error::chain;
use crate::pipeline::download::{DownloadError, DownloadOptions, Packed};
use crate::storage::local::LocalStore;
use crate::storage::{Store, StoreError};

/// A dump to be restored.
pub enum Source {
    /// One without a table of contents.
    Plain(PlainDump),
    /// One with it.
    Backup(Arc<Backup>),
}

/// A backup of which manifest and table of contents have been read and agree.
pub struct Backup {
    pub(super) store: Arc<dyn Store>,
    /// The dump's key.
    pub(super) key: String,
    pub(super) manifest: Manifest,
    pub(super) toc: Arc<TocFile>,
}

impl Source {
    /// A file. One that lies where a store in a directory has it, beside its manifest and table of contents, is a
    /// backup; any other is a plain dump.
    pub async fn file(path: &Path) -> Result<Source, RestoreError> {
        let plain = PlainDump::file(path)?;
        let Some((root, key)) = within_store(path) else { return Ok(Source::Plain(plain)) };
        let Some((id, _)) = BackupId::parse("", &key) else { return Ok(Source::Plain(plain)) };
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(root)?);
        Source::backup(&store, "", &id).await
    }

    /// A backup. One that has neither manifest nor table of contents, as other programs write them, is a plain
    /// dump; only one of the two missing means that it was not finished, or is damaged.
    pub async fn backup(store: &Arc<dyn Store>, prefix: &str, id: &BackupId) -> Result<Source, RestoreError> {
        let stem = id.stem(prefix);
        let keys = store.list(&stem).await?;
        if keys.is_empty() {
            return Err(StoreError::NotFound { object: store.url(&stem) }.into());
        }
        let find = |part| {
            let key = id.key(prefix, part);
            keys.iter().any(|object| object.key == key).then_some(key)
        };
        if find(Part::Manifest).is_none() && find(Part::Toc).is_none() {
            let dumps = [Packing::Plain, Packing::Gzip, Packing::Zstd].map(Part::Dump);
            let key = dumps.into_iter().find_map(find);
            let key = key.ok_or_else(|| StoreError::NotFound { object: store.url(&id.stem(prefix)) })?;
            return Ok(Source::Plain(PlainDump::object(Arc::clone(store), key).await?));
        }
        Ok(Source::Backup(Arc::new(Backup::open(store, prefix, id).await?)))
    }
}

impl Backup {
    /// Reads a backup's manifest and table of contents; anything that is wrong with them is an error.
    pub async fn open(store: &Arc<dyn Store>, prefix: &str, id: &BackupId) -> Result<Backup, RestoreError> {
        let mut problems = Problems::default();
        let described = describe(store, prefix, id, &mut problems).await?;
        let damaged = |problem: Option<&Problem>| RestoreError::Damaged {
            object: store.url(&id.stem(prefix)),
            what: problem.map_or_else(String::new, |problem| chain(problem).line),
        };
        match described {
            Some(Description { manifest, toc: Some(toc), key, size: Some(_) }) if problems.is_empty() => {
                Ok(Backup { store: Arc::clone(store), key, manifest, toc: Arc::new(toc) })
            }
            _ => Err(damaged(problems.first().first())),
        }
    }

    /// The dump does not hold what its table of contents says.
    pub(super) fn damaged(&self, what: String) -> RestoreError {
        RestoreError::Damaged { object: self.store.url(&self.key), what }
    }

    pub(super) fn misplaced(&self) -> DownloadError {
        DownloadError::Misplaced { object: self.store.url(&self.key) }
    }

    /// The table of contents.
    pub fn toc(&self) -> &TocFile {
        &self.toc
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// The directory that would be a store, and the key that the file would have there: its name and those of two
/// directories above.
fn within_store(path: &Path) -> Option<(PathBuf, String)> {
    let path = std::fs::canonicalize(path).ok()?;
    let root = path.ancestors().nth(3)?;
    let key = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    Some((root.to_owned(), key))
}

/// A dump that is read from its beginning to its end, packed in any way.
pub struct PlainDump {
    /// What it is called in messages.
    pub(super) name: String,
    /// Its packed size in bytes, if that is known.
    pub(super) size: Option<u64>,
    pub(super) packed: Box<dyn Read + Send>,
}

impl PlainDump {
    /// Standard input.
    pub fn stdin() -> PlainDump {
        PlainDump { name: "standard input".to_owned(), size: None, packed: Box::new(io::stdin()) }
    }

    /// A file, or whatever can be opened like one.
    pub fn file(path: &Path) -> Result<PlainDump, RestoreError> {
        let failed = |source| RestoreError::Open { path: path.display().to_string(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(PlainDump { name: path.display().to_string(), size, packed: Box::new(file) })
    }

    /// An object. To be called within a tokio runtime.
    pub async fn object(store: Arc<dyn Store>, key: String) -> Result<PlainDump, StoreError> {
        let listed = store.list(&key).await?.into_iter().find(|object| object.key == key);
        let name = store.url(&key);
        let size = listed.ok_or_else(|| StoreError::NotFound { object: name.clone() })?.size;
        let packed = Packed::open(store, key, 0..size, DownloadOptions::default());
        Ok(PlainDump { name, size: Some(size), packed: Box::new(packed) })
    }
}
