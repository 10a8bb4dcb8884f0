//! Timeouts of requests. They depend on the request: seconds for small requests, a minimum rate for large
//! bodies, and minutes where the store must join parts. docs/storing.md has the table.
//!
//! A stalled connection is detected by [`stall`](Timeouts::stall), whatever the size of the body: see
//! [`super::watch`].

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;

/// Bytes that the kernel and the HTTP client may still buffer after the last byte of a body has been taken.
const BUFFERED: u64 = 2 << 20;

/// The timeouts of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Maximum time to open a connection.
    pub connect: Duration,
    /// Maximum time without progress while a body is sent or received.
    pub stall: Duration,
    /// Maximum time for the response after the request has been sent.
    pub answer: Duration,
    /// The same for the completion of an upload, for which the store joins all parts.
    pub complete: Duration,
    /// Minimum rate of a connection in bytes per second.
    pub least_rate: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(20),
            complete: Duration::from_secs(300),
            least_rate: 32 << 10,
        }
    }
}

impl Timeouts {
    /// Returns the maximum time to transfer so many bytes.
    pub(super) fn transfer(&self, length: u64) -> Duration {
        Duration::from_secs_f64(length as f64 / self.least_rate.max(1) as f64)
    }

    /// Returns the timeouts of requests with a small body or none: 90 s in total.
    pub(super) fn small(&self) -> TimeoutConfig {
        let attempt = self.connect + self.answer;
        self.limits(self.answer, attempt, attempt * 3)
    }

    /// Returns the timeouts of a request with a body of `length` bytes.
    pub(super) fn sending(&self, length: usize) -> TimeoutConfig {
        let length = length as u64;
        let answer = self.answer + self.transfer(length.min(BUFFERED));
        let attempt = self.connect + self.answer + self.transfer(length);
        self.limits(answer, attempt, attempt * 3)
    }

    /// Returns the timeouts of the completion of an upload.
    pub(super) fn completing(&self) -> TimeoutConfig {
        self.limits(self.complete, self.connect + self.complete, (self.connect + self.complete) * 2)
    }

    fn limits(&self, answer: Duration, attempt: Duration, all: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            // `watch` counts it from the last byte of the request.
            .read_timeout(answer)
            .operation_attempt_timeout(attempt)
            .operation_timeout(all)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_from_the_request() {
        let times = Timeouts::default();
        let seconds = |config: TimeoutConfig| {
            [config.read_timeout(), config.operation_attempt_timeout(), config.operation_timeout()]
                .map(|time| time.unwrap().as_secs())
        };
        assert_eq!(seconds(times.small()), [20, 30, 90]);
        assert_eq!(seconds(times.sending(2 << 10)), [20, 30, 90]);
        assert_eq!(seconds(times.sending(5 << 20)), [84, 190, 570]);
        assert_eq!(seconds(times.completing()), [300, 310, 620]);
    }
}
