//! What can go wrong with a store, told apart by what the operator has to mend.

use std::error::Error;

/// Boxed cause of a [`StoreError`].
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// A store's failure. Each variant asks for another remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bucket, or the directory of a local store, is not there.
    #[error("{store} does not exist")]
    NoSuchBucket {
        /// `bucket NAME`, or the directory.
        store: String,
        /// What the store answered.
        source: BoxError,
    },
    /// The key is known and may not do this.
    #[error("access denied: {operation} {object}, which needs {permission}")]
    AccessDenied {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the key would have to be allowed to.
        permission: String,
        /// What the store answered.
        source: BoxError,
    },
    /// The store does not know the key, or its secret is another.
    #[error("the store refused the access key ({code}): {object}")]
    KeyRefused {
        /// `InvalidAccessKeyId`, `SignatureDoesNotMatch`, …
        code: String,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// There is no key to sign with.
    #[error(
        "no credentials for {object}\nHINT: set an access key and its secret, or give the container an AWS role"
    )]
    NoCredentials {
        /// The object's address.
        object: String,
        /// What the search for credentials said.
        source: BoxError,
    },
    /// The endpoint's name does not resolve, nothing listens there, or the connection broke.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// The endpoint's URL, or `S3 in REGION`.
        endpoint: String,
        /// Why not.
        source: BoxError,
    },
    /// The endpoint's certificate does not verify, or TLS failed otherwise.
    #[error("TLS with {endpoint} failed")]
    Tls {
        /// The endpoint's URL, or `S3 in REGION`.
        endpoint: String,
        /// Why.
        source: BoxError,
    },
    /// The bucket is kept in another region than the one configured.
    #[error("bucket {bucket} is not in region {configured}{}", .region.as_deref().map(|r| format!(" but in {r}")).unwrap_or_default())]
    WrongRegion {
        /// The bucket.
        bucket: String,
        /// The region that requests were signed for.
        configured: String,
        /// The region that the store names.
        region: Option<String>,
        /// What the store answered.
        source: BoxError,
    },
    /// The proxy that the environment names does not carry what is sent to the endpoint.
    #[error("cannot reach {endpoint} through {proxy}")]
    Proxy {
        /// `proxy URL (VARIABLE)`, without a password.
        proxy: String,
        /// The endpoint's URL, or `S3 in REGION`.
        endpoint: String,
        /// Why not.
        source: BoxError,
    },
    /// The proxy itself answered, with a refusal.
    #[error("{proxy} refused the request: {operation} {object}")]
    ProxyRefused {
        /// `proxy URL (VARIABLE)`, without a password.
        proxy: String,
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What it answered.
        source: BoxError,
    },
    /// Something answers that it has done what was asked, but not as S3 does: nothing may have been stored.
    #[error(
        "the answer of {endpoint} is not one of S3: {operation} {object}: {what}\nHINT: check the endpoint: a gateway, \
         a captive portal or another web server may answer in the store's place"
    )]
    NotS3 {
        /// The endpoint's URL, or `S3 in REGION`.
        endpoint: String,
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the answer lacks or has too much.
        what: String,
    },
    /// The store's checksum is not that of the bytes that were sent.
    #[error("the store has other bytes than were sent: {operation} {object}: {difference}")]
    Corrupted {
        /// `write`, `complete`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// Both checksums.
        difference: String,
    },
    /// The upload is gone: aborted by somebody else, or completed by a request whose answer was lost.
    #[error("the store no longer knows the upload: {operation} {object}")]
    LostUpload {
        /// `write`, `complete`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// The store's clock and this machine's differ too much for a signature.
    #[error(
        "the store refused the time of the request: {operation} {object}\nHINT: compare this machine's clock with the \
         real time (NTP)"
    )]
    ClockSkew {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// The store refuses for a reason that no permission mends: a quota, the account.
    #[error("the store refused: {operation} {object}")]
    Refused {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// No answer in time, after all retries.
    #[error("timed out: {operation} {object}")]
    Timeout {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the client said.
        source: BoxError,
    },
    /// The object is not there.
    #[error("{object} does not exist")]
    NotFound {
        /// The object's address.
        object: String,
    },
    /// What is read does not end where it should.
    #[error("{object} is longer than {limit} bytes")]
    TooLong {
        /// The object's address, or that of a range of it.
        object: String,
        /// The most that it may have.
        limit: u64,
    },
    /// A listing that does not come to an end.
    #[error("the store's listing does not end: it repeats the continuation token \"{token}\"")]
    EndlessListing {
        /// The token that came before.
        token: String,
    },
    /// There is an object already, and it is not to be replaced.
    #[error("{object} already exists, and nothing is overwritten")]
    Exists {
        /// The object's address.
        object: String,
    },
    /// The store takes no condition under which it would write.
    #[error("the store cannot write {object} on the condition that it does not exist (If-None-Match)")]
    Unconditional {
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// An object larger than the store's limits allow.
    #[error("{object} grows beyond {limit} bytes, which is what {max_parts} parts can hold")]
    TooLarge {
        /// The object's address.
        object: String,
        /// The most that fits.
        limit: u64,
        /// The store's limit of parts.
        max_parts: u32,
    },
    /// A key that the store cannot keep.
    #[error("\"{key}\" cannot be an object's key")]
    BadKey {
        /// The key.
        key: String,
    },
    /// A setting of the store's client that cannot work.
    #[error("{message}")]
    Settings {
        /// What is wrong.
        message: String,
    },
    /// A file of a local store.
    #[error("cannot {operation} {path}")]
    File {
        /// `write`, `read`, `rename`, …
        operation: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store answered that it cannot do it now: an error of its own, too many requests, a conflict, or bytes that
    /// were damaged on the way.
    #[error("the store failed: {operation} {object}")]
    Busy {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
    /// Anything else.
    #[error("the store failed: {operation} {object}")]
    Other {
        /// `write`, `read`, `list`.
        operation: &'static str,
        /// The object's address.
        object: String,
        /// What the store answered.
        source: BoxError,
    },
}

impl StoreError {
    /// Whether the same may succeed a little later without anybody having mended anything: the store cannot be
    /// reached, does not answer in time, or says that it is its own fault; an answer or bytes were lost on the way; or the key
    /// is taken, and the next one is another.
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
