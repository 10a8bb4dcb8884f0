//! A directory as a store: `file:///dir`. An object is written to a file with a temporary name. When it is
//! complete, the file is synced, renamed or linked, and its directory is synced, so that a crash leaves
//! either the whole object or nothing. Temporary names begin with [`TEMPORARY`] and are never listed.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    ContentType, IfExists, ObjectInfo, ObjectSums, Page, PageToken, PartLimits, Store, StoreError, Upload,
    UploadPart,
};

/// Prefix of the names of unfinished files.
const TEMPORARY: &str = ".pg-backup-";

/// Number of objects in one page of a listing.
const PAGE: usize = 1000;

/// A store in a directory.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Opens the directory `root`, which must exist.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let missing = |source: io::Error| StoreError::NoSuchBucket {
            store: format!("directory {}", root.display()),
            source: source.into(),
        };
        let metadata = std::fs::metadata(&root).map_err(missing)?;
        if !metadata.is_dir() {
            return Err(missing(ErrorKind::NotADirectory.into()));
        }
        Ok(LocalStore { root })
    }

    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let fits = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(TEMPORARY);
        if !key.split('/').all(fits) || key.contains('\0') {
            return Err(StoreError::BadKey { key: key.to_owned() });
        }
        Ok(self.root.join(key))
    }
}

/// Runs file operations outside of the runtime's threads.
async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::File {
            operation: "work on",
            path: "a local store".to_owned(),
            source: io::Error::other(error),
        }),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::File { operation, path, source }
}

#[async_trait]
impl Store for LocalStore {
    fn url(&self, key: &str) -> String {
        format!("file://{}/{key}", self.root.display())
    }

    fn part_limits(&self) -> PartLimits {
        PartLimits { min_size: 1 << 20, max_size: 1 << 40, max_parts: u32::MAX, max_object: 1 << 50 }
    }

    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        _: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let root = self.root.clone();
        blocking(move || {
            let unfinished = TemporaryFile::create(&root, &path)?;
            unfinished.file().write_all(&body).map_err(failed("write", &unfinished.temporary))?;
            unfinished.publish(if_exists)
        })
        .await
    }

    async fn begin_upload(&self, key: &str, _: ContentType) -> Result<Box<dyn Upload>, StoreError> {
        let path = self.path(key)?;
        let root = self.root.clone();
        let unfinished = blocking(move || TemporaryFile::create(&root, &path)).await?;
        Ok(Box::new(LocalUpload { unfinished: Arc::new(unfinished) }))
    }

    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
        let root = self.root.clone();
        let prefix = prefix.to_owned();
        blocking(move || {
            let mut objects = Vec::new();
            walk(&root, "", &prefix, &mut objects)?;
            objects.sort_by(|a: &ObjectInfo, b| a.key.cmp(&b.key));
            if let Some(PageToken(after)) = after {
                objects.retain(|object| object.key > after);
            }
            let more = objects.len() > PAGE;
            objects.truncate(PAGE);
            let last = objects.last().map(|object| PageToken(object.key.clone()));
            Ok(Page { objects, next: last.filter(|_| more) })
        })
        .await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let (path, object) = (self.path(key)?, self.url(key));
        blocking(move || {
            let mut content = Vec::new();
            let mut file = open(&path, object.clone())?.take(limit.saturating_add(1));
            file.read_to_end(&mut content).map_err(failed("read", &path))?;
            match content.len() as u64 > limit {
                true => Err(StoreError::TooLong { object, limit }),
                false => Ok(content.into()),
            }
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (path, object) = (self.path(key)?, self.url(key));
        blocking(move || {
            let file = open(&path, object)?;
            let size = file.metadata().map_err(failed("read", &path))?.len();
            // Allocates memory only for bytes that exist.
            let length = usize::try_from(range.end.min(size).saturating_sub(range.start));
            let mut content = vec![0; length.map_err(io::Error::other).map_err(failed("read", &path))?];
            let whole = if range.end > size { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
            whole
                .and_then(|()| file.read_exact_at(&mut content, range.start))
                .map_err(failed("read a range of", &path))?;
            Ok(content.into())
        })
        .await
    }
}

fn open(path: &Path, object: String) -> Result<File, StoreError> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::NotFound { object }),
        result => result.map_err(failed("read", path)),
    }
}

/// Collects the objects below one directory whose keys begin with `prefix`. Directories that cannot contain
/// any are skipped.
fn walk(directory: &Path, key: &str, prefix: &str, objects: &mut Vec<ObjectInfo>) -> Result<(), StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound && !key.is_empty() => return Ok(()),
        result => result.map_err(failed("list", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", directory))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with(TEMPORARY)) else { continue };
        let path = entry.path();
        let key = format!("{key}{name}");
        let kind = entry.file_type().map_err(failed("list", &path))?;
        if kind.is_dir() {
            let key = format!("{key}/");
            if key.starts_with(prefix) || prefix.starts_with(&key) {
                walk(&path, &key, prefix, objects)?;
            }
        } else if kind.is_file() && key.starts_with(prefix) {
            match entry.metadata() {
                Ok(metadata) => objects.push(ObjectInfo {
                    key,
                    size: metadata.len(),
                    modified: metadata.modified().ok().and_then(|time| time.try_into().ok()),
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("list", &path)(error)),
            }
        }
    }
    Ok(())
}

/// A file with a temporary name; removed when it is dropped unpublished.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    sync: bool,
}

impl TemporaryFile {
    /// Creates the missing directories between `root` and `path`, and the temporary file next to `path`.
    fn create(root: &Path, path: &Path) -> Result<Self, StoreError> {
        let directory = path.parent().unwrap_or(root);
        create_directories(root, directory)?;
        TemporaryFile::beside(path)
    }

    /// Creates the temporary file next to `path`.
    pub(crate) fn beside(path: &Path) -> Result<Self, StoreError> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other).map_err(failed("name", path))?;
        let name = path.file_name().unwrap_or(OsStr::new("object")).to_string_lossy();
        // The name is cut so that it stays below the length limit with its prefix and suffix.
        let name: String = name.chars().take(40).collect();
        let temporary = directory.join(format!("{TEMPORARY}{name}-{:016x}", u64::from_le_bytes(random)));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(failed("create", &temporary))?;
        Ok(TemporaryFile { file, temporary, path: path.to_owned(), sync: true })
    }

    /// Returns the open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Skips the final sync to disk (pg_dump's `--no-sync`).
    pub(crate) fn without_sync(mut self) -> Self {
        self.sync = false;
        self
    }

    /// Makes the file durable and visible under its final name. The temporary name no longer exists
    /// afterwards, so that dropping removes nothing.
    pub(crate) fn publish(&self, if_exists: IfExists) -> Result<(), StoreError> {
        if self.sync {
            self.file.sync_all().map_err(failed("sync", &self.temporary))?;
        }
        match if_exists {
            IfExists::Replace => self.rename()?,
            IfExists::Fail | IfExists::FailUnlessOwn => {
                self.name_new(if_exists, |from, to| std::fs::hard_link(from, to))?
            }
        }
        if self.sync { sync_directory(self.path.parent()) } else { Ok(()) }
    }

    fn rename(&self) -> Result<(), StoreError> {
        std::fs::rename(&self.temporary, &self.path).map_err(failed("rename a file to", &self.path))
    }

    /// Gives the file its final name, unless that name exists. A hard link never replaces a file. On a file
    /// system without hard links (FAT, some network and user-space ones), the key must be claimed first: the
    /// claim creates a new file, which is atomic, and under a claimed key a check for an existing file is
    /// sufficient.
    fn name_new(
        &self,
        if_exists: IfExists,
        link: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let exists = || StoreError::Exists { object: self.path.display().to_string() };
        match link(&self.temporary, &self.path) {
            Ok(()) => {
                self.discard();
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists()),
            Err(error) if !has_no_links(&error) => return Err(failed("link a file to", &self.path)(error)),
            Err(_) => {}
        }
        match if_exists {
            IfExists::FailUnlessOwn if self.path.symlink_metadata().is_ok() => return Err(exists()),
            IfExists::FailUnlessOwn => {}
            IfExists::Fail | IfExists::Replace => {
                File::create_new(&self.path).map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => exists(),
                    _ => failed("create", &self.path)(error),
                })?;
            }
        }
        self.rename()
    }
}

/// Returns whether linking failed because the file system has no hard links.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::TooManyLinks)
}

impl TemporaryFile {
    /// Removes the file while other references may still hold it open.
    pub(crate) fn discard(&self) {
        // The error is ignored: the file is never listed, and nothing more can be done here.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Creates `directory` and its parents below `root`, and syncs the parent of each.
fn create_directories(root: &Path, directory: &Path) -> Result<(), StoreError> {
    if directory == root || directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_directories(root, parent)?;
    }
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed("create", directory)(error)),
        _ => sync_directory(directory.parent()),
    }
}

fn sync_directory(directory: Option<&Path>) -> Result<(), StoreError> {
    let directory = directory.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

#[derive(Debug)]
struct LocalUpload {
    unfinished: Arc<TemporaryFile>,
}

#[async_trait]
impl Upload for LocalUpload {
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError> {
        let unfinished = Arc::clone(&self.unfinished);
        blocking(move || {
            unfinished
                .file()
                .write_all_at(&part.body, part.offset)
                .map_err(failed("write", &unfinished.temporary))
        })
        .await
    }

    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError> {
        let unfinished = Arc::clone(&self.unfinished);
        let size = sums.size;
        blocking(move || {
            let found = unfinished.file().metadata().map_err(failed("read", &unfinished.temporary))?.len();
            if found != size {
                let error = io::Error::other(format!("it has {found} bytes instead of {size}"));
                return Err(failed("publish", &unfinished.path)(error));
            }
            unfinished.publish(if_exists)
        })
        .await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        let unfinished = Arc::clone(&self.unfinished);
        blocking(move || {
            std::fs::remove_file(&unfinished.temporary).map_err(failed("remove", &unfinished.temporary))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names a file whose content identifies its writer.
    fn name(
        path: &Path,
        content: &str,
        if_exists: IfExists,
        link: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let unfinished = TemporaryFile::beside(path)?;
        unfinished.file().write_all(content.as_bytes()).unwrap();
        unfinished.name_new(if_exists, link)
    }

    #[test]
    fn no_file_is_replaced_with_links_and_without() {
        let with: fn(&Path, &Path) -> io::Result<()> = |from, to| std::fs::hard_link(from, to);
        let without: fn(&Path, &Path) -> io::Result<()> = |_, _| Err(ErrorKind::Unsupported.into());
        for link in [with, without] {
            for if_exists in [IfExists::Fail, IfExists::FailUnlessOwn] {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("object");
                name(&path, "first", if_exists, link).unwrap();
                let error = name(&path, "second", if_exists, link).unwrap_err();
                assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
                assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "{if_exists:?}");
            }
        }
    }
}
