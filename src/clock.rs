//! The current time, for any state of the system clock.

use std::time::SystemTime;

use jiff::Timestamp;

/// The current time. A system time outside jiff's range is clamped to the first or last timestamp of that
/// range; jiff's own function would panic.
pub fn now() -> Timestamp {
    of(SystemTime::now())
}

fn of(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_else(|_| match time < SystemTime::UNIX_EPOCH {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_beyond_all_years_stands_still() {
        let at = |seconds| of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_777_000_000), Timestamp::from_second(1_777_000_000).unwrap());
        // The last second of the year 9999.
        assert_eq!(at(253_402_300_799), Timestamp::MAX);
        assert_eq!(of(SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40)), Timestamp::MIN);
    }
}
