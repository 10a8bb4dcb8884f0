//! Where a dump comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::error::RestoreError;
use crate::archive::key::{BackupId, Packing, Part};
use crate::pipeline::download::{DownloadOptions, Packed};
use crate::storage::{Store, StoreError};

/// A dump to be restored.
pub enum Source {
    /// One without a table of contents.
    Plain(PlainDump),
}

impl Source {
    /// A backup. One without manifest and table of contents, as other programs write them, is a plain dump; only
    /// one of the two missing means that it was not finished, or is damaged.
    pub async fn backup(store: Arc<dyn Store>, prefix: &str, id: &BackupId) -> Result<Source, RestoreError> {
        let below = id.key(prefix, Part::Dump(Packing::Plain));
        let objects = store.list(&below).await?;
        let find = |part| {
            let key = id.key(prefix, part);
            objects.iter().any(|object| object.key == key).then_some(key)
        };
        let dumps = [Packing::Plain, Packing::Gzip, Packing::Zstd].map(Part::Dump);
        match dumps.into_iter().find_map(find) {
            Some(key) => Ok(Source::Plain(PlainDump::object(store, key).await?)),
            None => Err(StoreError::NotFound { object: store.url(&below) }.into()),
        }
    }
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
