//! How long requests may take. The limits follow from the request: seconds where little is sent, a least rate where
//! much is, minutes where the store has to put parts together. docs/storing.md has the table.
//!
//! A connection that stands still is noticed by [`stall`](Timeouts::stall), whatever the size of what is sent: see
//! [`super::watch`].

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;

/// What the kernel and the HTTP client may still hold of a body whose last byte has been taken.
const BUFFERED: u64 = 2 << 20;

/// The limits of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// For which nothing may move while a body is sent or received.
    pub stall: Duration,
    /// For the answer once the request is sent.
    pub answer: Duration,
    /// The same for the completion of an upload, for which the store joins all parts.
    pub complete: Duration,
    /// Bytes per second of one connection that are the least to go on with.
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
    /// How long so many bytes may be on their way.
    pub(super) fn transfer(&self, length: u64) -> Duration {
        Duration::from_secs_f64(length as f64 / self.least_rate.max(1) as f64)
    }

    /// For requests that carry nothing or little: 90 s in all.
    pub(super) fn small(&self) -> TimeoutConfig {
        let attempt = self.connect + self.answer;
        self.limits(self.answer, attempt, attempt * 3)
    }

    /// For a body of so many bytes.
    pub(super) fn sending(&self, length: usize) -> TimeoutConfig {
        let length = length as u64;
        let answer = self.answer + self.transfer(length.min(BUFFERED));
        let attempt = self.connect + self.answer + self.transfer(length);
        self.limits(answer, attempt, attempt * 3)
    }

    /// For the completion of an upload.
    pub(super) fn completing(&self) -> TimeoutConfig {
        self.limits(self.complete, self.connect + self.complete, (self.connect + self.complete) * 2)
    }

    fn limits(&self, answer: Duration, attempt: Duration, all: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            // Counted by `watch` from the request's last byte.
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
