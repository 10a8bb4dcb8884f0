//! Where backups lie. A [`Store`] knows objects, keys and parts; it knows neither SQL nor what a
//! backup is. All stores promise the same: an object is there whole or not at all.
//!
//! - [`s3`]: a bucket. Writing needs `s3:PutObject` alone.
//! - [`local`]: a directory, `file:///dir`.
//! - [`memory`]: for tests; it can be told to fail.
//! - [`mirror`]: two of them as one.

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

/// What kind of bytes an object holds, as the store shows it (`Content-Type`).
pub type ContentType = &'static str;

/// What happens when there is an object already under the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// It is replaced.
    #[default]
    Replace,
    /// It stays, and writing fails with [`StoreError::Exists`].
    Fail,
    /// The same, but the object that an earlier sending of the same request has left, of which the answer was lost, counts as
    /// written. For a key that no other writer takes.
    FailUnlessOwn,
}

/// A place for objects.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The address of an object as people write it: `s3://bucket/key`.
    fn url(&self, key: &str) -> String;

    /// What an upload's parts must keep to.
    fn part_limits(&self) -> PartLimits;

    /// Writes a small object in one request.
    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        content_type: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError>;

    /// Writes a small object in one request, and replaces one that is there. For what is no part of a backup.
    async fn put(&self, key: &str, body: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.put_object(key, body, content_type, IfExists::Replace).await
    }

    /// Begins an object that is written in parts. Nothing is visible under the key before
    /// [`Upload::complete`]. Whoever may stop waiting for the answer asks by `PendingUpload::ask`, so that no upload is left behind.
    async fn begin_upload(&self, key: &str, content_type: ContentType)
    -> Result<Box<dyn Upload>, StoreError>;

    /// One page of the objects whose keys begin with `prefix`, in order of their keys.
    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError>;

    /// A whole object, which must not have more than `limit` bytes: no more is read.
    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError>;

    /// A stretch of an object. It must lie within the object and must not be empty. No more is read.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// The uploads that have been asked for and have not come to an end, where some may stay behind.
    fn unfinished_uploads(&self) -> Option<&UnfinishedUploads> {
        None
    }

    /// All objects whose keys begin with `prefix`, in order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut objects = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next(|after| self.list_page(prefix, after)).await? {
            objects.extend(page);
        }
        Ok(objects)
    }
}

/// A listing, page by page. A store that gives the same page again and again is an error.
#[derive(Debug, Default)]
pub struct Pages {
    seen: HashSet<String>,
    next: Option<PageToken>,
    has_begun: bool,
}

impl Pages {
    /// The objects of the next page, which `list_page` asks for; `None` after the last.
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

/// An object that is being written in parts. Parts may be put in any order and side by side.
/// An upload that is dropped without [`Upload::complete`] or [`Upload::abort`] leaves nothing
/// visible, but what was sent may go on taking space.
#[async_trait]
pub trait Upload: fmt::Debug + Send + Sync {
    /// Writes one part.
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError>;

    /// Makes the object visible; to be called when every part has been put.
    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError>;

    /// Gives the upload up and frees what was sent, as far as the store lets us.
    async fn abort(&self) -> Result<(), StoreError>;
}

/// How long a store may take to abort an upload: whoever was told to stop must not wait for a store
/// that does not answer.
const ABORT_TIME: Duration = Duration::from_secs(5);

/// Aborts an upload. That it cannot be aborted is told and fails nothing.
pub(crate) async fn abort_in_time(upload: &dyn Upload, object: &str) {
    if !in_abort_time(upload.abort(), object).await {
        tracing::warn!(object, "{STAYS}: the store did not answer");
    }
}

/// Does what aborts an upload of `object`, in the time that there is for that. Whether it came to an end in that time.
async fn in_abort_time(aborted: impl Future<Output = Result<(), StoreError>>, object: &str) -> bool {
    match tokio::time::timeout(ABORT_TIME, aborted).await {
        // What is gone needs no abort.
        Ok(Ok(()) | Err(StoreError::LostUpload { .. })) => true,
        Ok(Err(error)) => {
            tracing::warn!(object, error = &error as &dyn std::error::Error, "{STAYS}");
            true
        }
        Err(_) => false,
    }
}

/// What is told of an upload that stays behind.
const STAYS: &str =
    "an unfinished upload could not be aborted; a lifecycle rule for incomplete uploads removes it";

/// One part of an object.
#[derive(Debug)]
pub struct UploadPart {
    /// From 1, without gaps.
    pub number: u32,
    /// Where it begins in the object.
    pub offset: u64,
    /// Its bytes.
    pub body: Bytes,
}

/// Size and checksums of a whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSums {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: [u8; 32],
    /// CRC-64/NVME.
    pub crc64nvme: u64,
}

/// What a store asks of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// The least size of every part but the last.
    pub min_size: u64,
    /// The greatest size of a part.
    pub max_size: u64,
    /// The greatest number of parts.
    pub max_parts: u32,
    /// The greatest size of an object.
    pub max_object: u64,
}

impl PartLimits {
    /// Whether parts of the least size are too few for the greatest object, so that a part's size has
    /// to do with how large the object becomes.
    pub fn are_tight(&self) -> bool {
        u128::from(self.min_size) * u128::from(self.max_parts) < u128::from(self.max_object)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size.
    pub size: u64,
    /// When it was written, by the store's clock, if the store says it.
    pub modified: Option<jiff::Timestamp>,
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<ObjectInfo>,
    /// Where the next page begins; absent on the last.
    pub next: Option<PageToken>,
}

/// Where a listing goes on; has a meaning only for the store that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);
