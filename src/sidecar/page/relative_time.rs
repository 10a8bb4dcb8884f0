//! Times on the page: the distance in words, and the exact time in UTC.

use std::time::Duration;

use jiff::Timestamp;

use crate::quantity::human;

/// A time relative to the rendering of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativeTime {
    /// The exact time.
    pub at: Timestamp,
    /// The distance in words: `5h 12m ago`, `in 4h`.
    pub words: String,
}

impl RelativeTime {
    /// Creates a time in the past. If the clock was set back since, the distance is zero.
    pub(super) fn past(at: Timestamp, now: Timestamp) -> RelativeTime {
        let words = match elapsed(at, now) {
            Duration::ZERO => "just now".to_owned(),
            since => format!("{} ago", human(since)),
        };
        RelativeTime { at, words }
    }

    /// Creates a time in the future; a time that has already passed is shown as due.
    pub(super) fn future(at: Timestamp, now: Timestamp) -> RelativeTime {
        let words = match elapsed(now, at) {
            Duration::ZERO => "due now".to_owned(),
            left => format!("in {}", human(left)),
        };
        RelativeTime { at, words }
    }

    /// Formats the time to the second, for programs.
    pub(super) fn machine(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Formats the time to the second, for people.
    pub(super) fn exact(&self) -> String {
        exact(self.at)
    }
}

/// Formats a time to the second, for people.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns the whole seconds between two times; zero if `to` is not later.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let elapsed = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    Duration::from_secs(elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        let now: Timestamp = "2026-04-26T16:29:58.7Z".parse().unwrap();
        let at = |seconds: i64| now + SignedDuration::from_secs(seconds);
        assert_eq!(RelativeTime::past(at(-18_720), now).words, "5h 12m ago");
        assert_eq!(RelativeTime::past(now, now).words, "just now");
        assert_eq!(RelativeTime::past(at(60), now).words, "just now");
        assert_eq!(RelativeTime::future(at(15_120), now).words, "in 4h 12m");
        assert_eq!(RelativeTime::future(at(-5), now).words, "due now");
        let moment = RelativeTime::past(now, now);
        assert_eq!(moment.machine(), "2026-04-26T16:29:58Z");
        assert_eq!(moment.exact(), "2026-04-26 16:29:58 UTC");
    }
}
