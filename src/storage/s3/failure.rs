//! Converts the SDK's errors to a [`StoreError`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::{RequestId, RequestIdExt};
use aws_smithy_types::error::metadata::ErrorMetadata;
use http_body_util::LengthLimitError;

use super::lifecycle;
use super::proxy::Proxy;
use super::receipt::Fault;
use super::retry::is_passing;
use super::watch::Stalled;
use crate::storage::StoreError;

/// Data that error messages name in addition to the object.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    /// Proxy between this machine and the endpoint.
    pub(super) proxy: Option<Proxy>,
    /// Permissions that writing needs.
    pub(super) write_needs: String,
}

/// The error response of a store.
#[derive(Debug)]
struct StoreResponse {
    code: Option<String>,
    message: Option<String>,
    status: u16,
    request_id: Option<String>,
}

impl fmt::Display for StoreResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {}", shortened(code))?;
        }
        if let Some(message) = self.message.as_deref().filter(|message| !message.is_empty()) {
            write!(f, ": {}", shortened(message.trim_end_matches('.')))?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {})", shortened(id)),
            None => Ok(()),
        }
    }
}

/// Shortens a text from the store for logs and alerts, because its length is not under our control.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 500;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

impl Error for StoreResponse {}

/// Returns the message of the innermost cause, which says what happened; the outer errors only say in which
/// layer.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
    shortened(&innermost).into_owned()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Returns whether TLS itself failed. The TLS error is inside the errors of the connection, which hide it
/// from the chain of causes.
fn is_of_tls(cause: &(dyn Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is::<rustls::Error>() || inner.is_some_and(|inner| is_of_tls(inner))
}

impl Failures {
    /// Converts an error of `operation` on `object`.
    pub(super) fn explain<E>(&self, operation: &'static str, object: String, error: SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match &error {
            SdkError::ServiceError(context) => {
                let raw = context.raw();
                let region = raw.headers().get("x-amz-bucket-region").map(str::to_owned);
                let meta = context.err().meta();
                if raw.status().is_success() && meta.code().is_none() {
                    // The response is not an S3 error response at all.
                    return self.not_taken(operation, object, Fault::NotS3(innermost(&error)));
                }
                self.explain_answer(operation, object, meta, raw.status().as_u16(), region)
            }
            SdkError::ResponseError(_) if causes(&error).any(|cause| cause.is::<LengthLimitError>()) => {
                let what = "it is longer than any response to this request".to_owned();
                self.not_taken(operation, object, Fault::NotS3(what))
            }
            // The connection broke.
            SdkError::ResponseError(_) => self.unreachable(&error),
            _ if causes(&error).any(|cause| cause.is::<CredentialsError>()) => {
                StoreError::NoCredentials { object, source: innermost(&error).into() }
            }
            SdkError::TimeoutError(_) => {
                StoreError::Timeout { operation, object, source: innermost(&error).into() }
            }
            SdkError::DispatchFailure(_) if causes(&error).any(is_of_tls) => {
                StoreError::Tls { endpoint: self.endpoint(), source: innermost(&error).into() }
            }
            SdkError::DispatchFailure(_) if causes(&error).any(|cause| cause.is::<Stalled>()) => {
                StoreError::Timeout { operation, object, source: innermost(&error).into() }
            }
            SdkError::DispatchFailure(failure) if !failure.is_user() => self.unreachable(&error),
            _ => StoreError::Other { operation, object, source: innermost(&error).into() },
        }
    }

    fn unreachable(&self, error: &(dyn Error + 'static)) -> StoreError {
        let (endpoint, source) = (self.endpoint(), innermost(error).into());
        match &self.proxy {
            None => StoreError::Unreachable { endpoint, source },
            Some(proxy) => StoreError::Proxy { proxy: proxy.to_string(), endpoint, source },
        }
    }

    /// Returns the error for a response that reports success but is not valid.
    pub(super) fn not_taken(&self, operation: &'static str, object: String, fault: Fault) -> StoreError {
        match fault {
            Fault::NotS3(what) => StoreError::NotS3 { endpoint: self.endpoint(), operation, object, what },
            Fault::Differs(difference) => StoreError::Corrupted { operation, object, difference },
        }
    }

    /// Returns the permissions that the access key needs, in IAM's terms.
    fn permission(&self, operation: &str) -> String {
        let action = match operation {
            "list" => "s3:ListBucket",
            "read" => "s3:GetObject",
            "abort the upload of" => "s3:AbortMultipartUpload",
            lifecycle::READ => "s3:GetLifecycleConfiguration",
            lifecycle::WRITE => "s3:PutLifecycleConfiguration",
            lifecycle::READ_VERSIONING => "s3:GetBucketVersioning",
            _ => &self.write_needs,
        };
        action.to_owned()
    }

    fn refused_by_proxy(
        &self,
        operation: &'static str,
        object: String,
        source: Box<StoreResponse>,
    ) -> StoreError {
        let proxy = self.proxy.as_ref().map_or_else(|| "a proxy".to_owned(), Proxy::to_string);
        StoreError::ProxyRefused { proxy, operation, object, source }
    }

    fn endpoint(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("S3 in {}", self.region),
        }
    }

    fn explain_answer(
        &self,
        operation: &'static str,
        object: String,
        meta: &ErrorMetadata,
        status: u16,
        region: Option<String>,
    ) -> StoreError {
        let answer = StoreResponse {
            code: meta.code().map(str::to_owned),
            message: meta.message().map(str::to_owned),
            status,
            request_id: meta.request_id().or(meta.extended_request_id()).map(str::to_owned),
        };
        let code = meta.code().unwrap_or_default();
        let source = Box::new(answer);
        match (code, status) {
            ("NoSuchBucket", _) => {
                StoreError::NoSuchBucket { store: format!("bucket {}", self.bucket), source }
            }
            ("NoSuchKey", _) => StoreError::NotFound { object },
            ("NoSuchUpload", _) => StoreError::LostUpload { operation, object, source },
            (
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException",
                _,
            )
            | (_, 301) => StoreError::WrongRegion {
                bucket: self.bucket.clone(),
                configured: self.region.clone(),
                region: region.or_else(|| expected_region(meta.message().unwrap_or_default())),
                source,
            },
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "ExpiredToken"
                | "TokenRefreshRequired"
                | "InvalidClientTokenId"
                | "InvalidSecurity",
                _,
            ) => StoreError::KeyRefused { code: code.to_owned(), object, source },
            ("RequestTimeout", _) => StoreError::Timeout { operation, object, source },
            ("RequestTimeTooSkewed", _) => StoreError::ClockSkew { operation, object, source },
            (code, _) if is_passing(code) => StoreError::Busy { operation, object, source },
            (_, 407) => self.refused_by_proxy(operation, object, source),
            // A response without an S3 error code may come from the proxy.
            ("", 401 | 403) if self.proxy.is_some() => self.refused_by_proxy(operation, object, source),
            // Quotas, locked accounts and archived objects also return 403, and no permission fixes them.
            (code, 401 | 403) if is_denial(code) => {
                StoreError::AccessDenied { operation, object, permission: self.permission(operation), source }
            }
            (_, 401 | 403) => StoreError::Refused { operation, object, source },
            ("NotImplemented", _) | (_, 501) => StoreError::Other { operation, object, source },
            (_, 429 | 500..) => StoreError::Busy { operation, object, source },
            _ => StoreError::Other { operation, object, source },
        }
    }
}

/// Returns whether an error code reports a missing permission. Some stores use codes of their own, and some
/// send none.
fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "" | "AccessDenied"
            | "AccessDeniedException"
            | "Forbidden"
            | "Unauthorized"
            | "UnauthorizedAccess"
            | "403"
            | "401"
    )
}

/// Extracts the region from `the region 'us-east-1' is wrong; expecting 'eu-central-1'`.
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    let (region, _) = rest.split_once('\'')?;
    Some(region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(code: &str, message: &str, status: u16) -> String {
        let error = explained(code, message, status);
        let cause = error.source().map(|cause| format!(" / {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    }

    fn explained(code: &str, message: &str, status: u16) -> StoreError {
        let failures = Failures {
            bucket: "b".into(),
            region: "eu-central-1".into(),
            endpoint: Some("http://s3".into()),
            proxy: None,
            write_needs: "s3:PutObject".into(),
        };
        let meta = ErrorMetadata::builder().code(code).message(message).build();
        failures.explain_answer("write", "s3://b/k".into(), &meta, status, None)
    }

    #[test]
    fn only_faults_of_the_store_are_transient() {
        for (code, status) in [
            ("SlowDown", 503),
            ("InternalError", 500),
            // The status of a failed completion of an upload.
            ("InternalError", 200),
            ("TooMany", 429),
            ("RequestTimeout", 400),
            // A lost response to the completion; another request for the same key; bytes damaged in transit.
            ("NoSuchUpload", 404),
            ("OperationAborted", 409),
            ("BadDigest", 400),
            ("RequestTimeTooSkewed", 403),
        ] {
            assert!(explained(code, "", status).is_transient(), "{code}");
        }
        for (code, status) in [
            ("NoSuchBucket", 404),
            ("AccessDenied", 403),
            ("InvalidAccessKeyId", 403),
            ("QuotaExceeded", 403),
            ("NotImplemented", 501),
            ("EntityTooLarge", 400),
            ("PermanentRedirect", 301),
        ] {
            assert!(!explained(code, "", status).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_long_answer_is_shortened() {
        let told = explain("InternalError", &"ü".repeat(1 << 20), 500);
        assert!(told.ends_with("ü…") && told.chars().count() < 600, "{}", told.len());
    }

    #[test]
    fn each_error_names_its_remedy() {
        for (code, message, status, expected) in [
            ("NoSuchBucket", "x", 404, "bucket b does not exist / HTTP 404 NoSuchBucket: x"),
            (
                "AccessDenied",
                "no.",
                403,
                "access denied: write s3://b/k, which needs s3:PutObject / HTTP 403 AccessDenied: no",
            ),
            (
                "InvalidAccessKeyId",
                "",
                403,
                "the store refused the access key (InvalidAccessKeyId): s3://b/k / HTTP 403 InvalidAccessKeyId",
            ),
            (
                "AuthorizationHeaderMalformed",
                "the region 'eu-central-1' is wrong; expecting 'us-east-1'",
                400,
                "bucket b is not in region eu-central-1 but in us-east-1 / HTTP 400 AuthorizationHeaderMalformed: \
                 the region 'eu-central-1' is wrong; expecting 'us-east-1'",
            ),
            (
                "RequestTimeTooSkewed",
                "",
                403,
                "the store rejected the time of the request: write s3://b/k\nHINT: compare this machine's clock with the \
                 real time (NTP) / HTTP 403 RequestTimeTooSkewed",
            ),
            (
                "QuotaExceeded",
                "full",
                403,
                "the store refused: write s3://b/k / HTTP 403 QuotaExceeded: full",
            ),
            ("AccountProblem", "", 403, "the store refused: write s3://b/k / HTTP 403 AccountProblem"),
            (
                "NoSuchUpload",
                "",
                404,
                "the store no longer knows the upload: write s3://b/k / HTTP 404 NoSuchUpload",
            ),
            ("SlowDown", "", 503, "the store failed: write s3://b/k / HTTP 503 SlowDown"),
        ] {
            assert_eq!(explain(code, message, status), expected);
        }
    }
}
