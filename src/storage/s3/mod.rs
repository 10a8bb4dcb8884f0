//! A bucket of S3 or of a compatible store as a [`Store`].
//!
//! Writing needs only `s3:PutObject`: no request checks anything before or after a write. Bodies are bytes in
//! memory, so that the SDK can sign and retry each part independently.

mod client;
mod conditional;
mod failure;
pub mod lifecycle;
mod object;
mod proxy;
mod read;
mod receipt;
mod retry;
mod time;
mod watch;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use conditional::{ContentSums, Sendings};
use failure::Failures;
pub use object::{Lock, LockMode, ObjectOptions, StoreEncryption};
use receipt::{Fault, receipt};
pub use time::Timeouts;

use super::{
    ContentType, IfExists, ObjectInfo, ObjectSums, Page, PageToken, PartLimits, Store, StoreError,
    UnfinishedUploads, Upload, UploadPart,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Address of a bucket and how to access it.
#[derive(Clone)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Region of the bucket; requests are signed for it.
    pub region: String,
    /// URL of a compatible store; `None` for S3 itself.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path instead of the host name.
    pub path_style: bool,
    /// Credentials. If `None`, the standard provider chain is used: environment, profile files, web identity,
    /// ECS, EC2.
    pub credentials: Option<StaticCredentials>,
    /// Checksums of requests.
    pub checksums: Checksums,
    /// PEM file of trusted certificates, used instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Maximum number of parts of an upload.
    pub max_parts: u32,
    /// Maximum number of attempts of a request, including the first.
    pub attempts: u32,
    /// Timeouts of requests.
    pub timeouts: Timeouts,
    /// Options of the stored objects.
    pub object: ObjectOptions,
}

impl S3Config {
    /// Returns the configuration of a bucket of S3 in a region, with default options.
    pub fn new(bucket: impl Into<String>, region: impl Into<String>) -> Self {
        S3Config {
            bucket: bucket.into(),
            region: region.into(),
            endpoint: None,
            path_style: false,
            credentials: None,
            checksums: Checksums::Crc64Nvme,
            ca_file: None,
            max_parts: 10_000,
            attempts: 4,
            timeouts: Timeouts::default(),
            object: ObjectOptions::default(),
        }
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// An access key and its secret.
#[derive(Clone)]
pub struct StaticCredentials {
    /// Id of the access key.
    pub access_key_id: String,
    /// Secret of the access key.
    pub secret_access_key: String,
    /// Session token of a temporary key.
    pub session_token: Option<String>,
}

/// Shows only the id of the access key.
impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Checksums of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// CRC-64/NVME for every part, and for the whole object at completion. The store verifies and keeps it.
    #[default]
    Crc64Nvme,
    /// Only checksums that an operation requires; for stores without checksum support.
    WhenRequired,
}

/// A bucket.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    checksums: Checksums,
    max_parts: u32,
    object: ObjectOptions,
    timeouts: Timeouts,
    failures: Failures,
    unfinished: UnfinishedUploads,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Creates the client. Sends no request.
    pub async fn connect(config: &S3Config) -> Result<Self, StoreError> {
        let route = client::route(config)?;
        let client = client::build(config, route.config).await?;
        Ok(S3Store {
            client,
            bucket: config.bucket.clone(),
            checksums: config.checksums,
            max_parts: config.max_parts.clamp(1, 10_000),
            object: config.object.clone(),
            timeouts: config.timeouts,
            failures: Failures {
                bucket: config.bucket.clone(),
                region: config.region.clone(),
                endpoint: config.endpoint.clone(),
                proxy: route.proxy,
                write_needs: config.object.needs(),
            },
            unfinished: UnfinishedUploads::default(),
        })
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.checksums {
            Checksums::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksums::WhenRequired => None,
        }
    }

    /// Returns the checksum to send with a body.
    fn checksum(&self, body: &[u8]) -> Option<String> {
        (self.checksums == Checksums::Crc64Nvme).then(|| receipt::crc64nvme(body))
    }
}

/// Sets timeouts for one request.
fn within(limits: TimeoutConfig) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(limits)
}

#[async_trait]
impl Store for S3Store {
    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    fn part_limits(&self) -> PartLimits {
        PartLimits {
            min_size: 5 * MIB,
            max_size: 5 * GIB,
            max_parts: self.max_parts,
            max_object: 5 * 1024 * GIB,
        }
    }

    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        content_type: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        let (limits, checksum) = (self.timeouts.sending(body.len()), self.checksum(&body));
        let send = |if_none_match, sendings: Sendings| {
            object::keep!(self.client.put_object(), self.object)
                .bucket(&self.bucket)
                .key(key)
                .content_type(content_type)
                .set_checksum_algorithm(self.algorithm())
                .set_checksum_crc64_nvme(checksum.clone())
                .set_if_none_match(if_none_match)
                .body(ByteStream::from(body.clone()))
                .customize()
                .config_override(within(limits.clone()))
                .interceptor(sendings)
                .send()
        };
        let content = || ContentSums::of(&body);
        let Some(answer) = self.write_if("write", key, if_exists, content, send).await? else {
            return Ok(());
        };
        let taken = receipt!(answer).check(body, checksum.as_deref()).await;
        taken.map_err(|fault| self.failures.not_taken("write", self.url(key), fault))
    }

    async fn begin_upload(
        &self,
        key: &str,
        content_type: ContentType,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let algorithm = self.algorithm();
        let created = object::keep!(self.client.create_multipart_upload(), self.object)
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_checksum_type(algorithm.as_ref().map(|_| ChecksumType::FullObject))
            .set_checksum_algorithm(algorithm)
            .send()
            .await
            .map_err(|error| self.failures.explain("write", self.url(key), error))?;
        let id = created.upload_id().filter(|id| !id.is_empty()).ok_or_else(|| {
            let fault = Fault::NotS3("it has no upload ID".to_owned());
            self.failures.not_taken("write", self.url(key), fault)
        })?;
        Ok(Box::new(S3Upload {
            store: self.clone(),
            key: key.to_owned(),
            id: id.to_owned(),
            parts: Mutex::default(),
        }))
    }

    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
        let listed = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_continuation_token(after.map(|token| token.0))
            .send()
            .await
            .map_err(|error| self.failures.explain("list", self.url(prefix), error))?;
        // An empty document is not a listing of an empty bucket.
        if listed.name().is_none() && listed.is_truncated().is_none() {
            let fault = Fault::NotS3("it is not a listing".to_owned());
            return Err(self.failures.not_taken("list", self.url(prefix), fault));
        }
        let objects = listed.contents().iter().filter_map(|object| {
            Some(ObjectInfo {
                key: object.key()?.to_owned(),
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                modified: object
                    .last_modified()
                    .and_then(|time| jiff::Timestamp::from_second(time.secs()).ok()),
            })
        });
        let more = listed.is_truncated().unwrap_or_default();
        let next = listed.next_continuation_token().filter(|_| more);
        if more && next.is_none() {
            let cause = "the listing is incomplete, but has no continuation token".into();
            return Err(StoreError::Other { operation: "list", object: self.url(prefix), source: cause });
        }
        Ok(Page { objects: objects.collect(), next: next.map(|token| PageToken(token.to_owned())) })
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.read(key, read::Stretch::Whole { limit }).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read(key, read::Stretch::Range(range)).await
    }

    fn unfinished_uploads(&self) -> Option<&UnfinishedUploads> {
        Some(&self.unfinished)
    }
}

/// A multipart upload.
#[derive(Debug)]
struct S3Upload {
    store: S3Store,
    key: String,
    id: String,
    parts: Mutex<Vec<CompletedPart>>,
}

impl S3Upload {
    fn url(&self) -> String {
        self.store.url(&self.key)
    }
}

/// S3's part numbers are signed; ours stay below 10,000.
fn part_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[async_trait]
impl Upload for S3Upload {
    async fn put_part(&self, part: UploadPart) -> Result<(), StoreError> {
        let (limits, checksum) =
            (self.store.timeouts.sending(part.body.len()), self.store.checksum(&part.body));
        let answer = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(part_number(part.number))
            .set_checksum_algorithm(self.store.algorithm())
            .set_checksum_crc64_nvme(checksum.clone())
            .body(ByteStream::from(part.body.clone()))
            .customize()
            .config_override(within(limits))
            .send()
            .await
            .map_err(|error| self.store.failures.explain("write", self.url(), error))?;
        let taken = receipt!(answer).check(part.body, checksum.as_deref()).await;
        taken.map_err(|fault| self.store.failures.not_taken("write", self.url(), fault))?;
        let done = CompletedPart::builder()
            .part_number(part_number(part.number))
            .set_e_tag(answer.e_tag().map(str::to_owned))
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme().map(str::to_owned))
            .build();
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        Ok(())
    }

    async fn complete(&self, sums: &ObjectSums, if_exists: IfExists) -> Result<(), StoreError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        parts.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(parts);
        let checksum = self.store.algorithm().map(|_| receipt::encode(sums.crc64nvme));
        if checksum.is_some() {
            request =
                request.checksum_type(ChecksumType::FullObject).set_checksum_crc64_nvme(checksum.clone());
        }
        let send = |if_none_match, sendings: Sendings| {
            request
                .clone()
                .set_if_none_match(if_none_match)
                .customize()
                // The store needs a while to join thousands of parts.
                .config_override(within(self.store.timeouts.completing()))
                .interceptor(sendings)
                .send()
        };
        let content = || ContentSums::from(sums);
        let answer = self.store.write_if("complete", &self.key, if_exists, content, send).await?;
        let Some(answer) = answer else { return Ok(()) };
        receipt::e_tag(answer.e_tag())
            .and_then(|_| receipt::compare_checksum(checksum.as_deref(), answer.checksum_crc64_nvme()))
            .map_err(|fault| self.store.failures.not_taken("complete", self.url(), fault))
    }

    async fn abort(&self) -> Result<(), StoreError> {
        self.store
            .client
            .abort_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .send()
            .await
            .map(drop)
            .map_err(|error| self.store.failures.explain("abort the upload of", self.url(), error))
    }
}
