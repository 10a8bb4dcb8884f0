//! Combines two stores into one for the duration of one backup: every write goes to the primary and to a
//! replica at the same time.
//!
//! # Failures
//! - The primary decides: an operation that fails there fails, and no failure of the replica fails an
//!   operation.
//! - A replica that fails in any operation is abandoned until the end of the backup: nothing more is sent to
//!   it, and its upload is aborted. [`ReplicaOutcome`] has the reason.
//! - An object becomes visible at the primary first. Therefore the replica has no backup that the primary
//!   lacks.
//! - The key has been claimed at the primary only. The replica does not overwrite anything either: an
//!   existing object under the key belongs to another primary, and the replica is abandoned.
//!
//! # Memory
//! The bytes of a part are shared and kept until both stores have them or the replica is abandoned. No part
//! is held twice, so the memory limit of the upload stays the same.
//!
//! # Time
//! A part is done when both stores have it, so the slower store sets the pace. If an operation of the replica
//! is pending and none completes within [`Replica::stall_timeout`], the replica counts as failed and is
//! abandoned.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ContentType, IfExists, ObjectSums, Page, PageToken, PartLimits, PendingUpload, Store, StoreError,
    UnfinishedUploads, Upload, UploadPart,
};

/// The second destination of backups.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The store of the replica.
    pub store: Arc<dyn Store>,
    /// Prefix of all keys in the replica, without a trailing slash; may be empty.
    pub prefix: String,
    /// Maximum time without a completed operation while one is pending.
    pub stall_timeout: Duration,
}

/// A primary store and a replica as one store. Reads use the primary.
#[derive(Debug)]
pub struct MirroredStore {
    primary: Arc<dyn Store>,
    replica_state: Arc<ReplicaState>,
}

/// The result of the copy to the replica.
#[derive(Clone, Debug)]
pub struct ReplicaOutcome(Arc<ReplicaState>);

/// The state of the replica during one backup.
#[derive(Debug)]
struct ReplicaState {
    replica: Replica,
    /// Prefix of the primary's keys, which the prefix of the replica replaces.
    prefix: String,
    /// Why the replica was abandoned.
    failure: OnceLock<Arc<StoreError>>,
    given_up: CancellationToken,
    /// Time of the last completed operation.
    progress: Mutex<Instant>,
}

impl MirroredStore {
    /// Combines a primary store and a replica for one backup whose keys all begin with `prefix`.
    pub fn new(primary: Arc<dyn Store>, prefix: &str, replica: Replica) -> (MirroredStore, ReplicaOutcome) {
        let replica_state = Arc::new(ReplicaState {
            replica,
            prefix: prefix.to_owned(),
            failure: OnceLock::new(),
            given_up: CancellationToken::new(),
            progress: Mutex::new(Instant::now()),
        });
        (MirroredStore { primary, replica_state: Arc::clone(&replica_state) }, ReplicaOutcome(replica_state))
    }
}

impl ReplicaOutcome {
    /// Returns why the replica was abandoned; `None` if it has everything that the primary has.
    pub fn failure(&self) -> Option<Arc<StoreError>> {
        self.0.failure.get().cloned()
    }

    /// Returns the replica's URL of the object that has this key at the primary.
    pub fn url(&self, key: &str) -> String {
        self.0.url(key)
    }
}

impl ReplicaState {
    /// Returns the replica's key of the object that has this key at the primary.
    fn key(&self, key: &str) -> String {
        let bare = key.strip_prefix(self.prefix.as_str()).unwrap_or(key).trim_start_matches('/');
        match self.replica.prefix.as_str() {
            "" => bare.to_owned(),
            prefix => format!("{prefix}/{bare}"),
        }
    }

    fn url(&self, key: &str) -> String {
        self.replica.store.url(&self.key(key))
    }

    /// Runs an operation at the replica. Returns `None` if the replica is already abandoned, or if the
    /// operation fails or stalls, which abandons the replica.
    async fn attempt<T>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let begun = Instant::now();
        tokio::pin!(work);
        let result = loop {
            let deadline = self.last_progress().max(begun) + self.replica.stall_timeout;
            tokio::select! {
                biased;
                () = self.given_up.cancelled() => return None,
                result = &mut work => break result,
                // Other parts may have completed in the meantime.
                () = tokio::time::sleep_until(deadline) => {
                    if self.last_progress() + self.replica.stall_timeout <= Instant::now() {
                        break Err(self.stalled(operation, key));
                    }
                }
            }
        };
        match result {
            Ok(done) => {
                *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                Some(done)
            }
            Err(error) => {
                // If several parts fail together, the first error is kept.
                let _ = self.failure.set(Arc::new(error));
                self.given_up.cancel();
                None
            }
        }
    }

    fn last_progress(&self) -> Instant {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stalled(&self, operation: &'static str, key: &str) -> StoreError {
        let cause = format!("there was no progress for {}s", self.replica.stall_timeout.as_secs_f64());
        StoreError::Timeout { operation, object: self.url(key), source: cause.into() }
    }
}

#[async_trait]
impl Store for MirroredStore {
    fn url(&self, key: &str) -> String {
        self.primary.url(key)
    }

    /// Both stores receive the same parts, so both limits apply.
    fn part_limits(&self) -> PartLimits {
        let (one, other) = (self.primary.part_limits(), self.replica_state.replica.store.part_limits());
        let min_size = one.min_size.max(other.min_size);
        PartLimits {
            min_size,
            max_size: one.max_size.min(other.max_size).max(min_size),
            max_parts: one.max_parts.min(other.max_parts),
            max_object: one.max_object.min(other.max_object),
        }
    }

    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        content_type: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        self.primary.put_object(key, body.clone(), content_type, if_exists).await?;
        let there = self.replica_state.key(key);
        let copied = self.replica_state.replica.store.put_object(&there, body, content_type, if_exists);
        self.replica_state.attempt("write", key, copied).await;
        Ok(())
    }

    async fn begin_upload(
        &self,
        key: &str,
        content_type: ContentType,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let primary = self.primary.begin_upload(key, content_type).await?;
        let ask = || {
            PendingUpload::ask(&self.replica_state.replica.store, &self.replica_state.key(key), content_type)
        };
        // Does not wait for the response: a caller cancelled during the wait would lose the primary's upload
        // and could not abort it.
        let copy = (!self.replica_state.given_up.is_cancelled()).then(ask).map(AsyncMutex::new);
        Ok(Box::new(MirroredUpload {
            key: key.to_owned(),
            primary,
            copy,
            replica_state: Arc::clone(&self.replica_state),
        }))
    }

    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
        self.primary.list_page(prefix, after).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.primary.get(key, limit).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.primary.get_range(key, range).await
    }

    /// The pending uploads of the primary; those of the replica are counted by its own store.
    fn unfinished_uploads(&self) -> Option<&UnfinishedUploads> {
        self.primary.unfinished_uploads()
    }
}

#[derive(Debug)]
struct MirroredUpload {
    key: String,
    primary: Box<dyn Upload>,
    /// `None` if the replica was abandoned before the upload began.
    copy: Option<AsyncMutex<PendingUpload>>,
    replica_state: Arc<ReplicaState>,
}

impl MirroredUpload {
    /// Returns the upload at the replica; `None` if the replica has been abandoned.
    async fn copy(&self) -> Option<Arc<dyn Upload>> {
        let mut copy = self.copy.as_ref()?.lock().await;
        match copy.open() {
            Some(upload) => Some(upload),
            None => self.replica_state.attempt("write", &self.key, copy.upload()).await,
        }
    }

    async fn abort_copy(&self) {
        if let Some(copy) = &self.copy {
            copy.lock().await.abort().await;
        }
    }
}

#[async_trait]
impl Upload for MirroredUpload {
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError> {
        let shared = UploadPart { body: part.body.clone(), ..part };
        let copied = async {
            if let Some(copy) = self.copy().await {
                self.replica_state.attempt("write", &self.key, copy.put_part(shared)).await;
            }
            Ok(())
        };
        tokio::try_join!(self.primary.put_part(part), copied).map(drop)
    }

    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError> {
        self.primary.complete(sums, if_exists).await?;
        let Some(copy) = &self.copy else { return Ok(()) };
        let complete = async { copy.lock().await.complete(sums, if_exists).await };
        if self.replica_state.attempt("complete", &self.key, complete).await.is_none() {
            self.abort_copy().await;
        }
        Ok(())
    }

    async fn abort(&self) -> Result<(), StoreError> {
        tokio::join!(self.primary.abort(), self.abort_copy()).0
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Behavior, MemoryStore};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// What remains of a backup (a dump of three parts and two small objects) with a replica that behaves in
    /// a given way.
    struct Left {
        primary: MemoryStore,
        replica: MemoryStore,
        copied: ReplicaOutcome,
    }

    fn part(number: u32) -> UploadPart {
        UploadPart { number, offset: u64::from(number - 1) * 10, body: Bytes::from_static(b"0123456789") }
    }

    async fn back_up(
        primary: Behavior,
        replica: Behavior,
        stall_timeout: Duration,
    ) -> (Left, Result<(), StoreError>) {
        let [primary, replica] = [primary, replica].map(MemoryStore::behaving);
        let second =
            Replica { store: Arc::new(replica.clone()), prefix: "far/away".to_owned(), stall_timeout };
        let (store, copied) = MirroredStore::new(Arc::new(primary.clone()), "near", second);
        let result = async {
            let upload = store.begin_upload("near/a/dump", "x").await?;
            for number in 1..=3 {
                if let Err(error) = upload.put_part(part(number)).await {
                    upload.abort().await?;
                    return Err(error);
                }
            }
            let sums = ObjectSums { size: 30, sha256: [0; 32], crc64nvme: 0 };
            if let Err(error) = upload.complete(&sums, IfExists::FailUnlessOwn).await {
                upload.abort().await?;
                return Err(error);
            }
            let own = IfExists::FailUnlessOwn;
            store.put_object("near/a/toc", Bytes::from_static(b"toc"), "x", own).await?;
            store.put_object("near/a/manifest", Bytes::from_static(b"manifest"), "x", own).await
        };
        let result = result.await;
        (Left { primary, replica, copied }, result)
    }

    /// Drops an upload at a moment when both stores have created it and only the primary has answered.
    async fn give_up(replica: Behavior) -> [(usize, usize); 2] {
        let (primary, replica) = (MemoryStore::default(), MemoryStore::behaving(replica));
        let second = Replica { store: Arc::new(replica.clone()), prefix: String::new(), stall_timeout: HOUR };
        let (store, _) = MirroredStore::new(Arc::new(primary.clone()), "", second);
        let store: Arc<dyn Store> = Arc::new(store);
        let mut upload = PendingUpload::ask(&store, "dump", "x");
        while replica.uploads().0 == 0 {
            tokio::task::yield_now().await;
        }
        upload.abort().await;
        [primary.uploads(), replica.uploads()]
    }

    #[tokio::test]
    async fn what_is_given_up_while_the_replica_is_asked_is_aborted_at_both() {
        let late = Behavior { begin_delay: Duration::from_millis(200), ..Behavior::default() };
        let silent = Behavior { begin_delay: HOUR, ..Behavior::default() };
        let (late, silent) = tokio::join!(give_up(late), give_up(silent));
        assert_eq!(late, [(1, 1), (1, 1)]);
        assert_eq!(silent, [(1, 1), (1, 0)], "of a store that does not answer the primary does not suffer");
    }

    async fn keys(store: &MemoryStore) -> Vec<String> {
        store.list("").await.unwrap().into_iter().map(|object| object.key).collect()
    }

    #[tokio::test]
    async fn both_stores_have_the_same_objects_under_their_own_prefixes() {
        let (left, result) = back_up(Behavior::default(), Behavior::default(), HOUR).await;
        result.unwrap();
        assert!(left.copied.failure().is_none());
        assert_eq!(left.copied.url("near/a/dump"), "memory://far/away/a/dump");
        for end in ["dump", "toc", "manifest"] {
            let here = left.primary.get(&format!("near/a/{end}"), 100).await.unwrap();
            assert_eq!(left.replica.get(&format!("far/away/a/{end}"), 100).await.unwrap(), here);
        }
        assert_eq!((keys(&left.primary).await.len(), keys(&left.replica).await.len()), (3, 3));
    }

    #[tokio::test]
    async fn a_replica_that_fails_anywhere_leaves_the_primary_whole_and_no_manifest_there() {
        let failing = [
            (Behavior { fail_begin: true, ..Behavior::default() }, (0, 0), "write memory://far/away/a/dump"),
            (
                Behavior { fail_part: Some(2), ..Behavior::default() },
                (1, 1),
                "write memory://far/away/a/dump",
            ),
            (
                Behavior { fail_complete: true, ..Behavior::default() },
                (1, 1),
                "complete memory://far/away/a/dump",
            ),
            (
                Behavior { fail_put: Some("toc"), ..Behavior::default() },
                (1, 0),
                "write memory://far/away/a/toc",
            ),
            (
                Behavior { fail_put: Some("manifest"), ..Behavior::default() },
                (1, 0),
                "write memory://far/away/a/manifest",
            ),
            // A key that may not abort uploads does not cause a failure either.
            (
                Behavior { fail_part: Some(3), refuse_abort: true, ..Behavior::default() },
                (1, 1),
                "write memory://far/away/a/dump",
            ),
        ];
        for (behavior, uploads, what) in failing {
            let (left, result) = back_up(Behavior::default(), behavior.clone(), HOUR).await;
            result.unwrap();
            assert_eq!(keys(&left.primary).await, ["near/a/dump", "near/a/manifest", "near/a/toc"]);
            assert!(!keys(&left.replica).await.contains(&"far/away/a/manifest".to_owned()), "{behavior:?}");
            assert_eq!(left.replica.uploads(), uploads, "{behavior:?}");
            let failure = left.copied.failure().expect("it was given up").to_string();
            assert_eq!(failure, format!("the store failed: {what}"));
        }
    }

    #[tokio::test]
    async fn what_lies_at_the_replica_is_not_overwritten() {
        let (primary, replica) = (MemoryStore::default(), MemoryStore::default());
        for end in ["dump", "toc", "manifest"] {
            replica.put(&format!("far/a/{end}"), Bytes::from_static(b"another's"), "x").await.unwrap();
        }
        let second =
            Replica { store: Arc::new(replica.clone()), prefix: "far".to_owned(), stall_timeout: HOUR };
        let (store, copied) = MirroredStore::new(Arc::new(primary.clone()), "near", second);
        let upload = store.begin_upload("near/a/dump", "x").await.unwrap();
        upload.put_part(part(1)).await.unwrap();
        let sums = ObjectSums { size: 10, sha256: [0; 32], crc64nvme: 0 };
        upload.complete(&sums, IfExists::FailUnlessOwn).await.unwrap();
        for end in ["toc", "manifest"] {
            let (key, body) = (format!("near/a/{end}"), Bytes::from_static(b"x"));
            store.put_object(&key, body, "x", IfExists::FailUnlessOwn).await.unwrap();
            assert_eq!(replica.get(&format!("far/a/{end}"), u64::MAX).await.unwrap(), "another's");
        }
        assert_eq!(replica.get("far/a/dump", u64::MAX).await.unwrap(), "another's");
        let failure = copied.failure().expect("it was given up").to_string();
        assert_eq!(failure, "memory://far/a/dump already exists and is not overwritten");
        assert_eq!((keys(&primary).await.len(), replica.uploads()), (3, (1, 1)));
    }

    #[tokio::test]
    async fn a_replica_that_does_nothing_is_given_up_in_time() {
        let stalled = Behavior { part_delay: HOUR, ..Behavior::default() };
        let (left, result) = back_up(Behavior::default(), stalled, Duration::from_millis(50)).await;
        result.unwrap();
        assert_eq!(keys(&left.primary).await.len(), 3);
        assert_eq!((keys(&left.replica).await.len(), left.replica.uploads()), (0, (1, 1)));
        let failure = left.copied.failure().expect("it was given up");
        assert!(matches!(&*failure, StoreError::Timeout { .. }), "{failure:?}");
    }

    #[tokio::test]
    async fn a_slow_replica_is_kept() {
        // All three parts together take longer than the stall timeout, but no single part does.
        let slow = Behavior { part_delay: Duration::from_millis(300), ..Behavior::default() };
        let (left, result) = back_up(Behavior::default(), slow, Duration::from_millis(800)).await;
        result.unwrap();
        assert!(left.copied.failure().is_none(), "{:?}", left.copied.failure());
        assert_eq!(keys(&left.replica).await.len(), 3);
    }

    #[tokio::test]
    async fn what_fails_at_the_primary_becomes_visible_nowhere() {
        for behavior in [
            Behavior { fail_part: Some(2), ..Behavior::default() },
            Behavior { fail_complete: true, ..Behavior::default() },
        ] {
            let (left, result) = back_up(behavior, Behavior::default(), HOUR).await;
            result.unwrap_err();
            assert_eq!((keys(&left.primary).await.len(), keys(&left.replica).await.len()), (0, 0));
            assert_eq!((left.primary.uploads(), left.replica.uploads()), ((1, 1), (1, 1)));
        }
        let toc = Behavior { fail_put: Some("toc"), ..Behavior::default() };
        let (left, result) = back_up(toc, Behavior::default(), HOUR).await;
        result.unwrap_err();
        assert_eq!(keys(&left.replica).await, ["far/away/a/dump"]);
    }

    #[test]
    fn the_stricter_limits_hold() {
        let limits =
            |min_size, max_size, max_parts| PartLimits { min_size, max_size, max_parts, max_object: 99 };
        let joined = |one, other| {
            let [one, other] =
                [one, other].map(|limits| Behavior { limits: Some(limits), ..Behavior::default() });
            let replica = Replica {
                store: Arc::new(MemoryStore::behaving(other)),
                prefix: String::new(),
                stall_timeout: HOUR,
            };
            MirroredStore::new(Arc::new(MemoryStore::behaving(one)), "", replica).0.part_limits()
        };
        assert_eq!(joined(limits(5, 50, 1000), limits(1, 60, 10)), limits(5, 50, 10));
        assert_eq!(joined(limits(1, 60, 10), limits(5, 50, 1000)), limits(5, 50, 10));
    }
}
