//! Storage of backups. A [`Store`] handles objects, keys and parts; it contains no SQL and no knowledge of
//! backups. All stores give the same guarantee: an object exists completely or not at all.
//!
//! - [`s3`]: a bucket. Writing needs only `s3:PutObject`.
//! - [`local`]: a directory, `file:///dir`.
//! - [`memory`]: a store for tests, which can simulate failures.
//! - [`mirror`]: combines two stores into one.

mod error;
pub mod local;
pub mod memory;
pub mod mirror;
mod pending_upload;
pub mod s3;
mod unfinished;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::StoreError;
pub(crate) use pending_upload::PendingUpload;
pub use unfinished::{UnfinishedUploads, settle};

/// Media type of an object (`Content-Type`).
pub type ContentType = &'static str;

/// How to write when an object with the key exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// Replace the object.
    #[default]
    Replace,
    /// Keep the object and fail with [`StoreError::Exists`].
    Fail,
    /// As [`IfExists::Fail`], except that the write succeeds if the existing object is the result of an
    /// earlier attempt of the same request whose response was lost. Only for a key that no other writer uses.
    FailUnlessOwn,
}

/// A storage for objects.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the URL of an object: `s3://bucket/key`.
    fn url(&self, key: &str) -> String;

    /// Returns the limits for the parts of an upload.
    fn part_limits(&self) -> PartLimits;

    /// Writes a small object in one request.
    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        content_type: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError>;

    /// Writes a small object in one request and replaces an existing one. For objects that are not part of a
    /// backup.
    async fn put(&self, key: &str, body: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.put_object(key, body, content_type, IfExists::Replace).await
    }

    /// Begins a multipart upload. Nothing is visible under the key before [`Upload::complete`]. A caller that
    /// may be cancelled while it waits for the response must use `PendingUpload::ask`, so that no upload is
    /// left behind.
    async fn begin_upload(&self, key: &str, content_type: ContentType)
    -> Result<Box<dyn Upload>, StoreError>;

    /// Returns one page of the objects whose keys begin with `prefix`, ordered by key.
    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError>;

    /// Reads a whole object. Fails if it is larger than `limit` bytes; no more than that is read.
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError>;

    /// Reads a range of an object. The range must be inside the object and must not be empty. Nothing outside
    /// of it is read.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Returns the pending uploads, if the store can leave unfinished uploads behind.
    fn unfinished_uploads(&self) -> Option<&UnfinishedUploads> {
        None
    }

    /// Returns all objects whose keys begin with `prefix`, ordered by key.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut objects = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next(|after| self.list_page(prefix, after)).await? {
            objects.extend(page);
        }
        Ok(objects)
    }
}

/// Reads a listing page by page. A store that returns the same page token twice is an error.
#[derive(Debug, Default)]
pub struct Pages {
    seen: HashSet<String>,
    next: Option<PageToken>,
    has_begun: bool,
}

impl Pages {
    /// Returns the objects of the next page, which `list_page` reads; `None` after the last page.
    pub async fn next<F>(
        &mut self,
        list_page: impl FnOnce(Option<PageToken>) -> F,
    ) -> Result<Option<Vec<ObjectInfo>>, StoreError>
    where
        F: Future<Output = Result<Page, StoreError>>,
    {
        if self.has_begun && self.next.is_none() {
            return Ok(None);
        }
        self.has_begun = true;
        let page = list_page(self.next.take()).await?;
        if let Some(PageToken(token)) = &page.next
            && !self.seen.insert(token.clone())
        {
            return Err(StoreError::EndlessListing { token: token.chars().take(100).collect() });
        }
        self.next = page.next;
        Ok(Some(page.objects))
    }
}

/// A multipart upload. Parts may be written in any order and concurrently. An upload that is dropped without
/// [`Upload::complete`] or [`Upload::abort`] leaves nothing visible, but its parts may keep using space in
/// the store.
#[async_trait]
pub trait Upload: fmt::Debug + Send + Sync {
    /// Writes one part.
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError>;

    /// Makes the object visible. Must be called after all parts have been written.
    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError>;

    /// Aborts the upload and frees the space of its parts, as far as the store permits.
    async fn abort(&self) -> Result<(), StoreError>;
}

/// Maximum time to abort an upload: a cancelled program must not wait for a store that does not answer.
const ABORT_TIME: Duration = Duration::from_secs(5);

/// Aborts an upload. A failure to abort is logged only.
pub(crate) async fn abort_in_time(upload: &dyn Upload, object: &str) {
    if !in_abort_time(upload.abort(), object).await {
        tracing::warn!(object, "{STAYS}: the store did not answer");
    }
}

/// Runs the abort of an upload of `object`, for at most [`ABORT_TIME`]. Returns whether it ended in time.
async fn in_abort_time(aborted: impl Future<Output = Result<(), StoreError>>, object: &str) -> bool {
    match tokio::time::timeout(ABORT_TIME, aborted).await {
        // An upload that is gone needs no abort.
        Ok(Ok(()) | Err(StoreError::LostUpload { .. })) => true,
        Ok(Err(error)) => {
            tracing::warn!(object, error = &error as &dyn std::error::Error, "{STAYS}");
            true
        }
        Err(_) => false,
    }
}

/// The log message for an upload that cannot be aborted.
const STAYS: &str =
    "an unfinished upload could not be aborted; a lifecycle rule for incomplete uploads removes it";

/// One part of an object.
#[derive(Debug)]
pub struct UploadPart {
    /// Number of the part, from 1 and without gaps.
    pub number: u32,
    /// Offset of the part in the object.
    pub offset: u64,
    /// Bytes of the part.
    pub body: Bytes,
}

/// Size and checksums of a whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSums {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
    /// CRC-64/NVME.
    pub crc64nvme: u64,
}

/// Limits of a store for the parts of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Minimum size of every part except the last.
    pub min_size: u64,
    /// Maximum size of a part.
    pub max_size: u64,
    /// Maximum number of parts.
    pub max_parts: u32,
    /// Maximum size of an object.
    pub max_object: u64,
}

impl PartLimits {
    /// Returns whether the maximum number of parts of minimum size cannot hold the maximum object, so that
    /// the size of the parts must depend on the size of the object.
    pub fn are_tight(&self) -> bool {
        u128::from(self.min_size) * u128::from(self.max_parts) < u128::from(self.max_object)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key of the object.
    pub key: String,
    /// Size of the object in bytes.
    pub size: u64,
    /// Time of the last write by the store's clock, if the store reports it.
    pub modified: Option<jiff::Timestamp>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The objects of the page.
    pub objects: Vec<ObjectInfo>,
    /// Token of the next page; `None` on the last page.
    pub next: Option<PageToken>,
}

/// Position at which a listing continues; valid only for the store that returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);
