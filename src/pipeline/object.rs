//! An object of which ranges are read: either its stored bytes or its decrypted content.
//!
//! For an encrypted object, only the chunks that contain the requested ranges are fetched, each of them once.
//! A chunk in which one range ends and the next begins is kept decrypted for the next range.
//!
//! Memory for an encrypted object: the piece being decrypted, and one chunk of 64 KiB.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::download::DownloadError;
use crate::archive::encryption::chunks::{CHUNK, Opened};
use crate::archive::encryption::{Identities, SealError};
use crate::storage::{Store, StoreError};

/// Maximum size of an age file's header, which leaves room for thousands of recipients.
const LONGEST_BEGINNING: u64 = 1 << 20;

/// An object in a store.
#[derive(Clone, Debug)]
pub struct Object {
    store: Arc<dyn Store>,
    key: String,
    opened: Option<Arc<Opened>>,
}

impl Object {
    /// Returns an object whose stored bytes are read.
    pub fn stored(store: Arc<dyn Store>, key: String) -> Object {
        Object { store, key, opened: None }
    }

    /// Returns the object's decrypted content. The object must have `size` bytes, and its first chunk must
    /// begin at `header_size`.
    pub async fn open(
        &self,
        size: u64,
        header_size: u64,
        identities: Option<&Identities>,
    ) -> Result<Object, DownloadError> {
        let Object { store, key, .. } = self.clone();
        let closed = |source| DownloadError::Sealed { object: self.url(), source };
        let identities = identities.ok_or_else(|| closed(SealError::NoIdentity))?;
        if header_size == 0 || header_size > size.min(LONGEST_BEGINNING) {
            return Err(closed(SealError::Header));
        }
        let beginning = store.get_range(&key, 0..header_size).await?;
        let opened = Opened::new(&beginning, size, identities).map_err(closed)?;
        Ok(Object { opened: Some(Arc::new(opened)), store, key })
    }

    /// Returns the object's URL.
    pub fn url(&self) -> String {
        self.store.url(&self.key)
    }

    /// Returns the state for decryption, if the object is encrypted and was opened.
    pub fn opened(&self) -> Option<&Arc<Opened>> {
        self.opened.as_ref()
    }

    /// Returns the same object for reading its stored bytes.
    pub fn as_stored(&self) -> Object {
        Object { opened: None, ..self.clone() }
    }

    /// Returns the requests for ranges that are read one after the other.
    pub(super) fn requests(&self, ranges: impl Iterator<Item = Range<u64>>) -> impl Iterator<Item = Request> {
        let opened = self.opened.clone();
        let mut kept = None;
        ranges.map(move |wanted| {
            let Some(opened) = &opened else {
                return Request { stored: wanted.clone(), wanted, chunks: 0..0 };
            };
            let mut chunks = opened.chunks().holding(&wanted);
            if !chunks.is_empty() {
                let last = chunks.end - 1;
                if kept == Some(chunks.start) {
                    chunks.start += 1;
                }
                kept = Some(last);
            }
            Request { stored: opened.chunks().stored(&chunks), wanted, chunks }
        })
    }

    pub(super) async fn fetch(&self, request: Request) -> Result<Fetched, StoreError> {
        let bytes = match request.stored.is_empty() {
            true => Bytes::new(),
            false => self.store.get_range(&self.key, request.stored.clone()).await?,
        };
        let asked = request.stored.end.saturating_sub(request.stored.start);
        if bytes.len() as u64 > asked {
            return Err(StoreError::Other {
                operation: "read",
                object: self.url(),
                source: format!("the store sent {} bytes instead of {asked}", bytes.len()).into(),
            });
        }
        Ok(Fetched { request, bytes })
    }
}

/// A requested range, and the stored range to fetch for it.
#[derive(Debug)]
pub(super) struct Request {
    wanted: Range<u64>,
    /// The chunks in the stored range.
    chunks: Range<u64>,
    stored: Range<u64>,
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct Fetched {
    request: Request,
    bytes: Bytes,
}

/// Extracts the requested ranges from the fetched ones, in the order of the requests.
#[derive(Debug)]
pub(super) struct Unsealer {
    opened: Option<Arc<Opened>>,
    /// Number and content of the chunk that was decrypted last.
    kept: Option<(u64, Bytes)>,
}

impl Unsealer {
    pub(super) fn of(object: &Object) -> Unsealer {
        Unsealer { opened: object.opened.clone(), kept: None }
    }

    /// Returns the range's offset and bytes. A chunk that fails authentication is reported as a [`SealError`]
    /// within an I/O error.
    pub(super) fn unseal(&mut self, fetched: Fetched) -> io::Result<(u64, Bytes)> {
        let Fetched { request: Request { wanted, chunks, .. }, bytes } = fetched;
        let Some(opened) = self.opened.as_ref().filter(|_| !wanted.is_empty()) else {
            return Ok((wanted.start, bytes));
        };
        let needed = opened.chunks().holding(&wanted);
        let mut content = Vec::with_capacity(bytes.len() + usize::try_from(CHUNK).unwrap_or_default());
        if needed.start < chunks.start
            && let Some((_, kept)) = self.kept.take_if(|(number, _)| *number == needed.start)
        {
            content.extend_from_slice(&kept);
        }
        let mut last = 0;
        let stored = opened.chunks().stored(&chunks);
        for number in chunks.clone() {
            let place = opened.chunks().stored(&(number..number + 1));
            let at = |offset: u64| usize::try_from(offset - stored.start).unwrap_or(usize::MAX);
            let chunk = bytes.get(at(place.start)..at(place.end)).unwrap_or_default();
            last = content.len();
            opened.open(number, chunk, &mut content).map_err(io::Error::other)?;
        }
        if let Some(number) = needed.end.checked_sub(1) {
            self.kept = Some((number, Bytes::copy_from_slice(content.get(last..).unwrap_or_default())));
        }
        let at =
            |inner: u64| usize::try_from(inner.saturating_sub(needed.start * CHUNK)).unwrap_or(usize::MAX);
        let place = at(wanted.start)..at(wanted.end);
        let content = Bytes::from(content);
        match content.get(place.clone()).is_some() {
            true => Ok((wanted.start, content.slice(place))),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::archive::encryption::tests::{key, start};
    use crate::storage::memory::MemoryStore;
    use crate::storage::{ContentType, IfExists, Page, PageToken, PartLimits, Upload};

    /// A store that counts the bytes fetched from it.
    #[derive(Debug, Default)]
    struct Counting {
        store: MemoryStore,
        bytes: AtomicU64,
        /// Number of bytes that it sends beyond the requested range.
        surplus: AtomicU64,
    }

    #[async_trait]
    impl Store for Counting {
        fn url(&self, key: &str) -> String {
            self.store.url(key)
        }
        fn part_limits(&self) -> PartLimits {
            self.store.part_limits()
        }
        async fn put_object(
            &self,
            key: &str,
            body: Bytes,
            content_type: ContentType,
            if_exists: IfExists,
        ) -> Result<(), StoreError> {
            self.store.put_object(key, body, content_type, if_exists).await
        }
        async fn begin_upload(&self, key: &str, kind: ContentType) -> Result<Box<dyn Upload>, StoreError> {
            self.store.begin_upload(key, kind).await
        }
        async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
            self.store.list_page(prefix, after).await
        }
        async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
            self.store.get(key, limit).await
        }
        async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
            self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
            let end = range.end + self.surplus.load(Ordering::Relaxed);
            self.store.get_range(key, range.start..end).await
        }
    }

    /// Returns content of that size and an object that contains it encrypted.
    async fn stored(size: u64) -> (Arc<Counting>, Vec<u8>, Object) {
        let (recipients, identities) = key();
        let content: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let sealed = recipients.seal(&content).unwrap();
        let header_size = start(&sealed) as u64;
        let store = Arc::new(Counting::default());
        let object_size = sealed.len() as u64;
        store.put("k", sealed.into(), "text/plain").await.unwrap();
        let dyn_store: Arc<dyn Store> = Arc::clone(&store) as _;
        let object = Object::stored(dyn_store, "k".to_owned());
        let object = object.open(object_size, header_size, Some(&identities)).await.unwrap();
        store.bytes.store(0, Ordering::Relaxed);
        (store, content, object)
    }

    async fn read(object: &Object, ranges: &[(u64, u64)]) -> io::Result<Vec<Bytes>> {
        let mut unsealer = Unsealer::of(object);
        let mut read = Vec::new();
        for request in object.requests(ranges.iter().map(|(from, to)| *from..*to)) {
            let fetched = object.fetch(request).await.unwrap();
            read.push(unsealer.unseal(fetched)?.1);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn stretches_are_read_from_their_chunks_alone_and_each_chunk_once() {
        const WHOLE: u64 = CHUNK + 16;
        let size = 3 * CHUNK + 100;
        for (ranges, fetched) in [
            // One chunk; two chunks; the last chunk, which is short.
            (vec![(10, 20)], WHOLE),
            (vec![(CHUNK - 1, CHUNK + 1)], 2 * WHOLE),
            (vec![(3 * CHUNK, size)], 116),
            // The whole content in pieces that end within chunks.
            (vec![(0, 50_000), (50_000, 100_000), (100_000, 150_000), (150_000, size)], 3 * WHOLE + 116),
            (vec![(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, size)], 3 * WHOLE + 116),
            // A gap, and ranges within one chunk.
            (
                vec![(1, 2), (3, 4), (5, 5), (2 * CHUNK, 2 * CHUNK + 1), (3 * CHUNK - 1, 3 * CHUNK + 1)],
                2 * WHOLE + 116,
            ),
        ] {
            let (store, content, object) = stored(size).await;
            let read = read(&object, &ranges).await.unwrap();
            for ((from, to), bytes) in ranges.iter().zip(read) {
                assert_eq!(bytes, content[*from as usize..*to as usize], "{from}..{to}");
            }
            assert_eq!(store.bytes.load(Ordering::Relaxed), fetched, "{ranges:?}");
        }
    }

    #[tokio::test]
    async fn a_store_that_sends_more_than_was_asked_for_is_an_error() {
        let (store, _, object) = stored(3 * CHUNK).await;
        for object in [object.as_stored(), object] {
            store.surplus.store(0, Ordering::Relaxed);
            read(&object, &[(10, 20)]).await.unwrap();
            store.surplus.store(7, Ordering::Relaxed);
            let request = object.requests(std::iter::once(10..20)).next().unwrap();
            let error = object.fetch(request).await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.starts_with("the store sent ") && cause.contains(" bytes instead of "), "{cause}");
        }
    }

    #[tokio::test]
    async fn what_lies_beyond_the_end_and_what_was_changed_is_an_error() {
        let (store, _, object) = stored(CHUNK).await;
        read(&object, &[(CHUNK - 5, CHUNK + 1)]).await.unwrap_err();
        let mut bytes = store.get("k", u64::MAX).await.unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        store.put("k", bytes.into(), "text/plain").await.unwrap();
        let error = read(&object, &[(0, 1)]).await.unwrap_err();
        assert!(error.downcast::<SealError>().is_ok());
    }
}
