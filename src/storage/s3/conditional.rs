//! Writes an object only if the key does not exist: `If-None-Match: *`, for which `s3:PutObject` is
//! sufficient.
//!
//! # Lost responses
//! A request without a response is sent again, and the store then reports that the object which the first
//! attempt created exists (412). For a key that no other writer uses ([`IfExists::FailUnlessOwn`]), that
//! object is checked:
//! - Its checksum decides, if the access key has permission to read it and the store keeps one.
//! - Without that permission (only `s3:PutObject`; `HeadObject` returns 403), the object counts as the one to
//!   be written if the request was sent more than once, and only then. This assumes that the key was free
//!   when it was claimed, and that only pg-backup writes under its prefix. Then only the owner of the claim
//!   can have written the object. Nothing is overwritten in either case, and if the assumption is wrong,
//!   `verify` finds an object that does not match the manifest.
//!
//! # Stores without conditional writes
//! If a store rejects the header, the request is sent without it, again only for a key that no other writer
//! uses. A store that ignores the header cannot be distinguished from one in which the key is free; the claim
//! detects that earlier.

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

/// Maximum number of retries after the store reported a conflict with another request for the same key.
const CONFLICTS: u32 = 6;

/// The sums that identify an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentSums {
    size: u64,
    crc64nvme: u64,
}

impl ContentSums {
    pub(super) fn of(body: &[u8]) -> ContentSums {
        ContentSums { size: body.len() as u64, crc64nvme: receipt::checksum(body) }
    }

    /// Returns the checksum in S3's encoding.
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
    /// Subtracts one request that was answered and therefore wrote nothing.
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

/// Why a store refuses a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The object exists.
    Exists,
    /// Another request for the same key is in progress.
    Conflict,
    /// The store does not support the header.
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
    /// Writes an object according to `if_exists`. `send` sends the request with the given value of
    /// `If-None-Match`; `content` returns the sums of the content. Returns the response, or `None` if an
    /// earlier attempt has already written the object.
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

    /// Returns whether the object under a key that no other writer uses is the one to be written.
    async fn is_own(&self, key: &str, content: ContentSums, sendings: &Sendings) -> bool {
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        let Ok(found) = head.checksum_mode(ChecksumMode::Enabled).send().await else {
            return sendings.are_several();
        };
        if found.content_length().and_then(|length| u64::try_from(length).ok()) != Some(content.size) {
            return false;
        }
        // A checksum of the parts' checksums ends with their number; it cannot be compared.
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
            // `CompleteMultipartUpload` sends status 200 before it knows the result.
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
