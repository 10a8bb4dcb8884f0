//! Errors of a store, distinguished by what the operator must fix.

use std::error::Error;

/// Boxed cause of a [`StoreError`].
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// An error of a store. Each variant has its own remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bucket, or the directory of a local store, does not exist.
    #[error("{store} does not exist")]
    NoSuchBucket {
        /// `bucket NAME`, or the directory.
        store: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The access key is valid but lacks the permission.
    #[error("access denied: {operation} {object}, which needs {permission}")]
    AccessDenied {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// The permissions that the access key needs.
        permission: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The store does not know the access key, or the secret is wrong.
    #[error("the store refused the access key ({code}): {object}")]
    KeyRefused {
        /// `InvalidAccessKeyId`, `SignatureDoesNotMatch`, …
        code: String,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// No credentials were found.
    #[error(
        "no credentials for {object}\nHINT: set an access key and its secret, or give the container an AWS role"
    )]
    NoCredentials {
        /// URL of the object.
        object: String,
        /// Error of the credentials provider.
        source: BoxError,
    },
    /// The name of the endpoint does not resolve, it refuses connections, or the connection broke.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// URL of the endpoint, or `S3 in REGION`.
        endpoint: String,
        /// Error of the connection.
        source: BoxError,
    },
    /// The certificate of the endpoint is not valid, or TLS failed otherwise.
    #[error("TLS with {endpoint} failed")]
    Tls {
        /// URL of the endpoint, or `S3 in REGION`.
        endpoint: String,
        /// Error of the TLS connection.
        source: BoxError,
    },
    /// The bucket is in another region than the configured one.
    #[error("bucket {bucket} is not in region {configured}{}", .region.as_deref().map(|r| format!(" but in {r}")).unwrap_or_default())]
    WrongRegion {
        /// Name of the bucket.
        bucket: String,
        /// Region for which requests were signed.
        configured: String,
        /// Region that the store reports.
        region: Option<String>,
        /// Response of the store.
        source: BoxError,
    },
    /// The proxy from the environment does not forward requests to the endpoint.
    #[error("cannot reach {endpoint} through {proxy}")]
    Proxy {
        /// `proxy URL (VARIABLE)`, without a password.
        proxy: String,
        /// URL of the endpoint, or `S3 in REGION`.
        endpoint: String,
        /// Error of the connection.
        source: BoxError,
    },
    /// The proxy itself refused the request.
    #[error("{proxy} refused the request: {operation} {object}")]
    ProxyRefused {
        /// `proxy URL (VARIABLE)`, without a password.
        proxy: String,
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the proxy.
        source: BoxError,
    },
    /// The endpoint reported success, but its response is not one of S3: the object may not have been stored.
    #[error(
        "the response of {endpoint} is not an S3 response: {operation} {object}: {what}\nHINT: check the endpoint: a gateway, \
         a captive portal or another web server may have answered instead of the store"
    )]
    NotS3 {
        /// URL of the endpoint, or `S3 in REGION`.
        endpoint: String,
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// What is missing or unexpected in the response.
        what: String,
    },
    /// The store's checksum differs from the checksum of the sent bytes.
    #[error("the store received other bytes than were sent: {operation} {object}: {difference}")]
    Corrupted {
        /// `write`, `complete`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Both checksums.
        difference: String,
    },
    /// The upload no longer exists: another client aborted it, or a request whose response was lost completed
    /// it.
    #[error("the store no longer knows the upload: {operation} {object}")]
    LostUpload {
        /// `write`, `complete`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The clocks of the store and of this machine differ too much for a signature.
    #[error(
        "the store rejected the time of the request: {operation} {object}\nHINT: compare this machine's clock with the \
         real time (NTP)"
    )]
    ClockSkew {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The store refuses the request for a reason that no permission fixes: a quota, or the state of the
    /// account.
    #[error("the store refused: {operation} {object}")]
    Refused {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The store did not answer in time, after all retries.
    #[error("timed out: {operation} {object}")]
    Timeout {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Error of the client.
        source: BoxError,
    },
    /// The object does not exist.
    #[error("{object} does not exist")]
    NotFound {
        /// URL of the object.
        object: String,
    },
    /// The object or the range is longer than expected.
    #[error("{object} is longer than {limit} bytes")]
    TooLong {
        /// URL of the object, or of a range of it.
        object: String,
        /// Maximum size in bytes.
        limit: u64,
    },
    /// A listing that does not end.
    #[error("the store's listing does not end: it repeats the continuation token \"{token}\"")]
    EndlessListing {
        /// The repeated token.
        token: String,
    },
    /// The object already exists and must not be replaced.
    #[error("{object} already exists and is not overwritten")]
    Exists {
        /// URL of the object.
        object: String,
    },
    /// The store does not support conditional writes.
    #[error("the store does not support conditional writes (If-None-Match): {object}")]
    Unconditional {
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// The object is larger than the store's limits permit.
    #[error("{object} exceeds {limit} bytes, the most that {max_parts} parts can hold")]
    TooLarge {
        /// URL of the object.
        object: String,
        /// Maximum size in bytes.
        limit: u64,
        /// Maximum number of parts of the store.
        max_parts: u32,
    },
    /// The store cannot use the key.
    #[error("\"{key}\" is not a valid object key")]
    BadKey {
        /// The key.
        key: String,
    },
    /// A setting of the store's client is invalid.
    #[error("{message}")]
    Settings {
        /// What is wrong.
        message: String,
    },
    /// A file operation of a local store failed.
    #[error("cannot {operation} {path}")]
    File {
        /// `write`, `read`, `rename`, …
        operation: &'static str,
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The store cannot process the request now: an internal error, too many requests, a conflict, or bytes
    /// that were damaged in transit.
    #[error("the store failed: {operation} {object}")]
    Busy {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
    /// Any other error.
    #[error("the store failed: {operation} {object}")]
    Other {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// URL of the object.
        object: String,
        /// Response of the store.
        source: BoxError,
    },
}

impl StoreError {
    /// Returns whether a retry may succeed without a fix by the operator: the store is unreachable, does not
    /// answer in time, or reports an error of its own; a response or bytes were lost in transit; or the key
    /// is taken, because a retry uses a new key.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Unreachable { .. }
            | StoreError::Proxy { .. }
            | StoreError::Timeout { .. }
            | StoreError::Busy { .. }
            | StoreError::Corrupted { .. }
            | StoreError::LostUpload { .. }
            | StoreError::ClockSkew { .. }
            | StoreError::Exists { .. } => true,
            StoreError::NoSuchBucket { .. }
            | StoreError::AccessDenied { .. }
            | StoreError::KeyRefused { .. }
            | StoreError::NoCredentials { .. }
            | StoreError::Tls { .. }
            | StoreError::WrongRegion { .. }
            | StoreError::ProxyRefused { .. }
            | StoreError::NotS3 { .. }
            | StoreError::Refused { .. }
            | StoreError::NotFound { .. }
            | StoreError::TooLong { .. }
            | StoreError::EndlessListing { .. }
            | StoreError::Unconditional { .. }
            | StoreError::TooLarge { .. }
            | StoreError::BadKey { .. }
            | StoreError::Settings { .. }
            | StoreError::File { .. }
            | StoreError::Other { .. } => false,
        }
    }
}
