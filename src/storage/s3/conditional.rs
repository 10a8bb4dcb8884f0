//! Writing an object only where there is none: `If-None-Match: *`, for which `s3:PutObject` suffices.
//!
//! # An answer that was lost
//! A request whose answer does not come is sent again, and then the object that the first one left is in the way (412). For a
//! key that no other writer takes ([`IfExists::FailUnlessOwn`]) that object is looked up:
//! - Its checksum decides, where the access key may see it and the store keeps one.
//! - Where it may not (`s3:PutObject` alone, to which `HeadObject` answers 403), the object is taken for the one to be written if
//!   the request was sent more than once, and only then. What is assumed: nothing lay under the key when it was claimed, and
//!   nothing but pg-backup writes under its prefix. Then only the holder of the claim can have written it. Nothing is
//!   overwritten in either case, and if the assumption is wrong, `verify` finds an object that is not what the manifest says.
//!
//! # A store that does not know the header
//! One that refuses the header is sent the request without it, again only for a key that no other writer takes. One that
//! ignores it cannot be told from one in which the key is free; the claim finds that out before.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ChecksumMode;

use super::{S3Store, failure, receipt};
use crate::storage::{IfExists, ObjectSums, Store as _, StoreError};

/// How often a request is sent again that comes while the store still works on another one for the same key.
const CONFLICTS: u32 = 6;

/// What an object is recognized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentSums {
    size: u64,
    crc64nvme: u64,
}

impl ContentSums {
    pub(super) fn of(body: &[u8]) -> ContentSums {
        ContentSums { size: body.len() as u64, crc64nvme: receipt::checksum(body) }
    }

    /// As S3 writes it.
    fn checksum(self) -> String {
        receipt::encode(self.crc64nvme)
    }
}

impl From<&ObjectSums> for ContentSums {
    fn from(sums: &ObjectSums) -> ContentSums {
        ContentSums { size: sums.size, crc64nvme: sums.crc64nvme }
    }
}

/// Counts how often the SDK sends a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Sendings(Arc<AtomicU32>);

impl Sendings {
    /// One of them was answered: it has left nothing.
    fn forget_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn are_several(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

impl Intercept for Sendings {
    fn name(&self) -> &'static str {
        "Sendings"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Why a store does not write under the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// There is an object.
    Exists,
    /// Another request for the same key is under way.
    Conflict,
    /// It does not know the header.
    Unknown,
}

fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<Refusal> {
    let SdkError::ServiceError(context) = error else { return None };
    refusal_of(context.raw().status().as_u16(), context.err().code().unwrap_or_default())
}

fn refusal_of(status: u16, code: &str) -> Option<Refusal> {
    match (status, code) {
        (412, _) | (_, "PreconditionFailed") => Some(Refusal::Exists),
        (_, "ConditionalRequestConflict" | "OperationAborted") => Some(Refusal::Conflict),
        (501, _) | (400, "NotImplemented" | "InvalidArgument" | "InvalidRequest") => Some(Refusal::Unknown),
        _ => None,
    }
}

impl S3Store {
    /// Writes an object as `if_exists` says. `send` sends the request, with that value of `If-None-Match`; `content` is what it
    /// is to write. Returns the answer, or nothing where an earlier request has written it already.
    pub(super) async fn write_if<T, E, Sent>(
        &self,
        operation: &'static str,
        key: &str,
        if_exists: IfExists,
        content: impl Fn() -> ContentSums + Send,
        send: impl Fn(Option<String>, Sendings) -> Sent + Send,
    ) -> Result<Option<T>, StoreError>
    where
        T: Send,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        Sent: Future<Output = Result<T, SdkError<E>>> + Send,
    {
        let sendings = Sendings::default();
        let mut condition = (if_exists != IfExists::Replace).then(|| "*".to_owned());
        let mut conflicts = 0;
        loop {
            let error = match send(condition.clone(), sendings.clone()).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => error,
            };
            let refusal = condition.as_ref().and_then(|_| refusal(&error));
            let object = self.url(key);
            match (refusal, if_exists) {
                (None, _) => return Err(self.failures.explain(operation, object, error)),
                (Some(Refusal::Exists), IfExists::FailUnlessOwn)
                    if self.is_own(key, content(), &sendings).await =>
                {
                    return Ok(None);
                }
                (Some(Refusal::Exists), _) | (Some(Refusal::Conflict), IfExists::Fail) => {
                    return Err(StoreError::Exists { object });
                }
                (Some(Refusal::Conflict), _) if conflicts == CONFLICTS => {
                    let source = failure::innermost(&error).into();
                    return Err(StoreError::Busy { operation, object, source });
                }
                (Some(Refusal::Conflict), _) => {
                    sendings.forget_one();
                    tokio::time::sleep(Duration::from_millis(500 << conflicts)).await;
                    conflicts += 1;
                }
                (Some(Refusal::Unknown), IfExists::FailUnlessOwn) => condition = None,
                (Some(Refusal::Unknown), _) => {
                    let source = failure::innermost(&error).into();
                    return Err(StoreError::Unconditional { object, source });
                }
            }
        }
    }

    /// Whether the object under a key that no other writer takes is the one that was to be written.
    async fn is_own(&self, key: &str, content: ContentSums, sendings: &Sendings) -> bool {
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        let Ok(found) = head.checksum_mode(ChecksumMode::Enabled).send().await else {
            return sendings.are_several();
        };
        if found.content_length().and_then(|length| u64::try_from(length).ok()) != Some(content.size) {
            return false;
        }
        // A checksum of the parts' checksums ends with their number, and says nothing here.
        match found.checksum_crc64_nvme().filter(|checksum| !checksum.contains('-')) {
            Some(checksum) => checksum == content.checksum(),
            None => sendings.are_several(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_known_by_its_answer() {
        for (status, code, expected) in [
            (412, "PreconditionFailed", Some(Refusal::Exists)),
            (412, "", Some(Refusal::Exists)),
            // Completing answers 200 before it knows.
            (200, "PreconditionFailed", Some(Refusal::Exists)),
            (409, "ConditionalRequestConflict", Some(Refusal::Conflict)),
            (501, "NotImplemented", Some(Refusal::Unknown)),
            (400, "InvalidArgument", Some(Refusal::Unknown)),
            (400, "ExpiredToken", None),
            (403, "AccessDenied", None),
            (404, "NoSuchUpload", None),
            (503, "SlowDown", None),
        ] {
            assert_eq!(refusal_of(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn content_is_recognized_by_the_checksum_that_s3_keeps() {
        let content = ContentSums::of(b"123456789");
        assert_eq!((content.size, content.crc64nvme), (9, 0xae8b_1486_0a79_9888));
        assert_eq!(content.checksum(), "rosUhgp5mIg=");
    }
}
