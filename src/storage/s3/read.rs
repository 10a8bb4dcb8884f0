//! Reads objects, with limits on size and time.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{S3Store, failure};
use crate::storage::{Store as _, StoreError};

/// Maximum number of attempts of a read, including the first.
const ATTEMPTS: u32 = 4;

/// The part of an object to read.
#[derive(Clone, Debug)]
pub(super) enum Stretch {
    /// The whole object, if it is not longer than the limit.
    Whole { limit: u64 },
    /// Exactly this range.
    Range(Range<u64>),
}

impl Stretch {
    /// Returns the maximum number of bytes.
    fn limit(&self) -> u64 {
        match self {
            Stretch::Whole { limit } => *limit,
            Stretch::Range(range) => range.end.saturating_sub(range.start),
        }
    }

    /// Returns the value of the `Range` header.
    fn header(&self) -> Option<String> {
        match self {
            Stretch::Whole { .. } => None,
            Stretch::Range(range) => Some(format!("bytes={}-{}", range.start, range.end.saturating_sub(1))),
        }
    }
}

/// Why a body could not be read.
enum Broken {
    /// The connection broke or stalled.
    Off(StoreError),
    /// The content is not the requested one; a retry does not help.
    Wrong(StoreError),
}

impl S3Store {
    /// Reads with retries when the body breaks off: the SDK retries a request only until its response has
    /// begun.
    pub(super) async fn read(&self, key: &str, stretch: Stretch) -> Result<Bytes, StoreError> {
        let mut attempt = 1;
        loop {
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let response = match request.set_range(stretch.header()).send().await {
                Ok(response) => response,
                Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                    return Err(StoreError::NotFound { object: self.url(key) });
                }
                Err(error) => return Err(self.failures.explain("read", self.url(key), error)),
            };
            match self.collect(key, response.body, &stretch).await {
                Ok(body) => return Ok(body),
                Err(Broken::Wrong(error)) => return Err(error),
                Err(Broken::Off(error)) if attempt == ATTEMPTS => return Err(error),
                Err(Broken::Off(error)) => {
                    tracing::debug!(
                        key,
                        attempt,
                        error = &error as &dyn std::error::Error,
                        "reading broke off"
                    );
                    tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Reads a body. Stops at the first byte beyond the limit.
    async fn collect(&self, key: &str, mut body: ByteStream, stretch: &Stretch) -> Result<Bytes, Broken> {
        let (object, operation, limit) = (self.url(key), "read", stretch.limit());
        let mut taken = BytesMut::new();
        let times = &self.timeouts;
        let begun = Instant::now();
        loop {
            // Pauses are allowed, but the average must not be below the minimum rate.
            let next = Instant::now() + times.stall;
            let deadline = begun + times.answer + times.stall + times.transfer(taken.len() as u64);
            let piece = match tokio::time::timeout_at(next.min(deadline), body.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    let source = failure::innermost(&error).into();
                    return Err(Broken::Off(StoreError::Busy { operation, object, source }));
                }
                Err(_) => {
                    let what = if next <= deadline { "no data arrived" } else { "data arrived too slowly" };
                    let source = format!("{what}; {} bytes were read", taken.len()).into();
                    return Err(Broken::Off(StoreError::Timeout { operation, object, source }));
                }
            };
            if (taken.len() + piece.len()) as u64 > limit {
                let object = match stretch {
                    Stretch::Whole { .. } => object,
                    Stretch::Range(range) => format!("the range from byte {} of {object}", range.start),
                };
                return Err(Broken::Wrong(StoreError::TooLong { object, limit }));
            }
            taken.extend_from_slice(&piece);
        }
        if let Stretch::Range(range) = stretch
            && (taken.len() as u64) < limit
        {
            let source =
                format!("requested {limit} bytes from byte {} and got {}", range.start, taken.len()).into();
            return Err(Broken::Wrong(StoreError::Other { operation, object, source }));
        }
        Ok(taken.freeze())
    }
}
