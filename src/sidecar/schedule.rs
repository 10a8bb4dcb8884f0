//! When the next round starts. Rounds never overlap, because one task makes them in turn.

use std::time::Duration;

use crate::config::Schedule;

impl Schedule {
    /// How long to wait after a round that began `elapsed` ago: an interval counts from start to
    /// start, and a round that took longer than it is followed by the next at once.
    pub fn wait_after(&self, elapsed: Duration) -> Duration {
        match self {
            Schedule::Every(interval) => interval.saturating_sub(elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_count_from_start_to_start() {
        let schedule = Schedule::Every(Duration::from_secs(60));
        assert_eq!(schedule.wait_after(Duration::from_secs(4)), Duration::from_secs(56));
        assert_eq!(schedule.wait_after(Duration::from_secs(61)), Duration::ZERO);
    }
}
