//! An upload that whoever began it may give up at any moment, also while the store is still being asked for it.
//!
//! A store may have made an upload before its answer arrives, and only the answer says how to abort it. So a task of its own
//! waits for the answer: a caller who stops waiting leaves no upload behind that nobody knows.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{ContentType, ObjectSums, Store, StoreError, Upload, abort_in_time, in_abort_time};

/// An upload that has been asked for. Dropping it before its end aborts it, as far as a drop can.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The object's address.
    object: String,
    state: State,
}

type Answer = Result<Box<dyn Upload>, StoreError>;

#[derive(Debug)]
enum State {
    /// The task sends the answer here; when nobody takes it any more, the task itself aborts the upload.
    Asked(oneshot::Receiver<Answer>),
    Open(Arc<dyn Upload>),
    /// It could not be begun, was completed, or was aborted.
    Ended,
}

impl Begun {
    /// Asks the store for an upload. To be called within a tokio runtime.
    pub(crate) fn ask(store: &Arc<dyn Store>, key: &str, content_type: ContentType) -> Begun {
        let object = store.url(key);
        let (answer, receiver) = oneshot::channel();
        let (store, key, address) = (Arc::clone(store), key.to_owned(), object.clone());
        tokio::spawn(async move {
            let begun = store.begin_upload(&key, content_type).await;
            if let Err(Ok(unwanted)) = answer.send(begun) {
                abort_in_time(&*unwanted, &address).await;
            }
        });
        Begun { object, state: State::Asked(receiver) }
    }

    /// The upload, when the store has answered. Whoever stops waiting may ask again.
    pub(crate) async fn upload(&mut self) -> Result<Arc<dyn Upload>, StoreError> {
        if let State::Asked(receiver) = &mut self.state {
            let answer = receiver.await;
            self.state = State::Ended;
            let upload = answer.map_err(|_| self.no_more("the task that began it died"))??;
            self.state = State::Open(upload.into());
        }
        self.open().ok_or_else(|| self.no_more("its upload has ended"))
    }

    /// The upload, if the store's answer has been taken already.
    pub(crate) fn open(&self) -> Option<Arc<dyn Upload>> {
        match &self.state {
            State::Open(upload) => Some(Arc::clone(upload)),
            State::Asked(_) | State::Ended => None,
        }
    }

    /// Makes the object visible. After a failure the upload is still to be aborted.
    pub(crate) async fn complete(&mut self, sums: &ObjectSums) -> Result<(), StoreError> {
        self.upload().await?.complete(sums).await?;
        self.state = State::Ended;
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
        in_abort_time(aborted, &object).await;
        // What is still not answered stays as it is: the task aborts it when nobody takes the answer.
        if let State::Open(_) = self.state {
            self.state = State::Ended;
        }
    }

    fn no_more(&self, cause: &str) -> StoreError {
        StoreError::Other { operation: "write", object: self.object.clone(), source: cause.into() }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let upload = match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(upload) => upload,
            State::Asked(mut receiver) => {
                receiver.close();
                // What was answered before that has nobody else who could abort it.
                let Ok(Ok(upload)) = receiver.try_recv() else { return };
                upload.into()
            }
            State::Ended => return,
        };
        // The orderly way is `abort`; this is for a task that was itself dropped.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let object = self.object.clone();
            runtime.spawn(async move { abort_in_time(&*upload, &object).await });
        }
    }
}
