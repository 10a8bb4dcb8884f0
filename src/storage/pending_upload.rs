//! An upload that its owner may abandon at any time, even while it still waits for the store's response.
//!
//! A store may have created an upload before its response arrives, and only the response contains the id that
//! aborts it. Therefore a separate task waits for the response: a caller that stops waiting leaves no unknown
//! upload behind.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::unfinished::UnfinishedUpload;
use super::{ContentType, IfExists, ObjectSums, Store, StoreError, Upload, abort_in_time, in_abort_time};

/// A requested upload. Dropping it before its end aborts it, as far as a drop can.
#[derive(Debug)]
pub(crate) struct PendingUpload {
    /// URL of the object.
    object: String,
    state: UploadState,
    /// Held while the upload is in progress, so that the process waits for it before it exits.
    unfinished: Option<Arc<UnfinishedUpload>>,
}

type UploadResult = Result<Box<dyn Upload>, StoreError>;

#[derive(Debug)]
enum UploadState {
    /// Receives the response from the task. If the receiver is dropped, the task aborts the upload.
    Asked(oneshot::Receiver<UploadResult>),
    Open(Arc<dyn Upload>),
    /// The upload could not be begun, was completed, or was aborted.
    Ended,
}

impl PendingUpload {
    /// Requests an upload from the store. Must be called within a tokio runtime.
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

    /// Waits for the store's response and returns the upload. A caller that stopped waiting may call it
    /// again.
    pub(crate) async fn upload(&mut self) -> Result<Arc<dyn Upload>, StoreError> {
        if let UploadState::Asked(receiver) = &mut self.state {
            let answer = receiver.await;
            self.state = UploadState::Ended;
            match answer.map_err(|_| self.no_more("the task that started it ended")).flatten() {
                Ok(upload) => self.state = UploadState::Open(upload.into()),
                Err(error) => {
                    self.unfinished = None;
                    return Err(error);
                }
            }
        }
        self.open().ok_or_else(|| self.no_more("its upload has ended"))
    }

    /// Returns the upload if the store's response has already been received.
    pub(crate) fn open(&self) -> Option<Arc<dyn Upload>> {
        match &self.state {
            UploadState::Open(upload) => Some(Arc::clone(upload)),
            UploadState::Asked(_) | UploadState::Ended => None,
        }
    }

    /// Makes the object visible. After a failure, the upload must still be aborted.
    pub(crate) async fn complete(
        &mut self,
        sums: &ObjectSums,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        self.upload().await?.complete(sums, if_exists).await?;
        self.end();
        Ok(())
    }

    /// Aborts the upload. One time limit covers both the wait for a pending response and the abort.
    pub(crate) async fn abort(&mut self) {
        let object = self.object.clone();
        let aborted = async {
            match self.upload().await {
                Ok(upload) => upload.abort().await,
                // No upload exists.
                Err(_) => Ok(()),
            }
        };
        let has_ended = in_abort_time(aborted, &object).await;
        match (&self.state, has_ended) {
            // The task aborts the upload when the response arrives, because the receiver is dropped.
            (UploadState::Asked(_), _) => tracing::debug!(object, "the store has not answered yet"),
            (_, true) => self.end(),
            // Dropping it makes another attempt.
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
                // If the response has already arrived, only this function can abort the upload.
                let Ok(Ok(upload)) = receiver.try_recv() else { return };
                upload.into()
            }
            UploadState::Ended => return,
        };
        // Normally `abort` is called. This handles a dropped task, and an abort that got no response.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (object, held) = (self.object.clone(), self.unfinished.take());
            runtime.spawn(async move {
                abort_in_time(&*upload, &object).await;
                drop(held);
            });
        }
    }
}
