//! Defines which responses the SDK retries in addition to its own rules. See also
//! [`StoreError::is_transient`](crate::storage::StoreError::is_transient), which decides after the last
//! attempt.

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadError;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;

/// Returns whether an error code is transient, whatever its status: a failed completion of an upload has
/// status 200.
pub(super) fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "InternalError"
            | "ServiceUnavailable"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            // Bytes that were damaged in transit.
            | "BadDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
    )
}

/// Makes the SDK retry [`is_passing`] errors, and too many requests.
#[derive(Debug)]
pub(super) struct TransientFailures;

impl ClassifyRetry for TransientFailures {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        if context.response().is_some_and(|response| response.status().as_u16() == 429) {
            return RetryAction::throttling_error();
        }
        let code = error.as_operation_error().and_then(|error| {
            macro_rules! code_of {
                ($($kind:ty),*) => { None$(.or_else(|| error.downcast_ref::<$kind>().and_then(|e| e.code())))* };
            }
            code_of!(
                PutObjectError,
                UploadPartError,
                CreateMultipartUploadError,
                CompleteMultipartUploadError,
                AbortMultipartUploadError,
                GetObjectError,
                ListObjectsV2Error
            )
        });
        match code.is_some_and(is_passing) {
            true => RetryAction::transient_error(),
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "failures of S3 that pass"
    }
}
