//! Uploads that were requested and are neither completed nor aborted. The process waits for them for a
//! limited time before it exits, because only this process knows them: their parts would stay in the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::STAYS;

/// Maximum wait when the process exits normally.
const WAIT: Duration = Duration::from_secs(10);

/// The unfinished uploads of one store. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct UnfinishedUploads(Arc<UnfinishedShared>);

#[derive(Debug, Default)]
struct UnfinishedShared {
    /// The uploads, each with the URL of its object.
    uploads: Mutex<Uploads>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Uploads {
    last: u64,
    addresses: BTreeMap<u64, String>,
}

/// An upload that counts as unfinished until this is dropped.
#[derive(Debug)]
pub(super) struct UnfinishedUpload {
    uploads: UnfinishedUploads,
    number: u64,
}

impl UnfinishedUploads {
    /// Adds an upload of an object.
    pub(super) fn add(&self, object: &str) -> UnfinishedUpload {
        let mut uploads = self.lock();
        uploads.last += 1;
        let number = uploads.last;
        uploads.addresses.insert(number, object.to_owned());
        UnfinishedUpload { uploads: self.clone(), number }
    }

    /// Waits until all uploads have ended. Uploads that remain when `limit` ends are logged.
    async fn settle(&self, limit: impl Future<Output = ()>) {
        let all_ended = async {
            loop {
                let ended = self.0.ended.notified();
                if self.lock().addresses.is_empty() {
                    return;
                }
                ended.await;
            }
        };
        tokio::select! {
            biased;
            () = all_ended => {}
            () = limit => {
                for object in self.lock().addresses.values() {
                    tracing::warn!(object, "{STAYS}: the store did not answer in time");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnfinishedUpload {
    fn drop(&mut self) {
        self.uploads.lock().addresses.remove(&self.number);
        self.uploads.0.ended.notify_waiters();
    }
}

/// Waits, before the process exits, until no store has an unfinished upload: for at most ten seconds, and
/// after a signal at most until `cleanup_deadline` is cancelled.
pub async fn settle(
    stores: impl IntoIterator<Item = &dyn super::Store>,
    cleanup_deadline: &CancellationToken,
) {
    let limit = async || {
        tokio::select! {
            () = cleanup_deadline.cancelled() => {}
            () = tokio::time::sleep(WAIT) => {}
        }
    };
    let unfinished = stores.into_iter().filter_map(super::Store::unfinished_uploads);
    futures_util::future::join_all(unfinished.map(|uploads| uploads.settle(limit()))).await;
}
