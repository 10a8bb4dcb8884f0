//! Waits for the next start, by the wall clock.
//!
//! The monotonic clock of timers stops while a machine is suspended, and the wall clock can be set. A wait is
//! therefore split into short sleeps, and the wall clock is checked after each of them. A start that was
//! missed is made up for immediately, and only once, because the next start is computed from that moment. If
//! the clock is set back to before the moment from which a wait counts, the wait counts from the new time: a
//! round never waits longer than the schedule says.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::config::Schedule;

/// Maximum time between two checks of the wall clock.
const POLL: Duration = Duration::from_secs(30);

/// A source of time that can also sleep.
pub trait Clock: Sync {
    /// Returns the wall clock time.
    fn now(&self) -> Timestamp;

    /// Sleeps for `time`, by a clock that may stop while the machine is suspended.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

/// Returns the time until a moment; zero if it has passed.
pub fn until(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A wait for the next start.
#[derive(Clone, Debug)]
pub struct NextRun<'a> {
    schedule: &'a Schedule,
    /// The start from which the next one is computed.
    from: Timestamp,
}

impl<'a> NextRun<'a> {
    /// Creates a wait for the start that follows the one at `started`.
    pub fn after(schedule: &'a Schedule, started: Timestamp) -> Self {
        NextRun { schedule, from: started }
    }

    /// Returns when the wait ends, unless the clock is set back.
    pub fn due(&self) -> Timestamp {
        self.schedule.next_after(self.from)
    }

    /// Waits until the start is due.
    pub async fn end(&mut self, clock: &impl Clock) {
        loop {
            let now = clock.now();
            self.from = self.from.min(now);
            let left = until(self.due(), now);
            if left.is_zero() {
                return;
            }
            clock.sleep(left.min(POLL)).await;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A clock that advances when a test tells it to.
    pub(crate) struct FakeClock {
        now: Mutex<Timestamp>,
        /// The number of a sleep, and by how many additional seconds the clock jumps in it.
        jump: (usize, i64),
        slept: Mutex<Vec<Duration>>,
    }

    impl FakeClock {
        pub(crate) fn at(now: Timestamp) -> Self {
            FakeClock { now: Mutex::new(now), jump: (usize::MAX, 0), slept: Mutex::default() }
        }

        fn jumping(now: Timestamp, sleep: usize, seconds: i64) -> Self {
            FakeClock { jump: (sleep, seconds), ..FakeClock::at(now) }
        }

        pub(crate) fn slept(&self) -> Vec<Duration> {
            self.slept.lock().unwrap().clone()
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Timestamp {
            *self.now.lock().unwrap()
        }

        fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
            let mut slept = self.slept.lock().unwrap();
            let mut now = self.now.lock().unwrap();
            *now += time;
            if slept.len() == self.jump.0 {
                *now += jiff::SignedDuration::from_secs(self.jump.1);
            }
            slept.push(time);
            std::future::ready(())
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    static HOURLY: Schedule = Schedule::Every(Duration::from_secs(3600));

    #[tokio::test]
    async fn it_looks_at_the_clock_every_half_a_minute_and_ends_on_time() {
        let started = at("2026-04-26T16:00:00Z");
        let clock = FakeClock::at(at("2026-04-26T16:00:10Z"));
        NextRun::after(&HOURLY, started).end(&clock).await;
        assert_eq!(clock.now(), at("2026-04-26T17:00:00Z"));
        let slept = clock.slept();
        assert!(slept.len() == 120 && slept.iter().all(|time| *time <= POLL), "{slept:?}");
    }

    #[tokio::test]
    async fn a_start_in_the_past_is_not_waited_for() {
        let clock = FakeClock::at(at("2026-04-26T18:30:00Z"));
        NextRun::after(&HOURLY, at("2026-04-26T16:00:00Z")).end(&clock).await;
        assert_eq!(clock.slept(), [Duration::ZERO; 0]);
    }

    #[tokio::test]
    async fn rounds_missed_while_the_machine_slept_are_made_up_once() {
        // The machine is suspended for five hours during the tenth check.
        let clock = FakeClock::jumping(at("2026-04-26T16:00:00Z"), 9, 5 * 3600);
        NextRun::after(&HOURLY, clock.now()).end(&clock).await;
        let woken = clock.now();
        assert_eq!((woken, clock.slept().len()), (at("2026-04-26T21:05:00Z"), 10));
        // The round that runs now replaces all that were missed.
        let mut next = NextRun::after(&HOURLY, woken);
        assert_eq!(next.due(), at("2026-04-26T22:05:00Z"));
        next.end(&clock).await;
        assert_eq!(clock.now(), at("2026-04-26T22:05:00Z"));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_prolong_the_wait() {
        // The clock was a year ahead until it was set.
        let clock = FakeClock::jumping(at("2027-04-26T16:00:00Z"), 0, -365 * 86_400);
        NextRun::after(&HOURLY, clock.now()).end(&clock).await;
        assert_eq!(clock.now(), at("2026-04-26T17:00:30Z"));
    }
}
