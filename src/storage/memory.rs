//! A store in memory for tests. It gives all guarantees of [`Store`], can simulate failures, and counts
//! operations.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{
    ContentType, IfExists, ObjectInfo, ObjectSums, Page, PageToken, PartLimits, Store, StoreError,
    UnfinishedUploads, Upload, UploadPart,
};

/// A store in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<MemoryObjects>,
}

#[derive(Debug, Default)]
struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
    behavior: Mutex<Behavior>,
    uploads_begun: AtomicUsize,
    uploads_aborted: AtomicUsize,
    bytes_in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    unfinished: UnfinishedUploads,
}

/// The behavior of a [`MemoryStore`].
#[derive(Clone, Debug, Default)]
pub struct Behavior {
    /// Number of the part whose upload fails.
    pub fail_part: Option<u32>,
    /// Whether beginning an upload fails.
    pub fail_begin: bool,
    /// Delay between the creation of an upload and the response.
    pub begin_delay: Duration,
    /// Suffix of the keys whose objects cannot be written in one request.
    pub fail_put: Option<&'static str>,
    /// Whether completing an upload fails.
    pub fail_complete: bool,
    /// Whether aborting is refused, as for a key that has only write permission.
    pub refuse_abort: bool,
    /// Whether an existing object is always replaced, as by a store that ignores `If-None-Match`.
    pub ignore_existing: bool,
    /// Duration of the upload of each part.
    pub part_delay: Duration,
    /// Limits that replace the default ones.
    pub limits: Option<PartLimits>,
}

impl MemoryStore {
    /// Creates a store with this behavior.
    pub fn behaving(behavior: Behavior) -> Self {
        let store = MemoryStore::default();
        store.behave(behavior);
        store
    }

    /// Changes the behavior.
    pub fn behave(&self, behavior: Behavior) {
        *lock(&self.shared.behavior) = behavior;
    }

    /// Returns the numbers of begun and aborted uploads.
    pub fn uploads(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.shared.uploads_begun), count(&self.shared.uploads_aborted))
    }

    /// Returns the maximum number of bytes of parts that were being written at the same time.
    pub fn peak_in_flight(&self) -> u64 {
        self.shared.peak_in_flight.load(Ordering::SeqCst)
    }
}

/// The data has no invariant that a panic in another thread could break, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PAGE: usize = 1000;

#[async_trait]
impl Store for MemoryStore {
    fn url(&self, key: &str) -> String {
        format!("memory://{key}")
    }

    fn part_limits(&self) -> PartLimits {
        lock(&self.shared.behavior).limits.unwrap_or(PartLimits {
            min_size: 64 << 10,
            max_size: 1 << 30,
            max_parts: u32::MAX,
            max_object: 1 << 40,
        })
    }

    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        _: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        if lock(&self.shared.behavior).fail_put.is_some_and(|end| key.ends_with(end)) {
            return Err(self.failed("write", key, "told to fail"));
        }
        self.insert(key, body, if_exists)
    }

    async fn begin_upload(&self, key: &str, _: ContentType) -> Result<Box<dyn Upload>, StoreError> {
        let behavior = lock(&self.shared.behavior).clone();
        if behavior.fail_begin {
            return Err(self.failed("write", key, "told to fail"));
        }
        self.shared.uploads_begun.fetch_add(1, Ordering::SeqCst);
        if behavior.begin_delay > Duration::ZERO {
            tokio::time::sleep(behavior.begin_delay).await;
        }
        let parts = Mutex::default();
        Ok(Box::new(MemoryUpload { store: self.clone(), key: key.to_owned(), parts }))
    }

    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
        let objects = lock(&self.shared.objects);
        let after = after.map(|token| token.0).unwrap_or_default();
        let mut page = Page::default();
        for (key, body) in objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            if *key <= after {
                continue;
            }
            if page.objects.len() == PAGE {
                page.next = page.objects.last().map(|last| PageToken(last.key.clone()));
                break;
            }
            page.objects.push(ObjectInfo { key: key.clone(), size: body.len() as u64, modified: None });
        }
        Ok(page)
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let found = lock(&self.shared.objects).get(key).cloned();
        let found = found.ok_or_else(|| StoreError::NotFound { object: self.url(key) })?;
        match found.len() as u64 > limit {
            true => Err(StoreError::TooLong { object: self.url(key), limit }),
            false => Ok(found),
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let whole = self.get(key, u64::MAX).await?;
        if range.start >= range.end || range.end > whole.len() as u64 {
            return Err(self.failed("read", key, "range outside the object"));
        }
        Ok(whole.slice(range.start as usize..range.end as usize))
    }

    fn unfinished_uploads(&self) -> Option<&UnfinishedUploads> {
        Some(&self.shared.unfinished)
    }
}

impl MemoryStore {
    /// Makes an object visible. This store never loses a response, so an existing object always belongs to
    /// another writer.
    fn insert(&self, key: &str, body: Bytes, if_exists: IfExists) -> Result<(), StoreError> {
        let replace = if_exists == IfExists::Replace || lock(&self.shared.behavior).ignore_existing;
        let mut objects = lock(&self.shared.objects);
        if !replace && objects.contains_key(key) {
            return Err(StoreError::Exists { object: self.url(key) });
        }
        objects.insert(key.to_owned(), body);
        Ok(())
    }

    fn failed(&self, operation: &'static str, key: &str, cause: &str) -> StoreError {
        StoreError::Other { operation, object: self.url(key), source: cause.to_owned().into() }
    }
}

#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    key: String,
    parts: Mutex<BTreeMap<u32, (u64, Bytes)>>,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError> {
        let shared = &self.store.shared;
        let behavior = lock(&shared.behavior).clone();
        let size = part.body.len() as u64;
        let in_flight = shared.bytes_in_flight.fetch_add(size, Ordering::SeqCst) + size;
        shared.peak_in_flight.fetch_max(in_flight, Ordering::SeqCst);
        if behavior.part_delay > Duration::ZERO {
            tokio::time::sleep(behavior.part_delay).await;
        }
        shared.bytes_in_flight.fetch_sub(size, Ordering::SeqCst);
        if behavior.fail_part == Some(part.number) {
            return Err(self.store.failed("write", &self.key, "told to fail"));
        }
        lock(&self.parts).insert(part.number, (part.offset, part.body));
        Ok(())
    }

    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError> {
        if lock(&self.store.shared.behavior).fail_complete {
            return Err(self.store.failed("complete", &self.key, "told to fail"));
        }
        let mut whole = BytesMut::new();
        for (expected, (number, (offset, body))) in (1u32..).zip(lock(&self.parts).iter()) {
            if *number != expected || *offset != whole.len() as u64 {
                return Err(self.store.failed("complete", &self.key, "parts have gaps"));
            }
            whole.extend_from_slice(body);
        }
        if whole.len() as u64 != sums.size {
            return Err(self.store.failed("complete", &self.key, "size differs"));
        }
        self.store.insert(&self.key, whole.freeze(), if_exists)
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.store.shared.uploads_aborted.fetch_add(1, Ordering::SeqCst);
        if lock(&self.store.shared.behavior).refuse_abort {
            return Err(StoreError::AccessDenied {
                operation: "abort the upload of",
                object: self.store.url(&self.key),
                permission: "another key".to_owned(),
                source: "told to refuse".into(),
            });
        }
        lock(&self.parts).clear();
        Ok(())
    }
}
