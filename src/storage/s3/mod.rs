//! A bucket of S3 or of a compatible store as a [`Store`].
//!
//! Writing needs `s3:PutObject` alone: nothing is looked up before and nothing after. Bodies are
//! bytes in memory, so that the SDK can sign and repeat a part by itself, without the others.

mod client;
mod failure;
pub mod lifecycle;
mod object;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use failure::Failures;
pub use object::{Encryption, Lock, LockMode, ObjectOptions};

use super::{
    ContentType, ObjectInfo, ObjectSums, Page, PageToken, Part, PartLimits, Store, StoreError, Upload,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where a bucket is and how to get in.
#[derive(Clone)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// Its region; requests are signed for it.
    pub region: String,
    /// The URL of a compatible store; S3 itself when absent.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path instead of the host name.
    pub path_style: bool,
    /// Keys; when absent the standard chain looks for them: environment, profile files, web
    /// identity, ECS, EC2.
    pub credentials: Option<StaticCredentials>,
    /// Which checksums requests carry.
    pub checksums: Checksums,
    /// A file of PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most parts that the store takes in one upload.
    pub max_parts: u32,
    /// How often a request is tried in all.
    pub attempts: u32,
    /// How objects are to be kept.
    pub object: ObjectOptions,
}

impl S3Config {
    /// A bucket of S3 in a region, with what else is usual.
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
    /// The key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The token of a temporary key.
    pub session_token: Option<String>,
}

/// Shows the key's id alone.
impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Which checksums requests carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// CRC-64/NVME with every part, and that of the whole object at completion, which the store
    /// verifies and keeps.
    #[default]
    Crc64Nvme,
    /// Only what an operation cannot do without; for stores that lack checksums.
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
    failures: Failures,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Prepares a client. Nothing is asked of the store yet.
    pub async fn connect(config: &S3Config) -> Result<Self, StoreError> {
        let client = client::build(config).await?;
        Ok(S3Store {
            client,
            bucket: config.bucket.clone(),
            checksums: config.checksums,
            max_parts: config.max_parts.clamp(1, 10_000),
            object: config.object.clone(),
            failures: Failures {
                bucket: config.bucket.clone(),
                region: config.region.clone(),
                endpoint: config.endpoint.clone(),
                write_needs: config.object.needs(),
            },
        })
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.checksums {
            Checksums::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksums::WhenRequired => None,
        }
    }

    /// One attempt at a read; `range` is a header's value.
    async fn read_once(&self, key: &str, range: Option<&str>) -> Result<Result<Bytes, String>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let response = match request.set_range(range.map(str::to_owned)).send().await {
            Ok(response) => response,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Err(StoreError::NotFound { object: self.url(key) });
            }
            Err(error) => return Err(self.failures.explain("read", self.url(key), error)),
        };
        Ok(match response.body.collect().await {
            Ok(body) => Ok(body.into_bytes()),
            Err(error) => Err(failure::innermost(&error)),
        })
    }

    /// Reads, and reads again when the body breaks off: the SDK repeats a request only until its
    /// answer has begun.
    async fn read(&self, key: &str, range: Option<&str>) -> Result<Bytes, StoreError> {
        let mut attempt = 1;
        loop {
            match self.read_once(key, range).await? {
                Ok(body) => return Ok(body),
                Err(cause) if attempt == 4 => {
                    return Err(StoreError::Other {
                        operation: "read",
                        object: self.url(key),
                        source: cause.into(),
                    });
                }
                Err(cause) => {
                    tracing::debug!(key, attempt, cause, "reading broke off");
                    tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
                    attempt += 1;
                }
            }
        }
    }
}

/// How long an attempt to send that many bytes may take: 256 KiB/s and five minutes. Connections
/// that stall altogether are noticed much earlier by the SDK.
fn sending_time(length: usize) -> aws_sdk_s3::config::Builder {
    let time = Duration::from_secs(300 + length as u64 / (256 << 10));
    aws_sdk_s3::Config::builder()
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(time).build())
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

    async fn put(&self, key: &str, body: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        let time = sending_time(body.len());
        object::keep!(self.client.put_object(), self.object)
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_checksum_algorithm(self.algorithm())
            .body(ByteStream::from(body))
            .customize()
            .config_override(time)
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failures.explain("write", self.url(key), error))
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
        let id = created.upload_id().ok_or_else(|| StoreError::Other {
            operation: "write",
            object: self.url(key),
            source: "the store gave the upload no id".into(),
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
        Ok(Page { objects: objects.collect(), next: next.map(|token| PageToken(token.to_owned())) })
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.read(key, None).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let last = range.end.saturating_sub(1);
        let body = self.read(key, Some(&format!("bytes={}-{last}", range.start))).await?;
        if body.len() as u64 != range.end.saturating_sub(range.start) {
            let cause = format!("asked for {} bytes and got {}", range.end - range.start, body.len());
            let object = self.url(key);
            return Err(StoreError::Other { operation: "read", object, source: cause.into() });
        }
        Ok(body)
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
    async fn put_part(&self, part: Part) -> Result<(), StoreError> {
        let time = sending_time(part.body.len());
        let sent = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(part_number(part.number))
            .set_checksum_algorithm(self.store.algorithm())
            .body(ByteStream::from(part.body))
            .customize()
            .config_override(time)
            .send()
            .await
            .map_err(|error| self.store.failures.explain("write", self.url(), error))?;
        let done = CompletedPart::builder()
            .part_number(part_number(part.number))
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .set_checksum_crc64_nvme(sent.checksum_crc64_nvme().map(str::to_owned))
            .build();
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        Ok(())
    }

    async fn complete(&self, sums: &ObjectSums) -> Result<(), StoreError> {
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
        if self.store.algorithm().is_some() {
            let crc64nvme = aws_smithy_types::base64::encode(sums.crc64nvme.to_be_bytes());
            request = request.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(crc64nvme);
        }
        request
            .customize()
            // Joining thousands of parts takes the store a while.
            .config_override(sending_time(256 * MIB as usize))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.store.failures.explain("complete", self.url(), error))
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
