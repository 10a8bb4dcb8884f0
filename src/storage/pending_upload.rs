//! An upload that whoever began it may give up at any moment, also while the store is still being asked for it.
//!
//! A store may have made an upload before its answer arrives, and only the answer says how to abort it. So a task of its own
//! waits for the answer: a caller who stops waiting leaves no upload behind that nobody knows.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::unfinished::UnfinishedUpload;
use super::{ContentType, IfExists, ObjectSums, Store, StoreError, Upload, abort_in_time, in_abort_time};

/// An upload that has been asked for. Dropping it before its end aborts it, as far as a drop can.
#[derive(Debug)]
pub(crate) struct PendingUpload {
    /// The object's address.
    object: String,
    state: UploadState,
    /// Whoever is at work on the upload holds this, so that a process that ends waits for it.
    unfinished: Option<Arc<UnfinishedUpload>>,
}

type UploadResult = Result<Box<dyn Upload>, StoreError>;

#[derive(Debug)]
enum UploadState {
    /// The task sends the answer here; when nobody takes it any more, the task itself aborts the upload.
    Asked(oneshot::Receiver<UploadResult>),
    Open(Arc<dyn Upload>),
    /// It could not be begun, was completed, or was aborted.
    Ended,
}

impl PendingUpload {
    /// Asks the store for an upload. To be called within a tokio runtime.
    pub(crate) fn ask(store: &Arc<dyn Store>, key: &str, content_type: ContentType) -> PendingUpload {
        let object = store.url(key);
        let unfinished = store.unfinished_uploads().map(|uploads| Arc::new(uploads.add(&object)));
        let (answer, receiver) = oneshot::channel();
        let (store, key, address) = (Arc::clone(store), key.to_owned(), object.clone());
        let held = unfinished.clone();
        tokio::spawn(async move {
            let begun = store.begin_upload(&key, content_type).await;
            match answer.send(begun) {
                Ok(()) => {}
                Err(Ok(unwanted)) => abort_in_time(&*unwanted, &address).await,
                Err(Err(error)) if error.is_transient() => tracing::warn!(
                    object = address,
                    error = &error as &dyn std::error::Error,
                    "the store may have started an upload without reporting it; a lifecycle rule for incomplete uploads removes it"
                ),
                Err(Err(_)) => {}
            }
            drop(held);
        });
        PendingUpload { object, state: UploadState::Asked(receiver), unfinished }
    }

    /// The upload, when the store has answered. Whoever stops waiting may ask again.
    pub(crate) async fn upload(&mut self) -> Result<Arc<dyn Upload>, StoreError> {
        if let UploadState::Asked(receiver) = &mut self.state {
            let answer = receiver.await;
            self.state = UploadState::Ended;
            match answer.map_err(|_| self.no_more("the task that began it died")).flatten() {
                Ok(upload) => self.state = UploadState::Open(upload.into()),
                Err(error) => {
                    self.unfinished = None;
                    return Err(error);
                }
            }
        }
        self.open().ok_or_else(|| self.no_more("its upload has ended"))
    }

    /// The upload, if the store's answer has been taken already.
    pub(crate) fn open(&self) -> Option<Arc<dyn Upload>> {
        match &self.state {
            UploadState::Open(upload) => Some(Arc::clone(upload)),
            UploadState::Asked(_) | UploadState::Ended => None,
        }
    }

    /// Makes the object visible. After a failure the upload is still to be aborted.
    pub(crate) async fn complete(
        &mut self,
        sums: &ObjectSums,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        self.upload().await?.complete(sums, if_exists).await?;
        self.end();
        Ok(())
    }

    /// Aborts it. A store that has not answered yet has the same time for both as another one has for the abort alone.
    pub(crate) async fn abort(&mut self) {
        let object = self.object.clone();
        let aborted = async {
            match self.upload().await {
                Ok(upload) => upload.abort().await,
                // There is none.
                Err(_) => Ok(()),
            }
        };
        let has_ended = in_abort_time(aborted, &object).await;
        match (&self.state, has_ended) {
            // The task aborts it when the answer comes, since nobody takes that.
            (UploadState::Asked(_), _) => tracing::debug!(object, "the store has not answered yet"),
            (_, true) => self.end(),
            // Another attempt, as with what is dropped.
            (_, false) => {}
        }
    }

    fn end(&mut self) {
        self.state = UploadState::Ended;
        self.unfinished = None;
    }

    fn no_more(&self, cause: &str) -> StoreError {
        StoreError::Other { operation: "write", object: self.object.clone(), source: cause.into() }
    }
}

impl Drop for PendingUpload {
    fn drop(&mut self) {
        let upload = match std::mem::replace(&mut self.state, UploadState::Ended) {
            UploadState::Open(upload) => upload,
            UploadState::Asked(mut receiver) => {
                receiver.close();
                // What was answered before that has nobody else who could abort it.
                let Ok(Ok(upload)) = receiver.try_recv() else { return };
                upload.into()
            }
            UploadState::Ended => return,
        };
        // The orderly way is `abort`; this is for a task that was itself dropped, or for an abort without an answer.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (object, held) = (self.object.clone(), self.unfinished.take());
            runtime.spawn(async move {
                abort_in_time(&*upload, &object).await;
                drop(held);
            });
        }
    }
}
